"""One turn of a load through one proxy, for bench/proxy.py."""
import json
import subprocess
import sys
import time

import bench
import proxy_world

EDGE_PORT, ORIGIN_PORT = 20000, 17001
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
    result.update(proxy_s=p, origin_s=o, all_s=p + o + s + result["cpu_s"], host_s=host)
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
            to = f"{w.edge}:{peer.port or EDGE_PORT + i}"
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
            if process.process.returncode not in (0, -15, 143):
                print(f"note: {' '.join(process.command)} ended with "
                      f"{process.process.returncode}:\n{text}",
                      file=sys.stderr)
