"""One port, two daemons, on a host of their own that a client asks over a wire:
the time server on all addresses, customers' applications on some of them."""
import contextlib
import errno
import socket
import subprocess
import sys
import threading
import time

import harness
import oracle
from proxyharness import L4proxyd, Origin, echo, read_exactly
from udporigin import UdpOrigin

PORT = 2002
TIME = {4: "192.0.2.1", 6: "2001:db8::1"}  # the time server keeps these
EDGE = {4: "192.0.2.9", 6: "2001:db8::9"}  # a customer's
MORE = {4: "192.0.2.8", 6: "2001:db8::8"}  # another's, later
ORIGIN = "127.0.0.11"
NOBODY, STRANGER = 65534, 31337


class TwoDaemons:
    """A time server, a proxy, and the origins of the customers."""

    def origin(self, transport):
        return self.udp_origin if transport == "udp" else self.tcp_origin

    @staticmethod
    def start_again(daemon, wait=True):
        """Ready means a line of this start: not one of the start before."""
        daemon.log_path.unlink()
        daemon.start(wait)

    def stop(self):
        for daemon in (self.proxy, self.time):
            if daemon.child is not None:
                daemon.stop()
        self.tcp_origin.close()
        self.udp_origin.close()


class SharedPort(TwoDaemons):
    """Both daemons, not started; their place and who looks at it."""

    def __init__(self, world, directory, identity, transports=("udp", "tcp"),
                 versions=(4, 6), time=None, proxy=None):
        self.identity, self.versions = identity, versions
        self.transports = transports
        places = [m[v] + ("/24" if v == 4 else "/64")
                  for m in (TIME, EDGE, MORE) for v in (4, 6)]
        self.server = world.host("server", *places)
        self.client = world.host("client", "192.0.2.100/24",
                                 "2001:db8::100/64")
        self.tcp_origin = self.on_server(lambda: Origin(echo, ORIGIN))
        self.udp_origin = self.on_server(lambda: UdpOrigin(address=ORIGIN))
        prefix = ("ip", "netns", "exec", self.server)
        config = harness.base_config(
            PORT, [identity], workers=2,
            sharing={"mode": "guarded", "socket": str(directory / "guard")})
        config["listen"] = [
            {"address": {4: "0.0.0.0", 6: "::"}[v], "port": PORT,
             "transports": list(transports)} for v in versions]
        config.update(time or {})
        self.time = harness.Roughtimed(directory, config, prefix=prefix)
        self.proxy = L4proxyd(
            directory, self.applications(EDGE), prefix=prefix,
            **{"drain_s": 0, "sharing": {"mode": "guarded",
                                         "peer": str(directory / "guard")},
               **(proxy or {})})

    def applications(self, *edges):
        return [{"name": f"{t}-{i}", "protocol": f"{t}/{PORT}",
                 "edge_ips": [e[v] for v in self.versions],
                 "origin_direct": [f"{t}://{ORIGIN}:{self.origin(t).port}"]}
                for t in self.transports for i, e in enumerate(edges)]

    def on_server(self, make):
        return harness.inside(self.server, make)

    def on_client(self, make):
        return harness.inside(self.client, make)

    def tells_the_time(self, hosts=TIME):
        for v in self.versions:
            for kind in (harness.Udp, harness.Tcp):
                if kind.__name__.lower() not in self.transports:
                    continue
                with self.on_client(lambda: kind(hosts[v], PORT)) as c:
                    c.verified(self.identity.public)

    def echoes(self, hosts=EDGE, word=b"customer"):
        for v in self.versions:
            with self.on_client(lambda: harness.Udp(hosts[v], PORT)) as c:
                assert c.ask(word) == word
            if "tcp" not in self.transports:
                continue
            with self.on_client(lambda: harness.Tcp(hosts[v], PORT)) as c:
                c.send(word)
                assert read_exactly(c.socket, len(word)) == word

    def both(self):
        self.tells_the_time()
        self.echoes()

    def foreign(self):
        """What the time server has taken and not answered, by transport."""
        counters = self.time.counters()
        return {"udp": counters["udp_drop_foreign"],
                "tcp": counters["tcp_refused_foreign"],
                "kept": counters["kept_drop"]}

    def moved(self, before):
        after = self.foreign()
        return {k for k in after if after[k] != before[k]}

    @contextlib.contextmanager
    def load(self, hosts):
        """Clients that never stop, at these addresses: a list of Udp and
        TcpLoad, which can be looked at while they run."""
        made = [self.on_client(lambda: kind(hosts[v], self.identity))
                for v in self.versions for kind in (UdpLoad, TcpLoad)
                if kind.transport in self.transports]
        try:
            for load in made:
                load.flows()
            yield made
        finally:
            for load in made:
                load.end()

    @staticmethod
    def test(daemon):
        """-t, in its place."""
        return subprocess.run(
            [*daemon.prefix, daemon.program, "-t", *daemon.command()],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            timeout=harness.PATIENCE_S)

    def binds(self, uid, tries):
        """Of (transport, host, flag) those with which a process of `uid` on
        that host gets the port."""
        code = ("import os, socket\n"
                f"os.setuid({uid})\n"
                f"for family, kind, host, flag, name in {tries}:\n"
                "    s = socket.socket(family, kind)\n"
                "    s.setsockopt(socket.SOL_SOCKET, flag, 1)\n"
                "    try:\n"
                f"        s.bind((host, {PORT}))\n"
                "        if kind == socket.SOCK_STREAM:\n"
                "            s.listen()\n"
                "        print(name)\n"
                "    except OSError as e:\n"
                f"        assert e.errno == {errno.EADDRINUSE}, e\n"
                "    s.close()\n")
        p = subprocess.run(["ip", "netns", "exec", self.server,
                            sys.executable, "-c", code], check=True,
                           stdout=subprocess.PIPE, text=True)
        return p.stdout.splitlines()

    def nobody_else_gets_in(self):
        tries = [(int(family(host)), kind(transport), host, flag,
                  f"{transport} {host} flag {flag}")
                 for transport in self.transports for v in self.versions
                 for host in (TIME[v], EDGE[v], {4: "0.0.0.0", 6: "::"}[v])
                 for flag in (socket.SO_REUSEADDR, socket.SO_REUSEPORT)]
        for uid in NOBODY, STRANGER:
            assert self.binds(uid, tries) == []


class Load:
    """One client in a thread of its own. What it sends is a good request to the
    time server, which would answer it; a customer's origin says the same
    again."""

    def __init__(self, host, identity):
        self.host, self.identity = host, identity
        self.sent = self.echoed = self.answered = self.failed = 0
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def request(self):
        return oracle.request("rfc", srv_value=self.identity.srv)

    def heard(self, packet, reply):
        if reply == packet:
            self.echoed += 1
        else:
            self.answered += 1

    def flows(self, more=20):
        """So many more good exchanges, from now on."""
        enough = self.echoed + self.answered + more
        harness.until(lambda: self.echoed + self.answered >= enough,
                      f"{more} more of {self}")

    def end(self):
        self.ending.set()
        self.thread.join(harness.PATIENCE_S)
        assert not self.thread.is_alive()

    def __repr__(self):
        return (f"{type(self).__name__} {self.host}: sent {self.sent}, echoed "
                f"{self.echoed}, answered {self.answered}, failed "
                f"{self.failed}")


class UdpLoad(Load):
    """Datagrams, a thousand a second at most."""
    transport = "udp"

    def run(self):
        with harness.Udp(self.host, PORT) as client:
            waiting = {}
            while not self.ending.is_set():
                packet = self.request()
                waiting[harness.nonce_of(packet)] = packet
                with contextlib.suppress(OSError):  # ICMP of an earlier one
                    client.send(packet)
                self.sent += 1
                self.listen(client, waiting, 0.001)
            end = time.monotonic() + 5
            while waiting and time.monotonic() < end:
                if not self.listen(client, waiting, 0.5):
                    break
            self.failed = len(waiting)

    def listen(self, client, waiting, timeout_s):
        """True: something was heard."""
        try:
            reply = client.receive(timeout_s)
        except OSError:
            return True
        if reply is None:
            return False
        packet = waiting.pop(harness.nonce_of(reply), None)
        if packet is not None:
            self.heard(packet, reply)
        return True


class TcpLoad(Load):
    """Connections, one after the other."""
    transport = "tcp"

    def run(self):
        while not self.ending.is_set():
            packet = self.request()
            self.sent += 1
            try:
                with harness.Tcp(self.host, PORT) as client:
                    client.socket.settimeout(5)
                    client.send(packet)
                    reply = client.receive()
            except OSError:
                reply = None
            if reply is None:
                self.failed += 1
                time.sleep(0.005)
            else:
                self.heard(packet, reply)


def family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def kind(transport):
    return int(socket.SOCK_DGRAM if transport == "udp"
               else socket.SOCK_STREAM)
