"""A post to many hosts of which some are dead: nobody waits for those, and nothing of theirs is lost."""

import collections
import json

from jobs import account_for, delivery, fanout, name_of, push_fanout, wait_settled
from servers import wait_for

HOSTS = 300
BAD = ("refused", "hole", "status503", "slow3000")  # two of a hundred each
HOLES = 10


def word_of(number):
    if number % 25 == 0:
        return BAD[number // 25 % 4]
    return f"slow{50 * (number % 8)}" if number % 4 == 0 else "ok"


def post(world, number):
    """host name -> job"""
    names = [f"{word_of(i)}-{i}" for i in range(1, HOSTS + 1)]
    return {name: delivery(number, world.fediverse.inbox(name), account=1) for name in names}


def arrived(world, jobs):
    counts = world.fediverse.counts()["activities"]
    return all(inbox in counts.get(activity, {}) for activity, inbox in (name_of(job["args"]) for job in jobs))


def hosts_of(entries):
    return collections.Counter(json.loads(entry)["args"][2].split("/")[2].split("-")[0] for entry in entries)


def test_a_post_reaches_every_healthy_host_past_the_dead_ones(world, machines):
    world.fediverse.verify(0)  # so many at once would wait for the verifiers
    machines()
    everything = []
    for number in (1, 2):  # of the first, no host is known; of the second, the dead ones are
        jobs = post(world, number)
        everything += jobs.values()
        push_fanout(world.redis, list(jobs.values()))
        healthy = [job for name, job in jobs.items() if name.split("-")[0] not in BAD]
        wait_for(lambda: arrived(world, healthy), 60, "the healthy hosts have it", every=0.5)
        wait_settled(world)
    account = account_for(world, everything)
    assert account.lost == [] and account.duplicates == 0, account
    kept = hosts_of(world.redis_client.zrange("retry", 0, -1)) + hosts_of(world.redis_client.zrange("schedule", 0, -1))
    assert kept == {"refused": 6, "hole": 6, "status503": 6}, "what is slow but answers was delivered"


def test_a_queue_full_of_black_holes_holds_nobody_up(world, machines):
    world.fediverse.verify(0)  # so many at once would wait for the verifiers
    machines(FEDPUSH_LOOKAHEAD=256, FEDPUSH_MAX_IN_FLIGHT=64)
    holes = fanout(world, 600, hosts=HOLES, word="hole")
    push_fanout(world.redis, holes)
    fresh = [delivery(5000 + i, world.fediverse.inbox(f"ok-{i}"), account=1) for i in range(100)]
    push_fanout(world.redis, fresh)
    wait_for(lambda: arrived(world, fresh), 60, "fresh posts pass", every=0.5)
    wait_for(lambda: world.redis_client.zcard("schedule") > 0, 30, "the others wait in Redis")
    account = account_for(world, holes + fresh)
    assert account.lost == [] and account.duplicates == 0, account
    burnt = [json.loads(entry)["retry_count"] + 1 for entry in world.redis_client.zrange("retry", 0, -1)]
    assert sum(burnt) <= 12 * HOLES, "each is tried a few times, the other jobs wait untouched"
