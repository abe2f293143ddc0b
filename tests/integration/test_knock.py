"""Hosts that know one signature scheme are reached, at one request each once that is known."""

from jobs import delivery, push, sidekiq, wait_settled
from servers import wait_for

HOSTS = [f"rfc-{i}" for i in range(6)] + [f"draft-{i}" for i in range(6)]


def deliver(world, first, hosts=HOSTS):
    """One delivery to each host; how many requests each has had for it."""
    before = requests(world, hosts)
    push(world.redis, [delivery(first + i, world.fediverse.inbox(host, tls=i % 2 == 0))
                       for i, host in enumerate(hosts)])
    wait_settled(world)
    return [now - then for now, then in zip(requests(world, hosts), before)]


def requests(world, hosts):
    counted = world.fediverse.counts()["inboxes"]
    return [counted.get(f"{host}.fedi.test/inbox", 0) for host in hosts]


def members(world):
    return [member.decode() for member in world.redis_client.zrange("fedpush:schemes", 0, -1)]


def test_each_host_costs_one_request_from_the_second_delivery_on(world, machines):
    """Also from a second machine, which starts when the first is gone."""
    first = machines()
    assert deliver(world, 1) == [2] * 6 + [1] * 6
    assert deliver(world, 50) == [1] * 12
    wait_for(lambda: len(members(world)) == 6, 30, "written down")
    assert all(member.startswith("rfc9421 http") for member in members(world))
    first.stop()
    machines()
    assert deliver(world, 200) == [1] * 12
    assert sidekiq(world.redis)["retry"] == []
    summary = world.fediverse.summary()
    assert summary["failures"] == [] and summary["verified"]["fedify"] >= 24


def test_what_changes_is_noticed_and_who_rejects_both_is_left_alone(world, machine):
    assert deliver(world, 1, ["rfc-1"]) == [2]
    world.fediverse.behave("rfc-1", "draft")
    assert deliver(world, 10, ["rfc-1"]) == [2]
    assert deliver(world, 20, ["rfc-1"]) == [1]
    wait_for(lambda: [member.split()[0] for member in members(world)] == ["cavage"], 30, "written down")
    assert deliver(world, 30, ["status401-1", "status403-1"]) == [2, 1]
    assert deliver(world, 40, ["status401-1"]) == [1]
    errors = [entry["item"]["error_message"] for entry in sidekiq(world.redis)["retry"]]
    assert len(errors) == 2 and all("returned code 401" in error for error in errors)


def test_it_can_be_switched_off(world, machines):
    machines(FEDPUSH_DOUBLE_KNOCK="false")
    assert deliver(world, 1, ["rfc-1", "draft-1"]) == [1, 1]
    assert members(world) == []
    assert len(sidekiq(world.redis)["retry"]) == 1
