"""Orders that are given through the API, as the receivers see them: when each request began and left is in their own log."""

import re
import time

import pytest
from jobs import delivery, fanout, push, push_fanout, wait_settled
from servers import wait_for
from test_admin_api import start  # noqa: F401
from test_admin_login import password  # noqa: F401
from test_policy import effective, ledger

HOST = "slow100-1"  # what orders are about
OTHERS = ["slow100-0", "slow100-2"]
WINDOW = 8  # of a host: 80 deliveries a second to each
ON_THE_WAY_MS = 1000  # what was sent before an order came may reach a busy receiver so late
OLDER = "4.6.4"  # the second machine's Mastodon: it stands in the User-Agent


def now_ms():
    return time.time() * 1000


class Wire:
    """What the receivers have noted, and the API that orders are given through."""

    def __init__(self, world, api, *machines):
        self.world, self.api, self.machines = world, api, machines

    def order(self, action, name=HOST, **told):
        """Gives it; answers from when on it is kept by all machines, and what it said."""
        host = self.world.fediverse.inbox(name).split("/")[2]
        if action == "drop":
            told["confirm"] = host
        text = self.api.order(f"/domains/{host}/{action}", f"/domains/{{host}}/{action}", **told)
        effective(self.world, *self.machines)
        return now_ms() + ON_THE_WAY_MS, text

    def visits(self, names, from_ms):
        hosts = {f"{name}.fedi.test" for name in names}
        return [one for one in self.world.fediverse.visits() if one["host"] in hosts and one["began_ms"] >= from_ms]

    def watch(self, from_ms, count, others):
        """The requests since then, once there are so many, and so many of the others."""
        seen = {}

        def come():
            seen.update(host=self.visits([HOST], from_ms), others=self.visits(OTHERS, from_ms))
            return len(seen["host"]) >= count and len(seen["others"]) >= others

        wait_for(come, 60, lambda: f"{count} and {others} requests: {[len(found) for found in seen.values()]}", every=0.2)
        return seen["host"], seen["others"]


def most_at_once(visits):
    """How many of these requests were there at the same time. What leaves as another begins has left."""
    now = most = 0
    changes = [(one["began_ms"], 1) for one in visits] + [(one["left_ms"], -1) for one in visits if one["left_ms"]]
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def most_above(visits, per_second):
    """By how many the requests of any stretch of time exceed what the rate allows in it."""
    began = sorted(one["began_ms"] for one in visits)
    if not began:
        return 0
    return max(j - i + 1 - per_second * (began[j] - began[i]) / 1000 for i in range(len(began)) for j in range(i, len(began)))


def agents(visits):
    return {one["agent"] for one in visits}


def assert_slow(wire, from_ms, at_once, per_second, count):
    """The host's requests keep to the order while the others' go on, many times as many."""
    held, others = wire.watch(from_ms, count, count * 3)
    assert most_at_once(held) <= at_once, held
    # Each machine may begin its part of any stretch of time with one, and one may be late on its way.
    assert most_above(held, per_second) <= len(wire.machines) + 1, held
    assert len(agents(held)) == min(len(wire.machines), at_once), "so many deliver there"
    assert len(others) > 2 * len(held) and most_at_once(others) > 4


def await_one_place(wire):
    """One machine has the place in the window: what the other held there has ended, or is passed on."""
    def settled():
        held = wire.visits([HOST], now_ms() - 1500)
        return len(held) > 3 and most_at_once(held) == 1 and len(agents(held)) == 1

    wait_for(settled, 30, f"one machine alone delivers to {HOST}", every=0.2)


def assert_still(wire, from_ms):
    held, _ = wire.watch(from_ms, 0, 60)
    assert held == []


def push_more(wire, count):
    push_fanout(wire.world.redis, fanout(wire.world, count, hosts=3, word="slow100"))
    return count


def await_speed(wire, from_ms):
    """More than any of the limits here allows."""
    def fast():
        seen = wire.visits([HOST], from_ms)
        return most_at_once(seen) > 2 and most_above(seen, per_second=25) > 4

    wait_for(fast, 60, f"{HOST} is delivered to at speed", every=0.2)


def assert_dropped(wire, pushed):
    """What is dropped doesn't come, all else came once, and what is made later is delivered as ever."""
    kept_ms, _ = wire.order("pause")
    told = [wire.order("drop")[1]]
    wire.order("resume")
    assert_still(wire, kept_ms)
    told += [wire.order("drop", name)[1] for name in OTHERS]
    wait_settled(wire.world)
    came = len(wire.visits([HOST, *OTHERS], 0))
    removed = [int(re.search(r"dropped: (\d+) removed", text)[1]) for text in told]
    assert came + sum(removed) + ledger(wire.world).get("policy", 0) == pushed and min(removed) > 0, removed
    push(wire.world.redis, [delivery("new", wire.world.fediverse.inbox(HOST), created_at=time.time() + 3600)])
    wait_for(lambda: len(wire.visits([HOST, *OTHERS], 0)) == came + 1, 30, "what is made later is delivered")


@pytest.mark.slow
def test_orders_of_the_api_are_kept_on_the_wire_of_all_machines(start, machines, world):  # noqa: F811
    world.fediverse.verify(50)
    first, api = start(FEDPUSH_HOST_WINDOW=WINDOW)
    wire = Wire(world, api, first)
    pushed = push_more(wire, 1800)
    await_speed(wire, 0)
    kept_ms, text = wire.order("limit", window=1, rate="4/s")
    assert "at most 1 at once" in text and "240 a minute" in text
    assert_slow(wire, kept_ms, at_once=1, per_second=4, count=8)

    wire.machines += (machines(FEDPUSH_HOST_WINDOW=WINDOW, FEDPUSH_WORKERS=1, FEDPUSH_MASTODON_VERSION=OLDER),)
    pushed += push_more(wire, 3000)
    kept_ms, _ = wire.order("limit", clear=True, window=2)
    assert_slow(wire, kept_ms, at_once=2, per_second=2 * 10, count=20)  # they take 100 ms each
    wire.order("limit", window=1)
    await_one_place(wire)
    assert_slow(wire, now_ms(), at_once=1, per_second=10, count=20)
    lifted_ms = now_ms()
    wire.order("limit", clear=True)
    await_speed(wire, lifted_ms)
    kept_ms, _ = wire.order("limit", rate="4/s")
    assert_slow(wire, kept_ms, at_once=2, per_second=4, count=10)

    pushed += push_more(wire, 2400)
    kept_ms, _ = wire.order("pause")
    wire.order("limit", clear=True)
    assert_still(wire, kept_ms)
    resumed_ms = now_ms()
    wire.order("resume")
    await_speed(wire, resumed_ms)
    assert_dropped(wire, pushed)
    assert world.fediverse.summary()["failures"] == []
