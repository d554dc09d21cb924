"""Several long-term keys behind one port (RFC 10049 section 5.2)."""
import harness
import oracle
import pytest
from test_21_batch import pile_up

SRV_VERSIONS = ["rfc", "draft-14", "draft-12", "draft-11", "draft-10"]


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    directory = tmp_path_factory.mktemp("three")
    return [harness.Identity(directory, n) for n in ("red", "green", "blue")]


@pytest.mark.parametrize("version", SRV_VERSIONS)
def test_srv_chooses_the_key(start, three, version):
    daemon = start(three)
    with harness.Udp("127.0.0.1", daemon.port) as udp, \
            harness.Tcp("127.0.0.1", daemon.port) as tcp:
        for identity in three:
            for way in (udp, tcp):
                way.verified(identity.public, version,
                             srv_value=identity.srv)


def test_no_srv_and_several_keys_is_ignored_and_counted(start, three):
    daemon = start(three)
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        before = daemon.counters()
        for version in oracle.VERSIONS:
            udp.send(oracle.request(version))
        udp.verified(three[1].public, "rfc", srv_value=three[1].srv)
        moved = harness.diff(before, daemon.counters())
        assert udp.receive(0) is None
    assert moved["reject_srv_missing"] == len(oracle.VERSIONS)


def test_no_srv_and_one_key_takes_that_key(server, identity):
    with harness.Udp("127.0.0.1", server.port) as udp:
        udp.verified(identity.public, "rfc")


def test_unknown_srv_is_ignored_and_counted(server, identity):
    stranger = oracle.srv(bytes(32))
    with harness.Udp("127.0.0.1", server.port) as udp:
        before = server.counters()
        udp.send(oracle.request("rfc", srv_value=stranger))
        udp.verified(identity.public, "rfc", srv_value=identity.srv)
        moved = harness.diff(before, server.counters())
        assert udp.receive(0) is None
    assert moved["reject_srv_unknown"] == 1


def test_keys_in_one_batch_have_separate_trees(start, three):
    daemon = start(three, workers=1)
    packets = {i: [oracle.request("rfc", srv_value=i.srv) for _ in range(20)]
               for i in three}
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        before = daemon.counters()
        pile_up(daemon, udp, [p for row in zip(*packets.values())
                              for p in row])
        owner = {harness.nonce_of(p): (i, p)
                 for i, ps in packets.items() for p in ps}
        signatures = {i: set() for i in three}
        for _ in range(60):
            packet = udp.receive()
            identity, request = owner.pop(harness.nonce_of(packet))
            reply = harness.checked(request, packet, identity.public)
            signatures[identity].add(reply.signature)
        moved = harness.diff(before, daemon.counters())
    assert all(len(s) == 1 for s in signatures.values())
    assert moved["signatures"] == 3
