"""l4proxyd over UDP behind another proxy: headers on the datagrams that come
in, PROXY v2 and the Simple Proxy Protocol."""
import ipaddress
import socket
import struct

import harness
import pytest
from proxyharness import L4proxyd
from udporigin import MAGIC_V2, read_simple, read_v2

ME = "127.0.0.0/8"  # whoever sends is trusted
CLIENT, EDGE = ("203.0.113.9", 4711), ("192.0.2.80", 53)  # nobody's


def v2(client=CLIENT, command=1):
    body = socket.inet_aton(client[0]) + socket.inet_aton(EDGE[0]) + \
        struct.pack(">HH", client[1], EDGE[1]) + b"\xee\0\x01x"
    return MAGIC_V2 + struct.pack(">BBH", 0x20 | command, 0x12,
                                  len(body)) + body


def simple(client=CLIENT):
    def six(host):
        return ipaddress.ip_address(f"::ffff:{host}").packed
    return struct.pack(">H16s16sHH", 0x56EC, six(client[0]), six(EDGE[0]),
                       client[1], EDGE[1])


@pytest.fixture
def start(udp_proxy):
    def make(*argv, **rules):
        return udp_proxy(*argv, **{"proxy_protocol_from": ME, **rules})
    return make


def peer(p):
    return harness.Udp("127.0.0.1", p.port)


def test_v2_says_who_the_client_is(start):
    p, o = start()
    with peer(p) as c:
        for data in b"one", b"", b"x" * 1400, bytes(60000):
            assert c.ask(v2() + data) == data, "replies have no header"
    assert len({d.peer for d in o.seen}) == 1
    e, = p.expect_events(Event="connect")
    assert (e["ClientIP"], e["ClientPort"]) == CLIENT


def test_simple_is_answered_in_simple(start):
    p, o = start()
    with peer(p) as c:
        for data in b"one", b"":
            reply = read_simple(c.ask(simple() + data))
            assert reply == (CLIENT, EDGE, data)
    assert [d.data for d in o.seen] == [b"one", b""]
    p.expect_events(Event="connect", ClientIP=CLIENT[0],
                    ClientPort=CLIENT[1])


@pytest.mark.parametrize("said", [v2, simple])
@pytest.mark.parametrize("kind", ["v2", "v2-first", "simple"])
def test_the_header_is_passed_on(start, said, kind):
    """The client and the address that it had asked, in what is set."""
    def serve(d):
        return [d.data[:38] + b"reply"] if kind == "simple" else [b"reply"]
    p, o = start(serve, proxy_protocol=kind)
    with peer(p) as c:
        reply = c.ask(said() + b"data")
        if said is simple:
            reply = read_simple(reply).rest
        assert reply == b"reply"
    read = read_simple if kind == "simple" else read_v2
    assert read(o.seen[0].data) == (CLIENT, EDGE, b"data")


def test_one_peer_brings_many_clients(start):
    """Each of them its own flow, and its replies by the same socket."""
    p, o = start(lambda d: [d.data + b"!"])
    clients = [("203.0.113.1", 1000 + n) for n in range(40)]
    with peer(p) as c:
        for client in clients * 2:
            c.send(v2(client) + b"%d" % client[1])
        got = sorted(c.receive() for _ in range(80))
    assert got == sorted([b"%d!" % port for _, port in clients] * 2)
    assert len({d.peer for d in o.seen}) == 40
    connects = p.expect_events(40, Event="connect")
    assert {(e["ClientIP"], e["ClientPort"]) for e in connects} == \
        set(clients)


def test_a_client_by_two_peers_is_two_flows(start):
    """Nobody gets what another peer has asked for, and no client that comes
    by itself takes over a flow by its address."""
    p, o = start(proxy_protocol_from="127.0.0.1")
    with peer(p) as one, peer(p) as two, harness.Udp(
            "127.0.0.1", p.port, source="127.0.0.2") as direct:
        named = direct.socket.getsockname()
        assert one.ask(v2(named) + b"1") == b"1"
        assert two.ask(v2(named) + b"2") == b"2"
        assert direct.ask(b"3") == b"3"
        ports = [d.peer for d in o.seen]
        assert len(set(ports)) == 3
        for i, c in enumerate((one, two, direct)):
            o.socket.sendto(b"late", ports[i])
            assert c.receive() == b"late"
            assert c.receive(0.05) is None


def test_a_peer_may_speak_for_itself(start):
    p, o = start()
    with peer(p) as c:
        assert c.ask(MAGIC_V2 + b"\x20\0\0\0hello") == b"hello"
        p.expect_events(Event="connect", ClientIP="127.0.0.1",
                        ClientPort=c.socket.getsockname()[1])


def test_rules_are_about_the_client(start):
    p, o = start(ip_firewall={"deny": ["203.0.113.0/24", ME]},
                 limits={"connections_per_prefix": 1})
    with peer(p) as c:
        c.send(v2() + b"?")
        e, = p.expect_events(Event="clientFiltered", Status=403)
        assert e["ClientIP"] == CLIENT[0]
        assert c.ask(v2(("198.51.100.1", 1)) + b"?") == b"?"
        c.send(v2(("198.51.100.1", 2)) + b"?")
        p.expect_events(Event="clientFiltered", Status=503,
                        ClientIP="198.51.100.1")
    assert len(o.seen) == 1


@pytest.mark.parametrize("bytes_", [
    b"", b"hello", v2()[:-1], simple()[:-1], MAGIC_V2 + b"\x11\x12\0\0",
    b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\nhello"])
def test_without_a_header_nothing_passes(start, bytes_):
    p, o = start()
    with peer(p) as c:
        c.send(bytes_)
        assert c.ask(v2() + b"after") == b"after"
    assert [d.data for d in o.seen] == [b"after"]
    p.expect_events(1)


def test_of_a_stranger_the_bytes_are_its_own(start):
    p, o = start(proxy_protocol_from="192.0.2.0/24")
    with peer(p) as c:
        assert c.ask(v2() + b"data") == v2() + b"data"
        assert c.ask(simple()) == simple()
        p.expect_events(Event="connect", ClientIP="127.0.0.1")


def test_two_of_us_in_a_row(start, tmp_path):
    """The first tells by Simple Proxy Protocol, the second believes it."""
    p, o = start(lambda d: [b"reply to " + d.data])
    port = harness.free_port()
    app = {"name": "front", "protocol": f"udp/{port}",
           "edge_ips": "127.0.0.1", "proxy_protocol": "simple",
           "origin_direct": f"udp://127.0.0.1:{p.port}"}
    with L4proxyd(tmp_path, [app], name="front", drain_s=0), \
            harness.Udp("127.0.0.1", port, source="127.0.0.5") as c:
        assert c.ask(b"hello") == b"reply to hello"
        e, = p.expect_events(Event="connect")
        assert (e["ClientIP"], e["ClientPort"]) == c.socket.getsockname()


def test_a_reload_changes_whom_we_trust(start):
    p, o = start()
    plain = {k: v for k, v in p.app.items() if k != "proxy_protocol_from"}
    with peer(p) as c:
        assert c.ask(v2() + b"1") == b"1"
        assert p.reload([plain]) == "reloaded"
        assert c.ask(b"2") == b"2"
        assert p.reload([p.app]) == "reloaded"
        assert c.ask(simple() + b"3").endswith(b"3")
