"""parallel-queues and shared-queue, one worker and several."""
import harness
import oracle
import pytest

FLOWS = 48


def sockets_of(daemon):
    """UDP sockets of the daemon at its port (rows of /proc/net/udp)."""
    with open(f"/proc/{daemon.pid}/net/udp") as f:
        rows = [line.split() for line in f][1:]
    return [r for r in rows if int(r[1].split(":")[1], 16) == daemon.port]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("ingress", ["parallel-queues", "shared-queue"])
def test_every_flow_is_answered(start, identity, ingress, workers):
    daemon = start(ingress=ingress, workers=workers)
    wanted = workers if ingress == "parallel-queues" else 1
    wanted += wanted > 1  # one that closes the group to others
    assert len(sockets_of(daemon)) == wanted
    before = daemon.counters()
    flows = [harness.Udp("127.0.0.1", daemon.port) for _ in range(FLOWS)]
    for _ in range(4):
        asked = []
        for udp in flows:
            asked.append(oracle.request("rfc"))
            udp.send(asked[-1])
        for udp, packet in zip(flows, asked):
            harness.checked(packet, udp.receive() or b"", identity.public)
    for udp in flows:
        udp.socket.close()
    moved = harness.diff(before, daemon.counters())
    assert moved["udp_received"] == moved["udp_sent"] == 4 * FLOWS
    assert not [k for k in moved if k.startswith(("drop_", "reject_"))]


@pytest.mark.parametrize("ingress", ["parallel-queues", "shared-queue"])
def test_tcp_connections_spread_or_not_but_work(start, identity, ingress):
    daemon = start(ingress=ingress, workers=3)
    connections = [harness.Tcp("127.0.0.1", daemon.port) for _ in range(24)]
    for _ in range(3):
        for tcp in connections:
            tcp.verified(identity.public, "rfc", "draft-14")
    for tcp in connections:
        tcp.socket.close()


def test_workers_auto(start, identity):
    daemon = start(workers="auto")
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        udp.verified(identity.public, "rfc")
