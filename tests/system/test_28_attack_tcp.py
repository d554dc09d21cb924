"""TCP clients at the worst moment, and with the worst manners."""
import signal
import socket
import subprocess

import harness
import oracle


def test_sigterm_answers_all_who_wait_to_be_accepted(start, identity):
    """Connections in the kernel's queue are not reset when it closes."""
    daemon = start(workers=1, tcp={"max_connections": 1000,
                                   "max_per_client": 1000})
    child = daemon.child
    daemon.kill(signal.SIGSTOP)
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
