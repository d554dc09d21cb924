"""Other people's servers, to be put behind the proxy.

Each runs as nobody in a directory of its own on a free port, not as the
service that its package would have started.
"""
import os
import shutil
import socket
import subprocess

import harness
from proxyharness import L4proxyd

SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def program(name):
    found = shutil.which(name, path=SBIN)
    assert found, f"no {name}: ./check installs it"
    return found


def command(name, *argv, check=True, timeout_s=60, **more):
    """A client, to its end; its standard output."""
    done = subprocess.run([program(name), *map(str, argv)],
                          stdin=None if "input" in more
                          else subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True,
                          timeout=timeout_s, **more)
    if check:
        assert done.returncode == 0, (done.args, done.stdout, done.stderr)
    return done.stdout


def listens(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


class Service:
    """A server in the foreground; stopped by its pid."""
    as_root = False

    def __init__(self, directory, name, *argv, port, host="127.0.0.1",
                 argv0=None, says=None):
        """It is up when it listens, or when its log says this."""
        self.directory, self.name = directory, name
        self.log_path = directory / f"{name}.log"
        self.host, self.port, self.argv, self.argv0 = host, port, argv, argv0
        self.says = says
        self.child = None
        harness.daemons.append(self)  # none outlives the session

    def alive(self):
        return self.child.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def start(self):
        nobody = {"user": "nobody", "group": "nogroup",
                  "extra_groups": []} if os.geteuid() == 0 else {}
        found = program(self.name)
        with open(self.log_path, "ab") as log:
            self.child = subprocess.Popen(
                [self.argv0 or found, *map(str, self.argv)],
                executable=found, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd=self.directory,
                **({} if self.as_root else nobody))

        def ready():
            assert self.alive(), f"{self.name} ended:\n{self.log()}"
            return self.is_up()
        harness.until(ready, f"{self.name} listens")
        return self

    def is_up(self):
        return self.says in self.log() if self.says else \
            listens(self.port, self.host)

    def stop(self):
        if self.child is None:
            return
        child, self.child = self.child, None
        child.terminate()
        try:
            child.wait(harness.PATIENCE_S)
        finally:
            child.kill()
            child.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def place(directory, name, text=None):
    """A directory, or a file of this text, that the service may use."""
    path = directory / name
    if text is None:
        path.mkdir(exist_ok=True)
    else:
        path.write_text(text)
    harness.give(path)
    return path


# What nginx would otherwise put where only its package may write.
NGINX = """\
daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/nginx.error;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    log_format story '$connection $status $bytes_sent $request_length $uri';
    access_log {home}/access.log story;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port} {listen};
        root {home}/www;
        {server}
    }}
}}
"""


def nginx(directory, listen="", server=""):
    """`listen` and `server` are added to the one server block."""
    home, port = place(directory, "nginx"), harness.free_port()
    place(home, "www")
    made = Service(home, "nginx", "-c", place(
        home, "nginx.conf", NGINX.format(home=home, port=port, listen=listen,
                                         server=server)),
        "-e", home / "nginx.error", port=port)
    made.www, made.access = home / "www", home / "access.log"
    return made


def haproxy(directory, bind):
    """An HTTP server that answers with the client and address it was told."""
    home, port = place(directory, "haproxy"), harness.free_port()
    return Service(home, "haproxy", "-db", "-f", place(
        home, "haproxy.cfg", f"""\
defaults
    mode http
    timeout client 30s
frontend story
    bind 127.0.0.1:{port} {bind}
    http-request return status 200 content-type text/plain \
lf-string "%ci %cp %[dst] %[dst_port]"
"""), port=port)


def redis(directory):
    """redis-tools has the server too, under the name of one of its tools."""
    home, port = place(directory, "redis"), harness.free_port()
    return Service(home, "redis-check-rdb", "--port", port, "--bind",
                   "127.0.0.1", "--dir", home, "--save", "",
                   port=port, argv0="redis-server")


def iperf3(directory, host="127.0.0.1"):
    port = harness.free_port()
    return Service(place(directory, "iperf3"), "iperf3", "-s", "-B", host,
                   "-p", port, "--forceflush", port=port,
                   says="Server listening")


def dnsmasq(directory, lines, host="127.0.0.1", name="dnsmasq"):
    """It knows what these lines of its configuration say, and nothing else."""
    home, port = place(directory, name), harness.free_port()
    return Service(home, "dnsmasq", "-k", "-C", place(
        home, "dnsmasq.conf", f"""\
port={port}
listen-address={host}
bind-interfaces
no-resolv
no-hosts
pid-file
edns-packet-max=4096
""" + "\n".join(lines) + "\n"), port=port, host=host)


def story_zone(records, host="127.0.0.1"):
    """Lines that make it authoritative for these of story.test."""
    return [f"auth-server=ns.story.test,{host}", "auth-zone=story.test",
            "auth-peer=127.0.0.1", *records]


def unbound(directory):
    """Wants PROXY v2 and logs the client of each question."""
    home, port = place(directory, "unbound"), harness.free_port()
    return Service(home, "unbound", "-d", "-c", place(
        home, "unbound.conf", f"""\
server:
    interface: 127.0.0.1@{port}
    port: {port}
    proxy-protocol-port: {port}
    do-daemonize: no
    use-syslog: no
    username: ""
    chroot: ""
    pidfile: ""
    directory: "{home}"
    log-queries: yes
    verbosity: 1
    module-config: "iterator"
    access-control: 0.0.0.0/0 allow
    access-control: ::/0 allow
    local-zone: "story.test." static
    local-data: "one.story.test. A 192.0.2.1"
remote-control:
    control-enable: no
"""), port=port)


def in_front(directory, port, *protocols, daemon=None, edge="127.0.0.1",
             **rules):
    """l4proxyd, one port for all these protocols: each is an application."""
    family = socket.AF_INET6 if ":" in edge else socket.AF_INET
    at = harness.free_port(family)
    proxy = L4proxyd(directory, [
        {"name": f"story-{protocol}", "protocol": f"{protocol}/{at}",
         "edge_ips": [edge],
         "origin_direct": [f"{protocol}://127.0.0.1:{port}"], **rules}
        for protocol in protocols], drain_s=2, **(daemon or {}))
    proxy.port = at
    return proxy
