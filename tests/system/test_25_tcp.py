"""TCP: frames in pieces, many at once, and clients that behave badly."""
import socket
import struct
import subprocess
import time

import harness
import malformed
import oracle
import pytest

HOST = "127.0.0.1"


def tcp_to(daemon, **more):
    return harness.Tcp(HOST, daemon.port, **more)


def closes_with(daemon, before, counter, n=1):
    """Waits until exactly this close reason was counted n times."""
    def counted():
        return daemon.counters()[counter] - before[counter] == n
    harness.until(counted, f"{counter} + {n}")


def test_pipelined(server, identity):
    """100 requests in one write, 100 replies, in any order."""
    packets = {}
    for i in range(100):
        packet = oracle.request(oracle.VERSIONS[1:][i % 14])
        packets[harness.nonce_of(packet)] = packet
    with tcp_to(server) as tcp:
        tcp.send(b"".join(packets.values()))
        for _ in range(100):
            reply = tcp.receive()
            fields = oracle.decode(oracle.unframe(reply)[1])
            nonce = fields.get(b"NONC") or \
                oracle.decode(fields[b"SREP"])[b"NONC"]
            harness.checked(packets.pop(nonce), reply, identity.public)
    assert not packets


def test_byte_by_byte(server, identity):
    packet = oracle.request("rfc")
    with tcp_to(server) as tcp:
        for i in range(len(packet)):
            tcp.send(packet[i:i + 1])
        harness.checked(packet, tcp.receive(), identity.public)
        tcp.verified(identity.public, "draft-14")


@pytest.mark.parametrize("cut", [1, 7, 8, 11, 12, 13, 16, 500, 1035, 1037])
def test_cut_anywhere(server, identity, cut):
    """Two requests, the stream in two pieces that end anywhere."""
    one, two = oracle.request("rfc"), oracle.request("draft-08")
    with tcp_to(server) as tcp:
        tcp.send((one + two)[:cut])
        tcp.send((one + two)[cut:])
        replies = sorted((tcp.receive(), tcp.receive()), key=len)
        harness.checked(two, replies[0], identity.public)
        harness.checked(one, replies[1], identity.public)


def test_unpadded_requests_are_answered(server, identity):
    """Over TCP padding is not needed: nobody can be flooded with replies."""
    with tcp_to(server) as tcp:
        for version in oracle.VERSIONS[1:]:
            packet = oracle.request(version, size=0)
            assert len(packet) < 200
            reply = oracle.verify(packet, tcp.ask(packet), identity.public)
            assert reply.version is version


def test_unpadded_requests_can_be_dropped(start, identity):
    daemon = start(tcp={"short_requests": "drop"})
    with tcp_to(daemon) as tcp:
        before = daemon.counters()
        for version in oracle.VERSIONS[1:]:
            tcp.send(oracle.request(version, size=0))
        tcp.verified(identity.public, "rfc")
        moved = harness.diff(before, daemon.counters())
    assert moved["drop_too_long"] == len(oracle.VERSIONS) - 1
    assert moved["tcp_sent"] == 1


def test_half_close(server, identity):
    """A client that says what it has and closes its side gets all replies."""
    packets = {harness.nonce_of(p): p
               for p in (oracle.request("rfc") for _ in range(20))}
    with tcp_to(server) as tcp:
        before = server.counters()
        tcp.send(b"".join(packets.values()))
        tcp.finish()
        for _ in range(20):
            reply = tcp.receive()
            assert reply is not None, f"{len(packets)} replies missing"
            harness.checked(packets.pop(harness.nonce_of(reply)), reply,
                            identity.public)
        assert tcp.closed()
    closes_with(server, before, "tcp_closed_peer")


def test_half_close_inside_a_frame(server):
    with tcp_to(server) as tcp:
        before = server.counters()
        tcp.send(oracle.request("rfc")[:500])
        tcp.finish()
        assert tcp.closed()
    closes_with(server, before, "tcp_closed_frame_cut")


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0\x01", b"R", b"X",
    oracle.request("google")], ids=["http", "tls", "R", "X", "google"])
def test_unframed(server, data):
    """Closed at the first wrong byte; a right beginning is waited for."""
    with tcp_to(server) as tcp:
        before = server.counters()
        tcp.send(data)
        if data == b"R":
            tcp.send(b"\0")
        assert tcp.closed()
    closes_with(server, before, "tcp_closed_not_roughtime")


@pytest.mark.parametrize("length", [4096, 65536, 2**31, 2**32 - 1])
def test_frame_too_long(server, length):
    """Refused by its header, before a byte of the body is there."""
    with tcp_to(server) as tcp:
        before = server.counters()
        tcp.send(oracle.MAGIC + struct.pack("<I", length))
        assert tcp.closed()
    closes_with(server, before, "tcp_closed_frame_too_long")


def test_longest_frame_is_answered(start, identity):
    daemon = start(tcp={"max_frame": 8192})
    with tcp_to(daemon) as tcp:
        tcp.verified(identity.public, "rfc", size=8192)
        before = daemon.counters()
        tcp.send(oracle.request("rfc", size=8196))
        assert tcp.closed()
    closes_with(daemon, before, "tcp_closed_frame_too_long")


STAYS_OPEN = {"version_unknown", "nonce_length", "srv_unknown"}
NAMED = list(malformed.cases())


@pytest.mark.parametrize("name,packet,counter", NAMED,
                         ids=[c[0] for c in NAMED])
def test_named_reject(server, identity, name, packet, counter):
    """Malformed: counted and closed. For another server: counted only."""
    with tcp_to(server) as tcp:
        before = server.counters()
        tcp.send(packet)
        if counter in STAYS_OPEN:
            tcp.verified(identity.public, "rfc")
        else:
            assert tcp.closed()
            closes_with(server, before, "tcp_closed_bad_request")
        moved = harness.diff(before, server.counters())
    rejects = {k: v for k, v in moved.items() if k.startswith("reject_")}
    assert rejects == {f"reject_{counter}": 1}


def test_replies_fed_back(server, identity):
    for version in oracle.VERSIONS[1:]:
        with tcp_to(server) as tcp:
            reply = tcp.verified(identity.public, version).packet
            tcp.send(reply)
            assert tcp.closed()


def test_idle_connection_is_closed(start, identity):
    daemon = start(tcp={"idle_timeout": "1s"})
    before = daemon.counters()
    with tcp_to(daemon) as never, tcp_to(daemon) as once:
        once.verified(identity.public, "rfc")
        begin = time.monotonic()
        assert never.closed() and once.closed()
        assert time.monotonic() - begin < harness.PATIENCE_S
    closes_with(daemon, before, "tcp_closed_idle", 2)


def test_connection_in_use_is_not_idle(start, identity):
    daemon = start(tcp={"idle_timeout": "2s"})
    with tcp_to(daemon) as tcp:
        end = time.monotonic() + 3.5
        while time.monotonic() < end:
            tcp.verified(identity.public, "rfc")
            time.sleep(0.25)


def test_slow_writer_is_closed(start, identity):
    """A frame that dribbles in is not an idle connection."""
    daemon = start(tcp={"read_timeout": "1s", "idle_timeout": "60s"})
    before = daemon.counters()
    with tcp_to(daemon) as tcp:
        packet = oracle.request("rfc")

        def refused():
            nonlocal packet
            try:
                tcp.send(packet[:1])
                packet = packet[1:]
                return False
            except OSError:
                return True
        harness.until(refused, "the dribbling client is closed")
    closes_with(daemon, before, "tcp_closed_slow_writer")


def test_slow_reader_is_closed_and_hurts_nobody(start, identity):
    """Requests without end, replies never read: it stops being read from,
    others are served meanwhile, and in the end it is closed."""
    daemon = start(workers=1, tcp={"write_timeout": "1s"})
    before = daemon.counters()
    with tcp_to(daemon, rcvbuf=2048) as greedy, tcp_to(daemon) as other:
        greedy.socket.settimeout(0.2)
        flood = b"".join(oracle.request("rfc") for _ in range(64))

        def pushed_out():
            other.verified(identity.public, "rfc")
            try:
                greedy.socket.send(flood)
            except TimeoutError:
                return False
            except OSError:
                return True
        harness.until(pushed_out, "the client that reads nothing is closed",
                      60)
        other.verified(identity.public, "rfc")
    closes_with(daemon, before, "tcp_closed_slow_reader")


def test_reader_that_pauses_loses_nothing(start, identity):
    """Back-pressure: far more requests than max_outstanding, read late."""
    daemon = start(workers=1, tcp={"max_outstanding": 4,
                                   "write_timeout": "60s"})
    packets = {harness.nonce_of(p): p
               for p in (oracle.request("rfc") for _ in range(400))}
    with tcp_to(daemon, rcvbuf=4096) as tcp:
        waiting = b"".join(packets.values())
        tcp.socket.setblocking(False)
        while waiting:  # until the server stops reading
            try:
                waiting = waiting[tcp.socket.send(waiting):]
            except BlockingIOError:
                break
        tcp.socket.settimeout(0.05)
        while packets:
            if waiting:
                try:
                    waiting = waiting[tcp.socket.send(waiting):]
                except TimeoutError:
                    pass
                tcp.socket.settimeout(0.05 if waiting else 30)
            try:
                reply = tcp.receive()
            except TimeoutError:
                continue
            harness.checked(packets.pop(harness.nonce_of(reply)), reply,
                            identity.public)


def test_too_many_connections_of_one_client(start, identity):
    daemon = start(tcp={"max_per_client": 4, "max_connections": 100})
    before = daemon.counters()
    connections = [tcp_to(daemon) for _ in range(4)]
    for tcp in connections:
        tcp.verified(identity.public, "rfc")
    with tcp_to(daemon) as fifth:
        assert fifth.closed()
    closes_with(daemon, before, "tcp_refused_client")
    connections.pop().socket.close()
    # The place is free again as soon as the daemon sees the close.
    harness.until(lambda: answers(daemon, identity), "a place is free")
    for tcp in connections:
        tcp.verified(identity.public, "rfc")
        tcp.socket.close()


def answers(daemon, identity):
    with tcp_to(daemon) as tcp:
        packet = oracle.request("rfc")
        try:
            tcp.send(packet)
        except OSError:
            return False
        reply = tcp.receive()
        return reply and harness.checked(packet, reply, identity.public)


def test_too_many_connections_in_all(start, identity):
    daemon = start(workers=1, tcp={"max_connections": 3,
                                   "max_per_client": 100})
    before = daemon.counters()
    connections = [tcp_to(daemon) for _ in range(3)]
    for tcp in connections:
        tcp.verified(identity.public, "rfc")
    with tcp_to(daemon) as fourth:
        assert fourth.closed()
    closes_with(daemon, before, "tcp_refused_full")
    with harness.Udp(HOST, daemon.port) as udp:  # UDP goes on
        udp.verified(identity.public, "rfc")
    for tcp in connections:
        tcp.verified(identity.public, "rfc")
        tcp.socket.close()


def test_reset_by_the_client(start, identity):
    """RST in the middle of everything, 200 times."""
    daemon = start()
    for i in range(200):
        tcp = tcp_to(daemon)
        tcp.send((oracle.request("rfc") * 4)[:i * 20])
        tcp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                              struct.pack("ii", 1, 0))
        tcp.socket.close()
    with tcp_to(daemon) as tcp:
        tcp.verified(identity.public, "rfc")
    harness.until(lambda: daemon.counters()["tcp_connections"] == 0,
                  "all connections are gone")


def test_out_of_descriptors(start, identity, tmp_path):
    """EMFILE: accept pauses, a client learns at once, UDP goes on, and it
    recovers."""
    daemon = start(workers=1, tcp={"max_connections": 100,
                                   "max_per_client": 100})
    status = harness.status_of(daemon.pid)
    user, group = (int(status[i].split()[0]) for i in ("Uid", "Gid"))
    subprocess.run(["prlimit", "--pid", str(daemon.pid), "--nofile=40"],
                   check=True, user=user, group=group)
    before = daemon.counters()
    connections = [tcp_to(daemon) for _ in range(60)]
    closes = harness.until(
        lambda: daemon.counters()["tcp_accept_no_fd"], "no descriptor left")
    assert closes >= 1
    with harness.Udp(HOST, daemon.port) as udp:
        udp.verified(identity.public, "rfc")
    for tcp in connections:
        tcp.socket.close()
    harness.until(lambda: answers(daemon, identity), "it accepts again")
    assert daemon.counters()["tcp_accepted"] > before["tcp_accepted"]
