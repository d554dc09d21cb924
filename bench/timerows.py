"""The rows of results.md about the time server, and the points of its plots."""
import statistics

import goals
import timeserver
from bench import (LOAD_CPU, REQUEST_LEN, SERVER_CPU, built, program_json,
                   spread, table)

BURSTS = ["--flows", "16", "--window", "64"]
LONE = ["--flows", "256", "--window", "1", "--burst", "1"]
ONE = ["--flows", "1", "--window", "1"]
BATCHES = [1, 4, 16, 64, 256]
LOADS = [0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2]  # of the echo's rate
HEAD = ["", "replies/s", "server CPU, us a request", "server on its core, %",
        "waiting for it, %", "generator on its core, %", "lost, %", "p50, us",
        "p99, us"]
COLUMNS = [("rate", 0, 1), ("cpu_us", 2, 1), ("busy", 0, 100),
           ("waited", 0, 100), ("load_busy", 0, 100), ("lost", 2, 100),
           ("p50", 0, 1), ("p99", 0, 1)]


def only(key):
    return f"make bench ONLY={key}"


def median(turns, figure):
    return statistics.median(t[figure] for t in turns)


def turns_table(servers):
    return table(HEAD, [
        [s.name] + [spread([scale * t[figure] for t in s.turns], digits)
                    for figure, digits, scale in COLUMNS] for s in servers])


# ---- no socket ----

def hash_rows(run):
    rows = program_json(built("bench", "hash"), "--json", "--rounds",
                        str(run.hash_rounds))

    def cell(v):
        return f"{v[2]:.3f} ({v[0]:.3f}, {v[1]:.3f}-{v[3]:.3f})"
    run.text += (
        "## Leaf and node hash\n\nCPU time in us: median (fastest turn, "
        "quartiles). A leaf is the prefix byte and a 1036-byte request, a "
        f"node 65 bytes; {run.hash_rounds} turns each, in rotation.\n\n" +
        table(["", "us a leaf", "us a node"],
              [[r["name"], cell(r["leaf_us"]), cell(r["node_us"])]
               for r in rows]) + "\n")
    ours = rows[0]["leaf_us"]
    beside = ", ".join(f"{r['name']} {r['leaf_us'][2]:.2f}" for r in rows[1:])
    # its quartiles: the slowest turn of so many is somebody else's
    run.goals.append(goals.line("leaf hash of a request, us", beside,
                                ours[1:], "<= 0.60", only("hash"), 3))


def core_rows(run):
    rows = program_json(built("bench", "core"), "--json", "--rounds",
                        str(run.hash_rounds))
    run.text += (
        "## Pure core\n\nCPU time in us a request, version 1: median "
        "(fastest turn, quartiles).\n\n" +
        table(["", "batch", "us a request"],
              [[r["what"], str(r["batch"]),
                "{2:.3f} ({0:.3f}, {1:.3f}-{3:.3f})".format(*r["us"])]
               for r in rows]) + "\n")
    run.points["core"] = [(r["batch"], r["us"][2]) for r in rows
                          if r["what"] == "answer"]


# ---- saturated ----

def loaded(run, title, options, words):
    """Ours, the echo and the peers, taking turns under one load."""
    ours = timeserver.roughtimed(run.directory)
    reply, mean = timeserver.reply_len_under_load(ours, *options)
    others, absent = timeserver.peers(run.directory)
    servers = [ours, timeserver.echo(reply), *others]
    timeserver.take_turns(servers, run.rounds, run.seconds, *options)
    run.text += (
        f"## {title}\n\n{REQUEST_LEN} bytes in, {reply} out (batches of "
        f"{mean:.0f} on average); {words}; server on CPU {SERVER_CPU}, "
        f"generator on CPU {LOAD_CPU}; {run.rounds} rounds of {run.seconds} s, "
        "taking turns. Median (lowest-highest). A server that was on its core "
        "or waiting for it all the time was the slower side, not the "
        f"generator.\n\n{turns_table(servers)}\n")
    for name in absent:
        run.notes.append(f"{name} is absent "
                         f"({'not under' if timeserver.PEERS else 'no'} PEERS)")
    return servers


def ratio(run, what, ours, base, figure, goal, command):
    run.goals.append(goals.line(
        f"roughtimed, {what}", base.name,
        goals.by_round(ours.turns, base.turns, figure), goal, command))


SATURATED_GOALS = {"udp echo": (">= 0.85", "<= 1.15"),
                   "roughenough": (">= 1.9", "<= 0.53"),
                   "tannerryan/roughtime": (">= 4", "<= 0.25")}


def saturated_rows(run):
    servers = loaded(run, "One worker, clients that ask in bursts", BURSTS,
                     "16 flows of 64 outstanding, sent up to 16 at a time")
    for base in servers[1:]:
        rate, cpu = SATURATED_GOALS[base.name]
        ratio(run, "rate", servers[0], base, "rate", rate, only("saturated"))
        ratio(run, "CPU a request", servers[0], base, "cpu_us", cpu,
              only("saturated"))
    run.points["saturated"] = {s.name: median(s.turns, "rate")
                               for s in servers}


def lone_rows(run):
    servers = loaded(run, "One worker, one question a client", LONE,
                     "256 flows of one outstanding, so that no two replies of "
                     "a batch go to one client")
    for base in servers[1:]:
        cpu = SATURATED_GOALS[base.name][1]  # the same, where it is harder
        ratio(run, "CPU a request, one question a client", servers[0], base,
              "cpu_us", cpu, only("lone"))


# ---- not saturated ----

def half_rows(run):
    """At half of what the peer can do, everybody at the same rate."""
    ours = timeserver.roughtimed(run.directory)
    others, _ = timeserver.peers(run.directory)
    base = run.saturated.get("roughenough") or run.saturated["udp echo"] / 2
    rate = base / 2
    servers = [ours, timeserver.echo(ours_reply()), *others]
    timeserver.take_turns(servers, run.rounds, run.seconds, *BURSTS,
                          "--burst", "1", "--rate", f"{rate:.0f}")
    run.text += (f"## At half load\n\n{rate:.0f} requests a second for each, "
                 "half of what roughenough answered above.\n\n"
                 f"{turns_table(servers)}\n")
    for other in servers[2:]:
        ratio(run, "p99 at half its load", ours, other, "p99",
              "<= 1.0" if other.name == "roughenough" else "", only("half"))


def ours_reply():
    return 464  # bytes of a lone reply of version 1


def latency_rows(run):
    ours = timeserver.roughtimed(run.directory)
    others, _ = timeserver.peers(run.directory)
    base = timeserver.echo(ours_reply())
    servers = [ours, base, *others]
    timeserver.take_turns(servers, run.rounds, run.seconds, *ONE)
    sign = next(r for r in program_json(built("bench", "core"), "--json")
                if r["what"] == "sign")["us"][2]
    run.text += ("## A lone request\n\nOne after the other; one signature "
                 f"takes {sign:.1f} us of CPU.\n\n{turns_table(servers)}\n")
    run.goals.append(goals.line(
        "a lone request: p50 less the echo's less a signature, us", "udp echo",
        beyond(ours.turns, base.turns, sign), "<= 20", only("latency"), 1))


def beyond(ours, base, sign_us):
    return [a["p50"] - b["p50"] - sign_us for a, b in zip(ours, base)]


def worker_rows(run):
    cpus = f"{SERVER_CPU},{LOAD_CPU}"
    one = timeserver.roughtimed(run.directory, "1 worker", cpus=cpus)
    two = timeserver.roughtimed(run.directory, "2 workers", 2, cpus=cpus)
    timeserver.take_turns([one, two], run.rounds, run.seconds, *BURSTS)
    run.text += (
        f"## Two workers\n\nThe servers on CPUs {cpus}; the generator has CPU "
        f"{LOAD_CPU} too, so the rate is not theirs. What two can do is twice "
        "what one can, times the CPU time of one by that of two for a "
        f"request.\n\n{turns_table([one, two])}\n")
    run.goals.append(goals.line(
        "roughtimed, two workers, by CPU a request", "one worker",
        capacity(one.turns, two.turns), ">= 1.8", only("workers")))


def capacity(one, two):
    return [2 * r for r in goals.by_round(one, two, "cpu_us")]


# ---- points of plots ----

def batch_points(run):
    servers = [timeserver.roughtimed(run.directory, str(n), batch=n)
               for n in BATCHES]
    timeserver.take_turns(servers, run.few, run.seconds, *BURSTS)
    run.points["batch"] = [(int(s.name), median(s.turns, "cpu_us"))
                           for s in servers]
    run.text += ("## Batch size\n\n`batch: N`, clients that ask in bursts.\n\n"
                 + table(["N", "server CPU, us a request"],
                         [[s.name, spread([t["cpu_us"] for t in s.turns], 2)]
                          for s in servers]) + "\n")


def load_points(run):
    """{name: [(offered, answered, p50, p99), ...]}, a load that waits for
    nobody; each datagram by itself."""
    ours = timeserver.roughtimed(run.directory)
    others, _ = timeserver.peers(run.directory)
    servers = [ours, timeserver.echo(ours_reply()), *others]
    points = {s.name: [] for s in servers}
    for part in LOADS:
        rate = part * run.saturated["udp echo"]
        for s in servers:
            s.turns = []
        timeserver.take_turns(servers, run.few, run.seconds / 2, *BURSTS,
                              "--burst", "1", "--rate", f"{rate:.0f}")
        for s in servers:
            points[s.name].append(
                (rate, *(median(s.turns, f) for f in ("rate", "p50", "p99"))))
    run.points["load"] = points
    run.text += (
        "## Offered load\n\nRequests offered whatever comes back (1024 may be "
        "under way): answered a second, p50 and p99 in us.\n\n" +
        table(["offered", *points],
              [[f"{points[ours.name][i][0]:.0f}"] +
               [f"{p[i][1]:.0f}, {p[i][2]:.0f}, {p[i][3]:.0f}"
                for p in points.values()] for i in range(len(LOADS))]) + "\n")
