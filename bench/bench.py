#!/usr/bin/env python3
"""Numbers, each beside its baseline, written to bench/results.md.

    make bench [PEERS=DIR], or bench/bench.py [options] with BUILD=DIR

1. The leaf hash beside libsodium, OpenSSL and libipsec-mb.
2. The pure core, without a socket.
3. roughtimed with one worker beside a plain recvmmsg/sendmmsg echo of the same
   sizes: same core, same load generator, taking turns A B A B ... A server
   found under PEERS takes its turn too.

Two figures are given for a server: the rate that the generator saw, and the
CPU time that the server spent on a request. When the generator is the slower
of the two (the server's core was not busy), only the second one means much.
"""
import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("BUILD", os.path.join(HERE, "..", "build"))
PEERS = os.environ.get("PEERS", "")
REQUEST_LEN = 1036
NUMBERS = {"1": 1, "draft-14": 0x8000000c}
SERVER_CPU, LOAD_CPU = 0, 1
PEER_WINDOW = 5  # their sockets have the kernel's default buffer: 92 datagrams
TEST_SEED = "06e5e2dc28697bb363de00976af2d422819bc67832ad655ade96081ecc1bcdb5"


def built(*path):
    return os.path.join(BUILD, *path)


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


def thread_times(pid):
    """(on a CPU, waiting for one) in seconds, of all threads and children."""
    ran = waited = 0
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/schedstat") as f:
                a, b, _ = f.read().split()
            with open(f"/proc/{pid}/task/{tid}/children") as f:
                kids = f.read().split()
            ran, waited = ran + int(a) / 1e9, waited + int(b) / 1e9
            for kid in kids:
                x, y = thread_times(int(kid))
                ran, waited = ran + x, waited + y
    except FileNotFoundError:
        pass  # a thread that ended meanwhile
    return ran, waited


class Server:
    """A server pinned to its core; `command` takes a port."""

    def __init__(self, name, command, version="1", window=None):
        self.name, self.command, self.version = name, command, version
        self.window = window  # None: that of the command line
        self.turns, self.log = [], ""  # version None: an echo

    def start(self):
        self.port = free_port()
        self.err = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CPU), *self.command(self.port)],
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
                return self
            self.stop()
        raise SystemExit(f"bench: {self.name} does not answer:\n{self.log}")

    def __exit__(self, *unused):
        self.stop()

    def turn(self, args):
        """One run of the generator; remembers the figures."""
        with self:
            load(self, args, args.warmup)
            before, start = thread_times(self.process.pid), time.monotonic()
            result = load(self, args, args.seconds)
            wall = time.monotonic() - start
            after = thread_times(self.process.pid)
        ran = after[0] - before[0]
        self.turns.append({
            "rate": result["rate_per_s"],
            "cpu_us": ran / result["received"] * 1e6,
            "busy": ran / wall,
            "waited": (after[1] - before[1]) / wall,
            "lost": result["lost"] / result["sent"],
            "p50": result["latency_us"]["p50"],
            "p99": result["latency_us"]["p99"],
            "load_busy": result["cpu_share"],
        })


def load(server, args, seconds):
    """The generator for some seconds; what it saw, as a dict."""
    command = ["taskset", "-c", str(LOAD_CPU), built("roughtime"), "bench",
               f"127.0.0.1:{server.port}", "--seconds", str(seconds),
               "--warmup", "0", "--window", str(server.window or args.window),
               "--flows", str(args.flows), "--lost-after", "0.5", "--json"]
    if server.version is None:
        command += ["--echo"]
    else:
        command += ["--version", server.version, "--verify", "0.001"]
    for _ in range(2):
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


def roughtimed(directory):
    key = os.path.join(directory, "bench.key")
    subprocess.run([built("roughtime-keys"), "generate", "-o", key], check=True,
                   stdout=subprocess.DEVNULL)

    def command(port):
        path = os.path.join(directory, f"{port}.yaml")
        with open(path, "w") as f:
            f.write(f"listen:\n  - {{address: 127.0.0.1, port: {port}, "
                    "transports: [udp]}\n"
                    f"identities:\n  - {{name: bench, key: {key}}}\n"
                    "workers: 1\n"
                    "clock: {when_unsynchronised: serve}\n"
                    "sharing: {mode: off}\n")
        return [built("roughtimed"), "-c", path]

    return Server("roughtimed", command)


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
            name, lambda port, c=command, e=exe: c(e, port), version, PEER_WINDOW))
    return found, absent


def reply_len_under_load(server, args):
    """
    Bytes of a reply in the batches that this load makes: the lone reply and
    32 for each level of a tree of the mean batch (from the counters that
    roughtimed prints as it ends).
    """
    with server:
        load(server, args, args.warmup)
    count = dict(re.findall(r"(udp_received|udp_batches)\W+(\d+)", server.log))
    if len(count) != 2:
        raise SystemExit(f"bench: no counters from roughtimed:\n{server.log}")
    mean = int(count["udp_received"]) / int(count["udp_batches"])
    depth = max(0, (round(mean) - 1).bit_length())
    return server.reply_len + 32 * depth, mean


def spread(values, digits):
    values = sorted(values)
    return (f"{statistics.median(values):.{digits}f} "
            f"({values[0]:.{digits}f}-{values[-1]:.{digits}f})")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows]) + "\n"


def program_json(*command):
    out = subprocess.run(["taskset", "-c", str(SERVER_CPU), *command],
                         check=True, capture_output=True, text=True)
    return json.loads(out.stdout)


def hash_section(args):
    rows = program_json(built("bench", "hash"), "--json", "--rounds",
                        str(args.hash_rounds))

    def cell(v):
        return f"{v[2]:.3f} ({v[0]:.3f}, {v[1]:.3f}-{v[3]:.3f})"
    return ("## Leaf and node hash\n\nCPU time in us: median (fastest turn, "
            "quartiles). A leaf is the prefix byte and a 1036-byte request, a "
            f"node 65 bytes; {args.hash_rounds} turns each, in rotation.\n\n" +
            table(["", "us a leaf", "us a node"],
                  [[r["name"], cell(r["leaf_us"]), cell(r["node_us"])]
                   for r in rows]))


def core_section(args):
    rows = program_json(built("bench", "core"), "--json", "--rounds",
                        str(args.hash_rounds))
    return ("## Pure core\n\nCPU time in us a request, version 1: median "
            "(fastest turn, quartiles).\n\n" +
            table(["", "batch", "us a request"],
                  [[r["what"], str(r["batch"]),
                    "{2:.3f} ({0:.3f}, {1:.3f}-{3:.3f})".format(*r["us"])]
                   for r in rows]))


def ratio_lines(ours, base):
    rate = [a["rate"] / b["rate"] for a, b in zip(ours.turns, base.turns)]
    cpu = [b["cpu_us"] / a["cpu_us"] for a, b in zip(ours.turns, base.turns)]
    return (f"- rate, {ours.name} / {base.name}: {spread(rate, 2)}\n"
            f"- CPU time a request, {base.name} / {ours.name}: "
            f"{spread(cpu, 2)}\n")


def server_section(args, directory):
    ours = roughtimed(directory)
    reply, mean = reply_len_under_load(ours, args)
    base = echo(reply)
    others, absent = peers(directory)
    servers = [ours, base, *others]
    for _ in range(args.rounds):
        for server in servers:
            server.turn(args)
    text = (f"## One worker beside an echo\n\n{REQUEST_LEN} bytes in, {reply} "
            f"out (batches of {mean:.0f} on average); {args.flows} flows of "
            f"{args.window} outstanding (peers: {PEER_WINDOW}); server on CPU {SERVER_CPU}, generator "
            f"on CPU {LOAD_CPU}; {args.rounds} rounds of {args.seconds} s, "
            "taking turns. Median (lowest-highest). A server that was on its core "
            "or waiting for it all the time was the slower side, not the "
            "generator.\n\n")
    rows = []
    for s in servers:
        def column(name, digits, scale=1, turns=s.turns):
            return spread([scale * t[name] for t in turns], digits)
        rows.append([s.name, column("rate", 0), column("cpu_us", 2),
                     column("busy", 0, 100), column("waited", 0, 100),
                     column("load_busy", 0, 100), column("lost", 2, 100),
                     column("p50", 0), column("p99", 0)])
    text += table(["", "replies/s", "server CPU, us a request",
                   "server on its core, %", "waiting for it, %",
                   "generator on its core, %", "lost, %", "p50, us",
                   "p99, us"], rows)
    text += "\nPaired by round:\n\n" + ratio_lines(ours, base)
    for other in others:
        text += ratio_lines(ours, other)
    for name in absent:
        text += (f"- {name}: absent "
                 f"({'not under PEERS' if PEERS else 'PEERS is not set'})\n")
    return text


def machine_lines():
    model = re.search(r"model name\s*:\s*(.*)", open("/proc/cpuinfo").read())
    commit = subprocess.run(["git", "-C", HERE, "rev-parse", "--short", "HEAD"],
                            capture_output=True, text=True).stdout.strip()
    return [f"- when: {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, "
            f"commit {commit}",
            f"- machine: {model.group(1) if model else 'unknown'}, "
            f"{os.cpu_count()} CPUs; kernel {platform.release()}",
            f"- load average before: {os.getloadavg()[0]:.2f}"]


def machine(args):
    sizes = {k: v for k, v in vars(args).items() if k not in ("o", "only")}
    return "\n".join(["# Results of make bench\n", *machine_lines(), (
        f"- command: make bench{' PEERS=DIR' if PEERS else ''}"
        f" ({', '.join(f'{k} {v}' for k, v in sizes.items())})\n\n")])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--seconds", type=int, default=3)
    p.add_argument("--warmup", type=int, default=1)
    p.add_argument("--window", type=int, default=64)
    p.add_argument("--flows", type=int, default=16)
    p.add_argument("--hash-rounds", type=int, default=51)
    p.add_argument("--only", choices=["hash", "core", "server"])
    p.add_argument("-o", default=os.path.join(HERE, "results.md"))
    args = p.parse_args()
    if (os.cpu_count() or 1) < 2 or shutil.which("taskset") is None:
        raise SystemExit("bench: needs taskset and two CPUs")
    for name in ("roughtimed", "roughtime", "roughtime-keys"):
        if args.only in (None, "server") and not os.path.exists(built(name)):
            raise SystemExit(f"bench: {built(name)} is missing: run make")
    text = machine(args)
    if args.only in (None, "hash"):
        text += hash_section(args) + "\n"
    if args.only in (None, "core"):
        text += core_section(args) + "\n"
    if args.only in (None, "server"):
        with tempfile.TemporaryDirectory() as directory:
            text += server_section(args, directory)
    print(text)
    with open(args.o, "w") as f:
        f.write(text)


if __name__ == "__main__":
    main()
