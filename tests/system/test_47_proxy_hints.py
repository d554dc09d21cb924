"""l4proxyd over UDP: flows that end before they are idle (`udp` hints)."""
import socket

import harness
import pytest

PATIENT = 3600  # idle_timeout_s: nothing here ends by being idle


@pytest.fixture
def start(udp_proxy):
    def make(*argv, **rules):
        return udp_proxy(*argv, **{"idle_timeout_s": PATIENT, **rules})
    return make


def client(p):
    return harness.Udp("127.0.0.1", p.port)


def sockets(p):
    return sum(t.startswith("socket:") for t in harness.fds(p.pid).values())


def test_one_reply_ends_a_flow(start):
    p, o = start(udp={"responses": 1})
    before = sockets(p)
    with client(p) as c:
        for n in range(1, 4):
            assert c.ask(b"?") == b"?"
            ended = p.expect_events(n, Event="disconnect", Status=200)
            assert {(e["ClientBytes"], e["OriginBytes"])
                    for e in ended} == {(1, 1)}
        assert len({d.peer for d in o.seen}) == 3
    assert sockets(p) == before


def test_each_request_has_its_replies(start):
    """Two for each; a second request before them waits for two more."""
    queue = []

    def serve(d):
        queue.append(d)
        return [] if len(queue) < 2 else [b"1", b"2", b"3"]
    p, o = start(serve, udp={"responses": 2})
    with client(p) as c:
        c.send(b"a")
        harness.until(lambda: len(queue) == 1, "the first request")
        c.send(b"b")
        assert [c.receive() for _ in range(3)] == [b"1", b"2", b"3"]
        assert not p.events(Event="disconnect")
        o.socket.sendto(b"4", o.seen[0].peer)
        assert c.receive() == b"4"
        p.expect_events(Event="disconnect", Status=200)
    assert len({d.peer for d in o.seen}) == 1


def test_each_request_is_a_flow_of_its_own(start):
    """Also those in one burst; late replies still find their way."""
    p, o = start(lambda d: [], udp={"requests": 1, "responses": 1})
    with client(p) as c:
        for n in range(20):
            c.send(b"%02d" % n)
        harness.until(lambda: len(o.seen) == 20, "20 requests")
        assert len({d.peer for d in o.seen}) == 20
        for d in reversed(o.seen):
            o.socket.sendto(d.data, d.peer)
        got = {c.receive() for _ in range(20)}
        assert got == {b"%02d" % n for n in range(20)}
        p.expect_events(20, Event="disconnect", Status=200)


def test_after_so_many_requests_another_flow_begins(start):
    p, o = start(udp={"requests": 3})
    with client(p) as c:
        for n in range(7):
            assert c.ask(b"%d" % n) == b"%d" % n
    ports = [d.peer[1] for d in o.seen]
    assert [ports.index(x) for x in ports] == [0, 0, 0, 3, 3, 3, 6]
    assert not p.events(Event="disconnect")  # more may come back


def test_a_flow_waits_for_all_its_requests(start):
    p, o = start(udp={"requests": 2, "responses": 1})
    with client(p) as c:
        assert c.ask(b"1") == b"1"
        assert c.ask(b"2") == b"2"
        p.expect_events(Event="disconnect")
        assert c.ask(b"3") == b"3"
        assert len(p.events(Event="disconnect")) == 1
    assert o.seen[0].peer == o.seen[1].peer != o.seen[2].peer


def test_one_way_holds_nothing(start):
    p, o = start(lambda d: [], udp={"one_way": True})
    before = sockets(p)
    with client(p) as c:
        for n in range(50):
            c.send(b"%02d" % n)
        harness.until(lambda: len(o.seen) == 50, "50 datagrams")
        assert [d.data for d in o.seen] == [b"%02d" % n for n in range(50)]
        harness.until(lambda: sum(e["ClientBytes"] for e in p.events(
            Event="disconnect", Status=200)) == 100, "all flows have ended")
    assert sockets(p) == before


def test_one_way_by_the_hundred(start):
    p, o = start(lambda d: [], udp={"one_way": True, "requests": 100})
    with client(p) as c:
        for n in range(250):
            c.send(b"x")
            if n % 50 == 49:  # what a queue of default size holds
                harness.until(lambda: len(o.seen) == n + 1, "datagrams")
    ports = [d.peer[1] for d in o.seen]
    # batches are not cut: a flow may have a few more
    assert 2 <= len(set(ports)) <= 3
    assert len(p.expect_events(2, Event="disconnect", Status=200)) == 2


def test_the_origin_that_refuses_ends_it_too(start):
    p, o = start(udp={"responses": 1, "requests": 1})
    o.close()
    with client(p) as c:
        c.send(b"?")
        p.expect_events(Event="disconnect", Status=447)
        c.send(b"?")
        p.expect_events(2, Event="disconnect", Status=447)


@pytest.mark.parametrize("requests", [0, 1])
def test_ten_thousand_queries_need_few_flows(start, requests):
    """As a resolver asks: a socket for each query, 32 at a time; the table
    has room for 64, and nobody is pushed out."""
    n, at_once = 10000, 32
    p, o = start(udp={"responses": 1, "requests": requests},
                 daemon={"workers": 1, "udp_flows": 64})
    peak = 0
    for begin in range(0, n, at_once):
        asked = []
        for i in range(begin, min(begin + at_once, n)):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.settimeout(harness.PATIENCE_S)
            s.connect(("127.0.0.1", p.port))
            s.send(b"query %d" % i)
            asked.append((s, b"query %d" % i))
        for s, query in asked:
            assert s.recv(100) == query
            s.close()
        if begin % (100 * at_once) == 0:
            peak = max(peak, sockets(p))
    ended = p.expect_events(n, Event="disconnect")
    assert {e["Status"] for e in ended} == {200}, "somebody was pushed out"
    assert all((e["ClientBytes"], e["OriginBytes"]) != (0, 0) for e in ended)
    assert peak <= 64 + 8
    assert len(o.seen) == n


def test_a_reload_changes_the_hints(start):
    p, o = start(udp={"responses": 1})
    plain = {k: v for k, v in p.app.items() if k != "udp"}
    assert p.reload([plain]) == "reloaded"
    with client(p) as c:
        for _ in range(3):
            assert c.ask(b"?") == b"?"
        assert len({d.peer for d in o.seen}) == 1
    assert p.reload([p.app]) == "reloaded"
    with client(p) as c:
        assert c.ask(b"?") == b"?"
        p.expect_events(1, Event="disconnect", Status=200)
