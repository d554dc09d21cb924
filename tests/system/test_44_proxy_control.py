"""The control socket and l4proxyctl: what an operator sees and does."""
import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import time

import harness
import pytest
from proxyharness import (Controlled, Origin, application, connect, echo, idle,
                          is_reset, is_turned_away, read_all, read_exactly,
                          refuses)
from udporigin import UdpOrigin

GOOD, USAGE, UNREACHABLE, REFUSED = 0, 1, 2, 3
SANITIZED = any(mark in (harness.BUILD / "l4proxyd").read_bytes()
                for mark in (b"__asan_init", b"__tsan_init"))


@pytest.fixture
def daemon(tmp_path):
    """daemon(application…, key=value…) -> a running daemon."""
    running = []

    def make(*applications, **more):
        made = Controlled(tmp_path, list(applications),
                          name=f"l4proxyd-{len(running)}", **more)
        running.append(made)
        return made.start()
    yield make
    for made in running:
        made.stop()


@pytest.fixture
def tcp():
    """An echo server."""
    with Origin(echo) as o:
        yield o


def table(text):
    """A table as dicts; columns begin where their titles do."""
    lines = text.splitlines()
    titles = re.findall(r"\S+(?: \S+)*", lines[0])
    return [dict(zip(titles, re.split(r" {2,}", line.strip())))
            for line in lines[1:]]


def udp_application(port, origin, name="dns", **more):
    return {"name": name, "protocol": f"udp/{port}",
            "edge_ips": ["127.0.0.1"],
            "origin_direct": [f"udp://127.0.0.1:{origin}"], **more}


class Raw:
    """A client of the socket that keeps to no rules."""

    def __init__(self, path, rcvbuf=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(harness.PATIENCE_S)
        if rcvbuf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                   rcvbuf)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else
                            json.dumps(data).encode() + b"\n")

    def answer(self):
        """The rows and the last line of one answer."""
        rows = []
        while True:
            line = self.file.readline()
            assert line.endswith(b"\n"), (rows, line)
            rows.append(json.loads(line))
            if "end" in rows[-1]:
                return rows[:-1], rows[-1]

    def ask(self, request):
        self.send(request)
        return self.answer()


# -- reading ------------------------------------------------------------------


def test_applications_as_a_table_and_as_facts(daemon, tcp):
    port, dns = harness.free_port(), harness.free_port()
    p = daemon(application(port, tcp, tcp.port + 1 if tcp.port < 65535
                           else 1, name="web"),
               udp_application(f"{dns}-{dns + 9}", f"{dns}-{dns + 9}",
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


def test_a_session_is_told_to_the_byte(daemon, tcp):
    port = harness.free_port()
    p = daemon(application(port, tcp))
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


def test_states_of_sessions(daemon):
    port, hole = harness.free_port(), socket.socket()
    with Origin(idle) as o, hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        full = [socket.socket() for _ in range(3)]
        for s in full:  # the queue is full: SYNs are dropped
            s.setblocking(False)
            s.connect_ex(hole.getsockname())
        lost = harness.free_port()
        p = daemon(application(port, o),
                   application(lost, hole.getsockname()[1], name="lost",
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
        for s in full:
            s.close()


def test_flows_of_udp(daemon):
    port = harness.free_port()
    with UdpOrigin(lambda d: [d.data] if d.data != b"quiet" else []) as o:
        p = daemon(udp_application(port, o.port))
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
            row = p.counters("dns")
            assert row["datagrams_from_clients"] == 4
            assert row["datagrams_to_clients"] == 3
            assert row["client_bytes"] == 305
            assert row["dropped_no_flow"] == 0


def test_limit_and_filter(daemon, tcp):
    one, two = harness.free_port(), harness.free_port()
    p = daemon(application(one, tcp, name="one"),
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


def test_origins_that_fail_are_seen(daemon, tcp):
    port, dead = harness.free_port(), harness.free_port()
    p = daemon(application(port, tcp, dead))
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


def test_counters_say_who_was_refused_and_why(daemon, tcp):
    names = {"deny": {"ip_firewall": {"deny": ["127.0.0.1"]}},
             "live": {"limits": {"connections": 1}},
             "rate": {"limits": {"new_per_s": 1}}, "none": {}}
    ports = {n: harness.free_port() for n in names}
    p = daemon(*[application(ports[n], harness.free_port() if n == "none"
                             else tcp, name=n, **names[n]) for n in names])
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


def test_durations(daemon, tcp):
    port = harness.free_port()
    p = daemon(application(port, tcp))
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


def test_counters_of_workers_and_of_the_daemon(daemon, tcp):
    port = harness.free_port()
    p = daemon(application(port, tcp), workers=2)
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


def test_metrics_are_what_prometheus_reads(daemon, tcp):
    """Each line, and the rules: HELP and TYPE once, samples together."""
    port, name = harness.free_port(), 'we"b\\'
    p = daemon(application(port, tcp, name=name),
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


# -- reload -------------------------------------------------------------------


def test_reload_says_that_it_is_done(daemon, tcp):
    port, more = harness.free_port(), harness.free_port()
    p = daemon(application(port, tcp))
    p.write_config(dict(p.config, applications=[
        *p.config["applications"], application(more, tcp, name="more")]))
    assert p.ctl("reload").stdout == "reloaded\n"
    with connect(more) as c:  # no waiting: it was done
        c.sendall(b"x")
        assert read_exactly(c, 1) == b"x"
    assert [a["application"] for a in p.rows("applications")] == [
        "story", "more"]
    assert p.rows("version")[0]["reloads"] == 1


def test_a_reload_that_fails_says_why_and_changes_nothing(daemon, tcp):
    port, other = harness.free_port(), harness.free_port()
    p = daemon(application(port, tcp))
    good = dict(p.config)
    with connect(port) as c:
        broken = application(other, tcp, name="other", balance="best",
                             idle_timeout_s="soon")
        p.write_config(dict(good, applications=[
            *good["applications"], broken]))
        told = p.ctl("reload", status=REFUSED)
        found = re.findall(
            rf"(?m)^error: {re.escape(str(p.config_path))}:(\d+):\d+: (\S+):",
            told.stdout)
        assert [key for _, key in found] == [
            "applications[1].balance", "applications[1].idle_timeout_s"] or \
            {key for _, key in found} == {
                "applications[1].balance", "applications[1].idle_timeout_s"}
        assert all(int(line) > 1 for line, _ in found)
        assert "stays as it was" in told.stderr
        assert p.rows("reload", status=REFUSED)[0]["level"] == "error"
        assert [a["application"] for a in p.rows("applications")] == ["story"]
        c.sendall(b"x")
        assert read_exactly(c, 1) == b"x"
    assert p.rows("version")[0]["reloads_failed"] == 2
    with socket.socket() as s:
        s.bind(("127.0.0.1", other))
        s.listen()
        p.write_config(dict(good, applications=[
            *good["applications"], application(other, tcp, name="other")]))
        told = p.ctl("reload", status=REFUSED)
        assert "in use" in told.stdout and str(other) in told.stdout
    assert p.ctl("reload").stdout == "reloaded\n"


def test_a_reload_warns_of_what_takes_a_restart(daemon, tcp):
    p = daemon(application(harness.free_port(), tcp))
    p.write_config(dict(p.config, workers=1))
    told = p.ctl("reload").stdout
    assert re.search("(?m)^warning: .*restart.*workers", told)


def test_counters_go_on_over_a_reload(daemon, tcp):
    port = harness.free_port()
    p = daemon(application(port, tcp))
    for rules in ({}, {"balance": "source-hash"}):  # it changes
        with connect(port) as c:
            c.sendall(b"x")
            read_exactly(c, 1)
        p.write_config(dict(p.config, applications=[
            application(port, tcp, **rules)]))
        p.ctl("reload")
    harness.until(lambda: p.counters()["ended"] == 2, "both")
    assert p.counters()["begun"] == 2


# -- drain --------------------------------------------------------------------


def test_a_drained_application_refuses_and_its_sessions_go_on(daemon, tcp):
    port, other = harness.free_port(), harness.free_port()
    p = daemon(application(port, tcp), application(other, tcp, name="other"))
    with connect(port) as c:
        c.sendall(b"x")
        read_exactly(c, 1)
        told = p.ctl("drain", "story", "--for", "1h").stdout
        assert "1 sessions" in told and ("59m" in told or "1h" in told)
        assert all(refuses(port) for _ in range(20))
        c.sendall(b"on")
        assert read_exactly(c, 2) == b"on"
        row, = p.rows("applications", "--app", "story")
        assert row["state"] == "draining" and row["live"] == 1
        assert 3500000 < row["drain_left_ms"] <= 3600000
        state = table(p.ctl("applications").stdout)[0]["STATE"]
        assert state.startswith("draining, ends in")
        with connect(other) as o:
            o.sendall(b"x")
            read_exactly(o, 1)
        assert p.ctl("undrain", "story").stdout == "story: serves\n"
        c.sendall(b"on")
        assert read_exactly(c, 2) == b"on"
    for _ in range(20):  # every worker's socket listens again
        with connect(port) as c:
            c.sendall(b"back")
            assert read_exactly(c, 4) == b"back"
    assert p.counters()["begun"] == 21


def test_what_is_left_is_reset_when_the_time_is_up(daemon):
    port = harness.free_port()
    with Origin(idle) as o:
        p = daemon(application(port, o))
        with connect(port) as c, connect(port) as d:
            o.connection(1)
            p.ctl("drain", "story", "--for", "1s")
            assert is_reset(c) and is_reset(d)
        harness.until(lambda: p.counters()["ended_by"] == {"503": 2},
                      "both were cut")
        assert refuses(port)
        p.ctl("undrain", "story")
        with connect(port):
            o.connection(2)


def test_drain_at_once_and_the_default(daemon):
    port = harness.free_port()
    with Origin(idle) as o:
        p = daemon(application(port, o), drain_s=1234)
        with connect(port) as c:
            o.connection(0)
            p.ctl("drain", "story")
            left = p.rows("applications")[0]["drain_left_ms"]
            assert 1200000 < left <= 1234000
            p.ctl("drain", "story", "--for", "0")  # said again, to hurry
            assert is_reset(c)


def test_a_drained_udp_application_keeps_its_flows(daemon):
    port = harness.free_port()
    with UdpOrigin() as o:
        p = daemon(udp_application(port, o.port))
        with harness.Udp("127.0.0.1", port) as old, \
                harness.Udp("127.0.0.1", port) as new:
            assert old.ask(b"1") == b"1"
            p.ctl("drain", "dns", "--for", "1h")
            assert old.ask(b"2") == b"2"
            new.send(b"3")
            harness.until(lambda: p.counters("dns")["refused_drain"] == 1,
                          "a new client is refused")
            assert p.counters("dns")["live"] == 1
            p.ctl("drain", "dns", "--for", "0")
            harness.until(lambda: p.counters("dns")["live"] == 0, "over")
            p.ctl("undrain", "dns")
            assert new.ask(b"4") == b"4"
            assert o.seen[-1].data == b"4" and len(o.seen) == 3


def test_drained_ports_stay_ours(daemon, tcp):
    """Nobody else gets a port of ours, whatever he asks of the kernel."""
    port = harness.free_port()
    p = daemon(application(port, tcp))
    p.ctl("drain", "story")
    for options in ([], [socket.SO_REUSEADDR]):
        for address in ("127.0.0.1", "0.0.0.0"):
            with socket.socket() as s:
                for o in options:
                    s.setsockopt(socket.SOL_SOCKET, o, 1)
                with pytest.raises(OSError, match="in use"):
                    s.bind((address, port))
                    s.listen()
    p.ctl("undrain", "story")
    assert not refuses(port)


def test_drained_stays_drained_over_a_reload(daemon, tcp):
    port, taken = harness.free_port(), harness.free_port()
    p = daemon(application(port, tcp))
    with connect(port) as c:
        c.sendall(b"x")
        read_exactly(c, 1)
        p.ctl("drain", "story", "--for", "1h")
        for rules in ({}, {"balance": "source-hash"}):  # it changes
            p.write_config(dict(p.config, applications=[
                application(port, tcp, **rules)]))
            p.ctl("reload")
            harness.until(lambda: refuses(port), "still drained")
            assert p.rows("applications")[0]["state"] == "draining"
            assert p.rows("applications")[0]["live"] == 1
        # new ports of a drained application refuse too
        p.write_config(dict(p.config, applications=[
            application(taken, tcp),
            application(port, tcp, name="heir")]))
        p.ctl("reload")
        harness.until(lambda: refuses(taken), "drained at its new port")
        with connect(port) as d:  # another application has the old one
            d.sendall(b"x")
            assert read_exactly(d, 1) == b"x"
        # sessions of before the reload are its sessions
        p.ctl("drain", "story", "--for", "0")
        assert is_reset(c)
    p.ctl("undrain", "story")
    assert not refuses(taken)
    assert "still drained" in p.log()


def test_drain_under_load_cuts_nothing(daemon, tcp):
    """Clients that got through get their answer; the others are refused."""
    port = harness.free_port()
    p = daemon(application(port, tcp))
    served = refused = 0

    def one():
        try:
            c = connect(port)
        except ConnectionRefusedError:
            return False
        with c:
            c.sendall(b"x")
            assert read_exactly(c, 1) == b"x"
        return True
    for _ in range(5):
        drain = subprocess.Popen(
            [harness.BUILD / "l4proxyctl", "-s", p.socket, "drain", "story"],
            stdout=subprocess.DEVNULL)
        while drain.poll() is None:
            served += one()
        assert drain.returncode == GOOD and not one()
        refused += 1
        p.ctl("undrain", "story")
        assert one()
    assert served > 0 and refused == 5


def test_drain_of_nobody(daemon, tcp):
    p = daemon(application(harness.free_port(), tcp))
    for command in ("drain", "undrain"):
        told = p.ctl(command, "nobody", status=REFUSED)
        assert "no application nobody" in told.stderr
    p.ctl("undrain", "story")  # it serves: that is well


# -- the socket ---------------------------------------------------------------


def test_the_file_is_ours_alone_and_goes_with_us(daemon, tcp):
    p = daemon(application(harness.free_port(), tcp))
    st = p.socket.lstat()
    assert stat.S_ISSOCK(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o660
    assert st.st_uid == os.geteuid()
    p.stop()
    assert not p.socket.exists()
    told = p.ctl("ping", status=UNREACHABLE)
    assert str(p.socket) in told.stderr and "l4proxyd running" in told.stderr


def test_a_dead_daemons_file_is_replaced(daemon, tcp):
    p = daemon(application(harness.free_port(), tcp))
    p.child.kill()
    p.child.wait()
    assert p.socket.exists()
    assert "does not run" in p.ctl("ping", status=UNREACHABLE).stderr
    p.log_path.unlink()
    p.start()
    assert p.rows("version")[0]["pid"] == p.pid


def test_two_daemons_and_a_test_do_not_take_it(daemon, tcp, tmp_path):
    p = daemon(application(harness.free_port(), tcp))
    second = Controlled(tmp_path, [application(harness.free_port(), tcp)],
                        name="second")
    second.write_config(second.config)
    told = harness.run("l4proxyd", "-c", second.config_path, check=False)
    assert told.returncode == 1
    assert f"control: {p.socket}: a running daemon" in told.stderr
    # a test takes the first for the one that is to run by it
    told = harness.run("l4proxyd", "-t", "-c", second.config_path)
    assert f"pid {p.pid} runs by this configuration" in told.stderr
    assert p.rows("version")[0]["pid"] == p.pid


def test_t_binds_it_and_leaves_nothing(tmp_path, tcp):
    p = Controlled(tmp_path, [application(harness.free_port(), tcp)])
    p.write_config(p.config)
    told = harness.run("l4proxyd", "-t", "-c", p.config_path)
    assert "good" in told.stderr and not p.socket.exists()
    # nor where its user could not remove it
    ours = tmp_path / "ours"
    ours.mkdir(0o755)
    p.write_config(dict(p.config, control=str(ours / "x.sock")))
    told = harness.run("l4proxyd", "-t", "-c", p.config_path)
    assert "good" in told.stderr and "stays" not in told.stderr
    assert list(ours.iterdir()) == []
    p.write_config(dict(p.config, control="/nowhere/at/all/x.sock"))
    told = harness.run("l4proxyd", "-t", "-c", p.config_path, check=False)
    assert told.returncode == 1 and "/nowhere/at/all/x.sock" in told.stderr


def test_what_is_no_socket_stays(tmp_path, tcp):
    p = Controlled(tmp_path, [application(harness.free_port(), tcp)])
    p.socket.parent.mkdir()
    p.socket.write_text("precious")
    p.write_config(p.config)
    told = harness.run("l4proxyd", "-c", p.config_path, check=False)
    assert told.returncode == 1 and "no socket" in told.stderr
    assert p.socket.read_text() == "precious"


@pytest.fixture
def as_user(tmp_path, as_root):
    """as_user(uid, gid, argument…): l4proxyctl, where anybody may run it."""
    program = shutil.copy(harness.BUILD / "l4proxyctl", tmp_path)

    def run(uid, gid, *argv):
        return subprocess.run(
            ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups",
             program, *map(str, argv)], timeout=60, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return run


def test_who_may_read_and_who_may_change(daemon, tcp, as_user):
    port = harness.free_port()
    p = daemon(application(port, tcp), control_group="games")
    told = as_user(4242, 4242, "-s", p.socket, "ping")
    assert told.returncode == UNREACHABLE
    assert "Permission denied" in told.stderr and str(p.socket) in told.stderr
    games = p.socket.stat().st_gid
    told = as_user(4242, games, "-s", p.socket, "--json", "applications")
    assert told.returncode == GOOD and "story" in told.stdout
    for command in (["reload"], ["drain", "story"], ["undrain", "story"]):
        told = as_user(4242, games, "-s", p.socket, *command)
        assert told.returncode == REFUSED, told
        assert "root" in told.stderr and "4242" in told.stderr
    assert p.rows("applications")[0]["state"] == "serving"
    assert p.rows("version")[0]["reloads"] == 0


def test_an_unknown_group_is_an_error(tmp_path, tcp):
    p = Controlled(tmp_path, [application(harness.free_port(), tcp)],
                   control_group="no-such-group")
    p.write_config(p.config)
    told = harness.run("l4proxyd", "-t", "-c", p.config_path, check=False)
    assert told.returncode == 1 and "no-such-group" in told.stderr


# -- clients that do not behave -----------------------------------------------

GARBAGE = [b"GET / HTTP/1.1", b"{", b"[]", b"{}", b"\xff\xfe\x00", b"",
           b'{"command":"stop"}', b'{"command":"sessions","limit":-1}',
           b"[" * 1000, b'{"command":"ping","command":"reload"}']


def test_garbage_is_answered_in_words(daemon, tcp):
    p = daemon(application(harness.free_port(), tcp))
    with Raw(p.socket) as raw:
        for line in GARBAGE:
            rows, end = raw.ask(line + b"\n")
            assert rows == [] and end["end"] == "bad-request", line
            assert end["message"]
        assert raw.ask({"command": "ping"})[1]["end"] == "good"
    with Raw(p.socket) as raw:  # too long: told, and that was all
        raw.send(b"x" * 5000)
        _, end = raw.answer()
        assert end["end"] == "bad-request" and "1024" in end["message"]
        assert raw.file.readline() == b""
    assert p.rows("version")[0]["reloads"] == 0


def test_requests_may_be_sent_at_once_and_without_a_newline(daemon, tcp):
    p = daemon(application(harness.free_port(), tcp))
    with Raw(p.socket) as raw:
        ping = b'{"command":"ping"}'
        raw.send((ping + b"\n") * 30 + b'{"command":"version"}')
        raw.socket.shutdown(socket.SHUT_WR)
        for _ in range(30):
            assert raw.answer() == ([], {"end": "good", "rows": 0})
        rows, end = raw.answer()
        assert rows[0]["pid"] == p.pid and end["rows"] == 1
        assert raw.file.readline() == b""
    with Raw(p.socket) as raw:
        for byte in ping + b"\n":
            raw.send(bytes([byte]))
        assert raw.answer()[1]["end"] == "good"


def test_connections_are_bounded(daemon, tcp):
    p = daemon(application(harness.free_port(), tcp))
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(Raw(p.socket)) for _ in range(16)]
        for raw in held:
            assert raw.ask({"command": "ping"})[1]["end"] == "good"
        told = p.ctl("ping", status=REFUSED)
        assert "too many" in told.stderr
        held[3].__exit__()
        harness.until(lambda: harness.run(
            "l4proxyctl", "-s", p.socket, "ping", check=False).returncode
            == GOOD, "a place is free")


def test_it_answers_while_it_ends(daemon, tcp):
    """What is it waiting for? The sessions that are left say so."""
    port = harness.free_port()
    p = daemon(application(port, tcp), drain_s=3600)
    with connect(port) as c:
        c.sendall(b"x")
        read_exactly(c, 1)
        p.kill(signal.SIGTERM)
        p.expect_log("stopping")
        harness.until(lambda: len(p.rows("sessions")) == 1, "one is left")
        assert p.rows("version")[0]["state"] == "stopping"
        assert "about to end" in p.ctl("reload", status=REFUSED).stderr
    harness.until(lambda: not p.alive(), "it has ended")


# -- many ---------------------------------------------------------------------

# a flow is a descriptor, and workers share them evenly, or nearly so
FLOWS = min(20000,
            resource.getrlimit(resource.RLIMIT_NOFILE)[1] * 9 // 10)

CROWD = """
import socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
origin = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
origin.bind(("127.0.0.1", port + 1))  # it never answers
for n in range(count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((f"127.1.{n >> 8}.{n & 255}", 2000))
        s.sendto(b"x" * (1 + n % 100), ("127.0.0.1", port))
print("sent", flush=True)
sys.stdin.read()
"""


class Crowd:
    """Clients of as many addresses, each with one flow of UDP, in a network
    of their own with the daemon."""

    def __init__(self, directory, namespaces, count=FLOWS):
        self.host, self.count = namespaces.add("crowd"), count
        self.inside = ["ip", "netns", "exec", self.host]
        self.port = 5000
        subprocess.run([*self.inside, "sysctl", "-q", "-w",
                        "net.ipv4.ip_local_port_range=10000 65535"],
                       check=True)
        self.daemon = Controlled(
            directory, [udp_application(self.port, self.port + 1,
                                        idle_timeout_s=3600)],
            udp_flows=count, drain_s=0, event_log="off",
            prefix=self.inside)
        self.child = None

    def __enter__(self):
        self.daemon.start()
        self.child = subprocess.Popen(
            [*self.inside, "/usr/bin/python3", "-c", CROWD, str(self.port),
             str(self.count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.child.stdout.readline() == b"sent\n"
        harness.until(
            lambda: self.daemon.counters("dns")["live"] == self.count,
            f"all flows: {self.daemon.counters('dns')}")
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait(harness.PATIENCE_S)
        self.daemon.stop()

    def wanted(self):
        """Bytes by client, as a listing must have them."""
        return {f"127.1.{n >> 8}.{n & 255}:2000": 1 + n % 100
                for n in range(self.count)}


@pytest.fixture
def crowd(tmp_path, namespaces):
    with Crowd(tmp_path, namespaces) as made:
        yield made


def is_flat(daemon, before_kb):
    """A sanitizer keeps what is freed."""
    return SANITIZED or daemon.rss_kb() - before_kb < 4 << 10


def told(rows):
    """Bytes by client; nobody twice."""
    found = {r["client"]: r["client_bytes"] for r in rows}
    assert len(found) == len(rows)
    return found


def test_many_flows_are_listed_in_flat_memory(crowd):
    p, before = crowd.daemon, crowd.daemon.rss_kb()
    assert told(p.rows("sessions")) == crowd.wanted()
    child = subprocess.Popen(
        [harness.BUILD / "l4proxyctl", "-s", p.socket, "sessions"],
        stdout=subprocess.PIPE)
    for _ in range(FLOWS * 3 // 4):
        assert child.stdout.readline()
    most = int(harness.status_of(child.pid)["VmHWM"].split()[0])
    assert SANITIZED or most < 32 << 10, "l4proxyctl keeps what it prints"
    assert len(child.stdout.readlines()) == FLOWS + 1 - FLOWS * 3 // 4
    assert child.wait(harness.PATIENCE_S) == GOOD
    assert is_flat(p, before)
    rows = p.rows("sessions", "--app", "dns", "--limit", "5")
    assert len(rows) == 5
    workers = [r["flows"] for r in p.rows("counters") if "worker" in r]
    assert sum(workers) == FLOWS and min(workers) > 0


def test_a_slow_reader_costs_nothing_and_misses_nothing(crowd):
    """It takes a little at a time, while others come and go and ask."""
    p, before = crowd.daemon, crowd.daemon.rss_kb()
    with Raw(p.socket, rcvbuf=4096) as slow:
        slow.send({"command": "sessions"})
        rows = [json.loads(slow.file.readline()) for _ in range(100)]
        used = p.cpu_s()
        for _ in range(20):
            assert p.ctl("ping").stdout
            assert len(p.rows("sessions", "--limit", "300")) == 300
        assert p.cpu_s() - used < 5, "it spins"
        assert is_flat(p, before)
        p.ctl("reload")  # which moves no flow
        more, end = slow.answer()
        assert end == {"end": "good", "rows": FLOWS}
        assert told(rows + more) == crowd.wanted()
    assert is_flat(p, before)


def test_readers_that_leave_are_forgotten(crowd):
    p, before = crowd.daemon, crowd.daemon.rss_kb()
    for _ in range(100):
        with Raw(p.socket) as raw:
            raw.send({"command": "sessions"})
            raw.file.readline()
    assert told(p.rows("sessions")) == crowd.wanted()
    fds = [t for t in harness.fds(p.pid).values() if "socket:" in t]
    assert len(fds) < FLOWS + 64
    assert is_flat(p, before)


def test_who_lives_throughout_is_told_once(daemon, tcp):
    """Sessions before and after them end while the listing runs."""
    port = harness.free_port()
    p = daemon(application(port, tcp), tcp_sessions=4096)
    with contextlib.ExitStack() as stack:
        others, stay = [], []
        for n in range(400):
            c = connect(port)
            stack.callback(c.close)
            (stay if n % 2 else others).append(c)
            c.sendall(b"x")
            read_exactly(c, 1)
        want = {"{}:{}".format(*c.getsockname()) for c in stay}
        with Raw(p.socket, rcvbuf=2048) as slow:
            slow.send({"command": "sessions"})
            rows = []
            while others:
                rows.append(json.loads(slow.file.readline()))
                others.pop(len(others) // 2).close()
            more, end = slow.answer()
        clients = [r["client"] for r in rows + more]
        assert len(clients) == len(set(clients)) == end["rows"]
        assert want <= set(clients)


def test_a_quiet_connection_ends(daemon, tcp):
    p = daemon(application(harness.free_port(), tcp))
    with Raw(p.socket) as quiet:
        began = time.monotonic()
        quiet.socket.settimeout(120)
        assert quiet.file.readline() == b""
        assert 55 < time.monotonic() - began < 100
    assert p.ctl("ping").stdout


# -- the command line ---------------------------------------------------------


@pytest.mark.parametrize("argv, why", [
    ([], "usage"), (["fly"], "no command fly"),
    (["drain"], "needs one"), (["ping", "x"], "too much"),
    (["ping", "--app", "x"], "does not take it"),
    (["sessions", "--limit", "0"], "makes no sense"),
    (["sessions", "--limit", "many"], "makes no sense"),
    (["drain", "x", "--for", "soon"], "makes no sense"),
    (["undrain", "x", "--for", "5s"], "does not take it"),
    (["metrics", "--json"], "no JSON"),
    (["drain", "x" * 64], "no name"),
], ids=str)
def test_usage(argv, why):
    p = harness.run("l4proxyctl", "-s", "/nowhere", *argv, check=False)
    assert p.returncode == USAGE and why in p.stderr and not p.stdout


def test_no_daemon_is_told_with_path_and_reason(tmp_path):
    for path, why in [(tmp_path / "none.sock", "No such file"),
                      (tmp_path, "refused"), ("x" * 200, "too long")]:
        p = harness.run("l4proxyctl", "-s", path, "ping", check=False)
        assert p.returncode == UNREACHABLE
        assert str(path) in p.stderr and why in p.stderr, p.stderr


def test_an_application_that_is_not_there(daemon, tcp):
    p = daemon(application(harness.free_port(), tcp))
    for command in ("applications", "origins", "sessions", "counters"):
        told = p.ctl(command, "--app", "nobody", status=REFUSED)
        assert "no application nobody" in told.stderr and not told.stdout
