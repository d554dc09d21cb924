"""Datagrams whose source nobody asked from; raw sockets, on loopback only."""
import socket
import struct

import harness
import oracle


def send_from(source, sport, port, payload, to="127.0.0.1"):
    """IPv4 and UDP by hand; UDP's checksum of 0 means: none."""
    udp = struct.pack(">HHHH", sport, port, 8 + len(payload), 0)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 7, 0, 64,
                     socket.IPPROTO_UDP, 0, socket.inet_aton(source),
                     socket.inet_aton(to))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW,
                       socket.IPPROTO_RAW) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        raw.sendto(ip + udp + payload, (to, 0))


def test_spoofed_sources(as_root, start, identity):
    port = harness.free_port()
    daemon = start(port=port, workers=1,
                   listen=[{"address": "0.0.0.0", "port": port}])
    request = oracle.request("rfc")

    def moved(*packet):
        before = daemon.counters()
        send_from(*packet)

        def seen():
            moved = harness.diff(before, daemon.counters())
            return {"udp_sent", "udp_drop_send_refused"} & set(moved) and moved
        return harness.until(seen, "it came to its end")
    # Port 0 is nobody's: no reply, and no fault either.
    assert moved("127.0.0.1", 0, port, request)["udp_drop_send_refused"] == 1
    # To the server from itself: the reply ends at its own filter.
    own = moved("127.0.0.1", port, port, request)
    assert own["udp_received"] == own["udp_sent"] == 1
    # Broadcast asked for: nobody answers, or a whole network would.
    assert moved("127.0.0.1", 999, port, request,
                 "127.255.255.255")["udp_drop_send_refused"] == 1
    with harness.Udp("127.0.0.1", port) as udp:
        udp.verified(identity.public, "rfc")
    assert "udp receive" not in daemon.log()
