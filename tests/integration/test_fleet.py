"""What one machine finds out about a host counts for the others."""

import time

from jobs import delivery, push, wait_settled
from machine import fedpush
from servers import wait_for


def test_a_host_that_one_machine_found_dead_is_not_tried_by_another(world, machines):
    host = f"refused-1.fedi.test:{world.fediverse.port}"
    client = world.redis_client
    first = machines(FEDPUSH_WORKERS=1)
    push(world.redis, [delivery(i, world.fediverse.inbox("refused-1")) for i in range(20)])
    wait_for(lambda: (client.hget("fedpush:circuit", host) or b"").startswith(b"open "), 30, "the circuit opens")
    shown = fedpush(world, "domain", "show", "refused-1.fedi.test").stdout
    assert f"{host}: its circuit has been open for" in shown and "the next probe is due in" in shown, shown
    first.stop()
    tried = client.zcard("retry")
    assert tried >= 3 and client.zcard("schedule") + tried + client.llen("queue:push") == 20
    now_ms = int(time.time() * 1000)  # no probe is due while this test runs
    client.hset("fedpush:circuit", host, f"open {now_ms} {now_ms + 3600000} 3600000")
    machines(FEDPUSH_WORKERS=1)
    push(world.redis, [delivery(i, world.fediverse.inbox("refused-1")) for i in range(20, 40)])
    push(world.redis, [delivery(40, world.fediverse.inbox("ok-1"))])
    wait_for(lambda: world.fediverse.summary()["posts"] == 1, 30, "another host's is delivered")
    wait_settled(world)
    wait_for(lambda: client.zcard("schedule") + client.zcard("retry") == 40, 30, "the others wait")
    assert client.zcard("retry") == tried
    assert client.zcard(f"fedpush:booked:{host}") > 0
