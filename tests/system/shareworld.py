"""A client host and a server host on one wire, IPv4 and IPv6, with what two
daemons on one port are asked meanwhile, and a count of who answered."""
import collections
import contextlib
import select
import socket
import sys
import threading
import time

import harness
import oracle
from proxyharness import L4proxyd, Origin, read_exactly
from udporigin import UdpOrigin

TIME = {4: "192.0.2.1", 6: "2001:db8::1"}  # addresses of the server host
EDGE = {4: "192.0.2.9", 6: "2001:db8::9"}
ORIGIN = "127.0.0.1"
WILD = {4: "0.0.0.0", 6: "::"}
KINDS = [(p, f) for p in ("udp", "tcp") for f in (4, 6)]
MARK = b"customer:"
PORT = 2002


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def listening(proto, host, port, *flags):
    """A socket as a parent makes it; `flags` are set before bind."""
    s = socket.socket(family_of(host), socket.SOCK_DGRAM if proto == "udp"
                      else socket.SOCK_STREAM)
    if ":" in host:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    for flag in flags:
        s.setsockopt(socket.SOL_SOCKET, flag, 1)
    s.bind((host, port))
    if proto == "tcp":
        s.listen(1024)
    return s


# As the service manager does it (sd_listen_fds(3)): the sockets from
# descriptor 3 on, and a word about them for this very process.
HAND_OVER = r"""
import fcntl, os, sys
fds = [int(x) for x in sys.argv[1].split(",") if x]
apart = max([3, *fds]) + len(fds) + 1
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, apart) for fd in fds]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i)
os.closerange(3 + len(fds), max([apart, *high]) + 1)
os.environ.update(LISTEN_FDS=str(len(fds)), LISTEN_PID=str(os.getpid()),
                  LISTEN_FDNAMES=":".join(["test"] * len(fds)))
os.execvp(sys.argv[2], sys.argv[2:])
"""


def hand_over(daemon, sockets):
    fds = [s.fileno() for s in sockets]
    daemon.handed, daemon.sockets = fds, sockets  # the parent keeps them
    daemon.prefix = (*daemon.prefix, sys.executable, "-c", HAND_OVER,
                     ",".join(map(str, fds)))
    return daemon


def made_by(world, hosts, kinds=KINDS, port=PORT, queues=2):
    """Sockets of the server host: wildcards beside addresses need a flag of
    the maker's, as does each queue beside another."""
    return harness.inside(world.server, lambda: [
        listening(p, hosts[f], port, socket.SO_REUSEPORT)
        for p, f in kinds for _ in range(queues)])


def serve_customer(connection):
    with connection:
        while data := connection.recv(1 << 16):
            connection.sendall(MARK + data)


class World:
    """Both hosts, the customer's origin, and both daemons, not started."""

    def __init__(self, namespaces, directory, identity):
        self.identity, self.directory = identity, directory
        host = namespaces.host
        self.server = host("server", *(f"{a[f]}/{n}" for a in (TIME, EDGE)
                                       for f, n in ((4, 24), (6, 64))))
        self.client = host("client", "192.0.2.100/24", "2001:db8::100/64")
        self.udp = harness.inside(self.server, lambda: UdpOrigin(
            lambda d: [MARK + d.data], ORIGIN))
        self.tcp = harness.inside(
            self.server, lambda: Origin(serve_customer, ORIGIN))
        self.daemons = []

    def made(self, daemon):
        self.daemons.append(daemon)
        return daemon

    def prefix(self):
        return ("ip", "netns", "exec", self.server)

    def roughtimed(self, sharing, port=PORT, prefix=(), **more):
        config = harness.base_config(port, [self.identity],
                                     **{"workers": 2, **more},
                                     sharing=sharing)
        if "listen" not in more:
            config["listen"] = [{"address": a, "port": port}
                                for a in WILD.values()]
        return self.made(harness.Roughtimed(
            self.directory, config, prefix=(*self.prefix(), *prefix)))

    def apps(self, edges=None, port=PORT):
        edges = list(EDGE.values()) if edges is None else edges
        return [{"name": f"customer-{p}", "protocol": f"{p}/{port}",
                 "edge_ips": edges,
                 "origin_direct": [f"{p}://{ORIGIN}:{o.port}"]}
                for p, o in (("udp", self.udp), ("tcp", self.tcp))]

    def l4proxyd(self, sharing, apps=None, prefix=(), **more):
        return self.made(L4proxyd(
            self.directory, self.apps() if apps is None else apps,
            sharing=sharing, prefix=(*self.prefix(), *prefix),
            **{"drain_s": 2, **more}))

    def traffic(self, kinds=KINDS, **more):
        return Traffic(self, kinds, **more)

    def strangers(self):
        """What came to the customer's origin and is none of theirs."""
        return [d.data for d in self.udp.seen
                if d.data.startswith(oracle.MAGIC)]

    def stop(self):
        for daemon in self.daemons:
            if daemon.child is not None:
                daemon.stop()
        self.tcp.close()
        # its thread waits in the server host
        harness.inside(self.server, self.udp.close)


def start_again(daemon, end=harness.signal.SIGTERM, status=0):
    """Ends it and starts it anew; ready means a line of the new start."""
    daemon.stop(end, status)
    daemon.log_path.unlink()
    daemon.start()


class Traffic:
    """Clients of both services, a thread each, until the story ends; counts
    by (service, protocol, family): sent, answered, wrong, failed."""

    def __init__(self, world, kinds, edges=None, times=None, port=PORT,
                 wait_s=harness.PATIENCE_S, services=("time", "customer")):
        self.world, self.port, self.wait_s = world, port, wait_s
        self.count = collections.Counter()
        self.told, self.ending = [], False
        places = {"time": times or TIME, "customer": edges or EDGE}
        jobs = [(s, p, f, places[s][f]) for s in services
                for p, f in kinds]
        self.threads = harness.inside(world.client, lambda: [
            self.begin(*job) for job in jobs])

    def begin(self, *job):
        t = threading.Thread(target=self.run, args=job, daemon=True)
        t.start()
        return t

    def run(self, service, proto, family, host):
        where, n = (service, proto, family), 0
        ask = self.ask_udp if proto == "udp" else self.ask_tcp
        with contextlib.ExitStack() as held:
            udp = held.enter_context(socket.socket(
                family_of(host), socket.SOCK_DGRAM))
            udp.connect((host, self.port))
            while not self.ending:
                n += 1
                request = oracle.request("rfc") if service == "time" else \
                    b"%d of %s" % (n, proto.encode())
                self.count[where, "sent"] += 1
                try:
                    reply = ask(udp, host, request)
                    self.judge(where, request, reply)
                except (OSError, AssertionError) as e:
                    self.count[where, "failed"] += 1
                    self.told.append((where, repr(e)))
                time.sleep(0.002)

    def ask_udp(self, udp, _, request):
        udp.send(request)
        ready, _, _ = select.select([udp], [], [], self.wait_s)
        assert ready, "no reply"
        return udp.recv(1 << 16)

    def ask_tcp(self, _, host, request):
        with socket.create_connection((host, self.port), self.wait_s) as s:
            s.sendall(request)
            if request.startswith(oracle.MAGIC):
                head = read_exactly(s, 12)
                size = int.from_bytes(head[8:], "little")
                return head + read_exactly(s, size)
            return read_exactly(s, len(MARK + request))

    def judge(self, where, request, reply):
        if where[0] == "time":
            try:
                oracle.verify(request, reply, self.world.identity.public)
                good = True
            except oracle.Invalid:
                good = False
        else:
            good = reply == MARK + request
        self.count[where, "answered" if good else "wrong"] += 1
        if not good:
            self.told.append((where, request[:20], reply[:40]))

    def wait(self, more=20, only=None):
        """Until each kind of client has so many more answers."""
        since = dict(self.count)
        kinds = {k[0] for k in list(self.count) if only in (None, k[0][0])}

        def come():
            return kinds and all(
                self.count[k, "answered"] >= since.get((k, "answered"), 0)
                + more for k in kinds)
        try:
            harness.until(come, "more answers")
        except AssertionError as e:
            raise AssertionError(f"{self.count} {self.told[-5:]}") from e

    def total(self, what):
        return sum(n for (_, w), n in self.count.items() if w == what)

    def __enter__(self):
        harness.until(lambda: self.total("sent") >= len(self.threads),
                      "traffic")
        return self

    def __exit__(self, *failure):
        self.ending = True
        for t in self.threads:
            t.join(2 * self.wait_s)
            assert not t.is_alive()
        if failure[0] is None:
            assert self.total("wrong") == 0, self.told
            assert self.world.strangers() == []
