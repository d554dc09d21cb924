"""roughtime-keys as its users run it, in a directory of the story's own. The
oracle for Ed25519, Argon2id and secretbox is python3-nacl. All keys are made on
the spot, except the public test key of the interoperability lists, which
protects nothing.
"""
import base64
import os
import pathlib
import subprocess

import harness
import oracle
from nacl.signing import SigningKey, VerifyKey

KEYS = harness.BUILD / "roughtime-keys"
TEST_SEED = "06e5e2dc28697bb363de00976af2d422819bc67832ad655ade96081ecc1bcdb5"
TEST_PUBLIC = "Ixu7gqjJ9TU6IxsO8wxZxAFT5te6FcZZQq5vXFl35JE="
HOUR, DAY = 3600, 86400
START = 1795399200  # 2026-11-23T02:00:00Z


def run(*args, stdin=b"", **kwargs):
    return subprocess.run([KEYS, *map(str, args)], input=stdin,
                          capture_output=True, timeout=60, **kwargs)


def good(*args, **kwargs):
    r = run(*args, **kwargs)
    assert r.returncode == 0, r.stderr.decode()
    return r.stdout.decode()


def bad(*args, **kwargs):
    """What a refused command says; it says it on stderr alone, exits 1."""
    r = run(*args, **kwargs)
    assert r.returncode == 1, (r.returncode, r.stdout, r.stderr)
    assert r.stdout == b""
    text = r.stderr.decode()
    assert text.startswith("roughtime-keys: ") and text.count("\n") == 1, text
    return text


def lines_of(path):
    """{name: value} of a key file or bundle, and its first line."""
    first, *rest = pathlib.Path(path).read_text().splitlines()
    pairs = [line.split(": ", 1) for line in rest]
    assert len(dict(pairs)) == len(pairs)
    return first, dict(pairs)


def mode(path):
    return os.lstat(path).st_mode & 0o7777


def secret_file(path, text):
    pathlib.Path(path).write_text(text)
    os.chmod(path, 0o600)
    return path


def key_of_tests():
    good("import", "-o", "test.key", stdin=TEST_SEED.encode())
    return "test.key"


# kind -> a version that uses such certificates
KINDS = {"rfc": "rfc", "draft12": "draft-14", "draft08": "draft-08",
         "draft07": "draft-07", "draft01": "draft-01", "google": "google"}


def check_bundle(path, public):
    """Verifies every certificate with python3-nacl; returns the window."""
    first, fields = lines_of(path)
    assert first == "timeshare-delegation 1"
    assert fields["public"] == public
    assert mode(path) == 0o600
    online = SigningKey(base64.b64decode(fields["seed"])).verify_key
    window = int(fields["not-before"]), int(fields["not-after"])
    kinds = {n[5:]: v for n, v in fields.items() if n.startswith("cert-")}
    assert set(kinds) == set(KINDS)
    assert set(fields) == {"public", "seed", "not-before", "not-after",
                           *("cert-" + k for k in KINDS)}
    for kind, text in kinds.items():
        version = oracle.BY_NAME[KINDS[kind]]
        cert = base64.b64decode(text, validate=True)
        assert len(cert) == 152
        parts = oracle.decode(cert)
        assert set(parts) == {b"SIG\0", b"DELE"}
        VerifyKey(base64.b64decode(public)).verify(
            version.delegation + parts[b"DELE"], parts[b"SIG\0"])
        dele = oracle.decode(parts[b"DELE"])
        assert dele[b"PUBK"] == bytes(online)
        for tag, unix in zip((b"MINT", b"MAXT"), window):
            wire = int.from_bytes(dele[tag], "little")
            assert wire == version.from_unix_us(unix * 10**6)
    return window
