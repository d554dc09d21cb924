"""The oracle against vectors of other implementations, and against itself."""
import base64
import json
import pathlib
import struct

import oracle
import pytest
from nacl.signing import SigningKey

VECTORS = pathlib.Path(__file__).parent.parent / "vectors"


def load(name):
    return json.loads((VECTORS / name).read_text())


def b64(text):
    return base64.b64decode(text)


BATCHES = [f"{f}_batch_{n:03}.json" for f in ("v1", "draft19")
           for n in (1, 2, 3, 5, 64)]
CLOUDFLARE = [f"roughtime_{f}_{n:03}.json"
              for f in ("google", "ietf_draft08", "ietf_draft11")
              for n in (1, 10)]
CHAINS = [f"{f}_chain_{k}.json" for f in ("v1", "draft19")
          for k in ("consistent", "liar")]


@pytest.mark.parametrize("name", BATCHES)
def test_batch_verifies_and_is_rebuilt_byte_for_byte(name):
    v = load(name)
    requests = [b64(r) for r in v["requests"]]
    wanted = [b64(r) for r in v["responses"]]
    assert len(requests) == len(wanted) == int(name[-8:-5])
    for request, response in zip(requests, wanted):
        reply = oracle.verify(request, response, b64(v["publicKey"]))
        assert reply.version.number == v["version"]
        assert reply.midpoint_us == v["midp"] * 10**6
    version = oracle.find(v["version"], True)
    made = oracle.replies(
        version, requests, SigningKey(b64(v["rootSeed"])),
        SigningKey(b64(v["onlineSeed"])), v["midp"], v["radi"], v["mint"],
        v["maxt"], vers=reply.versions)
    assert made == wanted


@pytest.mark.parametrize("name", CLOUDFLARE)
def test_cloudflare_vectors_verify(name):
    v = load(name)
    public = oracle.public_of(bytes.fromhex(v["root_key"]))
    assert len(v["request"]) == len(v["replies"]) == int(name[-8:-5])
    for request, response in zip(v["request"], v["replies"]):
        reply = oracle.verify(bytes.fromhex(request),
                              bytes.fromhex(response), public)
        assert (reply.midpoint_us, reply.order) == (50 * 10**6, "natural")


@pytest.mark.parametrize("name", CHAINS)
def test_chains_verify_and_link(name):
    entries = load(name)["responses"]
    assert len(entries) == 6
    previous = None
    for e in entries:
        request, response = b64(e["request"]), b64(e["response"])
        oracle.verify(request, response, b64(e["publicKey"]))
        if previous is not None:
            nonce = oracle.decode(oracle.unframe(request)[1])[b"NONC"]
            assert nonce == oracle.chain_nonce(previous, b64(e["rand"]))
        previous = response


def test_appendix_b_needs_the_capital_t():
    entries = load("rfc10049-appendix-b.json")["responses"]
    assert len(entries) == 3
    for e in entries:
        pair = b64(e["request"]), b64(e["response"]), b64(e["publicKey"])
        with pytest.raises(oracle.Invalid, match="cert-signature"):
            oracle.verify(*pair)
        assert oracle.verify(*pair, capital_t=True).capital_t


def test_recorded_reply_of_a_live_server():
    read = (VECTORS / "int08h").joinpath
    reply = oracle.verify(
        read("rfc-request.071039e5").read_bytes(),
        read("rfc-response.071039e5").read_bytes(),
        b64("AW5uAoTSTDfG5NfY1bTh08GUnOqlRb+HVhbJ3ODJvsE="))
    assert reply.maxt_us // 10**6 == oracle.UINT64_MAX  # all ones parses
    assert reply.version is oracle.DRAFT14


ROOT, ONLINE = SigningKey(b"\1" * 32), SigningKey(b"\2" * 32)  # test keys
PUBLIC = bytes(ROOT.verify_key)


def signed(version, request, public=PUBLIC, **more):
    wire = version.from_unix_us
    now = 1_790_000_000_000_000
    args = dict(midp=wire(now), radi=5, mint=wire(now - 10**9),
                maxt=wire(now + 10**9))
    args.update(more)
    return oracle.replies(version, [request], ROOT, ONLINE, **args)[0]


@pytest.mark.parametrize("version", oracle.VERSIONS, ids=lambda v: v.name)
def test_every_version_signs_and_verifies(version):
    request = oracle.request(version)
    assert len(request) == (1036 if version.framed else 1024)
    reply = oracle.verify(request, signed(version, request), PUBLIC)
    assert reply.version is version
    assert reply.midpoint_us == 1_790_000_000_000_000
    assert oracle.negotiate(request) is version


@pytest.mark.parametrize("version", oracle.VERSIONS, ids=lambda v: v.name)
def test_oracle_refuses_flipped_bits(version):
    """A verifier that accepts anything proves nothing."""
    request = oracle.request(version)
    good = signed(version, request)
    for at in range(0, len(good), 7):
        spoiled = bytearray(good)
        # Without the tag TYPE it is a good reply of drafts 12 and 13.
        if version is oracle.DRAFT14 and 0 <= at - good.index(b"TYPE") < 4:
            continue
        spoiled[at] ^= 1
        with pytest.raises(oracle.Invalid):
            oracle.verify(request, bytes(spoiled), PUBLIC)


RFC_BAD = {
    "nonce": dict(NONC=bytes(32)),
    "type": dict(TYPE=bytes(4)),
    "tag-missing": dict(INDX=None),
    "path": dict(INDX=b"\1\0\0\0"),
    "root": dict(PATH=bytes(32)),
    "tag-length": dict(SIG=bytes(60)),
    "signature": dict(SIG=bytes(64)),
    "window": dict(mint=1_790_000_001),
    "radius": dict(radi=0),
    "version-not-listed": dict(vers=[0x8000000C]),
    "version-list": dict(vers=[1, 1]),
}


@pytest.mark.parametrize("word", RFC_BAD)
def test_oracle_names_what_is_wrong(word):
    request = oracle.request(oracle.RFC)
    with pytest.raises(oracle.Invalid) as e:
        oracle.verify(request, signed(oracle.RFC, request, **RFC_BAD[word]),
                      PUBLIC)
    assert e.value.args[0] == word


def test_oracle_refuses_the_wrong_key_and_a_version_not_offered():
    request = oracle.request(oracle.RFC)
    with pytest.raises(oracle.Invalid, match="cert-signature"):
        oracle.verify(request, signed(oracle.RFC, request),
                      bytes(ONLINE.verify_key))
    with pytest.raises(oracle.Invalid, match="version-not-offered"):
        oracle.verify(request, signed(oracle.DRAFT14, request), PUBLIC)


def test_mjd_arithmetic():
    v = oracle.BY_NAME["draft-07"]
    # 2000-01-01T12:00:00Z is modified Julian day 51544.5.
    assert v.from_unix_us(946728000 * 10**6) == 51544 << 40 | 43200 * 10**6
    assert v.to_unix_us(51544 << 40 | 43200 * 10**6) == 946728000 * 10**6


def test_decode_refuses_malformed_maps():
    good = oracle.encode({"NONC": bytes(32), "VER": bytes(4)})
    assert set(oracle.decode(good)) == {b"NONC", b"VER\0"}
    for n in range(len(good)):
        with pytest.raises(oracle.Invalid):
            # The last value has no length of its own: cut it and it is
            # shorter, not malformed. So a tag follows that must be there.
            oracle._need(oracle.decode(good[:n]), "NONC", 32)
    two = [b"VER\0", b"VER\0"]
    for bad in (oracle.raw_message(0, [], [], b""),
                oracle.raw_message(2, [4], two, bytes(8)),
                oracle.raw_message(2, [2], [b"VER\0", b"NONC"], bytes(8)),
                oracle.raw_message(2, [12], [b"VER\0", b"NONC"], bytes(8)),
                oracle.raw_message(2**31, [4], two, bytes(8))):
        with pytest.raises(oracle.Invalid, match="malformed"):
            oracle.decode(bad)


def test_negotiation_rules():
    def chosen(*numbers, typed=True, **more):
        fields = {"NONC": bytes(32),
                  "VER": struct.pack(f"<{len(numbers)}I", *numbers)}
        if typed:
            fields["TYPE"] = bytes(4)
        v = oracle.negotiate(oracle.pack(fields), **more)
        return v and v.name

    assert chosen(1, 0x8000000C) == "rfc"
    assert chosen(1, 0x8000000C, prefer_draft14=True) == "draft-14"
    assert chosen(1, 0x8000000C, typed=False) == "draft-12"
    assert chosen(0x8000000B, 0x80000008) == "draft-11"
    assert chosen(0x8000000C, 1) is None
    assert chosen(1, 1) is None
    assert chosen(5, 0x8000000B, 0x90000000) == "draft-11"
    assert chosen(0, 1) is None
    assert chosen(7) is None
    assert chosen(0x80000001) is None  # its nonce is 64 bytes long
    assert chosen(*range(1, 34)) is None
