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
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile

import bench
import proxy_peers
import proxy_sweep
import proxy_world
from proxy_report import (ADDED_P50, ADDED_P99, ALL, BUSY, CPU, GB_ALL, GB_CPU,
                          GB_RATE, LOST, P50, P99, RATE, ADDED_ALL,
                          added_table, row_table, summary_lines)
from proxy_many import many_section
from proxy_still import idle_section, start_section
from proxy_turns import (ORIGIN_PORT, UDP_SIZES, Row, good_turn, tcp,
                         udp)

UDP_FIGURES = [RATE, CPU, ALL, BUSY, LOST]
UDP_GOALS = {RATE: 1.0, ADDED_ALL: 0.58, CPU: 0.58}

# key, title, load, columns; a goal: figure, "at most" or "at least", ratio
LOOPBACK = [
    ("bulk1", "TCP bulk, one connection", tcp("bulk", 1),
     [GB_RATE, GB_CPU, BUSY], {GB_RATE: 1.3, GB_CPU: 0.40}),
    ("bulk8", "TCP bulk, 8 connections", tcp("bulk", 8),
     [GB_RATE, GB_CPU, BUSY], {GB_RATE: 1.3, GB_CPU: 0.40}),
    ("connect", "connect, 100 bytes there and back, close; 16 at a time",
     tcp("connect", 16), [RATE, CPU, BUSY], {RATE: 1.3, CPU: 1.0}),
    ("echo1", "TCP echo of 100 bytes, one after the other", tcp("echo", 1),
     [P50, P99, CPU], {ADDED_P50: 0.7, ADDED_P99: 0.7}),
    ("echo64", "TCP echo of 100 bytes, 64 connections", tcp("echo", 64),
     [RATE, CPU, P50, P99], {RATE: 1.0, CPU: 1.0}),
    ("udp1", "UDP echo of 100 bytes, one after the other",
     udp(1, "--size", "100", "--reply", "100"), [P50, P99, CPU],
     {ADDED_P50: 0.7, ADDED_P99: 0.7}),
    ("udp4", "UDP, 4 flows, 16 outstanding each, 1036 bytes in, 420 out",
     udp(4, *UDP_SIZES, window=16), UDP_FIGURES, UDP_GOALS),
    ("udp16", "UDP, 16 flows, 1036 bytes in, 420 out", udp(16, *UDP_SIZES),
     UDP_FIGURES, UDP_GOALS),
    ("udp64", "UDP, 64 flows, 1036 bytes in, 420 out", udp(64, *UDP_SIZES),
     UDP_FIGURES, UDP_GOALS),
    ("udp256", "UDP, 256 flows, 1036 bytes in, 420 out", udp(256, *UDP_SIZES),
     UDP_FIGURES, UDP_GOALS),
]
STILL = [("idle-tcp", "tcp", idle_section), ("idle-udp", "udp", idle_section),
         ("start-tcp", "tcp", start_section),
         ("start-udp", "udp", start_section),
         ("many-udp", "udp", many_section)]
NAMESPACES = [
    ("veth-bulk1", "TCP bulk, one stream", tcp("bulk", 1),
     [GB_RATE, GB_ALL, GB_CPU], {GB_RATE: 1.1}),
    ("veth-udp64", "UDP, 64 flows, 1036 bytes in, 420 out",
     udp(64, *UDP_SIZES), [RATE, ALL, CPU, LOST], {RATE: 1.0}),
]


@contextlib.contextmanager
def place(make):
    """A world with its two origins: (world, {proto: Process})."""
    with make() as world:
        origin = origins(world)
        try:
            yield world, origin
        finally:
            for process in origin.values():
                process.stop()


def one_host():
    return proxy_world.World(own=os.geteuid() == 0)


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


def row_turns(place_of, row, peers, directory, args):
    """All turns of a row. Who makes others dearer has a world of its own."""
    def turns(some):
        with place(place_of) as (world, origin):
            return run_row(world, row, some, directory, origin, args)
    found = turns([p for p in peers if not p.alone])
    alone = [p for p in peers if p.alone and row[2][0] in p.protos]
    for peer in alone:
        found[peer.name] = turns([peer])[peer.name]
    return found


def version(*argv):
    out = subprocess.run(argv, capture_output=True, text=True)
    return (out.stdout + out.stderr).splitlines()[0]


def command_line():
    """As given, but for where files are."""
    words, skip = [], False
    for word in sys.argv[1:]:
        if skip or word == "-o":
            skip = not skip
            continue
        words.append(f"{word.split('=')[0]}=FILE" if "=" in word else word)
    if not words:
        return "make bench-proxy"
    return f"make bench-proxy PROXY_ARGS='{' '.join(words)}'"


def header(peers):
    names = [p.name for p in peers]
    lines = bench.machine_lines()
    if "nginx stream" in names:
        lines.append(f"- {version('nginx', '-v')} (Debian)")
    if "HAProxy" in names:
        lines.append(f"- {version('haproxy', '-v')} (Debian)")
    lines.append(f"- command: {command_line()}")
    return "# Results of make bench-proxy\n\n" + "\n".join(lines) + "\n\n"


def arguments(argv=None):
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--few", type=int, default=3,
                   help="rounds of memory and start")
    p.add_argument("--only", default="",
                   help="rows by key, commas between: bulk1, udp64, idle ...")
    p.add_argument("--also", action="append", default=[], metavar="NAME=FILE",
                   help="another l4proxyd: -NAME and -sockets-NAME")
    p.add_argument("--ours", action="store_true", help="no peers")
    p.add_argument("-o", default=os.path.join(bench.HERE, "proxy.md"))
    return p.parse_args(argv)


def chosen_peers(args):
    peers = []
    for peer in proxy_peers.all_peers():
        if args.ours and not isinstance(peer, proxy_peers.L4proxyd):
            continue
        if peer.there():
            peers.append(peer)
        else:
            print(f"note: {peer.name} is not here", file=sys.stderr)
    for also in args.also:
        name, path = also.split("=", 1)
        peers[1:1] = [
            proxy_peers.L4proxyd(f"l4proxyd-{name}", path),
            proxy_peers.Sockets(f"l4proxyd-sockets-{name}", path)]
    return peers


def peers_of(peers, key):
    return [p for p in peers if f"{key}-".startswith(p.rows or key)]


def loopback(args, peers, directory, wanted):
    text, summary = "", []
    for row in LOOPBACK:
        if wanted(row[0]):
            turns = row_turns(one_host, row, peers_of(peers, row[0]),
                              directory, args)
            text += row_table(row, turns) + "\n"
            summary += summary_lines(row, turns)
    for key, proto, section in STILL:
        if wanted(key):
            with place(one_host) as (world, _):
                more, lines = section(world, proto, peers_of(peers, key),
                                      directory, args)
            text += more + "\n"
            summary += lines
    return text, summary


def namespaces(args, peers, directory, wanted):
    text, summary = "", []
    for row in NAMESPACES:
        if wanted(row[0]):
            turns = row_turns(proxy_world.ThreeHosts, row,
                              peers_of(peers, row[0]), directory, args)
            more, lines = added_table(row, turns)
            text += row_table(row, turns) + "\n" + more + "\n"
            summary += [[l[0] + ", veth", *l[1:]]
                        for l in summary_lines(row, turns)] + lines
    return text, summary


def sweeps(args, peers, directory, wanted):
    """(text, {name of a plot: {proxy: [(flows or sessions, us), ...]}})."""
    text, points = "", {}
    few = argparse.Namespace(**{**vars(args), "rounds": args.few})
    for key, title, row_of, counts in proxy_sweep.SWEEPS:
        if wanted(key):
            points[key] = proxy_sweep.curves(
                row_of, counts, lambda row: row_turns(
                    one_host, row, peers_of(peers, key), directory, few))
            text += proxy_sweep.section(title, points[key])
    return text, points


def keys_of_titles():
    keys = {row[1]: row[0] for row in LOOPBACK}
    keys.update({f"{row[1]}, veth": row[0] for row in NAMESPACES})
    return keys


def measure(args):
    """(text, lines of the summary, points of plots)."""
    only = [k for k in args.only.split(",") if k]

    def wanted(key):
        return not only or any(key.startswith(k) for k in only)
    peers = chosen_peers(args)
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
        more, points = sweeps(args, peers, directory, wanted)
        if more:
            text += ("## Added CPU, us a round trip, by flows and sessions"
                     "\n\n" + more)
    table = bench.table(["row", "figure", "better peer", "ours / its",
                         "goal", "met"], summary)
    return (header(peers) +
            f"Median (lowest-highest) of {args.rounds} rounds of "
            f"{args.seconds:g} s, taking turns; one worker each; proxy on CPU "
            f"{bench.SERVER_CPU}, client and origin on CPU {bench.LOAD_CPU}.\n"
            "\n## Ours beside the better peer\n\n" + table + "\n" + text,
            summary, points)


def main():
    args = arguments()
    if (os.cpu_count() or 1) < 2 or shutil.which("taskset") is None:
        raise SystemExit("bench: needs taskset and two CPUs")
    text, _, _ = measure(args)
    print(text)
    with open(args.o, "w") as f:
        f.write(text)


if __name__ == "__main__":
    main()
