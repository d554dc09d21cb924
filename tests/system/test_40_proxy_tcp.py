"""l4proxyd over TCP: what goes through, and how it ends."""
import contextlib
import hashlib
import os
import pathlib
import random
import re
import socket
import struct
import threading
import time

import harness
import pytest
from proxyharness import (L4proxyd, Origin, application, blackhole, connect,
                          echo, echoes, free_range, idle, is_reset,
                          is_turned_away, read_all, read_exactly, refuses,
                          try_connect, works)

MIB = 1 << 20
SANITIZED = harness.sanitized("l4proxyd")


# -- the ways of an orderly session ------------------------------------------


def test_bytes_pass_and_the_log_tells_how_many(proxy, origin):
    o = origin(echo)
    p = proxy(o)
    with connect(p.port) as c:
        c.sendall(b"hello")
        assert read_exactly(c, 5) == b"hello"
        c.shutdown(socket.SHUT_WR)
        assert read_all(c) == b""
        me = c.getsockname()
    began, = p.expect_events(Event="connect")
    ended, = p.expect_events(Event="disconnect")
    assert began["Application"] == ended["Application"] == "story"
    assert (ended["ClientIP"], ended["ClientPort"]) == me
    assert (ended["OriginIP"], ended["OriginPort"]) == ("127.0.0.1", o.port)
    assert (ended["ClientBytes"], ended["OriginBytes"]) == (5, 5)
    assert (began["Status"], ended["Status"]) == (0, 200)
    assert ended["ClientTcpRtt"] > 0 and ended["OriginTcpRtt"] > 0
    assert len(p.events()) == 2


def test_half_close_by_the_client_leaves_the_way_back(proxy, origin):
    def after_the_end(connection):
        asked = read_all(connection)
        connection.sendall(b"got " + asked)
        time.sleep(0.05)
        connection.sendall(b", bye")
        connection.close()
    p = proxy(origin(after_the_end))
    with connect(p.port) as c:
        c.sendall(b"all of it")
        c.shutdown(socket.SHUT_WR)
        assert read_all(c) == b"got all of it, bye"
    p.expect_events(Event="disconnect", Status=200)


def test_half_close_by_the_origin_leaves_the_way_there(proxy, origin):
    o = origin(idle)
    p = proxy(o)
    with connect(p.port) as c:
        s = o.connection()
        s.sendall(b"greeting")
        s.shutdown(socket.SHUT_WR)
        assert read_all(c) == b"greeting"
        for _ in range(3):
            c.sendall(b"still here")
            assert read_exactly(s, 10) == b"still here"
        assert not p.events(Event="disconnect")
    assert read_all(s) == b""
    p.expect_events(Event="disconnect", Status=200, ClientBytes=30)


def test_a_server_may_speak_first(proxy, origin):
    p = proxy(origin(lambda s: s.sendall(b"220 ready\r\n")))
    with connect(p.port) as c:
        assert read_exactly(c, 11) == b"220 ready\r\n"


# -- origins that are not to be had -------------------------------------------


def test_an_origin_that_refuses_is_passed_over(proxy, origin):
    dead, o = harness.free_port(), origin(echo)
    p = proxy(dead, o, balance="round-robin")
    for i in range(4):
        with connect(p.port) as c:
            c.sendall(b"hello")
            assert read_exactly(c, 5) == b"hello"
    p.expect_events(4, Event="connect", OriginPort=o.port)
    refused = harness.until(lambda: p.events(Event="originError"),
                            "an origin that refused")
    assert all((e["OriginPort"], e["Status"]) == (dead, 521)
               for e in refused)


def test_no_origin_at_all_is_a_reset(proxy):
    p = proxy(harness.free_port(), harness.free_port())
    assert is_turned_away(p.port)
    p.expect_events(2, Event="originError", Status=521)
    assert len(p.events()) == 2


def test_a_blackholed_origin_is_given_up_in_time(proxy, origin):
    with blackhole() as port:
        o = origin(echo)
        p = proxy(port, o, connect_timeout_s=1)
        waited = []
        for i in range(2):  # of two, one begins with the hole
            before = time.monotonic()
            with connect(p.port) as c:
                c.sendall(b"hello")
                assert read_exactly(c, 5) == b"hello"
            waited.append(time.monotonic() - before)
        assert any(0.9 < w < 5 for w in waited), waited
        harness.until(lambda: p.events(Event="originError", Status=522,
                                       OriginPort=port), "status 522")


# -- much, and slow -----------------------------------------------------------


def pipes(pid):
    links = (os.readlink(f) for f in
             pathlib.Path(f"/proc/{pid}/fd").iterdir())
    return sum(link.startswith("pipe:") for link in links)


def test_bulk_both_ways_is_the_same_bytes(proxy, origin):
    """64 MiB each way at once, far over the threshold of splice."""
    there = random.Random(1).randbytes(MIB)
    back = random.Random(2).randbytes(MIB)
    times, heard = 64, {}

    def pump(s, block):
        for _ in range(times):
            s.sendall(block)
        s.shutdown(socket.SHUT_WR)

    def hear(s, who):
        digest, n = hashlib.sha256(), 0
        while True:
            data = s.recv(1 << 18)
            if not data:
                break
            digest.update(data)
            n += len(data)
        heard[who] = (n, digest.hexdigest())

    def serve(connection):
        t = threading.Thread(target=pump, args=(connection, back))
        t.start()
        hear(connection, "origin")
        t.join()
        connection.close()
    p = proxy(origin(serve))
    before = pipes(p.pid)
    with connect(p.port) as c:
        t = threading.Thread(target=pump, args=(c, there))
        t.start()
        hear(c, "client")
        t.join()
        harness.until(lambda: len(heard) == 2, "both have heard it all")
    for who, block in (("origin", there), ("client", back)):
        assert heard[who] == (times * MIB,
                              hashlib.sha256(block * times).hexdigest())
    p.expect_events(Event="disconnect", Status=200, ClientBytes=times * MIB,
                    OriginBytes=times * MIB)
    assert pipes(p.pid) > before, "splice was not used"


@pytest.mark.parametrize("splice_after", [65536, 1 << 40])
def test_a_slow_reader_holds_up_the_sender(proxy, origin, splice_after):
    """Memory stays flat, and nothing is lost when the reader wakes up."""
    sent, stop = [0], threading.Event()

    def flood(connection):
        connection.settimeout(0.2)
        block = bytes(range(256)) * 256
        while not stop.is_set():
            try:
                sent[0] += connection.send(block[sent[0] % 256:])
            except TimeoutError:
                pass
        connection.close()
    p = proxy(origin(flood), daemon={"splice_after": splice_after})
    before = p.rss_kb()
    with connect(p.port, rcvbuf=65536) as c:
        def stuck():
            was = sent[0]
            time.sleep(0.5)
            return was > 0 and sent[0] == was
        harness.until(stuck, "the sender is held up")
        assert sent[0] < 64 * MIB
        assert p.rss_kb() - before < 2048
        stop.set()
        got = read_all(c)
    assert len(got) == sent[0]
    whole = bytes(range(256)) * (len(got) // 256 + 1)
    assert got == whole[:len(got)]


def test_an_idle_session_costs_less_than_two_kib(proxy, origin):
    n = 400
    # whom a slow origin's queue has no room for is a minute late
    p = proxy(origin(idle, backlog=n), daemon={"workers": 1})
    held = [connect(p.port) for _ in range(20)]
    p.expect_events(20, Event="connect")
    before = p.rss_kb()
    held += [connect(p.port) for _ in range(n)]
    p.expect_events(20 + n, Event="connect")
    cost = (p.rss_kb() - before) * 1024 / n
    most = 4096 if SANITIZED else 2048
    assert cost < most, f"{cost} bytes a session"
    for c in held:
        c.close()


# -- what the origin is told --------------------------------------------------


def test_proxy_v1_comes_first(proxy, origin):
    o = origin(idle)
    p = proxy(o, proxy_protocol="v1")
    with connect(p.port) as c:
        c.sendall(b"data")
        line = f"PROXY TCP4 127.0.0.1 127.0.0.1 {c.getsockname()[1]} " \
            f"{p.port}\r\n".encode()
        assert read_exactly(o.connection(), len(line) + 4) == line + b"data"
        c.shutdown(socket.SHUT_WR)
        o.connection().close()
    p.expect_events(Event="disconnect", ClientBytes=4)


def test_proxy_v2_comes_first_even_when_the_client_is_silent(proxy, origin):
    o = origin(idle)
    p = proxy(o, proxy_protocol="v2")
    with connect(p.port) as c:
        header = read_exactly(o.connection(), 28)
        assert header[:16] == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
        assert header[16:] == struct.pack(
            "!4s4sHH", bytes([127, 0, 0, 1]), bytes([127, 0, 0, 1]),
            c.getsockname()[1], p.port)


# -- who may come in ----------------------------------------------------------


def test_the_firewall_refuses_and_tells(proxy, origin):
    o = origin(echo)
    p = proxy(o, ip_firewall={"deny": ["127.0.0.0/8"]})
    assert is_turned_away(p.port)
    e, = p.expect_events(Event="clientFiltered")
    assert (e["Status"], e["ClientMatchedIpFirewall"]) == (403, "BLOCK_IP")
    assert not o.accepted
    assert len(p.events()) == 1


def test_live_connections_are_limited(proxy, origin):
    p = proxy(origin(echo), limits={"connections": 2})
    held = [connect(p.port) for _ in range(2)]
    p.expect_events(2, Event="connect")
    assert is_turned_away(p.port)
    p.expect_events(Event="clientFiltered", Status=503)
    held.pop().close()
    p.expect_events(Event="disconnect")
    with connect(p.port) as c:  # there is room again
        c.sendall(b"x")
        assert read_exactly(c, 1) == b"x"
    held.pop().close()


def test_new_connections_a_second_are_limited(proxy, origin):
    p = proxy(origin(echo), limits={"new_per_s": 3})
    clients = [try_connect(p.port) for _ in range(10)]
    harness.until(lambda: len(p.events(Event="connect")) +
                  len(p.events(Event="clientFiltered")) == 10, "10 events")
    assert 3 <= len(p.events(Event="connect")) <= 8
    for c in filter(None, clients):
        c.close()


def test_sessions_are_bounded_and_the_rest_is_refused(proxy, origin):
    p = proxy(origin(echo), daemon={"workers": 1, "tcp_sessions": 16})
    held = [connect(p.port) for _ in range(16)]
    p.expect_events(16, Event="connect")
    assert is_turned_away(p.port)
    p.expect_events(Event="clientFiltered", Status=503)
    for c in held:
        c.close()


def test_a_lack_of_descriptors_pauses_accept_and_passes(proxy, origin):
    p = proxy(origin(echo), daemon={
        "workers": 1, "prefix": ("prlimit", "--nofile=90:90")})
    clients = [try_connect(p.port) for _ in range(60)]
    clients = [c for c in clients if c]
    p.expect_log("no descriptor left")
    assert p.alive() and len(clients) > 10
    for c in clients:
        c.close()
    harness.until(lambda: works(p.port), "it serves again")
    assert p.log().count("no descriptor left") < 10, p.log()


# -- time ---------------------------------------------------------------------


def test_an_idle_session_ends(proxy, origin):
    p = proxy(origin(echo), idle_timeout_s=1)
    before = time.monotonic()
    with connect(p.port) as c:
        for _ in range(3):  # what moves is not idle
            time.sleep(0.5)
            c.sendall(b"x")
            assert read_exactly(c, 1) == b"x"
        moved = time.monotonic()
        assert not is_reset(c)
        assert 0.9 < time.monotonic() - moved < 10
    assert moved - before > 1.4
    p.expect_events(Event="disconnect", Status=200)


def test_a_life_ends_however_busy(proxy, origin):
    p = proxy(origin(echo), lifetime_s=1)
    before = time.monotonic()
    with connect(p.port) as c, contextlib.suppress(ConnectionError):
        c.sendall(b"x")
        while c.recv(1):
            time.sleep(0.02)
            c.sendall(b"x")
            assert time.monotonic() - before < 10
    assert time.monotonic() - before > 0.9
    p.expect_events(Event="disconnect", Status=200)


# -- stopping and reloading ---------------------------------------------------


def test_sigterm_waits_for_sessions(proxy, origin):
    p = proxy(origin(echo))
    with connect(p.port) as c:
        assert echoes(c)
        p.kill(harness.signal.SIGTERM)
        p.expect_log("stopping")
        for _ in range(3):
            time.sleep(0.1)
            assert echoes(c)
        assert p.alive()
    # before stop(): a second SIGTERM would cut what has not ended yet
    p.expect_events(Event="disconnect", Status=200)
    p.stop()


def test_a_second_sigterm_ends_it_at_once(proxy, origin):
    p = proxy(origin(echo), daemon={"drain_s": 3600})
    with connect(p.port) as c:
        assert echoes(c)
        p.kill(harness.signal.SIGTERM)
        p.expect_log("stopping: accepts no more")
        p.stop()
        assert is_reset(c)
    p.expect_events(Event="disconnect", Status=503)


def test_sigterm_cuts_what_is_left_after_the_drain(proxy, origin):
    p = proxy(origin(echo), daemon={"drain_s": 1})
    with connect(p.port) as c:
        assert echoes(c)
        before = time.monotonic()
        p.stop()
        assert 0.9 < time.monotonic() - before < 10
        assert is_reset(c)
    p.expect_events(Event="disconnect", Status=503)


def test_reload_keeps_sessions_and_listeners(proxy, origin):
    p = proxy(origin(echo))
    more = harness.free_port()
    with connect(p.port) as c:
        assert echoes(c)
        second = application(more, origin(echo), name="more")
        assert p.reload([p.app, second]) == "reloaded"
        assert echoes(c)
        assert works(more) and works(p.port)
        # changed: the same port under other rules; sessions stay
        p.reload([dict(p.app, ip_firewall={"deny": ["127.0.0.0/8"]})])
        assert is_turned_away(p.port)
        assert echoes(c)
        harness.until(lambda: refuses(more), "the removed port is closed")


def test_reload_loses_no_connection(proxy, origin):
    p = proxy(origin(echo))
    wrong, stop = [], threading.Event()

    def knock():
        while not stop.is_set():
            try:
                with connect(p.port) as c:
                    assert echoes(c)
            except (OSError, AssertionError) as e:
                wrong.append(repr(e))
    threads = [threading.Thread(target=knock) for _ in range(2)]
    for t in threads:
        t.start()
    for i in range(5):
        # another idle timeout each time: the application is a new one
        assert p.reload([dict(p.app, idle_timeout_s=60 + i)]) == "reloaded"
        p.expect_log("reloaded")
    stop.set()
    for t in threads:
        t.join()
    assert not wrong
    assert len(p.events(Event="connect")) > 5


def test_a_removed_application_drains(proxy, origin):
    p = proxy(origin(echo), daemon={"drain_s": 1})
    other = application(harness.free_port(), origin(echo), name="other")
    with connect(p.port) as c:
        assert echoes(c)
        before = time.monotonic()
        assert p.reload([other]) == "reloaded"
        assert echoes(c)
        assert is_reset(c)
        assert 0.9 < time.monotonic() - before < 10
    p.expect_events(Event="disconnect", Status=503)
    harness.until(lambda: refuses(p.port), "its port is closed")


@pytest.mark.parametrize("broken", [
    {"protocol": "tcp/99999"}, {"edge_ips": ["192.0.2.1"]},
    {"origin_direct": []}])
def test_a_reload_that_fails_changes_nothing(proxy, origin, broken):
    p = proxy(origin(echo))
    with connect(p.port) as c:
        assert echoes(c)
        assert p.reload([dict(p.app, **broken)]) == "reload failed"
        assert echoes(c)
    assert works(p.port)
    assert p.reload([p.app]) == "reloaded"
    assert works(p.port)


# -- ports --------------------------------------------------------------------


def test_a_busy_port_names_its_holder(proxy, origin, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        p = L4proxyd(tmp_path, [application(port, 9)], name="busy")
        p.write_config(p.config)
        done = harness.run("l4proxyd", "-t", "-c", p.config_path,
                           check=False)
        assert done.returncode == 1
        assert f"pid {os.getpid()}" in done.stderr
        assert f"127.0.0.1:{port}" in done.stderr
    done = harness.run("l4proxyd", "-t", "-c", p.config_path)
    assert "the configuration is good" in done.stderr


def test_a_test_beside_the_daemon_counts_its_ports_as_ours(proxy, origin):
    p = proxy(origin(echo))
    done = harness.run("l4proxyd", "-t", "-c", p.config_path)
    assert f"pid {p.pid} runs by this configuration" in done.stderr
    assert "the configuration is good" in done.stderr
    assert works(p.port)
    # another's in the way stays an error, also where the daemon's are
    with socket.create_server(("127.0.0.2", p.port)):
        wide = [dict(p.app, edge_ips="ipv4")]
        p.write_config(dict(p.config, applications=wide))
        done = harness.run("l4proxyd", "-t", "-c", p.config_path, check=False)
    assert done.returncode == 1
    assert f"held by pid {os.getpid()}" in done.stderr
    # so does another daemon under another configuration
    p.write_config(p.config)
    copy = p.config_path.with_suffix(".copy")
    copy.write_text(p.config_path.read_text())
    done = harness.run("l4proxyd", "-t", "-c", copy, check=False)
    assert done.returncode == 1
    assert f"held by pid {p.pid} (l4proxyd)" in done.stderr


def test_ten_thousand_ports_start_fast_and_map_by_offset(proxy, tmp_path):
    first = free_range(10000, "127.0.0.77")
    o = Origin(lambda s: s.sendall(str(s.getsockname()[1]).encode()) or
               s.close())
    app = {"name": "range", "protocol": f"tcp/{first}-{first + 9999}",
           "edge_ips": ["127.0.0.77"],
           "origin_direct": [f"tcp://127.0.0.1:{o.port - 7000}-"
                             f"{o.port + 2999}"]}
    p = L4proxyd(tmp_path, [app], name="range", workers=1)
    before = time.monotonic()
    with p:
        took = time.monotonic() - before
        with connect(first + 7000, host="127.0.0.77") as c:
            assert read_all(c) == str(o.port).encode()
        assert is_turned_away(first + 7001, host="127.0.0.77")
        with pytest.raises(ConnectionRefusedError):
            connect(first - 1, host="127.0.0.77")
        assert took < 2, f"{took} s"
    o.close()


def test_too_many_ports_for_the_limit_are_told_at_once(tmp_path):
    app = {"name": "range", "protocol": "tcp/20000-29999",
           "edge_ips": ["127.0.0.78"],
           "origin_direct": ["tcp://127.0.0.1:20000-29999"]}
    p = L4proxyd(tmp_path, [app], name="range", workers=1,
                 port_ranges="sockets")
    p.write_config(p.config)
    done = harness.subprocess.run(
        ["prlimit", "--nofile=4096:4096", str(p.program), "-t", "-c",
         str(p.config_path)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert re.search(r"10000 ports .* 4096 may be", done.stderr)
    assert done.stderr.count("\n") < 5
