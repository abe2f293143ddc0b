"""When most hosts that were good fail at once, it is us: nothing is burnt, and nothing is lost."""

import json

from forward import ForwardProxy
from jobs import delivered, delivery, push, wait_settled
from machine import fedpush
from servers import wait_for
from world import ADDRESSES

HOSTS = 40


def behave(world, name):
    for i in range(HOSTS):
        world.fediverse.behave(f"ok-{i}", name)


def posts(world, first):
    return [delivery(first + i, world.fediverse.inbox(f"ok-{i}")) for i in range(HOSTS)]


def test_our_own_trouble_burns_no_retry_and_opens_no_circuit(world, machine):
    client = world.redis_client
    push(world.redis, posts(world, 0))
    wait_for(delivered(world, HOSTS), 60, "all hosts were good")
    wait_settled(world)
    behave(world, "reset")
    push(world.redis, posts(world, HOSTS))
    wait_for(lambda: "suspects itself" in machine.log(), 60, "it suspects itself")
    push(world.redis, posts(world, 2 * HOSTS))
    assert client.zcard("retry") == 0 and client.hlen("fedpush:circuit") == 0
    behave(world, "ok")
    wait_settled(world, 90)
    assert client.zcard("retry") == 0 and client.hlen("fedpush:circuit") == 0
    wait_for(lambda: client.zcard("schedule") == 0, 60, "nothing is put off")
    wait_settled(world)
    activities = world.fediverse.counts()["activities"]
    assert len(activities) == 3 * HOSTS, "each of them came"


def test_a_resolver_that_dies_costs_known_hosts_nothing(world, machine):
    client = world.redis_client
    push(world.redis, posts(world, 0))
    wait_for(delivered(world, HOSTS), 60, "all hosts are known")
    wait_settled(world)
    world.names.stop()
    try:
        push(world.redis, posts(world, HOSTS))
        wait_for(delivered(world, 2 * HOSTS), 90, "the old addresses are good enough")
        wait_settled(world)
        assert [json.loads(entry)["error_message"] for entry in client.zrange("retry", 0, -1)] == []
        assert client.hlen("fedpush:circuit") == 0
    finally:
        world.names.start()


def test_a_resolver_that_dies_burns_no_retry_of_strangers(world, machine):
    """Fewer hosts than it takes to suspect ourselves, and none of them was ever asked for."""
    client = world.redis_client
    jobs = [delivery(i, world.fediverse.inbox(f"stranger-{i}")) for i in range(8)]

    def let_down():
        said = client.hget("fedpush:machines", machine.identity())
        return said is not None and json.loads(said)["dns_failures"] >= 2 * len(jobs)

    world.names.stop()
    try:
        push(world.redis, jobs)
        wait_for(let_down, 90, "each was tried, and tried again")
        assert client.zcard("retry") + client.zcard("schedule") == 0
        assert client.hlen("fedpush:circuit") == 0 and client.keys("exhausted_deliveries:*") == []
    finally:
        world.names.start()
    wait_for(delivered(world, len(jobs)), 90, "they come when there is a resolver again")
    wait_settled(world)
    assert client.zcard("retry") == 0


def test_what_one_machine_cannot_send_another_delivers(world, machines):
    """The first machine's way out is a proxy, which dies."""
    client = world.redis_client
    proxy = ForwardProxy(ADDRESSES[0])
    lame = machines(http_proxy=f"http://{ADDRESSES[0]}:{proxy.port}")
    push(world.redis, posts(world, 0))
    wait_for(delivered(world, HOSTS), 60, "all hosts were good")
    wait_settled(world)
    proxy.stop()
    push(world.redis, posts(world, HOSTS))
    wait_for(lambda: "suspects itself" in lame.log(), 60, "it suspects itself")
    assert world.fediverse.summary()["posts"] < 2 * HOSTS, "alone, it keeps what it has"
    machines()
    wait_for(delivered(world, 2 * HOSTS), 60, "the other machine delivers")
    assert "standing by" in lame.log()
    shown = fedpush(world, "domain", "show", "ok-1.fedi.test").stdout
    assert f"{lame.identity()[:60]}: this machine suspects itself" in shown and "and stands by" in shown
    push(world.redis, posts(world, 2 * HOSTS))
    wait_for(delivered(world, 3 * HOSTS), 60, "and what comes later")
    wait_settled(world)
    assert client.zcard("retry") == 0 and client.hlen("fedpush:circuit") == 0
