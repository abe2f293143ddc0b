"""What waits, as the API tells it: who orders on the strength of a count must get what was counted. And who waits for
it: nobody for a machine that doesn't answer."""

import json
import time

from jobs import delivery
from servers import wait_for
from test_admin_api import start  # noqa: F401
from test_admin_login import password  # noqa: F401


def put(world, key, host, count, first):
    """Jobs that are due tomorrow."""
    for i in range(first, first + count):
        job = {**delivery(i, f"https://{host}/inbox"), "jid": f"{i:024x}", "queue": "push", "retry": 16}
        world.redis_client.zadd(key, {json.dumps(job): time.time() + 86400 + i})


def test_what_waits_for_a_domain_is_what_drop_removes(start, world):  # noqa: F811
    _, api = start()
    world.query("INSERT INTO accounts (id, username, domain, inbox_url, created_at, updated_at)"
                " VALUES (77, 'eve', 'a.example', 'https://in.b.example/inbox', now(), now())")
    put(world, "retry", "a.example", 2, 0)
    put(world, "retry", "sub.a.example", 50, 100)
    put(world, "schedule", "in.b.example:8443", 3, 200)
    put(world, "retry", "notours-a.example", 1, 300)
    waiting = api.get("/domains/a.example/waiting", "/domains/{host}/waiting")
    assert waiting["hosts"] == ["a.example", "*.a.example", "in.b.example"] and waiting["hosts_problem"] == []
    assert waiting["places"] == {"push": 0, "pull": 0, "retry": 52, "schedule": 3, "held": 0}
    text = api.order("/domains/a.example/drop", "/domains/{host}/drop", confirm="a.example")
    assert f"{sum(waiting['places'].values())} removed" in text
    assert world.redis_client.zcard("retry") == 1 and world.redis_client.zcard("schedule") == 0
    below = api.get("/domains/*.a.example/waiting", "/domains/{host}/waiting")
    assert below["hosts"] == ["*.a.example"]
    assert "a domain is asked for" in api.refused("/domains/..%20/waiting")


def test_every_domains_jobs_are_found_however_many_there_are(start, world):  # noqa: F811
    _, api = start()
    for i in range(120):
        put(world, "retry", f"h{i:03}.example", 1 if i == 119 else 2, 1000 * i)
    put(world, "dead", "h119.example", 3, 200000)
    put(world, "dead", "sub.h119.example", 4, 300000)
    retry = api.get("/jobs")["places"]["retry"]
    assert retry["domains_total"] == 120 and len(retry["domains"]) == 100
    assert "h119.example" not in [domain["host"] for domain in retry["domains"]]
    places = api.get("/jobs?domain=H119.example")["places"]
    assert places["retry"]["domains"] == [{"host": "h119.example", "count": 1}] and places["retry"]["matched"] == 1
    assert places["dead"]["matched"] == 7 and places["dead"]["domains_total"] == 2
    for bad in ("a/b", "%20"):
        assert "a host is asked for" in api.refused(f"/jobs?domain={bad}")
    waiting = api.get("/domains/h119.example/waiting", "/domains/{host}/waiting")
    assert waiting["dead"] == 7 and waiting["places"]["retry"] == 1 and waiting["next_due_at"] > time.time()


def test_a_domain_is_told_before_the_machines_have_answered(start, world):  # noqa: F811
    machine, api = start()
    world.redis_client.zadd("fedpush:identities", {"silent:1:abcdefabcdef": time.time() + 20})  # it lives, and is busy
    began = time.monotonic()
    for i in range(12):
        one = api.get(f"/domains/h{i}.example", "/domains/{host}")
        assert one["asking"] and one["words"] == []
    assert time.monotonic() - began < 15  # not a second and a half each
    # What the other one says is there as soon as it has said it, of however many it is asked.
    left = {f"h{i}.example" for i in range(40)}

    def all_are_told():
        left.difference_update([host for host in left if api.get(f"/domains/{host}", "/domains/{host}")["words"]])
        return not left

    wait_for(all_are_told, 60, lambda: f"words about {left}")
    one = api.get("/domains/h1.example", "/domains/{host}")
    assert [words["machine"] for words in one["words"]] == [machine.identity()] and one["asking"]
    # What a machine has said that is gone since counts no more.
    world.redis_client.hset("fedpush:answers:h1.example", "silent:1:abcdefabcdef", "2 in flight")
    assert len(api.get("/domains/h1.example", "/domains/{host}")["words"]) == 2
    world.redis_client.zrem("fedpush:identities", "silent:1:abcdefabcdef")
    one = api.get("/domains/h1.example", "/domains/{host}")
    assert [words["machine"] for words in one["words"]] == [machine.identity()] and not one["asking"]
