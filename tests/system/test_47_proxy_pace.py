"""l4proxyd and bytes_per_s over TCP: held up, not dropped, and fairly."""
import hashlib
import random
import socket
import threading
import time

import harness
import pytest
from proxyharness import connect, echo, read_all, read_exactly

MIB = 1 << 20


def give(n):
    """An origin that sends this many bytes and ends."""
    def serve(connection):
        connection.sendall(bytes(n))
        connection.close()
    return serve


def timed(p, n):
    """Seconds that all of `n` bytes take to come."""
    before = time.monotonic()
    with connect(p.port) as c:
        assert len(read_all(c)) == n
    return time.monotonic() - before


@pytest.mark.parametrize("rate,splice_after", [
    (1000000, 1 << 40), (20000000, 0)], ids=["copied", "spliced"])
def test_a_stream_has_the_rate_that_is_set(proxy, origin, rate,
                                           splice_after):
    n = rate * 2
    p = proxy(origin(give(n)), limits={"bytes_per_s": rate},
              daemon={"splice_after": splice_after})
    for _ in range(5):
        took = timed(p, n)
        assert took > 1.9, took
        if took < 2.3:  # a machine that is busy makes it slower, never faster
            break
    assert took < 2.3, took
    ended = harness.until(lambda: p.events(Event="disconnect", Status=200),
                          "the end")
    assert {e["OriginBytes"] for e in ended} == {n}


def test_both_ways_and_all_sessions_share_it(proxy, origin):
    """Three senders and a receiver, of two workers, the same bytes."""
    rate, n = 2000000, 1500000
    data = random.Random(3).randbytes(n)
    digests = []

    def swallow(connection):
        digests.append(hashlib.sha256(read_all(connection)).digest())
        connection.close()
    p = proxy(origin(swallow), limits={"bytes_per_s": rate})

    def send():
        with connect(p.port) as c:
            c.sendall(data)
            c.shutdown(socket.SHUT_WR)
            assert read_all(c) == b""
            done.append(time.monotonic() - before)
    done, before = [], time.monotonic()
    threads = [threading.Thread(target=send) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert digests == [hashlib.sha256(data).digest()] * 4
    assert 2.85 < max(done) < 4
    # equal parts: none is done long before the last
    assert min(done) > 0.75 * max(done), done


def test_small_talk_passes_beside_bulk(proxy, origin):
    """Whoever says little waits for a turn, not for the end of the bulk."""
    p = proxy(origin(echo), limits={"bytes_per_s": 500000})
    with connect(p.port) as bulk, connect(p.port) as talk:
        bulk.setblocking(False)
        waits = []
        for i in range(20):
            try:
                while True:
                    bulk.send(bytes(65536))
            except BlockingIOError:
                pass
            before = time.monotonic()
            talk.sendall(b"ping%02d" % i)
            assert read_exactly(talk, 6) == b"ping%02d" % i
            waits.append(time.monotonic() - before)
        assert sorted(waits)[10] < 0.5, waits


def test_waiting_costs_no_cpu_and_no_memory(proxy, origin):
    p = proxy(origin(give(64 * MIB)), limits={"bytes_per_s": 300000})
    clients = [connect(p.port) for _ in range(40)]
    p.expect_events(40, Event="connect")
    memory, spent = p.rss_kb(), p.cpu_s()
    time.sleep(2)
    assert p.cpu_s() - spent < 0.3
    assert p.rss_kb() - memory < 4096
    for c in clients:
        c.close()
    p.expect_events(40, Event="disconnect")
    # what those have reserved is not waited for by who comes next
    with connect(p.port) as c:
        before = time.monotonic()
        read_exactly(c, 60000)
        assert time.monotonic() - before < 3


def test_ends_and_resets_pass_while_it_waits(proxy, origin):
    p = proxy(origin(give(MIB)), limits={"bytes_per_s": 200000},
              lifetime_s=1)
    with connect(p.port) as c:
        read_exactly(c, 1000)
        before = time.monotonic()
        while not is_over(c):
            pass
        assert time.monotonic() - before < 10
    p.expect_events(Event="disconnect", Status=200)


def is_over(c):
    """True at the end, however it comes."""
    try:
        return c.recv(1 << 16) == b""
    except ConnectionResetError:
        return True


def test_who_waits_for_a_turn_is_not_idle(proxy, origin):
    """A portion takes 1.7 s at this rate, longer than silence may last."""
    p = proxy(origin(echo), limits={"bytes_per_s": 300}, idle_timeout_s=1)
    with connect(p.port) as c:
        c.sendall(bytes(700))
        assert read_exactly(c, 700) == bytes(700)


def test_a_reload_changes_the_rate_of_new_sessions(proxy, origin):
    n = 1000000
    p = proxy(origin(give(n)), limits={"bytes_per_s": 1})
    assert p.reload([dict(p.app, limits={"bytes_per_s": n})]) == "reloaded"
    assert 0.8 < timed(p, n) < 5
    assert p.reload([dict(p.app, limits={})]) == "reloaded"
    assert timed(p, n) < 0.9


# -- of each client prefix ----------------------------------------------------


def test_a_greedy_prefix_holds_up_nobody_else(proxy, origin):
    """Two of one prefix share what one of another has for itself."""
    n = 500000
    p = proxy(origin(give(n)), limits={"bytes_per_s_per_prefix": n,
                                       "prefix4": 32})
    took = {}

    def fetch(source, name):
        with connect(p.port, source=source) as c:
            assert len(read_all(c)) == n
            took[name] = time.monotonic() - before
    before = time.monotonic()
    threads = [threading.Thread(target=fetch, args=a) for a in (
        ("127.0.0.3", "a"), ("127.0.0.3", "b"), ("127.0.0.4", "alone"))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    greedy = max(took["a"], took["b"])
    assert 0.85 < took["alone"] < greedy and greedy > 1.85, took
    assert min(took["a"], took["b"]) > 0.75 * greedy, took


def test_datagrams_of_a_greedy_prefix_are_dropped(udp_proxy):
    rate, each = 20000, 1000
    p, o = udp_proxy(lambda d: [b"seen"] if d.data == b"?" else [],
                     limits={"bytes_per_s_per_prefix": rate})
    with harness.Udp("127.0.0.1", p.port, source="127.0.0.3") as greedy, \
            harness.Udp("127.0.0.1", p.port, source="127.0.0.4") as other:
        before = time.monotonic()
        for _ in range(200):
            greedy.send(bytes(each))
        for _ in range(10):  # what they say is not held up, nor dropped
            assert other.ask(b"?") == b"seen"
        harness.until(lambda: len(o.seen) >= 10 + rate // each,
                      "a second's worth")
        seen = len([d for d in o.seen if len(d.data) == each])
        most = (1 + time.monotonic() - before) * rate / each + 1
        assert rate // each <= seen <= most, (seen, most)
