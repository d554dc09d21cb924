"""portshare repair: an unmodified server lets a newcomer in, once."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys

import harness
import pytest
from watchharness import ADDR, NAMES, PORT, TCP, UDP, bound

FLAGS = {UDP: ADDR, TCP: PORT}
KINDS = pytest.mark.parametrize("kind", [UDP, TCP], ids=NAMES.get)


def joined(kind, port, address="127.0.0.1"):
    """The socket of a newcomer that has the flag."""
    return bound(kind, address, port, FLAGS[kind])


def carried(kind, port):
    """Which of the flags the sockets of the port carry, as root sees them."""
    told = json.loads(harness.run(
        "portshare", "who", NAMES[kind], f"127.0.0.9:{port}", "--json",
        check=False).stdout)
    return [s[FLAGS[kind] == ADDR and "reuseaddr"
              or "reuseport"] for s in told["receivers"] + told["others"]]


@pytest.fixture
def repair():
    """repair(kind, port, option…) -> a Repair; none outlives the test."""
    made = []

    def start(*argv, **more):
        made.append(Repair(*argv, **more))
        return made[-1]
    yield start
    for r in made:
        if r.child.poll() is None:
            r.child.terminate()
            r.end()


class Repair:
    """A repair under way: its port is open when this is made."""

    def __init__(self, kind, port, *argv, address="127.0.0.1"):
        self.child = subprocess.Popen(
            [harness.BUILD / "portshare", "repair", NAMES[kind], "--for",
             f"{address}:{port}", "--window", "60s", *argv],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        # the line of the newcomer's duties comes when the flag is set
        self.told = ""
        while "newcomer:" not in self.told:
            line = self.child.stdout.readline()
            assert line, self.told + self.child.stderr.read()
            self.told += line

    def end(self):
        out, err = self.child.communicate(timeout=harness.PATIENCE_S)
        self.told += out
        return self.child.returncode, self.told, err


@pytest.fixture
def holder(as_root):
    """holder(kind) -> the port of a process that knows nothing of all this."""
    made = []

    def make(kind, uid=0, port=None):
        port = port or harness.free_port()
        child = subprocess.Popen(
            [sys.executable, "-c",
             "import os, socket, sys\n"
             f"os.setuid({uid})\n"
             f"s = socket.socket(socket.AF_INET, {int(kind)})\n"
             f"s.bind(('0.0.0.0', {port}))\n"
             f"if {kind == TCP}: s.listen()\n"
             "print('bound', flush=True)\n"
             "sys.stdin.read()\n"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        made.append(child)
        assert child.stdout.readline() == "bound\n"
        return port
    yield make
    for child in made:
        child.communicate(timeout=harness.PATIENCE_S)


@KINDS
def test_one_newcomer_gets_in_and_the_port_is_closed(holder, repair, kind):
    port = holder(kind)
    with pytest.raises(OSError, match="in use"):
        joined(kind, port)
    r = repair(kind, port)
    with joined(kind, port) as newcomer:
        status, told, err = r.end()
        assert status == 0, told + err
        assert "bound, and closed after" in told
        assert f"pid {os.getpid()}" in told
        flags = carried(kind, port)
        assert sorted(flags) == [False, True]  # the newcomer's own
        assert "beware:" in told
        assert ("TCP remembers" in told) == (kind == TCP)
        assert newcomer.getsockname() == ("127.0.0.1", port)
        if kind == UDP:  # the holder is in the way again
            with pytest.raises(OSError, match="in use"):
                joined(kind, port, "127.0.0.2")


def test_both_closes_the_newcomers_socket_too(holder, repair):
    port = holder(UDP)
    r = repair(UDP, port, "--both")
    with joined(UDP, port):
        status, told, _ = r.end()
        assert status == 0 and "SO_REUSEADDR cleared too" in told
        assert carried(UDP, port) == [False, False]


@KINDS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT,
                                    signal.SIGKILL])
def test_it_undoes_itself_when_it_is_killed(holder, repair, kind, number):
    port = holder(kind)
    r = repair(kind, port)
    assert carried(kind, port) == [True]
    r.child.send_signal(number)
    status, _, err = r.end()
    harness.until(lambda: carried(kind, port) == [False], "closed")
    if number == signal.SIGKILL:
        assert status == -number and "killed with the port open" in err
    else:
        assert status == 2 and "told to stop" in r.told
    with pytest.raises(OSError, match="in use"):
        joined(kind, port)


@KINDS
def test_nobody_comes(holder, kind):
    port = holder(kind)
    p = harness.run("portshare", "repair", NAMES[kind], "--for",
                    f"127.0.0.1:{port}", "--window", "20ms", "--json",
                    check=False)
    (told,) = json.loads(p.stdout)
    assert p.returncode == 2 and told["end"] == "expired"
    assert told["holders"][0]["address"] == f"0.0.0.0:{port}"
    assert carried(kind, port) == [False]


def test_a_dry_run_touches_nothing(holder):
    port = holder(UDP)
    p = harness.run("portshare", "repair", "-n", "--for", f"127.0.0.1:{port}")
    assert "SO_REUSEADDR would be set" in p.stdout
    assert f"tcp 127.0.0.1:{port}: nobody is in the way" in p.stdout
    assert p.stdout.count("newcomer:") == 1  # of UDP: TCP needs nothing
    assert carried(UDP, port) == [False]


def test_other_sockets_are_not_touched(holder, repair):
    """The same process and port, another address."""
    port = harness.free_port()
    with bound(UDP, "127.0.0.1", port), \
            bound(UDP, "127.0.0.2", port):
        r = repair(UDP, port)
        told = json.loads(harness.run(
            "portshare", "who", "udp", f"127.0.0.1:{port}", "--json").stdout)
        (mine,), (other,) = told["receivers"], told["others"]
        assert mine["reuseaddr"] and not other["reuseaddr"]
        r.child.terminate()
        r.end()


def test_without_root_it_refuses(holder):
    port = holder(UDP)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    p = subprocess.run(
        [*nobody, harness.BUILD / "portshare", "repair", "udp", "--for",
         f"127.0.0.1:{port}"], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, timeout=60)
    assert p.returncode == 1
    assert "run this as root" in p.stdout
    assert carried(UDP, port) == [False]


def test_a_group_of_another_user_is_not_joined(holder, repair):
    port = holder(TCP, uid=65534)
    p = harness.run("portshare", "repair", "tcp", "--for",
                    f"127.0.0.1:{port}", "--uid", "root", check=False)
    assert p.returncode == 2 and "another user" in p.stdout
    r = repair(TCP, port)  # as whom, is told
    assert "a socket that uid 65534 created" in r.told
    r.child.terminate()
    r.end()
    assert carried(TCP, port) == [False]


def test_what_helps_by_half_is_not_begun(holder):
    """A newcomer that needs both protocols is not started for one."""
    port = holder(UDP)
    holder(TCP, uid=65534, port=port)
    p = harness.run("portshare", "repair", "--for", f"127.0.0.1:{port}", "--",
                    "echo", "started", check=False)
    assert p.returncode == 2 and not p.stdout
    assert "SO_REUSEADDR would be set" in p.stderr
    assert "nothing was changed, and echo was not started\n" in p.stderr
    assert carried(UDP, port) == [False]


NEWCOMER = """
import socket, sys
kind, flag, port, status = map(int, sys.argv[1:])
s = socket.socket(socket.AF_INET, kind)
s.setsockopt(socket.SOL_SOCKET, flag, 1)
if status == 0:
    s.bind(("127.0.0.1", port))
    if kind == socket.SOCK_STREAM: s.listen()
    sys.stdin.read()
sys.exit(status)
"""


@KINDS
def test_a_command_is_started_into_the_open_port(holder, kind):
    """It is the very process, and its status the status."""
    port = holder(kind)

    def start(status):
        return subprocess.Popen(
            [harness.BUILD / "portshare", "repair", NAMES[kind], "--for",
             f"127.0.0.1:{port}", "--window", "60s", "--", sys.executable,
             "-c", NEWCOMER, str(int(kind)), str(FLAGS[kind]), str(port),
             str(status)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
    p = start(3)
    out, err = p.communicate(timeout=harness.PATIENCE_S)
    assert p.returncode == 3 and not out
    assert "the command ended" in err
    assert carried(kind, port) == [False]
    p = start(0)
    harness.until(lambda: sorted(carried(kind, port)) == [False, True],
                  "bound, and closed")
    children = f"/proc/{p.pid}/task/{p.pid}/children"
    with contextlib.suppress(FileNotFoundError), open(children) as f:
        assert f.read() == ""
    _, err = p.communicate(timeout=harness.PATIENCE_S)
    assert p.returncode == 0 and f"newcomer: pid {p.pid}" in err
    p = harness.run("portshare", "repair", "--for", f"127.0.0.1:{port}", "--",
                    "/nowhere/x", check=False)
    assert p.returncode == 1 and "/nowhere/x" in p.stderr


@pytest.mark.parametrize("argv,word", [
    (["repair"], "--for"),
    (["repair", "sctp", "--for", "127.0.0.1:1"], "neither udp nor tcp"),
    (["repair", "udp", "--for", "127.0.0.1"], "127.0.0.1"),
    (["repair", "udp", "--for", "127.0.0.1:0"], "port 0"),
    (["repair", "udp", "cmd", "--for", "127.0.0.1:1"], "after --: cmd"),
    (["repair", "udp", "--for", "127.0.0.1:1", "--"], "no command"),
    (["repair", "udp", "--for", "127.0.0.1:1", "--window", "0s"], "--window"),
    (["repair", "udp", "--for", "127.0.0.1:1", "--window", "2h"], "--window"),
    (["repair", "udp", "--for", "127.0.0.1:1", "--uid", "no one"], "no one"),
])
def test_usage_errors(argv, word):
    p = harness.run("portshare", *argv, check=False)
    assert p.returncode == 1 and word in p.stderr and not p.stdout


# on servers of Debian, as they are

def wait_for(kind, port, pid):
    """Until that process holds the port."""
    def there():
        p = harness.run("portshare", "who", NAMES[kind], f"127.0.0.9:{port}",
                        "--json", check=False)
        told = json.loads(p.stdout)
        return any(s.get("pid") == pid
                   for s in told["receivers"] + told["others"])
    harness.until(there, f"pid {pid} at {port}")


@pytest.fixture
def running():
    made = []

    def start(*argv):
        made.append(subprocess.Popen(
            list(map(str, argv)), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return made[-1]
    yield start
    for child in made:
        child.terminate()
        child.communicate(timeout=harness.PATIENCE_S)


def dnsmasq(port, answer):
    return ["dnsmasq", "-k", "-C", "/dev/null", f"--port={port}",
            "--no-resolv", "--no-hosts", "--pid-file=", "--user=root",
            f"--address=/here.test/{answer}", "--listen-address=127.0.0.1",
            "--bind-interfaces"]


def dig(port, host, *more):
    return subprocess.run(
        ["dig", f"@{host}", "-p", str(port), "here.test", "+short",
         "+timeout=10", *more], text=True, check=True, timeout=60,
        stdout=subprocess.PIPE).stdout.strip()


def test_dnsmasq_beside_a_socat(holder, running):
    """Neither was made for it: a log on all addresses, DNS on one."""
    port = harness.free_port()
    log = running("socat", "-u", f"UDP-RECV:{port}", "STDOUT")
    wait_for(UDP, port, log.pid)
    dns = running(harness.BUILD / "portshare", "repair", "udp", "--for",
                  f"127.0.0.1:{port}", "--window", "60s", "--",
                  *dnsmasq(port, "192.0.2.8"))
    wait_for(UDP, port, dns.pid)
    assert dig(port, "127.0.0.1") == "192.0.2.8"
    with socket.socket(socket.AF_INET, UDP) as client:
        client.sendto(b"to the log\n", ("127.0.0.2", port))
    assert log.stdout.readline() == "to the log\n"
    harness.until(lambda: sorted(carried(UDP, port)) == [False, True],
                  "closed")


def unbound(directory, port):
    path = directory / "unbound.conf"
    path.write_text(f"""
server:
  interface: 0.0.0.0
  port: {port}
  chroot: ""
  username: ""
  pidfile: ""
  directory: "{directory}"
  do-daemonize: no
  use-syslog: no
  so-reuseport: no
  local-zone: "here.test." static
  local-data: "here.test. A 192.0.2.7"
remote-control:
  control-enable: no
""")
    return ["unbound", "-d", "-c", path]


def test_another_dns_server_beside_unbound_over_tcp(
        holder, repair, running, tmp_path):
    """Both set SO_REUSEADDR, which for a TCP listener is not enough."""
    port = harness.free_port()
    first = running(*unbound(tmp_path, port))
    wait_for(TCP, port, first.pid)
    assert dig(port, "127.0.0.1", "+tcp") == "192.0.2.7"
    with pytest.raises(OSError, match="in use"):
        joined(TCP, port)
    r = repair(TCP, port)
    with joined(TCP, port) as newcomer:
        status, told, err = r.end()
        assert status == 0, told + err
        assert "(unbound)" in told
        with socket.create_connection(("127.0.0.1", port)):
            newcomer.accept()[0].close()
        assert dig(port, "127.0.0.2", "+tcp") == "192.0.2.7"
    assert dig(port, "127.0.0.1", "+tcp") == "192.0.2.7"
