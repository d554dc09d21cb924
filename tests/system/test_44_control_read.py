"""l4proxyctl: what an operator sees of applications, sessions, origins and
counters, and what Prometheus reads."""
import contextlib
import os
import re
import socket
import time

import harness
from controlharness import table
from proxyharness import (Origin, application, blackhole, connect, idle,
                          is_turned_away, read_all, read_exactly)
from udporigin import UdpOrigin, udp_application


def test_applications_as_a_table_and_as_facts(controlled, tcp):
    port, dns = harness.free_port(), harness.free_port()
    p = controlled(
        application(port, tcp, tcp.port + 1 if tcp.port < 65535 else 1,
                    name="web"),
        udp_application(f"{dns}-{dns + 9}", f"{dns}-{dns + 9}", name="dns",
                        edge_ips=["127.0.0.2", "127.0.0.3"]))
    with connect(port) as c:
        c.sendall(b"x")
        read_exactly(c, 1)
        web, udp = p.rows("applications")
        assert web == {"application": "web", "protocol": "tcp",
                       "ports": str(port), "edges": ["127.0.0.1"],
                       "origins": 2, "live": 1, "begun": 1,
                       "state": "serving", "path": "sockets"}
        assert udp["ports"] == f"{dns}-{dns + 9}" and udp["live"] == 0
        first, second = table(p.ctl("applications").stdout)
        assert first == {"APPLICATION": "web", "PROTO": "tcp",
                         "PORTS": str(port), "EDGES": "127.0.0.1",
                         "ORIGINS": "2", "LIVE": "1", "TOTAL": "1",
                         "STATE": "serving", "PATH": "sockets"}
        assert second["EDGES"] == "127.0.0.2 +1"
    harness.until(lambda: p.rows("applications", "--app", "web")[0]["live"]
                  == 0, "the session has ended")
    assert p.rows("applications", "--app", "web")[0]["begun"] == 1


def test_a_session_is_told_to_the_byte(controlled, tcp):
    port = harness.free_port()
    p = controlled(application(port, tcp))
    payload = os.urandom(1 << 20)
    with connect(port) as c:
        c.sendall(b"hello")
        assert read_exactly(c, 5) == b"hello"
        s, = p.rows("sessions")
        me = "{}:{}".format(*c.getsockname())
        assert {k: s[k] for k in s if not k.endswith("_ms")} == {
            "application": "story", "protocol": "tcp", "state": "open",
            "client": me, "edge": f"127.0.0.1:{port}",
            "origin": f"127.0.0.1:{tcp.port}", "client_bytes": 5,
            "origin_bytes": 5, "worker": s["worker"]}
        assert 0 <= s["idle_ms"] <= s["age_ms"] < harness.PATIENCE_S * 1000
        for at in range(0, len(payload), 65536):  # spliced by now
            part = payload[at:at + 65536]
            c.sendall(part)
            assert read_exactly(c, len(part)) == part
        s, = p.rows("sessions")
        assert s["client_bytes"] == s["origin_bytes"] == 5 + len(payload)
        assert p.counters()["client_bytes"] == 5 + len(payload)
        line, = table(p.ctl("sessions").stdout)
        assert (line["CLIENT"], line["IN"], line["STATE"]) == (
            me, "1.0 MiB", "open")
        c.shutdown(socket.SHUT_WR)
        assert read_all(c) == b""
    harness.until(lambda: not p.rows("sessions"), "it has ended")
    assert p.counters()["origin_bytes"] == 5 + len(payload)


def test_states_of_sessions(controlled):
    port, lost = harness.free_port(), harness.free_port()
    with Origin(idle) as o, blackhole() as hole:
        p = controlled(application(port, o),
                       application(lost, hole, name="lost",
                                   connect_timeout_s=3600))

        def states(app):
            return [s["state"] for s in p.rows("sessions", "--app", app)]
        with connect(port) as c, connect(lost):
            harness.until(lambda: states("lost") == ["connecting"],
                          "connecting")
            harness.until(lambda: states("story") == ["open"], "open")
            c.shutdown(socket.SHUT_WR)
            harness.until(lambda: states("story") == ["client-ended"],
                          "half closed")
        with connect(port):
            o.connection(1).shutdown(socket.SHUT_WR)
            harness.until(lambda: "origin-ended" in states("story"),
                          "half closed by the origin")


def test_flows_of_udp(controlled):
    port = harness.free_port()
    with UdpOrigin(lambda d: [d.data] if d.data != b"quiet" else []) as o:
        p = controlled(udp_application(port, o))
        with harness.Udp("127.0.0.1", port) as talks, \
                harness.Udp("127.0.0.1", port) as quiet:
            for n in range(3):
                assert talks.ask(b"x" * 100) == b"x" * 100
            quiet.send(b"quiet")
            harness.until(lambda: len(p.rows("sessions")) == 2, "two flows")
            found = {s["client"]: s for s in p.rows("sessions")}
            s = found["{}:{}".format(*talks.socket.getsockname())]
            assert (s["state"], s["client_bytes"], s["origin_bytes"]) == (
                "replied", 300, 300)
            assert s["client_datagrams"] == s["origin_datagrams"] == 3
            s = found["{}:{}".format(*quiet.socket.getsockname())]
            assert (s["state"], s["client_bytes"], s["origin_bytes"]) == (
                "unreplied", 5, 0)
            row = p.counters()
            assert row["datagrams_from_clients"] == 4
            assert row["datagrams_to_clients"] == 3
            assert row["client_bytes"] == 305
            assert row["dropped_no_flow"] == 0


def test_limit_and_filter(controlled, tcp):
    one, two = harness.free_port(), harness.free_port()
    p = controlled(application(one, tcp, name="one"),
                   application(two, tcp, name="two"))
    with contextlib.ExitStack() as stack:
        for port in [one] * 5 + [two] * 3:
            c = stack.enter_context(connect(port))
            c.sendall(b"x")
            read_exactly(c, 1)
        assert len(p.rows("sessions")) == 8
        assert len(p.rows("sessions", "--limit", "6")) == 6
        assert {s["application"] for s in
                p.rows("sessions", "--app", "two")} == {"two"}
        assert len(p.rows("sessions", "--app", "one", "--limit", 2)) == 2
        assert len(table(p.ctl("sessions").stdout)) == 8


def test_origins_that_fail_are_seen(controlled, tcp):
    port, dead = harness.free_port(), harness.free_port()
    p = controlled(application(port, tcp, dead))
    for _ in range(8):
        with connect(port) as c:
            c.sendall(b"x")
            read_exactly(c, 1)
    up, down = p.rows("origins")
    assert up["address"] == f"127.0.0.1:{tcp.port}" and up["state"] == "up"
    assert up["total"] == 8 and up["failed"] == 0
    assert down["state"] == "ejected" and down["failed"] == 3
    assert 0 < down["ejected_ms"] <= 10000
    assert table(p.ctl("origins").stdout)[1]["STATE"].startswith(
        "ejected for")
    assert p.counters()["connect_failed"] == {"521": 3}


def test_counters_say_who_was_refused_and_why(controlled, tcp):
    names = {"deny": {"ip_firewall": {"deny": ["127.0.0.1"]}},
             "live": {"limits": {"connections": 1}},
             "rate": {"limits": {"new_per_s": 1}}, "none": {}}
    ports = {n: harness.free_port() for n in names}
    p = controlled(*[
        application(ports[n], harness.free_port() if n == "none" else tcp,
                    name=n, **names[n]) for n in names])
    for _ in range(3):
        assert is_turned_away(ports["deny"])
    with connect(ports["live"]) as c:
        c.sendall(b"x")
        read_exactly(c, 1)
        assert is_turned_away(ports["live"])
    with connect(ports["rate"]) as c:
        c.sendall(b"x")
        read_exactly(c, 1)
        assert is_turned_away(ports["rate"])
    assert is_turned_away(ports["none"])
    got = {n: p.counters(n) for n in names}
    assert got["deny"]["refused_firewall"] == 3
    assert got["deny"]["begun"] == 0
    assert got["live"]["refused_limit"] == 1
    assert got["rate"]["refused_rate"] == 1
    assert (got["none"]["no_origin"], got["none"]["connect_failed"]) == (
        1, {"521": 1})
    text = p.ctl("counters").stdout
    assert re.search(r"(?m)^deny +3  refused: firewall$", text)
    assert re.search(r"(?m)^none +1  found no origin$", text)
    assert re.search(r"(?m)^none +1  connect failed by 521: ", text)


def test_durations(controlled, tcp):
    port = harness.free_port()
    p = controlled(application(port, tcp))
    lasted = []
    for n in range(10):
        began = time.monotonic()
        with connect(port) as c:
            c.sendall(b"x")
            read_exactly(c, 1)
            harness.until(lambda: n < 9 or time.monotonic() - began > 1,
                          "one lasts longer")
        lasted.append((time.monotonic() - began) * 1000)
    d = harness.until(lambda: p.counters()["ended"] == 10 and
                      p.counters()["duration_ms"], "all have ended")
    assert d["count"] == 10
    assert d["median"] <= d["p90"] <= d["p99"] <= d["max"]
    assert d["median"] < 900 < d["p99"]
    assert 1000 <= d["max"] and d["max"] <= max(lasted) * 1.5 + 1000
    assert abs(d["average"] * 10 - d["sum"]) < 1
    assert p.counters()["ended_by"] == {"200": 10}


def test_counters_of_workers_and_of_the_daemon(controlled, tcp):
    port = harness.free_port()
    p = controlled(application(port, tcp), workers=2)
    with connect(port) as c:
        c.sendall(b"x")
        read_exactly(c, 1)
        rows = p.rows("counters")
        workers = [r for r in rows if "worker" in r]
        assert [w["worker"] for w in workers] == [0, 1]
        assert sum(w["sessions"] for w in workers) == 1
        assert sum(w["cpu_s"] for w in workers) > 0
        me, = [r for r in rows if "version" in r]
        assert (me["pid"], me["workers"], me["state"]) == (
            p.pid, 2, "serving")
        assert me["event_lines_lost"] == 0 and me["uptime_s"] > 0
    assert p.rows("version")[0]["pid"] == p.pid
    assert "l4proxyd is there" in p.ctl("ping").stdout
    assert f"pid {p.pid}" in p.ctl("version").stdout


METRIC = re.compile(r'^l4proxyd_(\w+)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? '
                    r"(NaN|[0-9.]+)$")


def test_metrics_are_what_prometheus_reads(controlled, tcp):
    """Each line, and the rules: HELP and TYPE once, samples together."""
    port, name = harness.free_port(), 'we"b\\'
    p = controlled(application(port, tcp, name=name),
                   udp_application(harness.free_port(), 53))
    with connect(port) as c:
        c.sendall(b"four")
        read_exactly(c, 4)
        text = p.ctl("metrics").stdout
    types, family, samples = {}, None, set()
    for line in text.splitlines():
        if line.startswith("# "):
            kind, family, rest = re.match(
                r"# (HELP|TYPE) l4proxyd_(\w+) (.+)", line).groups()
            if kind == "TYPE":
                assert family not in types, line
                types[family] = rest
            continue
        found = METRIC.match(line)
        assert found, line
        base = re.sub("_(sum|count)$", "", found[1]) \
            if types.get(family) == "summary" else found[1]
        assert base == family, line
        assert (found[1], found[2]) not in samples, line
        samples.add((found[1], found[2]))
        assert found[1].endswith("_total") == (types[family] == "counter")
    labels = r'application="we\"b\\",protocol="tcp"'
    assert f"l4proxyd_sessions{{{labels}}} 1\n" in text
    assert f'l4proxyd_received_bytes_total{{{labels},from="client"}} 4\n' \
        in text
    assert f'origin="127.0.0.1:{tcp.port}"}} 1\n' in text
