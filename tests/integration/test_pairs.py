"""What one sender sends to one inbox is tried in the order in which it was made, whatever happens to machines and hosts."""

import random
import time

from audience import push_at_once
from jobs import account_for, delivery, unsettled
from servers import wait_for

HOSTS, DOWN = 30, 4  # all, and those that are down for a while
PAIRS = 10 * HOSTS
APART = 6  # jobs of others between the first and the second of a pair, at most
APART_S = 0.008  # one is made after the other


class Pairs:
    """Of a sender and an inbox, each has two activities: 2n and 2n + 1."""

    def __init__(self, world):
        self.world = world
        self.count = 0
        self.jobs = []

    def host(self, number):
        return f"slow{100 + 50 * (number % 5)}-{number}"

    def behave(self, name):
        for number in range(DOWN):
            self.world.fediverse.behave(self.host(number), name)

    def push(self, count, hosts, steps=None):
        """So many, for hosts from the first on, mixed. `steps`: what happens meanwhile, by the part of it that is over."""
        dice, first = random.Random(self.count), self.count
        events = [(pair + second * dice.uniform(0.01, APART), second, pair) for pair in range(count) for second in (0, 1)]
        steps = {int(part * len(events)): step for part, step in (steps or {}).items()}
        for at, (_, second, pair) in enumerate(sorted(events)):
            if at in steps:
                steps[at]()
            number = first + pair
            inbox = self.world.fediverse.inbox(self.host(pair % hosts), f"/u{number}/inbox")
            self.jobs.append(delivery(2 * number + second, inbox, account=1 + number % 2))
            push_at_once(self.world.redis_client, self.jobs[-1:])
            time.sleep(APART_S)
        self.count += count

    def out_of_order(self):
        """Inboxes where the second activity came, and the first didn't before it; and where both came in order."""
        wrong, right = [], []
        for inbox, activities in self.world.fediverse.counts()["order"].items():
            numbers = [int(activity.rsplit("/", 1)[1]) for activity in activities]
            second = min(numbers) | 1
            if second in numbers:
                (right if second - 1 in numbers[: numbers.index(second)] else wrong).append((inbox, numbers))
        return wrong, right


def open_circuits(world):
    """host -> when its next probe is due, in Unix milliseconds."""
    words = {host: state.split() for host, state in world.redis_client.hgetall("fedpush:circuit").items()}
    return {host: int(word[2]) for host, word in words.items() if word[0] == b"open"}


def probe_now(world):
    """As if all that time were over."""
    client = world.redis_client
    now_s, now_us = client.time()
    for host in open_circuits(world):
        client.hset("fedpush:circuit", host, f"open {now_s * 1000} {now_s * 1000} 30000")
        client.zadd("fedpush:circuits", {host: now_s * 1000000 + now_us + 1000000})


def test_order_of_a_pair_outlives_machines_and_hosts(world, machines):
    world.fediverse.verify(0)
    client = world.redis_client
    pairs = Pairs(world)
    drained, killed = machines(), machines()
    pairs.push(PAIRS, HOSTS, {
        0.2: lambda: pairs.behave("reset"),
        0.3: drained.process.terminate,
        0.5: lambda: (drained.stop(), drained.start(ready=False)),
        0.6: killed.kill,
        0.7: lambda: killed.start(ready=False),
        0.8: lambda: machines(ready=False),
    })

    def all_open():
        pairs.push(DOWN, DOWN)
        return len(open_circuits(world)) == DOWN

    wait_for(all_open, 60, "circuits open", every=1)
    pairs.push(10 * DOWN, DOWN)
    wait_for(lambda: client.zcard("schedule") > 10 * DOWN, 60, "most of these wait for their host, in pairs")
    pairs.behave("ok")
    probe_now(world)
    pairs.push(DOWN, DOWN)  # somebody probes
    wait_for(lambda: client.zcard("schedule") + unsettled(world) == 0, 120, lambda: account_for(world, pairs.jobs))
    account = account_for(world, pairs.jobs)
    assert account.lost == [], account
    wrong, right = pairs.out_of_order()
    assert wrong == []
    assert len(right) > PAIRS * 9 // 10, "what has failed on its host waits in retry; the others have come"
