"""l4proxyctl drain and undrain: no new clients, the others go on."""
import socket
import subprocess

import harness
import pytest
from controlharness import GOOD, REFUSED, table
from proxyharness import (Origin, application, connect, idle, is_reset,
                          read_exactly, refuses)
from udporigin import UdpOrigin, udp_application


def test_a_drained_application_refuses_and_its_sessions_go_on(controlled, tcp):
    port, other = harness.free_port(), harness.free_port()
    p = controlled(application(port, tcp),
                   application(other, tcp, name="other"))
    with connect(port) as c:
        c.sendall(b"x")
        read_exactly(c, 1)
        told = p.ctl("drain", "story", "--for", "1h").stdout
        assert "1 sessions" in told and ("59m" in told or "1h" in told)
        assert all(refuses(port) for _ in range(20))
        c.sendall(b"on")
        assert read_exactly(c, 2) == b"on"
        row, = p.rows("applications", "--app", "story")
        assert row["state"] == "draining" and row["live"] == 1
        assert 3500000 < row["drain_left_ms"] <= 3600000
        state = table(p.ctl("applications").stdout)[0]["STATE"]
        assert state.startswith("draining, ends in")
        with connect(other) as o:
            o.sendall(b"x")
            read_exactly(o, 1)
        assert p.ctl("undrain", "story").stdout == "story: serves\n"
        c.sendall(b"on")
        assert read_exactly(c, 2) == b"on"
    for _ in range(20):  # every worker's socket listens again
        with connect(port) as c:
            c.sendall(b"back")
            assert read_exactly(c, 4) == b"back"
    assert p.counters()["begun"] == 21


def test_what_is_left_is_reset_when_the_time_is_up(controlled):
    port = harness.free_port()
    with Origin(idle) as o:
        p = controlled(application(port, o))
        with connect(port) as c, connect(port) as d:
            o.connection(1)
            p.ctl("drain", "story", "--for", "1s")
            assert is_reset(c) and is_reset(d)
        harness.until(lambda: p.counters()["ended_by"] == {"503": 2},
                      "both were cut")
        assert refuses(port)
        p.ctl("undrain", "story")
        with connect(port):
            o.connection(2)


def test_drain_at_once_and_the_default(controlled):
    port = harness.free_port()
    with Origin(idle) as o:
        p = controlled(application(port, o), drain_s=1234)
        with connect(port) as c:
            o.connection(0)
            p.ctl("drain", "story")
            left = p.rows("applications")[0]["drain_left_ms"]
            assert 1200000 < left <= 1234000
            p.ctl("drain", "story", "--for", "0")  # said again, to hurry
            assert is_reset(c)


def test_a_drained_udp_application_keeps_its_flows(controlled):
    port = harness.free_port()
    with UdpOrigin() as o:
        p = controlled(udp_application(port, o))
        with harness.Udp("127.0.0.1", port) as old, \
                harness.Udp("127.0.0.1", port) as new:
            assert old.ask(b"1") == b"1"
            p.ctl("drain", "story", "--for", "1h")
            assert old.ask(b"2") == b"2"
            new.send(b"3")
            harness.until(lambda: p.counters()["refused_drain"] == 1,
                          "a new client is refused")
            assert p.counters()["live"] == 1
            p.ctl("drain", "story", "--for", "0")
            harness.until(lambda: p.counters()["live"] == 0, "over")
            p.ctl("undrain", "story")
            assert new.ask(b"4") == b"4"
            assert o.seen[-1].data == b"4" and len(o.seen) == 3


def test_drained_ports_stay_ours(controlled, tcp):
    """Nobody else gets a port of ours, whatever he asks of the kernel."""
    port = harness.free_port()
    p = controlled(application(port, tcp))
    p.ctl("drain", "story")
    for options in ([], [socket.SO_REUSEADDR]):
        for address in ("127.0.0.1", "0.0.0.0"):
            with socket.socket() as s:
                for o in options:
                    s.setsockopt(socket.SOL_SOCKET, o, 1)
                with pytest.raises(OSError, match="in use"):
                    s.bind((address, port))
                    s.listen()
    p.ctl("undrain", "story")
    assert not refuses(port)


def test_drained_stays_drained_over_a_reload(controlled, tcp):
    port, taken = harness.free_port(), harness.free_port()
    p = controlled(application(port, tcp))
    with connect(port) as c:
        c.sendall(b"x")
        read_exactly(c, 1)
        p.ctl("drain", "story", "--for", "1h")
        for rules in ({}, {"balance": "source-hash"}):  # it changes
            p.write_config(dict(p.config, applications=[
                application(port, tcp, **rules)]))
            p.ctl("reload")
            harness.until(lambda: refuses(port), "still drained")
            assert p.rows("applications")[0]["state"] == "draining"
            assert p.rows("applications")[0]["live"] == 1
        # new ports of a drained application refuse too
        p.write_config(dict(p.config, applications=[
            application(taken, tcp),
            application(port, tcp, name="heir")]))
        p.ctl("reload")
        harness.until(lambda: refuses(taken), "drained at its new port")
        with connect(port) as d:  # another application has the old one
            d.sendall(b"x")
            assert read_exactly(d, 1) == b"x"
        # sessions of before the reload are its sessions
        p.ctl("drain", "story", "--for", "0")
        assert is_reset(c)
    p.ctl("undrain", "story")
    assert not refuses(taken)
    assert "still drained" in p.log()


def test_drain_under_load_cuts_nothing(controlled, tcp):
    """Clients that got through get their answer; the others are refused."""
    port = harness.free_port()
    p = controlled(application(port, tcp))
    served = refused = 0

    def one():
        try:
            c = connect(port)
        except ConnectionRefusedError:
            return False
        with c:
            c.sendall(b"x")
            assert read_exactly(c, 1) == b"x"
        return True
    for _ in range(5):
        drain = subprocess.Popen(
            [harness.BUILD / "l4proxyctl", "-s", p.socket, "drain", "story"],
            stdout=subprocess.DEVNULL)
        while drain.poll() is None:
            served += one()
        assert drain.returncode == GOOD and not one()
        refused += 1
        p.ctl("undrain", "story")
        assert one()
    assert served > 0 and refused == 5


def test_drain_of_nobody(controlled, tcp):
    p = controlled(application(harness.free_port(), tcp))
    for command in ("drain", "undrain"):
        told = p.ctl(command, "nobody", status=REFUSED)
        assert "no application nobody" in told.stderr
    p.ctl("undrain", "story")  # it serves: that is well
