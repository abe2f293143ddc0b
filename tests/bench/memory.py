#!/usr/bin/python3
"""What all fedpush processes of a machine hold in memory, beside the budget of each situation: without work, with
connections open to a thousand hosts over TLS, while a backlog is served, and while payloads are large.

    tests/bench/memory.py [--hosts N] [--jobs N] [--large N] [--assert]

Budgets are 64 MiB, 160 MiB at 1,000 connections and 640 MiB at 10,000, in between by their number (a busy host has several), and
no more for what waits, of whatever size. Resident memory is the sum of all processes' (what they share counts each
time), the largest that was seen. With --assert it ends with an error when one is above its budget, or a job is lost.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time

import delivery as bench  # noqa: F401  (it says where the modules of the tests are)
from audience import push_at_once
from demonstration import processes
from jobs import account_for, delivery, unsettled
from machine import Machine, fedpush
from servers import wait_for
from world import World

IDLE_MIB, THOUSAND_MIB, TEN_THOUSAND_MIB = 64, 160, 640
SETTLED_SECONDS = 600


def resident_mib(machine):
    return sum(mib for _, mib in processes(machine).values())


def connections(machine):
    count = 0
    for pid in machine.roles("worker"):
        folder = f"/proc/{pid}/fd"
        for name in os.listdir(folder):
            try:
                count += os.readlink(f"{folder}/{name}").startswith("socket:")
            except FileNotFoundError:  # closed meanwhile
                continue
    return count


def budget_mib(machine):
    return THOUSAND_MIB + max(0, connections(machine) - 1000) * (TEN_THOUSAND_MIB - THOUSAND_MIB) / 9000


class Watched:
    """A machine of which the most that it holds is kept, from each `show` to the next."""

    def __init__(self, world, folder):
        self.world = world
        self.machine = Machine(world, folder, FEDPUSH_LOG_LEVEL="warn", FEDPUSH_MAX_RATE=0, FEDPUSH_DNS_RATE=0).start()
        self.worst = 0
        self.jobs = []

    def serve(self, jobs):
        """Until they are settled; returns the largest that was seen, and the budget and each role's part then."""
        self.jobs += jobs
        push_at_once(self.world.redis_client, jobs, per_call=100)
        most, deadline = (0, THOUSAND_MIB, ""), time.monotonic() + SETTLED_SECONDS
        while unsettled(self.world) + self.world.redis_client.zcard("schedule") > 0:
            most = max(most, seen(self.machine))
            if time.monotonic() > deadline:
                raise AssertionError(f"not settled: {account_for(self.world, self.jobs)}")
            time.sleep(0.2)
        return max(most, seen(self.machine))

    def show(self, what, mib, budget, roles):
        ratio = mib / budget
        self.worst = max(self.worst, ratio)
        print(f"{what:42}{mib:7.1f} MiB of {budget:.0f}: {ratio:.2f}   ({roles})", flush=True)


def seen(machine):
    roles = "  ".join(f"{role} {size:.1f}" for role, (_, size) in sorted(processes(machine).items()))
    return resident_mib(machine), budget_mib(machine), roles


def jobs_for(world, count, hosts, first, **more):
    return [delivery(first + i, world.fediverse.inbox(f"slow100-{i % hosts}", f"/u{first + i}/inbox", tls=True), **more)
            for i in range(count)]


def measure(arguments, folder):
    world = World(os.path.join(folder, "world"), verify=0)
    watched = None
    try:
        assert fedpush(world, "setup").returncode == 0
        watched = Watched(world, os.path.join(folder, "machine"))
        time.sleep(5)  # without work
        mib, _, roles = seen(watched.machine)
        watched.show("without work", mib, IDLE_MIB, roles)
        watched.serve(jobs_for(world, arguments.hosts, arguments.hosts, 0))
        watched.show(f"{arguments.hosts} connections over TLS", *seen(watched.machine))
        most = watched.serve(jobs_for(world, arguments.jobs, arguments.hosts, 1000000))
        watched.show(f"{arguments.jobs} jobs wait", *most)
        for number, (count, kib) in enumerate(((10 * arguments.large, 10), (arguments.large, 1024), (arguments.large // 5, 2900))):
            large = jobs_for(world, count, arguments.hosts, (2 + number) * 1000000, bytes_of_content=kib << 10)
            watched.show(f"{count} jobs of {kib} KiB wait", *watched.serve(large))
        account = account_for(world, watched.jobs)
        print(f"where the jobs are: {account}; the worst ratio {watched.worst:.2f}")
        return len(account.lost) == 0 and (watched.worst <= 1 or not arguments.check)
    finally:
        if watched is not None:
            watched.machine.stop()
        world.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=50000)
    parser.add_argument("--large", type=int, default=300)
    parser.add_argument("--assert", dest="check", action="store_true", help="end with an error above a budget")
    folder = tempfile.mkdtemp(prefix="fedpush-bench-")
    os.chmod(folder, 0o755)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return 0 if measure(parser.parse_args(), folder) else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
