"""l4proxyd with origins by DNS: what clients and operators see when no server
answers, or nothing is found."""
import contextlib
import re
import struct
import time

import harness
import pytest
from dnsharness import NAME, asked_again
from fakedns import NXDOMAIN, REFUSED, SERVFAIL, SILENCE, FakeDns
from proxyharness import connect, is_turned_away, read_exactly
from udporigin import UdpOrigin


@pytest.mark.parametrize("fault, words", [
    (SERVFAIL, "every DNS server fails"),
    (REFUSED, "every DNS server fails"),
    (NXDOMAIN, "there is no such name"),
    ("empty", "the name has no such record"),
    ("dead", "every DNS server fails"),
    (SILENCE, "no DNS server answers"),
])
def test_old_answers_stay(dns, origins, dns_proxy, fault, words):
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2", ttl=1)
    p = dns_proxy(port)
    if fault == "dead":
        dns.close()
    elif fault == "empty":
        dns.set(NAME, "A")
        dns.set(NAME, "SRV", (1, 1, 1, "a.example"))
    else:
        dns.rcode[None] = fault
    p.expect_log(f"{NAME} is not resolved: {words}.*; what it had before "
                 r"\(1\) stays")
    assert p.visits(5) == {"127.0.0.2": 5}
    if fault in (SERVFAIL, NXDOMAIN):
        asked_again(dns, times=3)
    if fault == "dead":
        dns.open()
    dns.rcode.clear()
    dns.set(NAME, "A", "127.0.0.3", ttl=60)
    p.moves_to("127.0.0.3")
    p.expect_log(f"{NAME} is resolved again: 127.0.0.3:{port}, for 60 s")
    assert p.log().count("is not resolved") == 1  # a change, not each try
    assert not p.events(Event="resolveOrigin")


def test_one_family_fails(dns, origins, dns_proxy):
    """AAAA fails: the IPv6 addresses stay, IPv4 goes on."""
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2", ttl=1)
    p = dns_proxy(port)
    dns.set(NAME, "A", "127.0.0.3", ttl=1)
    whole = dns.answer

    def no_six(packet, transport):
        return None if b"\0\x1c\0\1" in packet else whole(packet, transport)
    dns.answer = no_six
    p.expect_log(f"{NAME} is resolved in part: no DNS server answers")
    p.moves_to("127.0.0.3")
    dns.answer = whole
    p.expect_log(f"{NAME} is resolved again: 127.0.0.3:{port}")


def test_the_next_server_is_asked(dns, origins, dns_proxy):
    port = origins(1)[0].port
    dns.set(NAME, "A", "127.0.0.2")
    broken = FakeDns(port=harness.free_port())
    broken.rcode[None] = REFUSED
    nobody = f"127.0.0.1:{harness.free_port()}"
    p = dns_proxy(port, daemon={
        "resolvers": [nobody, broken.url(), dns.url()]})
    assert p.visit() == "127.0.0.2"
    assert broken.count(NAME) > 0
    broken.close()


@pytest.mark.parametrize("fault, status", [
    (NXDOMAIN, 531), (SERVFAIL, 530), (REFUSED, 530)])
def test_no_origin_at_start_and_then_one(dns, origins, dns_proxy, fault,
                                         status):
    port = origins(1)[0].port
    dns.rcode[None] = fault
    p = dns_proxy(port, wait=False)
    p.expect_log("is not resolved: .*; it has no origin")
    assert is_turned_away(p.port)
    event = p.expect_events(1, Event="resolveOrigin", Status=status)[0]
    text = p.ctl("applications").stdout
    assert re.search("serving, no origin: (resolving )?the origin's name",
                     text)
    assert event["OriginIP"] in ("", None) and event["ClientIP"] == "127.0.0.1"
    dns.rcode.clear()
    dns.set(NAME, "A", "127.0.0.2")
    p.expect_log("is resolved again")
    assert p.visit() == "127.0.0.2"
    assert "unresolved" not in p.rows("applications")[0]
    assert p.rows("origins")[0]["address"] == f"127.0.0.2:{port}"
    assert not p.events(Event="originError")


def test_sessions_wait_for_the_first_answer(dns, origins, dns_proxy):
    port = origins(1)[0].port
    dns.set(NAME, "A", "127.0.0.2")
    dns.rcode[None] = SILENCE
    p = dns_proxy(port, wait=False, connect_timeout_s=60)
    with contextlib.ExitStack() as stack:
        early = [stack.enter_context(connect(p.port)) for _ in range(8)]
        for c in early:
            c.sendall(b"early")
        asked_again(dns)
        assert not p.events()
        rows = p.rows("sessions")
        assert [r["state"] for r in rows] == 8 * ["resolving"]
        assert p.rows("applications")[0]["unresolved"] == "resolving"
        dns.rcode.clear()
        for c in early:
            assert read_exactly(c, 21) == b"127.0.0.2".ljust(16) + b"early"


def test_sessions_wait_no_longer_than_for_a_connection(dns, dns_proxy):
    dns.rcode[None] = SILENCE
    p = dns_proxy(9, wait=False, connect_timeout_s=1)
    began = time.monotonic()
    assert is_turned_away(p.port)
    assert time.monotonic() - began >= 0.9
    p.expect_events(1, Event="resolveOrigin", Status=533)
    # the whole look-up is over, too: now it is known at once
    p.expect_log("is not resolved: no DNS server answers.*has no origin")
    assert is_turned_away(p.port)
    p.expect_events(2, Event="resolveOrigin", Status=533)


def test_udp_without_an_origin(dns, dns_proxy):
    dns.rcode[None] = NXDOMAIN
    port = harness.free_port()
    p = dns_proxy(port, wait=False, protocol="udp")
    p.expect_log("is not resolved: .*; it has no origin")
    with harness.Udp("127.0.0.1", p.port) as c, \
            UdpOrigin(address="127.0.0.2", port=port):
        for _ in range(50):
            c.send(b"x")
        # one line a client and minute, not one a datagram
        p.expect_events(1, Event="resolveOrigin", Status=531)
        dns.rcode.clear()
        dns.set(NAME, "A", "127.0.0.2")
        p.expect_log("is resolved again")
        assert c.ask(b"y") == b"y"
        assert len(p.events(Event="resolveOrigin")) == 1


def test_replies_of_rubbish(dns, origins, dns_proxy):
    """Bytes that are no reply, cut ones, loops of names: old answers stay, the
    daemon lives."""
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2", ttl=1)
    p = dns_proxy(port)
    whole = dns.answer

    def rubbish(packet, transport):
        good = whole(packet, transport)
        head = packet[:2] + struct.pack("!H", 0x8180)
        loop = good[:12] + b"\xc0\x0c" + good[14:]
        return [b"", b"\0" * 12, good[:-3], good[:20], loop,
                head + b"\xff" * 60, head + good[4:12] + good[12:-3]]
    dns.answer = rubbish
    asked_again(dns, times=4)
    assert p.visits(3) == {"127.0.0.2": 3}
    dns.answer = whole
    dns.set(NAME, "A", "127.0.0.3", ttl=600)
    p.moves_to("127.0.0.3")
