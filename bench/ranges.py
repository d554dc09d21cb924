#!/usr/bin/env python3
"""What 10,000 ports cost, one socket a worker against one a port.

make bench-ranges; as root, in a network namespace of its own. Each row is the
median of some starts; the load is one client at a port in
the middle of the range.
"""
import argparse
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

BUILD = pathlib.Path(os.environ.get("BUILD", "build")).resolve()
FIRST, PORTS, TO = 20000, 10000, 40000
ROUNDS, TRIPS = 3, 20000
TICKS = os.sysconf("SC_CLK_TCK")


def slab_kb():
    """Of sockets and of the ports they hold, and the program's maps."""
    kb = 0
    for line in open("/proc/slabinfo"):
        f = line.split()
        if re.match(r"(UDP|TCP|UDPv6|TCPv6|sock_inode_cache|tcp_bind|filp|"
                    r"eventpoll_epi|eventpoll_pwq|dentry|lsm_file)", f[0]):
            kb += int(f[1]) * int(f[3]) / 1024
    return kb


def bpf_kb(pid):
    kb = 0
    for name in os.listdir(f"/proc/{pid}/fdinfo"):
        text = open(f"/proc/{pid}/fdinfo/{name}").read()
        found = re.search(r"memlock:\s+(\d+)", text)
        if found:
            kb += int(found[1]) / 1024
    return kb


def cpu_s(pid):
    f = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(f[11]) + int(f[12])) / TICKS


def origins(proto):
    """At the port to which the middle of the range is mapped."""
    kind = socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM
    s = socket.socket(socket.AF_INET, kind)
    s.bind(("127.0.0.1", TO + PORTS // 2))
    if proto == "tcp":
        s.listen(1024)

    def serve():
        while True:
            if proto == "udp":
                data, peer = s.recvfrom(2048)
                s.sendto(data, peer)
            else:
                c, _ = s.accept()
                c.sendall(b"x")
                c.close()
    threading.Thread(target=serve, daemon=True).start()


def trips(proto):
    """To a port of the middle, which no listener is bound to by itself."""
    at = ("127.0.0.1", FIRST + PORTS // 2)
    if proto == "tcp":
        for _ in range(TRIPS // 4):
            with socket.create_connection(at) as c:
                assert c.recv(1) == b"x"
        return TRIPS // 4
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as c:
        c.settimeout(5)
        c.connect(at)
        for _ in range(TRIPS):
            c.send(b"x" * 400)
            c.recv(2048)
    return TRIPS


def once(directory, proto, way):
    config = directory / "l4proxyd.yaml"
    config.write_text(json.dumps({
        "applications": [{
            "name": "range",
            "protocol": f"{proto}/{FIRST}-{FIRST + PORTS - 1}",
            "edge_ips": ["127.0.0.1"],
            "origin_direct":
                f"{proto}://127.0.0.1:{TO}-{TO + PORTS - 1}"}],
        "workers": 1, "port_ranges": way, "drain_s": 0}))
    slab, begun = slab_kb(), time.monotonic()
    child = subprocess.Popen([BUILD / "l4proxyd", "-c", config],
                             stderr=subprocess.PIPE, text=True)
    while "1 worker" not in (line := child.stderr.readline()) or \
            "socket a worker" in line:
        assert line, "ended at start"
    row = {"start": (time.monotonic() - begun) * 1000}
    row["slab"] = slab_kb() - slab + bpf_kb(child.pid)
    status = open(f"/proc/{child.pid}/status").read()
    row["rss"] = int(re.search(r"VmRSS:\s+(\d+)", status)[1])
    row["fds"] = len(os.listdir(f"/proc/{child.pid}/fd"))
    cpu = cpu_s(child.pid)
    n = trips(proto)
    row["cpu"] = (cpu_s(child.pid) - cpu) / n * 1e6
    child.terminate()
    child.wait()
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    if "TIMESHARE_BENCH_INSIDE" not in os.environ:
        env = {**os.environ, "TIMESHARE_BENCH_INSIDE": "1"}
        os.execvpe("unshare", ["unshare", "-n", sys.executable, __file__,
                               *sys.argv[1:]], env)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    lines = [f"{PORTS} ports of one address, one worker, Linux "
             f"{os.uname().release}; medians of {options.rounds}.", "",
             "| ports | way | start, ms | RSS, MB | kernel memory, MB | "
             "descriptors | CPU, us: a round trip (UDP), a connection (TCP) "
             "|", "|---|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        for proto in "udp", "tcp":
            origins(proto)
            for way in "sockets", "dispatch":
                rows = [once(pathlib.Path(d), proto, way)
                        for _ in range(options.rounds)]
                m = {k: statistics.median(r[k] for r in rows)
                     for k in rows[0]}
                lines.append(
                    f"| {proto} | `{way}` | {m['start']:.0f} | "
                    f"{m['rss'] / 1024:.1f} | {m['slab'] / 1024:.1f} | "
                    f"{m['fds']:.0f} | {m['cpu']:.1f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        pathlib.Path(options.out).write_text(text)


if __name__ == "__main__":
    main()
