"""One of two machines whose names are cut: it says so, the other delivers, and nothing is held against any host."""

import itertools
import json
import signal

import pytest
from audience import push_at_once
from jobs import account_for, delivery, wait_settled
from renamed import BrokenNames
from servers import wait_for

KNOWN = 40  # hosts that were good, more than it takes to suspect oneself
STRANGERS = 10  # in each post's audience hosts that nobody has asked for yet


class Posts:
    """To all that are known and some that aren't, as long as there is something to wait for."""

    def __init__(self, world):
        self.world = world
        self.jobs = []
        self.strangers = itertools.count(KNOWN)

    def push(self):
        hosts = [*range(KNOWN), *(next(self.strangers) for _ in range(STRANGERS))]
        path = f"/post-{len(self.jobs)}/inbox"
        jobs = [delivery(len(self.jobs), self.world.fediverse.inbox(f"ok-{host}", path)) for host in hosts]
        push_at_once(self.world.redis_client, jobs)
        self.jobs += jobs

    def until(self, condition, seconds, what):
        """One a second."""
        def pushed_until():
            self.push()
            return condition()

        wait_for(pushed_until, seconds, what, every=1)

    def all_came(self):
        return self.world.fediverse.summary()["posts"] >= len(self.jobs)


def with_addresses_of_none(machine):
    """Its workers begin anew."""
    before = machine.signal("worker", signal.SIGKILL)
    wait_for(lambda: len(set(machine.roles("worker")) - set(before)) == len(before), 30, "new workers")


@pytest.mark.parametrize("silent", [True, False], ids=["silence", "SERVFAIL"])
def test_what_a_machine_without_names_cannot_send_another_delivers(world, machines, silent):
    client = world.redis_client
    world.fediverse.verify(20)
    names = BrokenNames(world.names, silent)
    posts = Posts(world)
    machines()
    posts.push()
    known = "SELECT count(*) FROM fedpush.domain_health"
    wait_for(lambda: world.query(known)[0][0] == len(posts.jobs), 60, "all hosts were good")
    lame = machines(FEDPUSH_RESOLVERS=names.resolver)
    names.cut = True
    with_addresses_of_none(lame)
    posts.until(lambda: "standing by" in lame.log(), 60, lame.log)
    posts.push()
    wait_for(posts.all_came, 60, lambda: f"the other delivers all: {account_for(world, posts.jobs)}")
    assert "no longer suspects itself" not in lame.log()
    names.cut = False
    if not silent:  # which takes no longer, but for questions that are under way
        posts.until(lambda: "no longer suspects itself" in lame.log(), 90, lame.log)
    wait_settled(world)
    assert [json.loads(entry)["error_message"] for entry in client.zrange("retry", 0, -1)] == []
    assert client.hlen("fedpush:circuit") == 0 and client.keys("exhausted_deliveries:*") == []
    account = account_for(world, posts.jobs)
    assert account.places == {"delivered": len(posts.jobs)}, account
