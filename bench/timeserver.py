"""roughtimed, its peers and a bare echo under the load of `roughtime bench`."""
import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import bench
from bench import LOAD_CPU, REQUEST_LEN, SERVER_CPU, built

PEERS = os.environ.get("PEERS", "")
NUMBERS = {"1": 1, "draft-14": 0x8000000c}
BUFFER = 4194304  # what roughtimed asks for, unless told otherwise
VERIFY = "0.001"  # of the replies, in every load
TEST_SEED = "06e5e2dc28697bb363de00976af2d422819bc67832ad655ade96081ecc1bcdb5"
PIDFD_GETFD, SO_RCVBUFFORCE = 438, 33


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def request(version):
    """A padded request (RFC 10049 section 5.1) that offers one version."""
    number = struct.pack("<I", NUMBERS[version])
    fields = [(b"VER\0", number), (b"NONC", os.urandom(32)),
              (b"TYPE", bytes(4))]
    header = 8 * (len(fields) + 1)
    pad = REQUEST_LEN - 12 - header - sum(len(v) for _, v in fields)
    fields.append((b"ZZZZ", bytes(pad)))
    out, at = struct.pack("<I", len(fields)), 0
    for _, value in fields[:-1]:
        at += len(value)
        out += struct.pack("<I", at)
    out += b"".join(tag for tag, _ in fields) + b"".join(v for _, v in fields)
    return b"ROUGHTIM" + struct.pack("<I", len(out)) + out


def probe(port, version, seconds=10):
    """Bytes of a lone reply once the server answers, None when it does not."""
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        s.connect(("127.0.0.1", port))
        while time.monotonic() < end:
            try:
                s.send(request(version))
                return len(s.recv(65536))
            except OSError:
                time.sleep(0.05)
    return None


def give_buffers(pid):
    """
    The receive buffer of ours, for the UDP sockets of a program that has no
    setting for it (pidfd_getfd(2)). False without the right to.
    """
    call = ctypes.CDLL(None, use_errno=True).syscall
    pidfd = os.pidfd_open(pid)
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"):
                continue
            mine = call(PIDFD_GETFD, pidfd, int(fd), 0)
            if mine < 0:
                return False
            with socket.socket(fileno=mine) as s:
                if s.type == socket.SOCK_DGRAM:
                    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    except PermissionError:
        return False
    finally:
        os.close(pidfd)
    return True


class Server:
    """A server pinned to its core; `command` takes a port."""

    def __init__(self, name, command, version="1", cpus=SERVER_CPU,
                 buffers=False):
        self.name, self.command, self.version = name, command, version
        self.cpus, self.buffers = cpus, buffers
        self.turns, self.log = [], ""  # version None: an echo

    def start(self):
        self.port = free_port()
        self.err = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            ["taskset", "-c", str(self.cpus), *self.command(self.port)],
            stdin=subprocess.DEVNULL, stdout=self.err, stderr=self.err)
        self.reply_len = probe(self.port, self.version or "1")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.err.seek(0)
        self.log = self.err.read()
        self.err.close()

    def __enter__(self):
        for _ in range(3):  # somebody may have taken the port meanwhile
            self.start()
            if self.reply_len is not None:
                break
            self.stop()
        else:
            raise SystemExit(f"bench: {self.name} does not answer:\n{self.log}")
        if self.buffers and not give_buffers(self.process.pid):
            print(f"note: {self.name} keeps the kernel's buffer, which is for "
                  "root to change: it may lose requests", file=sys.stderr)
        return self

    def __exit__(self, *unused):
        self.stop()

    def turn(self, seconds, *options):
        """One run of the generator, and what the server spent on it."""
        before, start = (bench.thread_times(self.process.pid),
                         time.monotonic())
        result = load(self, seconds, *options)
        wall = time.monotonic() - start
        after = bench.thread_times(self.process.pid)
        ran = after[0] - before[0]
        return {
            "rate": result["rate_per_s"],
            "cpu_us": ran / result["received"] * 1e6,
            "busy": ran / wall,
            "waited": (after[1] - before[1]) / wall,
            "lost": result["lost"] / result["sent"],
            "held_back": result["held_back"] / result["sent"],
            "p50": result["latency_us"]["p50"],
            "p99": result["latency_us"]["p99"],
            "load_busy": result["cpu_share"],
        }


def load(server, seconds, *options):
    """The generator for some seconds; what it saw, as a dict."""
    command = ["taskset", "-c", str(LOAD_CPU), built("roughtime"), "bench",
               f"127.0.0.1:{server.port}", "--seconds", str(seconds),
               "--warmup", "0", "--lost-after", "0.5", "--verify", VERIFY,
               "--json", *options]
    command += (["--echo"] if server.version is None else
                ["--version", server.version])
    for _ in range(3):
        out = subprocess.run(command, capture_output=True, text=True,
                             timeout=seconds + 30)
        if out.returncode != 2:  # no reply at all: the machine was elsewhere
            break
        print(f"note: {server.name} answered nothing, once more",
              file=sys.stderr)
    if out.returncode != 0:
        raise SystemExit(f"bench: {' '.join(command)}: {out.stdout}{out.stderr}"
                         f"\n{server.name}: exit {out.returncode}")
    return json.loads(out.stdout)


def take_turns(servers, rounds, seconds, *options):
    """All up together; A B C A B C ... into server.turns."""
    with contextlib.ExitStack() as up:
        for s in servers:
            up.enter_context(s)
        for n in range(-1, rounds):
            for s in servers:
                if n < 0:  # caches, buffers
                    load(s, min(seconds, 0.5), *options)
                else:
                    s.turns.append(s.turn(seconds, *options))


def roughtimed(directory, name="roughtimed", workers=1, batch=256,
               cpus=SERVER_CPU):
    key = os.path.join(directory, "bench.key")
    if not os.path.exists(key):
        subprocess.run([built("roughtime-keys"), "generate", "-o", key],
                       check=True, stdout=subprocess.DEVNULL)

    def command(port):
        path = os.path.join(directory, f"{port}.yaml")
        with open(path, "w") as f:
            f.write(f"listen:\n  - {{address: 127.0.0.1, port: {port}, "
                    "transports: [udp]}\n"
                    f"identities:\n  - {{name: bench, key: {key}}}\n"
                    f"workers: {workers}\nbatch: {batch}\n"
                    "clock: {when_unsynchronised: serve}\n"
                    "sharing: {mode: off}\n")
        return [built("roughtimed"), "-c", path]

    return Server(name, command, cpus=cpus)


def echo(reply_len):
    return Server("udp echo", lambda port: [
        built("bench", "udp_echo"), "--reply", str(reply_len),
        f"127.0.0.1:{port}"], None)


def peer_path(end):
    for base, _, names in os.walk(PEERS) if PEERS else []:
        for name in names:
            path = os.path.join(base, name)
            if path.endswith("/" + end) and os.access(path, os.X_OK):
                return path
    return None


def peers(directory):
    """Servers of others found under PEERS, and the names of those absent."""
    seed = os.path.join(directory, "seed.hex")
    with open(os.open(seed, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
        f.write(TEST_SEED)  # the interop lists' public test key
    known = [
        ("roughenough", "roughenough_server", "1", lambda exe, port: [
            exe, "--seed-file", seed, "-i", "127.0.0.1", "-p", str(port),
            "-j", "1"]),
        ("tannerryan/roughtime", "tannerryan/bin/roughtime", "draft-14",
         lambda exe, port: [exe, "-root-key-file", seed, "-port", str(port),
                            "-grease-rate", "0"]),
    ]
    found, absent = [], []
    for name, end, version, command in known:
        exe = peer_path(end)
        if exe is None:
            absent.append(name)
            continue
        found.append(Server(
            name, lambda port, c=command, e=exe: c(e, port), version,
            buffers=True))
    return found, absent


def reply_len_under_load(server, *options):
    """
    Bytes of a reply in the batches that this load makes: the lone reply and
    32 for each level of a tree of the mean batch (from the counters that
    roughtimed prints as it ends); and the mean batch.
    """
    with server:
        load(server, 0.5, *options)
    count = dict(re.findall(r"(udp_received|udp_batches)\W+(\d+)", server.log))
    if len(count) != 2:
        raise SystemExit(f"bench: no counters from roughtimed:\n{server.log}")
    mean = int(count["udp_received"]) / int(count["udp_batches"])
    depth = max(0, (round(mean) - 1).bit_length())
    return server.reply_len + 32 * depth, mean
