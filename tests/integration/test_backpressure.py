"""A machine whose processors are busy otherwise leaves the work to one that has time."""

import os
import signal
import threading
import time

from jobs import assert_all_delivered_once, delivered, fanout, push_fanout, wait_settled
from machine import alive
from servers import wait_for

STILL_S, MOVING_S = 0.9, 0.1


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


def taken_by(world, machine):
    """How many jobs it has claimed in its life."""
    return int(world.redis_client.hget(f"fedpush:ledger:{machine.identity()}", "claimed") or 0)


def test_a_slowed_machine_claims_less(world, machines):
    fast = machines()
    slow = machines()
    jobs = fanout(world, 3000, hosts=190)
    with Slowed(slow):
        time.sleep(5)
        push_fanout(world.redis, jobs)
        wait_for(delivered(world, 3000), 60, lambda: f"{taken_by(world, fast)}, {taken_by(world, slow)}")
    wait_settled(world)
    print("fast", taken_by(world, fast), "slow", taken_by(world, slow))
    assert_all_delivered_once(world, jobs)
    assert taken_by(world, slow) < 3000 / 4
