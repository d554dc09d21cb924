"""Fixtures of the system stories, and the rule that a skip is not a pass."""
import contextlib
import os
import subprocess

import harness
import pytest
from dnsharness import Named, tell
from fakedns import FakeDns
from proxyharness import Controlled, L4proxyd, Origin, application, echo
from shareworld import World
from street import Street
from udporigin import UdpOrigin, udp_application

not_run = []


def pytest_configure(config):
    """Of several processes that tell stories each has a network of its own:
    ports and programs in the kernel are nobody else's."""
    harness.small_pages()
    if hasattr(config, "workerinput") and os.geteuid() == 0:
        harness.own_network()


def did_not_run(request, why):
    """For a story that this machine cannot tell: loud, and in CI a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"did not run, which CI does not accept: {why}")
    not_run.append((request.node.nodeid, why))
    pytest.skip(why)


def pytest_terminal_summary(terminalreporter):
    for node, why in not_run:
        terminalreporter.write_line(f"DID NOT RUN: {node}: {why}", red=True)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_running():
    """A story that fails half-way may leave its daemon behind."""
    yield
    for daemon in harness.daemons:
        if daemon.child is not None and daemon.alive():
            daemon.child.kill()
            daemon.child.wait()


@pytest.fixture
def tmp_path(tmp_path_factory):
    return harness.new_directory(tmp_path_factory, "story")


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    """Programs of the story run in its directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def identity(tmp_path_factory):
    return harness.Identity(
        harness.new_directory(tmp_path_factory, "identity"))


@pytest.fixture(scope="module")
def server(tmp_path_factory, identity):
    """One plain daemon for the tests of a file that need no special one."""
    port = harness.free_port()
    directory = harness.new_directory(tmp_path_factory, "server")
    with harness.Roughtimed(directory,
                            harness.base_config(port, [identity])) as daemon:
        daemon.port = port
        yield daemon
        assert daemon.alive(), daemon.log()


@pytest.fixture
def start(tmp_path, identity):
    """start(key=value…) -> a running daemon; all are stopped cleanly."""
    running = []

    def make(keys=None, **config):
        daemon = launch(tmp_path, running, keys or [identity], config)
        daemon.wait_ready()
        return daemon
    yield make
    for daemon in running:
        daemon.stop()


def launch(tmp_path, running, keys, config):
    port = config.pop("port", None) or harness.free_port()
    full = harness.base_config(port, keys)
    prefix = config.pop("prefix", ())
    fake = config.pop("fake", None)
    full.update(config)
    full = {k: v for k, v in full.items() if v is not None}
    daemon = harness.Roughtimed(tmp_path, full, prefix=prefix,
                                name=f"roughtimed-{len(running)}",
                                env=fake.env() if fake else ())
    daemon.port = port
    running.append(daemon)
    return daemon.start(wait=False)


@pytest.fixture(scope="session")
def fakeclock_library(tmp_path_factory):
    return harness.FakeClock.build(
        harness.new_directory(tmp_path_factory, "fakeclock"))


@pytest.fixture
def clock(tmp_path, fakeclock_library):
    """A clock to set at will: start(fake=clock)."""
    return harness.FakeClock(tmp_path, fakeclock_library)


@pytest.fixture
def as_root(request):
    if os.geteuid() != 0:
        did_not_run(request, "needs root")


def started(make):
    """A fixture: what make(name of its files, …) makes is started, and stopped
    at the end."""
    running = []

    def one(*args, **more):
        running.append(make(f"l4proxyd-{len(running)}", *args, **more))
        return running[-1].start()
    yield one
    for made in running:
        made.stop()


@pytest.fixture
def proxy(tmp_path):
    """proxy(origin…, key=value…) -> a running daemon with one application;
    all are stopped cleanly."""
    def make(file, /, *origins, daemon=None, **rules):
        port = rules.pop("port", None) or harness.free_port()
        app = application(port, *origins, **rules)
        made = L4proxyd(tmp_path, [app], name=file, **(daemon or {}))
        made.port, made.app = port, app
        return made
    yield from started(make)


@pytest.fixture
def origin():
    """origin(serve) -> an Origin that is closed at the end."""
    made = []

    def make(serve=echo, **more):
        made.append(Origin(serve, **more))
        return made[-1]
    yield make
    for o in made:
        o.close()


@pytest.fixture
def tcp():
    """A TCP server that echoes."""
    with Origin(echo) as o:
        yield o


@pytest.fixture
def controlled(tmp_path):
    """controlled(application…, key=value…) -> a running daemon with a control
    socket; all are stopped cleanly."""
    def make(name, *applications, **more):
        return Controlled(tmp_path, list(applications), name=name, **more)
    yield from started(make)


@pytest.fixture
def dns():
    server = FakeDns()
    yield server
    server.close()


@pytest.fixture
def origins():
    """origins(n) -> n TCP servers at 127.0.0.2 and up on one port, each of
    which says its address, then echoes."""
    with contextlib.ExitStack() as stack:
        def make(n, port=None):
            port = port or harness.free_port()
            return [stack.enter_context(Origin(
                tell(f"127.0.0.{i + 2}"), f"127.0.0.{i + 2}", port))
                for i in range(n)]
        yield make


@pytest.fixture
def dns_proxy(tmp_path, dns):
    """dns_proxy(origin port or None, key=value…) -> a running daemon that has
    asked for its origin's name; it is stopped cleanly."""
    with contextlib.ExitStack() as stack:
        def make(port, wait=True, **rules):
            p = stack.enter_context(Named(tmp_path, dns, port, **rules))
            if wait:
                p.wait_resolved()
            return p
        yield make


@pytest.fixture
def udp_proxy(tmp_path):
    """udp_proxy(serve, key=value…) -> a daemon with one application of UDP, and
    its origin; both are stopped cleanly."""
    running = []

    def make(serve=lambda d: [d.data], daemon=None, **rules):
        o = UdpOrigin(serve)
        port = harness.free_port()
        app = udp_application(port, o, **rules)
        p = L4proxyd(tmp_path, [app], name=f"l4proxyd-{len(running)}",
                     drain_s=0, **(daemon or {}))
        p.port, p.app = port, app
        running.append((p, o))
        return p.start(), o
    yield make
    for p, o in running:
        p.stop()
        o.close()


class Namespaces:
    """Hosts on one wire: network namespaces at a bridge of their own."""

    def __init__(self):
        self.tag = f"ts{os.getpid() % 100000}"
        self.names = []

    @staticmethod
    def ip(*argv):
        subprocess.run(["ip", *argv], check=True, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE)

    def start(self):
        self.wire = self.add("wire")
        self.inside(self.wire, "link", "add", "br0", "type", "bridge")
        self.inside(self.wire, "link", "set", "br0", "up")

    def add(self, name):
        name = f"{self.tag}-{name}"
        self.ip("netns", "add", name)
        self.names.append(name)
        self.inside(name, "link", "set", "lo", "up")
        return name

    def inside(self, name, *argv):
        self.ip("-n", name, *argv)

    def host(self, name, *addresses):
        """A namespace with these addresses on the wire; its full name."""
        full = self.add(name)
        port = f"p{len(self.names)}"
        self.inside(self.wire, "link", "add", port, "type", "veth", "peer",
                    "name", "eth0", "netns", full)
        self.inside(self.wire, "link", "set", port, "master", "br0", "up")
        for address in addresses:
            self.inside(full, "address", "add", address, "dev", "eth0",
                        *(["nodad"] if ":" in address else []))
        self.inside(full, "link", "set", "eth0", "up")
        return full

    def stop(self):
        for name in reversed(self.names):
            self.ip("netns", "delete", name)


@pytest.fixture
def world(namespaces, tmp_path, identity):
    """Two hosts on one wire, for two daemons on one port."""
    w = World(namespaces, tmp_path, identity)
    yield w
    w.stop()


@pytest.fixture(scope="module")
def street(request):
    """Three hosts in a row, for all stories of a file."""
    if os.geteuid() != 0:
        did_not_run(request, "needs root")
    world = Namespaces()
    world.tag += "s"
    try:
        yield Street(world)
    finally:
        world.stop()


@pytest.fixture
def namespaces(request, as_root):
    world = Namespaces()
    try:
        world.start()
    except (OSError, subprocess.CalledProcessError) as e:
        world.stop()
        did_not_run(request, f"no network namespaces here: {e}")
    yield world
    world.stop()
