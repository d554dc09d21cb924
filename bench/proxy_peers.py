"""The proxies of bench/proxy.py: each with one worker, no log, and otherwise
what its package ships, but for what is said here."""
import json
import os
import shutil

import bench

NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"


def written(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w") as f:
        f.write(text)
    return path


class Peer:
    """`command` makes the argument vector from proto, edge and origin as
    ADDR:PORT (or ADDR:FIRST-LAST) and a directory of its own."""

    protos = ("tcp", "udp")
    port = None  # of its own, instead of the next free one
    rows = ""  # keys of rows that it takes part in begin so; "": in all
    alone = False  # it changes what others cost

    def __init__(self, name):
        self.name = name

    def there(self):
        return True


class L4proxyd(Peer):
    def __init__(self, name="l4proxyd", program=None, **settings):
        super().__init__(name)
        self.settings, self.rules = {"workers": 1, **settings}, {}
        self.program = program or bench.built("l4proxyd")

    def command(self, directory, proto, edge, origin):
        address, ports = edge.rsplit(":", 1)
        if "-" in ports:  # a range goes to a range; its last port is asked
            host, port = origin.rsplit(":", 1)
            first, last = map(int, ports.split("-"))
            origin = f"{host}:{int(port) - last + first}-{port}"
        path = written(directory, f"{self.name}.yaml", json.dumps({
            "applications": [{
                "name": "bench", "protocol": f"{proto}/{ports}",
                "edge_ips": address,
                "origin_direct": f"{proto}://{origin}", **self.rules}],
            **self.settings}))
        return [os.path.abspath(self.program), "-c", path]


class Sockets(L4proxyd):
    """No flow is the kernel's: what a proxy can do with sockets."""

    protos = ("udp",)
    rows = ("udp", "flows", "veth-udp", "many")

    def __init__(self, name, program=None, **settings):
        super().__init__(name, program, **settings)
        self.rules = {"fast_path": "off"}


class Nginx(Peer):
    """rcvbuf: it takes one datagram a system call, and loses some without."""

    def there(self):
        return shutil.which("nginx") and os.path.exists(NGINX_STREAM)

    def command(self, directory, proto, edge, origin):
        path = written(directory, "nginx.conf", f"""
load_module {NGINX_STREAM};
daemon off; master_process off; worker_processes 1;
pid {directory}/nginx.pid; error_log stderr crit;
events {{ worker_connections 30000; }}
stream {{ server {{
    listen {edge}{" udp rcvbuf=4m" if proto == "udp" else ""};
    proxy_pass {origin}; proxy_timeout 1h;
}} }}
""")
        return ["nginx", "-c", path, "-p", directory]


class Haproxy(Peer):
    """Splice is for bulk: elsewhere HAProxy is one peer, not three."""

    protos = ("tcp",)

    def __init__(self, name, *options, rows=""):
        super().__init__(name)
        self.options, self.rows = options, rows

    def there(self):
        return shutil.which("haproxy")

    def command(self, directory, proto, edge, origin):
        path = written(directory, f"{self.name.replace(' ', '-')}.cfg", f"""
global
    maxconn {2000 if "-" in edge else 6000}
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    {chr(10).join(f"option {o}" for o in self.options)}
listen bench
    bind {edge}
    server origin {origin}
""")
        return ["haproxy", "-db", "-f", path]


class Socat(Peer):
    """A process a connection. Of several UDP flows some get the replies of
    others: the new socket has what came before it was connected."""

    rows = ("bulk1", "connect", "echo", "udp1-", "veth-bulk")

    def there(self):
        return shutil.which("socat")

    def command(self, directory, proto, edge, origin):
        host, port = edge.rsplit(":", 1)
        kind = proto.upper()
        listen, to = ((",nodelay,backlog=1024", ",nodelay")
                      if proto == "tcp" else ("", ""))
        return ["socat", f"{kind}-LISTEN:{port},bind={host},reuseaddr,fork"
                f"{listen}", f"{kind}:{origin}{to}"]


class Dnat(Peer):
    """No program: the kernel rewrites addresses (conntrack). What it spends is
    in the time of others, and all that passes by this host pays for it."""

    alone = True
    port = 20090
    rows = ("bulk", "connect", "echo", "udp", "veth")

    def there(self):
        return os.geteuid() == 0 and shutil.which("nft")

    def command(self, directory, proto, edge, origin):
        host, port = edge.rsplit(":", 1)
        chains = "".join(
            f"chain {hook} {{ type nat hook {hook} priority -100; "
            f"ip daddr {host} {proto} dport {port} dnat to {origin}; }}\n"
            for hook in ("prerouting", "output"))
        path = written(directory, "dnat.nft", f"""
table ip bench {{
{chains}chain postrouting {{ type nat hook postrouting priority 100;
    ct status dnat oifname != "lo" masquerade; }}
}}
""")
        # what has ended is to leave room for what comes
        return ["sh", "-c", "cd /proc/sys/net; echo 1 > ipv4/ip_forward; "
                f"nft -f {path} || exit 1; "
                "echo 1 > netfilter/nf_conntrack_tcp_timeout_time_wait; "
                "echo 1 > netfilter/nf_conntrack_tcp_timeout_close; "
                "sleep 86400 & "
                "trap \"kill $!; nft delete table ip bench; exit 0\" TERM; "
                "wait"]


DNAT, SOCKETS = "nftables DNAT", "l4proxyd-sockets"


def all_peers():
    bulk = ("bulk", "veth-bulk")
    return [L4proxyd(), Sockets(SOCKETS), Nginx("nginx stream"), Haproxy("HAProxy"),
            Haproxy("HAProxy splice", "splice-request", "splice-response",
                    rows=bulk),
            Haproxy("HAProxy splice-auto", "splice-auto", rows=bulk),
            Socat("socat"), Dnat(DNAT)]
