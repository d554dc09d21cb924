"""Where bench/proxy.py measures: one host, or three on two wires.

A world knows how to start a program as the client, the proxy or the origin,
on which CPU, and what the kernel says they spent.
"""
import os
import signal
import subprocess
import tempfile

import bench

CPUS = {"proxy": bench.SERVER_CPU, "client": bench.LOAD_CPU,
        "origin": bench.LOAD_CPU}


def softirq_threads():
    """The kernel's threads that take over what comes too fast."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as f:
                if f.read().startswith("ksoftirqd/"):
                    found.append(int(pid))
        except OSError:
            pass  # gone meanwhile
    return found


def host_busy():
    """Seconds that the CPUs of this host were not idle (ticks of 10 ms)."""
    with open("/proc/stat") as f:
        ticks = [int(x) for x in f.readline().split()[1:]]
    user, nice, system, _, _, irq, softirq, steal = ticks[:8]
    return ((user + nice + system + irq + softirq + steal) /
            os.sysconf("SC_CLK_TCK"))


def memory(pid):
    """Bytes: what is ours alone of shared pages and all else (Pss), Rss."""
    figures = {}
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f.readlines()[1:]:
            key, value = line.split()[:2]
            figures[key] = int(value) * 1024
    return figures["Pss:"], figures["Rss:"]


class Process:
    def __init__(self, command):
        self.out = tempfile.TemporaryFile(mode="w+")
        self.command = command
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                        stdout=self.out, stderr=self.out,
                                        process_group=0)
        self.pid = self.process.pid

    def cpu(self):
        return bench.thread_times(self.pid)[0]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        try:  # its children, which may outlive it and hold the port
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.out.seek(0)
        text = self.out.read()
        self.out.close()
        return text


class World:
    """One host: all on loopback."""

    name = "loopback"
    edge = origin = direct = "127.0.0.1"
    udp_source = "127.0.2.1"  # and upwards: flows

    def __init__(self, own):
        self.tag = f"bench{os.getpid() % 100000}"
        self.spaces = []
        self.where = {}
        self.own = own  # a namespace, so that all ports are free

    def ip(self, *argv):
        subprocess.run(["ip", *argv], check=True, stdout=subprocess.DEVNULL)

    def add(self, role):
        name = f"{self.tag}-{role}"
        self.ip("netns", "add", name)
        self.spaces.append(name)
        self.ip("-n", name, "link", "set", "lo", "up")
        return name

    def build(self):
        if self.own:
            name = self.add("host")
            self.where = {role: name for role in CPUS}

    def __enter__(self):
        try:
            self.build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        for name in reversed(self.spaces):
            subprocess.run(["ip", "netns", "delete", name], check=False)
        self.spaces = []

    def command(self, role, argv):
        inside = self.where.get(role)
        return ([] if inside is None else ["ip", "netns", "exec", inside]) + [
            "taskset", "-c", str(CPUS[role]), *argv]

    def start(self, role, *argv):
        return Process(self.command(role, argv))


class ThreeHosts(World):
    """client - proxy - origin, each a namespace; and client - origin."""

    name = "three namespaces"
    edge, origin, direct = "10.209.1.2", "10.209.2.2", "10.209.3.2"
    udp_source = "10.209.4.1"
    flows = "10.209.4.0/22"

    def __init__(self):
        super().__init__(True)

    def wire(self, a, b, net):
        """A veth pair: `a` is .1 of the network, `b` is .2."""
        one, two = f"to-{b}", f"to-{a}"
        self.ip("-n", self.where[a], "link", "add", one, "type", "veth",
                "peer", "name", two, "netns", self.where[b])
        for role, link, host in ((a, one, 1), (b, two, 2)):
            space = self.where[role]
            self.ip("-n", space, "address", "add", f"{net}.{host}/24", "dev",
                    link)
            self.ip("-n", space, "link", "set", link, "up")

    def build(self):
        self.where = {role: self.add(role) for role in CPUS}
        self.wire("client", "proxy", "10.209.1")
        self.wire("proxy", "origin", "10.209.2")
        self.wire("client", "origin", "10.209.3")
        # each UDP flow is an address of the client
        self.ip("-n", self.where["client"], "route", "add", "local",
                self.flows, "dev", "lo")
        for role, via in (("proxy", "10.209.1.1"), ("origin", "10.209.3.1")):
            self.ip("-n", self.where[role], "route", "add", self.flows, "via",
                    via)
