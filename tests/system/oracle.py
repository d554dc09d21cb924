"""Roughtime in Python: an oracle that shares no code with the C programs.

Written from RFC 10049 and the drafts before it. Builds requests of every
version, signs replies (for fake servers), and verifies replies as a strict
client does. Only the standard library and python3-nacl.
"""
import dataclasses
import datetime
import hashlib
import os
import struct

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

MAGIC = b"ROUGHTIM"
UINT64_MAX = 2**64 - 1
MJD_UNIX = 40587  # modified Julian day of 1970-01-01
DAY_US = 86400 * 10**6

RFC_RESPONSE = b"Roughtime v1 response signature\0"
RFC_DELEGATION = b"Roughtime v1 delegation signature\0"
OLD_RESPONSE = b"RoughTime v1 response signature\0"
OLD_DELEGATION = b"RoughTime v1 delegation signature--\0"
NEW_DELEGATION = b"RoughTime v1 delegation signature\0"


class Invalid(Exception):
    """A reply that a strict client refuses; args[0] is the reason, a word."""


def sha512(data):
    return hashlib.sha512(data).digest()


def trunc(data):
    return sha512(data)[:32]


def sha512_256(data):
    return hashlib.new("sha512_256", data).digest()


@dataclasses.dataclass(frozen=True)
class Version:
    """One wire format; what the texts of that version say."""

    name: str
    number: int  # 0: Google, which has no VER
    nonce_len: int
    digest: object
    leaf: str  # "nonce" or "packet"
    unit: str  # "us", "mjd" or "s"
    delegation: bytes
    response: bytes = OLD_RESPONSE
    padding: bytes = b"ZZZZ"
    typed: bool = False
    nonce_at: str = "top"  # of the reply: "top", "srep", "none"
    ver_at: str = "top"  # of the reply: "top", "srep", "none"

    @property
    def framed(self):
        return self.number != 0

    @property
    def node_len(self):
        return 64 if self.digest is sha512 else 32

    def to_unix_us(self, wire):
        if self.unit == "s":
            return wire * 10**6
        if self.unit == "us":
            return wire
        return ((wire >> 40) - MJD_UNIX) * DAY_US + (wire & (2**40 - 1))

    def from_unix_us(self, unix_us):
        if self.unit == "s":
            return unix_us // 10**6
        if self.unit == "us":
            return unix_us
        return (unix_us // DAY_US + MJD_UNIX) << 40 | unix_us % DAY_US

    def radius_us(self, wire):
        return wire * 10**6 if self.unit == "s" else wire


def _draft(n, **more):
    return Version(f"draft-{n:02}", 0x80000000 + n, **more)


_MJD64 = dict(nonce_len=64, leaf="nonce", unit="mjd",
              delegation=OLD_DELEGATION, padding=b"PAD\0")
_MJD32 = dict(_MJD64, nonce_len=32)
_SECONDS = dict(nonce_len=32, digest=trunc, leaf="nonce", unit="s",
                delegation=OLD_DELEGATION)
_PACKET = dict(nonce_len=32, digest=trunc, leaf="packet", unit="s",
               delegation=NEW_DELEGATION, ver_at="srep")

# Worst to best, as a server that may choose does choose.
VERSIONS = [
    Version("google", 0, nonce_len=64, digest=sha512, leaf="nonce", unit="us",
            delegation=OLD_DELEGATION, padding=b"PAD\xff", nonce_at="none",
            ver_at="none"),
    _draft(1, digest=trunc, nonce_at="srep", **_MJD64),
    _draft(2, digest=sha512_256, nonce_at="srep", **_MJD64),
    _draft(3, digest=trunc, **_MJD64),
    _draft(4, digest=trunc, **_MJD64),
    _draft(5, digest=trunc, **_MJD32),
    _draft(6, digest=trunc, **_MJD32),
    _draft(7, digest=sha512_256, **dict(_MJD32, delegation=NEW_DELEGATION)),
    _draft(8, **_SECONDS),
    _draft(9, **_SECONDS),
    _draft(10, **_SECONDS),
    _draft(11, **_SECONDS),
    Version("draft-12", 0x8000000C, **_PACKET),
    Version("draft-14", 0x8000000C, typed=True, **_PACKET),
    Version("rfc", 1, typed=True, response=RFC_RESPONSE,
            **dict(_PACKET, delegation=RFC_DELEGATION)),
]
BY_NAME = {v.name: v for v in VERSIONS}
GOOGLE, DRAFT12, DRAFT14, RFC = (
    BY_NAME[n] for n in ("google", "draft-12", "draft-14", "rfc"))


def find(number, typed):
    """The format of a VER number in a packet with or without TYPE."""
    for v in VERSIONS:
        if v.framed and v.number == number:
            if v.number not in (1, 0x8000000C) or v.typed == typed:
                return v
    return None


# -- messages ---------------------------------------------------------------

def tag(name):
    return name.encode() if isinstance(name, str) else name


def pad_tag(name):
    return tag(name).ljust(4, b"\0")


def raw_message(count, offsets, tags, values):
    """A map exactly as told, right or wrong."""
    return (struct.pack("<I", count) +
            b"".join(struct.pack("<I", o) for o in offsets) +
            b"".join(tags) + values)


def encode(fields, order=None):
    """A map of {tag: value}; `order` overrides the ascending order."""
    items = [(pad_tag(k), v) for k, v in dict(fields).items()]
    if order is None:
        items.sort(key=lambda i: struct.unpack("<I", i[0])[0])
    else:
        items.sort(key=lambda i: order.index(i[0]))
    offsets, at = [], 0
    for _, value in items[:-1]:
        at += len(value)
        offsets.append(at)
    return raw_message(len(items), offsets, [t for t, _ in items],
                       b"".join(v for _, v in items))


def decode(message, what="message"):
    """{tag: value}, or Invalid; every rule of RFC 10049 section 4."""
    if len(message) < 4 or len(message) % 4:
        raise Invalid("malformed", f"{what}: {len(message)} bytes")
    (n,) = struct.unpack_from("<I", message)
    if n == 0 or n > 256 or 8 * n > len(message):
        raise Invalid("malformed", f"{what}: {n} tags")
    offsets = [0, *struct.unpack_from(f"<{n - 1}I", message, 4)]
    tags = struct.unpack_from(f"<{n}I", message, 4 * n)
    values = message[8 * n:]
    ends = [*offsets[1:], len(values)]
    if any(a >= b for a, b in zip(tags, tags[1:])):
        raise Invalid("malformed", f"{what}: tags not ascending")
    if any(a % 4 or a > b for a, b in zip(offsets, ends)):
        raise Invalid("malformed", f"{what}: offsets")
    return {struct.pack("<I", t): values[a:b]
            for t, a, b in zip(tags, offsets, ends)}


def frame(message, length=None):
    length = len(message) if length is None else length
    return MAGIC + struct.pack("<I", length & 0xFFFFFFFF) + message


def unframe(packet):
    """(framed, message); a frame must be exactly as long as it says."""
    if not packet.startswith(MAGIC):
        return False, packet
    if len(packet) < 12 or \
            struct.unpack_from("<I", packet, 8)[0] != len(packet) - 12:
        raise Invalid("frame", "length field and packet differ")
    return True, packet[12:]


# -- requests ---------------------------------------------------------------

def srv(public_key):
    return trunc(b"\xff" + public_key)


def fields_of_request(versions, nonce=None, srv_value=None, numbers=None):
    first = versions[0]
    fields = {b"NONC": os.urandom(first.nonce_len) if nonce is None
              else nonce}
    if first.framed:
        numbers = sorted({v.number for v in versions}) if numbers is None \
            else numbers
        fields[b"VER\0"] = struct.pack(f"<{len(numbers)}I", *numbers)
    if any(v.typed for v in versions):
        fields[b"TYPE"] = bytes(4)
    if srv_value is not None:
        fields[b"SRV\0"] = srv_value
    return fields


def pack(fields, framed=True, size=1036, padding=b"ZZZZ"):
    """Encodes and pads to `size` bytes in all; 0: no padding."""
    head = 12 if framed else 0
    bare = head + len(encode(fields))
    if size and bare < size:
        fields = {**fields, padding: b""}
        fields[padding] = bytes(size - head - len(encode(fields)))
    message = encode(fields)
    return frame(message) if framed else message


def request(*versions, nonce=None, srv_value=None, size=None, numbers=None):
    """A proper request that offers `versions` (names or rows)."""
    versions = [BY_NAME[v] if isinstance(v, str) else v for v in versions]
    framed = versions[0].framed
    if size is None:
        size = 1036 if framed else 1024
    fields = fields_of_request(versions, nonce, srv_value, numbers)
    return pack(fields, framed, size, versions[0].padding)


# -- verification -----------------------------------------------------------

@dataclasses.dataclass
class Reply:
    version: Version
    midpoint_us: int
    radius_us: int
    mint_us: int
    maxt_us: int
    index: int
    path: bytes
    root: bytes
    online_key: bytes
    signature: bytes
    versions: tuple  # VERS, or ()
    order: str  # "natural" or "mirrored"
    capital_t: bool
    fields: dict
    packet: bytes

    @property
    def depth(self):
        return len(self.path) // self.version.node_len


def _need(fields, name, length=None, where="reply"):
    value = fields.get(pad_tag(name))
    if value is None:
        raise Invalid("tag-missing", f"{name} in {where}")
    if length is not None and len(value) != length:
        raise Invalid("tag-length", f"{name} in {where}: {len(value)}")
    return value


def _u32(fields, name, where="reply"):
    return struct.unpack("<I", _need(fields, name, 4, where))[0]


def _u64(fields, name, where):
    return struct.unpack("<Q", _need(fields, name, 8, where))[0]


def _signed(key, context, value, signature):
    try:
        VerifyKey(key).verify(context + value, signature)
        return True
    except (BadSignatureError, ValueError):
        return False


def _reply_version(req_framed, req, fields, srep):
    """The row that the reply claims, and the VERS list."""
    if not req_framed:
        return GOOGLE, ()
    offered = _need(req, "VER", where="request")
    offered = struct.unpack(f"<{len(offered) // 4}I", offered)
    holder, where = (srep, "SREP") if b"VER\0" in srep else (fields, "reply")
    number = _u32(holder, "VER", where)
    version = find(number, b"TYPE" in fields)
    if version is None:
        raise Invalid("version-unknown", hex(number))
    if number not in offered:
        raise Invalid("version-not-offered", hex(number))
    if (version.ver_at == "srep") != (where == "SREP"):
        raise Invalid("version-place", where)
    listed = ()
    if version.ver_at == "srep":
        raw = _need(srep, "VERS", where="SREP")
        listed = struct.unpack(f"<{len(raw) // 4}I", raw)
        if len(raw) % 4 or len(listed) > 32 or \
                list(listed) != sorted(set(listed)):
            raise Invalid("version-list", raw.hex())
        if number not in listed:
            raise Invalid("version-not-listed", hex(number))
    return version, listed


def climb(version, order, leaf, path, index):
    """Section 5.3.1. None when index bits are left over."""
    h, n = leaf, version.node_len
    for at in range(0, len(path), n):
        node = path[at:at + n]
        left_is_node = bool(index & 1) == (order == "natural")
        h = version.digest(b"\1" + (node + h if left_is_node else h + node))
        index >>= 1
    return h if index == 0 else None


def leaf_hash(version, request_packet, nonce):
    return version.digest(
        b"\0" + (request_packet if version.leaf == "packet" else nonce))


def verify(request_packet, reply_packet, public_key, capital_t=False):
    """Everything that section 5.4 demands, or Invalid(word, detail).

    capital_t: also accept a version 1 reply with the contexts of the drafts
    (the RFC's own Appendix B has them).
    """
    req_framed, req_message = unframe(request_packet)
    framed, message = unframe(reply_packet)
    if framed != req_framed:
        raise Invalid("frame", "reply is framed otherwise than its request")
    req = decode(req_message, "request")
    fields = decode(message, "reply")
    srep_raw = _need(fields, "SREP")
    srep = decode(srep_raw, "SREP")
    version, listed = _reply_version(req_framed, req, fields, srep)
    if version.typed and _u32(fields, "TYPE") != 1:
        raise Invalid("type", "TYPE is not 1")
    _check_nonce(version, req, fields, srep)

    old = dataclasses.replace(version, response=OLD_RESPONSE,
                              delegation=NEW_DELEGATION)
    contexts = [version] + ([old] if capital_t and version is RFC else [])
    cert, used = _check_signatures(contexts, fields, srep_raw, public_key)
    dele = decode(_need(cert, "DELE", where="CERT"), "DELE")
    order = _check_tree(version, request_packet, req, fields, srep)

    midp = _u64(srep, "MIDP", "SREP")
    mint, maxt = _u64(dele, "MINT", "DELE"), _u64(dele, "MAXT", "DELE")
    if not mint <= midp <= maxt:
        raise Invalid("window", f"{mint} {midp} {maxt}")
    radi = _u32(srep, "RADI", "SREP")
    if radi == 0:
        raise Invalid("radius", "RADI is 0")
    return Reply(
        version, version.to_unix_us(midp), version.radius_us(radi),
        version.to_unix_us(mint), version.to_unix_us(maxt),
        _u32(fields, "INDX"), _need(fields, "PATH"), _need(srep, "ROOT"),
        _need(dele, "PUBK", 32, "DELE"), _need(fields, "SIG"), listed, order,
        used is not version, fields, reply_packet)


def _check_nonce(version, req, fields, srep):
    nonce = _need(req, "NONC", version.nonce_len, "request")
    holder = {"top": fields, "srep": srep}.get(version.nonce_at)
    if holder is not None and _need(holder, "NONC") != nonce:
        raise Invalid("nonce", "not the nonce of the request")


def _check_signatures(contexts, fields, srep_raw, public_key):
    cert = decode(_need(fields, "CERT"), "CERT")
    dele_raw = _need(cert, "DELE", where="CERT")
    online = _need(decode(dele_raw, "DELE"), "PUBK", 32, "DELE")
    word = "cert-signature"
    for used in contexts:
        if not _signed(public_key, used.delegation, dele_raw,
                       _need(cert, "SIG", 64, "CERT")):
            continue
        word = "signature"
        if _signed(online, used.response, srep_raw,
                   _need(fields, "SIG", 64)):
            return cert, used
    raise Invalid(word, "does not verify")


def _check_tree(version, packet, req, fields, srep):
    path, index = _need(fields, "PATH"), _u32(fields, "INDX")
    root = _need(srep, "ROOT", version.node_len, "SREP")
    if len(path) % version.node_len or len(path) > 32 * version.node_len:
        raise Invalid("path", f"{len(path)} bytes")
    leaf = leaf_hash(version, packet, req[b"NONC"])
    # Texts 05-15 and code in the field disagree about the order.
    orders = ["natural"]
    if version.leaf == "nonce":
        orders.append("mirrored")
    tops = {o: climb(version, o, leaf, path, index) for o in orders}
    if all(t is None for t in tops.values()):
        raise Invalid("path", "index bits left over")
    for order, top in tops.items():
        if top == root:
            return order
    raise Invalid("root", "the path does not lead to ROOT")


# -- signing, for fake servers and byte-exact vectors -------------------------

def certificate(version, root_key, online_key, mint, maxt):
    """CERT with wire times as given. Keys are nacl SigningKeys."""
    dele = encode({"PUBK": bytes(online_key.verify_key),
                   "MINT": struct.pack("<Q", mint),
                   "MAXT": struct.pack("<Q", maxt)})
    return encode({"SIG": root_key.sign(version.delegation + dele).signature,
                   "DELE": dele})


def tree(version, leaves):
    """(root, [path of each leaf]); odd levels padded with a zero node."""
    level, paths = list(leaves), [b""] * len(leaves)
    at = list(range(len(leaves)))
    while len(level) > 1:
        if len(level) % 2:
            level.append(bytes(version.node_len))
        paths = [p + level[i ^ 1] for p, i in zip(paths, at)]
        at = [i // 2 for i in at]
        level = [version.digest(b"\1" + level[i] + level[i + 1])
                 for i in range(0, len(level), 2)]
    return level[0], paths


def replies(version, requests, root_key, online_key, midp, radi, mint, maxt,
            vers=None, **spoil):
    """The replies of one batch, signed; times as on the wire.

    spoil: tag=value replaces (or with None removes) top-level tags.
    """
    nonces = [decode(unframe(r)[1])[b"NONC"] for r in requests]
    root, paths = tree(version, [leaf_hash(version, r, n)
                                 for r, n in zip(requests, nonces)])
    srep = {"RADI": struct.pack("<I", radi), "MIDP": struct.pack("<Q", midp),
            "ROOT": root}
    if version.ver_at == "srep":
        vers = [version.number] if vers is None else vers
        srep["VER"] = struct.pack("<I", version.number)
        srep["VERS"] = struct.pack(f"<{len(vers)}I", *vers)
    if version.nonce_at == "srep":
        assert len(requests) == 1
        srep["NONC"] = nonces[0]
    srep = encode(srep)
    top = {"SIG": online_key.sign(version.response + srep).signature,
           "SREP": srep,
           "CERT": certificate(version, root_key, online_key, mint, maxt)}
    if version.typed:
        top["TYPE"] = struct.pack("<I", 1)
    if version.ver_at == "top":
        top["VER"] = struct.pack("<I", version.number)
    out = []
    for i, (nonce, path) in enumerate(zip(nonces, paths)):
        one = {**top, "PATH": path, "INDX": struct.pack("<I", i)}
        if version.nonce_at == "top":
            one["NONC"] = nonce
        one.update(spoil)
        message = encode({k: v for k, v in one.items() if v is not None})
        out.append(frame(message) if version.framed else message)
    return out


def chain_nonce(previous, rand, nonce_len=32):
    """Section 8.2: the nonce that proves it came after `previous`."""
    return sha512(previous + rand)[:nonce_len]


def now_us():
    now = datetime.datetime.now(datetime.timezone.utc)
    return int(now.timestamp() * 10**6)


def negotiate(packet, served=None, prefer_draft14=False):
    """The version in which a server of `served` rows must answer, or None."""
    served = VERSIONS if served is None else served
    framed, message = unframe(packet)
    fields = decode(message)
    nonce = fields.get(b"NONC", b"")
    if not framed:
        return GOOGLE if len(nonce) == 64 and GOOGLE in served and \
            b"VER\0" not in fields else None
    raw = fields.get(b"VER\0", b"")
    if len(raw) % 4 or not 4 <= len(raw) <= 128:
        return None
    numbers = struct.unpack(f"<{len(raw) // 4}I", raw)
    if 0 in numbers:
        return None
    if {1, 0x8000000C} & set(numbers) and \
            list(numbers) != sorted(set(numbers)):
        return None
    rows = [find(n, b"TYPE" in fields) for n in numbers]
    rows = [r for r in rows if r in served and r.nonce_len == len(nonce)]
    rank = list(VERSIONS)
    if prefer_draft14:
        rank.remove(DRAFT14)
        rank.append(DRAFT14)
    return max(rows, key=rank.index, default=None)


def public_of(seed):
    return bytes(SigningKey(seed).verify_key)
