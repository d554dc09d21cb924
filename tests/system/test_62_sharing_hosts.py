"""sharing.mode open and reuseport between two hosts, IPv4 and IPv6: each of
the two daemons restarts under load, and what is the other's stays so."""
import pytest
from shareworld import KINDS, PORT, WILD


@pytest.mark.parametrize("mode, protos", [
    ("open", ["udp"]), ("reuseport", ["udp", "tcp"])])
@pytest.mark.parametrize("first", ["time", "customer"])
def test_restarts_under_load(world, mode, protos, first):
    kinds = [k for k in KINDS if k[0] in protos]
    time = world.roughtimed({"mode": mode}, listen=[
        {"address": a, "port": PORT, "transports": protos}
        for a in WILD.values()])
    apps = [a for a in world.apps() if a["protocol"].split("/")[0] in protos]
    proxy = world.l4proxyd({"mode": mode}, apps)
    for daemon in [time, proxy] if first == "time" else [proxy, time]:
        daemon.start()
    with world.traffic(kinds) as both:
        both.wait()
    assert both.total("failed") == 0, both.told
    with world.traffic(kinds, services=["customer"]) as customers:
        time.stop()
        customers.wait()
        time.start()
        customers.wait()
    assert customers.total("failed") == 0, customers.told
    with world.traffic(kinds, services=["time"]) as times:
        proxy.stop()
        times.wait()
        proxy.start()
        times.wait()
    assert times.total("failed") == 0, times.told
    assert not world.strangers()
