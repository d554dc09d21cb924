"""l4proxyd over TCP: a reset on one side is one on the other."""
import contextlib
import socket

import pytest
from proxyharness import (blackhole, connect, idle, is_reset, read_exactly,
                          reset)

MIB = 1 << 20


def test_a_reset_by_the_client_is_one_at_the_origin(proxy, origin):
    o = origin(idle)
    p = proxy(o)
    c = connect(p.port)
    c.sendall(b"x")
    assert read_exactly(o.connection(), 1) == b"x"
    reset(c)
    assert is_reset(o.connection())
    p.expect_events(Event="disconnect", Status=499)


def test_a_reset_by_the_origin_is_one_at_the_client(proxy, origin):
    o = origin(idle)
    p = proxy(o)
    with connect(p.port) as c:
        o.connection().sendall(b"x")
        assert read_exactly(c, 1) == b"x"
        reset(o.connection())
        assert is_reset(c)
    p.expect_events(Event="disconnect", Status=444)


@pytest.mark.parametrize("by_client", [True, False])
def test_a_reset_after_a_half_close_is_passed_on(proxy, origin, by_client):
    o = origin(idle)
    p = proxy(o)
    with connect(p.port) as c, o.connection() as s:
        first, other = (c, s) if by_client else (s, c)
        first.shutdown(socket.SHUT_WR)
        assert other.recv(1) == b""
        reset(first)
        ended, = p.expect_events(Event="disconnect")
        assert ended["Status"] == (499 if by_client else 444)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            other.sendall(b"x")
            other.sendall(b"x")


def fill(s):
    """Sends until nothing moves: the other end does not read."""
    s.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while True:
            s.send(bytes(MIB))


@pytest.mark.parametrize("splice_after", [0, 1 << 40])
@pytest.mark.parametrize("by_client", [True, False])
def test_a_reset_is_passed_on_to_who_does_not_read(proxy, origin, by_client,
                                                   splice_after):
    o = origin(idle)
    p = proxy(o, daemon={"splice_after": splice_after})
    with connect(p.port) as c, o.connection() as s:
        first, other = (c, s) if by_client else (s, c)
        fill(first)
        reset(first)
        p.expect_events(Event="disconnect", Status=499 if by_client else 444)
        with pytest.raises(ConnectionResetError):
            while other.recv(MIB):
                pass


def test_a_client_that_leaves_while_its_origin_is_tried(proxy):
    with blackhole() as port:
        p = proxy(port, connect_timeout_s=3600)
        c = connect(p.port)
        reset(c)
        p.expect_events(Event="originError", Status=499, OriginPort=port)


def test_an_answer_before_the_reset_still_arrives(proxy, origin):
    """A server that refuses an upload: answers, and closes unread."""
    def refuse(connection):
        connection.recv(1)
        connection.sendall(b"413 too large")
        connection.close()  # unread bytes: the kernel sends RST
    p = proxy(origin(refuse))
    with connect(p.port) as c:
        c.sendall(bytes(200000))
        assert read_exactly(c, 13) == b"413 too large"
