#!/usr/bin/env python3
"""Every number, each beside its baseline, written to bench/results.md.

    make bench [PEERS=DIR] [QUICK=1] [ONLY=KEY,KEY ...]

Servers and proxies of a row are up together, pinned to their core, and take
turns A B A B ... under the same load generator; a ratio is of two turns of one
round. CPU time is the kernel's own, in nanoseconds. When the generator is the
slower side, the rate says little and the CPU time of a unit all.

QUICK: a turn of everything, to see that it works; the figures mean little.
Then, and with ONLY, they go to build/bench/results.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

import bench
import goals
import plots
import proxy
import timerows

SECTIONS = {
    "hash": timerows.hash_rows,
    "core": timerows.core_rows,
    "saturated": timerows.saturated_rows,
    "lone": timerows.lone_rows,
    "half": timerows.half_rows,
    "latency": timerows.latency_rows,
    "workers": timerows.worker_rows,
    "batch": timerows.batch_points,
    "load": timerows.load_points,
}
AFTER_SATURATED = ("half", "load")  # their rates are parts of its


class Run:
    """How long, and what was found so far."""

    def __init__(self, args, directory):
        self.directory = directory
        self.rounds, self.few = (1, 1) if args.quick else (5, 3)
        self.seconds = 0.3 if args.quick else 2
        self.hash_rounds = 5 if args.quick else 51
        self.proxy_seconds = 0.3 if args.quick else 1.5
        self.goals, self.notes, self.points, self.text = [], [], {}, ""
        self.saturated = {}

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)


def wanted_sections(only):
    keys = [k for k in SECTIONS if not only or k in only]
    if any(k in AFTER_SATURATED for k in keys) and "saturated" not in keys:
        keys.insert(0, "saturated")
    return keys


def proxy_part(run, only):
    argv = ["--rounds", str(run.rounds), "--few", str(run.few), "--seconds",
            str(run.proxy_seconds)]
    if only:
        argv += ["--only", ",".join(only)]
    text, summary, points = proxy.measure(proxy.arguments(argv))
    run.points.update(points)
    keys = proxy.keys_of_titles()
    for title, figure, beside, values, goal, met in summary:
        run.goals.append([f"{title}: {figure}", beside, values, goal, met,
                          f"make bench ONLY={keys.get(title, 'proxy')}"])
    return text


def range_part(run):
    if os.geteuid() != 0:
        run.note("port ranges are left out: not root")
        return ""
    out = subprocess.run(
        [sys.executable, os.path.join(bench.HERE, "ranges.py"), "--rounds",
         str(run.few)], check=True, capture_output=True, text=True)
    return out.stdout


def header(args, took_s, notes):
    words = [f"{k}={v}" for k, v in (
        ("PEERS", "DIR" if timerows.timeserver.PEERS else ""),
        ("ONLY", args.only), ("QUICK", "1" if args.quick else "")) if v]
    lines = [*bench.machine_lines(),
             f"- command: make bench {' '.join(words)}".rstrip() +
             f"; it took {took_s / 60:.0f} minutes",
             *(f"- {n}" for n in notes)]
    if os.nice(0):
        lines.append(f"- niceness {os.nice(0)}")
    return "# Results of make bench\n\n" + "\n".join(lines) + "\n\n"


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--quick", action="store_true")
    p.add_argument("--only", default="", help=(
        f"{', '.join(SECTIONS)}, ranges, proxy, or rows of bench/proxy.py"))
    p.add_argument("-o", default=bench.HERE,
                   help="directory of results.md, proxy.md, ranges.md, plots")
    return p.parse_args()


def write(directory, name, text):
    with open(os.path.join(directory, name), "w") as f:
        f.write(text)


def measure(run, args):
    """Everything that is wanted; what comes of it stands in `run` and files."""
    only = [k for k in args.only.split(",") if k]
    for key in wanted_sections(only):
        SECTIONS[key](run)
        print(f"{key}: done", file=sys.stderr)
    rest = [k for k in only if k not in SECTIONS and k != "ranges"]
    if not only or rest:
        text = proxy_part(run, [k for k in rest if k != "proxy"])
        write(args.o, "proxy.md", text)
        run.text += "`proxy.md` has the proxy's rows.\n\n"
    if not only or "ranges" in only:
        text = range_part(run)
        write(args.o, "ranges.md", text)
        run.text += f"## Port ranges\n\n{text}\n"


def main():
    args = arguments()
    if (os.cpu_count() or 1) < 2 or shutil.which("taskset") is None:
        raise SystemExit("bench: needs taskset and two CPUs")
    began = time.monotonic()
    os.makedirs(args.o, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        run = Run(args, directory)
        measure(run, args)
    pictures = plots.all_plots(os.path.join(args.o, "plots"), run.points)
    text = (header(args, time.monotonic() - began, run.notes) +
            "## What is to be reached\n\n" +
            bench.table(goals.HEAD, run.goals) + "\n" + pictures + run.text)
    print(text)
    write(args.o, "results.md", text)


if __name__ == "__main__":
    main()
