#!/usr/bin/python3
"""What a delivery costs: CPU of all fedpush processes for 1,000 deliveries over kept connections, beside
bare RSA-2048 signatures on the same machine in the same run, and memory.

    tests/bench/delivery.py [--jobs N] [--hosts N] [--bytes N] [--rounds N]

Receivers are tests/bench/sink.c, so that what is measured is the sender. Times compare only within one run:
look at the ratio.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.environ.setdefault("FEDPUSH_BINARY", os.path.join(ROOT, "build", "release", "fedpush"))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
sys.path.insert(0, os.path.join(ROOT, "deploy"))

from demonstration import processes, signature_seconds  # noqa: E402
from jobs import delivery, push_fanout, unsettled  # noqa: E402
from machine import Machine, fedpush  # noqa: E402
from servers import Certificate, Hole, Names, Postgres, Redis, Server, free_port  # noqa: E402
from world import VERSIONS, Keys, insert_accounts, schema_of  # noqa: E402

ADDRESS = "127.0.0.1"
HOLE = "127.1.255.253"


class Sink(Server):
    def __init__(self, folder, addresses=(ADDRESS,)):
        super().__init__(folder)
        self.port = free_port()
        self.spawn([os.path.join(ROOT, "build", "release", "bench_sink"), ",".join(addresses), str(self.port)],
                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n", self.log()


class QuickNames(Names):
    def start(self):
        program = os.path.join(ROOT, "build", "release", "bench_names")
        self.spawn([program, *self.command[1:]], stdout=subprocess.PIPE, env=self.environment)
        assert self.process.stdout.readline() == b"ready\n", self.log()


class Stage:
    """A Mastodon's stores and a receiver; as the integration tests' World, without its simulated hosts."""

    version = VERSIONS["4.6"]
    database = "mastodon"
    addresses = (ADDRESS,)
    ttl_seconds = 1

    def __init__(self, folder, redis_options=None):
        self.certificate = Certificate(os.path.join(folder, "tls"))
        self.redis = Redis(os.path.join(folder, "redis"), options=redis_options)
        self.postgres = Postgres(os.path.join(folder, "postgres"))
        self.sink = Sink(os.path.join(folder, "sink"), self.addresses)
        self.hole = Hole(HOLE, self.sink.port)
        self.names = QuickNames(os.path.join(folder, "names"), list(self.addresses), HOLE, ttl_seconds=self.ttl_seconds)
        self.keys = Keys()
        self.redis_client = self.redis.client()
        self.postgres.create_database(self.database, schema_of("4.6"))
        insert_accounts(lambda sql, *values: self.postgres.query(self.database, sql, *values), self.keys)

    def stop(self):
        for server in (self.names, self.hole, self.sink, self.postgres, self.redis):
            server.stop()


def deliver(stage, machine, jobs):
    """Seconds, and CPU seconds of each role, from the first claim to the last settled job."""
    # Pushed while the machine stands still, so that the queue is full when it begins.
    machine.pause()
    push_fanout(stage.redis, jobs)
    before = processes(machine)
    started = time.monotonic()
    machine.resume()
    while unsettled(stage) > 0:
        time.sleep(0.05)
    seconds = time.monotonic() - started
    after = processes(machine)
    assert stage.redis_client.zcard("retry") == 0, "some deliveries failed"
    return seconds, {role: after[role][0] - before[role][0] for role in after}, after


def measure(arguments, folder):
    stage = Stage(folder)
    machine = None
    try:
        machine = Machine(stage, os.path.join(folder, "machine"), FEDPUSH_LOG_LEVEL="warn", FEDPUSH_MAX_RATE=0)
        assert fedpush(stage, "setup").returncode == 0
        machine.start(ready=False)
        inboxes = [f"http://host-{i}.fedi.test:{stage.sink.port}/inbox" for i in range(arguments.hosts)]
        jobs = [delivery(i // len(inboxes), inboxes[i % len(inboxes)], bytes_of_content=arguments.bytes)
                for i in range(arguments.jobs)]
        deliver(stage, machine, jobs[: len(inboxes)])  # connections and keys are warm
        ratios = []
        for _ in range(arguments.rounds):
            bare = signature_seconds()
            seconds, used, figures = deliver(stage, machine, jobs)
            thousands = len(jobs) / 1000
            cpu = sum(used.values()) / thousands
            bare = (bare + signature_seconds()) / 2
            ratios.append(cpu / bare)
            roles = "  ".join(f"{role} {spent / thousands:.3f}" for role, spent in sorted(used.items()))
            print(f"{len(jobs) / seconds:6.0f}/s  CPU s for 1,000: {cpu:.3f} ({roles}); RSA {bare:.3f}; ratio {cpu / bare:.2f}",
                  flush=True)
        print(f"ratio, median of {len(ratios)}: {statistics.median(ratios):.2f}")
        print("resident MiB: " + "  ".join(f"{role} {size:.1f}" for role, (_, size) in sorted(figures.items())))
    finally:
        if machine is not None and machine.process is not None:
            machine.stop()
        stage.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--jobs", type=int, default=10000)
    parser.add_argument("--hosts", type=int, default=500)
    parser.add_argument("--bytes", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    folder = tempfile.mkdtemp(prefix="fedpush-bench-")
    os.chmod(folder, 0o755)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        measure(parser.parse_args(), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
