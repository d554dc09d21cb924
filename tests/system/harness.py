"""Real daemons for the stories: starting, asking, counting, stopping.

Nothing here sleeps for a fixed time: everything polls with a generous limit.
"""
import base64
import collections
import concurrent.futures
import contextlib
import ctypes
import json
import os
import pathlib
import pwd
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time

import oracle

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build")).resolve()
PATIENCE_S = 30  # for anything that must happen; never waited out in full


def until(condition, what, timeout_s=PATIENCE_S):
    """Polls until `condition()` is true and returns what it gave."""
    end, pause = time.monotonic() + timeout_s, 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def free_port(family=socket.AF_INET):
    """A port free on UDP and TCP at every address of the family; below the
    range from which the kernel would give it to somebody's client."""
    anywhere = "::" if family == socket.AF_INET6 else "0.0.0.0"
    for _ in range(200):
        port = random.randrange(12000, 32000)
        with socket.socket(family, socket.SOCK_STREAM) as t, \
                socket.socket(family, socket.SOCK_DGRAM) as u, \
                contextlib.suppress(OSError):
            t.bind((anywhere, port))
            u.bind((anywhere, port))
            return port
    raise AssertionError("no free port")


def run(program, *argv, check=True, timeout_s=60, **more):
    """One of our programs, to its end."""
    p = subprocess.run([str(BUILD / program), *map(str, argv)],
                       stdin=more.pop("stdin", subprocess.DEVNULL)
                       if "input" not in more else None,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       text=True, timeout=timeout_s, **more)
    if check:
        assert p.returncode == 0, (p.args, p.returncode, p.stderr)
    return p


def sanitized(program):
    """Whether it keeps what is freed, and mlock(2) does nothing for it."""
    image = (BUILD / program).read_bytes()
    return b"__asan_init" in image or b"__tsan_init" in image


CLONE_NEWNET = 0x40000000
PR_SET_THP_DISABLE = 41
libc = ctypes.CDLL(None, use_errno=True)


def own_network():
    """From here on this thread, and what it starts, are in a network namespace
    of nobody else's, with a loopback interface (unshare(2))."""
    assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def small_pages():
    """From here on no program of ours is given huge pages, which Debian's
    kernel gives to whoever touches one byte: memory is counted (prctl(2)).
    Where that cannot be set there are none."""
    libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)


def inside(namespace, make):
    """What `make()` gives, made in that network namespace: its sockets, and
    those of threads that it starts, belong there."""
    def work():
        with open(f"/run/netns/{namespace}") as there:
            assert libc.setns(there.fileno(), CLONE_NEWNET) == 0, \
                os.strerror(ctypes.get_errno())
        return make()
    # a thread of its own: a namespace belongs to a thread
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


class Inmate:
    """A program of Python in a network namespace; lines of JSON in and out,
    of which the first says that it is ready."""

    def __init__(self, namespace, *argv):
        self.child = subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, *argv],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert json.loads(self.child.stdout.readline()) == "ready"

    def __call__(self, *command):
        self.child.stdin.write(json.dumps(command) + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait(PATIENCE_S)
        self.child.stdout.close()


class Identity:
    """A long-term key as roughtime-keys makes it."""

    def __init__(self, directory, name="main"):
        self.name, self.path = name, directory / f"{name}.key"
        run("roughtime-keys", "generate", "-o", self.path)
        text = run("roughtime-keys", "public", self.path).stdout.strip()
        self.public_text = text
        self.public = base64.b64decode(text)
        assert len(self.public) == 32
        self.srv = oracle.srv(self.public)

    def seed(self):
        line = re.search(r"^seed: (\S+)$", self.path.read_text(), re.M)
        return base64.b64decode(line[1])


daemons = []  # all that were made, so that none outlives the session


class Roughtimed:
    """The daemon under a configuration, stopped by its pid."""

    def __init__(self, directory, config=None, argv=None, prefix=(),
                 name="roughtimed", program=BUILD / "roughtimed", env=()):
        self.directory, self.prefix, self.name = directory, prefix, name
        self.program, self.env = program, {**os.environ, **dict(env)}
        self.config, self.argv = config, argv
        self.config_path = directory / f"{name}.yaml"
        self.log_path = directory / f"{name}.log"
        self.child = None
        self.begun = 0  # where the log of this start begins
        self.handed = ()  # descriptors that the child inherits
        daemons.append(self)

    meets = "socket"  # where it would find another daemon, if it were told

    def write_config(self, config):
        self.config = config
        alone = {self.meets: str(self.directory / f"{self.name}.alone")}
        config = {"sharing": alone, **config}
        # JSON is YAML, and needs no quoting rules.
        self.config_path.write_text(json.dumps(config, indent=1))

    def command(self):
        if self.argv is not None:
            return list(map(str, self.argv))
        return ["-c", str(self.config_path)]

    def start(self, wait=True):
        if self.config is not None:
            self.write_config(self.config)
        with open(self.log_path, "ab") as log:
            self.begun = self.mark()
            self.child = subprocess.Popen(
                [*self.prefix, str(self.program), *self.command()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.env, pass_fds=self.handed)
        if wait:
            self.wait_ready()
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self):
        return self.child.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def alive(self):
        return self.child.poll() is None

    def wait_ready(self):
        """Until its rights are dropped: the last step before serving."""
        def ready():
            assert self.alive(), f"ended at start:\n{self.log()}"
            return re.search(r"(?m), hash: ", self.log()[self.begun:])
        until(ready, "roughtimed is ready")

    def expect_log(self, pattern, since=0, timeout_s=PATIENCE_S):
        return until(lambda: re.search(pattern, self.log()[since:]),
                     f"log line {pattern!r} in:\n{self.log()}", timeout_s)

    def mark(self):
        """The place in the log from which expect_log may look."""
        return len(self.log())

    def kill(self, number):
        assert self.alive(), self.log()
        self.child.send_signal(number)

    def freeze(self):
        """Stops every thread, so that what comes from now on is queued."""
        self.kill(signal.SIGSTOP)
        tasks = pathlib.Path(f"/proc/{self.pid}/task")
        until(lambda: all(status_of(t.name)["State"][0] == "T"
                          for t in tasks.iterdir()), "every thread is stopped")

    def hup(self):
        since = self.mark()
        self.kill(signal.SIGHUP)
        return self.expect_log("(?i)reload", since)

    def counters(self):
        """What SIGUSR1 prints, as a Counter; waits for the last line."""
        since = self.mark()
        self.kill(signal.SIGUSR1)
        self.expect_log(r"(?m)\bkernel_drop_filter_estimated \d+$", since)
        return self.parse_counters(self.log()[since:])

    @staticmethod
    def parse_counters(text):
        return collections.Counter(
            {k: int(v) for k, v in
             re.findall(r"(?m)^(?:[^ ]+: )*(\w+) (\d+)$", text)})

    def stop(self, number=signal.SIGTERM, status=0):
        """Ends it; any other end than a clean one fails the test."""
        if self.child is None:
            return None
        child, self.child = self.child, None
        if child.poll() is None:
            child.send_signal(number)
        try:
            rc = child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise AssertionError(f"does not stop:\n{self.log()}") from None
        log = self.log()
        assert "Sanitizer" not in log and "runtime error" not in log, log
        assert rc == status, f"exit {rc}, not {status}:\n{log}"
        return log


def diff(before, after):
    """The counters that moved, by how much."""
    return {k: after[k] - before[k] for k in after if after[k] != before[k]}


class Udp:
    """A client socket towards one server."""

    def __init__(self, host, port, source=None, family=None):
        family = family or (socket.AF_INET6 if ":" in host
                            else socket.AF_INET)
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        if source:
            self.socket.bind((source, 0))
        # Connected: a reply from another address than asked is not seen.
        self.socket.connect((host, port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, packet):
        self.socket.send(packet)

    def receive(self, timeout_s=PATIENCE_S):
        """The next datagram, or None."""
        ready, _, _ = select.select([self.socket], [], [], timeout_s)
        return self.socket.recv(65536) if ready else None

    def ask(self, packet, timeout_s=PATIENCE_S):
        self.send(packet)
        reply = self.receive(timeout_s)
        assert reply is not None, "no reply"
        return reply

    def verified(self, public, *versions, **more):
        """Asks in these versions, verifies, returns oracle.Reply."""
        packet = oracle.request(*(versions or ("rfc",)), **more)
        return checked(packet, self.ask(packet), public)


class Tcp:
    """A client connection; frames in, frames out."""

    def __init__(self, host, port, rcvbuf=None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if rcvbuf:  # before connect: it is negotiated with the window
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                   rcvbuf)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def finish(self):
        self.socket.shutdown(socket.SHUT_WR)

    def receive(self):
        """The next whole frame, or None at the end of the stream."""
        while True:
            if len(self.buffer) >= 12:
                assert self.buffer[:8] == oracle.MAGIC
                n = 12 + struct.unpack_from("<I", self.buffer, 8)[0]
                assert n <= 4096, "an absurd length"
                if len(self.buffer) >= n:
                    packet = self.buffer[:n]
                    self.buffer = self.buffer[n:]
                    return packet
            try:
                more = self.socket.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                assert not self.buffer, "the stream ends inside a frame"
                return None
            self.buffer += more

    def ask(self, packet):
        self.send(packet)
        reply = self.receive()
        assert reply is not None, "closed without a reply"
        return reply

    def verified(self, public, *versions, **more):
        packet = oracle.request(*(versions or ("rfc",)), **more)
        return checked(packet, self.ask(packet), public)

    def closed(self):
        """True when the server closes without another byte."""
        return self.receive() is None


def checked(request, packet, public):
    """Verifies as the oracle does, plus what only our own server promises."""
    reply = oracle.verify(request, packet, public)
    assert len(packet) <= len(request), "longer than its request"
    assert len(packet) <= 1024
    assert reply.mint_us < reply.midpoint_us < reply.maxt_us
    away = abs(reply.midpoint_us - oracle.now_us())
    # The clock of the daemon is ours: only truncation and delay differ.
    assert away < 10**6 + PATIENCE_S * 10**6, f"{away} us off"
    assert reply.radius_us >= 3 * 10**6
    return reply


class FakeClock:
    """The clock of a daemon that was started with `fake=` this one."""

    OK, INS, DEL, OOP, WAIT, ERROR = range(6)  # adjtimex(2)
    UNSYNC = 0x40
    LAYOUT = "<iiqq"  # struct fake of fakeclock.c

    def __init__(self, directory, library):
        self.path, self.library = directory / "clock", library
        self.path.write_bytes(bytes(struct.calcsize(self.LAYOUT)))
        self.set()

    def set(self, state=0, status=0, maxerror_us=1000, offset_us=0):
        self.offset_us = offset_us
        with open(self.path, "r+b", 0) as f:
            f.write(struct.pack(self.LAYOUT, state, status, maxerror_us,
                                offset_us))

    def now_us(self):
        return oracle.now_us() + self.offset_us

    def env(self):
        asan = os.environ.get("ASAN_OPTIONS", "")
        return {"LD_PRELOAD": str(self.library),
                "FAKE_CLOCK": str(self.path),
                "ASAN_OPTIONS": f"{asan}:verify_asan_link_order=0"}

    @staticmethod
    def build(directory):
        library = directory / "fakeclock.so"
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC",
                        "-D_GNU_SOURCE", "-o", library,
                        pathlib.Path(__file__).parent / "fakeclock.c",
                        "-ldl"], check=True)
        return library


def nonce_of(packet):
    return oracle.decode(oracle.unframe(packet)[1])[b"NONC"]


def base_config(port, identities, address="127.0.0.1", **more):
    """The least that starts; tests add and replace keys.

    A test machine's clock is usually unsynchronised: serve all the same.
    """
    config = {
        "listen": [{"address": address, "port": port,
                    "transports": ["udp", "tcp"]}],
        "identities": [{"name": i.name, "key": str(i.path)}
                       for i in identities],
        "clock": {"when_unsynchronised": "serve"},
    }
    config.update(more)
    return config


# -- delegation bundles, made here byte by byte ------------------------------

CERT_KINDS = {"rfc": "rfc", "draft12": "draft-14", "draft08": "draft-08",
              "draft07": "draft-07", "draft01": "draft-01",
              "google": "google"}


def bundle_text(root_key, online_key, mint_s, maxt_s, leave_out=()):
    """The text format of roughtime-keys delegate, keys are SigningKeys."""
    def b64(data):
        return base64.b64encode(bytes(data)).decode()
    lines = ["timeshare-delegation 1",
             f"public: {b64(root_key.verify_key)}",
             f"seed: {b64(online_key)}",
             f"not-before: {mint_s}", f"not-after: {maxt_s}"]
    for kind, name in CERT_KINDS.items():
        v = oracle.BY_NAME[name]
        cert = oracle.certificate(v, root_key, online_key,
                                  v.from_unix_us(mint_s * 10**6),
                                  v.from_unix_us(maxt_s * 10**6))
        if kind not in leave_out:
            lines.append(f"cert-{kind}: {b64(cert)}")
    return "\n".join(lines) + "\n"


def write_secret(path, text):
    path.touch(0o600)
    path.write_text(text)
    give(path)
    return path


def give(path):
    """To the user whom a daemon started by root becomes."""
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(path, nobody.pw_uid, nobody.pw_gid)


def new_directory(factory, name):
    """Like mktemp, but the unprivileged daemon may come in, and reload."""
    made = d = factory.mktemp(name)
    while d != d.parent and d.stat().st_mode & 0o055 != 0o055:
        d.chmod(d.stat().st_mode | 0o055)
        d = d.parent
    return made


# -- /proc ---------------------------------------------------------------------

def status_of(pid):
    """/proc/PID/status as a dict."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def rss_kb(pid):
    """Resident memory by the page tables. VmRSS, which needs no rights, is
    late: before Linux 6.2 by 64 pages of each kind a thread."""
    try:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(re.search(r"(?m)^Rss: +(\d+) kB$", text)[1])
    except PermissionError:
        return int(status_of(pid)["VmRSS"].split()[0])


def children(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        found += (task / "children").read_text().split()
    return [int(p) for p in found]


def fds(pid):
    """{fd: target} of a process (root, or its owner)."""
    found = {}
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[int(fd.name)] = os.readlink(fd)
    return found
