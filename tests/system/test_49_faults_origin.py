"""l4proxyd when its origins fail under load: killed, deaf, gone."""
import collections
import contextlib
import os
import pathlib
import subprocess
import sys
import threading

import harness
import pytest
from proxyharness import (Controlled, Origin, application, connect,
                          is_turned_away, read_all, try_connect, works)
from services import in_front
from udporigin import UdpOrigin, udp_application

CLIENTS = 40

# Serves each connection in a thread, by argv: a process, so that it can be
# killed with everything that it has open.
ORIGIN = r"""
import socket, sys, threading
block = bytes(65536)
def echo(s):
    while data := s.recv(65536):
        s.sendall(data)
def deaf(s):
    threading.Event().wait()
def sink(s):
    while s.recv(65536):
        pass
def flood(s):
    while True:
        s.sendall(block)
def one(s):
    try:
        globals()[sys.argv[2]](s)
    except OSError:
        pass
    s.close()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=256)
print("ready", flush=True)
while True:
    s, _ = listener.accept()
    threading.Thread(target=one, args=(s,), daemon=True).start()
"""


class OriginProcess:
    def __init__(self, kind, port=None):
        self.port, self.kind, self.child = port or harness.free_port(), kind, \
            None
        harness.daemons.append(self)  # none outlives the session

    def __enter__(self):
        self.child = subprocess.Popen(
            [sys.executable, "-c", ORIGIN, str(self.port), self.kind],
            stdout=subprocess.PIPE)
        assert self.child.stdout.readline() == b"ready\n"
        return self

    def alive(self):
        return self.child.poll() is None

    def kill(self):
        self.child.kill()
        self.child.wait()

    def __exit__(self, *_):
        self.kill()
        self.child.stdout.close()


class Loaded:
    """A client that sends or reads without pause, and how that ended."""

    def __init__(self, port, sends):
        self.moved, self.end, self.sends = 0, None, sends
        self.socket = connect(port)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        block = bytes(65536)
        try:
            while True:
                n = self.socket.send(block) if self.sends else \
                    len(self.socket.recv(65536))
                if n == 0:
                    self.end = "end"
                    return
                self.moved += n
        except TimeoutError:
            self.end = "left hanging"
        except ConnectionResetError:
            self.end = "reset"
        except BrokenPipeError:  # a reset that came between two calls
            self.end = "reset"

    def ended(self):
        self.thread.join(harness.PATIENCE_S)
        self.socket.close()
        return self.end


# What the kernel sends for a process that is killed: RST when it had not read
# all, else FIN, and RST to whatever comes after that. After a FIN Linux tells
# the RST as EPIPE, which is Spectrum's 448.
@pytest.mark.parametrize("kind,sends,ends,statuses", [
    ("deaf", True, {"reset"}, {444}),
    ("sink", True, {"reset"}, {444, 448}),
    ("echo", True, {"reset"}, {444, 448}),
    ("flood", False, {"reset", "end"}, {200, 444}),
])
def test_an_origin_is_killed_under_load(proxy, kind, sends, ends, statuses):
    with OriginProcess(kind) as origin:
        p = proxy(origin.port)
        clients = [Loaded(p.port, sends) for _ in range(CLIENTS)]
        harness.until(lambda: all(c.moved > 65536 for c in clients), "load")
        p.expect_events(CLIENTS, Event="connect")
        assert not p.events(Event="disconnect")
        origin.kill()
        assert {c.ended() for c in clients} <= ends
    told = p.all_ended(CLIENTS)
    assert {e["Status"] for e in told} <= statuses
    if sends:
        assert sum(e["ClientBytes"] for e in told) <= sum(
            c.moved for c in clients)
    assert is_turned_away(p.port)
    harness.until(lambda: p.events(Event="originError", Status=521), "521")
    with OriginProcess("echo", origin.port):
        harness.until(lambda: works(p.port), "it is found again")
    assert p.alive()


def test_the_other_origin_takes_over(proxy):
    """New sessions, from the first on; those of the one that lives go on."""
    with OriginProcess("echo") as one, OriginProcess("echo") as other:
        p = proxy(one.port, other.port)
        held = [connect(p.port) for _ in range(20)]
        began = p.expect_events(20, Event="connect")
        at = {e["ClientPort"]: e["OriginPort"] for e in began}
        assert sorted(at.values()) == sorted([one.port, other.port] * 10)
        for c in held:  # it has been accepted there
            c.sendall(b"x")
            assert c.recv(1) == b"x"
        one.kill()
        for c in held:
            if at[c.getsockname()[1]] == one.port:
                assert c.recv(1) == b"", "nothing was under way: FIN"
            else:
                c.sendall(b"x")
                assert c.recv(1) == b"x"
        assert all(works(p.port) for _ in range(30)), "not one was turned away"
        for c in held:
            c.close()
        told = p.all_ended(50)
        assert sum(e["OriginPort"] == other.port for e in told) == 40


def test_udp_flows_of_a_killed_origin_end(tmp_path):
    """A flow learns it by ICMP when its client next speaks: 447."""
    with UdpOrigin() as origin, in_front(tmp_path, origin.port,
                                         "udp") as p:
        clients = [harness.Udp("127.0.0.1", p.port) for _ in range(CLIENTS)]
        for c in clients:
            assert c.ask(b"one") == b"one"
        origin.close()
        for c in clients:
            c.send(b"two")
        ended = p.all_ended(CLIENTS)
        assert {e["Status"] for e in ended} == {447}
        assert {(e["ClientBytes"], e["OriginBytes"]) for e in ended} == {
            (6, 3)}
        with UdpOrigin(port=origin.port):
            for c in clients:
                harness.until(lambda c=c: c.send(b"three") or
                              c.receive(0.2) == b"three", "a new flow")
                c.socket.close()
        p.stop()
        p.all_ended(2 * CLIENTS)


# -- descriptors ---------------------------------------------------------------


@pytest.mark.parametrize("limit", [120, 121])
def test_a_lack_of_descriptors_hurts_no_live_session(proxy, origin, limit):
    """The last one goes to a client in one case, to an origin in the other."""
    p = proxy(origin(), daemon={
        "workers": 1, "prefix": ("prlimit", f"--nofile={limit}:{limit}")})

    def echoes(c):
        c.sendall(b"live")
        return c.recv(4) == b"live"
    live = [connect(p.port) for _ in range(15)]
    assert all(map(echoes, live))
    waiting = [c for c in (try_connect(p.port) for _ in range(100)) if c]
    p.expect_log("no descriptor left, accept pauses; raise the limit")
    for _ in range(5):  # over several pauses
        assert all(map(echoes, live))
    assert p.log().count("no descriptor left") < 5, "once a while, not each"
    for c in waiting:
        c.close()
    harness.until(lambda: works(p.port), "it serves again")
    assert all(map(echoes, live))
    for c in live:
        c.close()
    p.all_ended(20)


def test_a_crowd_of_connections_leaves_some_to_others(tmp_path, origin):
    """Flows of UDP and the control socket get descriptors all the same."""
    with UdpOrigin() as udp:
        port = harness.free_port()
        apps = [application(port, origin(), name="crowded"),
                udp_application(port, udp, name="flows")]
        with Controlled(tmp_path, apps, workers=1,
                        prefix=("prlimit", "--nofile=400:400")) as p:
            crowd = [c for c in (try_connect(port) for _ in range(400)) if c]
            p.expect_log("no descriptor left, accept pauses")
            with contextlib.ExitStack() as flows:
                for i in range(50):
                    c = flows.enter_context(harness.Udp("127.0.0.1", port))
                    assert c.ask(b"%d" % i) == b"%d" % i
            refused, = p.rows("counters", "--app", "crowded")
            assert refused["refused_full"] > 0
            harness.until(lambda: p.events(Event="clientFiltered",
                                           Status=503), "a line about it")
            for c in crowd:
                c.close()
            harness.until(lambda: works(port), "it serves again")


def open_files(pid):
    """How many descriptors it has of each kind."""
    kinds = collections.Counter()
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            kinds[os.readlink(fd).split(":")[0]] += 1
    return kinds


def test_pipes_of_bulk_leave_some_to_others(tmp_path, origin):
    """Slow readers of bulk: with a pipe each nobody else would be served."""
    bulk = bytes(range(256)) * (32 << 10)

    def send(connection):
        with connection:
            connection.sendall(bulk)
    with UdpOrigin() as udp, Origin(send) as sender:
        port, small = harness.free_port(), harness.free_port()
        apps = [application(port, sender, name="bulk"),
                application(small, origin(), name="small"),
                {"name": "flows", "protocol": f"udp/{port}",
                 "edge_ips": "127.0.0.1",
                 "origin_direct": f"udp://127.0.0.1:{udp.port}"}]
        with Controlled(tmp_path, apps, workers=1,
                        prefix=("prlimit", "--nofile=200:200")) as p, \
                contextlib.ExitStack() as held:
            slow = [held.enter_context(connect(port, rcvbuf=8192))
                    for _ in range(5)]
            harness.until(lambda: open_files(p.pid)["pipe"] >= 10,
                          "bulk waits in pipes")
            slow += [held.enter_context(connect(port, rcvbuf=8192))
                     for _ in range(35)]
            harness.until(
                lambda: all(r["origin_bytes"] > 1 << 17 for r in
                            p.rows("sessions", "--app", "bulk")),
                "all have had what is copied first")
            for i in range(10):
                assert works(small)
                c = held.enter_context(harness.Udp("127.0.0.1", port))
                assert c.ask(b"%d" % i) == b"%d" % i
            assert "no descriptor" not in p.log()
            for c in slow:
                assert read_all(c) == bulk
