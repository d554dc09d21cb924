"""Bad datagrams: silence, a counter that says why, and never a crash."""
import random

import harness
import malformed
import oracle
import pytest

NAMED = [*malformed.cases(), *malformed.unframed_cases()]


def ends_alive(server, identity, udp):
    """The next good request is answered, and nothing else was."""
    udp.verified(identity.public, "rfc")
    assert udp.receive(0) is None, "something bad was answered"
    assert server.alive()


def told(before, after):
    """What was refused between two counts: {reason: how often}."""
    moved = harness.diff(before, after)
    return {k: v for k, v in moved.items()
            if k.startswith(("reject_", "udp_drop_", "drop_"))
            or k == "kernel_drop"}


@pytest.mark.parametrize("name,packet,counter", NAMED,
                         ids=[c[0] for c in NAMED])
def test_named_reject(server, identity, name, packet, counter):
    with harness.Udp("127.0.0.1", server.port) as udp:
        before = server.counters()
        for _ in range(3):
            udp.send(packet)
        ends_alive(server, identity, udp)
        reasons = told(before, server.counters())
    # Some never get past the socket filter; no other reason will do.
    assert reasons in ({f"reject_{counter}": 3}, {"kernel_drop": 3})


@pytest.mark.parametrize("name,packet,counter", [*malformed.frame_cases()],
                         ids=[c[0] for c in malformed.frame_cases()])
def test_frame_length_differs(server, identity, name, packet, counter):
    """One stray byte ends another server; here the kernel drops it."""
    with harness.Udp("127.0.0.1", server.port) as udp:
        before = server.counters()
        udp.send(packet)
        ends_alive(server, identity, udp)
        reasons = told(before, server.counters())
    assert reasons in ({f"reject_{counter}": 1}, {"kernel_drop": 1})


def test_every_reject_of_the_code_has_a_case(server):
    """The names that the daemon counts and the names that are tested."""
    counted = {k for k in server.counters() if k.startswith("reject_")}
    tested = {f"reject_{c[2]}" for c in [*NAMED, *malformed.frame_cases()]}
    # The last two have stories of their own: here and in test_22.
    assert counted == tested | {"reject_short", "reject_srv_missing"}


@pytest.mark.parametrize("version", ["rfc", "draft-11", "draft-03", "google"])
def test_truncated_at_every_length(server, identity, version):
    packet = oracle.request(version)
    with harness.Udp("127.0.0.1", server.port) as udp:
        before = server.counters()
        for n in range(len(packet)):
            udp.send(packet[:n])
            if n % 64 == 63:  # never more than the queue holds
                udp.verified(identity.public, "rfc")
        ends_alive(server, identity, udp)
        reasons = told(before, server.counters())
    # An unframed map has no length: of 1024 bytes and more it is whole.
    assert sum(reasons.values()) == len(packet)


def test_short_frames_that_are_right_in_themselves(server, identity):
    """Under 1024 bytes there is no answer on UDP: no amplification."""
    with harness.Udp("127.0.0.1", server.port) as udp:
        before = server.counters()
        for size in range(200, 1024, 4):
            udp.send(oracle.request("rfc", size=size))
        ends_alive(server, identity, udp)
        assert sum(told(before, server.counters()).values()) == 206


@pytest.mark.parametrize("size", [1040, 1472, 9000, 65504])
def test_oversized(server, identity, size):
    """Longer requests than 1036 are fair; the reply does not grow."""
    with harness.Udp("127.0.0.1", server.port) as udp:
        before = server.counters()
        packet = oracle.request("rfc", size=size)
        assert len(packet) == size
        udp.send(packet)
        reply = udp.receive(1 if size > 2000 else harness.PATIENCE_S)
        if reply is not None:
            harness.checked(packet, reply, identity.public)
        ends_alive(server, identity, udp)
        reasons = told(before, server.counters())
    if reply is None:  # longer than a buffer: dropped, and said so
        assert size > 2000
        assert reasons in ({"udp_drop_too_long": 1}, {"kernel_drop": 1})
    else:
        assert reasons == {}


def test_64_kib_of_noise(server, identity):
    noise = random.Random(5).randbytes(65507)
    with harness.Udp("127.0.0.1", server.port) as udp:
        before = server.counters()
        for head in (b"", oracle.MAGIC, oracle.frame(noise)[:12]):
            udp.send((head + noise)[:65507])
        ends_alive(server, identity, udp)
        assert sum(told(before, server.counters()).values()) == 3


def test_garbage(server, identity):
    with harness.Udp("127.0.0.1", server.port) as udp:
        before, sent = server.counters(), 0
        for packet in malformed.garbage():
            udp.send(packet)
            sent += 1
        ends_alive(server, identity, udp)
        assert sum(told(before, server.counters()).values()) == sent > 50


def test_replies_fed_back(server, identity):
    """Two servers must not be made to talk to each other."""
    with harness.Udp("127.0.0.1", server.port) as udp:
        replies = [udp.verified(identity.public, v) for v in oracle.VERSIONS]
        before, sent = server.counters(), 0
        for reply in replies:
            udp.send(reply.packet)
            # … and made long enough to pass for a request.
            fields = dict(reply.fields)
            framed = reply.version.framed
            padded = oracle.pack(fields, framed, 1036,
                                 reply.version.padding)
            udp.send(padded)
            sent += 2
        ends_alive(server, identity, udp)
        reasons = told(before, server.counters())
    assert sum(reasons.values()) == sent
    # Google's and the two with NONC in SREP end at the socket filter.
    assert reasons["reject_is_response"] >= len(replies) - 3


def test_spoofed_port_of_the_server_itself(server, identity):
    """A request whose reply goes to the server's own port must end there."""
    with harness.Udp("127.0.0.1", server.port) as udp:
        before = server.counters()
        reply = udp.verified(identity.public, "rfc").packet
        for _ in range(10):
            udp.send(reply)
        ends_alive(server, identity, udp)
        moved = harness.diff(before, server.counters())
    assert moved["udp_sent"] == 2


def test_mutants(server, identity):
    """3000 requests with a few bytes changed: silence, or a proper reply."""
    with harness.Udp("127.0.0.1", server.port) as udp:
        answered = 0
        for packet in malformed.mutants(3000):
            udp.send(packet)
            udp.send(stop := oracle.request("rfc"))
            while nonce(reply := udp.receive()) != harness.nonce_of(stop):
                proper(packet, reply, identity.public)
                answered += 1
            harness.checked(stop, reply, identity.public)
        ends_alive(server, identity, udp)
    assert 300 < answered < 2700


def nonce(reply):
    assert reply is not None, "no answer to a good request"
    return oracle.decode(oracle.unframe(reply)[1]).get(b"NONC")


def proper(packet, reply, public):
    """The oracle finds the mutated request fit to be answered, and so."""
    wanted = oracle.negotiate(packet)
    assert wanted is not None, packet[:96].hex()
    assert oracle.verify(packet, reply, public).version is wanted
