"""l4proxyd with origins by DNS: other answers, and reloads, move new sessions
and leave the old ones."""
import contextlib
import re

import harness
from dnsharness import NAME, asked_again, tell
from fakedns import NXDOMAIN, SILENCE, FakeDns
from proxyharness import Origin, connect, read_exactly
from udporigin import UdpOrigin


def test_ttl_moves_new_sessions_and_leaves_old_ones(dns, origins, dns_proxy):
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2", ttl=1)
    p = dns_proxy(port)
    with connect(p.port) as old:
        assert read_exactly(old, 16).strip() == b"127.0.0.2"
        dns.set(NAME, "A", "127.0.0.3", ttl=600)
        p.moves_to("127.0.0.3")
        old.sendall(b"still here")
        assert read_exactly(old, 10) == b"still here"
    count = dns.count(NAME)
    assert p.visits(20) == {"127.0.0.3": 20}
    assert dns.count(NAME) == count  # for 600 s


def test_sessions_of_former_origins_keep_no_new_one_out(dns, dns_proxy):
    """As many of them as there is room for."""
    def serve(connection):
        tell(connection.getsockname()[0])(connection)
    dns.set(NAME, "A", *(f"127.0.7.{n}" for n in range(1, 65)), ttl=1)
    with Origin(serve, "0.0.0.0") as o, contextlib.ExitStack() as held:
        p = dns_proxy(o.port, origin_dns={"type": "A"})
        old = [held.enter_context(connect(p.port)) for _ in range(64)]
        assert len({read_exactly(c, 16) for c in old}) == 64
        dns.set(NAME, "A", "127.0.8.1", "127.0.8.2", ttl=600)
        harness.until(lambda: p.visit().startswith("127.0.8."), "it moves")
        assert p.visits(8) == {"127.0.8.1": 4, "127.0.8.2": 4}
        for c in old:
            c.sendall(b"still here")
            assert read_exactly(c, 10) == b"still here"
            c.close()
        harness.until(lambda: len(p.rows("origins")) == 2, "those are gone")
        assert p.visits(8) == {"127.0.8.1": 4, "127.0.8.2": 4}


def test_a_set_that_always_changes_is_no_flood_of_lines(dns, dns_proxy):
    plain, turn = dns.find, iter(range(2, 1 << 20))

    def find(name, asked):
        dns.set(NAME, "A", f"127.0.0.{next(turn) % 200 + 2}", ttl=0)
        return plain(name, asked)
    dns.find = find
    p = dns_proxy(9, origin_dns={"type": "A"})
    asked_again(dns, times=8)
    assert len(re.findall(f"{NAME} is 127", p.log())) == 5


def test_a_server_that_fails_now_and_then_is_no_flood_of_lines(dns,
                                                               dns_proxy):
    plain, turn = dns.answer, iter(range(1 << 20))

    def answer(packet, transport):
        dns.rcode[None] = NXDOMAIN if next(turn) % 2 else 0
        return plain(packet, transport)
    dns.set(NAME, "A", "127.0.0.2", ttl=1)
    p = dns_proxy(9, origin_dns={"type": "A"})
    dns.answer = answer
    asked_again(dns, times=10)
    assert len(re.findall(f"(?m){NAME} is .*$", p.log())) == 5


def test_health_checks_follow_the_name(dns, origins, dns_proxy):
    """One that DNS names and nobody serves is left out; the one it names
    instead is checked, too."""
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2", "127.0.0.9", ttl=1)
    p = dns_proxy(port, health={"type": "tcp", "interval_s": 1,
                                "timeout_s": 1, "rise": 1, "fall": 1})
    p.expect_log(f"127.0.0.9:{port} is down")
    assert p.visits(6) == {"127.0.0.2": 6}
    dns.set(NAME, "A", "127.0.0.3", "127.0.0.10", ttl=1)
    p.expect_log(f"127.0.0.10:{port} is down")
    assert p.visits(6) == {"127.0.0.3": 6}


def test_the_settings_ttl_wins(dns, origins, dns_proxy):
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2", ttl=86400)
    p = dns_proxy(port, origin_dns={"ttl": 1})
    p.expect_log(f"is 127.0.0.2:{port}, for 1 s")
    dns.set(NAME, "A", "127.0.0.3", ttl=86400)
    p.moves_to("127.0.0.3")


def test_udp_flows_find_their_origin_and_stay(dns, dns_proxy):
    port = harness.free_port()

    def serve(name):
        return lambda d: [name + d.data]
    dns.set(NAME, "A", "127.0.0.2", ttl=1)
    with UdpOrigin(serve(b"2"), "127.0.0.2", port), \
            UdpOrigin(serve(b"3"), "127.0.0.3", port):
        p = dns_proxy(port, protocol="udp")
        with harness.Udp("127.0.0.1", p.port) as old:
            assert old.ask(b"a") == b"2a"
            dns.set(NAME, "A", "127.0.0.3", ttl=1)

            def asks():
                with harness.Udp("127.0.0.1", p.port) as c:
                    return c.ask(b"b")
            harness.until(lambda: asks() == b"3b", "new flows move")
            assert old.ask(b"c") == b"2c"


def test_checks_follow_the_answers(dns, origins, dns_proxy):
    """An address without a server falls; so does one that comes later; a
    reload that changes the application does not forget."""
    port = origins(1)[0].port
    dns.set(NAME, "A", "127.0.0.2", "127.0.0.77", ttl=1)
    health = {"type": "tcp", "interval_s": 1, "timeout_s": 1, "fall": 2}
    p = dns_proxy(port, health=health)
    p.expect_log(rf"origin 127\.0\.0\.77:{port} is down: connect: ")
    assert p.visits(6) == {"127.0.0.2": 6}
    errors = len(p.events(Event="originError"))
    since = p.mark()
    assert p.reload([{**p.app, "lifetime_s": 3600}]) == "reloaded"
    assert p.visits(6) == {"127.0.0.2": 6}
    assert len(p.events(Event="originError")) == errors
    assert "is down" not in p.log()[since:]
    dns.set(NAME, "A", "127.0.0.2", "127.0.0.78", ttl=1)
    p.expect_log(rf"origin 127\.0\.0\.78:{port} is down: connect: ", since)
    assert p.visits(6) == {"127.0.0.2": 6}
    listed = {o["address"]: o["state"] for o in p.rows("origins")}
    assert listed == {f"127.0.0.2:{port}": "up", f"127.0.0.78:{port}": "down"}


def test_reload_keeps_what_is_known(dns, origins, dns_proxy):
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2", ttl=600)
    p = dns_proxy(port)
    asked = dns.count(NAME)
    assert p.reload() == "reloaded"
    assert p.visit() == "127.0.0.2"
    assert dns.count(NAME) == asked  # unchanged: it goes on as it was
    # changed, with a DNS that is dead: begins with what was known
    dns.close()
    assert p.reload([dict(p.app, idle_timeout_s=77)]) == "reloaded"
    assert p.visits(4) == {"127.0.0.2": 4}
    p.expect_log("is not resolved: .*what it had before .1. stays")
    dns.open()
    dns.set(NAME, "A", "127.0.0.3", ttl=600)
    p.moves_to("127.0.0.3")
    # another name is another matter
    dns.set("other.example", "A", "127.0.0.2")
    assert p.reload([dict(p.app, origin_dns={"name": "other.example"})]) == \
        "reloaded"
    p.moves_to("127.0.0.2")


def test_reload_takes_other_servers(dns, origins, dns_proxy):
    """Also while a question to the old one is open; sessions wait on."""
    port = origins(1)[0].port
    dns.rcode[None] = SILENCE
    p = dns_proxy(port, wait=False, connect_timeout_s=60)
    harness.until(lambda: dns.count(NAME), "a question")
    other = FakeDns(port=harness.free_port())
    other.set(NAME, "A", "127.0.0.2")
    with connect(p.port) as c:
        assert p.reload(resolvers=[other.url()]) == "reloaded"
        assert read_exactly(c, 16).strip() == b"127.0.0.2"
    other.close()


def test_reload_to_and_from_dns(dns, origins, dns_proxy):
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2")
    p = dns_proxy(port)
    direct = {k: v for k, v in p.app.items()
              if k not in ("origin_dns", "origin_port")}
    direct["origin_direct"] = f"tcp://127.0.0.3:{port}"
    assert p.reload([direct]) == "reloaded"
    p.moves_to("127.0.0.3")
    assert p.reload([p.app]) == "reloaded"
    p.moves_to("127.0.0.2")
