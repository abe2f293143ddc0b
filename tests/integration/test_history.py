"""What is recorded and reported: each machine's report, and how its numbers agree with everybody else's."""

import collections
import json
import os
import re
import signal
import time

from jobs import delivery, push, push_fanout, wait_settled
from servers import wait_for


def report(world, machine):
    """What the machine says of itself, or None."""
    found = world.redis_client.hget("fedpush:machines", machine.identity())
    return json.loads(found) if found else None


def test_a_machine_reports_what_it_does_and_drains_when_told_to(world, machines):
    machine = machines()
    push(world.redis, [delivery(i, world.fediverse.inbox(f"ok-{i}")) for i in range(20)]
         + [delivery(30, world.fediverse.inbox("status503-1")), delivery(31, world.fediverse.inbox("status410-1"))]
         + [{"class": "ActivityPub::DistributionWorker", "args": [1]}])
    wait_settled(world)
    wanted = {"delivered": 20, "retried": 1, "rejected": 1, "exhausted": 0, "handed_off": 1}
    found = {}

    def reported():  # one that was made after the last job had gone
        found.update(report(world, machine) or {})
        return found and wanted.items() <= found["totals"].items() and found["held"] == 0

    wait_for(reported, 30, "a report")
    assert wanted.items() >= {name: found["recent"][name] for name in ("delivered", "retried", "rejected")}.items()
    assert found["v"] == 1 and abs(found["at"] - time.time()) < 10 and found["started_at"] < found["at"]
    assert found["state"] == "running" and found["workers"] == 2 and found["mastodon"] == world.version
    assert sum(found["latency"]) == 22 and found["totals"]["sent_bytes"] > 0
    assert found["in_flight"] == found["held"] == 0 and found["lanes"] == 22 and found["postgres"] is None
    assert found["rss_bytes"] > 1 << 20
    wait_for(lambda: report(world, machine)["cpu"] is not None, 30, "two looks at the processes")

    identity = machine.identity()
    world.redis_client.set(f"fedpush:drain:{identity}", "1", ex=60)
    assert machine.process.wait(60) == 0
    assert not world.redis_client.exists(f"fedpush:drain:{identity}")
    assert world.redis_client.hlen("fedpush:machines") == 0


def test_the_report_of_a_dead_machine_goes_with_its_identity(world, machines):
    machine = machines()
    wait_for(lambda: report(world, machine), 30, "a report")
    former = machine.identity()
    machine.kill()
    machine.start()
    wait_for(lambda: report(world, machine), 30, "a new report")
    wait_for(lambda: world.redis_client.hkeys("fedpush:machines") == [machine.identity().encode()], 30,
             f"{former} is gone")


RESULTS = ("delivered", "retried", "rejected", "exhausted")


def sums(world, table, columns=RESULTS):
    """What a table of the statistics adds up to."""
    terms = ", ".join(f"COALESCE(sum({column}), 0)::bigint" for column in columns)
    return dict(zip(columns, world.query(f"SELECT {terms} FROM fedpush.{table}")[0]))


def histogram(world, table):
    return [row[0] for row in world.query(
        f"SELECT sum(n)::bigint FROM fedpush.{table}, unnest(latency) WITH ORDINALITY AS l(n, i) GROUP BY i ORDER BY i")]


def test_all_numbers_agree_with_the_receivers_after_a_worker_died(world, machines):
    world.fediverse.verify(50)
    machine = machines()
    jobs = [delivery(f"g{i}", world.fediverse.inbox(f"status410-{i}")) for i in range(6)]
    jobs += [delivery(f"f{i}", world.fediverse.inbox(f"status503-{i}")) for i in range(7)]
    jobs += [delivery(f"e{i}", world.fediverse.inbox(f"status500-{i}"), retry=0) for i in range(3)]
    jobs += [delivery(f"r{i}", world.fediverse.inbox("refused-1")) for i in range(2)]
    jobs += [{"class": "ActivityPub::DistributionWorker", "args": [i]} for i in range(4)]
    jobs += [delivery(i, world.fediverse.inbox(f"slow1000-{i % 40}", f"/u{i}/inbox")) for i in range(400)]
    push(world.redis, jobs)
    ledger = f"fedpush:ledger:{machine.identity()}"

    def counted(word):
        return int(world.redis_client.hget(ledger, word) or 0)

    wait_for(lambda: counted("rejected") == 6 and counted("exhausted") == 3 and counted("retried") > 7
             and counted("delivered") > 0, 30, "those that fail have failed, others are on the wire")
    os.kill(machine.roles("worker")[0], signal.SIGKILL)
    wait_for(lambda: counted("delivered") == 400, 90, "all are delivered")
    wait_settled(world)
    last = report(world, machine)
    machine.stop()  # writes what it has

    sent = {word.decode(): int(count) for word, count in world.redis_client.hgetall("fedpush:ledger").items()}
    health = sums(world, "domain_health")
    assert health["delivered"] == sent["delivered"] == 400 and health["rejected"] == sent["rejected"] == 6
    assert health["retried"] == sent["retried"] and health["exhausted"] == sent["exhausted"] == 3
    for table in ("inbox_health", "domain_hourly", "fleet_minutely", "fleet_hourly"):
        assert sums(world, table) == health, table
    for table in ("fleet_minutely", "fleet_hourly"):
        assert sums(world, table, ("handed_off",)) == {"handed_off": sent["handed_off"]} == {"handed_off": 4}
        assert histogram(world, table) == histogram(world, "domain_hourly")
        assert sums(world, table, ("sent_bytes",)) == sums(world, "domain_health", ("sent_bytes",))
    assert sum(histogram(world, "domain_hourly")) == sum(health.values())
    assert all(last["totals"][name] <= health[name] for name in RESULTS)

    # What was on the wire when the worker died was received, and nobody heard of it: it went once more.
    lost = re.search(r"worker is gone.*\bjobs=(\d+)", machine.log())
    received = collections.Counter()
    for inbox, times in world.fediverse.counts()["inboxes"].items():
        received[inbox.split("-")[0]] += times
    assert lost and 400 <= received["slow1000"] <= 400 + int(lost[1]), (received, lost)

    errors = world.query("SELECT host, error, status, count FROM fedpush.domain_error ORDER BY host, error")
    answered = {(error, status): sum(row[3] for row in errors if row[1:3] == (error, status))
                for _, error, status, _ in errors}
    assert answered[("returned code 410", 410)] == received["status410"] == 6
    assert answered[("returned code 500", 500)] == received["status500"] == 3
    assert answered[("returned code 503", 503)] == received["status503"] >= 7
    refused = [(error, status) for host, error, status, _ in errors if host.startswith("refused-1")]
    assert refused and all(status is None and error for error, status in refused)
    assert sum(count for _, _, _, count in errors) == sum(health.values()) - 400


def test_history_is_written_while_it_happens_and_after_postgres_was_away(world, machines):
    machine = machines()
    push(world.redis, [delivery(i, world.fediverse.inbox("ok-1", f"/u{i}")) for i in range(5)])
    wait_settled(world)
    wait_for(lambda: sums(world, "domain_hourly")["delivered"] == 5, 30, "the first are written")
    wait_for(lambda: world.query("SELECT 1 FROM fedpush.fleet_minutely WHERE queue_length IS NOT NULL"), 30, "gauges")
    world.query("ALTER SCHEMA fedpush RENAME TO elsewhere")
    push(world.redis, [delivery(9 + i, world.fediverse.inbox("ok-1", f"/v{i}")) for i in range(5)])
    wait_settled(world)
    wait_for(lambda: re.search(r"statistics can't be written.*of=history", machine.log()), 30, "it is said")
    world.query("ALTER SCHEMA elsewhere RENAME TO fedpush")
    wait_for(lambda: sums(world, "domain_hourly")["delivered"] == sums(world, "fleet_hourly")["delivered"] == 10, 60,
             "the others follow")


def ask(world, question, machine, wanted):
    """The machine's answer, when `wanted` says that it is the one."""
    key = f"fedpush:answers:{question}"

    def answered():
        world.redis_client.sadd("fedpush:questions", question)
        world.redis_client.expire("fedpush:questions", 10)
        found = world.redis_client.hget(key, machine.identity())
        return found is not None and wanted(found.decode().splitlines())

    wait_for(answered, 60, lambda: f"an answer: {world.redis_client.hgetall(key)}", every=0.2)
    assert 0 < world.redis_client.ttl(key) <= 30
    return world.redis_client.hget(key, machine.identity()).decode().splitlines()


def test_a_machine_knows_where_an_activity_is(world, machines):
    machine = machines(FEDPUSH_HOST_WINDOW=1)
    before = time.time() * 1000 - 1000
    hole = world.fediverse.inbox("hole-1")
    push(world.redis, [delivery(1, world.fediverse.inbox(f"ok-{i}")) for i in range(3)] + [
        delivery(1, world.fediverse.inbox("status503-1")), delivery(1, world.fediverse.inbox("status410-1")),
        delivery(1, world.fediverse.inbox("status500-1"), retry=0), delivery(2, world.fediverse.inbox("ok-1")),
        delivery(1, hole), delivery(1, hole.replace("/inbox", "/second"))])

    def states(found):
        return sorted(line.split(" ")[0] for line in found)

    found = ask(world, "trace https://social.fedi.test/activities/1", machine, lambda lines: states(lines) == [
        "delivered", "delivered", "delivered", "exhausted", "in_flight", "rejected", "retried", "waiting"])
    lines = {line.split(" ", 3)[3]: line.split(" ", 3)[:3] for line in found}
    assert lines[world.fediverse.inbox("ok-1")][:2] == ["delivered", "202"]
    assert lines[world.fediverse.inbox("status503-1")][:2] == ["retried", "503"]
    assert lines[world.fediverse.inbox("status410-1")][:2] == ["rejected", "410"]
    assert lines[world.fediverse.inbox("status500-1")][:2] == ["exhausted", "500"]
    assert {lines[hole][0], lines[hole.replace("/inbox", "/second")][0]} == {"in_flight", "waiting"}
    assert all(before <= int(at) <= time.time() * 1000 + 1000 for _, _, at in lines.values()), lines
    assert states(found[:2]) == ["in_flight", "waiting"]  # what is held comes first
    assert len(ask(world, "trace https://social.fedi.test/activities/2", machine, lambda lines: len(lines) == 1)) == 1
    assert ask(world, "trace https://social.fedi.test/activities/3", machine, lambda lines: True) == []


def test_a_long_trace_is_cut(world, machines):
    machine = machines()
    push_fanout(world.redis, [delivery(1, world.fediverse.inbox(f"ok-{i % 100}", f"/u{i}")) for i in range(250)])
    wait_settled(world)
    found = ask(world, "trace https://social.fedi.test/activities/1", machine, lambda lines: len(lines) == 201)
    assert found[-1] == "more 50" and len(set(found[:-1])) == 200
