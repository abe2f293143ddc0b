"""`fedpush trace`: which inboxes have an activity, which wait, and why."""

import json
import time

from jobs import delivery, push, wait_settled
from machine import DOMAIN, fedpush
from servers import free_port, wait_for

ID = f"https://{DOMAIN}/users/alice/statuses/7"


def post(world, inbox, identity=f"{ID}/activity", **more):
    """A delivery of the post, or of another activity."""
    job = delivery(7, inbox, **more)
    job["args"][0] = json.dumps({"id": identity, "type": "Create", "object": {"id": ID}})
    return job


def trace(world, activity=ID, **settings):
    done = fedpush(world, "trace", activity, "--json", **settings)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {"activity", "inboxes", "cut", "logs"} and not found["cut"]
    return {row["inbox"]: row for row in found["inboxes"]}


def test_each_place_is_looked_through(world):
    client = world.redis_client
    inboxes = [f"https://host{i}.example/inbox" for i in range(5)]
    now = time.time()
    jobs = [json.dumps({"queue": "push", "jid": f"{i:024}", "retry": 16, "created_at": now, **post(world, inbox)})
            for i, inbox in enumerate(inboxes)]
    other = json.dumps({"queue": "push", "jid": "f" * 24, **post(world, inboxes[0], f"{ID}1/activity")})
    failed = {"error_message": "host1 \x1b[31mreturned code 503", "error_class": "X", "retry_count": 2}
    client.rpush("queue:push", *[other] * 600, jobs[0], *[other] * 600)  # more than one step
    client.zadd("retry", {json.dumps({**json.loads(jobs[1]), **failed}): now + 600, **{other + " " * i: now
                                                                                         for i in range(300)}})
    client.zadd("schedule", {jobs[2]: now + 60})
    client.zadd("dead", {jobs[3]: now - 60})
    client.zadd("fedpush:identities", {"gone:1:abcdefabcdef": now - 100})
    client.hset("fedpush:claimed:gone:1:abcdefabcdef", mapping={"seq": 1, "1": "q\n" + jobs[4]})
    client.hset("fedpush:circuit", "host1.example", f"open {int(now * 1000)} {int(now * 1000) + 90000} 90000")
    rows = trace(world)
    assert [rows[inbox]["state"] for inbox in inboxes] == ["waiting", "retry", "scheduled", "dead", "waiting"]
    assert {row["source"] for row in rows.values()} == {"queue"}
    assert rows[inboxes[0]]["why"] == "in queue push"
    assert "asked again in" in rows[inboxes[1]]["why"] and "failed 3 times: host1 ?[31mreturned" in rows[inboxes[1]]["why"]
    assert abs(rows[inboxes[1]]["due_at"] - now - 600) < 1 and rows[inboxes[0]]["due_at"] is None
    assert rows[inboxes[4]]["machine"] == "gone:1:abcdefabcdef"
    assert trace(world, f"https://{DOMAIN}/@alice/7").keys() == rows.keys()
    assert trace(world, f"{ID}/activity").keys() == rows.keys()
    assert list(trace(world, f"{ID}1")) == [inboxes[0]]


def test_the_page_of_a_post_with_a_numeric_id(world):
    identity = f"https://{DOMAIN}/ap/users/2/statuses/9/activity"
    push(world.redis, [post(world, "https://host.example/inbox", identity)])
    assert list(trace(world, f"https://{DOMAIN}/@Bob/9")) == ["https://host.example/inbox"]
    nowhere = world.postgres.url(world.database, free_port())
    assert trace(world, f"https://{DOMAIN}/@bob/9", DATABASE_URL=nowhere) == {}
    assert len(trace(world, identity, DATABASE_URL=nowhere)) == 1


def test_a_paused_host_is_why(world):
    push(world.redis, [post(world, "https://host.example/inbox")])
    assert fedpush(world, "domain", "pause", "host.example").returncode == 0
    assert "paused (host.example)" in trace(world)["https://host.example/inbox"]["why"]
    assert fedpush(world, "pause").returncode == 0
    assert "the fleet is paused" in trace(world)["https://host.example/inbox"]["why"]


def test_people_read_it(machine, world):
    push(world.redis, [post(world, world.fediverse.inbox("status503-1")), post(world, world.fediverse.inbox("ok-1"))])
    wait_settled(world)
    wait_for(lambda: world.redis_client.zcard("retry") == 1, 30, "the failed one waits in retry")
    ok = world.fediverse.inbox("ok-1")  # which only the machine remembers; it has three seconds to say so
    found = wait_for(lambda: trace(world, f"https://{DOMAIN}/@alice/7").get(ok), 60, "the machine says so")
    assert found["state"] == "delivered" and found["machine"] == machine.identity() and found["why"] is None
    assert found["source"] == "memory"
    assert abs(found["at"] - time.time()) < 120
    done = wait_for(lambda: (lambda told: "delivered " in told.stdout and told)(fedpush(world, "trace", ID)), 60, "it is told")
    assert done.returncode == 0, done.stderr
    row, = [line for line in done.stdout.splitlines() if "status503-1" in line]
    assert row.startswith("retry ") and "returned code 503" in row and " 503 " in row
    row, = [line for line in done.stdout.splitlines() if "ok-1" in line]
    assert row.startswith("delivered ") and " 202 " in row
    done = fedpush(world, "trace", f"https://{DOMAIN}/users/alice/statuses/404")
    assert done.returncode == 0 and done.stdout.startswith("nobody knows of it")
