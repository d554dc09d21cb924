"""transparent: the origin sees the client's own address, over a real route.

    client 192.0.2.2 -- 192.0.2.1 proxy 198.51.100.1 -- 198.51.100.2 origin

The origin's default route is the proxy, whose routing hands it what comes
back for a client's address: the recipes of l4proxyd(8).
"""
import re
import socket
import subprocess

import harness
import pytest
from proxyharness import (L4proxyd, Origin, application, echo, idle, is_reset,
                          is_turned_away, read_all, read_exactly, reset)
from udporigin import UdpOrigin

EDGE = {4: "192.0.2.1", 6: "2001:db8:1::1"}
CLIENT = {4: "192.0.2.2", 6: "2001:db8:1::2"}
ORIGIN = {4: "198.51.100.2", 6: "2001:db8:2::2"}
GATEWAY = {4: "198.51.100.1", 6: "2001:db8:2::1"}
CAP_NET_RAW = 1 << 13

# As in l4proxyd(8): by the socket that waits for the packet, or by its wire.
MARK = """
table inet l4proxyd {
  chain back {
    type filter hook prerouting priority mangle
    socket transparent 1 meta mark set 1 accept
  }
}
"""


class Road:
    """The three hosts; names of the namespaces."""

    def __init__(self, world, how):
        self.how = how
        self.client = world.host("client", "192.0.2.2/24",
                                 "2001:db8:1::2/64")
        self.proxy = world.host("proxy", "192.0.2.1/24", "2001:db8:1::1/64")
        self.origin = world.add("origin")
        world.inside(self.proxy, "link", "add", "back", "type", "veth",
                     "peer", "name", "eth0", "netns", self.origin)
        for version, prefix in (4, "24"), (6, "64"):
            for host, device, address in (
                    (self.proxy, "back", GATEWAY[version]),
                    (self.origin, "eth0", ORIGIN[version])):
                world.inside(host, "address", "add", f"{address}/{prefix}",
                             "dev", device,
                             *(["nodad"] if version == 6 else []))
        world.inside(self.proxy, "link", "set", "back", "up")
        world.inside(self.origin, "link", "set", "eth0", "up")
        for version in 4, 6:
            world.inside(self.origin, f"-{version}", "route", "add",
                         "default", "via", GATEWAY[version])
            rule = ["iif", "back"] if how == "wire" else ["fwmark", "1"]
            world.inside(self.proxy, f"-{version}", "rule", "add", *rule,
                         "lookup", "100")
            world.inside(self.proxy, f"-{version}", "route", "add", "local",
                         "default", "dev", "lo", "table", "100")
        if how == "socket":
            subprocess.run(["ip", "netns", "exec", self.proxy, "nft", "-f",
                            "-"], input=MARK, text=True, check=True)


@pytest.fixture(params=["socket", "wire"])
def road(request, namespaces):
    return Road(namespaces, request.param)


@pytest.fixture
def road_by_socket(namespaces):
    return Road(namespaces, "socket")


def app(proto, version, port=7777, **more):
    host = f"[{ORIGIN[version]}]" if version == 6 else ORIGIN[version]
    return {"name": f"{proto}{version}", "protocol": f"{proto}/{port}",
            "edge_ips": EDGE[version], "transparent": True,
            "origin_direct": f"{proto}://{host}:8888", **more}


ALL = [app(proto, version) for proto in ("tcp", "udp") for version in (4, 6)]


def daemon(tmp_path, road, apps, **more):
    return L4proxyd(tmp_path, apps, drain_s=0,
                    prefix=("ip", "netns", "exec", road.proxy), **more)


def capabilities(p):
    status = harness.status_of(p.pid)
    return [int(status[k], 16) for k in ("CapEff", "CapPrm", "CapBnd")]


# -- both protocols, both families ---------------------------------------------


def tcp_client(version, source_port=0):
    s = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET)
    s.settimeout(harness.PATIENCE_S)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((CLIENT[version], source_port))
    s.connect((EDGE[version], 7777))
    return s


def test_tcp_and_udp_reach_the_origin_as_the_client(tmp_path, road):
    inside = harness.inside
    with daemon(tmp_path, road, ALL) as p:
        assert capabilities(p) == [CAP_NET_RAW, CAP_NET_RAW, 0]
        assert harness.status_of(p.pid)["Uid"].split()[0] != "0"
        for version in 4, 6:
            with inside(road.origin, lambda: Origin(
                    echo, ORIGIN[version], 8888)) as o, \
                    inside(road.client, lambda: tcp_client(version)) as c:
                data = bytes(range(256)) * 4096  # enough to be spliced
                c.sendall(data)
                assert read_exactly(c, len(data)) == data
                me = c.getsockname()[:2]
                assert o.accepted[0][1][:2] == me
                c.shutdown(socket.SHUT_WR)
                assert read_all(c) == b""
                p.expect_events(Event="disconnect", Status=200,
                                Application=f"tcp{version}",
                                ClientPort=me[1])
            with inside(road.origin, lambda: UdpOrigin(
                    address=ORIGIN[version], port=8888)) as o, \
                    inside(road.client, lambda: harness.Udp(
                        EDGE[version], 7777)) as c:
                # a rule by sockets sees no fragments: l4proxyd(8)
                long = 9000 if road.how == "wire" else 1400
                for data in b"one", b"", bytes(long):
                    assert c.ask(data) == data
                assert {d.peer[:2] for d in o.seen} == {
                    c.socket.getsockname()[:2]}


def test_a_port_that_is_taken_is_another_one(tmp_path, road_by_socket):
    """The same client port by two edges to one origin, TCP and UDP."""
    road, inside = road_by_socket, harness.inside
    apps = [app(proto, 4, port, name=f"{proto}{port}")
            for proto in ("tcp", "udp") for port in (7777, 7778)]

    def two(kind):
        made = []
        for port in 7777, 7778:
            s = socket.socket(socket.AF_INET, kind)
            s.settimeout(harness.PATIENCE_S)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((CLIENT[4], 40000))
            s.connect((EDGE[4], port))
            s.send(b"?")
            assert s.recv(10) == b"?"
            made.append(s)
        return made
    with daemon(tmp_path, road, apps), inside(
            road.origin, lambda: Origin(echo, ORIGIN[4], 8888)) as t, inside(
            road.origin, lambda: UdpOrigin(address=ORIGIN[4],
                                           port=8888)) as u:
        clients = inside(road.client, lambda: two(socket.SOCK_STREAM))
        hosts, ports = zip(*(peer for _, peer in t.accepted))
        assert set(hosts) == {CLIENT[4]} and ports[0] == 40000 != ports[1]
        clients += inside(road.client, lambda: two(socket.SOCK_DGRAM))
        hosts, ports = zip(*(d.peer for d in u.seen))
        assert set(hosts) == {CLIENT[4]} and 40000 in ports
        assert len(set(ports)) == 2
        for c in clients:
            c.close()


def test_ends_and_faults_are_the_clients_too(tmp_path, road_by_socket):
    """A refused TCP connection; ICMP for UDP; a reset."""
    road, inside = road_by_socket, harness.inside
    with daemon(tmp_path, road, ALL) as p:
        assert inside(road.client, lambda: is_turned_away(
            7777, host=EDGE[4]))
        p.expect_events(Event="originError", Status=521)
        with inside(road.client, lambda: harness.Udp(EDGE[4], 7777)) as c:
            c.send(b"?")
            p.expect_events(Event="disconnect", Status=447)
        with inside(road.origin, lambda: Origin(
                idle, ORIGIN[4], 8888)) as o, \
                inside(road.client, lambda: tcp_client(4)) as c:
            reset(o.connection())
            assert is_reset(c)


def test_of_a_mixed_pair_each_client_gets_its_own_family(
        tmp_path, road_by_socket):
    road, inside = road_by_socket, harness.inside
    both = {"name": "both", "protocol": "tcp/7777", "transparent": True,
            "edge_ips": [EDGE[4], EDGE[6]], "origin_direct": [
                f"tcp://{ORIGIN[4]}:8888", f"tcp://[{ORIGIN[6]}]:8888"]}
    with daemon(tmp_path, road, [both]) as p, inside(
            road.origin, lambda: Origin(echo, ORIGIN[4], 8888)) as four, \
            inside(road.origin, lambda: Origin(echo, ORIGIN[6], 8888)) as six:
        for version in 4, 6, 4, 4, 6, 6:
            with inside(road.client, lambda: tcp_client(version)) as c:
                c.sendall(b"x")
                assert read_exactly(c, 1) == b"x"
        assert len(four.accepted) == len(six.accepted) == 3
        p.expect_events(6, Event="connect")
        assert not p.events(Event="originError")


def test_a_client_of_the_wrong_family_is_told(tmp_path, road_by_socket):
    """Who came by a balancer may be of a family that no origin has."""
    road, inside = road_by_socket, harness.inside
    apps = [app("tcp", 4, proxy_protocol_from=CLIENT[4])]
    with daemon(tmp_path, road, apps) as p, inside(
            road.origin, lambda: Origin(echo, ORIGIN[4], 8888)) as o:
        with inside(road.client, lambda: tcp_client(4)) as c:
            c.sendall(b"PROXY TCP6 2001:db8::9 2001:db8::1 1 2\r\n")
            assert is_reset(c)
        p.expect_events(Event="originError", Status=524,
                        ClientIP="2001:db8::9")
        p.expect_log("transparent: an IPv6 client, and no such origin")
        assert not o.accepted
        # of its family: the origin sees whom the balancer named
        with inside(road.client, lambda: tcp_client(4)) as c:
            c.sendall(b"PROXY TCP4 192.0.2.77 192.0.2.1 4711 2\r\nhello")
            assert read_exactly(c, 5) == b"hello"
            assert o.accepted[0][1] == ("192.0.2.77", 4711)


def test_flows_that_fail_at_once_are_no_flood_of_lines(
        tmp_path, road_by_socket):
    road, inside = road_by_socket, harness.inside
    mixed = app("udp", 4, edge_ips="all", origin_direct=[
        f"udp://{ORIGIN[4]}:8888", f"udp://[{ORIGIN[6]}]:8888"])
    with daemon(tmp_path, road, [mixed], workers=1) as p:
        # nothing leads to the network of an origin any more
        subprocess.run(["ip", "-n", road.proxy, "link", "set", "back",
                        "down"], check=True)
        with inside(road.client, lambda: harness.Udp(EDGE[4], 7777)) as c:
            for _ in range(50):
                c.send(b"?")
            error, = p.expect_events(Event="originError")
            assert error["Status"] in (520, 523)
            subprocess.run(["ip", "-n", road.proxy, "link", "set", "back",
                            "up"], check=True)
            with inside(road.origin, lambda: UdpOrigin(
                    address=ORIGIN[4], port=8888)):
                harness.until(lambda: c.send(b"!") or c.receive(0.2),
                              "it serves again")
        assert len(p.events(Event="originError")) == 1


# -- rights --------------------------------------------------------------------


def test_without_transparent_no_capability_is_kept(tmp_path, as_root):
    with L4proxyd(tmp_path, [application(harness.free_port(), 9)]) as p:
        assert capabilities(p) == [0, 0, 0]


def test_t_says_that_the_capability_is_missing(tmp_path, as_root):
    p = L4proxyd(tmp_path, [application(harness.free_port(), 9,
                                        transparent=True)])
    p.write_config(p.config)
    harness.give(p.config_path)
    command = [str(p.program), "-t", "-c", str(p.config_path)]
    good = subprocess.run(command, capture_output=True, text=True,
                          timeout=30)
    assert good.returncode == 0, good.stderr
    for lack in (["--bounding-set=-net_raw,-net_admin", "--inh-caps=-all"],
                 ["--reuid=nobody", "--regid=nogroup", "--clear-groups"]):
        done = subprocess.run(["setpriv", *lack, *command],
                              capture_output=True, text=True, timeout=30)
        assert done.returncode == 1
        assert re.search(r"application story: transparent: takes "
                         r"CAP_NET_RAW.*AmbientCapabilities", done.stderr)


def test_another_user_with_just_the_capability(tmp_path, as_root):
    """As a unit file has it: User=, AmbientCapabilities=CAP_NET_RAW."""
    with Origin(echo) as o, L4proxyd(
            tmp_path, [application(harness.free_port(), o, transparent=True)],
            prefix=("setpriv", "--reuid=nobody", "--regid=nogroup",
                    "--clear-groups", "--inh-caps=+net_raw",
                    "--ambient-caps=+net_raw")) as p:
        assert capabilities(p)[:2] == [CAP_NET_RAW, CAP_NET_RAW]
        assert p.reload(p.config["applications"]) == "reloaded"


def test_a_reload_cannot_ask_for_it_later(tmp_path, as_root):
    with Origin(echo) as o, L4proxyd(
            tmp_path, [application(harness.free_port(), o)]) as p:
        plain = p.config["applications"][0]
        assert p.reload([dict(plain, transparent=True)]) == "reload failed"
        p.expect_log("application story: transparent: takes CAP_NET_RAW, "
                     "which was given up at the start.*: restart")
        assert p.reload([plain]) == "reloaded"


def test_a_reload_may_take_it_up_again(tmp_path, as_root):
    """Loopback needs no routes: the origin sees a client of 127/8."""
    port = harness.free_port()
    with Origin(echo) as o:
        clear = application(port, o, transparent=True)
        with L4proxyd(tmp_path, [clear]) as p:
            for rules, seen in (clear, True), (
                    dict(clear, transparent=False), False), (clear, True):
                assert p.reload([rules]) == "reloaded"
                with socket.socket() as c:
                    c.settimeout(harness.PATIENCE_S)
                    c.bind(("127.0.0.9", 0))
                    c.connect(("127.0.0.1", port))
                    c.sendall(b"x")
                    assert read_exactly(c, 1) == b"x"
                    host = o.accepted[-1][1][0]
                    assert (host == "127.0.0.9") == seen


def test_the_manual_has_the_recipe():
    page = (harness.ROOT / "proxy/l4proxyd.8").read_text()
    for line in MARK.split("\n"):
        assert line.strip() in page
    for line in ("ip route add local default dev lo table 100",
                 "ip rule add iif eth1 lookup 100",
                 "ip rule add fwmark 1 lookup 100"):
        assert line in page and line.replace("ip ", "ip -6 ") in page
