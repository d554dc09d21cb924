"""HAProxy and nginx stream in front of l4proxyd: the PROXY headers that they
write are read."""
import concurrent.futures
import socket

import harness
import pytest
from proxyharness import L4proxyd, Origin, application, echo, read_exactly
from services import Service, place


def haproxy(directory, to, options):
    home, port = place(directory, "balancer"), harness.free_port()
    return Service(home, "haproxy", "-db", "-f", place(
        home, "haproxy.cfg", f"""\
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen story
    bind 127.0.0.1:{port}
    bind [::1]:{port}
    server l4proxyd 127.0.0.1:{to} {options}
"""), port=port)


def nginx(directory, to, _):
    home, port = place(directory, "balancer"), harness.free_port()
    return Service(home, "nginx", "-e", home / "error.log", "-c", place(
        home, "nginx.conf", f"""\
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ worker_connections 512; }}
stream {{
    server {{
        listen 127.0.0.1:{port};
        listen [::1]:{port};
        proxy_pass 127.0.0.1:{to};
        proxy_protocol on;
    }}
}}
"""), port=port)


BALANCERS = {"haproxy v1": (haproxy, "send-proxy"),
             "haproxy v2": (haproxy, "send-proxy-v2"),
             # with TLVs: a unique id, a checksum
             "haproxy tlvs": (haproxy, "send-proxy-v2 proxy-v2-options "
                              "crc32c"),
             "nginx v1": (nginx, "")}


def says(port, host, source, data):
    with socket.socket(socket.AF_INET6 if ":" in host
                       else socket.AF_INET) as c:
        c.settimeout(harness.PATIENCE_S)
        c.bind((source, 0))
        c.connect((host, port))
        c.sendall(data)
        assert read_exactly(c, len(data)) == data
        return c.getsockname()[:2]


@pytest.mark.parametrize("name", BALANCERS)
def test_the_client_of_a_balancer_is_known(tmp_path, name):
    make, options = BALANCERS[name]
    edge = harness.free_port()
    with Origin(echo) as origin, L4proxyd(
            tmp_path, [application(edge, origin,
                                   proxy_protocol_from="127.0.0.1")],
            drain_s=2) as p, make(tmp_path, edge, options) as balancer:
        many = 40
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            clients = list(pool.map(
                lambda n: says(balancer.port, "127.0.0.1", f"127.0.1.{n}",
                               b"%d " % n * 1000), range(1, many + 1)))
        clients.append(says(balancer.port, "::1", "::1", b"six"))
        harness.until(lambda: set(clients) <= {
            (e["ClientIP"], e["ClientPort"])
            for e in p.events(Event="connect")}, "all of them are known")


def test_checks_of_haproxy_are_its_own_sessions(tmp_path):
    """They say LOCAL, or connect and go away without a header."""
    edge = harness.free_port()
    with Origin(echo) as origin, L4proxyd(
            tmp_path, [application(edge, origin,
                                   proxy_protocol_from="127.0.0.1")],
            drain_s=2) as p, haproxy(
                tmp_path, edge, "send-proxy-v2 check check-send-proxy "
                "inter 100ms") as balancer:
        harness.until(lambda: len(p.events(
            Event="connect", ClientIP="127.0.0.1")) >= 3, "checks")
        me = says(balancer.port, "127.0.0.1", "127.0.0.66", b"hello")
        p.expect_events(Event="connect", ClientIP=me[0], ClientPort=me[1])
        assert "DOWN" not in balancer.log()
