"""l4proxyd when the network fails: hosts that vanish, routes that lead
nowhere. A client, the proxy and two origins, each in a namespace."""
import subprocess
import time

import harness
import pytest
from proxyharness import (L4proxyd, Origin, connect, echo, echoes, idle,
                          is_reset)

CLIENT, PROXY, FIRST, SECOND = (f"10.96.0.{n}" for n in (1, 2, 3, 4))
PORT = 7000


class World:
    def __init__(self, tmp_path, namespaces):
        self.tmp_path, self.namespaces = tmp_path, namespaces
        self.host = {a: namespaces.host(f"h{a[-1]}", f"{a}/24")
                     for a in (CLIENT, PROXY, FIRST, SECOND)}
        self.closing = []

    def origin(self, address, serve=echo):
        made = harness.inside(self.host[address],
                              lambda: Origin(serve, address, PORT))
        self.closing.append(made)
        return made

    def proxy(self, *origins, daemon=None, **rules):
        app = {"name": "story", "protocol": f"tcp/{PORT}",
               "edge_ips": [PROXY],
               "origin_direct": [f"tcp://{a}:{PORT}" for a in origins],
               **rules}
        p = L4proxyd(self.tmp_path, [app], prefix=(
            "ip", "netns", "exec", self.host[PROXY]), **(daemon or {}))
        self.proxy_daemon = p
        return p.start()

    def connect(self, **more):
        return harness.inside(self.host[CLIENT], lambda: connect(
            PORT, host=PROXY, **more))

    def ip(self, address, *argv):
        self.namespaces.inside(self.host[address], *argv)

    def vanish(self, address):
        """The cable is pulled."""
        self.ip(address, "link", "set", "eth0", "down")

    def sysctl(self, address, setting):
        subprocess.run(["ip", "netns", "exec", self.host[address], "sysctl",
                        "-qw", setting], check=True)

    def stop(self):
        for o in self.closing:
            o.close()
        self.proxy_daemon.stop()


@pytest.fixture
def world(tmp_path, namespaces):
    made = World(tmp_path, namespaces)
    yield made
    made.stop()


def unreachable(world):
    world.ip(PROXY, "route", "add", "unreachable", f"{FIRST}/32")


def swallowed(world):
    """SYNs arrive, and their answers go nowhere: a firewall that drops."""
    world.ip(FIRST, "route", "add", "blackhole", f"{PROXY}/32")


@pytest.mark.parametrize("fault,status", [
    (swallowed, 522), (unreachable, 523)])
def test_an_origin_out_of_reach_is_passed_over(world, fault, status):
    for address in (FIRST, SECOND):
        world.origin(address)
    fault(world)
    p = world.proxy(FIRST, SECOND, connect_timeout_s=1)
    for _ in range(2):  # of two, one begins with the first
        begun = time.monotonic()
        with world.connect() as c:
            assert echoes(c)
        assert time.monotonic() - begun < 10
    told = harness.until(lambda: p.events(Event="originError"), "a failure")
    assert {(e["OriginIP"], e["Status"]) for e in told} == {(FIRST, status)}
    ended = p.all_ended(2)
    assert {(e["OriginIP"], e["Status"]) for e in ended} == {(SECOND, 200)}


def test_a_vanished_origin_is_passed_over(world):
    """Nobody answers for its address: the timeout, or the kernel's word."""
    for address in (FIRST, SECOND):
        world.origin(address)
    p = world.proxy(FIRST, SECOND, connect_timeout_s=1)
    world.vanish(FIRST)
    for _ in range(2):
        with world.connect() as c:
            assert echoes(c)
    told = harness.until(lambda: p.events(Event="originError"), "a failure")
    assert {e["OriginIP"] for e in told} == {FIRST}
    assert {e["Status"] for e in told} <= {522, 523}
    p.all_ended(2)


# -- peers that vanish without a word -------------------------------------------


def test_a_silent_client_that_vanished_is_idle(world):
    o = world.origin(FIRST, idle)
    p = world.proxy(FIRST, idle_timeout_s=2)
    c = world.connect()
    c.sendall(b"hello")
    assert o.connection().recv(5) == b"hello"
    world.vanish(CLIENT)
    [end] = p.all_ended()
    assert (end["Status"], end["ClientBytes"]) == (200, 5)
    assert o.connection().recv(1) == b"", "the origin is told"
    c.close()


def test_both_sides_are_asked_whether_they_live(world):
    """Keepalive is on, with its minute: what ends a session whose idle time
    is longer. The minute itself is not waited for."""
    world.origin(FIRST, idle)
    p = world.proxy(FIRST)
    with world.connect() as c:
        p.expect_events(Event="connect")

        def timers():
            told = subprocess.run(
                ["ip", "netns", "exec", world.host[PROXY], "ss", "-Htno",
                 "state", "established"], check=True, capture_output=True,
                text=True).stdout
            return told.count("timer:(keepalive,"), told
        # The origin's is set once a session has lived for a while.
        harness.until(lambda: timers()[0] == 2, f"two timers: {timers()}")
        assert c.fileno() >= 0


@pytest.mark.parametrize("gone,timed_out,unreachable", [
    (CLIENT, 497, 496), (FIRST, 445, 446)])
@pytest.mark.parametrize("cable", [False, True])
def test_a_peer_that_takes_nothing_any_more_is_given_up(
        world, gone, timed_out, unreachable, cable):
    """Bytes are under way to it: the kernel repeats them for a while, here
    shortened. Without a cable nobody answers for its address any more."""
    o = world.origin(FIRST, idle)
    p = world.proxy(FIRST)
    world.sysctl(PROXY, "net.ipv4.tcp_retries2=2")
    c = world.connect()
    c.sendall(b"hello")
    assert o.connection().recv(5) == b"hello"
    if cable:
        world.ip(gone, "route", "add", "blackhole", f"{PROXY}/32")
    else:
        world.vanish(gone)
    sender, other = (o.connection(), c) if gone == CLIENT else \
        (c, o.connection())
    sender.sendall(b"to nobody")
    [end] = p.all_ended()
    assert end["Status"] in ([timed_out] if cable
                             else [timed_out, unreachable])
    assert is_reset(sender), "a cut is passed on as one"
    other.close()
    c.close()
