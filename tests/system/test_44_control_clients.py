"""Clients of the control socket that do not behave."""
import contextlib
import socket
import time

import harness
from controlharness import GOOD, REFUSED, Raw
from proxyharness import application

GARBAGE = [b"GET / HTTP/1.1", b"{", b"[]", b"{}", b"\xff\xfe\x00", b"",
           b'{"command":"stop"}', b'{"command":"sessions","limit":-1}',
           b"[" * 1000, b'{"command":"ping","command":"reload"}']


def test_garbage_is_answered_in_words(controlled, tcp):
    p = controlled(application(harness.free_port(), tcp))
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


def test_requests_may_be_sent_at_once_and_without_a_newline(controlled, tcp):
    p = controlled(application(harness.free_port(), tcp))
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


def test_connections_are_bounded(controlled, tcp):
    p = controlled(application(harness.free_port(), tcp))
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


def test_a_quiet_connection_ends(controlled, tcp):
    p = controlled(application(harness.free_port(), tcp))
    with Raw(p.socket) as quiet:
        began = time.monotonic()
        quiet.socket.settimeout(120)
        assert quiet.file.readline() == b""
        assert 55 < time.monotonic() - began < 100
    assert p.ctl("ping").stdout
