"""A DNS server behind l4proxyd: two protocols, one port.

dig's own retry over TCP after a truncated answer works only when both
applications of the port lead to the same server.
"""
import ipaddress
import re

import harness
import pytest
from services import command, dnsmasq, in_front, story_zone, unbound

MANY = [str(ipaddress.ip_address("198.51.100.1") + i) for i in range(150)]
TEXT = [f"text-{i}" for i in range(40)]


@pytest.fixture
def both(tmp_path):
    zone = ["host-record=one.story.test,192.0.2.1,2001:db8::1",
            *(f"host-record=many.story.test,{a}" for a in MANY),
            *(f'txt-record=text.story.test,"{t}"' for t in TEXT)]
    with dnsmasq(tmp_path, story_zone(zone)) as origin, \
            in_front(tmp_path, origin.port, "udp", "tcp") as proxy:
        yield proxy


def dig(proxy, *question, host="127.0.0.1"):
    return command("dig", f"@{host}", "-p", proxy.port, "+tries=3",
                   *question)


def sessions(proxy):
    """How many of each protocol have begun."""
    return [len(proxy.events(Event="connect", ClientProto=p))
            for p in ("udp", "tcp")]


@pytest.mark.parametrize("way,begun", [("+notcp", [1, 0]), ("+tcp", [0, 1])])
def test_either_protocol_answers(both, way, begun):
    assert dig(both, way, "+short", "one.story.test") == "192.0.2.1\n"
    harness.until(lambda: sessions(both) == begun, f"{begun} sessions")


def test_a_truncated_answer_is_asked_again_over_tcp(both):
    cut = dig(both, "+noedns", "+ignore", "many.story.test")
    assert re.search(r"flags:[^;]* tc[ ;]", cut)
    assert 0 < cut.count("198.51.100.") < len(MANY)
    harness.until(lambda: sessions(both) == [1, 0], "UDP only")
    whole = dig(both, "+noedns", "many.story.test")
    assert "retrying in TCP mode" in whole
    assert sorted(re.findall(r"198\.51\.100\.\d+", whole)) == sorted(MANY)
    harness.until(lambda: sessions(both) == [2, 1], "UDP, then TCP")


def test_a_long_answer_comes_whole_over_udp(both):
    whole = dig(both, "+bufsize=4096", "+notcp", "many.story.test")
    assert int(re.search(r"MSG SIZE  rcvd: (\d+)", whole)[1]) > 2000
    assert not re.search(r"flags:[^;]* tc[ ;]", whole)
    assert sorted(re.findall(r"198\.51\.100\.\d+", whole)) == sorted(MANY)
    harness.until(lambda: sessions(both) == [1, 0], "UDP only")


def test_a_zone_is_transferred(both):
    zone = dig(both, "+noall", "+answer", "story.test", "AXFR")
    assert sorted(re.findall(r"198\.51\.100\.\d+", zone)) == sorted(MANY)
    assert sorted(re.findall(r'"(text-\d+)"', zone)) == sorted(TEXT)
    assert len(re.findall(r"\bSOA\b", zone)) == 2
    harness.until(lambda: sessions(both) == [0, 1], "TCP only")


def test_many_questions_each_get_their_answer(both):
    """A hundred over one connection, and a hundred datagrams: of one source
    port that chance gives dig twice they are one flow, and on a busy machine
    it asks again by another socket."""
    questions = ["one.story.test", "AAAA"] * 100
    for way, fewest, most in (("+tcp", 0, 0), ("+notcp", 90, 200)):
        keep = ["+keepopen"] if way == "+tcp" else []
        answers = dig(both, way, *keep, "+short", *questions)
        assert answers.splitlines() == ["2001:db8::1"] * 100
        harness.until(lambda: fewest <= sessions(both)[0] <= most and
                      sessions(both)[1] == 1, f"{fewest} to {most} flows")
    both.stop()
    sent = [e["ClientBytes"] for e in both.all_ended()
            if e["ClientProto"] == "udp"]
    questions, rest = divmod(sum(sent), min(sent))
    assert rest == 0 and max(100, len(sent)) <= questions


def test_ipv6_at_the_edge(tmp_path, both):
    origin = both.config["applications"][0]["origin_direct"][0]
    port = int(origin.rpartition(":")[2])
    with in_front(tmp_path, port, "udp", "tcp", edge="::1",
                  daemon={"name": "six"}) as proxy:
        for way in ("+notcp", "+tcp"):
            assert dig(proxy, way, "+short", "one.story.test",
                       host="::1") == "192.0.2.1\n"


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
@pytest.mark.parametrize("edge,source", [
    ("127.0.0.1", "127.0.0.9"), ("::1", "::1")])
def test_unbound_is_told_the_client(tmp_path, protocol, edge, source):
    """A decoder of PROXY v2 on each datagram that is not ours."""
    way = "+tcp" if protocol == "tcp" else "+notcp"
    with unbound(tmp_path) as origin, \
            in_front(tmp_path, origin.port, protocol, edge=edge,
                     proxy_protocol="v2") as proxy:
        answer = dig(proxy, way, "-b", source, "+short", "one.story.test",
                     host=edge)
        assert answer == "192.0.2.1\n"
        harness.until(lambda: f"info: {source} one.story.test. A IN" in
                      origin.log(), f"{source} in its log")
        proxy.stop()
        [end] = proxy.all_ended()
        assert (end["ClientIP"], end["ProxyProtocol"]) == (source, "v2")
