"""l4proxyd's health checks: who is taken out, who comes back, and why."""
import json
import re
import threading
import time

import harness
import pytest
from proxyharness import (L4proxyd, Origin, application, blackhole, connect,
                          echo, idle, is_turned_away, read_exactly)
from udporigin import UdpOrigin, udp_application

TCP = {"type": "tcp", "interval_s": 1, "timeout_s": 1, "rise": 2, "fall": 2}


def ask(port):
    """One session to its end; the bytes that came back."""
    with connect(port) as c:
        c.sendall(b"hello")
        return read_exactly(c, 5)


def down(port, why):
    return rf"origin 127\.0\.0\.1:{port} is down: {why}; "


def up(port):
    return rf"origin 127\.0\.0\.1:{port} is up; "


def sessions(origin):
    """Those that brought bytes: a plain check brings none."""
    return len([s for s in origin.served if s])


class Counting(Origin):
    """An echo that remembers what each connection asked."""

    def __init__(self, **more):
        self.served = []
        super().__init__(self.count, **more)

    def count(self, connection):
        data = connection.recv(1 << 16)
        self.served.append(data)
        connection.sendall(data)
        connection.close()


def test_an_origin_dies_and_comes_back(proxy):
    """After the line that says it is down no session is tried there."""
    port = harness.free_port()
    with Counting() as stays:
        with Counting(port=port) as dies:
            p = proxy(stays, dies, health=TCP)
            harness.until(lambda: [ask(p.port)] and sessions(dies),
                          "sessions at both")
        p.expect_log(down(port, "connect: Connection refused"))
        errors = len(p.events(Event="originError"))
        before = sessions(stays)
        for _ in range(20):
            assert ask(p.port) == b"hello"
        assert sessions(stays) == before + 20
        assert len(p.events(Event="originError")) == errors
        with Counting(port=port) as back:
            p.expect_log(up(port))
            harness.until(lambda: [ask(p.port)] and sessions(back),
                          "sessions at the one that is back")


def test_times_are_those_of_fall_and_rise(proxy, origin):
    """Down within fall intervals, up within rise intervals, and not sooner
    than the count of checks allows."""
    o, port = origin(echo), harness.free_port()
    p = proxy(o, port, health={**TCP, "fall": 3, "rise": 3})
    began = time.monotonic()
    p.expect_log(down(port, "connect: Connection refused"))
    fell = time.monotonic() - began
    assert 1.5 < fell < 10, fell  # two pauses of at least 0.9 s
    began = time.monotonic()
    with Origin(echo, port=port):
        p.expect_log(up(port))
    rose = time.monotonic() - began
    assert 1.5 < rose < 10, rose


def test_a_wrong_answer_is_down_and_the_right_one_is_up(proxy):
    role = {"now": b"role:master\r\n"}

    def serve(connection):
        asked = connection.recv(1 << 16)
        connection.sendall(role["now"] if asked == b"ROLE\r\n" else asked)
        connection.close()
    with Origin(serve) as o, Origin(serve) as other:
        p = proxy(o, other, health={
            **TCP, "type": "tcp-expect", "send": "ROLE\\r\\n",
            "expect": "role:master"})
        assert ask(p.port) == b"hello"
        role["now"] = b"role:slave\r\n"
        why = r'answer differs: "role:slave\\x0d\\x0a"'
        p.expect_log(down(o.port, why))
        p.expect_log(down(other.port, why))
        p.expect_log("none of 2 is up, they are used as if they were")
        assert ask(p.port) == b"hello"  # last_known
        role["now"] = b"role:master\r\n"
        p.expect_log(up(o.port))
        p.expect_log(up(other.port))


def test_silence_and_an_early_end_have_their_words(proxy, origin):
    silent, closes = origin(idle), origin(lambda c: c.close())
    p = proxy(silent, closes, health={**TCP, "type": "tcp-expect",
                                      "expect": "220 "})
    p.expect_log(down(silent.port, "no answer within 1 s"))
    p.expect_log(down(closes.port, "closed without an answer"))


def test_a_blackhole_times_out(proxy, origin):
    o = origin(echo)
    with blackhole() as port:
        p = proxy(port, o, health=TCP, connect_timeout_s=30)
        p.expect_log(down(port, "connect: no answer within 1 s"))
        for _ in range(4):  # nobody waits for the hole's 30 s any more
            before = time.monotonic()
            assert ask(p.port) == b"hello"
            assert time.monotonic() - before < 15


def test_all_down_and_refuse(proxy, origin):
    port = harness.free_port()
    p = proxy(port, health=TCP, origins_down="refuse")
    p.expect_log(down(port, "connect: Connection refused"))
    p.expect_log("none of 1 is up, new sessions are refused")
    since = len(p.events(Event="originError"))
    assert is_turned_away(p.port)
    harness.until(lambda: p.events(Event="originError", Status=503),
                  "status 503")
    assert len(p.events(Event="originError")) == since + 1
    with Origin(echo, port=port):
        p.expect_log(up(port))
        assert ask(p.port) == b"hello"


# -- UDP -----------------------------------------------------------------------


UDP = {**TCP, "type": "udp-expect", "send": "\\x12\\x34ping",
       "expect": "\\x12\\x34"}


class Server(UdpOrigin):
    """Answers the check, and clients by its name, unless it is silent."""

    def __init__(self, name, **more):
        self.name, self.silent = name, False
        super().__init__(self.answer, **more)

    def answer(self, datagram):
        if self.silent:
            return []
        if datagram.data == b"\x12\x34ping":
            return [b"\x12\x34pong"]
        return [self.name]


def who(port, timeout_s=5):
    """Which server answers a new client."""
    with harness.Udp("127.0.0.1", port) as c:
        c.send(b"who")
        return c.receive(timeout_s)


@pytest.fixture
def udp_proxy(tmp_path):
    made = []

    def make(*origins, **more):
        port = harness.free_port()
        p = L4proxyd(tmp_path, [udp_application(port, *origins, **more)])
        p.port = port
        made.append(p)
        return p.start()
    yield make
    for p in made:
        p.stop()


def test_a_udp_server_goes_silent(udp_proxy):
    with Server(b"a") as a, Server(b"b") as b:
        p = udp_proxy(a, b, health=UDP)
        assert {who(p.port) for _ in range(4)} == {b"a", b"b"}
        a.silent = True
        p.expect_log(down(a.port, "no answer within 1 s"))
        assert {who(p.port) for _ in range(6)} == {b"b"}
        a.silent = False
        p.expect_log(up(a.port))
        assert {who(p.port) for _ in range(4)} == {b"a", b"b"}


def test_a_closed_udp_port_fails_by_icmp(udp_proxy):
    """Long before the time that a check may take."""
    with Server(b"a") as gone, Server(b"b") as b:
        gone.close()
        p = udp_proxy(gone, b, health={**UDP, "interval_s": 3600,
                                       "timeout_s": 3600, "fall": 1})
        p.expect_log(down(gone.port, "answer: Connection refused"))
        assert {who(p.port) for _ in range(4)} == {b"b"}


def test_all_down_and_refuse_over_udp(udp_proxy):
    with Server(b"a") as a:
        a.silent = True
        p = udp_proxy(a, health=UDP, origins_down="refuse")
        p.expect_log(down(a.port, "no answer within 1 s"))
        seen = len([d for d in a.seen if d.data == b"who"])
        with harness.Udp("127.0.0.1", p.port) as c:
            for _ in range(50):
                c.send(b"who")
            found = harness.until(
                lambda: p.events(Event="originError", Status=503),
                "status 503")
            assert len(found) == 1  # one line for all of these
        a.silent = False
        p.expect_log(up(a.port))
        assert who(p.port) == b"a"
        assert len([d for d in a.seen if d.data == b"who"]) == seen + 1
        assert len(p.events(Event="originError")) == 1


# -- reload --------------------------------------------------------------------


def test_a_reload_keeps_what_is_known(proxy, origin):
    """Unchanged or changed: who is down is not tried again."""
    o, dead = origin(echo), harness.free_port()
    p = proxy(o, dead, health=TCP)
    p.expect_log(down(dead, "connect: Connection refused"))
    refused = len(p.events(Event="originError"))
    since = p.mark()
    for app in (p.app, {**p.app, "lifetime_s": 3600}):
        assert p.reload([app]) == "reloaded"
        for _ in range(6):
            assert ask(p.port) == b"hello"
    assert len(p.events(Event="originError")) == refused
    assert "is down" not in p.log()[since:]
    # and checks go on: it comes back
    with Origin(echo, port=dead):
        p.expect_log(up(dead), since)
        harness.until(lambda: [ask(p.port)] and p.events(
            Event="connect", OriginPort=dead), "a session there")
    # without checks nobody is down
    assert p.reload([application(p.port, o, dead)]) == "reloaded"
    harness.until(lambda: [ask(p.port)] and len(p.events(
        Event="originError", OriginPort=dead)) > refused, "it is tried")


def test_checks_of_a_removed_application_stop(proxy, origin):
    asked = threading.Event()

    def note(connection):
        asked.set()
        connection.close()
    o, other = origin(note), origin(echo)
    p = proxy(o, health=TCP)
    assert asked.wait(harness.PATIENCE_S)
    assert p.reload([application(p.port, other, name="another")]) == "reloaded"
    asked.clear()
    assert not asked.wait(3)  # three intervals


def test_a_check_of_a_server_that_wants_headers(proxy):
    """PROXY v2 LOCAL, as its specification asks of health checks."""
    heard = []

    def serve(connection):
        heard.append(connection.recv(1 << 16))
        connection.sendall(b"ready")
        connection.close()
    with Origin(serve) as o:
        p = proxy(o, proxy_protocol="v2", health={
            **TCP, "type": "tcp-expect", "send": "hi", "expect": "ready"})
        harness.until(lambda: heard, "a check")
        assert heard[0] == (b"\r\n\r\n\0\r\nQUIT\n" + b"\x20\0\0\0" + b"hi")
        assert "is down" not in p.log()


def test_ejection_is_a_setting(proxy, origin):
    """after: 1 leaves an origin out after one failure; 0 never does."""
    o, dead = origin(echo), harness.free_port()
    p = proxy(dead, o, eject={"after": 1, "for_s": 3600})
    for _ in range(10):
        assert ask(p.port) == b"hello"
    p.expect_events(1, Event="originError", OriginPort=dead)
    assert p.reload([{**p.app, "eject": {"after": 0}}]) == "reloaded"
    for _ in range(10):
        assert ask(p.port) == b"hello"
    harness.until(lambda: len(p.events(
        Event="originError", OriginPort=dead)) >= 1 + 5, "each turn tries it")


def test_the_operator_sees_state_and_reason(proxy, origin, tmp_path):
    o, dead = origin(echo), harness.free_port()
    path = str(tmp_path / "run" / "control.sock")
    p = proxy(o, dead, health=TCP, daemon={"control": path})
    p.expect_log(down(dead, "connect: Connection refused"))

    def ctl(*argv):
        return harness.run("l4proxyctl", "-s", path, *argv).stdout
    good, bad = map(json.loads, ctl("--json", "origins").splitlines())
    assert (good["state"], good["why"], good["checks_failed"]) == ("up", "", 0)
    assert (bad["state"], bad["why"]) == ("down",
                                          "connect: Connection refused")
    assert 2 <= bad["checks_failed"] == bad["checks"]
    assert 0 <= bad["state_ms"] < 30000
    assert re.search(r"down for \d+s +connect: Connection refused",
                     ctl("origins"))
    name = f'{{application="story",protocol="tcp",origin="127.0.0.1:{dead}"}}'
    found = ctl("metrics")
    assert re.search(
        "l4proxyd_origin_checks_failed_total" + re.escape(name) + r" [1-9]",
        found), found
