"""Started by someone careless: closed descriptors, blocked signals."""
import json
import os
import re
import signal
import socket
import subprocess

import harness
import pytest
from proxyharness import L4proxyd


def spawn(daemon, preexec):
    daemon.write_config(daemon.config)
    daemon.child = subprocess.Popen(
        [daemon.program, "-c", daemon.config_path], preexec_fn=preexec)
    return daemon


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_closed_descriptors_are_nobodys(as_root, tmp_path, identity, closed):
    """No socket takes the number of stderr, where the log is written."""
    port = harness.free_port()
    daemon = harness.Roughtimed(tmp_path, harness.base_config(port,
                                                              [identity]))

    def close():
        log = os.open(daemon.log_path, os.O_WRONLY | os.O_CREAT, 0o644)
        for fd in range(3):
            os.close(fd) if fd in closed else os.dup2(log, fd)
    spawn(daemon, close)

    def asked():
        with harness.Udp("127.0.0.1", port) as udp:
            try:
                udp.send(harness.oracle.request("rfc"))
                return udp.receive(0.2) is not None
            except ConnectionRefusedError:
                return False
    harness.until(asked, "it serves")
    for pid in (daemon.pid, *harness.children(daemon.pid)):
        found = harness.fds(pid)
        for fd in closed:
            assert found[fd] == "/dev/null"
        assert "socket:" not in "".join(found[fd] for fd in range(3))
    with harness.Udp("127.0.0.1", port) as udp:
        daemon.kill(signal.SIGHUP)
        daemon.kill(signal.SIGUSR1)
        udp.verified(identity.public, "rfc")
    assert "keyholder is gone" not in (daemon.stop() or "")


def test_blocked_and_ignored_signals_are_heard(tmp_path, identity):
    daemon = harness.Roughtimed(
        tmp_path, harness.base_config(harness.free_port(), [identity]))

    def block():
        log = os.open(daemon.log_path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.dup2(log, 2)
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
    spawn(daemon, block).wait_ready()
    daemon.hup()
    daemon.counters()
    daemon.stop()


@pytest.mark.parametrize("address", ["224.0.0.1:2002", "255.255.255.255:2002",
                                     "[ff02::1]:2002", "127.0.0.1:0",
                                     "[::ffff:127.0.0.1]:2002"])
def test_addresses_that_no_reply_can_come_from(identity, tmp_path, address):
    p = harness.run("roughtimed", "-t", "-k", identity.path, "-l", address,
                    check=False)
    assert p.returncode == 1
    assert f"-l {address}: expected" in p.stderr
    host, port = address.rsplit(":", 1)
    config = harness.base_config(int(port), [identity], host.strip("[]"))
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    p = harness.run("roughtimed", "-t", "-c", tmp_path / "c.yaml",
                    check=False)
    assert p.returncode == 1 and re.search(r"c\.yaml:\d+:\d+: listen", p.stderr)


def test_ipv6_wildcard_leaves_only_what_another_takes(tmp_path, identity):
    """0.0.0.0 for TCP alone: `::` still takes IPv4 along for UDP."""
    port = harness.free_port(socket.AF_INET6)
    config = harness.base_config(port, [identity], listen=[
        {"address": "::", "port": port},
        {"address": "0.0.0.0", "port": port, "transports": ["tcp"]}])
    with harness.Roughtimed(tmp_path, config):
        for host in ("127.0.0.1", "::1"):
            with harness.Udp(host, port) as udp:
                udp.verified(identity.public, "rfc")
            with harness.Tcp(host, port) as tcp:
                tcp.verified(identity.public, "rfc")


def test_keys_that_cannot_be_locked_are_told(identity):
    """RLIMIT_MEMLOCK of 0 and no CAP_IPC_LOCK: it runs, and says it."""
    prefix = ["prlimit", "--memlock=0:0"]
    if os.geteuid() == 0:
        prefix = ["setpriv", "--bounding-set=-ipc_lock", *prefix]
    p = subprocess.run([*prefix, harness.BUILD / "roughtimed", "-t", "-k",
                        identity.path, "-l",
                        f"127.0.0.1:{harness.free_port()}"], text=True,
                       stderr=subprocess.PIPE, timeout=harness.PATIENCE_S)
    assert p.returncode == 0, p.stderr
    assert ("cannot be locked" in p.stderr) != harness.sanitized(
        "roughtimed"), p.stderr


def test_the_proxy_started_by_the_same(tmp_path):
    """Closed descriptors and blocked signals: no socket is the log of it."""
    daemon = L4proxyd(tmp_path, [{
        "name": "a", "protocol": f"tcp/{harness.free_port()}",
        "edge_ips": ["127.0.0.1"], "origin_direct": ["tcp://127.0.0.1:9"]}])

    def careless():
        for fd in range(3):
            os.close(fd)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
    spawn(daemon, careless)
    listening = harness.until(
        lambda: [fd for fd, to in harness.fds(daemon.pid).items()
                 if to.startswith("socket:")], "it listens")
    assert min(listening) > 2
    assert [harness.fds(daemon.pid)[fd] for fd in range(3)] == \
        ["/dev/null"] * 3
    # until it listens to signals, they are blocked, and wait
    daemon.child.send_signal(signal.SIGTERM)
    assert daemon.child.wait(harness.PATIENCE_S) == 0
    daemon.child = None
