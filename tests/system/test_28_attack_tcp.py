"""TCP clients at the worst moment, and with the worst manners."""
import signal

import harness
import oracle


def test_clients_cannot_take_the_last_descriptor(start, identity):
    """However few there are, a reload still opens what it needs."""
    late = harness.free_port()
    daemon = start(workers=2, prefix=["prlimit", "--nofile=60"],
                   tcp={"max_connections": 1000, "max_per_client": 1000})
    assert "limit of 60 open files" in daemon.log()
    clients = [harness.Tcp("127.0.0.1", daemon.port) for _ in range(100)]
    counts = harness.until(
        lambda: (c := daemon.counters())["tcp_refused_full"] > 0 and c,
        "no room for more")
    assert counts["tcp_accepted"] >= 5 and counts["tcp_accept_no_fd"] == 0
    daemon.write_config({**daemon.config, "listen": [
        {"address": "127.0.0.1", "port": p} for p in (daemon.port, late)]})
    daemon.hup()
    daemon.expect_log("(?m): reloaded$")
    with harness.Udp("127.0.0.1", late) as udp:
        udp.verified(identity.public, "rfc")
    for tcp in clients:
        tcp.socket.close()


def test_pipelined_requests_do_not_starve_udp(start, identity):
    """200 clients who send 140 requests at once, each worth a signature: a
    batch a turn, and UDP in between."""
    daemon = start(workers=1, tcp={"max_connections": 200,
                                   "max_per_client": 200,
                                   "max_outstanding": 256})
    clients = [harness.Tcp("127.0.0.1", daemon.port) for _ in range(200)]
    daemon.freeze()
    for tcp in clients:
        tcp.send(oracle.request("draft-01", size=0) * 140)
    daemon.kill(signal.SIGCONT)
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        for _ in range(3):
            udp.verified(identity.public, "rfc")
    assert daemon.counters()["tcp_sent"] < 200 * 140
    harness.until(lambda: daemon.counters()["tcp_sent"] == 200 * 140,
                  "every one is answered all the same")
    for tcp in clients:
        tcp.socket.close()


def test_sigterm_answers_all_who_wait_to_be_accepted(start, identity):
    """Connections in the kernel's queue are not reset when it closes."""
    daemon = start(workers=1, tcp={"max_connections": 1000,
                                   "max_per_client": 1000})
    child = daemon.child
    daemon.freeze()
    clients = [harness.Tcp("127.0.0.1", daemon.port) for _ in range(300)]
    packets = [oracle.request("rfc") for _ in clients]
    for tcp, packet in zip(clients, packets):
        tcp.send(packet)
    daemon.kill(signal.SIGTERM)
    daemon.kill(signal.SIGCONT)
    for tcp, packet in zip(clients, packets):
        harness.checked(packet, tcp.receive() or b"", identity.public)
        assert tcp.closed()
        tcp.socket.close()
    assert child.wait(harness.PATIENCE_S) == 0
