#!/usr/bin/env python3
"""Third-party clients against our roughtimed, our client against theirs.

    make interop PEERS=DIR          (or: interop.py --peers DIR)

DIR holds the peers as docs/interop.md describes; peers.py lists the paths
below it. A peer that is not there is named as absent. When a variant fails
against our server, it is tried against the peers' own servers: if none of
them satisfies it either, it is not applicable; if one does, we have failed.
Exit: 0 no failure, 1 a failure, 2 nothing to run.
"""
import argparse
import base64
import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import peers

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "system"))
from harness import FakeClock, free_port  # noqa: E402
from oracle import public_of, trunc  # noqa: E402

HOST = "127.0.0.1"
TEST_SEED = bytes.fromhex(peers.TEST_SEED_HEX)
PUBLIC_TEXT = "docs/interop.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
Row = collections.namedtuple("Row", "server client transport result reason")


class Process:
    """A server that we started; ended by its pid.

    respawn: one that ends itself on a packet it does not like is started
    again, as its keeper would have to do (at most 200 times).
    """

    def __init__(self, argv, log, cwd=None, respawn=False, env=()):
        self.argv, self.cwd, self.log = argv, cwd, open(log, "ab")
        self.env = {**os.environ, **dict(env)}
        self.child, self.stopping = None, threading.Event()
        self.start()
        self.keeper = threading.Thread(target=self.keep, daemon=True)
        if respawn:
            self.keeper.start()

    def keep(self):
        for _ in range(200):
            while self.child.poll() is None:
                if self.stopping.wait(0.02):
                    return
            if self.stopping.is_set():
                return
            self.child.stdin.close()
            self.start()

    def start(self):
        # pyroughtime's server ends when its standard input does.
        self.child = subprocess.Popen(
            self.argv, cwd=self.cwd, env=self.env, stdin=subprocess.PIPE,
            stdout=self.log, stderr=subprocess.STDOUT)

    def stop(self):
        self.stopping.set()
        if self.keeper.is_alive():
            self.keeper.join()
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdin.close()
        self.log.close()


class Bench:
    """Where everything of one run lives."""

    def __init__(self, args, work):
        self.peers = pathlib.Path(args.peers).resolve()
        self.build, self.work = args.build, work
        self.verbose, self.whole = args.verbose, not args.only
        self.clock = None
        self.others = list(peers.SERVERS)  # to tell failed from impossible

    def expand(self, words, **fill):
        """Fills in {…}; a plain word with a slash is a path below PEERS."""
        return [w.format(**fill) if "{" in w else
                str(self.peers / w) if "/" in w else w for w in words]

    def missing(self, peer):
        """The first file of this peer that is not there, or None."""
        tool = peer.argv[0]
        if "/" not in tool and shutil.which(tool) is None:
            return tool
        for name in ((tool,) if "/" in tool else ()) + peer.needs:
            if not (self.peers / name).exists():
                return name
        return None

    def run(self, argv, timeout_s=20):
        """(exit status or None on time-out, output without colours)."""
        try:
            p = subprocess.run(argv, cwd=self.peers, timeout=timeout_s,
                               stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
            rc, out = p.returncode, p.stdout
        except subprocess.TimeoutExpired as e:
            rc, out = None, e.stdout or b""
        out = re.sub(r"\x1b\[[0-9;]*m", "", out.decode(errors="replace"))
        if self.verbose:
            print(f"# {' '.join(argv)}\n# exit {rc}\n{out}", file=sys.stderr)
        return rc, out

    def tool(self, name, *argv, **more):
        return subprocess.run([str(self.build / name), *argv], check=True,
                              stdout=subprocess.PIPE, text=True,
                              **more).stdout.strip()


# -- our server, their clients ------------------------------------------------

class Target:
    """A server to ask: port and key, and three identities on one port."""

    def __init__(self, port, key, three=()):
        self.port, self.key, self.three = port, key, three

    def argv(self, bench, client):
        return bench.expand(client.argv, host=HOST, port=self.port,
                            key=self.key,
                            keyhex=base64.b64decode(self.key).hex(),
                            list=self.write_list(bench, client))

    def write_list(self, bench, client):
        listed = self.three if client.asks == "three" else \
            [(self.port, self.key)] * 3
        return write_list(bench.work / "list.json", client.transport, listed)


def write_list(path, transport, listed):
    """A server list (RFC 10049 section 8.3) of (port, key) pairs."""
    path.write_text(json.dumps({"servers": [
        {"name": f"server {i}", "version": "IETF-Roughtime",
         "publicKeyType": "ed25519", "publicKey": key,
         "addresses": [{"protocol": transport,
                        "address": f"{HOST}:{port}"}]}
        for i, (port, key) in enumerate(listed)]}))
    return path


def start_ours(bench, names):
    """roughtimed with identities `names`; returns (process, port, keys)."""
    port, keys = free_port(), []
    config = [f"listen:\n  - {{address: {HOST}, port: {port},"
              " transports: [udp, tcp]}", "identities:"]
    for name in names:
        keyfile = bench.work / f"{name}.key"
        bench.tool("roughtime-keys", "generate", "-o", str(keyfile))
        keys.append(bench.tool("roughtime-keys", "public", str(keyfile)))
        config.append(f"  - {{name: {name}, key: {keyfile}}}")
    path = bench.work / f"{names[0]}.yaml"
    path.write_text("\n".join([*config, ""]))
    # A test machine's clock may be unsynchronised, and getroughtime takes no
    # radius over 10 s. The peers compare with that same clock anyway.
    process = Process([str(bench.build / "roughtimed"), "-c", str(path)],
                      bench.work / f"{names[0]}.log", env=bench.clock.env())
    return process, port, keys


def wait_tcp(port, process, what):
    for _ in range(100):
        if process.child.poll() is not None:
            break
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, port), 1).close()
            return
        time.sleep(0.1)
    raise SystemExit(f"{what} does not start, see its log:\n" +
                     pathlib.Path(process.log.name).read_text()[-2000:])


def why(rc, out):
    """The exit status and the last line of output, without a timestamp."""
    last = [line for line in out.splitlines() if line.strip()][-1:]
    text = re.sub(r"^[-0-9T:.Z]{20,} +", "", (last or ["no output"])[0])
    return f"exit {rc}: {text.strip()[:90]}"


def ask(bench, client, target):
    """(good, reason)"""
    rc, out = bench.run(target.argv(bench, client), client.timeout_s)
    good = rc == 0 and not re.search(client.bad, out) and \
        len(re.findall(client.ok, out)) >= client.times
    if good:
        return True, ""
    return False, why(rc, out)


def satisfied_elsewhere(bench, client):
    """The name of a peer server that satisfies a variant, or None."""
    if client.asks == "three":
        return None  # they have one key each
    for server in bench.others:
        if bench.missing(server):
            continue
        with running(bench, server) as target:
            good, _ = ask(bench, client, target)
        if good:
            return server.peer
    return None


def label(client):
    mark = " *" if client.wrapper else ""
    return f"{client.peer}: {client.variant}{mark}"


def their_clients(bench, target):
    for client in peers.CLIENTS:
        def row(result, reason="", client=client):
            return Row("roughtimed", label(client), client.transport, result,
                       reason)
        absent = bench.missing(client)
        if absent:
            yield row("absent", f"PEERS/{absent}")
            continue
        good, reason = ask(bench, client, target)
        if not good:  # one more time: a loaded machine loses datagrams
            good, reason = ask(bench, client, target)
        if good:
            yield row("ok")
            continue
        other = satisfied_elsewhere(bench, client)
        if other is None and bench.others and client.asks != "three":
            yield row("not applicable",
                      f"no server satisfies it ({reason})")
        else:
            yield row("failed", reason + (f"; {other} satisfies it"
                                          if other else ""))


# -- their servers, our client ------------------------------------------------

@contextlib.contextmanager
def running(bench, server, seed=TEST_SEED):
    """Starts a peer's server under a seed; gives a Target."""
    port, conf = free_port(), bench.work / "peer.conf"
    seedfile = bench.work / f"{seed.hex()[:8]}.seed"
    seedfile.touch(0o600)
    seedfile.write_text(seed.hex())
    fill = dict(host=HOST, port=port, conf=conf, seed=seed.hex(),
                seedb64=base64.b64encode(seed).decode(), seedfile=seedfile)
    if server.conf:
        bench.run(bench.expand(server.conf, **fill))
    process = Process(bench.expand(server.argv, **fill),
                      bench.work / "peer.log", bench.peers, server.respawn)
    try:
        wait_bound(port)
        yield Target(port, base64.b64encode(public_of(seed)).decode())
    finally:
        process.stop()


def wait_bound(port):
    """Until somebody has the UDP port: our own bind then fails."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            try:
                s.bind((HOST, port))
            except OSError:
                return
        time.sleep(0.1)


def our_client(bench):
    for server in peers.SERVERS:
        absent = bench.missing(server)
        if absent:
            yield query_row(server, "", "absent", f"PEERS/{absent}")
            continue
        with running(bench, server) as target:
            for more in ("", *server.pinned):
                yield query(bench, server, target, more)


def query_row(server, more, result, reason=""):
    mark = " *" if server.wrapper else ""
    return Row(server.peer + mark,
               f"roughtime query {more or '(no flags)'}",
               "tcp" if "--tcp" in more else "udp", result, reason)


def query(bench, server, target, more):
    """One row: our client verifies this server, and says which version."""
    rc, out = bench.run([str(bench.build / "roughtime"), "query",
                         *more.split(), f"{HOST}:{target.port}", target.key],
                        60)
    if rc != 0 or "(verified)" not in out:
        return query_row(server, more, "failed", why(rc, out))
    spoken = re.search(r"(?m)^version +(.*)", out)
    return query_row(server, more, "ok", spoken[1] if spoken else "")


def measurement(bench):
    """One measurement (RFC 10049 section 8.2) over all of their servers."""
    servers = [s for s in peers.SERVERS
               if not (s.wrapper or "grease" in s.peer or bench.missing(s))]

    def row(result, reason):
        return Row(f"{len(servers)} peers at once", "roughtime measure",
                   "udp", result, reason)
    if len(servers) < 3:
        return row("absent", "fewer than three peer servers")
    with contextlib.ExitStack() as stack:
        three = [stack.enter_context(running(
            bench, s, trunc(f"test seed {i}".encode())))
            for i, s in enumerate(servers)]
        path = write_list(bench.work / "measure.json", "udp",
                          [(t.port, t.key) for t in three])
        rc, out = bench.run([str(bench.build / "roughtime"), "measure", "-l",
                             str(path), "--servers", str(len(servers)), "-o",
                             str(bench.work / "report.json")], 60)
    if rc != 0:
        return row("failed", why(rc, out))
    rc, out = bench.run([str(bench.build / "roughtime"), "verify",
                         str(bench.work / "report.json")])
    return row("ok" if rc == 0 else "failed",
               "consistent, and its report verifies" if rc == 0
               else why(rc, out))


# -- the table ----------------------------------------------------------------

def show(row):
    print(f"{row.result:<15} {row.server:<34} {row.transport} "
          f"{row.client:<60} {row.reason}".rstrip(), flush=True)


def summary(rows):
    n = collections.Counter(r.result for r in rows)
    lines = []
    if n["not applicable"]:
        lines.append(f"{n['not applicable']} not applicable")
    if n["absent"]:
        names = sorted({r.reason for r in rows if r.result == "absent"})
        lines.append(f"{n['absent']} absent: {', '.join(names)}")
    lines.append(f"{n['ok']} passed, {n['failed']} failed")
    return lines


def markdown(rows):
    lines = ["| server | client | over | result |", "|---|---|---|---|"]
    for r in rows:
        reason = f" ({r.reason})" if r.reason else ""
        lines.append(f"| {r.server} | {r.client} | {r.transport} | "
                     f"{r.result}{reason} |")
    return "\n".join([*lines, "", *summary(rows)])


def write_markdown(path, rows):
    """Replaces what stands between the two marks of the page."""
    page = path.read_text()
    head, rest = page.split(BEGIN)
    tail = rest.split(END)[1]
    path.write_text(f"{head}{BEGIN}\n{markdown(rows)}\n{END}{tail}")


def options():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--peers", default=os.environ.get("PEERS"),
                   help="directory of the peers (default: $PEERS)")
    p.add_argument("--build", default=os.environ.get("BUILD", "build"),
                   type=pathlib.Path, help="our programs (default: $BUILD)")
    p.add_argument("--markdown", type=pathlib.Path, metavar="FILE",
                   help=f"also write the table into FILE ({PUBLIC_TEXT})")
    p.add_argument("--against", metavar="PORT,KEY",
                   help="run the clients against this server of 127.0.0.1, "
                   "not ours, and nothing else")
    p.add_argument("--only", default="", metavar="REGEX",
                   help="only pairs whose names match")
    p.add_argument("-v", "--verbose", action="store_true",
                   help="every command and its output")
    args = p.parse_args()
    if not args.peers:
        p.exit(2, "interop: say where the peers are: make interop "
               f"PEERS=DIR ({PUBLIC_TEXT} describes DIR)\n")
    if not pathlib.Path(args.peers).is_dir():
        p.exit(2, f"interop: {args.peers} is not a directory\n")
    args.build = args.build.resolve()
    return args


def select(pattern):
    keep = re.compile(pattern)
    peers.CLIENTS = [c for c in peers.CLIENTS
                     if keep.search(f"{label(c)} {c.transport}")]
    peers.SERVERS = [s for s in peers.SERVERS if keep.search(s.peer)]


def run_all(bench, stack):
    bench.clock = FakeClock(bench.work, FakeClock.build(bench.work))
    one, port, (key,) = start_ours(bench, ["one"])
    stack.callback(one.stop)
    three, port3, keys3 = start_ours(bench, ["first", "second", "third"])
    stack.callback(three.stop)
    wait_tcp(port, one, "roughtimed")
    wait_tcp(port3, three, "roughtimed with three identities")
    target = Target(port, key, [(port3, k) for k in keys3])
    yield from their_clients(bench, target)
    yield from our_client(bench)
    if bench.whole:
        yield measurement(bench)
    if one.child.poll() is not None or three.child.poll() is not None:
        yield Row("roughtimed", "(all of them)", "-", "failed",
                  "the daemon ended during the run")


def main():
    args = options()
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(
            tempfile.TemporaryDirectory(prefix="interop-")))
        bench = Bench(args, work)
        select(args.only)
        if args.against:
            bench.others.clear()
            port, key = args.against.split(",")
            three = [(port, key)] * 3
            found = their_clients(bench, Target(port, key, three))
        else:
            found = run_all(bench, stack)
        rows = []
        for row in found:
            show(row)
            rows.append(row)
    if args.markdown:
        write_markdown(args.markdown, rows)
    print("\n".join(summary(rows)))
    results = {r.result for r in rows}
    if "failed" in results:
        return 1
    return 0 if "ok" in results else 2


if __name__ == "__main__":
    sys.exit(main())
