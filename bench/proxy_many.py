"""Many live UDP flows, for bench/proxy.py: what a round trip costs beside few
flows, and what a flow costs of memory, all that is set aside for it counted."""
import os
import sys

import bench
import proxy_peers
import proxy_world
from proxy_peers import SOCKETS
from proxy_report import Figure, absolute_line, verdict
from proxy_turns import EDGE_PORT, ORIGIN_PORT, UDP_SIZES, Row, load

FEW, MANY = 100, 15000  # below the usual hard limit of 20000 descriptors
GOAL, GOAL_BYTES = 1.3, 256
OUTSTANDING = 64  # in both, so that batches are alike
SOURCE_PORT = {FEW: 25000, MANY: 25001}  # none that the kernel chooses


def going_round(world, to, flows, seconds):
    """Requests that go round the flows, the same ones in each run."""
    argv = [bench.built("bench", "udp_load"), "--flows", str(flows),
            "--outstanding", str(OUTSTANDING), *UDP_SIZES, "--source",
            f"{world.udp_source}:{SOURCE_PORT[flows]}", "--seconds",
            str(seconds), to]
    return load(world, argv, seconds)


def begin(world, to, flows, process):
    for seconds in (1, 2, 4, 8, 16):  # each begins with the first flow
        going_round(world, to, flows, seconds)
        if len(os.listdir(f"/proc/{process.pid}/fd")) > flows:
            return
    raise SystemExit(f"bench: {process.command}: not {flows} flows")


def cost_us(world, to, flows, process, seconds):
    before = process.cpu()
    result = going_round(world, to, flows, seconds)
    return (process.cpu() - before) * 1e6 / result["units"]


def memory_each(world, directory):
    """Bytes of a flow: one daemon has room for many and is full of them, the
    other has room for few."""
    rss = []
    for flows in (FEW, MANY):
        peer = proxy_peers.Sockets(SOCKETS, udp_flows=flows)
        to = f"{world.edge}:{EDGE_PORT}"
        process = world.start("proxy", *peer.command(
            directory, "udp", to, f"{world.origin}:{ORIGIN_PORT}"))
        try:
            begin(world, to, flows, process)
            rss.append(proxy_world.memory(process.pid)[1])
        finally:
            process.stop()
    return (rss[1] - rss[0]) / (MANY - FEW)


def turns(world, peer, directory, args):
    """[(us with few flows, us with many), ...]. One proxy at a time: two do
    not find as many local ports."""
    with Row(world, "udp", [peer], directory, False) as up:
        to, process = up.to[peer.name], up.running[peer.name]
        for flows in (FEW, MANY):
            begin(world, to, flows, process)
        return [[cost_us(world, to, flows, process, args.seconds)
                 for flows in (FEW, MANY)] for _ in range(args.few)]


def many_section(world, proto, peers, directory, args):
    """Of ours the sockets: what the kernel carries is in bench/fastpath.md."""
    taken = {p.name: turns(world, p, directory, args)
             for p in peers if proto in p.protos and p.name != "l4proxyd"}
    each = memory_each(world, directory)
    print(f"{world.name}: many UDP flows: done", file=sys.stderr)
    lines = [[name, *(bench.spread([v[i] for v in values], 2)
                      for i in range(2)),
              bench.spread([v[1] / v[0] for v in values], 2)]
             for name, values in taken.items()]
    figure = Figure("proxy CPU us each", 2, None)
    values = [v[1] / v[0] for v in taken[SOCKETS]]
    title = f"UDP, {MANY} live flows"
    return (f"### {title}\n\n{OUTSTANDING} requests outstanding, which go "
            f"round the flows. Memory of a flow: {each:.0f} bytes, Rss with "
            f"room for {MANY} and as many flows less that with {FEW}.\n\n" +
            bench.table(["proxy CPU us each", f"{FEW} flows",
                         f"{MANY} flows", "ratio"], lines),
            [[title, figure.head, f"{FEW} flows", bench.spread(values, 2),
              *verdict(figure, values, GOAL)],
             absolute_line(title, Figure("memory, bytes each", 0, float),
                           {"l4proxyd": [each]}, GOAL_BYTES)])
