"""Packets that are not proper requests, each with the name of its reject.

A case is (name, packet, counter). On UDP the kernel's socket filter may drop
a packet before the daemon sees it: `filtered` says for which it must.
"""
import os
import random
import struct

import oracle

RFC = oracle.RFC
NONCE = bytes(range(32))


def fields(**more):
    base = {b"VER\0": struct.pack("<I", 1), b"NONC": os.urandom(32),
            b"TYPE": bytes(4)}
    base.update({oracle.pad_tag(k.replace("_", "")): v
                 for k, v in more.items()})
    return {k: v for k, v in base.items() if v is not None}


def numbers(*values):
    return struct.pack(f"<{len(values)}I", *values)


def framed(**more):
    return oracle.pack(fields(**more))


def header_cases():
    """Maps whose header lies; 1036 bytes in all, the frame is right."""
    tags = [b"VER\0", b"NONC", b"TYPE", b"ZZZZ"]
    values = numbers(1) + NONCE + bytes(4)
    values += bytes(1024 - 8 * 4 - len(values))
    offsets = [4, 36, 40]

    def lie(count=4, o=offsets, t=tags, v=values):
        message = oracle.raw_message(count, o, t, v)
        return oracle.frame(message[:1024].ljust(1024, b"\0"))
    assert oracle.decode(oracle.unframe(lie())[1])[b"NONC"] == NONCE
    yield "no tags at all", lie(count=0)
    yield "more tags than bytes", lie(count=200)
    yield "2^31 tags", lie(count=2**31)
    yield "2^32 - 1 tags", lie(count=2**32 - 1)
    yield "offset not a multiple of 4", lie(o=[4, 35, 40])
    yield "offsets go backwards", lie(o=[36, 4, 40])
    yield "offset past the end", lie(o=[4, 36, 4096])
    yield "offset of 2^32 - 4", lie(o=[4, 36, 2**32 - 4])
    yield "tags not ascending", lie(t=[b"NONC", b"VER\0", b"TYPE", b"ZZZZ"])
    yield "a tag twice", lie(t=[b"VER\0", b"NONC", b"NONC", b"ZZZZ"])


def version_cases():
    list33 = numbers(*range(1, 34))
    yield "VER of 0 entries", framed(VER=b""), "version_list"
    yield "VER of 33 entries", framed(VER=list33), "version_list"
    yield "VER with a 0", framed(VER=numbers(0, 1)), "version_list"
    yield "VER unsorted", framed(VER=numbers(0x8000000C, 1)), "version_order"
    yield "VER repeated", framed(VER=numbers(1, 1)), "version_order"
    yield "VER of unknown numbers", framed(VER=numbers(2, 0x80000020)), \
        "version_unknown"
    yield "version 1 without TYPE", framed(TYPE=None), "version_unknown"
    yield "no VER in a frame", framed(VER=None), "no_version"


def cases():
    """Everything that has a frame or a map, and is refused by name."""
    for name, packet in header_cases():
        yield name, packet, "malformed"
    yield "a map of 1023 bytes", oracle.frame(bytes(1023)), "malformed"
    yield from version_cases()
    yield "TYPE is 1", framed(TYPE=numbers(1)), "type_not_zero"
    yield "TYPE is 2^32 - 1", framed(TYPE=numbers(2**32 - 1)), "type_not_zero"
    yield "TYPE of 8 bytes", framed(TYPE=bytes(8)), "type_not_zero"
    yield "TYPE of 0 bytes", framed(TYPE=b""), "type_not_zero"
    yield "a top-level SIG", framed(SIG=bytes(64)), "is_response"
    yield "no NONC", framed(NONC=None), "no_nonce"
    yield "NONC of 28 bytes", framed(NONC=bytes(28)), "nonce_length"
    yield "NONC of 64 bytes", framed(NONC=bytes(64)), "nonce_length"
    yield "NONC of 0 bytes", framed(NONC=b""), "nonce_length"
    yield "SRV of 28 bytes", framed(SRV=bytes(28)), "srv_length"
    yield "SRV of nobody", framed(SRV=bytes(32)), "srv_unknown"


def frame_cases():
    """The length field and the packet differ: (name, packet, counter)."""
    message = oracle.pack(fields())[12:]
    yield "frame says 4 bytes more", oracle.frame(message, 1028), \
        "frame_truncated"
    yield "frame says 2^32 - 1", oracle.frame(message, 2**32 - 1), \
        "frame_truncated"
    yield "frame says 4 bytes less", oracle.frame(message, 1020), \
        "frame_trailing"
    yield "frame says 0", oracle.frame(message, 0), "frame_trailing"
    yield "a stray byte behind", oracle.frame(message) + b"\0", \
        "frame_trailing"


def unframed_cases():
    """Google's format, wrong: (name, packet, counter)."""
    def google(**more):
        base = {b"NONC": os.urandom(64)}
        base.update({oracle.pad_tag(k): v for k, v in more.items()})
        base = {k: v for k, v in base.items() if v is not None}
        return oracle.pack(base, False, 1024, b"PAD\xff")
    yield "VER without a frame", google(VER=numbers(1)), "version_unframed"
    yield "unframed without NONC", google(NONC=None), "no_nonce"
    yield "unframed NONC of 32", google(NONC=bytes(32)), "nonce_length"
    yield "unframed with SIG", google(SIG=bytes(64)), "is_response"
    yield "unframed with TYPE 1", google(TYPE=numbers(1)), "type_not_zero"


def garbage(seed=7):
    """Random bytes of many lengths, some with a believable beginning."""
    r = random.Random(seed)
    heads = [b"", oracle.MAGIC, oracle.MAGIC + numbers(1024),
             numbers(2), numbers(5), oracle.MAGIC + numbers(1024, 5)]
    for length in (0, 1, 3, 4, 7, 8, 11, 12, 15, 16, 64, 1023, 1024, 1035,
                   1036, 1037, 1472, 4096, 9000):
        for head in heads:
            yield (head + r.randbytes(length))[:max(length, len(head))]


def mutants(count, seed=11):
    """Good requests of every version with a few bytes changed."""
    r = random.Random(seed)
    good = [oracle.request(v) for v in oracle.VERSIONS]
    for _ in range(count):
        packet = bytearray(r.choice(good))
        for _ in range(r.randint(1, 4)):
            at = r.randrange(min(len(packet), 96))
            packet[at] = r.choice((0, 1, 0x7F, 0x80, 0xFF, r.randrange(256)))
        yield bytes(packet)
