"""What the processes may do once they serve (root starts them)."""
import os
import pathlib
import pwd
import shutil
import tempfile

import harness
import pytest

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def pair(as_root, start):
    """(daemon, pid of the keyholder)"""
    daemon = start()
    kids = harness.children(daemon.pid)
    assert len(kids) == 1, "one keyholder and no other child"
    return daemon, kids[0]


DAC_READ_SEARCH = 1 << 2  # capabilities(7): reload reads root's 0600 keys


def dropped(pid, kept=0):
    s = harness.status_of(pid)
    assert s["Uid"].split() == [str(NOBODY.pw_uid)] * 4
    assert s["Gid"].split() == [str(NOBODY.pw_gid)] * 4
    assert s.get("Groups", "").strip() in ("", str(NOBODY.pw_gid))
    assert s["NoNewPrivs"] == "1"
    assert s["Seccomp"] == "2"
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(s[kind], 16) & ~kept == 0, kind


def test_server_has_dropped_everything(pair):
    daemon, _ = pair
    for task in pathlib.Path(f"/proc/{daemon.pid}/task").iterdir():
        dropped(int(task.name))  # each thread by itself


def test_keyholder_has_dropped_everything(pair):
    dropped(pair[1], DAC_READ_SEARCH)


def test_keyholder_has_no_network(pair):
    """Of sockets only its end of the pair, of files nothing of the key."""
    daemon, keyholder = pair
    sockets = [t for t in harness.fds(keyholder).values()
               if t.startswith("socket:")]
    assert len(sockets) == 1
    inode = sockets[0][8:-1]
    for kind in ("tcp", "tcp6", "udp", "udp6", "raw", "packet"):
        path = pathlib.Path(f"/proc/{daemon.pid}/net/{kind}")
        rows = path.read_text() if path.exists() else ""
        assert f" {inode} " not in rows, kind
    assert not [t for t in harness.fds(keyholder).values()
                if t.endswith(".key")]


def test_keyholder_is_in_an_empty_network_namespace(pair):
    daemon, keyholder = pair
    theirs = os.readlink(f"/proc/{keyholder}/ns/net")
    assert theirs != os.readlink("/proc/self/ns/net")
    lines = pathlib.Path(f"/proc/{keyholder}/net/dev").read_text()
    names = [line.split(":")[0].strip()
             for line in lines.splitlines() if ":" in line]
    assert set(names) <= {"lo", "sit0", "ip6tnl0", "gre0", "gretap0",
                          "erspan0", "tunl0", "ip_vti0", "ip6_vti0",
                          "ip6gre0"}


SANITIZED = harness.sanitized("roughtimed")


def test_secrets_are_in_locked_memory(pair):
    for pid in (pair[0].pid, pair[1]):
        locked = harness.status_of(pid)["VmLck"].split()[0]
        assert (int(locked) > 0) == (not SANITIZED)


def flags_of(pid, mapping):
    """VmFlags (proc(5)) of the mapping that begins with this line."""
    span = mapping.split()[0]
    found = None
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if line.startswith(span + " "):
            found = span
        if found and line.startswith("VmFlags:"):
            return set(line.split()[1:])
    raise AssertionError(f"no mapping {span}")


def test_seed_is_only_in_locked_undumpable_memory(pair, identity):
    """Not on the stack, not on the heap, not in a buffer of stdio."""
    _, keyholder = pair
    found = maps_with(keyholder, identity.seed())
    assert found, "the keyholder holds it"
    for mapping in found:
        flags = flags_of(keyholder, mapping)
        assert "dd" in flags, f"in a core dump: {mapping}"
        assert "lo" in flags or SANITIZED, f"swappable: {mapping}"


def maps_with(pid, needle):
    """The mappings of a process that hold these bytes."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, \
            open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if not rights.startswith("r") or "[v" in line:
                continue
            begin, end = (int(x, 16) for x in span.split("-"))
            if end - begin > 256 << 20:
                continue
            try:
                memory.seek(begin)
                if needle in memory.read(end - begin):
                    found.append(line.strip())
            except (OSError, ValueError, OverflowError):
                continue
    return found


def test_long_term_seed_is_nowhere_in_the_server(pair, identity):
    """Not in the process that talks to the network, at any address."""
    daemon, keyholder = pair
    seed = identity.seed()
    assert len(seed) == 32
    assert maps_with(daemon.pid, identity.public), "the search works"
    assert not maps_with(daemon.pid, seed)
    assert maps_with(keyholder, seed), "the keyholder holds it"


def test_not_dumpable(pair):
    """/proc/PID belongs to root then, also for the unprivileged user."""
    for pid in (pair[0].pid, pair[1]):
        assert os.stat(f"/proc/{pid}/environ").st_uid == 0


def test_death_of_the_keyholder_is_told(pair, identity):
    """It serves on with the online key that it has, and says so."""
    daemon, keyholder = pair
    since = daemon.mark()
    os.kill(keyholder, 9)
    daemon.expect_log("(?i)keyholder", since)
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        udp.verified(identity.public, "rfc")


def test_no_process_is_left_behind(start):
    daemon = start()
    kids = harness.children(daemon.pid)
    pid = daemon.pid
    daemon.stop()
    for kid in [pid, *kids]:
        harness.until(lambda k=kid: not pathlib.Path(f"/proc/{k}").exists(),
                      "the keyholder ends with its server")


def test_keyholder_ends_when_the_server_is_killed(start):
    daemon = start()
    (kid,) = harness.children(daemon.pid)
    daemon.stop(number=9, status=-9)
    harness.until(lambda: not alive(kid), "the orphan ends")


def alive(pid):
    try:
        return harness.status_of(pid)["State"][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def open_directory():
    """A directory that nobody may enter, with a copy of the programs: the
    tree itself may lie where nobody may not go."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = pathlib.Path(name)
        directory.chmod(0o755)
        shutil.copy(harness.BUILD / "roughtimed", directory)
        yield directory


def test_unprivileged_start(as_root, open_directory):
    """Started as nobody: works the same, with the rights that it has."""
    identity = harness.Identity(open_directory)
    os.chown(identity.path, NOBODY.pw_uid, NOBODY.pw_gid)
    port = harness.free_port()
    daemon = harness.Roughtimed(
        open_directory,
        harness.base_config(port, [identity], sharing={"mode": "off"}),
        program=open_directory / "roughtimed",
        prefix=["setpriv", f"--reuid={NOBODY.pw_uid}",
                f"--regid={NOBODY.pw_gid}", "--clear-groups"])
    with daemon:
        dropped(daemon.pid)
        with harness.Udp("127.0.0.1", port) as udp:
            udp.verified(identity.public, "rfc")
