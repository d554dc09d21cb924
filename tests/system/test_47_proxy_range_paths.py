"""What goes through a range behind one socket, and how it ends: as through a
port of its own. In a network of their own."""
import socket

import harness
import pytest
from proxyharness import (Controlled, Origin, connect, echo, echoes, idle,
                          is_reset, read_all, read_exactly, refuses, reset)
from udporigin import UdpOrigin, read_simple, read_v2

FIRST, LAST, TO = 20000, 20999, 40000
MIDDLE = 20500
SOME = [FIRST, MIDDLE, LAST]  # the first one is the socket's own
UDP_SEGMENT = 103  # linux/udp.h


def asked(port):
    return port - FIRST + TO


class World:
    """A namespace, and what is in it."""

    def __init__(self, tmp_path, namespaces):
        self.tmp_path, self.host = tmp_path, namespaces.add("paths")
        self.made, self.daemon = [], None

    def inside(self, make):
        return harness.inside(self.host, make)

    def keep(self, make):
        self.made.append(self.inside(make))
        return self.made[-1]

    def udp(self, port, serve=lambda d: [d.data]):
        """The origin that is asked for this port of the range."""
        return self.keep(lambda: UdpOrigin(serve, port=asked(port)))

    def tcp(self, port, serve=echo):
        return self.keep(lambda: Origin(serve, port=asked(port)))

    def client(self, port, host="127.0.0.1"):
        return self.keep(lambda: harness.Udp(host, port))

    def connect(self, port):
        return self.inside(lambda: connect(port))

    def refuses(self, port):
        return self.inside(lambda: refuses(port))

    def application(self, proto, first=FIRST, last=LAST, name=None, **rules):
        return {"name": name or f"range-{proto}",
                "protocol": f"{proto}/{first}-{last}",
                "edge_ips": ["127.0.0.1"],
                "origin_direct": [f"{proto}://127.0.0.1:{asked(first)}-"
                                  f"{asked(last)}"], **rules}

    def start(self, *applications, **more):
        p = Controlled(self.tmp_path, list(applications),
                       prefix=("ip", "netns", "exec", self.host),
                       **{"drain_s": 1, "port_ranges": "dispatch", **more})
        self.daemon = p.start()
        p.expect_log(r"one socket a worker")
        return p

    def stop(self):
        if self.daemon is not None:
            self.daemon.stop()
        for o in self.made:
            o.__exit__()


@pytest.fixture
def world(tmp_path, namespaces):
    made = World(tmp_path, namespaces)
    yield made
    made.stop()


# -- udp ----------------------------------------------------------------------


@pytest.mark.parametrize("port", SOME)
def test_icmp_ends_the_flow_with_its_status(world, port):
    p = world.start(world.application("udp"))
    c = world.client(port)
    c.send(b"12345")
    end, = p.expect_events(1, Event="disconnect")
    assert (end["Status"], end["ClientBytes"]) == (447, 5)
    assert end["OriginPort"] == asked(port)
    world.udp(port)  # it comes up: the same client begins again
    assert c.ask(b"again") == b"again"


def test_a_client_that_is_gone_ends_nothing(world):
    """ICMP about a reply meets the socket that it left by."""
    origins = {port: world.udp(port) for port in SOME}
    p = world.start(world.application("udp"))
    for port, o in origins.items():
        gone, stays = world.client(port), world.client(port)
        assert gone.ask(b"1") == b"1" and stays.ask(b"2") == b"2"
        gone.socket.close()
        for _ in range(3):
            o.socket.sendto(b"late", o.seen[0].peer)
            assert stays.ask(b"3") == b"3"
    assert not p.events(Event="disconnect")


def test_v2_tells_the_port_that_was_asked(world):
    p = world.start(world.application("udp", proxy_protocol="v2"))
    for port in SOME:
        world.udp(port)
        c = world.client(port)
        for data in (b"a", b"", b"ccc"):
            seen = read_v2(c.ask(data))
            assert seen == (c.socket.getsockname(), ("127.0.0.1", port), data)
    p.stop()
    for end in p.expect_events(len(SOME), Event="disconnect"):
        assert end["ClientBytes"] == 4


def test_simple_both_ways(world):
    world.start(world.application("udp", proxy_protocol="simple"))
    for port in SOME:
        o = world.udp(port, lambda d: [d.data + b"!", b"no header"])
        c = world.client(port)
        for data in (b"x", b"", b"yz"):
            assert c.ask(data) == data + b"!"
            assert read_simple(o.seen[-1].data) == (
                c.socket.getsockname(), ("127.0.0.1", port), data)


# as many in a row as a flow's queue of default size holds
@pytest.mark.parametrize("size,each", [(1200, 40), (60000, 3)])
def test_bursts_arrive_whole_and_in_order(world, size, each):
    """On several ports at once: one queue has them all, in runs that must
    not be taken for one another's."""
    origins = {port: world.udp(port, lambda d: []) for port in SOME}
    # who is handed to the kernel in a burst may overtake what is queued
    p = world.start(world.application("udp", fast_path="off"), workers=1)
    clients = {port: world.client(port) for port in SOME}
    rounds = 10
    sent = {port: [b"%05d-%04d" % (port, i) + b"x" * (size - i)
                   for i in range(rounds * each)] for port in SOME}
    for at in range(0, rounds * each, each):
        for i in range(at, at + each):
            for port, c in clients.items():
                c.send(sent[port][i])
        for port, o in origins.items():
            harness.until(lambda: len(o.seen) >= at + each, "all datagrams")
            for data in sent[port][at:at + each]:
                o.socket.sendto(data, o.seen[0].peer)
        for port, c in clients.items():
            got = [c.receive() for _ in range(each)]
            assert got == sent[port][at:at + each]
    for port, o in origins.items():
        assert [d.data for d in o.seen] == sent[port]
    p.stop()
    for end in p.expect_events(len(SOME), Event="disconnect"):
        size = sum(map(len, sent[end["OriginPort"] - TO + FIRST]))
        assert end["ClientBytes"] == end["OriginBytes"] == size


def test_joined_datagrams_come_apart_both_ways(world):
    """UDP_SEGMENT at either end, UDP_GRO between: each arrives, none at
    another port's."""
    origins = {port: world.udp(port, lambda d: []) for port in SOME}
    world.start(world.application("udp"), workers=1)
    clients = {port: world.client(port) for port in SOME}
    data = {port: b"%05d" % port + bytes(range(251)) * 100 for port in SOME}

    def run_of(s, port, *to):
        s.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        s.sendmsg([data[port]], [], 0, *to)
        s.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
    sizes = [1000] * 25 + [105]
    for port, c in clients.items():
        run_of(c.socket, port)
    for port, o in origins.items():
        harness.until(lambda: len(o.seen) >= len(sizes), "all datagrams")
        assert [len(d.data) for d in o.seen] == sizes
        assert b"".join(d.data for d in o.seen) == data[port]
        run_of(o.socket, port, o.seen[0].peer)
    for port, c in clients.items():
        got = [c.receive() for _ in sizes]
        assert [len(g) for g in got] == sizes
        assert b"".join(got) == data[port]


# -- tcp ----------------------------------------------------------------------


@pytest.mark.parametrize("port", SOME)
def test_half_closes_pass(world, port):
    o = world.tcp(port, idle)
    p = world.start(world.application("tcp"))
    with world.connect(port) as c:
        c.sendall(b"all of it")
        c.shutdown(socket.SHUT_WR)
        assert read_all(o.connection()) == b"all of it"
        o.connection().sendall(b"bye")
        o.connection().close()
        assert read_all(c) == b"bye"
    with world.connect(port) as c:
        o.connection(1).shutdown(socket.SHUT_WR)
        assert read_all(c) == b""
        c.sendall(b"still here")
        assert read_exactly(o.connection(1), 10) == b"still here"
    for end in p.expect_events(2, Event="disconnect"):
        assert (end["Status"], end["OriginPort"]) == (200, asked(port))


@pytest.mark.parametrize("port", SOME)
def test_resets_pass(world, port):
    o = world.tcp(port, idle)
    p = world.start(world.application("tcp"))
    c = world.connect(port)
    c.sendall(b"x")
    assert read_exactly(o.connection(), 1) == b"x"
    reset(c)
    assert is_reset(o.connection())
    p.expect_events(Event="disconnect", Status=499)
    with world.connect(port) as c:
        c.sendall(b"y")  # a reset at once would be a failure to connect
        assert read_exactly(o.connection(1), 1) == b"y"
        reset(o.connection(1))
        assert is_reset(c)
    p.expect_events(Event="disconnect", Status=444)


# -- neighbours ---------------------------------------------------------------


def test_neighbours_keep_what_is_theirs(world, namespaces):
    """Live sockets right beside the range, and on its ports elsewhere."""
    namespaces.inside(world.host, "address", "add", "192.0.2.9/32", "dev",
                      "lo")
    places = [("127.0.0.1", FIRST - 1), ("127.0.0.1", LAST + 1),
              ("192.0.2.9", MIDDLE)]

    def say(connection):
        with connection:
            connection.sendall(b"neighbour")

    def hold(host, port):
        return (Origin(say, host, port),
                UdpOrigin(lambda d: [b"neighbour"], host, port))

    def is_there(host, port):
        with connect(port, host=host) as c, harness.Udp(host, port) as u:
            return read_all(c) == u.ask(b"?") == b"neighbour"
    world.tcp(LAST)
    world.udp(LAST)
    for host, port in places[:2]:  # before it starts
        world.made += world.inside(lambda: hold(host, port))
    p = world.start(world.application("tcp"), world.application("udp"))
    world.made += world.inside(lambda: hold(*places[2]))
    for place in places:
        assert world.inside(lambda: is_there(*place)), place
    with world.connect(LAST) as c:
        assert echoes(c)
    assert world.client(LAST).ask(b"ours") == b"ours"
    assert {e["OriginPort"] for e in p.expect_events(
        2, Event="connect")} == {asked(LAST)}


# -- drain --------------------------------------------------------------------


def all_serve(world):
    """Every worker's socket has each of the ports."""
    for port in SOME * 8:
        with world.connect(port) as c:
            assert echoes(c)
    return True


def test_drain_and_undrain(world):
    for port in SOME:
        world.tcp(port)
        world.udp(port)
    p = world.start(world.application("tcp"), world.application("udp"))
    for _ in range(2):
        with world.connect(MIDDLE) as c:
            assert echoes(c)
            p.ctl("drain", "range-tcp", "--for", "1h")
            assert all(world.refuses(port) for port in SOME * 8)
            assert echoes(c)
            assert world.client(MIDDLE).ask(b"udp") == b"udp"
            p.ctl("undrain", "range-tcp")
            assert echoes(c)
            all_serve(world)
    old, new = world.client(LAST), world.client(LAST)
    assert old.ask(b"1") == b"1"
    p.ctl("drain", "range-udp", "--for", "1h")
    new.send(b"new")
    harness.until(lambda: p.counters("range-udp")["refused_drain"] == 1,
                  "a new client is refused")
    assert old.ask(b"2") == b"2"
    p.ctl("undrain", "range-udp")
    assert new.ask(b"3") == b"3"


def test_a_reload_gives_drained_ports_to_another(world):
    """Its rules are those of the reload, not those of before."""
    for port in SOME:
        world.tcp(port)
    p = world.start(world.application("tcp"))
    p.ctl("drain", "range-tcp", "--for", "1h")
    assert world.refuses(MIDDLE)
    p.reload([world.application("tcp", name="heir", last=LAST + 100)])
    harness.until(lambda: not world.refuses(FIRST), "they are posts again")
    all_serve(world)
    world.tcp(LAST + 100)
    with world.connect(LAST + 100) as c:
        assert echoes(c)


def test_undrain_leaves_the_flows_of_a_removed_range(world):
    world.tcp(MIDDLE)
    world.udp(MIDDLE)
    p = world.start(world.application("tcp"), world.application("udp"),
                    drain_s=300)
    c = world.client(MIDDLE)
    assert c.ask(b"1") == b"1"
    assert p.reload([world.application("tcp")]) == "reloaded"
    assert c.ask(b"2") == b"2"
    p.ctl("drain", "range-tcp")
    assert c.ask(b"3") == b"3"
    p.ctl("undrain", "range-tcp")
    for _ in range(3):
        assert c.ask(b"4") == b"4"
    assert len(p.events(Event="connect")) == 1
