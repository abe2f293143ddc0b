"""What one machine finds out about a host counts for the others."""

import json
import re

from audience import push_at_once
from jobs import delivery, push, push_fanout, unsettled, wait_settled
from machine import fedpush
from redis import Redis
from servers import wait_for


def test_a_host_that_one_machine_found_dead_is_not_tried_by_another(world, machines):
    host = f"refused-1.fedi.test:{world.fediverse.port}"
    inbox = world.fediverse.inbox("refused-1")
    client = world.redis_client
    both = [machines(FEDPUSH_WORKERS=1) for _ in range(2)]
    push(world.redis, [delivery(i, inbox) for i in range(20)])
    wait_for(lambda: backoff_ms(client, host), 60, "the circuit opens")
    shown = fedpush(world, "domain", "show", "refused-1.fedi.test").stdout
    assert f"{host}: its circuit has been open for" in shown and "the next probe is due in" in shown, shown
    pushed = 20

    def all_wait():
        return client.zcard("schedule") + client.zcard("retry") == pushed

    wait_for(all_wait, 60, "what was under way waits, too")
    tried, backoff = len(failed_jobs(client)), backoff_ms(client, host)
    assert tried >= 3
    before = [booked_by(world, machine) for machine in both]

    def both_had_some():  # one of them is enough for all that comes at once
        nonlocal pushed
        push_at_once(client, [delivery(pushed, inbox)])
        pushed += 1
        wait_for(all_wait, 60, "it waits with the others")
        return all(booked_by(world, machine) > count for machine, count in zip(both, before))

    wait_for(both_had_some, 60, lambda: f"{before}, {[booked_by(world, machine) for machine in both]}")
    probes = (backoff_ms(client, host) // backoff).bit_length()  # each doubles it; one may be under way
    assert tried <= len(failed_jobs(client)) <= tried + probes, "either leaves it alone"
    assert client.zcard(f"fedpush:booked:{host}") > 0


def backoff_ms(client, host):
    """Of an open circuit; 0: it isn't."""
    words = (client.hget("fedpush:circuit", host) or b"closed").split()
    return int(words[3]) if words[0] == b"open" else 0


def paused(world, *arguments):
    done = fedpush(world, *arguments)
    assert done.returncode == 0, done.stderr


def test_two_databases_of_one_redis_share_nothing(world, machines):
    """Nor do those of one PostgreSQL, which belong to them."""
    host = f"refused-1.fedi.test:{world.fediverse.port}"
    url = world.redis.url.replace("/0", "/1")
    clients = [world.redis_client, Redis.from_url(url)]
    first = machines(FEDPUSH_WORKERS=1)
    push_at_once(clients[0], [delivery(i, world.fediverse.inbox("refused-1")) for i in range(10)])
    wait_for(lambda: backoff_ms(clients[0], host), 60, "the circuit opens")
    paused(world, "domain", "pause", "ok-1.fedi.test")
    paused(world, "pause")
    wait_for(lambda: "paused by an admin" in first.log(), 30, "the first one has heard of it")
    world.use("4.5")
    assert fedpush(world, "setup", REDIS_URL=url).returncode == 0
    second = machines(ready=False, FEDPUSH_WORKERS=1, REDIS_URL=url)
    jobs = [delivery(i, world.fediverse.inbox(word)) for i, word in enumerate(("ok-1", "ok-2", "refused-1"))]
    for client in clients:
        push_at_once(client, jobs)
    wait_for(lambda: world.fediverse.summary()["posts"] == 2, 60, second.log)
    wait_for(lambda: clients[1].zcard("retry") == 1, 60, "the second one tries all hosts itself")
    assert world.fediverse.counts()["inboxes"] == {"ok-1.fedi.test/inbox": 1, "ok-2.fedi.test/inbox": 1}
    assert [client.zcard("fedpush:identities") for client in clients] == [1, 1]
    assert clients[1].hlen("fedpush:circuit") == 0 and "paused" not in second.log()
    assert len(json.loads(fedpush(world, "status", "--json", REDIS_URL=url).stdout)["machines"]) == 1


def ledger(world, machine, word):
    return int(world.redis_client.hget(f"fedpush:ledger:{machine.identity()}", word) or 0)


def make_due(client, waiting, after_s):
    """All that waits comes due within five seconds, so many seconds from now. Returns when the first does."""
    due_s = client.time()[0] + after_s
    for key, jobs in waiting.items():
        client.zadd(key, {job: due_s + i * 5 / len(jobs) for i, job in enumerate(sorted(jobs))})
    return due_s


def test_what_comes_due_while_its_host_is_dead_is_not_claimed(world, machine):
    host = f"refused-2.fedi.test:{world.fediverse.port}"
    client = world.redis_client
    push(world.redis, [delivery(i, world.fediverse.inbox("refused-2"), account=1 + i % 3) for i in range(20)])
    wait_for(lambda: (client.hget("fedpush:circuit", host) or b"").startswith(b"open "), 60, "the circuit opens")
    wait_settled(world)
    now_s, now_us = client.time()  # no probe is due while this test runs
    client.hset("fedpush:circuit", host, f"open {now_s * 1000} {now_s * 1000 + 3600000} 3600000")
    client.zadd("fedpush:circuits", {host: now_s * 1000000 + now_us + 1000000})
    wait_for(lambda: re.search(r"probe is due in \d+ (min|h)", fedpush(world, "domain", "show", "refused-2.fedi.test").stdout),
             30, "the machine hears of it")
    waiting = {key: set(client.zrange(key, 0, -1)) for key in ("retry", "schedule")}
    assert len(waiting["retry"]) + len(waiting["schedule"]) == 20
    claimed = ledger(world, machine, "claimed")
    client.delete(f"fedpush:booked:{host}")
    due_s = make_due(client, waiting, 4)
    wait_for(lambda: all(client.zcount(key, "-inf", due_s + 10) == 0 for key in waiting), 30, "all are put off")
    assert {key: set(client.zrange(key, 0, -1)) for key in waiting} == waiting
    assert client.zcard(f"fedpush:booked:{host}") == 20
    assert ledger(world, machine, "claimed") - claimed < 10  # none, but for what a machine that is late hasn't seen before
    world.query("INSERT INTO unavailable_domains (domain, created_at, updated_at) "
                "VALUES ('refused-2.fedi.test', now(), now())")
    wait_for(lambda: make_due(client, {key: client.zrange(key, 0, -1) for key in waiting if client.zcard(key)}, 3)
             and ledger(world, machine, "skipped") == 20, 60, "what is of no use any more is skipped", every=7)
    assert client.zcard("retry") + client.zcard("schedule") == 0


def failed_jobs(client):
    """Numbers of the jobs that lost a retry."""
    jobs = [json.loads(entry) for entry in client.zrange("retry", 0, -1)]
    return {number_of(json.loads(job["args"][0])["id"]) for job in jobs if "retry_count" in job}


def number_of(activity):
    return int(activity.rsplit("/", 1)[1])


def test_what_waits_for_a_dead_host_follows_in_order_when_it_answers(world, machine):
    host = f"ok-7.fedi.test:{world.fediverse.port}"
    inbox = world.fediverse.inbox("ok-7")
    client = world.redis_client
    world.fediverse.behave("ok-7", "reset")
    push(world.redis, [delivery(i, inbox) for i in range(20)])
    wait_for(lambda: (client.hget("fedpush:circuit", host) or b"").startswith(b"open "), 60, "the circuit opens")
    wait_settled(world)
    failed = failed_jobs(client)
    assert client.zcard("retry") + client.zcard("schedule") == 20 and len(failed) <= 6, failed
    world.fediverse.behave("ok-7", "ok")
    now_s, now_us = client.time()
    client.hset("fedpush:circuit", host, f"open {now_s * 1000} {now_s * 1000} 30000")  # a probe is due at once
    client.zadd("fedpush:circuits", {host: now_s * 1000000 + now_us + 1000000})
    push(world.redis, [delivery(20, inbox)])
    wait_for(lambda: client.zcard("schedule") + unsettled(world) == 0, 120,
             lambda: f"what was parked comes; {client.zcard('schedule')} wait")
    assert not (client.hget("fedpush:circuit", host) or b"").startswith(b"open ")
    came = [number_of(activity) for activity in world.fediverse.counts()["order"]["ok-7.fedi.test/inbox"]]
    patient = [number for number in came if number not in failed]
    assert patient == sorted(patient) and set(came) == set(range(21)), came


def test_what_is_old_behind_an_open_circuit_is_kept_until_its_host_was_asked(world, machine):
    """As after a pause of three days: the probe is overdue, and the host well by now."""
    host = f"ok-8.fedi.test:{world.fediverse.port}"
    client = world.redis_client
    now_s, now_us = client.time()
    opened_s, due_s = now_s - 100 * 3600, now_s - 72 * 3600
    client.hset("fedpush:circuit", host, f"open {opened_s * 1000} {due_s * 1000} 3600000")
    client.zadd("fedpush:circuits", {host: now_s * 1000000 + now_us})
    wait_for(lambda: "its circuit has been open" in fedpush(world, "domain", "show", "ok-8.fedi.test").stdout, 60,
             "the circuit is known")
    inbox = world.fediverse.inbox("ok-8")
    push_at_once(client, [delivery(i, inbox, created_at=now_s - 90 * 3600 + i) for i in range(40)])
    wait_for(lambda: client.zcard("schedule") + unsettled(world) == 0, 120,
             lambda: f"what was parked comes; {client.zcard('schedule')} wait")
    wait_for(lambda: world.fediverse.summary()["posts"] == 40, 60,
             lambda: f"all of them are there; {world.fediverse.summary()['posts']} are")
    assert b"exhausted" not in client.hgetall(f"fedpush:ledger:{machine.identity()}")


def booked_by(world, machine):
    return int(world.redis_client.hget(f"fedpush:ledger:{machine.identity()}", "booked") or 0)


def test_what_two_machines_have_parked_follows_when_one_finds_the_host_alive(world, machines):
    host = f"ok-9.fedi.test:{world.fediverse.port}"
    inbox = world.fediverse.inbox("ok-9")
    client = world.redis_client
    world.fediverse.behave("ok-9", "reset")
    both = [machines(FEDPUSH_WORKERS=1) for _ in range(2)]
    push(world.redis, [delivery(i, inbox) for i in range(12)])
    pushed = 12

    def opened():  # each of them may have to fail for itself
        nonlocal pushed
        push_at_once(client, [delivery(pushed, inbox)])
        pushed += 1
        return backoff_ms(client, host)

    wait_for(opened, 120, "the circuit opens", every=1)
    while pushed < 200 and not all(booked_by(world, machine) for machine in both):
        push(world.redis, [delivery(pushed, inbox)])  # they take turns
        pushed += 1
        wait_settled(world)
    wait_settled(world)
    parked = [booked_by(world, machine) for machine in both]
    assert all(parked), parked
    assert client.zcard("retry") + client.zcard("schedule") == pushed
    failed = failed_jobs(client)
    world.fediverse.behave("ok-9", "ok")
    now_s, now_us = client.time()
    client.hset("fedpush:circuit", host, f"open {now_s * 1000} {now_s * 1000} 30000")  # a probe is due at once
    client.zadd("fedpush:circuits", {host: now_s * 1000000 + now_us + 1000000})
    push(world.redis, [delivery(pushed, inbox)])
    wait_for(lambda: client.zcard("schedule") + unsettled(world) == 0, 120,
             lambda: f"what was parked comes; {client.zcard('schedule')} wait")
    closed = [machine.log().count("circuit closed") for machine in both]
    assert sum(closed) == 1, "one has found out, and the other heard of it"
    wait_for(lambda: world.fediverse.summary()["posts"] >= pushed + 1 - len(failed), 60, "all of them are there")
    came = [number_of(activity) for activity in world.fediverse.counts()["order"]["ok-9.fedi.test/inbox"]]
    patient = [number for number in came if number not in failed]  # what was tried in vain came twice
    assert sorted(patient) == [number for number in range(pushed + 1) if number not in failed], (came, failed)
    assert client.zcard(f"fedpush:booked:{host}") == 0


def test_a_start_keeps_the_rate(world, machines):
    """With a backlog: there is no second without a limit."""
    rate, seconds = 20, 3
    jobs = [delivery(i, world.fediverse.inbox(f"ok-{i}")) for i in range(400)]
    push_fanout(world.redis, jobs)
    machines(FEDPUSH_MAX_RATE=rate)
    wait_for(lambda: world.fediverse.summary()["posts"] >= rate * seconds, 30, "it sends")
    began = sorted(visit["began_ms"] for visit in world.fediverse.visits())
    early = sum(at_ms < began[0] + 1000 * seconds for at_ms in began)
    assert early <= rate * (seconds + 2), f"{early} in {seconds} s"  # some may have come late
    world.redis_client.delete("queue:push")


def test_a_window_smaller_than_the_fleet_is_kept(world, machines):
    """By the setting alone: one machine serves the host, though both claim its jobs."""
    both = [machines(FEDPUSH_HOST_WINDOW=1, FEDPUSH_WORKERS=1) for _ in range(2)]
    host = "slow50-1.fedi.test"
    wait_for(lambda: "its window of 1 is smaller than the fleet" in fedpush(world, "domain", "show", host).stdout,
             30, "the other one says so")
    jobs = []

    def both_had_some():
        some = [delivery(len(jobs) + i, world.fediverse.inbox("slow50-1", f"/u{i}")) for i in range(10)]
        push_at_once(world.redis_client, some)
        jobs.extend(some)
        wait_settled(world)
        return all(ledger(world, machine, "claimed") > 0 for machine in both)

    wait_for(both_had_some, 60, "both have claimed some")
    assert world.fediverse.summary()["posts"] == len(jobs)
    assert world.fediverse.counts()["busy"][host] == 1
    assert sorted(ledger(world, machine, "delivered") for machine in both) == [0, len(jobs)]
