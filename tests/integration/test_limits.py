"""What a machine lets us have, and what happens when it is less: fewer at once, and nothing is lost."""

import resource
import subprocess

from jobs import assert_all_delivered_once, delivered, delivery, fanout, push_fanout, wait_settled
from machine import BINARY, environment
from renamed import RenamedHost
from servers import wait_for


def test_few_descriptors_are_lived_with(world, machines):
    jobs = fanout(world, 600, hosts=150)
    push_fanout(world.redis, jobs)
    machine = machines(descriptors=128)
    wait_for(delivered(world, 600), 60, machine.log)
    wait_settled(world)
    assert_all_delivered_once(world, jobs)
    assert "few descriptors" in machine.log() and "no socket" not in machine.log()


def test_a_worker_without_descriptors_waits_for_them(world, machines):
    """As when the whole machine has none left, which no limit of our own foresees."""
    jobs = fanout(world, 200, hosts=150)
    machine = machines(FEDPUSH_WORKERS=1)
    worker, = machine.roles("worker")
    before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (1, before[1]))
    try:
        push_fanout(world.redis, jobs)
        wait_for(lambda: "no socket for a question" in machine.log(), 30, machine.log)
    finally:
        resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
    wait_for(delivered(world, 200), 60, machine.log)
    wait_settled(world)
    assert_all_delivered_once(world, jobs)


def test_names_are_asked_for_before_the_first_post(world, machines):
    """Of hosts that were delivered to lately, so that a post to thousands needn't wait for their names."""
    first = machines()
    push_fanout(world.redis, [delivery(1, world.fediverse.inbox("host-1"))])
    wait_for(lambda: world.postgres.query(world.database, "SELECT 1 FROM fedpush.domain_health"), 30, first.log)
    first.stop()
    host = RenamedHost("host-1.fedi.test", "127.0.0.1", world.names)
    second = machines(FEDPUSH_RESOLVERS=host.resolver)
    wait_for(lambda: host.asked > 0, 30, second.log)
    assert world.fediverse.summary()["posts"] == 1


def check_says(world, tmp_path, descriptors, **settings):
    done = subprocess.run(
        ["prlimit", f"--nofile={descriptors}", BINARY, "check"], env=environment(world, str(tmp_path), **settings),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )
    return next(line for line in done.stdout.splitlines() if "descriptors" in line)


def test_check_says_what_descriptors_allow(world, tmp_path):
    assert "1024 a process allow 480 deliveries at once instead of 2048" in check_says(world, tmp_path, 1024)
    assert "enough for 2048 deliveries at once and" in check_says(world, tmp_path, 10240)
