"""A reply leaves from the address that was asked, on every kind of listener.

The client's sockets are connected: the kernel shows them nothing from another
address, so a verified reply proves its source.
"""
import socket

import harness
import oracle
import pytest

LOOPBACK = ["127.0.0.1", "127.0.0.2", "127.1.2.3", "127.255.255.254"]


def ask_both_ways(identity, host, port):
    with harness.Udp(host, port) as udp, harness.Tcp(host, port) as tcp:
        udp.verified(identity.public, "rfc")
        tcp.verified(identity.public, "rfc")


def listen(*addresses, port):
    return [{"address": a, "port": port} for a in addresses]


@pytest.mark.parametrize("ingress", ["parallel-queues", "shared-queue"])
def test_ipv4_wildcard(start, identity, ingress):
    port = harness.free_port()
    start(listen=listen("0.0.0.0", port=port), port=port, ingress=ingress)
    for host in LOOPBACK:
        ask_both_ways(identity, host, port)


def test_dual_stack_wildcard(start, identity):
    port = harness.free_port(socket.AF_INET6)
    start(listen=listen("::", port=port), port=port)
    for host in [*LOOPBACK, "::1", "::ffff:127.0.0.1", "::ffff:127.0.0.9"]:
        ask_both_ways(identity, host, port)


def test_both_wildcards_on_one_port(start, identity):
    """`::` beside `0.0.0.0`: one of them has to leave IPv4 to the other."""
    port = harness.free_port(socket.AF_INET6)
    start(listen=listen("0.0.0.0", "::", port=port), port=port)
    for host in [*LOOPBACK, "::1"]:
        ask_both_ways(identity, host, port)


def test_ipv6_loopback_only(start, identity):
    port = harness.free_port(socket.AF_INET6)
    start(listen=listen("::1", port=port), port=port)
    ask_both_ways(identity, "::1", port)
    with pytest.raises(ConnectionRefusedError):
        harness.Tcp("127.0.0.1", port)


def test_named_addresses_only(start, identity):
    port = harness.free_port()
    start(listen=listen("127.0.0.2", "127.0.0.3", port=port), port=port)
    for host in ("127.0.0.2", "127.0.0.3"):
        ask_both_ways(identity, host, port)
    with pytest.raises(ConnectionRefusedError):
        harness.Tcp("127.0.0.4", port)


def test_one_transport_only(start, identity):
    port = harness.free_port()
    start(port=port, listen=[
        {"address": "127.0.0.1", "port": port, "transports": ["udp"]},
        {"address": "127.0.0.2", "port": port, "transports": ["tcp"]}])
    with harness.Udp("127.0.0.1", port) as udp:
        udp.verified(identity.public, "rfc")
    with harness.Tcp("127.0.0.2", port) as tcp:
        tcp.verified(identity.public, "rfc")
    with pytest.raises(ConnectionRefusedError):
        harness.Tcp("127.0.0.1", port)
    with harness.Udp("127.0.0.2", port) as udp:
        with pytest.raises(ConnectionRefusedError):
            udp.ask(oracle.request("rfc"))


def test_many_clients_at_once_each_get_their_own(start, identity):
    """64 flows into one turn: every socket gets the reply to its request."""
    port = harness.free_port()
    start(listen=listen("0.0.0.0", port=port), port=port)
    asked = []
    for i in range(64):
        udp = harness.Udp(LOOPBACK[i % 4], port, source=f"127.7.0.{i + 1}")
        packet = oracle.request("rfc")
        udp.send(packet)
        asked.append((udp, packet))
    for udp, packet in asked:
        with udp:
            harness.checked(packet, udp.receive() or b"", identity.public)
            assert udp.receive(0) is None


def test_hosts_on_a_wire(namespaces, tmp_path, identity):
    """Two client hosts, a server with two addresses of each family."""
    addresses = ["198.51.100.1/24", "198.51.100.2/24",
                 "2001:db8::1/64", "2001:db8::2/64"]
    server = namespaces.host("server", *addresses)
    clients = [namespaces.host("red", "198.51.100.11/24", "2001:db8::11/64"),
               namespaces.host("blue", "198.51.100.12/24",
                               "2001:db8::12/64")]
    config = harness.base_config(2002, [identity], address="::")
    daemon = harness.Roughtimed(tmp_path, config,
                                prefix=["ip", "netns", "exec", server])
    with daemon:
        for client in clients:
            for address in addresses:
                ask_from(client, address.split("/")[0], identity)


def ask_from(client, host, identity):
    udp, tcp = harness.inside(client, lambda: (
        harness.Udp(host, 2002), harness.Tcp(host, 2002)))
    with udp, tcp:
        udp.verified(identity.public, "rfc")
        tcp.verified(identity.public, "rfc")
