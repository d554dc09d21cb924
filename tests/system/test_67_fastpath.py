"""fast_path: the kernel carries established flows, and nobody can tell."""
import errno
import json
import socket
import subprocess
import time

import harness
import pytest
from proxyharness import Controlled
from street import EDGE, ORIGIN, by_kernel, establish, url
from udporigin import UdpOrigin

UDP_SEGMENT, SO_NO_CHECK, IP_OPTIONS = 103, 11, 4
RECORD_ROUTE = bytes([7, 11, 4]) + bytes(8) + b"\0"


def send_run(c, part):
    """As one message where the kernel can; before Linux 6.11 it could not by
    a device that makes no checksums."""
    c.socket.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, len(part[0]))
    try:
        c.send(b"".join(part))
        part = []
    except OSError as e:
        assert e.errno == errno.EIO
    c.socket.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
    for data in part:
        c.send(data)


def converse(c, version):
    """All kinds of datagrams, each of which the origin sends back."""
    establish(c)
    s = c.socket
    sent = [bytes(i * 7 % 251 for i in range(n))
            for n in (0, 1, 1000, 1452, 1472, 1473, 9000, 60000)]
    for data in sent:
        assert c.ask(data) == data
    for n in range(3):  # bursts: a hand-over may change their order
        part = [b"%d %d" % (n, i) * (i % 9) for i in range(20)]
        for data in part:
            c.send(data)
        assert sorted(c.receive() for _ in part) == sorted(part)
    part = [bytes([i]) * 1000 for i in range(5)] + [b"the end"]
    send_run(c, part)
    assert sorted(c.receive() for _ in part) == sorted(part)
    if version == 4:
        s.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        assert c.ask(b"no checksum") == b"no checksum"
        s.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 0)
        s.setsockopt(socket.IPPROTO_IP, IP_OPTIONS, RECORD_ROUTE)
        assert c.ask(b"options") == b"options"
        s.setsockopt(socket.IPPROTO_IP, IP_OPTIONS, b"")
        s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
    else:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
    assert c.ask(b"the last hop") == b"the last hop"


@pytest.mark.parametrize("hook", ["auto", "clsact"])
def test_the_same_on_both_paths(tmp_path, street, hook):
    """IPv4 and IPv6, offloads on and off: bytes to the byte, no checksum."""
    apps = [street.application(version, 7777 + off, name=f"{path}{version}",
                               fast_path=path)
            for off, path in enumerate(("auto", "off"))
            for version in (4, 6)]
    bad = street.bad_checksums()
    with street.daemon(tmp_path, apps, fast_path_hook=hook) as p, \
            street.echo(4), street.echo(6):
        p.expect_log(r"auto4: established flows by the kernel \(in, out\)")
        p.expect_log("off4: flows on sockets: fast_path is off")
        for offloads in True, False:
            street.offloads(offloads)
            for version in 4, 6:
                for off in 0, 1:
                    with street.ask(version, 7777 + off) as c:
                        converse(c, version)
        p.stop()
        ends = {a["name"]: [(e["ClientBytes"], e["OriginBytes"]) for e in
                            p.expect_events(2, Event="disconnect", Status=200,
                                            Application=a["name"])]
                for a in apps}
    for version in 4, 6:
        assert ends[f"auto{version}"] == ends[f"off{version}"]
        assert all(a == b > 70000 for a, b in ends[f"auto{version}"])
    assert street.bad_checksums() == bad


LO = {4: "127.0.0.1", 6: "::1"}


def test_loopback_is_an_interface_too(tmp_path, namespaces):
    """Client, proxy and origin on one host; one that is not stays out."""
    host = namespaces.host("alone", "192.0.2.1/24")
    far = namespaces.host("far", "192.0.2.2/24")
    ports = {4: 7777, 6: 7778}
    apps = [{"name": f"udp{v}", "protocol": f"udp/{ports[v]}",
             "edge_ips": LO[v], "origin_direct": url(LO[v], 8888)}
            for v in (4, 6)]
    half = {"name": "half", "protocol": "udp/7779", "edge_ips": "192.0.2.1",
            "origin_direct": url(LO[4], 8888)}
    everywhere = {**half, "name": "everywhere", "protocol": "udp/7780",
                  "edge_ips": "all"}
    p = Controlled(tmp_path, [*apps, half, everywhere], drain_s=0,
                   prefix=("ip", "netns", "exec", host))
    with p:
        p.expect_log(r"half: flows on sockets: either edges or origins are "
                     "on loopback, not both")
        for v in 4, 6:
            p.expect_log(rf"udp{v}: established flows by the kernel \(lo\)")
            with harness.inside(host, lambda: UdpOrigin(
                    lambda d: [d.data], address=LO[v], port=8888)), \
                    harness.inside(host, lambda: harness.Udp(
                        LO[v], ports[v])) as c:
                converse(c, v)
                harness.until(lambda: by_kernel(p, f"udp{v}") > 50,
                              "the kernel has carried it")
        with harness.inside(host, lambda: UdpOrigin(
                lambda d: [d.data], address=LO[4], port=8888)), \
                harness.inside(host, lambda: harness.Udp(LO[4], 7780)) as c, \
                harness.inside(far, lambda: harness.Udp(
                    "192.0.2.1", 7780)) as other:
            establish(c)
            for n in range(20):
                assert other.ask(b"%d" % n) == b"%d" % n
            harness.until(lambda: by_kernel(p, "everywhere") > 0,
                          "a client of this host is the kernel's")
            assert by_kernel(p, "everywhere") < 10
        p.stop()
        for v in 4, 6:
            end, = p.expect_events(Event="disconnect", Application=f"udp{v}")
            assert end["ClientBytes"] == end["OriginBytes"] > 70000


def who(street, c):
    """portshare, on the proxy's host, of what this client sends."""
    host, port = c.socket.getsockname()[:2]
    p = subprocess.run(
        ["ip", "netns", "exec", street.proxy, str(harness.BUILD / "portshare"),
         "who", "udp", f"{EDGE[4]}:7777", "--from", f"{host}:{port}",
         "--json"], capture_output=True, text=True, check=True, timeout=30)
    return json.loads(p.stdout)["kernel_path"]


def busy(c, for_s):
    """Asks for so long; how often, and the longest pause between two."""
    count, longest = 0, 0.0
    now = begun = time.monotonic()
    while now < begun + for_s:
        assert c.ask(b"x" * 100) == b"x" * 100
        count += 1
        time.sleep(0.05)
        last, now = now, time.monotonic()
        longest = max(longest, now - last)
    return count, longest


def test_counts_come_back(tmp_path, street):
    """Listings, counters and the idle time, while the kernel has the flow."""
    with street.daemon(tmp_path, [street.application(
            4, idle_timeout_s=3)]) as p, street.echo(4), street.ask(4) as c:
        row, = p.rows("applications")
        assert row["path"] == "kernel" and "path_why" not in row
        establish(c)
        harness.until(lambda: by_kernel(p, "udp4") > 0, "it is counted")
        assert who(street, c) == {"pid": p.pid, "to": f"{ORIGIN[4]}:8888"}
        with street.ask(4) as stranger:
            assert who(street, stranger) is None
    # half as long again as it may be idle; a machine that was elsewhere for
    # so long gets another turn
    for turn in range(5):
        with street.daemon(
                tmp_path, [street.application(4, idle_timeout_s=3)],
                name=f"turn{turn}") as p, \
                street.echo(4), street.ask(4) as c:
            establish(c)
            count, longest = busy(c, 4.5)
            rows = p.rows("sessions")
            end, = p.expect_events(Event="disconnect", Status=200)[:1]
            if longest > 1.5 or not rows:
                continue
            size = sum(len(b"establish %d" % n) for n in range(5))
            size, count = size + 100 * count, count + 5
            row, = rows
            assert row["client_bytes"] == row["origin_bytes"] == size
            assert row["client_datagrams"] == row["origin_datagrams"] == count
            assert end["ClientBytes"] == end["OriginBytes"] == size
            counters = p.counters("udp4")
            assert counters["client_bytes"] == size
            assert counters["datagrams_from_clients"] == count
            assert counters["datagrams_to_clients"] == count
            # a request and its reply, and one each way that was watched
            assert 0 < counters["datagrams_by_kernel"] <= 2 * count - 4
            establish(c)  # and begins anew
            return
    raise AssertionError("this machine was never here")


def test_iperf3_one_way(tmp_path, street):
    """One datagram is answered; what follows goes one way, to its last byte."""
    apps = [street.application(4, 5201, idle_timeout_s=2),
            street.application(4, name="control", protocol="tcp/5201",
                               origin_direct=f"tcp://{ORIGIN[4]}:5201")]
    apps[0]["origin_direct"] = url(ORIGIN[4], 5201)
    server = subprocess.Popen(
        ["ip", "netns", "exec", street.origin, "iperf3", "-s"],
        stdout=subprocess.DEVNULL)
    try:
        with street.daemon(tmp_path, apps) as p:
            for reverse in [], ["-R"]:
                told = harness.until(lambda: measured(street, reverse),
                                     "iperf3 is served")
                end, = p.expect_events(1 + len(reverse), Event="disconnect",
                                       Application="udp4")[len(reverse):]
                field = "OriginBytes" if reverse else "ClientBytes"
                # iperf3's own queues are small, and a test machine stalls
                greeting = 4
                assert 0.95 * told["bytes"] < end[field] - greeting <= (
                    told["bytes"])
                harness.until(lambda: by_kernel(p, "udp4") > 1000 * (
                    1 + len(reverse)), "it is carried")
    finally:
        server.kill()
        server.wait()


def measured(street, options):
    """None: nobody listens yet."""
    p = subprocess.run(
        ["ip", "netns", "exec", street.client, "iperf3", "-c", EDGE[4], "-u",
         "-b", "50M", "-n", "3M", "-l", "1000", "-J", *options],
        capture_output=True, text=True, timeout=60)
    return json.loads(p.stdout)["end"]["sum_sent"] if p.returncode == 0 \
        else None


def test_v2_first_and_ranges_and_wildcards(tmp_path, street):
    """Flows that are more than one port at one address."""
    street_v2 = street.application(4, 7000, name="v2",
                                   proxy_protocol="v2-first")
    ports = street.application(6, "7100-7299", name="range",
                               origin_direct=url(ORIGIN[6], "8800-8999"))
    every = street.application(4, 7001, name="all", edge_ips="all")
    seen = []
    with street.daemon(tmp_path, [street_v2, ports, every]) as p, \
            street.echo(4, lambda d: seen.append(d) or [d.data[-10:]]), \
            street.echo(6, port=8850):
        with street.ask(4, 7000) as c:
            for n in range(20):
                assert c.ask(b"%010d" % n) == b"%010d" % n
        assert [len(d.data) for d in seen] == [38] + [10] * 19
        for version, port in (6, 7150), (4, 7001):
            with street.ask(version, port) as c:
                for n in range(20):
                    assert c.ask(b"%010d" % n) == b"%010d" % n
        for name in "v2", "range", "all":
            harness.until(lambda: by_kernel(p, name) >= 30,
                          f"{name} is carried")


def test_why_not_is_said(tmp_path, street):
    reasons = {
        "proxy_protocol": ("v2", "a header on each datagram"),
        "proxy_protocol_from": ("192.0.2.2", "reads a header"),
        "limits": ({"bytes_per_s": 1000000}, "weighs each datagram"),
        "udp": ({"responses": 1}, "requests and replies"),
        "transparent": (True, "no address of this host"),
        "origin_direct": ("udp://127.0.0.1:9", "on loopback, not both"),
    }
    apps = [street.application(4, 7000 + n, name=key, **{key: value})
            for n, (key, (value, _)) in enumerate(reasons.items())]
    with street.daemon(tmp_path, apps) as p:
        told = {r["application"]: r for r in p.rows("applications")}
        for key, (_, why) in reasons.items():
            assert told[key]["path"] == "sockets"
            assert why in told[key]["path_why"]
            p.expect_log(f"{key}: flows on sockets: .*{why}")
        # nothing was loaded, so a reload cannot have it
        assert p.reload([street.application(4)]) == "reloaded"
        row, = p.rows("applications")
        assert "at the start: restart" in row["path_why"]
        assert p.reload([street.application(4, fast_path="require")]) == (
            "reload failed")
    must = street.daemon(tmp_path, [street.application(
        4, fast_path="require", limits={"bytes_per_s": 1})], name="must")
    must.start(wait=False)
    harness.until(lambda: not must.alive(), "it ends")
    assert "the kernel cannot carry these flows: limits.bytes_per_s" in (
        must.log())


def test_without_rights_it_goes_on(tmp_path, street):
    p = street.daemon(tmp_path, [street.application(4)], control="off")
    p.prefix = (*p.prefix, "setpriv", "--reuid=nobody", "--regid=nogroup",
                "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")
    with p, street.echo(4), street.ask(4) as c:
        p.expect_log("fast path: none: .*takes CAP_BPF and CAP_NET_ADMIN")
        p.expect_log("udp4: flows on sockets: .*takes CAP_BPF")
        establish(c)
