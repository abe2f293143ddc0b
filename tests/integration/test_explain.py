"""What `fedpush domain show` says of a host: why its deliveries are, or aren't, being sent, in each machine's own
words."""

import json
import time

from jobs import delivered, delivery, push
from machine import fedpush
from servers import wait_for
from world import ACCOUNTS


def posts(world, host, count, first=0, path="/u{}", **more):
    return [delivery(first + i, world.fediverse.inbox(host, path.format(i)), **more) for i in range(count)]


def show(world, host, *more):
    done = fedpush(world, "domain", "show", f"{host}.fedi.test", *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def verdict(world, host="ok-1"):
    return next(line for line in show(world, host).splitlines() if line.startswith("deliveries")).split(None, 1)[1]


def words(world, machine, host="ok-1"):
    """What one machine says of the host, a line each."""
    named = f"{machine.identity()[:60]}: "
    return [line.split(named, 1)[1] for line in show(world, host).splitlines() if named in line]


def says(world, machine, what, host="ok-1"):
    found = []

    def check():
        found[:] = words(world, machine, host)
        return any(what in line for line in found)

    wait_for(check, 30, lambda: f"{what!r} is said: {found}\n{machine.log()[-2000:]}", every=0.2)
    return found


def test_without_a_machine_nothing_is_sent(world, machines):
    machine = machines()
    assert words(world, machine) == ["nothing of it is here, and nothing holds it back"]
    machine.stop()
    push(world.redis, posts(world, "ok-1", 1))
    assert "no fedpush is running" in verdict(world)
    assert json.loads(show(world, "ok-1", "--json"))["words"] == []


def test_each_machine_speaks_for_itself(world, machines):
    first, second = machines(), machines(FEDPUSH_CLAIM_RATE=1)
    assert fedpush(world, "domain", "limit", "ok-2.fedi.test", "--window", "1").returncode == 0
    passed = "its window of 1 is smaller than the fleet"
    wait_for(lambda: [any(passed in line for line in words(world, machine, "ok-2")) for machine in (first, second)].count(
        True) == 1, 30, "one of them serves it", every=0.2)
    assert fedpush(world, "pause", "--machine", first.identity()).returncode == 0
    says(world, first, "an admin has paused this machine")
    assert words(world, second) == ["nothing of it is here, and nothing holds it back"]
    push(world.redis, posts(world, "ok-1", 60))
    says(world, second, "FEDPUSH_CLAIM_RATE (1 a second) is reached")
    assert verdict(world) == "as the machines say:"
    assert fedpush(world, "pause").returncode == 0
    for machine in (first, second):
        says(world, machine, "an admin has paused the fleet: fedpush resume")
    assert verdict(world) == "not sent: the fleet is paused (fedpush resume)"
    assert json.loads(show(world, "ok-1", "--json"))["verdict"]["code"] == "verdict.fleet_paused"
    second.pause()
    try:
        line, = says(world, second, "no answer in time")
        assert "its last beat was" in line
        told = json.loads(show(world, "ok-1", "--json"))["words"]
        assert {one["machine"]: one["code"] for one in told} == {
            first.identity(): "machine.fleet_paused", second.identity(): "machine.silent"}
    finally:
        second.resume()


def test_a_quiet_and_a_draining_machine_say_so(world, machines):
    quiet, draining = machines(), machines(FEDPUSH_DRAIN_SECONDS=20)
    world.redis_client.lpush(f"{quiet.identity()}-signals", "TSTP")
    says(world, quiet, "told to be quiet")
    quiet.fence()
    says(world, quiet, "told to be quiet")
    world.fediverse.behave("ok-1", "silent")
    push(world.redis, posts(world, "ok-1", 1))
    wait_for(lambda: world.fediverse.summary()["posts"] == 1, 30, "it is on the wire")
    draining.process.terminate()
    said = says(world, draining, "this machine drains")
    assert any("what is in flight ends, and nothing more is sent; 0 waiting, 1 in flight" in line for line in said), said


def test_what_a_full_machine_holds_keeps_it_from_taking_more(world, machines):
    machine = machines(FEDPUSH_LOOKAHEAD_BYTES=1 << 20)
    for i in range(1, 41):
        world.fediverse.behave(f"ok-{i}", "silent")
    push(world.redis, [delivery(i, world.fediverse.inbox(f"ok-{i % 40 + 1}"), bytes_of_content=40000) for i in range(40)])
    says(world, machine, "its look-ahead is full (1 MiB of 1 MiB)", host="ok-50")
    assert world.redis_client.llen("queue:push") > 0


def test_a_host_is_explained_by_what_holds_it(world, machines):
    machine = machines()
    world.fediverse.behave("ok-1", "later300")
    world.fediverse.behave("ok-2", "ok")
    world.fediverse.behave("ok-3", "ok")
    push(world.redis, [job for n in (1, 2, 3) for job in posts(world, f"ok-{n}", 2, first=n * 10)])
    says(world, machine, "it asked for time (Retry-After)", host="ok-1")
    wait_for(delivered(world, 4), 30, "the others are good")
    for n in (2, 3):
        world.fediverse.behave(f"ok-{n}", "silent")
    assert fedpush(world, "domain", "limit", "ok-3.fedi.test", "--window", "1").returncode == 0
    push(world.redis, posts(world, "ok-2", 3, first=100, path="/same"))
    says(world, machine, "what waits goes one by one for each sender and inbox", host="ok-2")
    push(world.redis, posts(world, "ok-3", 4, first=200))
    says(world, machine, "sending as many at once as an admin allows; 3 waiting, 1 in flight", host="ok-3")
    assert fedpush(world, "domain", "limit", "ok-5.fedi.test", "--proxy", "eu",
                   FEDPUSH_PROXIES="eu=http://127.0.0.1:1").returncode == 0
    says(world, machine, "an admin has ordered proxy eu, which FEDPUSH_PROXIES of this machine lacks", host="ok-5")
    assert fedpush(world, "domain", "pause", "ok-6.fedi.test").returncode == 0
    says(world, machine, "an admin has paused it", host="ok-6")


def test_what_waits_outside_of_a_lane_is_explained(world, machines):
    machine = machines(FEDPUSH_HANDOFF_QUEUE="push_ruby")
    push(world.redis, posts(world, "ok-1", 1, options={"sign_with": "a key"}))
    says(world, machine, "jobs that need Ruby into queue push_ruby, which no live Sidekiq process serves")
    world.postgres.stop()
    try:
        push(world.redis, posts(world, "ok-1", 3, first=50, account=ACCOUNTS[0][0]))
        says(world, machine, "3 wait for keys of their senders that this machine can't read")
    finally:
        world.postgres.start()


def waits(world, host, due_s, number=1, **more):
    """A job that waits in `retry` for its time."""
    job = {**delivery(number, world.fediverse.inbox(host)), "jid": f"{number:024x}", "queue": "push", "retry": 16,
           "created_at": time.time() - 60, "retry_count": 0, "failed_at": time.time(), **more}
    world.redis_client.zadd("retry", {json.dumps(job): due_s})


def authority(world, host):
    return world.fediverse.inbox(host).split("/")[2]


def fact(world, host, name, *more):
    """A line of it."""
    found = [line.split(None, len(name.split()))[-1] for line in show(world, host, *more).splitlines() if line.startswith(name)]
    return found[0] if found else None


def told(world, *arguments):
    done = fedpush(world, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_due_next_is_the_next_try(world):
    now = time.time()
    waits(world, "ok-1", now + 900, error_message="a key is missing")
    assert fact(world, "ok-1", "next due") in ("in 15 min", "in 14 min")
    assert fact(world, "ok-1", "last error") == "a key is missing"
    # Behind an open circuit it is the probe, sooner or later than the job's own time.
    for own_s, probe_s in ((900, 300), (3, 300)):
        world.redis_client.delete("retry")
        waits(world, "ok-1", now + own_s)
        world.redis_client.hset("fedpush:circuit", authority(world, "ok-1"),
                                f"open {int(now - 60) * 1000} {int(now + probe_s) * 1000} 30000")
        assert fact(world, "ok-1", "next due") in ("in 5 min: the probe of its open circuit", "in 4 min: the probe of its open circuit")
        waiting = json.loads(show(world, "ok-1", "--json"))["waiting"]
        assert waiting["next_due_at"] == int(now + probe_s) and [said["code"] for said in waiting["next_due_says"]] == ["due.probe"]
    world.redis_client.set(f"fedpush:probe:{authority(world, 'ok-1')}", "token")
    assert "a probe is under way" in fact(world, "ok-1", "next due")
    # And nothing is tried while it is paused.
    told(world, "domain", "pause", "ok-1.fedi.test", "--for", "30m")
    assert fact(world, "ok-1", "next due") in ("in 30 min: when its pause ends", "in 29 min: when its pause ends")
    told(world, "domain", "pause", "ok-1.fedi.test")
    assert fact(world, "ok-1", "next due") == "not before it is resumed"
    waiting = json.loads(show(world, "ok-1", "--json"))["waiting"]
    assert waiting["next_due_at"] is None and waiting["next_due_says"][0]["code"] == "due.paused"
    told(world, "pause")
    assert fact(world, "ok-1", "next due") == "not before the fleet is resumed"
    assert fact(world, "ok-9", "next due") is None


def test_people_and_programs_are_told_the_same(world):
    """Also before setup, and while PostgreSQL is away."""
    world.query("INSERT INTO accounts (id, username, domain, inbox_url, created_at, updated_at)"
                " VALUES (77, 'eve', 'ex.example', 'https://in.b.example/inbox', now(), now())")
    held = json.dumps({**delivery(1, "https://in.b.example/inbox"), "jid": "0" * 24, "queue": "push"})
    world.redis_client.zadd("fedpush:identities", {"gone:1:abcdefabcdef": time.time() - 70})
    world.redis_client.hset("fedpush:claimed:gone:1:abcdefabcdef", mapping={"seq": 1, "1": f"q\n{held}"})
    waits(world, "ok-1", time.time() + 900)
    world.redis_client.lpush("queue:default", json.dumps({"class": "Ruby", "args": []}),
                             json.dumps(delivery(8, world.fediverse.inbox("ok-1"), options={"sign_with": "a key"})))
    world.redis_client.zadd("dead", {json.dumps(delivery(9, world.fediverse.inbox("ok-1"))): 1})
    shown = told(world, "domain", "show", "@eve@ex.example")
    assert "inboxes      in.b.example" in shown and shown.splitlines()[-1].split() == ["in.b.example", "0", "0", "0", "0", "1", "0", "0"]
    assert "gone:1:abcdefabcdef: it is dead, and has 1 of these jobs in its hands" in shown
    one = json.loads(told(world, "domain", "show", "@eve@ex.example", "--json"))
    assert one["waiting"]["holders"] == [{"machine": "gone:1:abcdefabcdef", "jobs": 1}]
    assert one["waiting"]["by_host"][0]["places"]["held"] == 1 and "in.b.example" in one["waiting"]["hosts"]
    told(world, "pause")
    for settings in ({}, {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}):
        shown = fedpush(world, "domain", "show", "fedi.test", **settings)
        assert shown.returncode == 0 and shown.stdout.splitlines()[-1].split() == ["ok-1.fedi.test", "0", "0", "1", "0", "0", "1", "1"]
        done = fedpush(world, "domain", "show", "fedi.test", "--json", **settings)
        one = json.loads(done.stdout)
        assert done.returncode == 0 and one["missing"] and one["delivered"] is None and one["audit"] is None
        waiting = one["waiting"]
        assert (waiting["places"]["retry"], waiting["handoff"], waiting["dead"]) == (1, 1, 1)
        assert one["fleet_paused"] and one["verdict"]["code"] == "verdict.no_machine"
    assert "dropped: 2 removed" in told(world, "domain", "drop", "fedi.test", "--yes")
    assert world.redis_client.llen("queue:default") == 1
    for wrong in (("show", "*.fedi.test"), ("show", "a b"), ("show", "a.example", "b.example"), ("show",), ("dance",)):
        done = fedpush(world, "domain", *wrong, "--json")
        assert done.returncode == 64 and not json.loads(done.stdout)["ok"] and json.loads(done.stdout)["error"]


def test_who_does_not_probe_says_that_another_does(world, machines):
    machine = machines()
    host, now_us = authority(world, "ok-1"), int(world.redis_client.time()[0]) * 1000000
    world.redis_client.set(f"fedpush:probe:{host}", "token")
    world.redis_client.hset("fedpush:circuit", host, f"open {now_us // 1000 - 60000} {now_us // 1000} 30000")
    world.redis_client.zadd("fedpush:circuits", {host: now_us})
    push(world.redis, posts(world, "ok-1", 1))
    says(world, machine, "another machine is probing it")
    world.redis_client.delete(f"fedpush:probe:{host}")


def test_orders_and_answers_come_while_redis_is_full(world, machines):
    machine = machines(FEDPUSH_DRAIN_SECONDS=1)
    waits(world, "ok-1", time.time() + 900)
    world.redis_client.config_set("maxmemory", 1 << 20)
    try:
        done = fedpush(world, "status")
        assert done.returncode and "warn  memory" in done.stdout and "raise maxmemory" in done.stdout, done.stdout
        told(world, "pause")
        assert world.redis_client.get("fedpush:pauser")
        says(world, machine, "an admin has paused the fleet")
        assert show(world, "ok-1").splitlines()[-1].split()[1:] == ["0", "0", "1", "0", "0", "0", "0"]
        assert "told to drain" in told(world, "drain", "--machine", machine.identity())
        assert machine.process.wait(60) == 0
    finally:
        world.redis_client.config_set("maxmemory", 0)
    machine.process = None


def test_a_try_says_what_holds_it_back(world, machines):
    machine = machines()
    world.query("INSERT INTO unavailable_domains (domain, created_at, updated_at) VALUES ('ok-9.fedi.test', now(), now())")
    waits(world, "ok-9", time.time() + 900)
    refused = fedpush(world, "domain", "try", "ok-9.fedi.test")
    assert refused.returncode == 64 and "unavailable in Mastodon" in refused.stderr
    world.fediverse.behave("ok-1", "later300")
    push(world.redis, posts(world, "ok-1", 1))
    says(world, machine, "it asked for time (Retry-After)", host="ok-1")
    wait_for(lambda: world.redis_client.zcard("retry") == 2, 30, "it is to be tried again")
    said = told(world, "domain", "try", "ok-1.fedi.test")
    assert "is due now" in said and f"held back by {machine.identity()}: it asked for time (Retry-After)" in said, said
    assert "what comes is sent at once" in told(world, "domain", "try", "ok-2.fedi.test")
    told(world, "pause", "--machine", machine.identity())
    says(world, machine, "an admin has paused this machine")
    push(world.redis, posts(world, "ok-2", 1, first=50))
    said = told(world, "domain", "try", "ok-2.fedi.test")
    assert "at once" not in said and f"held back by {machine.identity()}: an admin has paused this machine" in said, said
    machine.stop()
    assert "no fedpush is running" in told(world, "domain", "try", "ok-2.fedi.test")
