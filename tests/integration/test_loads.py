"""What is too much at once waits where it is: in Redis."""

import json
import time

import pytest
from jobs import assert_all_delivered_once, claimed, fanout, push_fanout, unsettled
from servers import wait_for


@pytest.mark.slow
def test_a_backlog_is_taken_in_pieces_and_delivered(world, machines):
    world.fediverse.verify(20)
    jobs = fanout(world, 10000, hosts=150)
    push_fanout(world.redis, jobs)
    machines(FEDPUSH_LOOKAHEAD=1024, FEDPUSH_MAX_IN_FLIGHT=256)
    most = 0

    def done():
        nonlocal most
        most = max(most, claimed(world))
        return unsettled(world) == 0 and world.redis_client.zcard("schedule") == 0

    wait_for(done, 400, lambda: f"delivered; {unsettled(world)} wait")
    assert_all_delivered_once(world, jobs)
    assert 0 < most <= 1024 + 256, "held is at most the look-ahead and one claim"


@pytest.mark.slow
def test_large_jobs_are_held_by_their_bytes(world, machines):
    world.fediverse.verify(10)
    jobs = fanout(world, 500, hosts=20, bytes_of_content=1000000)
    for i, job in enumerate(jobs):  # Sidekiq's client takes a minute for so much
        payload = {"retry": 16, "queue": "push", "dead": False, **job, "jid": f"{i:024x}", "created_at": time.time()}
        world.redis_client.lpush("queue:push", json.dumps(payload, ensure_ascii=False, separators=(",", ":")))
    machines(FEDPUSH_LOOKAHEAD_BYTES=16 * 1024 * 1024)
    most = 0

    def done():
        nonlocal most
        most = max(most, claimed(world))
        return unsettled(world) == 0 and world.redis_client.zcard("schedule") == 0

    wait_for(done, 400, lambda: f"delivered; {unsettled(world)} wait")
    assert_all_delivered_once(world, jobs)
    assert 0 < most <= 8 + 3, "16 MiB are 8 of these with their bodies, and a claim may pass the limit once"
