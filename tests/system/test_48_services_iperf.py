"""iperf3 behind l4proxyd: its control connection over TCP and its data over
TCP or UDP come to one port, which two applications share."""
import json

import pytest
from services import command, in_front, iperf3

MIB = 1 << 20
COOKIE = 37  # first in each TCP stream
HELLO = 4    # first in each UDP stream, both ways


@pytest.fixture
def pair(tmp_path):
    with iperf3(tmp_path) as origin, \
            in_front(tmp_path, origin.port, "tcp", "udp") as proxy:
        yield origin, proxy


def measured(proxy, *options):
    """What the two ends counted: of bytes, sent and received."""
    told = command("iperf3", "-c", "127.0.0.1", "-p", proxy.port, "-J",
                   *options)
    end = json.loads(told)["end"]
    return end, end["sum_sent"]["bytes"], end["sum_received"]["bytes"]


def carried(ends, field, streams):
    """What went through the proxy: the control connection is the least."""
    return sum(sorted(e[field] for e in ends)[-streams:])


@pytest.mark.parametrize("streams", [1, 4])
def test_tcp_to_the_server(pair, streams):
    _, proxy = pair
    _, sent, received = measured(proxy, "-n", 256 * MIB, "-P", streams)
    ends = proxy.all_ended()
    assert len(ends) == streams + 1
    # The server reads no more once it is told the end: some stays unread.
    bytes_ = carried(ends, "ClientBytes", streams) - streams * COOKIE
    assert 128 * MIB < received <= bytes_ <= sent
    assert sent >= 256 * MIB


@pytest.mark.parametrize("streams", [1, 4])
def test_tcp_from_the_server(pair, streams):
    _, proxy = pair
    _, sent, received = measured(proxy, "-n", 256 * MIB, "-P", streams, "-R")
    ends = proxy.all_ended()
    assert len(ends) == streams + 1
    assert received <= carried(ends, "OriginBytes", streams) <= sent
    assert received >= 200 * MIB


@pytest.mark.parametrize("back", [False, True])
def test_udp_and_its_control_share_a_port(pair, back):
    _, proxy = pair
    end, sent, received = measured(proxy, "-u", "-b", "4M", "-l", 1200,
                                   "-t", 2, "-P", 2, *["-R"] * back)
    total = end["sum"]
    assert total["packets"] > 1000
    # iperf3's own queues are small, and a test machine stalls
    assert total["lost_percent"] < 5, end["sum"]
    proxy.stop()  # flows have no end of their own
    field = "OriginBytes" if back else "ClientBytes"
    ends = proxy.all_ended()
    flows = [e for e in ends if e["Application"] == "story-udp"]
    # 447: the server had gone before the last datagram came to it
    late = set() if back else {447}
    assert len(flows) == 2 and {e["Status"] for e in flows} <= {200} | late
    bytes_ = carried(flows, field, 2) - 2 * HELLO
    assert received <= bytes_ <= sent
    assert len(ends) == 3  # the control connection, over TCP
