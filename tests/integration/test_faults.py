"""Whatever dies, stalls or lies: no job is lost, and none is sent twice without need."""

import json
import os
import signal
import time

import pytest
import redis
from jobs import (
    account_at_rest, account_for, assert_all_delivered_once, claimed, delivered, delivery, fanout, payloads, push,
    push_fanout, sidekiq, unsettled, wait_settled,
)
from machine import alive, fedpush
from proxy import CuttingProxy, GatedProxy
from servers import wait_for
from test_deliver import push_raw, raw

IN_FLIGHT = 2048  # at most so many may be sent twice when everything dies


@pytest.fixture(autouse=True)
def quick_receivers(world):
    """Hundreds of deliveries at once don't wait for the verifiers until they time out."""
    world.fediverse.verify(50)


@pytest.mark.slow
def test_no_reply_of_redis_is_needed_to_keep_a_job(world, machines):
    """Each connection is cut one reply later than the one before."""
    proxy = CuttingProxy(world.redis.port, range(1, 31))
    machines(ready=False, REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")
    jobs = fanout(world, 3000)
    for at in range(0, len(jobs), 100):
        push_fanout(world.redis, jobs[at : at + 100])  # Ruby's start is a pause, so that there is traffic to cut
    # The last ones live long: an idle connection sees a reply each two seconds.
    wait_for(lambda: proxy.cut_count >= 25, 180, lambda: f"cut 25 times, not {proxy.cut_count}")
    wait_settled(world, 120)
    assert_all_delivered_once(world, jobs)
    proxy.stop()


@pytest.mark.parametrize("role", ["worker", "signer", "scheduler"])
def test_kill_of_a_role_loses_nothing(world, machines, role):
    machine = machines()
    jobs = fanout(world, 2000, hosts=100, word="slow50")
    push_fanout(world.redis, jobs)
    wait_for(delivered(world, 100), 30, "some are delivered")
    before = machine.signal(role, signal.SIGKILL)
    wait_for(lambda: set(machine.roles(role)) - set(before), 30, f"a new {role}")
    wait_settled(world, 120)
    account = account_at_rest(world, jobs)
    assert account.lost == [] and account.places == {"delivered": 2000}, account
    assert account.duplicates <= (0 if role == "signer" else IN_FLIGHT)
    assert machine.process.poll() is None


def test_kill_of_everything_is_recovered_by_the_next_start(world, machines):
    machine = machines()
    jobs = fanout(world, 1000, hosts=100, word="slow1500")
    push_fanout(world.redis, jobs)
    wait_for(delivered(world, 100), 30, "some are delivered")
    old = machine.identity()
    machine.kill()
    assert claimed(world) > 0
    machine.start()
    # It knows its old identity and doesn't wait until that is stale.
    wait_for(lambda: not world.redis_client.exists(f"fedpush:claimed:{old}"), 50, "its claims are recovered")
    wait_settled(world)
    account = account_at_rest(world, jobs)
    assert account.lost == [] and account.places == {"delivered": 1000}, account


@pytest.mark.slow
def test_a_stalled_machine_is_recovered_by_another_and_writes_nothing(world, machines):
    first = machines()
    jobs = fanout(world, 600, hosts=30, word="slow1500")
    push_fanout(world.redis, jobs)
    wait_for(lambda: delivered(world, 50)() and claimed(world) > 50, 30, "some are in flight")
    first.pause()
    second = machines()
    old = first.identity()
    wait_for(lambda: not world.redis_client.exists(f"fedpush:claimed:{old}"), 150, "its claims are recovered")
    first.resume()
    wait_settled(world, 120)
    wait_for(lambda: first.identity() not in (None, old), 60, "the stalled one starts over with a new name")
    account = account_at_rest(world, jobs)
    assert account.lost == [] and account.places == {"delivered": 600}, account
    assert account.duplicates <= IN_FLIGHT
    assert second.process.poll() is None


@pytest.mark.slow
def test_a_stuck_scheduler_is_replaced(world, machine):
    jobs = fanout(world, 300, word="slow200")
    push_fanout(world.redis, jobs)
    wait_for(delivered(world, 20), 30, "some are delivered")
    before = machine.signal("scheduler", signal.SIGSTOP)
    wait_for(lambda: machine.roles("scheduler") not in ([], before), 90, "a new scheduler")
    wait_settled(world)
    account = account_at_rest(world, jobs)
    assert account.lost == [] and account.places == {"delivered": 300}, account


@pytest.mark.slow
def test_a_stuck_worker_is_replaced_and_its_jobs_delivered(world, machine):
    jobs = fanout(world, 300, word="slow200")
    push_fanout(world.redis, jobs)
    wait_for(delivered(world, 20), 30, "some are delivered")
    victim = machine.roles("worker")[0]
    os.kill(victim, signal.SIGSTOP)
    wait_for(lambda: victim not in machine.roles("worker") and len(machine.roles("worker")) == 2, 90, "a new worker")
    wait_settled(world)
    account = account_at_rest(world, jobs)
    assert account.lost == [] and account.places == {"delivered": 300}, account


def test_redis_away_for_a_while(world, machines):
    machine = machines()
    jobs = fanout(world, 600, word="slow200")
    push_fanout(world.redis, jobs)
    wait_for(delivered(world, 50), 30, "some are delivered")
    with world.redis.away():
        wait_for(lambda: not any(world.fediverse.counts()["now"].values()), 30, "outcomes come in that can't be written")
    wait_settled(world)
    account = account_for(world, jobs)
    assert account.lost == [] and account.duplicates == 0, account
    assert machine.process.poll() is None


def test_redis_at_its_memory_limit(world, machine):
    """Outcomes are still written: their scripts begin with what frees memory."""
    jobs = fanout(world, 60, hosts=20, word="late503") + fanout(world, 400, word="slow100")
    with world.fediverse.standing_still():
        push_fanout(world.redis, jobs)
        wait_for(lambda: claimed(world) >= 100, 30, "some are claimed")
        world.redis_client.config_set("maxmemory", 1)
        with pytest.raises(redis.exceptions.ResponseError, match="OOM|maxmemory"):
            world.redis_client.set("x", "y")
        held = claimed(world)
    wait_for(lambda: claimed(world) < held - 50, 30, "claims are settled at the limit")
    assert account_for(world, jobs).lost == []
    world.redis_client.config_set("maxmemory", 0)
    wait_settled(world)
    account = account_for(world, jobs)
    assert account.lost == [] and account.duplicates == 0, account
    assert account.places["retry"] + account.places["schedule"] == 60, account
    assert machine.process.poll() is None


def test_postgresql_restarted(world, machine):
    jobs = fanout(world, 400, word="slow100")
    push_fanout(world.redis, jobs[:200])
    wait_for(delivered(world, 150), 30, "either account has delivered")
    with world.postgres.away():
        push_fanout(world.redis, jobs[200:])
        wait_for(delivered(world, 250), 30, "cached keys sign on")
        # This account's key was never read: its job waits.
        waiting = delivery(9999, world.fediverse.inbox("ok-1"), account=-99)
        push(world.redis, [waiting])
        wait_for(delivered(world, 400), 30, "all with cached keys")
        assert account_for(world, [waiting]).places["delivered"] == 400
    wait_settled(world)
    assert_all_delivered_once(world, jobs + [waiting])
    count = "SELECT coalesce(sum(delivered), 0)::int FROM fedpush.inbox_health"
    wait_for(lambda: world.query(count)[0][0] == 401, 30, lambda: f"health of 401; {world.query(count)}")


@pytest.mark.slow
def test_poison_is_found_by_two_machines_and_put_away(world, machines):
    first, second = machines(), machines()
    poison = delivery(6666, world.fediverse.inbox("ok-7", "/fedpush-fault-crash"))
    jobs = fanout(world, 300, word="slow50")
    push_fanout(world.redis, jobs[:150])
    push(world.redis, [poison])
    push_fanout(world.redis, jobs[150:])
    wait_settled(world, 150)
    account = account_for(world, jobs)
    assert account.lost == [] and account.places["delivered"] == 300, account
    assert account.places["dead"] == 1
    dead = sidekiq(world.redis)["dead"][0]["item"]
    assert dead["error_class"] == "Fedpush::PoisonJob" and dead["args"][2].endswith("crash")
    assert first.process.poll() is None and second.process.poll() is None


def test_who_never_ran_is_no_poison(world, machine):
    """Jobs under suspicion, for whose key nobody can be asked: each has its turns, one at a time."""
    client = world.redis_client
    jobs = [delivery(i, world.fediverse.inbox(f"ok-{i}"), jid=f"{i:024x}") for i in range(4)]
    with world.postgres.away():
        client.hset("fedpush:recoveries", mapping={job["jid"]: f"2 {int(time.time())}" for job in jobs})
        push(world.redis, jobs)
        turns = []
        wait_for(lambda: turns.append(machine.log().count("job runs alone")) or turns[-1] > 4, 30, "turns")
        assert turns[-1] < 40, "they wait longer and longer"
        machine.pause()
        alone = sum(mark.endswith(b" alone") for mark in client.hvals("fedpush:recoveries"))
        assert alone <= 1, client.hgetall("fedpush:recoveries")
        machine.kill()
        assert fedpush(world, "handback", "--own", runtime_dir=machine.runtime_dir).returncode == 0
        assert client.llen("queue:push") == 4 - alone and client.zcard("dead") == alone


def own_identities(machine):
    with open(os.path.join(machine.runtime_dir, "identities")) as file:
        return file.read().splitlines()


def test_a_fenced_machine_takes_what_comes_next(world, machine):
    client = world.redis_client
    wait_for(lambda: any(one["cmd"] == "blmove" for one in client.client_list()), 30, "it waits")
    former = machine.fence()
    push_raw(world, raw(1, world.fediverse.inbox("ok-1")))
    wait_for(delivered(world, 1), 30, "the next job is delivered")
    wait_for(lambda: former not in own_identities(machine), 30, "its former identity is forgotten")
    assert own_identities(machine) == [machine.identity()]


def test_a_drain_that_is_fenced_forgets_no_claim(world, machines):
    machine = machines(FEDPUSH_DRAIN_SECONDS=30)
    push(world.redis, [delivery(1, world.fediverse.inbox("silent-1"))])
    wait_for(delivered(world, 1), 30, "it is on the wire")
    identity = machine.identity()
    machine.process.terminate()
    wait_for(lambda: "is=draining" in machine.log(), 30, "it drains")
    world.redis_client.zrem("fedpush:identities", identity)
    assert machine.process.wait(60) == 0
    machine.process = None
    assert own_identities(machine) == [identity]
    done = fedpush(world, "handback", "--own", runtime_dir=machine.runtime_dir)
    assert done.returncode == 0 and world.redis_client.llen("queue:push") == 1, done.stdout


def test_a_drain_ends_although_nobody_answers_blmove(world, machines):
    proxy = GatedProxy(world.redis.port)
    machine = machines(FEDPUSH_DRAIN_SECONDS=1, REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")
    identity = machine.identity()
    proxy.mute(b"BLMOVE")
    wait_for(lambda: proxy.muted > 0, 30, "it waits")
    assert machine.stop() == 0
    assert own_identities(machine) == [identity], "a job may have come to it since"
    assert world.redis_client.zcard("fedpush:identities") == 0
    proxy.stop()


def test_a_fail_over_in_a_drain_loses_nothing(world, machines):
    proxy = GatedProxy(world.redis.port)
    machine = machines(FEDPUSH_DRAIN_SECONDS=1, REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")
    jobs = [delivery(1, world.fediverse.inbox("silent-1"))]
    push(world.redis, jobs)
    wait_for(delivered(world, 1), 30, "it is on the wire")
    with proxy.away():
        world.redis_client.delete(f"fedpush:claimed:{machine.identity()}")
        machine.process.terminate()
        wait_for(lambda: "went back to the queue" in machine.log(), 30, "the deadline")
    assert machine.process.wait(60) == 0
    machine.process = None
    job, = world.redis_client.lrange("queue:push", 0, -1)
    assert json.loads(job)["args"] == jobs[0]["args"]
    proxy.stop()


HOSTILE = {
    # what the host does: where its job must be afterwards
    "silent-1": "retry", "close-1": "retry", "reset-1": "retry", "garbage-1": "retry", "headers-1": "retry",
    "drip-1": "retry", "refused-1": "retry", "hole-1": "retry", "nx-1": "retry",
    "redirect301-1": "retry", "elsewhere307-1": "retry", "loop307-1": "retry", "status500-1": "retry",
    "status401-1": "retry", "status429-1": "retry",
    "bigbody-1": "done", "redirect307-1": "done", "redirect303-1": "done", "status404-1": "done",
    "status410-1": "done", "status501-1": "done",
}


def places(world):
    """Where the job to each host is."""
    return {json.loads(payload)["args"][2].split("//")[1].split(".")[0]: place
            for place, payload in payloads(world.redis_client)}


def postpone_retries(world):
    """What has failed is not tried again while the test looks on."""
    for entry in world.redis_client.zrange("retry", 0, -1):
        world.redis_client.zadd("retry", {entry: time.time() + 3600}, xx=True)
    return True


@pytest.mark.slow
def test_hostile_hosts_harm_themselves_only(world, machine):
    jobs = {host: delivery(i, world.fediverse.inbox(host)) for i, host in enumerate(HOSTILE)}
    push(world.redis, list(jobs.values()))
    good = fanout(world, 500)
    push_fanout(world.redis, good)
    wait_for(lambda: account_for(world, good).places["delivered"] >= 500, 50, "healthy hosts")
    assert places(world)["drip-1"] == "claimed", "healthy hosts don't wait for the others"
    wait_for(lambda: postpone_retries(world) and unsettled(world) == 0, 120, "settled")
    where = places(world)
    assert {host: where.get(host, "done") for host in HOSTILE} == HOSTILE
    assert len(machine.roles("worker")) == 2


def test_a_name_without_an_answer_burns_retries_while_others_get_theirs(world, machine):
    """SERVFAIL and silence about one name: its jobs are kept, and end some day as Mastodon's do."""
    client = world.redis_client
    jobs = [delivery(1, world.fediverse.inbox("servfail-1")), delivery(2, world.fediverse.inbox("mute-1"))]
    push(world.redis, jobs)
    wait_for(lambda: client.zcard("retry") == 2, 90, lambda: f"both failed; {sidekiq(world.redis)}")
    failed = [json.loads(entry) for entry in client.zrange("retry", 0, -1)]
    assert [job["retry_count"] for job in failed] == [0, 0]
    assert all("cannot be resolved" in job["error_message"] for job in failed), failed
    assert account_for(world, jobs).lost == [] and client.hlen("fedpush:circuit") == 0


def test_a_second_sigterm_stops_at_once(world, machines):
    machine = machines(FEDPUSH_DRAIN_SECONDS=30)
    jobs = fanout(world, 40, hosts=20, word="silent")
    push_fanout(world.redis, jobs)
    wait_for(delivered(world, 10), 30, "requests hang")
    children = machine.children()
    machine.process.terminate()
    wait_for(lambda: "drain" in machine.log(), 30, "it drains")
    machine.process.terminate()
    begin = time.monotonic()
    assert machine.process.wait(60) == 1
    assert time.monotonic() - begin < 25, "not after the drain"
    wait_for(lambda: not any(alive(pid) for pid in children), 30, "the roles are gone")
    machine.process = None
    assert account_for(world, jobs).lost == []
