"""What the drivers in this directory have in common: where things are, what
the kernel says of a process, and how figures are written down."""
import json
import os
import platform
import re
import statistics
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("BUILD", os.path.join(HERE, "..", "build"))
REQUEST_LEN = 1036
SERVER_CPU, LOAD_CPU = 0, 1


def built(*path):
    return os.path.join(BUILD, *path)


def of_the_dead(pid):
    """Seconds on a CPU of children that have ended (ticks of 10 ms)."""
    with open(f"/proc/{pid}/stat") as f:
        words = f.read().rsplit(")", 1)[1].split()
    return (int(words[13]) + int(words[14])) / os.sysconf("SC_CLK_TCK")


def thread_times(pid):
    """(on a CPU, waiting for one) in seconds, of all threads and children."""
    ran = waited = 0
    try:
        ran += of_the_dead(pid)
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/schedstat") as f:
                a, b, _ = f.read().split()
            with open(f"/proc/{pid}/task/{tid}/children") as f:
                kids = f.read().split()
            ran, waited = ran + int(a) / 1e9, waited + int(b) / 1e9
            for kid in kids:
                x, y = thread_times(int(kid))
                ran, waited = ran + x, waited + y
    except (FileNotFoundError, ProcessLookupError):
        pass  # a thread that ended meanwhile
    return ran, waited


def program_json(*command):
    out = subprocess.run(["taskset", "-c", str(SERVER_CPU), *command],
                         check=True, capture_output=True, text=True)
    return json.loads(out.stdout)


def spread(values, digits):
    values = sorted(values)
    return (f"{statistics.median(values):.{digits}f} "
            f"({values[0]:.{digits}f}-{values[-1]:.{digits}f})")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows]) + "\n"


def machine_lines():
    model = re.search(r"model name\s*:\s*(.*)", open("/proc/cpuinfo").read())
    commit = subprocess.run(["git", "-C", HERE, "rev-parse", "--short", "HEAD"],
                            capture_output=True, text=True).stdout.strip()
    return [f"- when: {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, "
            f"commit {commit}",
            f"- machine: {model.group(1) if model else 'unknown'}, "
            f"{os.cpu_count()} CPUs; kernel {platform.release()}",
            f"- load average before: {os.getloadavg()[0]:.2f}"]
