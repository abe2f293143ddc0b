"""The account of claims: claimed = what became of them + what is held, whatever dies meanwhile."""

import re
import signal

from jobs import DELIVERY, delivery, push, push_fanout, unsettled, wait_settled
from machine import fedpush
from servers import wait_for
from test_cli import lines, sidekiq_process


def account(world, whose="fleet"):
    """What `fedpush status` says of it, and the grade of that line."""
    done = fedpush(world, "status")
    found = re.search(rf"^(\w+) +ledger +{whose}: (\d+) claimed = ([^:]*?)(:.*)?$", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    words = {}
    for part in found[3].split(" + "):
        count, word = part.split(" ", 1)
        words[word] = int(count)
    return found[1], int(found[2]), words


def mixed(world, count):
    """Jobs with every kind of end, most of them deliveries that take a while."""
    world.query("INSERT INTO unavailable_domains (domain, created_at, updated_at)"
                " VALUES ('slow1000-99.fedi.test', now(), now())")
    jobs = [delivery(i, world.fediverse.inbox(f"slow1000-{i % 80}", f"/u{i}/inbox")) for i in range(count)]
    jobs += [delivery(f"s{i}", world.fediverse.inbox("slow1000-99")) for i in range(5)]
    jobs += [delivery(f"g{i}", world.fediverse.inbox(f"status410-{i}")) for i in range(6)]
    jobs += [delivery(f"f{i}", world.fediverse.inbox(f"status503-{i}")) for i in range(7)]
    jobs += [{"class": "ActivityPub::DistributionWorker", "args": [i]} for i in range(8)]
    return jobs


def test_the_account_agrees_after_a_killed_scheduler(world, machines):
    world.fediverse.verify(50)
    machine = machines()
    sidekiq_process(world, ["default"])
    jobs = mixed(world, 2000)
    push_fanout(world.redis, [job for job in jobs if job["class"] == DELIVERY])
    push(world.redis, [job for job in jobs if job["class"] != DELIVERY])
    world.redis_client.lpush("queue:push", "{broken")
    wait_for(lambda: world.fediverse.summary()["posts"] > 100, 30, "some are delivered")
    grade, claimed, words = account(world)
    assert grade == "ok" and words["held"] > 0 and sum(words.values()) == claimed, words
    before = machine.signal("scheduler", signal.SIGKILL)
    wait_for(lambda: set(machine.roles("scheduler")) - set(before), 30, "a new scheduler")
    ended = {"delivered": 2000, "skipped": 5, "rejected": 6, "handed off": 8, "dead": 1}

    def is_over():  # nothing is booked any more, and no retry is being made at this moment
        words = account(world)[2]
        return words["held"] == 0 and words["delivered"] >= 2000 and unsettled(world) == 0

    wait_for(is_over, 120, lambda: str(account(world)))
    grade, claimed, words = account(world)
    again = words["recovered"] + words.get("booked", 0) + words["retried"] - 7  # claimed more than once
    assert grade == "ok" and sum(words.values()) == claimed and words["recovered"] > 0, words
    assert words["retried"] >= 7 and claimed - words["held"] == len(jobs) + 1 + again, words
    assert {word: words.get(word) for word in ended} == ended
    assert account(world, "this machine")[0] == "ok"


def test_an_ended_machine_stays_in_the_account(world, machines):
    machine = machines()
    push_fanout(world.redis, [delivery(i, world.fediverse.inbox(f"ok-{i}")) for i in range(20)])
    wait_settled(world)
    machine.stop()
    assert world.redis_client.keys("fedpush:ledger:*") == []
    assert account(world) == ("ok", 20, {"delivered": 20, "held": 0})


def test_claims_of_a_fedpush_without_a_ledger_do_not_count(world):
    world.redis_client.zadd("fedpush:identities", {"elsewhere:77:abcdefabcdef": 1})
    world.redis_client.hset("fedpush:claimed:elsewhere:77:abcdefabcdef", mapping={"seq": 1, "1": "q\n{}"})
    assert account(world) == ("ok", 0, {"held": 0})
    assert fedpush(world, "handback").returncode == 0
    assert account(world) == ("ok", 0, {"held": 0}) and world.redis_client.llen("queue:push") == 1


def test_status_finds_an_account_that_does_not_add_up(world, machine):
    world.redis_client.hincrby("fedpush:ledger", "claimed", 3)
    done = fedpush(world, "status")
    assert done.returncode == 2 and "+3 jobs" in lines(done, "FAIL")["ledger"], done.stdout
    assert "redis-cli DEL fedpush:ledger" in lines(done, "FAIL")["ledger"]
