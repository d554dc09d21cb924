"""l4proxyd behind a load balancer: PROXY headers that come in."""
import contextlib
import socket
import struct
import time

import harness
import pytest
from proxyharness import (connect, echo, idle, is_reset, read_all,
                          read_exactly, reset)

V2 = b"\r\n\r\n\0\r\nQUIT\n"
ME = "127.0.0.0/8"  # whoever connects is trusted
CLIENT, PORT = "203.0.113.9", 4711  # TEST-NET-3: nobody's
V1_LINE = f"PROXY TCP4 {CLIENT} 192.0.2.80 {PORT} 443\r\n".encode()


def v2(client=CLIENT, port=PORT, tlvs=b"", command=1):
    body = socket.inet_aton(client) + socket.inet_aton("192.0.2.80") + \
        struct.pack("!HH", port, 443) + tlvs
    return V2 + bytes([0x20 | command, 0x11]) + struct.pack(
        "!H", len(body)) + body


def says(p, header, data=b"hello"):
    """A connection that begins like this and is then echoed."""
    c = connect(p.port)
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    c.sendall(header + data)
    assert read_exactly(c, len(data)) == data
    return c


# -- who the client is ---------------------------------------------------------


@pytest.mark.parametrize("header", [
    V1_LINE, v2(), v2(tlvs=b"\x04\0\x05xxxxx" + b"\xee\x01\0" + bytes(256))],
    ids=["v1", "v2", "tlvs"])
def test_the_client_of_the_header_is_the_client(proxy, origin, header):
    o = origin(echo)
    p = proxy(o, proxy_protocol_from=ME)
    with says(p, header) as c:
        c.shutdown(socket.SHUT_WR)
        assert read_all(c) == b""
    for kind in "connect", "disconnect":
        e, = p.expect_events(Event=kind)
        assert (e["ClientIP"], e["ClientPort"]) == (CLIENT, PORT)
    assert e["ClientBytes"] == 5, "the header is not the client's"


def test_a_header_of_ipv6(proxy, origin):
    p = proxy(origin(), proxy_protocol_from=ME)
    with says(p, b"PROXY TCP6 2001:db8::9 2001:db8::80 4711 443\r\n"):
        p.expect_events(Event="connect", ClientIP="2001:db8::9")


@pytest.mark.parametrize("header", [
    b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ::1 ::1 1 2\r\n", v2(command=0),
    V2 + b"\x20\0\0\0"], ids=["unknown", "unknown-more", "local", "bare"])
def test_a_peer_may_speak_for_itself(proxy, origin, header):
    p = proxy(origin(), proxy_protocol_from=ME)
    with says(p, header) as c:
        p.expect_events(Event="connect", ClientIP="127.0.0.1",
                        ClientPort=c.getsockname()[1])


@pytest.mark.parametrize("header", [V1_LINE, v2(tlvs=bytes(99))],
                         ids=["v1", "v2"])
def test_a_header_in_many_pieces(proxy, origin, header):
    p = proxy(origin(), proxy_protocol_from=ME)
    with connect(p.port) as c:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(header)):
            assert not p.events()
            c.sendall(header[i:i + 1])
            time.sleep(0.001)
        c.sendall(b"x")
        assert read_exactly(c, 1) == b"x"
        # and small data still wakes it
        c.sendall(b"y")
        assert read_exactly(c, 1) == b"y"
    p.expect_events(Event="disconnect", ClientIP=CLIENT, ClientBytes=2)


def test_bulk_and_the_end_right_behind_the_header(proxy, origin):
    def count(s):
        s.sendall(str(len(read_all(s))).encode())
        s.close()
    p = proxy(origin(count), proxy_protocol_from=ME)
    with connect(p.port) as c:
        c.sendall(v2() + bytes(4 << 20))
        c.shutdown(socket.SHUT_WR)
        assert read_all(c) == b"%d" % (4 << 20)


def test_the_header_is_passed_on(proxy, origin):
    """The client and what it had asked, in the version that is set."""
    o = origin(idle)
    p = proxy(o, proxy_protocol_from=ME, proxy_protocol="v1")
    with connect(p.port) as c:
        c.sendall(v2(tlvs=b"\xee\0\x01x") + b"data")
        want = V1_LINE + b"data"
        assert read_exactly(o.connection(), len(want)) == want


def test_rules_are_about_the_client_not_the_peer(proxy, origin):
    o = origin(echo)
    p = proxy(o, proxy_protocol_from=ME, ip_firewall={
        "deny": ["203.0.113.0/24", "127.0.0.0/8"]},
        limits={"connections_per_prefix": 1})
    with connect(p.port) as c:
        c.sendall(V1_LINE)
        assert is_reset(c)
    e, = p.expect_events(Event="clientFiltered", Status=403)
    assert (e["ClientIP"], e["ClientMatchedIpFirewall"]) == (
        CLIENT, "BLOCK_IP")
    with says(p, v2("198.51.100.1")), says(p, v2("198.51.100.2")):
        with connect(p.port) as c:
            c.sendall(v2("198.51.100.1", 9))
            assert is_reset(c)
    p.expect_events(Event="clientFiltered", Status=503,
                    ClientIP="198.51.100.1")
    p.expect_events(2, Event="disconnect")
    with says(p, v2("198.51.100.1")):  # there is room again
        pass


def test_source_hash_goes_by_the_client(proxy, origin):
    one, two = origin(), origin()
    p = proxy(one, two, proxy_protocol_from=ME, balance="source-hash")
    for client in "198.51.100.1", "198.51.100.1", "198.51.100.1":
        with says(p, v2(client)):
            pass
    assert sorted([len(one.accepted), len(two.accepted)]) == [0, 3]
    for n in range(2, 40):
        with says(p, v2(f"198.51.100.{n}")):
            pass
    assert one.accepted and two.accepted


def test_of_a_stranger_the_bytes_are_its_own(proxy, origin):
    o = origin(idle)
    p = proxy(o, proxy_protocol_from="192.0.2.0/24")
    with connect(p.port) as c:
        c.sendall(V1_LINE)
        assert read_exactly(o.connection(), len(V1_LINE)) == V1_LINE
        p.expect_events(Event="connect", ClientIP="127.0.0.1",
                        ClientPort=c.getsockname()[1])


# -- headers that are none -----------------------------------------------------


@pytest.mark.parametrize("bytes_", [
    b"GET / HTTP/1.1\r\n", b"PROXY TCP4 nonsense\r\n", b"PROXY " + b"x" * 200,
    V2 + b"\x11\x11\0\x0c" + bytes(12), v2(tlvs=bytes(2000)), b"\0"],
    ids=["http", "words", "no-end", "version", "too-long", "nul"])
def test_garbage_is_reset_at_once(proxy, origin, bytes_):
    o = origin(echo)
    p = proxy(o, proxy_protocol_from=ME, proxy_protocol_timeout_s=60)
    with connect(p.port) as c:
        c.sendall(bytes_)
        assert is_reset(c)
    e, = p.expect_events(Event="clientFiltered", Status=400)
    assert e["ClientIP"] == "127.0.0.1"
    assert not o.accepted


@pytest.mark.parametrize("bytes_", [b"", V1_LINE[:20], v2()[:20]],
                         ids=["nothing", "v1", "v2"])
def test_an_end_before_its_header_is_whole(proxy, origin, bytes_):
    """Also of a balancer that only looks whether the port is open."""
    p = proxy(origin(echo), proxy_protocol_from=ME,
              proxy_protocol_timeout_s=60)
    with connect(p.port) as c:
        c.sendall(bytes_)
        if bytes_:
            time.sleep(0.05)
        c.shutdown(socket.SHUT_WR)
        assert is_reset(c)
    p.expect_events(Event="clientFiltered", Status=400)
    c = connect(p.port)
    c.sendall(bytes_)
    reset(c)
    harness.until(lambda: len(p.events()) == 2, "the other one is told")
    assert p.events()[1]["Status"] in (400, 499)


def test_a_header_that_is_late_is_reset(proxy, origin):
    p = proxy(origin(echo), proxy_protocol_from=ME,
              proxy_protocol_timeout_s=1)
    before = time.monotonic()
    with connect(p.port) as silent, connect(p.port) as slow:
        with contextlib.suppress(OSError):
            for byte in v2():  # each byte in time, the whole not
                slow.sendall(bytes([byte]))
                time.sleep(0.1)
            raise AssertionError("nobody minded")
        assert is_reset(silent)
        assert 0.9 < time.monotonic() - before < 10
    p.expect_events(2, Event="clientFiltered", Status=408)


def test_waiting_for_headers_takes_no_memory_and_no_cpu(proxy, origin):
    n = 300
    p = proxy(origin(echo), proxy_protocol_from=ME,
              proxy_protocol_timeout_s=3600,
              daemon={"workers": 1, "tcp_sessions": n})
    before = p.rss_kb()
    held = [connect(p.port) for _ in range(n)]
    for c in held:
        c.sendall(V1_LINE[:-1])
    with connect(p.port) as c:  # the room is full: told to everybody
        c.sendall(V1_LINE)
        assert is_reset(c)
    p.expect_events(Event="clientFiltered", Status=503)
    assert p.rss_kb() - before < 2048 + n * 4

    def cpu():
        with open(f"/proc/{p.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])
    spent = cpu()
    time.sleep(1)
    assert cpu() - spent <= 10, "busy while nothing comes"
    for c in held[:50]:  # and they are served when they go on
        c.sendall(b"\nhello")
        assert read_exactly(c, 5) == b"hello"
    for c in held:
        c.close()


def test_a_reload_changes_whom_we_trust(proxy, origin):
    p = proxy(origin(echo), proxy_protocol_from=ME)
    with says(p, V1_LINE) as c:
        app = dict(p.app)
        del app["proxy_protocol_from"]
        assert p.reload([app]) == "reloaded"
        c.sendall(b"still")
        assert read_exactly(c, 5) == b"still"
        with says(p, b"", V1_LINE):  # an echo: the bytes are the client's
            p.expect_events(Event="connect", ClientIP="127.0.0.1")
