"""Start and `-t`: every mistake is told clearly, before the first packet."""
import os
import re
import signal
import socket

import harness
import oracle
import pytest


@pytest.fixture
def world(tmp_path, identity):
    class World:
        port = harness.free_port()
        config = harness.base_config(port, [identity])
        path = tmp_path / "roughtimed.yaml"

        def test(self, text=None, *more, check=False):
            if text is None:
                text = __import__("json").dumps(self.config, indent=1)
            self.path.write_text(text)
            return harness.run("roughtimed", "-t", "-c", self.path, *more,
                               check=check)
    return World()


def refused(p, *patterns):
    assert p.returncode == 1, (p.returncode, p.stderr)
    assert "Sanitizer" not in p.stderr
    for pattern in patterns:
        assert re.search(pattern, p.stderr), (pattern, p.stderr)


def test_good_config(world):
    assert world.test().returncode == 0


def test_shipped_config_is_valid_but_for_its_key(world):
    text = (harness.ROOT / "config" / "roughtimed.yaml").read_text()
    p = world.test(text)
    if p.returncode != 0:  # no key there, or port 2002 is in use
        assert re.search(r"/\S+\.key|in use|2002", p.stderr), p.stderr
        assert not re.search(r"roughtimed\.yaml:\d+:\d+", p.stderr)


BAD_YAML = {
    "not yaml": ("listen: [\n", r":\d+:\d+"),
    "empty": ("", r"listen"),
    "unknown key": ("lissten: []\n", r":1:1:.*lissten"),
    "repeated key": ("batch: 1\nbatch: 2\n", r":2:1:.*batch"),
    "not a number": ("batch: many\n", r":1:8:.*batch"),
    "out of range": ("batch: 5000\n", r":1:8:.*batch.*1024"),
    "wrong word": ("ingress: some\n", r":1:10:.*ingress.*parallel-queues"),
    "list, not mapping": ("- a\n- b\n", r":1:1"),
    "an anchor": ("batch: &x 5\n", r":1:\d+"),
    "two documents": ("batch: 5\n---\nbatch: 6\n", r":\d+:\d+"),
    "unknown version": ("versions: [rfc, draft-99]\n", r":1:17: versions"),
    "binary": ("\x01\x02\x00", r":\d+:\d+|roughtimed\.yaml"),
    "overlap": ("delegation: {lifetime: 1h, overlap: 2h}\n", r":1:.*overlap"),
    "bad address": ("listen: [{address: 999.1.1.1}]\n", r":1:\d+.*address"),
    "bad port": ("listen: [{address: 127.0.0.1, port: 70000}]\n",
                 r":1:\d+.*port"),
}


@pytest.mark.parametrize("name", BAD_YAML)
def test_bad_yaml(world, name):
    text, pattern = BAD_YAML[name]
    refused(world.test(text), pattern)


def test_all_errors_are_told_at_once(world):
    p = world.test("batch: 5000\ningress: x\nbogus: 1\nworkers: -3\n")
    refused(p, r":1:8:.*batch", r":2:10:.*ingress", r":3:1:.*bogus",
            r":4:10:.*workers", "listen", "identities")


def test_deep_and_long_yaml_is_bounded(world):
    refused(world.test("a: " + "[" * 100000))
    refused(world.test("a: [" + "1," * 200000 + "1]\n"))


def test_config_that_is_not_there(world, tmp_path):
    refused(harness.run("roughtimed", "-t", "-c", tmp_path / "nowhere.yaml",
                        check=False), "nowhere.yaml")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_key_that_others_can_read(world, tmp_path, mode):
    key = harness.Identity(tmp_path, "open")
    key.path.chmod(mode)
    world.config["identities"] = [{"name": "open", "key": str(key.path)}]
    refused(world.test(), r"open\.key", "(?i)group|other|mode|0600|chmod")


def bad_key(world, path, *patterns):
    world.config["identities"] = [{"name": "bad", "key": str(path)}]
    refused(world.test(), re.escape(path.name), *patterns)


def test_bad_key_files(world, tmp_path, identity):
    bad_key(world, tmp_path / "nowhere.key", "(?i)no such file")
    link = tmp_path / "link.key"
    link.symlink_to(identity.path)
    bad_key(world, link, "(?i)symbolic|symlink|link")
    bad_key(world, tmp_path, "(?i)regular|director")
    bad_key(world, harness.write_secret(tmp_path / "empty.key", ""))
    bad_key(world, harness.write_secret(tmp_path / "long.key", "x" * 10**6))
    bad_key(world, harness.write_secret(tmp_path / "hex.key", "ab" * 32))
    text = identity.path.read_text()
    swapped = re.sub(r"(?m)^public: .*$", "public: " + "A" * 43 + "=", text)
    assert swapped != text
    bad_key(world, harness.write_secret(tmp_path / "swapped.key", swapped))
    fifo = tmp_path / "fifo.key"
    os.mkfifo(fifo, 0o600)
    bad_key(world, fifo, "(?i)regular")


def test_encrypted_key_without_its_passphrase(world, tmp_path):
    path = tmp_path / "locked.key"
    words = harness.write_secret(tmp_path / "words", "test words\n")
    harness.run("roughtime-keys", "generate", "-o", path,
                "--passphrase-file", words)
    assert "seed:" not in path.read_text()
    bad_key(world, path, "(?i)passphrase|encrypted")


def test_two_identities_with_one_name(world, identity):
    world.config["identities"] *= 2
    refused(world.test(), "(?i)same|twice")


def test_t_does_not_serve_and_leaves_nothing(world):
    assert world.test().returncode == 0
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as s:
            s.bind(("127.0.0.1", world.port))


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM],
                         ids=["udp", "tcp"])
def test_busy_port_says_who_holds_it(world, kind):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", world.port))
        if kind == socket.SOCK_STREAM:
            s.listen()
        p = world.test()
    refused(p, str(world.port), "(?i)in use|held|holds", "python",
            str(os.getpid()))


def holder(server):
    """Who holds the port, as the user who asks may see it: a daemon is not
    dumpable, so others than root learn only its user."""
    return str(server.pid) if os.geteuid() == 0 else f"uid {os.geteuid()}"


def test_double_start_says_who_holds_the_port(server, tmp_path, identity):
    second = harness.Roughtimed(
        tmp_path, harness.base_config(server.port, [identity]))
    second.start(wait=False)
    harness.until(lambda: not second.alive(), "the second one gives up")
    assert second.child.returncode == 1
    log = second.log()
    assert str(server.port) in log and holder(server) in log, log
    with harness.Udp("127.0.0.1", server.port) as udp:
        udp.verified(identity.public, "rfc")  # the first goes on
    second.stop(status=1)


def test_t_beside_a_running_daemon(server):
    """-t binds: with the port taken it must say so, not wave it through."""
    p = harness.run("roughtimed", "-t", "-c", server.config_path, check=False)
    refused(p, str(server.port), holder(server))


def test_address_of_another_host(world):
    world.config["listen"][0]["address"] = "192.0.2.77"
    refused(world.test(), r"192\.0\.2\.77")


def test_unknown_user(world):
    world.config["user"] = "no-such-user"
    if os.geteuid() == 0:
        refused(world.test(), "no-such-user")
    else:
        assert world.test().returncode == 0


@pytest.mark.parametrize("argv", [["--frobnicate"], ["-c"], [],
                                  ["-l", "nonsense"], ["extra"]])
def test_usage_errors(argv):
    p = harness.run("roughtimed", *argv, check=False)
    assert p.returncode == 1 and p.stderr.strip()


@pytest.mark.parametrize("program", ["roughtimed", "roughtime",
                                     "roughtime-keys"])
def test_help_and_version(program):
    for flag in ("--help", "--version"):
        p = harness.run(program, flag)
        assert program in p.stdout and not p.stderr


def test_several_addresses_without_a_config(tmp_path, identity):
    ports = [harness.free_port(), harness.free_port(socket.AF_INET6)]
    argv = ["-k", identity.path, "-l", f"127.0.0.1:{ports[0]}", "-l",
            f"[::1]:{ports[1]}"]
    p = harness.run("roughtimed", "-t", *argv, check=False)
    assert p.returncode == 0, p.stderr
    with harness.Roughtimed(tmp_path, argv=argv):
        for host, port in zip(("127.0.0.1", "::1"), ports):
            with harness.Udp(host, port) as udp:
                udp.verified(identity.public, "rfc")


def test_log_does_not_grow_with_packets(server, identity):
    size = len(server.log())
    with harness.Udp("127.0.0.1", server.port) as udp:
        for _ in range(200):
            udp.send(oracle.request("rfc", srv_value=bytes(32)))
        udp.verified(identity.public, "rfc")
    assert len(server.log()) == size


def test_sigterm_during_start(world, tmp_path):
    """At whatever moment it comes, the end is clean."""
    for delay in (0.0, 0.002, 0.005, 0.01, 0.02, 0.05):
        daemon = harness.Roughtimed(tmp_path, world.config)
        daemon.start(wait=False)
        signal.pthread_sigmask(signal.SIG_BLOCK, [])
        __import__("time").sleep(delay)
        daemon.child.send_signal(signal.SIGTERM)
        assert daemon.child.wait(harness.PATIENCE_S) in (0, -15)
