"""l4proxyd and what is set on TCP sockets: Fast Open, keepalive, no delay."""
import re
import socket
import subprocess
import time

import harness
import pytest
from proxyharness import (L4proxyd, Origin, application, echo, idle, read_all,
                          read_exactly)

MSG_FASTOPEN, TCP_FASTOPEN = 0x20000000, 23
PORT, ORIGIN = 7777, 8888
LO = "127.0.0.1"


class Host:
    """A network of its own in which everything runs, with its counters."""

    def __init__(self, name, modes):
        self.name = name
        self.run("sysctl", "-qw", f"net.ipv4.tcp_fastopen={modes}")

    def run(self, *argv):
        return subprocess.run(["ip", "netns", "exec", self.name, *argv],
                              check=True, stdout=subprocess.PIPE,
                              text=True).stdout

    def inside(self, make):
        return harness.inside(self.name, make)

    def counters(self):
        """The TcpExt line of /proc/net/netstat."""
        names, values = re.findall(r"(?m)^TcpExt: (.*)$",
                                   self.run("cat", "/proc/net/netstat"))
        return dict(zip(names.split(), map(int, values.split())))

    def origin(self, serve, fast_open):
        def make():
            o = Origin(serve, LO, ORIGIN)
            if fast_open:
                o.listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
            return o
        return self.inside(make)

    def daemon(self, tmp_path, **rules):
        app = application(PORT, ORIGIN, **rules)
        return L4proxyd(tmp_path, [app], workers=1, drain_s=0,
                        prefix=("ip", "netns", "exec", self.name))


@pytest.fixture
def host(namespaces):
    def make(modes):
        return Host(namespaces.add("host"), modes)
    return make


def fast_client(data):
    s = socket.socket()
    s.sendto(data, MSG_FASTOPEN, (LO, PORT))  # a timeout would not block
    s.settimeout(harness.PATIENCE_S)
    return s


def plain_client(data):
    s = socket.create_connection((LO, PORT), harness.PATIENCE_S)
    s.sendall(data)
    return s


def echoes(host, client, data=b"hello"):
    with host.inside(lambda: client(data)) as c:
        assert read_exactly(c, len(data)) == data


def moved(host, before, key):
    return host.counters()[key] - before[key]


@pytest.mark.parametrize("queue", [16, 0])
def test_clients_may_send_with_their_first_packet(tmp_path, host, queue):
    host = host(3)
    with host.origin(echo, False), host.daemon(
            tmp_path, tcp={"fast_open": queue}) as p:
        before = host.counters()
        for _ in range(4):  # the first one fetches its cookie
            echoes(host, fast_client)
        assert moved(host, before, "TCPFastOpenPassive") == (3 if queue else 0)
        p.expect_events(4, Event="disconnect", ClientBytes=5)
        # a reload sets it on the listener that stays
        assert p.reload([application(PORT, ORIGIN, tcp={
            "fast_open": 16 - queue})]) == "reloaded"
        before = host.counters()
        for _ in range(4):
            echoes(host, fast_client)
        fast = moved(host, before, "TCPFastOpenPassive")
        assert fast == 0 if queue else fast >= 3


@pytest.mark.parametrize("header", ["off", "v1"])
def test_origins_get_data_with_the_first_packet(tmp_path, host, header):
    """Each byte once, whether the client's came before or after."""
    host, got = host(3), []

    def serve(connection):
        got.append(read_all(connection))
        connection.sendall(b"done")
        connection.close()
    with host.origin(serve, True), host.daemon(
            tmp_path, proxy_protocol=header,
            tcp={"fast_open": 16, "fast_open_origin": True}) as p:
        before = host.counters()
        sizes = [5, 5, 5, 700, 1400, 20000]
        for n in sizes:
            with host.inside(lambda: fast_client(b"x" * n)) as c:
                c.sendall(b"tail")
                c.shutdown(socket.SHUT_WR)
                assert read_all(c) == b"done"
        for i, n in enumerate(sizes):
            data = got[i]
            if header == "v1":
                line, data = data.split(b"\r\n", 1)
                assert re.match(rb"PROXY TCP4 127.0.0.1 127.0.0.1 \d+ 7777$",
                                line)
            # what sendto(2) had no room for is not sent again
            assert re.match(rb"x+tail$", data) and len(data) <= n + 4
        # of ours to the origin and of the client's to us
        passive = moved(host, before, "TCPFastOpenPassive")
        assert passive > len(sizes), passive
        ended = p.expect_events(len(sizes), Event="disconnect", Status=200)
        assert [e["ClientBytes"] for e in ended] == [
            len(g.split(b"\r\n")[-1]) for g in got]


def test_a_silent_client_does_not_hold_up_its_origin(tmp_path, host):
    """Nothing to put into the first packet: it goes all the same."""
    host = host(3)

    def greet(connection):
        connection.sendall(b"220 ready")
        connection.recv(1)
    with host.origin(greet, True), host.daemon(
            tmp_path, tcp={"fast_open_origin": True}):
        for _ in range(3):
            with host.inside(lambda: plain_client(b"")) as c:
                assert read_exactly(c, 9) == b"220 ready"


def test_the_next_origin_gets_the_early_bytes_too(tmp_path, host):
    host = host(3)
    with host.origin(echo, True) as o, host.daemon(
            tmp_path, tcp={"fast_open": 16, "fast_open_origin": True}) as p:
        for _ in range(2):
            echoes(host, fast_client)
        # the cookie of this address is known now, its other port is shut
        app = dict(p.config["applications"][0], origin_direct=[
            f"tcp://{LO}:{ORIGIN + 1}", f"tcp://{LO}:{o.port}"])
        assert p.reload([app]) == "reloaded"
        for _ in range(4):
            echoes(host, fast_client)
        harness.until(lambda: p.events(Event="originError", Status=521),
                      f"an origin that refused: {p.events()}")
        p.expect_events(6, Event="disconnect", ClientBytes=5)


def test_what_the_host_has_switched_off_is_said_once(tmp_path, host):
    host = host(0)
    with host.origin(echo, True), host.daemon(
            tmp_path, tcp={"fast_open": 16, "fast_open_origin": True}) as p:
        for key, bit in ("tcp.fast_open", 2), ("tcp.fast_open_origin", 1):
            assert p.log().count(f"{key} has no effect on this host: add "
                                 f"{bit} to net.ipv4.tcp_fastopen") == 1
        before = host.counters()
        for _ in range(3):
            echoes(host, plain_client)
        assert moved(host, before, "TCPFastOpenPassive") == 0


# -- what ss(8) shows of both sides ---------------------------------------------


def timers(host):
    """{(local port, peer port)} of established sockets with keepalive."""
    text = host.run("ss", "-tnoH", "state", "established")
    return {tuple(map(int, re.findall(r"127\.0\.0\.1:(\d+)", line)))
            for line in text.splitlines() if "keepalive" in line}


@pytest.mark.parametrize("keepalive_s", [2, 0])
def test_keepalive_on_both_sides(tmp_path, host, keepalive_s):
    host = host(1)
    with host.origin(idle, False) as o, host.daemon(
            tmp_path, tcp={"keepalive_s": keepalive_s}) as p:
        with host.inside(lambda: plain_client(b"x")) as c:
            edge = (PORT, c.getsockname()[1])
            o.connection()
            origin = (o.accepted[0][1][1], ORIGIN)
            if keepalive_s:
                harness.until(lambda: {edge, origin} <= timers(host),
                              "keepalive on both sides")
            else:
                time.sleep(0.1)
                assert not timers(host) & {edge, origin}
            p.reload([application(PORT, ORIGIN, tcp={
                "keepalive_s": 2 - keepalive_s})])
        with host.inside(lambda: plain_client(b"x")) as c:
            edge = (PORT, c.getsockname()[1])
            o.connection(1)
            if not keepalive_s:
                harness.until(lambda: edge in timers(host), "keepalive")
            else:
                assert edge not in timers(host)


def controls(host, port):
    """The congestion controls of established sockets with this port of ours."""
    text = host.run("ss", "-tniOH", "state", "established",
                    f"( sport = :{port} )")
    return {word for line in text.splitlines() for word in line.split()
            if word in ("reno", "cubic", "bbr")}


def test_congestion_control_on_both_sides(tmp_path, host):
    """Over loopback reno, whatever the host's; what is set is set on both."""
    host = host(1)
    allowed = host.run("sysctl", "-n",
                       "net.ipv4.tcp_allowed_congestion_control").split()
    other = next((c for c in ("cubic", "bbr") if c in allowed), "reno")
    host.run("sysctl", "-qw", f"net.ipv4.tcp_congestion_control={other}")
    with host.origin(idle, False) as o, host.daemon(
            tmp_path, tcp={"congestion": "none-such"}) as p:
        assert p.log().count("tcp.congestion: none-such is not in") == 1
        for i, (tcp, expected) in enumerate((
                ({"congestion": "none-such"}, other),
                ({}, "reno"), ({"congestion": other}, other))):
            if i > 0:
                p.reload([application(PORT, ORIGIN, tcp=tcp)])
            with host.inside(lambda: plain_client(b"x")):
                o.connection(i)
                ours = o.accepted[i][1][1]
                harness.until(lambda: controls(host, ours) == {expected},
                              f"{expected} towards the origin")
                if i == 0:
                    assert controls(host, PORT) == {other}
                else:
                    harness.until(lambda: expected in controls(host, PORT),
                                  f"{expected} towards the client")


def test_small_writes_are_not_held_back(tmp_path, host):
    """Without TCP_NODELAY towards the origin each pair of writes waits for
    a delayed acknowledgement, 40 ms."""
    host = host(1)

    def every_second(connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while connection.recv(1) and connection.recv(1):
            connection.sendall(b"!")
    with host.origin(every_second, False), host.daemon(tmp_path), \
            host.inside(lambda: plain_client(b"ab")) as c:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert c.recv(1) == b"!"
        took = []
        for _ in range(30):
            before = time.monotonic()
            c.sendall(b"a")
            time.sleep(0.002)  # two reads of the proxy, two writes
            c.sendall(b"b")
            assert c.recv(1) == b"!"
            took.append(time.monotonic() - before)
        assert sorted(took)[15] < 0.03, took
