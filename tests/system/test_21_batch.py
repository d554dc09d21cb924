"""Batches: one signature for many requests, versions mixed in one batch."""
import collections
import os
import signal

import harness
import oracle
import pytest

BATCHED = ("rfc", "draft-14")
ALONE = [v.name for v in oracle.VERSIONS if v.name not in BATCHED]


def pile_up(daemon, udp, packets):
    """Sends while the daemon is stopped, so that all are queued at once."""
    daemon.freeze()
    try:
        for packet in packets:
            udp.send(packet)
    finally:
        os.kill(daemon.pid, signal.SIGCONT)


def collect(udp, packets, public):
    """All replies, verified, in the order of `packets`."""
    by_nonce = {harness.nonce_of(p): p for p in packets}
    assert len(by_nonce) == len(packets)
    google = [p for p in packets if not p.startswith(oracle.MAGIC)]
    found = {}
    for _ in packets:
        reply = udp.receive()
        assert reply is not None, f"{len(found)} of {len(packets)} replies"
        request = match(reply, by_nonce, google, public)
        assert request not in found, "answered twice"
        found[request] = harness.checked(request, reply, public)
    return [found[p] for p in packets]


def match(reply, by_nonce, google, public):
    if reply.startswith(oracle.MAGIC):
        fields = oracle.decode(oracle.unframe(reply)[1])
        nonce = fields.get(b"NONC") or \
            oracle.decode(fields[b"SREP"])[b"NONC"]
        return by_nonce[nonce]
    for request in google:  # Google's replies name no nonce
        try:
            oracle.verify(request, reply, public)
            return request
        except oracle.Invalid:
            continue
    raise AssertionError("a reply to nobody")


@pytest.fixture(params=[1, 2, 3, 64, 100, 256])
def many(request):
    return request.param


def test_batch_of_each_size(start, identity, many):
    daemon = start(workers=1)
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        before = daemon.counters()
        packets = [oracle.request("rfc") for _ in range(many)]
        pile_up(daemon, udp, packets)
        replies = collect(udp, packets, identity.public)
        moved = harness.diff(before, daemon.counters())
    signatures = {r.signature for r in replies}
    # They all waited in the queue: one turn takes them all.
    assert len(signatures) == 1
    assert moved["signatures"] == 1 and moved["udp_batches"] == 1
    assert sorted(r.index for r in replies) == list(range(many))
    assert {r.depth for r in replies} == {(many - 1).bit_length()}


def test_mixed_versions_share_nothing(start, identity):
    """Ten of each version in one turn: a tree for each of the two that are
    batched, a signature for each request of the others."""
    daemon = start(workers=1)
    names = [v.name for v in oracle.VERSIONS] * 10
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        before = daemon.counters()
        packets = [oracle.request(n) for n in names]
        pile_up(daemon, udp, packets)
        replies = collect(udp, packets, identity.public)
        moved = harness.diff(before, daemon.counters())
    by_version = collections.defaultdict(list)
    for name, reply in zip(names, replies):
        assert reply.version.name == name
        by_version[name].append(reply)
    for name in BATCHED:
        assert len({r.signature for r in by_version[name]}) == 1
        assert {r.depth for r in by_version[name]} == {4}
    for name in ALONE:
        assert len({r.signature for r in by_version[name]}) == 10
        assert {(r.depth, r.index) for r in by_version[name]} == {(0, 0)}
    assert moved["signatures"] == 2 + 10 * len(ALONE)


def test_batch_setting_is_a_limit(start, identity):
    daemon = start(workers=1, batch=16)
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        before = daemon.counters()
        packets = [oracle.request("rfc") for _ in range(64)]
        pile_up(daemon, udp, packets)
        replies = collect(udp, packets, identity.public)
        moved = harness.diff(before, daemon.counters())
    sizes = collections.Counter(r.signature for r in replies)
    assert sorted(sizes.values()) == [16] * 4
    assert moved["signatures"] == 4
    assert all(r.depth == 4 for r in replies)


def test_largest_batch_stays_under_1024_bytes(start, identity):
    daemon = start(workers=1, batch=1024, rcvbuf=64 << 20)
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        packets = [oracle.request("rfc") for _ in range(700)]
        pile_up(daemon, udp, packets)
        replies = collect(udp, packets, identity.public)
    deepest = max(replies, key=lambda r: r.depth)
    assert deepest.depth == 10 and len(deepest.packet) <= 1024


def test_bad_packets_do_not_disturb_their_neighbours(start, identity):
    """TYPE is looked at in each packet, not only in the first of a batch."""
    daemon = start(workers=1)
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        before = daemon.counters()
        good = [oracle.request("rfc") for _ in range(32)]
        bad = [p.replace(b"TYPEZZZZ", b"TYPFZZZZ") for p in
               (oracle.request("rfc") for _ in range(32))]
        assert all(oracle.negotiate(p) is None for p in bad)
        pile_up(daemon, udp, [p for pair in zip(bad, good) for p in pair])
        collect(udp, good, identity.public)
        moved = harness.diff(before, daemon.counters())
    assert moved["reject_version_unknown"] == 32
    assert moved["answered_rfc10049"] == 32


def test_short_requests_in_a_deep_batch(start, identity):
    """TCP requests without padding share a turn with padded ones. A reply
    longer than its request is dropped and counted when the setting says so;
    what fits, but not with the path of the batch, is signed alone."""
    daemon = start(workers=1, tcp={"short_requests": "drop"})
    alone = 412 + 4 * 13
    sizes = [0, alone - 4, alone, 540, 1036] * 6
    packets = [oracle.request("rfc", size=s) for s in sizes]
    answered = {harness.nonce_of(p): p for p in packets if len(p) >= alone}
    assert len(answered) == 18
    with harness.Tcp("127.0.0.1", daemon.port) as tcp:
        before = daemon.counters()
        pile_up(daemon, tcp, packets)
        for _ in range(18):
            packet = tcp.receive()
            request = answered.pop(harness.nonce_of(packet))
            harness.checked(request, packet, identity.public)
        moved = harness.diff(before, daemon.counters())
    assert moved["drop_too_long"] == 12
