#!/usr/bin/env python3
"""A UDP round trip through the proxy beside nginx stream, on one host.

    make build/bench/udp_echo all, then bench/proxy_udp.py [--out FILE]

The proxy has CPU 0 to itself; the generator and the origin (bench/udp_echo,
recvmmsg/sendmmsg) share CPU 1. The two proxies take turns A B A B ... with the
same sizes and flows: many flows with one request outstanding each, where every
datagram travels alone, and few flows with bursts, where they can be joined.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import bench

NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"
REPLY_LEN = 420
# name, flows, outstanding on each, datagrams handed over as one
LOADS = [("16 flows, 4 outstanding, singly", 16, 4, 1),
         ("64 flows, 1 outstanding", 64, 1, 1),
         ("256 flows, 1 outstanding", 256, 1, 1),
         ("4 flows, 16 outstanding, bursts of 16", 4, 16, 16)]


def l4proxyd(directory, origin):
    def command(port):
        path = os.path.join(directory, f"l4proxyd-{port}.yaml")
        with open(path, "w") as f:
            json.dump({"applications": [{
                "name": "bench", "protocol": f"udp/{port}",
                "edge_ips": "127.0.0.1",
                "origin_direct": f"udp://127.0.0.1:{origin}"}],
                "workers": 1}, f)
        return [bench.built("l4proxyd"), "-c", path]
    return bench.Server("l4proxyd", command, None)


def nginx(directory, origin):
    def command(port):
        path = os.path.join(directory, f"nginx-{port}.conf")
        with open(path, "w") as f:
            f.write(f"""load_module {NGINX_STREAM};
daemon off; master_process off; worker_processes 1;
pid {path}.pid; error_log stderr crit;
events {{ worker_connections 8192; }}
stream {{ server {{ listen 127.0.0.1:{port} udp rcvbuf=4m;
    proxy_pass 127.0.0.1:{origin}; proxy_timeout 60s; }} }}
""")
        return ["nginx", "-c", path, "-p", directory]
    return bench.Server("nginx stream", command, None)


def load(server, args, seconds):
    """bench.load, but with bursts."""
    out = subprocess.run(
        ["taskset", "-c", str(bench.LOAD_CPU), bench.built("roughtime"),
         "bench", f"127.0.0.1:{server.port}", "--seconds", str(seconds),
         "--warmup", "0", "--window", str(args.window), "--flows",
         str(args.flows), "--burst", str(args.burst), "--lost-after", "0.5",
         "--echo", "--json"], capture_output=True, text=True,
        timeout=seconds + 30)
    if out.returncode != 0:
        raise SystemExit(f"bench: {server.name}: {out.stdout}{out.stderr}")
    return json.loads(out.stdout)


def origin():
    port = bench.free_port()
    return port, subprocess.Popen(
        ["taskset", "-c", str(bench.LOAD_CPU),
         bench.built("bench", "udp_echo"), "--reply", str(REPLY_LEN),
         f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL)


def section(args, directory, port, name):
    servers = [l4proxyd(directory, port)]
    if args.nginx:
        servers.append(nginx(directory, port))
    for _ in range(args.rounds):
        for server in servers:
            server.turn(args)
    rows = []
    for s in servers:
        def column(key, digits, scale=1, turns=s.turns):
            return bench.spread([scale * t[key] for t in turns], digits)
        rows.append([name, s.name, column("cpu_us", 2), column("rate", 0),
                     column("busy", 0, 100), column("lost", 2, 100),
                     column("p50", 0), column("p99", 0)])
    if args.nginx:
        a, b = (s.turns for s in servers)
        rows[0].append(bench.spread(
            [x["cpu_us"] / y["cpu_us"] for x, y in zip(a, b)], 2))
        rows[1].append("")
    return rows


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=3)
    p.add_argument("--warmup", type=float, default=0.5)
    p.add_argument("--out")
    args = p.parse_args()
    args.nginx = bool(shutil.which("nginx")) and os.path.exists(NGINX_STREAM)
    if not args.nginx:
        print("note: nginx with its stream module is not here: ours alone",
              file=sys.stderr)
    bench.load = load
    port, echo = origin()
    rows = []
    try:
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o755)
            for name, args.flows, args.window, args.burst in LOADS:
                rows += section(args, directory, port, name)
    finally:
        echo.send_signal(signal.SIGTERM)
        echo.wait(10)
    head = ["load", "proxy", "CPU us a round trip", "round trips/s",
            "proxy busy %", "lost %", "p50 us", "p99 us"]
    text = (f"## UDP through the proxy\n\n{bench.REQUEST_LEN} bytes in, "
            f"{REPLY_LEN} out, on loopback; proxy on CPU {bench.SERVER_CPU}, "
            f"generator and origin on CPU {bench.LOAD_CPU}; {args.rounds} "
            f"rounds of {args.seconds:g} s, taking turns. Median "
            "(lowest-highest).\n\n" +
            bench.table(head + (["CPU, ours / nginx"] if args.nginx else []),
                        rows))
    print(text)
    if args.out:
        with open(args.out, "w") as f:
            f.write(text)


if __name__ == "__main__":
    main()
