"""What is recorded and reported: each machine's report, and how its numbers agree with everybody else's."""

import json
import time

from jobs import delivery, push, wait_settled
from servers import wait_for


def report(world, machine):
    """What the machine says of itself, or None."""
    found = world.redis_client.hget("fedpush:machines", machine.identity())
    return json.loads(found) if found else None


def test_a_machine_reports_what_it_does_and_drains_when_told_to(world, machines):
    machine = machines()
    push(world.redis, [delivery(i, world.fediverse.inbox(f"ok-{i}")) for i in range(20)]
         + [delivery(30, world.fediverse.inbox("status503-1")), delivery(31, world.fediverse.inbox("status410-1"))]
         + [{"class": "ActivityPub::DistributionWorker", "args": [1]}])
    wait_settled(world)
    wanted = {"delivered": 20, "retried": 1, "rejected": 1, "exhausted": 0, "handed_off": 1}
    wait_for(lambda: wanted.items() <= (report(world, machine) or {"totals": {}})["totals"].items(), 30, "a report")
    found = report(world, machine)
    assert wanted.items() >= {name: found["recent"][name] for name in ("delivered", "retried", "rejected")}.items()
    assert found["v"] == 1 and abs(found["at"] - time.time()) < 10 and found["started_at"] < found["at"]
    assert found["state"] == "running" and found["workers"] == 2 and found["mastodon"] == world.version
    assert sum(found["latency"]) == 22 and found["totals"]["sent_bytes"] > 0
    assert found["in_flight"] == found["held"] == 0 and found["lanes"] == 22 and found["postgres"] is None
    assert found["rss_bytes"] > 1 << 20
    wait_for(lambda: report(world, machine)["cpu"] is not None, 30, "two looks at the processes")

    identity = machine.identity()
    world.redis_client.set(f"fedpush:drain:{identity}", "1", ex=60)
    assert machine.process.wait(60) == 0
    assert not world.redis_client.exists(f"fedpush:drain:{identity}")
    assert world.redis_client.hlen("fedpush:machines") == 0


def test_the_report_of_a_dead_machine_goes_with_its_identity(world, machines):
    machine = machines()
    wait_for(lambda: report(world, machine), 30, "a report")
    former = machine.identity()
    machine.kill()
    machine.start()
    wait_for(lambda: report(world, machine), 30, "a new report")
    wait_for(lambda: world.redis_client.hkeys("fedpush:machines") == [machine.identity().encode()], 30,
             f"{former} is gone")
