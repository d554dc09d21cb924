"""Started by someone careless: closed descriptors, blocked signals."""
import os
import signal
import subprocess

import harness
import pytest


def spawn(daemon, preexec):
    daemon.write_config(daemon.config)
    daemon.child = subprocess.Popen(
        [harness.BUILD / "roughtimed", "-c", daemon.config_path],
        preexec_fn=preexec)
    return daemon


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_closed_descriptors_are_nobodys(tmp_path, identity, closed):
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
