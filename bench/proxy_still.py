"""What bench/proxy.py measures without load: memory at rest, and the start."""
import json
import subprocess
import sys
import time

import bench
import proxy_world
from proxy_report import (Figure, absolute_line, best_peer, memory_lines,
                          ratio, verdict)
from proxy_turns import EDGE_PORT, ORIGIN_PORT, Row, load, tcp, udp

START_PORTS = 10000
IDLE = 4000
IDLE_GOAL = {"tcp": 2048, "udp": 256}  # bytes


def idle_turn(world, proto, peer, to, process):
    """Bytes a held session or flow costs: (Pss, Rss, Rss before all)."""
    _, command = tcp("echo", 64) if proto == "tcp" else udp(256)
    load(world, command(to, world.udp_source, 0.3), 0.3)  # buffers are in use
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
            "(after some load) and after; the kernel's sockets are not in it. "
            "What a program sets aside at its start stands under before.\n\n" +
            bench.table([""] + heads, lines),
            memory_lines(taken, f"memory of an {what}", figure,
                         IDLE_GOAL[proto]))


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
    if child.returncode != 0:
        raise SystemExit(f"bench: {peer.name}: {START_PORTS} ports: "
                         f"{process.stop()}")
    rss = proxy_world.memory(process.pid)[1] / 2**20
    process.stop()
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
    rows = [absolute_line(title, figure, taken, 1000)]
    if peer is not None:
        _, values = ratio(taken, figure)
        rows += [[title, "ms", peer, bench.spread(values, 2),
                 *verdict(figure, values, 1.0)]]
    return (f"### {title[0].upper()}{title[1:]}\n\nFrom the start of the "
            "program until the last port answers.\n\n" +
            bench.table(["", "ms", "Rss, MiB"], lines), rows)
