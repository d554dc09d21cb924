"""l4proxyd with origins by DNS: what is found, by which records and which
servers."""
import socket

import harness
from dnsharness import NAME, SERVICE, asked_again, tell
from fakedns import FakeDns
from proxyharness import L4proxyd, Origin, is_turned_away
from udporigin import UdpOrigin


def test_a_and_what_the_log_says(dns, origins, dns_proxy):
    first, second = origins(2)
    dns.set(NAME, "A", "127.0.0.2", "127.0.0.3", ttl=77)
    p = dns_proxy(first.port, origin_dns={"type": "A"})
    assert p.visits(6) == {"127.0.0.2": 3, "127.0.0.3": 3}
    assert {(e["OriginIP"], e["OriginPort"]) for e in p.expect_events(
        6, Event="disconnect")} == {
        ("127.0.0.2", second.port), ("127.0.0.3", second.port)}
    assert (f"story: {NAME} is 127.0.0.2:{first.port}, "
            f"127.0.0.3:{first.port}, for 77 s") in p.log()
    assert dns.count(NAME, "AAAA") == 0
    assert dns.count(NAME, "A") == 1


def test_both_families_an_alias_and_tcp_for_what_is_long(dns, dns_proxy):
    """Truncated over UDP: asked for again by TCP."""
    port = harness.free_port()
    dns.truncate = True
    dns.set(NAME, "CNAME", "other.example")
    dns.set("other.example", "A", "127.0.0.2")
    dns.set("other.example", "AAAA", "::1")
    with Origin(tell("four"), "127.0.0.2", port), \
            Origin(tell("six"), "::1", port):
        p = dns_proxy(port)
        assert p.visits(4) == {"four": 2, "six": 2}
    assert dns.count(NAME, transport="udp") == 2
    assert dns.count(NAME, transport="tcp") == 2


def test_six_only(dns, dns_proxy):
    port = harness.free_port(socket.AF_INET6)
    dns.set(NAME, "A", "127.0.0.9")
    dns.set(NAME, "AAAA", "::1")
    with Origin(tell("six"), "::1", port):
        p = dns_proxy(port, origin_dns={"type": "AAAA"})
        assert p.visits(3) == {"six": 3}


def test_a_range_keeps_its_offset(dns, origins, dns_proxy):
    base = harness.free_port()
    origins(1, base + 2)
    dns.set(NAME, "A", "127.0.0.2")
    edge = next(port for port in iter(harness.free_port, None)
                if not base - 3 <= port <= base + 3)
    p = dns_proxy(f"{base}-{base + 2}", edge=f"{edge}-{edge + 2}")
    assert p.visit(edge + 2) == "127.0.0.2"


def test_many_records_are_cut_and_come_by_tcp(dns, origins, dns_proxy):
    """200 addresses: the first 64 in order, whatever the order of the day."""
    port = origins(1)[0].port
    dns.set(NAME, "A", *[f"127.0.1.{i + 1}" for i in range(199)],
            "127.0.0.2", ttl=1)
    p = dns_proxy(port, balance="source-hash", origin_dns={"type": "A"})
    p.expect_log(r"is 127\.0\.0\.2:\d+, 127\.0\.1\.1:\d+, .* and 60 more")
    assert dns.count(NAME, transport="tcp") == 1
    since = p.mark()
    ttl, data = dns.records[NAME, "A"]
    dns.set(NAME, "A", *reversed(data), ttl=1)
    asked_again(dns, times=4)
    assert NAME not in p.log()[since:]


def srv(dns, *records, ttl=60):
    dns.set(SERVICE, "SRV", *records, ttl=ttl)


def test_srv_priorities_weights_and_ports(dns, origins, dns_proxy):
    port, other = harness.free_port(), harness.free_port()
    origins(3, port), origins(3, other)
    srv(dns, (10, 30, port, "a.example"), (10, 10, port, "b.example"),
        (20, 1, other, "c.example"), ttl=1)
    dns.set("a.example", "A", "127.0.0.2")
    dns.set("b.example", "A", "127.0.0.3")
    dns.set("c.example", "A", "127.0.0.4")
    p = dns_proxy(None, name=SERVICE, origin_dns={"type": "SRV"})
    assert p.visits(8) == {"127.0.0.2": 6, "127.0.0.3": 2}
    assert dns.count("c.example") == 0
    # no host of the first priority has an address any more: the next one
    dns.set("a.example", "A"), dns.set("b.example", "A")
    p.moves_to("127.0.0.4")
    # and back, with another port
    dns.set("b.example", "A", "127.0.0.3")
    srv(dns, (10, 0, other, "b.example"), (20, 1, other, "c.example"), ttl=1)
    p.moves_to("127.0.0.3")
    assert {e["OriginPort"] for e in p.events(OriginIP="127.0.0.3")} == {
        port, other}


def test_srv_says_not_available(dns, origins, dns_proxy):
    """The target "." (RFC 2782)."""
    srv(dns, (0, 0, 0, "."))
    p = dns_proxy(None, name=SERVICE, origin_dns={"type": "SRV"}, wait=False)
    p.expect_log("story: .* is not resolved: .*; it has no origin")
    assert is_turned_away(p.port)
    p.expect_events(1, Event="resolveOrigin", Status=531)


def test_srv_ttl_is_the_smallest_of_all(dns, origins, dns_proxy):
    port = origins(1)[0].port
    srv(dns, (1, 1, port, "a.example"), ttl=600)
    dns.set("a.example", "A", "127.0.0.2", ttl=33)
    p = dns_proxy(None, name=SERVICE, origin_dns={"type": "SRV"})
    p.expect_log(f"{SERVICE} is 127.0.0.2:{port}, for 33 s")


def test_udp_by_srv(dns, dns_proxy):
    name = "_story._udp.example"
    with UdpOrigin(address="127.0.0.2") as o:
        dns.set(name, "SRV", (0, 0, o.port, "a.example"))
        dns.set("a.example", "A", "127.0.0.2")
        p = dns_proxy(None, name=name, protocol="udp",
                      origin_dns={"type": "SRV"})
        with harness.Udp("127.0.0.1", p.port) as c:
            assert c.ask(b"hello") == b"hello"
        p.expect_events(1, Event="connect", OriginIP="127.0.0.2",
                        OriginPort=o.port)


def test_our_own_edge_is_left_out(dns, origins, dns_proxy):
    """The name leads back to the port on which it is asked for."""
    edge = harness.free_port()
    origins(1, edge)
    dns.set(NAME, "A", "127.0.0.1", ttl=1)
    p = dns_proxy(edge, wait=False, edge=edge)
    p.expect_log(f"{NAME} is 127.0.0.1:{edge}, an edge of this proxy")
    p.expect_log("is not resolved: the origin's address is not allowed; it "
                 "has no origin")
    assert is_turned_away(edge)
    p.expect_events(1, Event="resolveOrigin", Status=532)
    dns.set(NAME, "A", "127.0.0.1", "127.0.0.2", ttl=1)
    p.expect_log("is resolved again")
    assert {p.visit(edge) for _ in range(4)} == {"127.0.0.2"}
    asked_again(dns, times=4)
    assert p.log().count("an edge of this proxy") == 1


def test_an_address_of_this_host_is_an_edge_of_all(tmp_path, namespaces):
    """With edge_ips all it is this host's interfaces that decide; asked for
    by the fenced daemon itself."""
    host = namespaces.host("proxy", "192.0.2.1/24")
    server = harness.inside(host, FakeDns)
    server.set(NAME, "A", "192.0.2.1", "192.0.2.99", ttl=1)
    app = {"name": "story", "protocol": "tcp/7777", "edge_ips": "all",
           "origin_dns": {"name": NAME}, "origin_port": "7777"}
    with L4proxyd(tmp_path, [app], resolvers=server.url(), drain_s=0,
                  prefix=("ip", "netns", "exec", host)) as p:
        p.expect_log(f"{NAME} is 192.0.2.1:7777, an edge of this proxy")
        p.expect_log(f"{NAME} is 192.0.2.99:7777, for 1 s")
    server.close()


def test_servers_of_resolv_conf(tmp_path, namespaces):
    """Read before the daemon is fenced in; a reload comes back to them."""
    host = namespaces.add("proxy")
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.53\nsearch example\n")
    conf.chmod(0o644)
    system = harness.inside(host, lambda: FakeDns("127.0.0.53", 53))
    other = harness.inside(host, FakeDns)
    for server in system, other:
        server.set(NAME, "A", "127.0.0.2")
    app = {"name": "story", "protocol": "tcp/7777", "edge_ips": "127.0.0.1",
           "origin_dns": {"name": NAME, "ttl": 1}, "origin_port": "7777"}
    mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    with L4proxyd(tmp_path, [app], drain_s=0,
                  prefix=("ip", "netns", "exec", host, "sh", "-c", mount,
                          str(conf))) as p:
        p.expect_log("DNS servers: 127.0.0.53:53\n")
        p.expect_log(f"{NAME} is 127.0.0.2:7777")
        assert p.reload(resolvers=[other.url()]) == "reloaded"
        p.expect_log(f"DNS servers: {other.url()}\n")
        asked_again(other)
        conf.write_text("nameserver 127.0.0.1\n")  # not read again
        del p.config["resolvers"]
        assert p.reload() == "reloaded"
        asked_again(system, times=3)
        system.set(NAME, "A", "127.0.0.3")
        p.expect_log(f"{NAME} is 127.0.0.3:7777")
        assert not system.count(f"{NAME}.example")
    system.close()
    other.close()
