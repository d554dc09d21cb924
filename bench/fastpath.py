#!/usr/bin/env python3
"""The kernel's path for UDP beside nginx stream, NAT and plain forwarding.

make bench-fastpath; as root, between three network namespaces. All take turns
in each round; figures are medians and spreads of the rounds.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import bench
import proxy_world
from proxy_peers import L4proxyd, Nginx, written
from proxy_turns import (DIRECT, ORIGIN_PORT, UDP_SIZES, Row, good_turn, load,
                         udp)

KERNEL, SOCKETS, NGINX = "kernel path", "sockets", "nginx stream"
NAT, FORWARD = "nftables NAT", "plain forwarding"
FLOWS = 64
MANY, FEW = 1_000_000, 100
NEW, TRIPS = 4000, 4
EVERY_CPU = "0-1"


class Ours(L4proxyd):
    """Flows end soon: those of the round before are not in the way."""

    def __init__(self, name, path):
        super().__init__(name)
        self.path = path

    def command(self, directory, proto, edge, origin):
        command = super().command(directory, proto, edge, origin)
        with open(command[2]) as f:
            config = json.load(f)
        config["applications"][0].update(fast_path=self.path,
                                         idle_timeout_s=2)
        written(directory, f"{self.name}.yaml", json.dumps(config))
        return command


class Streets(proxy_world.ThreeHosts):
    """Also a way through the proxy's routing, and more clients."""

    forwarded = "10.209.8.1"
    fresh = "10.210.0.0/16"

    def build(self):
        super().build()
        spaces = self.where
        for net in "10.209.8.0/22", self.fresh, "10.200.0.0/16":
            if not net.startswith("10.200"):
                self.ip("-n", spaces["client"], "route", "add", "local", net,
                        "dev", "lo")
            self.ip("-n", spaces["proxy"], "route", "add", net, "via",
                    "10.209.1.1")
            self.ip("-n", spaces["origin"], "route", "add", net, "via",
                    "10.209.2.1")
        self.ip("-n", spaces["client"], "route", "add", "10.209.2.0/24",
                "via", "10.209.1.2")
        self.inside("proxy", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for role in spaces:
            self.inside(role, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")

    def inside(self, role, *argv):
        subprocess.run(["ip", "netns", "exec", self.where[role], *argv],
                       check=True)

    def nat(self, on):
        """Only in its turn: connection tracking would slow the others."""
        rules = f"""table ip bench {{
          chain pre {{
            type nat hook prerouting priority dstnat
            ip daddr {self.edge} udp dport 20100 dnat to \
{self.origin}:{ORIGIN_PORT}
          }}
          chain post {{
            type nat hook postrouting priority srcnat
            ct status dnat masquerade
          }}
        }}"""
        argv = ["nft", "-f", "-"] if on else ["nft", "delete", "table", "ip",
                                              "bench"]
        subprocess.run(["ip", "netns", "exec", self.where["proxy"], *argv],
                       input=rules if on else None, text=True, check=True)


def pin(proxy, client, origin):
    proxy_world.CPUS.update(proxy=proxy, client=client, origin=origin)


def peers():
    return [Ours(KERNEL, "require"), Ours(SOCKETS, "off"), Nginx(NGINX)]


def one(world, name, up, origin, seconds, softirq):
    _, command = udp(FLOWS, *UDP_SIZES)
    source = world.udp_source
    to = up.to.get(name)
    if name == NAT:
        to = f"{world.edge}:20100"
        world.nat(True)
    elif name == FORWARD:
        to, source = f"{world.origin}:{ORIGIN_PORT}", world.forwarded
    try:
        return good_turn(world, command(to, source, seconds), seconds,
                         up.running.get(name), origin, softirq)
    finally:
        if name == NAT:
            world.nat(False)


def echo(world):
    return world.start("origin", bench.built("bench", "udp_echo"), "--reply",
                       "420", f"0.0.0.0:{ORIGIN_PORT}")


def trips(world, directory, args):
    """{name: [a turn, ...]}: 64 flows, all contenders."""
    names = [DIRECT, KERNEL, SOCKETS, NGINX, NAT, FORWARD]
    turns = {name: [] for name in names}
    softirq = proxy_world.softirq_threads()
    origin = echo(world)
    try:
        with Row(world, "udp", peers(), directory, True) as up:
            for n in range(-1, args.rounds):
                for name in names:
                    t = one(world, name, up, origin,
                            args.seconds if n >= 0 else 0.3, softirq)
                    if n >= 0:
                        turns[name].append(t)
    finally:
        origin.stop()
    return turns


def new_flows(world, directory, args):
    """{name: [flows a second, ...]}: each with a few round trips."""
    rates = {KERNEL: [], SOCKETS: []}
    origin = echo(world)
    try:
        with Row(world, "udp", peers()[:2], directory, False) as up:
            for n in range(args.rounds):
                for i, name in enumerate(rates):
                    block = (2 * n + i) * 16 % 256
                    t = load(world, [
                        bench.built("bench", "udp_load"), "--flows", str(NEW),
                        "--window", "1", *UDP_SIZES, "--trips",
                        str(TRIPS), "--source", f"10.210.{block}.1",
                        "--seconds", "20", up.to[name]], 20)
                    rates[name].append(NEW / t["seconds"])
                time.sleep(4)  # until they have ended
    finally:
        origin.stop()
    return rates


DEAF = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
s.bind(("0.0.0.0", 9))
time.sleep(3600)
"""


def received(world):
    out = subprocess.run(["ip", "-n", world.where["origin"], "-j", "-s",
                          "link", "show", "to-proxy"], capture_output=True,
                         text=True, check=True).stdout
    return json.loads(out)[0]["stats64"]["rx"]["packets"]


def spray(world, args):
    """CPU of a datagram by the number of flows; and what a flow takes."""
    table = world.start("proxy", bench.built("bench", "fastpath_flows"),
                        str(MANY), "to-client", "to-origin",
                        f"{world.edge}:9", f"{world.origin}:9")
    deaf = world.start("origin", sys.executable, "-c", DEAF)
    figures = {FEW: [], MANY: []}
    try:
        end = time.monotonic() + 120
        while not (made := peek(table)):
            assert table.process.poll() is None, table.stop()
            assert time.monotonic() < end, "no table"
            time.sleep(0.1)
        for _ in range(args.rounds):
            for flows, own in figures.items():
                before = received(world)
                t = load(world, [bench.built("bench", "udp_spray"),
                                 str(flows), str(args.seconds),
                                 f"{world.edge}:9"], args.seconds)
                came = received(world) - before
                assert came >= t["units"] * 0.99, (flows, came, t)
                own.append(t["cpu_s"] * 1e6 / t["units"])
    finally:
        table.stop()
        deaf.stop()
    return figures, json.loads(made)


def peek(process):
    return os.pread(process.out.fileno(), 4096, 0).decode()


def added(turns, name):
    def each(t):
        return t["all_s"] * 1e6 / t["units"]
    return [each(a) - each(b) for a, b in zip(turns[name], turns[DIRECT])]


def rates(turns, name):
    return [t["units"] / t["seconds"] for t in turns[name]]


def ratio(a, b):
    return [x / y for x, y in zip(a, b)]


def goal(text, values, digits, sign, limit):
    middle = statistics.median(values)
    met = middle <= limit if sign == "<=" else middle >= limit
    return (text, bench.spread(values, digits), f"{sign} {limit}",
            "yes" if met else "**no**")


def section(title, turns):
    rows = [(name, bench.spread(rates(turns, name), 0),
             "" if name == DIRECT else bench.spread(added(turns, name), 2),
             bench.spread([100 * t["lost"] / t["sent"]
                           for t in turns[name]], 3)) for name in turns]
    return f"## {title}\n\n" + bench.table(
        ["", "round trips a second", "added CPU, us a round trip", "lost %"],
        rows) + "\n"


def report(one_core, two_cores, fresh, figures, made, args):
    goals = [
        goal("added CPU a round trip / nginx stream's",
             ratio(added(two_cores, KERNEL), added(two_cores, NGINX)), 2,
             "<=", 0.10),
        goal("round trips a second / nginx's, everything on one core",
             ratio(rates(one_core, KERNEL), rates(one_core, NGINX)), 2, ">=",
             2.5),
        goal("the same on two",
             ratio(rates(two_cores, KERNEL), rates(two_cores, NGINX)), 2,
             ">=", 4),
        goal(f"CPU a datagram at {MANY:,} flows / at {FEW}",
             ratio(figures[MANY], figures[FEW]), 2, "<=", 1.3),
        goal("new flows a second, established and moved / sockets only",
             ratio(fresh[KERNEL], fresh[SOCKETS]), 2, ">=", 0.8),
        goal("kernel memory a flow, bytes", [made["memory"]], 0, "<=", 512),
    ]
    lines = bench.machine_lines() + ["- command: make bench-fastpath"]
    return "\n".join([
        "# Results of make bench-fastpath", "", *lines, "",
        f"Median (lowest-highest) of {args.rounds} rounds of "
        f"{args.seconds:g} s, taking turns; {FLOWS} flows, one datagram of "
        f"each on the way, {bench.REQUEST_LEN} bytes in, 420 out; one worker "
        "each. CPU is of all processes and of the kernel's threads for "
        "packets, less the direct path's of the same round.", "",
        bench.table(["what", "figure", "goal", "met"], goals),
        section("Everything on one core", one_core),
        section("On two cores", two_cores),
        f"## The table\n\nA datagram one way through {FEW} and through "
        f"{MANY:,} flows of one table, chosen at random, sender and all: "
        f"{bench.spread(figures[FEW], 2)} and "
        f"{bench.spread(figures[MANY], 2)} us of CPU. Handing a flow to the "
        f"kernel takes {made['carry_us']:.1f} us. "
        f"{NEW} new flows at once, {TRIPS} round trips each: "
        f"{bench.spread(fresh[KERNEL], 0)} a second where they are moved, "
        f"{bench.spread(fresh[SOCKETS], 0)} on sockets.", ""])


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("-o", default=os.path.join(bench.HERE, "fastpath.md"))
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        with Streets() as world:
            pin(0, 0, 0)
            one_core = trips(world, directory, args)
            pin(EVERY_CPU, EVERY_CPU, EVERY_CPU)
            two_cores = trips(world, directory, args)
            fresh = new_flows(world, directory, args)
            pin(0, 1, 0)
            figures, made = spray(world, args)
    text = report(one_core, two_cores, fresh, figures, made, args)
    print(text)
    with open(args.o, "w") as f:
        f.write(text)


if __name__ == "__main__":
    main()
