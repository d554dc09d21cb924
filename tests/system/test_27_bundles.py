"""No long-term key on the machine: a directory of pre-signed bundles."""
import base64
import os
import time

import harness
import oracle
import pytest
from nacl.signing import SigningKey


class Bundles:
    """A directory of bundles, signed here with a test key."""

    def __init__(self, directory):
        self.directory = directory / "bundles"
        self.directory.mkdir(0o755)
        self.root = SigningKey(os.urandom(32))
        self.public = bytes(self.root.verify_key)

    def add(self, name, mint_s, maxt_s, root=None, **more):
        online = SigningKey(os.urandom(32))
        text = harness.bundle_text(root or self.root, online, int(mint_s),
                                   int(maxt_s), **more)
        harness.write_secret(self.directory / name, text)
        return bytes(online.verify_key)

    def config(self):
        return [{"name": "offline",
                 "public_key": base64.b64encode(self.public).decode(),
                 "delegations": str(self.directory)}]


@pytest.fixture
def bundles(tmp_path):
    return Bundles(tmp_path)


def test_bundle_of_the_tool(tmp_path, start):
    """roughtime-keys delegate makes what roughtimed reads; every version."""
    identity = harness.Identity(tmp_path)
    queue = tmp_path / "queue"
    queue.mkdir()
    harness.run("roughtime-keys", "delegate", "-k", identity.path, "-o",
                queue / "one.bundle", "--for", "2d")
    harness.give(queue / "one.bundle")
    daemon = start(identities=[{"name": "offline", "public_key":
                                identity.public_text,
                                "delegations": str(queue)}])
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        for version in oracle.VERSIONS:
            reply = udp.verified(identity.public, version)
            assert reply.version is version


def test_queue_of_root(tmp_path):
    """What root made with the tool, 0600 in a 0700 directory, is read by the
    server that root starts, also by the user that it becomes."""
    identity = harness.Identity(tmp_path)
    queue = tmp_path / "mine"
    harness.run("roughtime-keys", "delegate", "-k", identity.path, "-o",
                f"{queue}/", "--for", "2d", "--count", "2")
    config = harness.base_config(harness.free_port(), [])
    config["identities"] = [{"name": "offline",
                             "public_key": identity.public_text,
                             "delegations": str(queue)}]
    daemon = harness.Roughtimed(tmp_path, config)
    daemon.write_config(config)
    p = harness.run("roughtimed", "-t", "-c", daemon.config_path, check=False)
    assert p.returncode == 0, p.stderr
    if os.geteuid() != 0:
        return  # the user's own, read as that user
    # beside a key file the right is given up, and the error says whose
    config["identities"].append({"name": "online", "key": identity_of(tmp_path)})
    daemon.write_config(config)
    p = harness.run("roughtimed", "-t", "-c", daemon.config_path, check=False)
    assert p.returncode == 1
    assert "Permission denied (read as uid " in p.stderr, p.stderr


def identity_of(tmp_path):
    path = tmp_path / "other.key"
    harness.run("roughtime-keys", "generate", "-o", path)
    return str(path)


def test_queue_of_the_tool(tmp_path):
    """--count N: windows that overlap or touch, in order, all usable."""
    identity = harness.Identity(tmp_path)
    queue = tmp_path / "queue"
    queue.mkdir()
    harness.run("roughtime-keys", "delegate", "-k", identity.path, "-o",
                queue, "--for", "30d", "--count", "4")
    files = sorted(queue.iterdir())
    assert len(files) == 4
    windows, seeds = [], set()
    for f in files:
        assert f.stat().st_mode & 0o777 == 0o600
        lines = dict(line.split(": ", 1)
                     for line in f.read_text().splitlines() if ": " in line)
        windows.append((int(lines["not-before"]), int(lines["not-after"])))
        seeds.add(lines["seed"])
        for kind, name in harness.CERT_KINDS.items():
            check_cert(oracle.BY_NAME[name],
                       base64.b64decode(lines[f"cert-{kind}"]), lines,
                       identity.public)
    assert len(seeds) == 4, "every bundle has a key of its own"
    windows.sort()
    for (_, ends), (begins, _) in zip(windows, windows[1:]):
        assert begins <= ends, "a gap between two bundles"
    assert windows[-1][1] - windows[0][0] >= 4 * 29 * 86400


def check_cert(version, cert, lines, public):
    fields = oracle.decode(cert, "CERT")
    dele = oracle.decode(fields[b"DELE"], "DELE")
    assert oracle._signed(public, version.delegation, fields[b"DELE"],
                          fields[b"SIG\0"])
    assert dele[b"PUBK"] == oracle.public_of(base64.b64decode(lines["seed"]))
    for tag, key in ((b"MINT", "not-before"), (b"MAXT", "not-after")):
        wire = int.from_bytes(dele[tag], "little")
        assert version.to_unix_us(wire) == int(lines[key]) * 10**6


def test_next_bundle_is_taken_in_time(start, bundles):
    """Two bundles that overlap: no request in between goes unanswered."""
    now = time.time()
    first = bundles.add("a.bundle", now - 10, now + 8)
    second = bundles.add("b.bundle", now + 2, now + 3600)
    daemon = start(identities=bundles.config(), delegation={"overlap": "3s"})
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        before, asked, keys = daemon.counters(), 0, []

        def second_in_use():
            nonlocal asked
            packet = oracle.request("rfc")
            key = oracle.verify(packet, udp.ask(packet),
                                bundles.public).online_key
            asked += 1
            if key not in keys:
                keys.append(key)
            return key == second
        harness.until(second_in_use, "the second bundle is in use")
        assert time.time() < now + 9, "taken only after the first had ended"

        def told():
            return harness.diff(before, daemon.counters())
        # a reply may be here before the worker has counted it
        harness.until(lambda: told().get("udp_sent") == asked, "all are sent")
        moved = told()
    assert keys == [first, second]
    assert moved["udp_sent"] == asked
    assert not [k for k in moved if k.startswith("drop_")]


def test_expiry_is_refused_and_counted(start, bundles):
    """After the last one: no signature outside its window, a counter, and
    the log has warned before."""
    now = time.time()
    bundles.add("only.bundle", now - 10, now + 5)
    daemon = start(identities=bundles.config())
    daemon.expect_log("(?i)warning.*offline|offline.*(ends|expires|last)")
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        udp.verified(bundles.public, "rfc")

        def refused():
            udp.send(packet := oracle.request("rfc"))
            reply = udp.receive(0.3)
            if reply is None:
                return True
            assert harness.checked(packet, reply, bundles.public)
        harness.until(refused, "no answer after the end of the last bundle")
        assert time.time() > now + 4
        counts = daemon.counters()
        assert counts["drop_outside_window"] + \
            counts["drop_no_delegation"] >= 1
        # A new bundle and a reload bring it back.
        late = bundles.add("late.bundle", now, now + 3600)
        daemon.hup()
        harness.until(lambda: answered_by(udp, bundles, late),
                      "the late bundle is in use")


def answered_by(udp, bundles, key):
    udp.send(packet := oracle.request("rfc"))
    while (reply := udp.receive(0.5)) is not None:
        try:
            return oracle.verify(packet, reply,
                                 bundles.public).online_key == key
        except oracle.Invalid:
            continue  # a late answer to an earlier request
    return False


def refuses(tmp_path, bundles, pattern):
    port = harness.free_port()
    config = harness.base_config(port, [])
    config["identities"] = bundles.config()
    daemon = harness.Roughtimed(tmp_path, config)
    daemon.write_config(config)
    p = harness.run("roughtimed", "-t", "-c", daemon.config_path, check=False)
    assert p.returncode == 1, p.stderr
    assert "offline" in p.stderr or str(bundles.directory) in p.stderr
    assert pattern in p.stderr.lower(), p.stderr


def test_expired_bundle_only(tmp_path, bundles):
    now = time.time()
    bundles.add("old.bundle", now - 7200, now - 3600)
    refuses(tmp_path, bundles, "")


def test_empty_directory(tmp_path, bundles):
    refuses(tmp_path, bundles, "")


def test_bundle_of_another_key(tmp_path, bundles):
    now = time.time()
    bundles.add("alien.bundle", now - 10, now + 3600,
                root=SigningKey(os.urandom(32)))
    refuses(tmp_path, bundles, "alien")


def test_bundle_that_lacks_a_certificate(tmp_path, bundles):
    now = time.time()
    bundles.add("part.bundle", now - 10, now + 3600, leave_out=("google",))
    refuses(tmp_path, bundles, "part")


def test_world_readable_bundle(tmp_path, bundles):
    now = time.time()
    bundles.add("open.bundle", now - 10, now + 3600)
    (bundles.directory / "open.bundle").chmod(0o644)
    refuses(tmp_path, bundles, "open")


def test_bad_bundle_beside_a_good_one(start, bundles):
    """One rotten file does not stop the service; it is named."""
    now = time.time()
    good = bundles.add("good.bundle", now - 10, now + 3600)
    harness.write_secret(bundles.directory / "rotten.bundle", "not a bundle\n")
    daemon = start(identities=bundles.config())
    daemon.expect_log(r"rotten\.bundle")
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        assert udp.verified(bundles.public, "rfc").online_key == good
