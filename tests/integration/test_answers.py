"""What a host's answer says about the next attempt."""

import json
import time

from jobs import delivery, push, wait_settled
from servers import wait_for


def test_a_host_gets_the_time_it_asks_for(world, machine):
    began = time.time()
    push(world.redis, [delivery(1, world.fediverse.inbox("later3000-1")), delivery(2, world.fediverse.inbox("later1-1"))])
    wait_for(lambda: world.redis_client.zcard("retry") == 2, 30, machine.log)
    wait_settled(world)
    due = {json.loads(job)["args"][2].split("-")[0]: at - began for job, at in world.redis_client.zrange("retry", 0, -1, withscores=True)}
    asked, formula = due["http://later3000"], due["http://later1"]
    assert 3000 <= asked < 3060, "Retry-After, where it is later"
    assert 15 <= formula < 90, "else Mastodon's formula"
