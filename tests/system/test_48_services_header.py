"""PROXY v1 and v2 read by nginx and HAProxy: the client's real address."""
import http.client
import socket

import pytest
from services import haproxy, in_front, nginx

NGINX_ANSWER = 'default_type text/plain; return 200 "$proxy_protocol_addr ' \
    '$proxy_protocol_port $proxy_protocol_server_addr ' \
    '$proxy_protocol_server_port";'
DECODERS = {
    "nginx": lambda d: nginx(d, "proxy_protocol", NGINX_ANSWER),
    "haproxy": lambda d: haproxy(d, "accept-proxy"),
}


def ask(edge, port, source):
    """What the origin was told, and what is so: four words each."""
    c = http.client.HTTPConnection(edge, port, timeout=30,
                                   source_address=(source, 0))
    c.connect()
    mine, theirs = c.sock.getsockname()[:2], c.sock.getpeername()[:2]
    c.request("GET", "/")
    answer = c.getresponse()
    told = answer.read().decode().split()
    c.close()
    assert answer.status == 200
    return told, [str(x) for x in (*mine, *theirs)]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("edge,source", [("127.0.0.1", "127.0.0.66"),
                                         ("::1", "::1")])
def test_the_origin_knows_the_client(tmp_path, decoder, version, edge,
                                     source):
    with DECODERS[decoder](tmp_path) as origin, \
            in_front(tmp_path, origin.port, "tcp", edge=edge,
                     proxy_protocol=version) as proxy:
        clients = set()
        for _ in range(5):
            told, so = ask(edge, proxy.port, source)
            assert told == so
            clients.add(tuple(told[:2]))
        assert len(clients) == 5
        # and it is the proxy that said so
        assert {(e["ClientIP"], str(e["ClientPort"])) for e in
                proxy.expect_events(5, Event="connect")} == clients


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_decoders_take_nothing_else(tmp_path, decoder):
    """Without a header they refuse: so what they told above they had read."""
    with DECODERS[decoder](tmp_path) as origin, \
            in_front(tmp_path, origin.port, "tcp") as proxy, \
            socket.create_connection(("127.0.0.1", proxy.port), 30) as c:
        c.sendall(b"GET / HTTP/1.0\r\n\r\n")
        try:
            answer = c.recv(4096)
        except ConnectionResetError:
            answer = b""
        assert b" 200 " not in answer
