"""Every wire format, over UDP and TCP, verified by the oracle."""
import random
import struct

import harness
import oracle
import pytest

FRAMED = [v for v in oracle.VERSIONS if v.framed]
ALL_NUMBERS = sorted({v.number for v in FRAMED})


def ids(version):
    return version.name


def check_shape(reply):
    """The tags that the text of this version names, and no other."""
    v = reply.version
    tags = {b"SIG\0", b"PATH", b"SREP", b"CERT", b"INDX"}
    tags |= {b"NONC"} if v.nonce_at == "top" else set()
    tags |= {b"VER\0"} if v.ver_at == "top" else set()
    tags |= {b"TYPE"} if v.typed else set()
    # cloudflare's server adds NONC to Google's format, and so do we.
    extra = {b"NONC"} if v is oracle.GOOGLE else set()
    assert set(reply.fields) | extra == tags | extra
    srep = {b"RADI", b"MIDP", b"ROOT"}
    srep |= {b"NONC"} if v.nonce_at == "srep" else set()
    srep |= {b"VER\0", b"VERS"} if v.ver_at == "srep" else set()
    assert set(oracle.decode(reply.fields[b"SREP"])) == srep
    if v.ver_at == "srep":
        assert list(reply.versions) == ALL_NUMBERS


@pytest.mark.parametrize("version", oracle.VERSIONS, ids=ids)
def test_udp(server, identity, version):
    with harness.Udp("127.0.0.1", server.port) as udp:
        before = server.counters()
        reply = udp.verified(identity.public, version)
        assert reply.version is version
        check_shape(reply)
        moved = harness.diff(before, server.counters())
        name = version.name.replace("-", "_")
        answered = [k for k in moved if k.startswith("answered_")]
        assert len(answered) == 1 and answered[0][9:].startswith(name)


@pytest.mark.parametrize("version", FRAMED, ids=ids)
def test_tcp(server, identity, version):
    with harness.Tcp("127.0.0.1", server.port) as tcp:
        for _ in range(3):  # one connection, several requests
            reply = tcp.verified(identity.public, version)
            assert reply.version is version
            check_shape(reply)


@pytest.mark.parametrize("version", [v for v in FRAMED if v.number not in
                                     range(0x80000001, 0x8000000A)], ids=ids)
def test_with_srv(server, identity, version):
    with harness.Udp("127.0.0.1", server.port) as udp:
        reply = udp.verified(identity.public, version,
                             srv_value=identity.srv)
        assert reply.version is version


def test_size_formula(server, identity):
    """RFC 10049 reply: 412 bytes, 4 a version in VERS, 32 a path node."""
    with harness.Udp("127.0.0.1", server.port) as udp:
        reply = udp.verified(identity.public, "rfc")
        assert len(reply.packet) == 412 + 4 * len(reply.versions) + \
            32 * reply.depth


def random_request(r):
    """A list of versions as a client may offer it, right or wrong."""
    pool = [0x80000000 + n for n in range(1, 13)] + [1] * 4 + [2, 0x80000020]
    numbers = r.sample(sorted(set(pool)), r.randint(1, 8))
    if r.random() < 0.7:
        numbers.sort()
    if r.random() < 0.05:
        numbers.append(0)
    fields = {"VER": struct.pack(f"<{len(numbers)}I", *numbers),
              "NONC": r.randbytes(r.choice((32, 32, 64)))}
    if r.random() < 0.6:
        fields["TYPE"] = bytes(4)
    return oracle.pack(fields)


def test_negotiation_agrees_with_the_oracle(server, identity):
    """600 random offers: the version that the texts say, or silence."""
    r = random.Random(3)
    silent, chosen = 0, set()
    with harness.Udp("127.0.0.1", server.port) as udp:
        for _ in range(600):
            packet = random_request(r)
            wanted = oracle.negotiate(packet)
            udp.send(packet)
            if wanted is None:  # the next answer must be to a later one
                silent += 1
                continue
            reply = harness.checked(packet, udp.receive() or b"",
                                    identity.public)
            assert reply.version is wanted, packet[:64].hex()
            chosen.add(wanted.name)
        harness.checked(packet := oracle.request("google"), udp.ask(packet),
                        identity.public)
    assert silent > 100 and len(chosen) == len(FRAMED)


def test_thirty_two_entries_and_the_good_one_last(server, identity):
    """Another server reads only the first eight entries."""
    numbers = [*range(2, 33), 0x8000000C]
    assert len(numbers) == 32
    with harness.Udp("127.0.0.1", server.port) as udp:
        reply = udp.verified(identity.public, "draft-14", numbers=numbers)
        assert reply.version is oracle.DRAFT14


def test_descending_list_of_old_versions(server, identity):
    """cloudflare's client sends [b, 8]."""
    with harness.Udp("127.0.0.1", server.port) as udp:
        reply = udp.verified(identity.public, "draft-11",
                             numbers=[0x8000000B, 0x80000008])
        assert reply.version.name == "draft-11"


def test_request_of_1024_bytes_with_the_frame(server, identity):
    """Some peers count the frame into the 1024 bytes."""
    with harness.Udp("127.0.0.1", server.port) as udp:
        for version in oracle.VERSIONS:
            assert udp.verified(identity.public, version,
                                size=1024).version is version


@pytest.mark.parametrize("prefer,wanted", [("rfc", oracle.RFC),
                                           ("draft-14", oracle.DRAFT14)])
def test_preference_between_1_and_draft(start, identity, prefer, wanted):
    daemon = start(prefer=prefer)
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        reply = udp.verified(identity.public, "rfc", "draft-14")
        assert reply.version is wanted
        for alone in (oracle.RFC, oracle.DRAFT14):
            assert udp.verified(identity.public, alone).version is alone


def test_versions_can_be_switched_off(start, identity):
    daemon = start(versions=["rfc", "draft-08"])
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        before = daemon.counters()
        for version in oracle.VERSIONS:
            if version.name not in ("rfc", "draft-08"):
                udp.send(oracle.request(version))
        assert udp.verified(identity.public, "rfc").versions == \
            (1, 0x80000008)
        assert udp.verified(identity.public, "draft-08").version.name == \
            "draft-08"
        moved = harness.diff(before, daemon.counters())
        assert moved["reject_version_unknown"] == len(oracle.VERSIONS) - 2
