"""Rate limit by client prefix."""
import harness
import oracle


def flood(udp, n):
    """Sends n requests, gives the number of replies."""
    packets = [oracle.request("rfc") for _ in range(n)]
    for packet in packets:
        udp.send(packet)
    replies = 0
    while udp.receive(0.5) is not None:
        replies += 1
    return replies


def limited(start, **limit):
    port = harness.free_port()
    # One worker: the table is the worker's own. Hardly any refill.
    return start(workers=1, port=port, limit={"rate": 0.01, **limit},
                 listen=[{"address": "0.0.0.0", "port": port}])


def test_burst_then_silence_then_counter(start):
    daemon = limited(start, burst=20)
    before = daemon.counters()
    with harness.Udp("127.0.0.1", daemon.port, source="127.9.0.1") as udp:
        assert flood(udp, 50) == 20
    moved = harness.diff(before, daemon.counters())
    assert moved["drop_rate_limited"] == 30


def test_another_client_is_not_hurt(start, identity):
    daemon = limited(start, burst=5)
    with harness.Udp("127.0.0.1", daemon.port, source="127.9.0.1") as udp:
        assert flood(udp, 30) == 5
    with harness.Udp("127.0.0.1", daemon.port, source="127.9.0.2") as udp:
        udp.verified(identity.public, "rfc")


def test_prefix_counts_as_one_client(start):
    daemon = limited(start, burst=10, prefix4=24)
    replies = 0
    for i in range(1, 5):
        with harness.Udp("127.0.0.1", daemon.port,
                         source=f"127.9.0.{i}") as udp:
            replies += flood(udp, 5)
    assert replies == 10
    with harness.Udp("127.0.0.1", daemon.port, source="127.9.1.1") as udp:
        assert flood(udp, 5) == 5


def test_tokens_come_back(start, identity):
    daemon = start(workers=1, limit={"rate": 20, "burst": 1})
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        assert 1 <= flood(udp, 10) <= 4

        def answered():
            udp.send(oracle.request("rfc"))
            return udp.receive(0.3)
        harness.until(answered, "a token is back")


def test_tcp_requests_count_too(start, identity):
    daemon = limited(start, burst=8)
    before = daemon.counters()
    with harness.Tcp("127.0.0.1", daemon.port) as tcp:
        for _ in range(8):
            tcp.verified(identity.public, "rfc")
        for _ in range(4):
            tcp.send(oracle.request("rfc"))
        harness.until(lambda: harness.diff(before, daemon.counters()).get(
            "drop_rate_limited") == 4, "four are over the limit")


def test_many_sources_cost_no_memory(start, identity):
    """A table of 64 entries under 2000 prefixes: bounded, still serving."""
    daemon = limited(start, burst=1, entries=64)
    begin = None
    for i in range(2000):
        source = f"127.{10 + i // 65025}.{i // 255 % 255}.{i % 255 + 1}"
        with harness.Udp("127.0.0.1", daemon.port, source=source) as udp:
            udp.send(oracle.request("rfc"))
        if i == 500:
            daemon.counters()
            begin = harness.rss_kb(daemon.pid)
    with harness.Udp("127.0.0.1", daemon.port, source="127.200.0.1") as udp:
        udp.verified(identity.public, "rfc")
    assert harness.rss_kb(daemon.pid) - begin < 2048


def test_off_by_default(start):
    daemon = start()
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        assert flood(udp, 300) == 300
