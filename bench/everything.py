#!/usr/bin/env python3
"""Every number, each beside its baseline, written to bench/results.md.

    make bench [PEERS=DIR] [QUICK=1] [ONLY=KEY,KEY ...]

Servers and proxies of a row are up together, pinned to their core, and take
turns A B A B ... under the same load generator; a ratio is of two turns of one
round. CPU time is the kernel's own, in nanoseconds. When the generator is the
slower side, the rate says little and the CPU time of a unit all.

ONLY measures some parts anew; the others stay as results.json has them, and
each says when it was measured. Rows of the proxy (udp64, veth ...) are printed
and not kept. QUICK: a turn of everything, to see that it works; the figures
mean little and go to build/bench/results.
"""
import argparse
import json
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


class Part:
    """What one section found."""

    def __init__(self, run):
        self.run = run
        self.goals, self.notes, self.points, self.text = [], [], {}, ""

    def __getattr__(self, name):  # how long, where: the same for all
        return getattr(self.run, name)

    def kept(self, took_s):
        return {"goals": self.goals, "notes": self.notes, "text": self.text,
                "points": self.points, "machine": bench.machine_lines(),
                "took_s": took_s}


class Run:
    """How long, and what was found so far, by section."""

    def __init__(self, args, directory):
        self.directory, self.out = directory, args.o
        self.store = os.path.join(args.o, "results.json")
        self.parts = stored(self.store) if args.only else {}
        self.rounds, self.few = (1, 1) if args.quick else (5, 3)
        self.seconds = 0.3 if args.quick else 2
        self.hash_rounds = 5 if args.quick else 51
        self.proxy_seconds = 0.3 if args.quick else 1.5

    @property
    def saturated(self):
        return self.parts["saturated"]["points"]["saturated"]

    def measure(self, key, section):
        part, began = Part(self), time.monotonic()
        section(part)
        self.parts[key] = part.kept(time.monotonic() - began)
        with open(self.store, "w") as f:  # what comes after may fail
            json.dump(self.parts, f, indent=1)
            f.write("\n")
        print(f"{key}: done", file=sys.stderr)


def wanted_sections(only, parts):
    keys = [k for k in SECTIONS if not only or k in only]
    if (any(k in AFTER_SATURATED for k in keys) and "saturated" not in keys and
            "saturated" not in parts):
        keys.insert(0, "saturated")
    return keys


def proxy_text(run, part, rows):
    argv = ["--rounds", str(run.rounds), "--few", str(run.few), "--seconds",
            str(run.proxy_seconds)]
    if rows:
        argv += ["--only", ",".join(rows)]
    text, summary, points = proxy.measure(proxy.arguments(argv))
    part.points = points
    keys = proxy.keys_of_titles()
    for title, figure, beside, values, goal, met in summary:
        part.goals.append([f"{title}: {figure}", beside, values, goal, met,
                           f"make bench ONLY={keys.get(title, 'proxy')}"])
    return text


def proxy_part(part):
    text = proxy_text(part.run, part, [])
    with open(os.path.join(part.out, "proxy.md"), "w") as f:
        f.write(text)
    part.text = "## The proxy\n\nAll of its figures are in `proxy.md`.\n"


def range_part(part):
    if os.geteuid() != 0:
        part.notes.append("port ranges are left out: not root")
        return
    path = os.path.join(part.out, "ranges.md")
    subprocess.run([sys.executable, os.path.join(bench.HERE, "ranges.py"),
                    "--rounds", str(part.few), "--out", path], check=True,
                   stdout=subprocess.DEVNULL)
    with open(path) as f:
        part.text = f"## Port ranges\n\n{f.read()}"


def when(part):
    """One line of a section's own: when, where, how busy."""
    lines = [line.removeprefix("- ") for line in part["machine"]]
    return f"*{'; '.join(lines)}; {part['took_s']:.0f} s.*\n"


def document(parts):
    """results.md, but for the plots."""
    keys = [k for k in (*SECTIONS, "proxy", "ranges") if k in parts]
    lines = [line for k in keys for line in parts[k]["goals"]]
    notes = dict.fromkeys(n for k in keys for n in parts[k]["notes"])
    texts = [parts[k]["text"].rstrip() + "\n\n" + when(parts[k])
             for k in keys if parts[k]["text"]]
    head = ("# Results of make bench\n\nEvery part says when and where it was "
            "measured; `README.md` says how.\n" +
            "".join(f"\n- {n}" for n in notes))
    return (head + "\n## What is to be reached\n\n" +
            bench.table(goals.HEAD, lines)), "\n".join(texts)


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--quick", action="store_true")
    p.add_argument("--only", default="", help=(
        f"{', '.join(SECTIONS)}, proxy, ranges, or rows of bench/proxy.py"))
    p.add_argument("-o", default=bench.HERE,
                   help="directory of results.md, proxy.md, ranges.md, plots")
    return p.parse_args()


def stored(path):
    try:
        with open(path) as f:
            return json.load(f)
    except FileNotFoundError:
        return {}


def measure(run, only):
    """Returns whether there is anything to be kept."""
    keys = wanted_sections(only, run.parts)
    for key in keys:
        run.measure(key, SECTIONS[key])
    for key, section in (("proxy", proxy_part), ("ranges", range_part)):
        if not only or key in only:
            run.measure(key, section)
            keys.append(key)
    rows = [k for k in only if k not in keys]
    if rows:
        print(proxy_text(run, Part(run), rows))
    return bool(keys)


def main():
    args = arguments()
    if (os.cpu_count() or 1) < 2 or shutil.which("taskset") is None:
        raise SystemExit("bench: needs taskset and two CPUs")
    only = [k for k in args.only.split(",") if k]
    os.makedirs(args.o, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        run = Run(args, directory)
        if not measure(run, only):
            return
    points = {k: v for part in run.parts.values()
              for k, v in part["points"].items()}
    table, text = document(run.parts)
    pictures = plots.all_plots(os.path.join(args.o, "plots"), points)
    with open(os.path.join(args.o, "results.md"), "w") as f:
        f.write(f"{table}\n{pictures}{text}")
    print(table)


if __name__ == "__main__":
    main()
