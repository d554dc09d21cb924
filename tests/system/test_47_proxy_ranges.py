"""Ranges of ports by one socket a worker, in a network of their own."""
import json
import subprocess

import harness
from proxyharness import L4proxyd

FIRST, LAST, TO = 20000, 29999, 40000

# One origin for all ports of a range, and clients, inside the namespace: lines
# of JSON in and out. The origins answer with the port that was asked there.
INSIDE = r"""
import json, os, selectors, socket, sys, threading
TO = 40000
ports = json.loads(sys.argv[1])
held, kinds = [], {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
poll = selectors.DefaultSelector()
for host in "127.0.0.1", "::1":
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for name, kind in kinds.items():
        for port in ports:
            s = socket.socket(family, kind)
            if name == "tcp":  # old connections in TIME_WAIT
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((host, port))
            if name == "tcp":
                s.listen()
            poll.register(s, selectors.EVENT_READ, (name, port))
def serve():
    while True:
        for key, _ in poll.select():
            name, port = key.data
            if name == "tcp":
                c, _ = key.fileobj.accept()
                c.sendall(b"%d" % port)
                c.close()
            else:
                data, peer = key.fileobj.recvfrom(1 << 16)
                key.fileobj.sendto(b"%d %d" % (port, len(data)), peer)
threading.Thread(target=serve, daemon=True).start()
def ask(name, host, port, size=5):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kinds[name]) as s:
        s.settimeout(10)
        s.connect((host, port))  # a reply from elsewhere is not seen
        if name == "tcp":
            return s.makefile().read()
        s.send(b"x" * size)
        return s.recv(1 << 16).decode()
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    c = json.loads(line)
    try:
        if c[0] == "hold":
            s = socket.socket(socket.AF_INET, kinds[c[1]])
            s.bind((c[2], c[3]))
            if c[1] == "tcp":
                s.listen()
            held.append(s)
            answer = os.getpid()
        elif c[0] == "drop":
            held.pop().close()
            answer = True
        else:
            answer = ask(*c)
    except OSError as e:
        answer = type(e).__name__
    print(json.dumps(answer), flush=True)
"""


def inside(namespace, ports):
    """ask(kind, host, port), and what else is to be done there."""
    return harness.Inmate(namespace, "-c", INSIDE, json.dumps(ports))


def ranges(edge_ips, first=FIRST, last=LAST, to=TO):
    def to_port(host, proto):
        return f"{proto}://{host}:{to}-{to + last - first}"
    six = any(":" in e for e in edge_ips) or edge_ips == ["ipv6"]
    return [{"name": f"range-{proto}", "protocol": f"{proto}/{first}-{last}",
             "edge_ips": edge_ips,
             "origin_direct": [to_port("[::1]" if six else "127.0.0.1",
                                       proto)]}
            for proto in ("tcp", "udp")]


def proxy(tmp_path, host, applications, **more):
    return L4proxyd(tmp_path, applications, drain_s=1,
                    prefix=("ip", "netns", "exec", host), **more)


def programs(host):
    """The programs on this namespace's socket lookup."""
    links = json.loads(subprocess.run(
        ["bpftool", "link", "show", "-j"], stdout=subprocess.PIPE,
        check=True).stdout or "[]")
    inode = int(subprocess.run(
        ["ip", "netns", "exec", host, "stat", "-Lc", "%i",
         "/proc/self/ns/net"], stdout=subprocess.PIPE, check=True).stdout)
    return [x for x in links if x.get("netns_ino") == inode]


SOME = [FIRST, FIRST + 1, 24321, LAST]


def asked(port):
    return port - FIRST + TO


def test_ten_thousand_ports_by_one_socket(tmp_path, namespaces):
    host = namespaces.add("range")
    namespaces.inside(host, "address", "add", "192.0.2.9/32", "dev", "lo")
    with inside(host, [asked(p) for p in SOME]) as ask, \
            proxy(tmp_path, host, ranges(["127.0.0.1"])) as p:
        p.expect_log("one socket a worker")
        p.expect_log(r"(?m) 4 listening sockets$")
        assert len(harness.fds(p.pid)) < 100
        for port in SOME:
            assert ask("tcp", "127.0.0.1", port) == f"{asked(port)}"
            for size in (0, 5, 60000):
                assert ask("udp", "127.0.0.1", port, size) == \
                    f"{asked(port)} {size}"
        # Nobody's ports, and a neighbour's, are as without us.
        for proto in ("tcp", "udp"):
            assert ask(proto, "127.0.0.1", LAST + 1) == \
                "ConnectionRefusedError"
            assert ask(proto, "192.0.2.9", 25000) == "ConnectionRefusedError"
        udp = p.expect_events(12, Event="connect", Application="range-udp")
        assert {e["OriginPort"] for e in udp} == {asked(x) for x in SOME}


def test_wildcards_and_ipv6(tmp_path, namespaces):
    host = namespaces.add("range6")
    namespaces.inside(host, "address", "add", "192.0.2.9/32", "dev", "lo")
    namespaces.inside(host, "address", "add", "2001:db8::9/128", "dev", "lo")
    for edge, address in ((["ipv4"], "192.0.2.9"), (["::1"], "::1"),
                          (["ipv6"], "2001:db8::9")):
        with inside(host, [asked(p) for p in SOME]) as ask, \
                proxy(tmp_path, host, ranges(edge),
                      name=f"l4proxyd-{edge[0].strip(':')}") as p:
            p.expect_log("one socket a worker")
            for port in SOME:
                assert ask("tcp", address, port) == f"{asked(port)}"
                assert ask("udp", address, port) == f"{asked(port)} 5"


def test_a_port_of_another_stops_the_start(tmp_path, namespaces):
    host = namespaces.add("rangebusy")
    with inside(host, []) as ask:
        for proto in ("tcp", "udp"):
            pid = ask("hold", proto, "127.0.0.1", 24321)
            busy = proxy(tmp_path, host, ranges(["127.0.0.1"]),
                         name=f"busy-{proto}")
            busy.start(wait=False)
            assert busy.child.wait(harness.PATIENCE_S) == 1
            log = busy.log()
            assert f"{proto} 127.0.0.1:24321" in log and f"{pid}" in log, log
            assert f"application range-{proto}: a port of its range" in log
            ask("drop")
        # Another of us, whose range begins elsewhere.
        with proxy(tmp_path, host, ranges(["127.0.0.1"])) as one:
            two = proxy(tmp_path, host, ranges(["ipv4"], LAST, LAST + 100),
                        name="two")
            two.start(wait=False)
            assert two.child.wait(harness.PATIENCE_S) == 1
            assert f"{one.pid}" in two.log(), two.log()


def test_reload_changes_the_range(tmp_path, namespaces):
    host = namespaces.add("rangeload")
    with inside(host, [asked(p) for p in SOME]) as ask, \
            proxy(tmp_path, host, ranges(["127.0.0.1"])) as p:
        assert ask("udp", "127.0.0.1", LAST) == f"{asked(LAST)} 5"
        assert p.reload(ranges(["127.0.0.1"], last=25000)) == "reloaded"
        for proto in ("tcp", "udp"):
            assert ask(proto, "127.0.0.1", 24321).split()[0] == \
                f"{asked(24321)}"
            # LAST itself has a flow, and the socket that its replies left by
            assert ask(proto, "127.0.0.1", LAST - 1) == \
                "ConnectionRefusedError"
        assert p.reload(ranges(["127.0.0.1"])) == "reloaded"
        assert ask("udp", "127.0.0.1", LAST) == f"{asked(LAST)} 5"
        # Another address, and so another socket, without any rights left.
        assert p.reload(ranges(["127.0.0.7"])) == "reloaded"
        for proto in ("tcp", "udp"):
            assert ask(proto, "127.0.0.7", LAST).split()[0] == f"{asked(LAST)}"
        harness.until(lambda: ask("tcp", "127.0.0.1", LAST) ==
                      "ConnectionRefusedError", "the old address is left")


def test_a_reload_does_not_grow_over_another(tmp_path, namespaces):
    host = namespaces.add("rangegrow")
    with inside(host, [asked(FIRST)]) as ask, \
            proxy(tmp_path, host, ranges(["127.0.0.1"], last=21000)) as p:
        for proto in ("tcp", "udp"):
            ask("hold", proto, "127.0.0.1", 24321)
            since = p.mark()
            assert p.reload(ranges(["127.0.0.1"])) == "reload failed"
            # who it is, the user that it is now may not see
            p.expect_log(f"{proto} 127.0.0.1:24321 is in use: held by a "
                         "process of uid 0", since)
            assert ask(proto, "127.0.0.1", FIRST).split()[0] == \
                f"{asked(FIRST)}"
            ask("drop")
        assert p.reload(ranges(["127.0.0.1"])) == "reloaded"


def test_a_low_udp_range_says_why_it_is_plain(tmp_path, namespaces):
    host = namespaces.add("rangelow")
    low = ranges(["127.0.0.1"], first=900, last=999)
    with proxy(tmp_path, host, low) as p:
        p.expect_log("range-udp: a socket for each port: .* under 1024")
        p.expect_log("one socket a worker")
        assert "range-tcp: a socket" not in p.log()


def test_nothing_stays_behind(tmp_path, namespaces):
    host = namespaces.add("rangekill")
    with inside(host, [asked(p) for p in SOME]) as ask:
        with proxy(tmp_path, host, ranges(["127.0.0.1"])) as p:
            assert len(programs(host)) == 1
            assert ask("tcp", "127.0.0.1", LAST) == f"{asked(LAST)}"
            p.kill(9)
            p.stop(status=-9)
        harness.until(lambda: programs(host) == [], "the program is gone")
        assert ask("tcp", "127.0.0.1", LAST) == "ConnectionRefusedError"


def test_without_rights_each_port_has_a_socket(tmp_path, namespaces):
    host = namespaces.add("rangeplain")
    fewer = ranges(["127.0.0.1"], last=FIRST + 99)
    drop = ("ip", "netns", "exec", host, "setpriv", "--reuid", "nobody",
            "--clear-groups", "--bounding-set=-all", "--inh-caps=-all")
    with inside(host, [TO, TO + 50]) as ask:
        with L4proxyd(tmp_path, fewer, drain_s=1, prefix=drop) as p:
            p.expect_log("a socket for each port: .*takes CAP_BPF")
            p.expect_log(r"(?m) 400 listening sockets$")
            for proto in ("tcp", "udp"):
                assert ask(proto, "127.0.0.1", FIRST + 50).split()[0] == \
                    f"{TO + 50}"
        must = L4proxyd(tmp_path, fewer, prefix=drop, name="must",
                        port_ranges="dispatch")
        must.start(wait=False)
        assert must.child.wait(harness.PATIENCE_S) == 1
        assert "port_ranges: dispatch: " in must.log()
        with proxy(tmp_path, host, fewer, name="said",
                   port_ranges="sockets") as p:
            p.expect_log(r"(?m) 400 listening sockets$")
