#!/usr/bin/env python3
"""What listing all sessions costs those who use the proxy meanwhile.

    make bench-control, or bench/proxy_control.py with BUILD=DIR

One worker of l4proxyd holds many idle flows and passes on the datagrams of a
few busy ones. Turns without and with l4proxyctl listing every flow again and
again alternate; the medians of their round trips and rates are printed. The
proxy has CPU 0; load, origin and l4proxyctl share CPU 1.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import threading
import time

BUILD = pathlib.Path(os.environ.get("BUILD", "build")).resolve()
EDGE, ORIGIN = 20010, 20011
SIZES = ("--size", 1036, "--reply", 420)


def start(cpu, *argv, **more):
    return subprocess.Popen(["taskset", "-c", str(cpu), *map(str, argv)],
                            stdin=subprocess.DEVNULL, **more)


def load(*argv):
    p = start(1, BUILD / "bench/udp_load", *argv, f"127.0.0.1:{EDGE}",
              stdout=subprocess.PIPE, text=True)
    return json.loads(p.communicate()[0].splitlines()[-1])


class Lister(threading.Thread):
    """Lists everything, again and again."""

    def __init__(self, control):
        super().__init__(daemon=True)
        self.control, self.ended, self.took = control, False, []

    def run(self):
        while not self.ended:
            began = time.monotonic()
            p = start(1, BUILD / "l4proxyctl", "-s", self.control, "sessions",
                      "--json", stdout=subprocess.DEVNULL)
            assert p.wait() == 0
            self.took.append(time.monotonic() - began)


def turn(seconds, control=None):
    lister = Lister(control) if control else None
    if lister:
        lister.start()
    got = load("--flows", 64, "--seconds", seconds, *SIZES,
               "--source", "127.3.0.1")
    if lister:
        lister.ended = True
        lister.join()
        got["listings"] = len(lister.took)
        got["listing_ms"] = statistics.median(lister.took) * 1e3
    got["per_s"] = got["units"] / got["seconds"]
    return got


def ctl(control, *argv):
    return subprocess.run([BUILD / "l4proxyctl", "-s", control, "--json",
                           *argv], stdout=subprocess.PIPE, check=True,
                          text=True).stdout.splitlines()


def worker_cpu_us(control):
    return sum(json.loads(row)["cpu_s"] for row in ctl(control, "counters")
               if '"worker":' in row) * 1e6


def cost_of_listing(control, flows, times=20):
    """CPU of the worker for all of them, nothing else going on."""
    before = worker_cpu_us(control)
    for _ in range(times):
        assert len(ctl(control, "sessions")) == flows
    return (worker_cpu_us(control) - before) / times


def configure(directory, flows):
    control = directory / "control.sock"
    (directory / "l4proxyd.yaml").write_text(json.dumps({
        "applications": [{
            "name": "udp", "protocol": f"udp/{EDGE}",
            "edge_ips": ["127.0.0.1"], "idle_timeout_s": 3600,
            "origin_direct": [f"udp://127.0.0.1:{ORIGIN}"]}],
        "workers": 1, "udp_flows": flows + 100, "drain_s": 0,
        "event_log": "off", "control": str(control), "log_level": "error"}))
    return control


def measure(options, directory):
    control = configure(directory, options.flows)
    origin = start(1, BUILD / "bench/udp_echo", "--reply", 420,
                   f"127.0.0.1:{ORIGIN}", stdout=subprocess.DEVNULL)
    proxy = start(0, BUILD / "l4proxyd", "-c", directory / "l4proxyd.yaml")
    try:
        while not control.exists():
            assert proxy.poll() is None
            time.sleep(0.01)
        load("--flows", options.flows, "--hold", "--seconds", 60, *SIZES)
        cost_us = cost_of_listing(control, options.flows)
        rounds = [(turn(options.seconds), turn(options.seconds, control))
                  for _ in range(options.rounds)]
    finally:
        for p in (proxy, origin):
            p.terminate()
            p.wait()
    return rounds, cost_us


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--flows", type=int, default=15000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        rounds, cost_us = measure(options, pathlib.Path(d))
    print(f"{options.flows} idle flows, 64 busy ones\n")
    print("| | round trips/s | p50 us | p99 us | lost |")
    print("|---|---|---|---|---|")
    for i, name in enumerate(("no listing", "listing without a pause")):
        def median(key):
            return statistics.median(r[i][key] for r in rounds)
        print(f"| {name} | {median('per_s'):.0f} | {median('p50_us'):.0f} "
              f"| {median('p99_us'):.0f} | {median('lost'):.0f} |")
    took = statistics.median(r[1]["listing_ms"] for r in rounds)
    print(f"\na listing takes {took:.0f} ms; "
          f"{sum(r[1]['listings'] for r in rounds)} in all")
    print(f"the worker spends {cost_us / 1e3:.1f} ms on one, "
          f"{cost_us / options.flows * 128:.0f} us in a turn of its loop")


if __name__ == "__main__":
    main()
