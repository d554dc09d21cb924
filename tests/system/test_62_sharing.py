"""One port, two daemons: the time server on all addresses, a customer's
application on one of them. sharing.mode off, open, reuseport."""
import contextlib
import errno
import socket
import subprocess
import sys

import harness
import pytest
from proxyharness import L4proxyd, Origin, connect, echo, read_exactly
from sharedport import TwoDaemons
from udporigin import UdpOrigin

EDGE = "127.0.0.9"  # the customer's address
ORIGIN = "127.0.0.11"
TIME = "127.0.0.10"  # one that the time server keeps
FLAGS = {"open": socket.SO_REUSEADDR, "reuseport": socket.SO_REUSEPORT}
BOTH = [("open", ["udp"]), ("reuseport", ["udp", "tcp"])]


class Pair(TwoDaemons):
    """Both daemons on one port, not started."""

    def __init__(self, directory, identity, mode, transports, proxy_mode=None):
        self.identity, self.transports = identity, transports
        self.port = harness.free_port()
        self.tcp_origin = Origin(echo, ORIGIN)
        self.udp_origin = UdpOrigin(address=ORIGIN)
        config = harness.base_config(self.port, [identity], "0.0.0.0",
                                     workers=2, sharing={"mode": mode})
        config["listen"][0]["transports"] = transports
        self.time = harness.Roughtimed(directory, config)
        self.proxy = L4proxyd(directory, [self.app(t) for t in transports],
                              drain_s=0,
                              sharing={"mode": proxy_mode or mode})

    def app(self, transport, edge=EDGE):
        port = self.origin(transport).port
        return {"name": f"customer-{transport}-{edge[-1]}",
                "protocol": f"{transport}/{self.port}", "edge_ips": [edge],
                "origin_direct": [f"{transport}://{ORIGIN}:{port}"]}

    def tells_the_time(self, host=TIME):
        for transport in self.transports:
            out = harness.run("roughtime", "query", f"{host}:{self.port}",
                              self.identity.public_text, f"--{transport}",
                              "--json")
            assert '"verified":true' in out.stdout.replace(" ", "")

    def echoes(self, edge=EDGE, word=b"customer"):
        with harness.Udp(edge, self.port) as client:
            assert client.ask(word) == word
        if "tcp" in self.transports:
            with connect(self.port, host=edge) as s:
                s.sendall(word)
                assert read_exactly(s, len(word)) == word


@pytest.fixture
def pair(tmp_path, identity):
    with contextlib.ExitStack() as made:
        def make(mode, transports, **more):
            p = Pair(tmp_path, identity, mode, transports, **more)
            made.callback(p.stop)
            return p
        yield make


@pytest.mark.parametrize("mode, transports", BOTH)
@pytest.mark.parametrize("first", ["time", "proxy"])
def test_both_serve_on_one_port(pair, mode, transports, first):
    p = pair(mode, transports)
    order = [p.time, p.proxy] if first == "time" else [p.proxy, p.time]
    for daemon in order:
        daemon.start()
    for _ in range(5):
        p.tells_the_time()
        p.echoes()
    for daemon in order:  # each comes back beside the other
        daemon.stop()
        p.start_again(daemon)
        p.tells_the_time()
        p.echoes()
    assert all(f"sharing: {mode}: " in d.log() for d in order)


@pytest.mark.parametrize("mode, transports", BOTH)
def test_one_side_is_not_enough(pair, mode, transports):
    """The refusal names who is in the way, and what to change."""
    p = pair(mode, transports, proxy_mode="off")
    p.time.start()
    p.proxy.start(wait=False)
    assert p.proxy.child.wait(harness.PATIENCE_S) == 1
    log = p.proxy.log()
    assert f"held by pid {p.time.pid} (roughtimed)" in log
    assert "the newcomer carries no sharing flag" in log
    p.proxy.child = None
    p.tells_the_time()


def test_open_does_not_help_tcp(pair):
    p = pair("open", ["udp", "tcp"])
    p.time.start()
    assert "TCP ports are held alone" in p.time.log()
    p.proxy.start(wait=False)
    assert p.proxy.child.wait(harness.PATIENCE_S) == 1
    assert f"cannot bind tcp {EDGE}:{p.port}" in p.proxy.log() or \
        f"cannot listen tcp {EDGE}:{p.port}" in p.proxy.log()
    p.proxy.child = None
    p.tells_the_time()


@pytest.mark.parametrize("mode, transports", BOTH)
def test_without_its_owner_the_address_falls_to_the_wildcard(
        pair, mode, transports):
    p = pair(mode, transports)
    p.time.start()
    p.proxy.start()
    p.echoes()
    p.proxy.stop()
    p.tells_the_time(EDGE)
    p.start_again(p.proxy)
    p.echoes()


@pytest.mark.parametrize("mode, transports", BOTH)
def test_a_test_of_the_configuration_takes_no_packet(pair, mode, transports):
    p = pair(mode, transports)
    p.time.start()
    p.proxy.start()
    with harness.Udp(EDGE, p.port) as client:
        for program, daemon in (("l4proxyd", p.proxy), ("roughtimed", p.time)):
            for _ in range(5):
                test = subprocess.Popen(
                    [harness.BUILD / program, "-t", *daemon.command()],
                    stderr=subprocess.PIPE, text=True)
                n = 0
                while test.poll() is None or n < 50:
                    word = b"%d of many" % n
                    assert client.ask(word) == word
                    n += 1
                assert test.returncode == 0, test.stderr.read()
                test.stderr.close()
    p.tells_the_time()


def test_a_test_finds_what_a_start_would_not_get(pair):
    p = pair("open", ["udp"], proxy_mode="off")
    p.time.start()
    p.proxy.write_config(p.proxy.config)
    out = harness.run("l4proxyd", "-t", *p.proxy.command(), check=False)
    assert out.returncode == 1
    assert f"held by pid {p.time.pid} (roughtimed)" in out.stderr


def binds(mode, port, uid):
    """Whether a process of this user binds the customer's UDP address too."""
    code = ("import os, socket, sys\n"
            f"os.setuid({uid})\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            f"s.setsockopt(socket.SOL_SOCKET, {FLAGS[mode]}, 1)\n"
            "try:\n"
            f"    s.bind(('{EDGE}', {port}))\n"
            "except OSError as e:\n"
            "    sys.exit(e.errno)\n")
    return subprocess.run([sys.executable, "-c", code]).returncode


@pytest.mark.parametrize("mode, transports", BOTH)
def test_another_user_in_the_same_place(as_root, pair, mode, transports):
    """open asks nobody who they are; a group of SO_REUSEPORT is one user's."""
    p = pair(mode, transports)
    p.time.start()
    p.proxy.start()
    stranger = 65534
    got = binds(mode, p.port, stranger)
    assert got == (0 if mode == "open" else errno.EADDRINUSE)
    p.echoes()


def test_a_reload_adds_an_edge(pair):
    p = pair("open", ["udp"])
    p.time.start()
    p.proxy.start()
    apps = [p.app("udp"), p.app("udp", "127.0.0.8")]
    assert p.proxy.reload(apps) == "reloaded"
    p.echoes("127.0.0.8")
    p.echoes()
    p.tells_the_time()


def test_a_reload_beside_roots_group_is_refused_whole(as_root, pair):
    p = pair("reuseport", ["udp"])
    p.time.start()
    p.proxy.start()
    apps = [p.app("udp"), p.app("udp", "127.0.0.8")]
    assert p.proxy.reload(apps) == "reload failed"
    assert "another user" in p.proxy.log() or "uid" in p.proxy.log()
    p.echoes()
    p.tells_the_time()


def test_the_mode_takes_a_restart(pair):
    p = pair("open", ["udp"])
    p.time.start()
    p.proxy.start()
    assert p.proxy.reload(sharing={"mode": "off"}) == "reloaded"
    p.proxy.expect_log(r"takes a restart .*: sharing\.mode")
    p.echoes()
