#!/usr/bin/env python3
"""l4proxyd beside nginx stream and HAProxy, written to bench/proxy.md.

    make bench-proxy, or bench/proxy.py [options] with BUILD=DIR

Every proxy has one worker on a CPU of its own; the load generator and the
origin (bench/tcp_load, bench/udp_load, bench/tcp_origin, bench/udp_echo) share
the other one. All proxies of a row are up at the same time and take turns
A B C A B C ...; a ratio is of two turns of one round. CPU time is the kernel's
(/proc/PID/task/*/schedstat: to the nanosecond, softirq work in it).

The second half needs root: three network namespaces, client - proxy - origin.
There the CPU time of all who took part is counted (client, proxy, origin, the
kernel's softirq threads), and that of the same load without a proxy, over one
wire from client to origin, subtracted.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import bench
import proxy_peers
import proxy_world

EDGE_PORT, ORIGIN_PORT = 20000, 17001
START_PORTS = 10000
IDLE = 4000
DIRECT = "direct"
UDP_SIZES = ["--size", str(bench.REQUEST_LEN), "--reply", "420"]


def tcp(mode, connections):
    return "tcp", lambda to, source, seconds: [
        bench.built("bench", "tcp_load"), mode, to, str(connections),
        str(seconds)]


def udp(flows, *sizes, window=1):
    return "udp", lambda to, source, seconds: [
        bench.built("bench", "udp_load"), "--flows", str(flows), "--window",
        str(window), *sizes, "--source", source, "--seconds", str(seconds), to]


class Figure:
    """A column: its head, digits, and how it comes out of a turn."""

    def __init__(self, head, digits, take, more_is_better=False):
        self.head, self.digits, self.take = head, digits, take
        self.more_is_better = more_is_better


def gigabits(t):
    return t["bytes"] * 8 / 1e9


GB_RATE = Figure("Gb/s", 2, lambda t: gigabits(t) / t["seconds"], True)
GB_CPU = Figure("proxy CPU ms/Gb", 1, lambda t: t["proxy_s"] * 1e3 / gigabits(t))
GB_ALL = Figure("CPU of all, ms/Gb", 1, lambda t: t["all_s"] * 1e3 / gigabits(t))
RATE = Figure("a second", 0, lambda t: t["units"] / t["seconds"], True)
CPU = Figure("proxy CPU us each", 2, lambda t: t["proxy_s"] * 1e6 / t["units"])
ALL = Figure("CPU of all, us each", 2, lambda t: t["all_s"] * 1e6 / t["units"])
P50 = Figure("p50 us", 1, lambda t: t["p50_us"])
P99 = Figure("p99 us", 1, lambda t: t["p99_us"])
BUSY = Figure("proxy busy %", 0, lambda t: 100 * t["proxy_s"] / t["seconds"])
LOST = Figure("lost %", 3, lambda t: 100 * t.get("lost", 0) / t["sent"])

# key, title, load, columns; a goal: figure, "at most" or "at least", ratio
LOOPBACK = [
    ("bulk1", "TCP bulk, one connection", tcp("bulk", 1),
     [GB_RATE, GB_CPU, BUSY], {GB_RATE: 1.0, GB_CPU: 0.60}),
    ("bulk8", "TCP bulk, 8 connections", tcp("bulk", 8),
     [GB_RATE, GB_CPU, BUSY], {GB_RATE: 1.0, GB_CPU: 0.60}),
    ("connect", "connect, 100 bytes there and back, close; 16 at a time",
     tcp("connect", 16), [RATE, CPU, BUSY], {RATE: 1.0, CPU: 1.0}),
    ("echo1", "TCP echo of 100 bytes, one after the other", tcp("echo", 1),
     [P50, P99, CPU], {P50: 1.0, P99: 1.0}),
    ("echo64", "TCP echo of 100 bytes, 64 connections", tcp("echo", 64),
     [RATE, CPU, P50, P99], {RATE: 1.0, CPU: 1.0}),
    ("udp1", "UDP echo of 100 bytes, one after the other",
     udp(1, "--size", "100", "--reply", "100"), [P50, P99, CPU],
     {P50: 1.0, P99: 1.0}),
    ("udp4", "UDP, 4 flows, 16 outstanding each, 1036 bytes in, 420 out",
     udp(4, *UDP_SIZES, window=16), [RATE, CPU, BUSY, LOST],
     {RATE: 1.0, CPU: 0.70}),
    ("udp16", "UDP, 16 flows, 1036 bytes in, 420 out", udp(16, *UDP_SIZES),
     [RATE, CPU, BUSY, LOST], {RATE: 1.0, CPU: 0.70}),
    ("udp64", "UDP, 64 flows, 1036 bytes in, 420 out", udp(64, *UDP_SIZES),
     [RATE, CPU, BUSY, LOST], {RATE: 1.0, CPU: 0.70}),
    ("udp256", "UDP, 256 flows, 1036 bytes in, 420 out", udp(256, *UDP_SIZES),
     [RATE, CPU, BUSY, LOST], {RATE: 1.0, CPU: 0.70}),
]
NAMESPACES = [
    ("veth-bulk1", "TCP bulk, one stream", tcp("bulk", 1),
     [GB_RATE, GB_ALL, GB_CPU], {GB_RATE: 1.0}),
    ("veth-udp64", "UDP, 64 flows, 1036 bytes in, 420 out",
     udp(64, *UDP_SIZES), [RATE, ALL, CPU, LOST], {RATE: 1.0}),
]


# ---- turns ----

def load(world, argv, seconds):
    out = subprocess.run(world.command("client", argv), capture_output=True,
                         text=True, timeout=seconds + 30)
    if out.returncode != 0:
        raise SystemExit(f"bench: {' '.join(argv)}: {out.stdout}{out.stderr}")
    return json.loads(out.stdout)


def turn(world, argv, seconds, proxy, origin, softirq):
    def spent():
        return [proxy.cpu() if proxy else 0.0, origin.cpu(),
                sum(bench.thread_times(p)[0] for p in softirq),
                proxy_world.host_busy()]
    before = spent()
    result = load(world, argv, seconds)
    p, o, s, host = (b - a for a, b in zip(before, spent()))
    result.update(proxy_s=p, all_s=p + o + s + result["cpu_s"], host_s=host)
    return result


def good_turn(*what):
    """A turn; a machine that was elsewhere all the time gets another one."""
    for _ in range(3):
        result = turn(*what)
        if result["checked"] > 0:
            return result
    raise SystemExit(f"bench: {' '.join(what[1])}: no reply was compared")


def wait_ready(world, proto, to):
    """A load of a moment, again and again until there is one."""
    end = time.monotonic() + 20
    _, command = (tcp("echo", 1) if proto == "tcp" else udp(1))
    while True:
        out = subprocess.run(
            world.command("client", command(to, world.udp_source, 0.05)),
            capture_output=True, text=True, timeout=30)
        if out.returncode == 0 and json.loads(out.stdout)["units"] > 0:
            return
        if time.monotonic() > end:
            raise SystemExit(f"bench: {to} does not answer: {out.stderr}")
        time.sleep(0.05)


class Row:
    """The proxies of one row, up together; each with a port of its own."""

    def __init__(self, world, proto, peers, directory, direct):
        self.world, self.proto, self.directory = world, proto, directory
        self.peers = [p for p in peers if proto in p.protos]
        self.direct = direct
        self.running, self.to = {}, {}

    def __enter__(self):
        w = self.world
        for i, peer in enumerate(self.peers):
            to = f"{w.edge}:{EDGE_PORT + i}"
            self.to[peer.name] = to
            self.running[peer.name] = w.start("proxy", *peer.command(
                self.directory, self.proto, to, f"{w.origin}:{ORIGIN_PORT}"))
        if self.direct:
            self.to[DIRECT] = f"{w.direct}:{ORIGIN_PORT}"
        try:
            for to in self.to.values():
                wait_ready(w, self.proto, to)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        for process in self.running.values():
            text = process.stop()
            if process.process.returncode not in (0, -15):
                print(f"note: {' '.join(process.command)} ended with "
                      f"{process.process.returncode}:\n{text}",
                      file=sys.stderr)


def origins(world):
    to = f"{world.origin if world.where else '127.0.0.1'}:{ORIGIN_PORT}"
    if isinstance(world, proxy_world.ThreeHosts):
        to = f"0.0.0.0:{ORIGIN_PORT}"
    return {"tcp": world.start("origin", bench.built("bench", "tcp_origin"),
                               to),
            "udp": world.start("origin", bench.built("bench", "udp_echo"),
                               "--reply", "420", to)}


def run_row(world, row, peers, directory, origin, args):
    """{name: [a turn, ...]}, the same number for each."""
    _, title, (proto, command), _, _ = row
    softirq = proxy_world.softirq_threads()
    with Row(world, proto, peers, directory, True) as up:
        turns = {name: [] for name in up.to}
        for n in range(-1, args.rounds):
            for name, to in up.to.items():
                seconds = args.seconds if n >= 0 else 0.3  # caches, first use
                argv = command(to, world.udp_source, seconds)
                t = good_turn(world, argv, seconds, up.running.get(name),
                              origin[proto], softirq)
                if n >= 0:
                    turns[name].append(t)
        print(f"{world.name}: {title}: done", file=sys.stderr)
        return turns


# ---- what comes of it ----

def subtracted(turns):
    """What a proxy adds to the CPU time of all, beside the direct path."""
    added = {}
    for name, own in turns.items():
        if name != DIRECT:
            added[name] = list(zip(own, turns[DIRECT]))
    return added


def rivals(names):
    """The proxies to be compared with: others, or else our own of before."""
    names = [n for n in names if n not in (DIRECT, "l4proxyd")]
    others = [n for n in names if not n.startswith("l4proxyd-")]
    return others or names


def best_peer(turns, figure):
    peers = {n: statistics.median(figure.take(t) for t in turns[n])
             for n in rivals(turns)}
    if not peers:
        return None
    pick = max if figure.more_is_better else min
    return pick(peers, key=peers.get)


def ratio(turns, figure, ours="l4proxyd"):
    """(the better peer, our figure / its figure by round)."""
    peer = best_peer(turns, figure)
    if peer is None:
        return None, []
    return peer, [figure.take(a) / figure.take(b)
                  for a, b in zip(turns[ours], turns[peer])]


def verdict(figure, values, goal):
    median = statistics.median(values)
    good = median >= goal if figure.more_is_better else median <= goal
    sign = ">=" if figure.more_is_better else "<="
    return f"{sign} {goal:.2f}", "yes" if good else "**no**"


def summary_lines(row, turns):
    _, title, _, _, goals = row
    lines = []
    for figure, goal in goals.items():
        peer, values = ratio(turns, figure)
        if peer is None:
            continue
        lines.append([title, figure.head, peer, bench.spread(values, 2),
                      *verdict(figure, values, goal)])
    return lines


def row_table(row, turns):
    _, title, _, figures, _ = row
    lines = [[name] + [
        "" if f in (GB_CPU, CPU, BUSY) and name == DIRECT else
        bench.spread([f.take(t) for t in own], f.digits) for f in figures]
        for name, own in turns.items()]
    return f"### {title}\n\n" + bench.table(
        [""] + [f.head for f in figures], lines)


def added_table(row, turns):
    """The CPU time of all with the direct path's subtracted, by round."""
    key, title, _, figures, _ = row
    figure = figures[1]
    host = Figure("", 0, lambda t: dict(t, all_s=t["host_s"]))
    lines, added = [], {}
    for name, pairs in subtracted(turns).items():
        added[name] = [figure.take(a) - figure.take(b) for a, b in pairs]
        whole = [figure.take(host.take(a)) - figure.take(host.take(b))
                 for a, b in pairs]
        lines.append([name, bench.spread(added[name], figure.digits),
                      bench.spread(whole, figure.digits)])
    text = f"What it adds ({figure.head}):\n\n" + bench.table(
        ["", "those who took part", "the whole host (/proc/stat)"], lines)
    best = min(rivals(added), key=lambda n: statistics.median(added[n]), default=None)
    if best is None:
        return text, []
    values = [a / b for a, b in zip(added["l4proxyd"], added[best])]
    goal = 1.0 if "bulk" in key else 0.60
    return text, [[title + ", veth", f"added {figure.head}", best,
                   bench.spread(values, 2), *verdict(figure, values, goal)]]


# ---- rows of another kind ----

def idle_turn(world, proto, peer, to, process):
    """Bytes a held session or flow costs: (Pss, Rss, Rss before all)."""
    before = proxy_world.memory(process.pid)
    argv = ([bench.built("bench", "tcp_load"), "idle", to, str(IDLE), "30"]
            if proto == "tcp" else
            [bench.built("bench", "udp_load"), "--flows", str(IDLE), "--hold",
             "--seconds", "30", "--source", world.udp_source, to])
    child = subprocess.Popen(world.command("client", argv),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True)
    line = child.stdout.readline()
    if line != "ready\n":
        raise SystemExit(f"bench: {peer.name}: {' '.join(argv)}: {line}")
    after = proxy_world.memory(process.pid)
    child.communicate("\n", timeout=30)
    return [(after[0] - before[0]) / IDLE, (after[1] - before[1]) / IDLE,
            before[1] / 2**20]


def idle_section(world, proto, peers, directory, args):
    what = "idle TCP session" if proto == "tcp" else "idle UDP flow"
    heads = ["Pss, bytes each", "Rss, bytes each", "Rss before, MiB"]
    taken = {}
    for _ in range(args.few):
        with Row(world, proto, peers, directory, False) as up:
            for peer in up.peers:
                taken.setdefault(peer.name, []).append(idle_turn(
                    world, proto, peer, up.to[peer.name],
                    up.running[peer.name]))
    lines = [[name] + [bench.spread([v[i] for v in values], 0 if i < 2 else 1)
                       for i in range(3)] for name, values in taken.items()]
    print(f"{world.name}: {what}: done", file=sys.stderr)
    figure = Figure(heads[0], 0, lambda v: v[0])
    return (f"### Memory of an {what}\n\n{IDLE} of them, the process before "
            "and after; the kernel's sockets are not in it.\n\n" +
            bench.table([""] + heads, lines),
            memory_verdict(taken, f"memory of an {what}", figure))


def memory_verdict(taken, title, figure):
    peer = best_peer(taken, figure)
    if peer is None:
        return []
    mine = statistics.median(figure.take(v) for v in taken["l4proxyd"])
    theirs = statistics.median(figure.take(v) for v in taken[peer])
    value = mine / theirs if theirs > 0 else float("inf")
    return [[title, figure.head, peer, f"{value:.2f}",
             *verdict(figure, [value], 1.0)]]


def start_turn(world, proto, peer, directory):
    """(ms until the last of the ports answers, Rss in MiB)."""
    ports = f"{EDGE_PORT}-{EDGE_PORT + START_PORTS - 1}"
    last = f"{world.edge}:{EDGE_PORT + START_PORTS - 1}"
    argv = peer.command(directory, proto, f"{world.edge}:{ports}",
                        f"{world.origin}:{ORIGIN_PORT}")
    probe = ([bench.built("bench", "tcp_load"), "probe", last, "1", "60"]
             if proto == "tcp" else
             [bench.built("bench", "udp_load"), "--probe", "--seconds", "60",
              "--source", world.udp_source, last])
    child = subprocess.Popen(world.command("client", probe),
                             stdout=subprocess.PIPE, text=True)
    time.sleep(0.1)  # it is asking already
    begun = time.monotonic_ns()
    process = world.start("proxy", *argv)
    out, _ = child.communicate(timeout=90)
    rss = proxy_world.memory(process.pid)[1] / 2**20
    text = process.stop()
    if child.returncode != 0:
        raise SystemExit(f"bench: {peer.name}: {START_PORTS} ports: {text}")
    return [(json.loads(out)["units"] - begun) / 1e6, rss]


def start_section(world, proto, peers, directory, args):
    title = f"start with {START_PORTS} {proto.upper()} ports"
    taken = {p.name: [] for p in peers if proto in p.protos}
    for _ in range(args.few):
        for peer in peers:
            if proto in peer.protos:
                taken[peer.name].append(
                    start_turn(world, proto, peer, directory))
    lines = [[name, bench.spread([v[0] for v in values], 0),
              bench.spread([v[1] for v in values], 1)]
             for name, values in taken.items()]
    print(f"{world.name}: {title}: done", file=sys.stderr)
    figure = Figure("ms", 0, lambda v: v[0])
    peer = best_peer(taken, figure)
    rows = []
    if peer is not None:
        _, values = ratio(taken, figure)
        rows = [[title, "ms", peer, bench.spread(values, 2),
                 *verdict(figure, values, 1.0)]]
    return (f"### {title[0].upper()}{title[1:]}\n\nFrom the start of the "
            "program until the last port answers.\n\n" +
            bench.table(["", "ms", "Rss, MiB"], lines), rows)


# ---- the whole ----

def version(*argv):
    out = subprocess.run(argv, capture_output=True, text=True)
    return (out.stdout + out.stderr).splitlines()[0]


def header(peers):
    names = [p.name for p in peers]
    lines = bench.machine_lines()
    if "nginx stream" in names:
        lines.append(f"- {version('nginx', '-v')} (Debian)")
    if "HAProxy" in names:
        lines.append(f"- {version('haproxy', '-v')} (Debian)")
    command = " ".join(["bench/proxy.py", *sys.argv[1:]])
    if len(sys.argv) == 1:
        command = "make bench-proxy"
    lines.append(f"- command: {command}")
    return "# Results of make bench-proxy\n\n" + "\n".join(lines) + "\n\n"


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--few", type=int, default=3,
                   help="rounds of memory and start")
    p.add_argument("--only", default="",
                   help="rows by key, commas between: bulk1, udp64, idle ...")
    p.add_argument("--also", action="append", default=[], metavar="NAME=FILE",
                   help="another l4proxyd, as l4proxyd-NAME")
    p.add_argument("--ours", action="store_true", help="no peers")
    p.add_argument("-o", default=os.path.join(bench.HERE, "proxy.md"))
    return p.parse_args()


def chosen_peers(args):
    peers = []
    for peer in proxy_peers.all_peers():
        if args.ours and peer.name != "l4proxyd":
            continue
        if peer.there():
            peers.append(peer)
        else:
            print(f"note: {peer.name} is not here", file=sys.stderr)
    for also in args.also:
        name, path = also.split("=", 1)
        peers.insert(1, proxy_peers.L4proxyd(f"l4proxyd-{name}", path))
    return peers


def without_twin(peers, key):
    """Splice is for bulk: elsewhere HAProxy is one peer, not two."""
    return [p for p in peers
            if "bulk" in key or p.name != "HAProxy splice"]


def loopback(args, peers, directory, wanted):
    text, summary = "", []
    with proxy_world.World(own=os.geteuid() == 0) as world:
        origin = origins(world)
        try:
            for row in LOOPBACK:
                if not wanted(row[0]):
                    continue
                turns = run_row(world, row, without_twin(peers, row[0]),
                                directory, origin, args)
                text += row_table(row, turns) + "\n"
                summary += summary_lines(row, turns)
            for key, section in (("idle", idle_section),
                                 ("start", start_section)):
                for proto in ("tcp", "udp"):
                    if not wanted(f"{key}-{proto}"):
                        continue
                    more, lines = section(world, proto,
                                          without_twin(peers, key), directory,
                                          args)
                    text += more + "\n"
                    summary += lines
        finally:
            for process in origin.values():
                process.stop()
    return text, summary


def namespaces(args, peers, directory, wanted):
    text, summary = "", []
    with proxy_world.ThreeHosts() as world:
        origin = origins(world)
        try:
            for row in NAMESPACES:
                if not wanted(row[0]):
                    continue
                turns = run_row(world, row, without_twin(peers, row[0]),
                                directory, origin, args)
                more, lines = added_table(row, turns)
                text += row_table(row, turns) + "\n" + more + "\n"
                summary += [[l[0] + ", veth", *l[1:]]
                            for l in summary_lines(row, turns)] + lines
        finally:
            for process in origin.values():
                process.stop()
    return text, summary


def main():
    args = arguments()
    if (os.cpu_count() or 1) < 2 or shutil.which("taskset") is None:
        raise SystemExit("bench: needs taskset and two CPUs")
    only = [k for k in args.only.split(",") if k]

    def wanted(key):
        return not only or any(key.startswith(k) for k in only)
    peers = chosen_peers(args)
    head = header(peers)
    text, summary = "", []
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        more, lines = loopback(args, peers, directory, wanted)
        if more:
            text += "## One host, loopback\n\n" + more
            summary += lines
        if os.geteuid() == 0:
            more, lines = namespaces(args, peers, directory, wanted)
            if more:
                text += "## Three hosts: client - proxy - origin, veth\n\n"
                text += more
                summary += lines
        else:
            print("note: not root: no network namespaces", file=sys.stderr)
    table = bench.table(["row", "figure", "better peer", "ours / its",
                         "goal", "met"], summary)
    text = (head + f"Median (lowest-highest) of {args.rounds} rounds of "
            f"{args.seconds:g} s, taking turns; one worker each; proxy on CPU "
            f"{bench.SERVER_CPU}, client and origin on CPU {bench.LOAD_CPU}.\n"
            "\n## Ours beside the better peer\n\n" + table + "\n" + text)
    print(text)
    with open(args.o, "w") as f:
        f.write(text)


if __name__ == "__main__":
    main()
