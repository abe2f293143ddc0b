"""A machine whose processors are busy otherwise leaves the work to one that has time."""

import os
import signal
import threading
import time

from jobs import account_for, fanout, push_fanout, unsettled
from machine import alive
from servers import wait_for

STILL_S, MOVING_S = 1.3, 0.15
JOBS = 1000


class Slowed:
    """Workers that get a tenth of their time, in pieces."""

    def __init__(self, machine):
        self.pids = machine.roles("worker")
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def send(self, number):
        for pid in self.pids:
            if alive(pid):
                os.kill(pid, number)

    def run(self):
        while not self.over.is_set():
            self.send(signal.SIGSTOP)
            self.over.wait(STILL_S)
            self.send(signal.SIGCONT)
            self.over.wait(MOVING_S)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.send(signal.SIGCONT)


def held_by(world, machine):
    return max(0, world.redis_client.hlen(f"fedpush:claimed:{machine.identity()}") - 1)


def taken_by(world, machine):
    """How many jobs it has claimed in its life."""
    return int(world.redis_client.hget(f"fedpush:ledger:{machine.identity()}", "claimed") or 0)


def test_a_slowed_machine_claims_less(world, machines):
    world.fediverse.verify(20)
    fast = machines()
    slow = machines()
    jobs = fanout(world, JOBS, hosts=190)
    most = 0

    def settled():
        nonlocal most
        most = max(most, held_by(world, slow))
        return unsettled(world) == 0

    with Slowed(slow):
        time.sleep(2 * STILL_S + 1)  # it is asked at least once while it stands still
        push_fanout(world.redis, jobs)
        wait_for(settled, 120, lambda: f"{taken_by(world, fast)}, {taken_by(world, slow)}")
    assert account_for(world, jobs).lost == []
    assert 0 < most < 256, "one claim takes more when nothing is known"
    assert taken_by(world, slow) < JOBS / 3
