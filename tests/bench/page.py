#!/usr/bin/python3
"""What the API costs with many domains: how long each answer takes, and the memory of the admin process.

    tests/bench/page.py [--domains N] [--days N] [--active SHARE] [--jobs N] [--rounds N]

Every domain has health, history of each hour in which it was active, and followers; some circuits are open, some
domains have orders, and jobs wait in `retry`. Other pages are open meanwhile, and each answer about a domain is about
another one. The first answer of each kind is shown apart: it reads what later ones have at hand. Client, servers and
PostgreSQL share the machine's cores. It ends with 1 when an answer took a second or more at p95 (one
that reads all jobs: two), or the memory is past its bound.
"""

import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
import urllib.request

from delivery import Stage  # it says where the tests' modules are
from crowd import SCANS, Company, fill, paths
from demonstration import processes
from machine import Machine, fedpush
from servers import free_port, wait_for

MOST_MS = 1000
MOST_SCAN_MS = 2000  # what reads all jobs that wait, which nobody asks for by itself
MOST_FIRST_MS = 5000
MOST_MIB = 64


def ask(port, path):
    began = time.monotonic()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1{path}", timeout=120) as answer:
        text = answer.read()
    return time.monotonic() - began, len(text)


def measure_path(port, machine, name, path_of, rounds):
    """What is past its bound, one line each."""
    first, _ = ask(port, path_of(0))
    taken = []
    for n in range(1, rounds + 1):
        seconds, size = ask(port, path_of(n))
        taken.append(seconds)
        time.sleep(0.1)  # as pages ask: some answers must be read anew
    p95 = statistics.quantiles(taken, n=20)[-1] if len(taken) > 1 else taken[0]
    resident = processes(machine)["admin"][1]
    print(f"{name:52} {first * 1000:7.0f} {statistics.median(taken) * 1000:7.0f} {p95 * 1000:7.0f}"
          f" {size / 1024:9.0f} {resident:8.1f}", flush=True)
    most_ms, found = MOST_SCAN_MS if name in SCANS else MOST_MS, []
    if p95 * 1000 >= most_ms:
        found.append(f"{name}: p95 is {p95 * 1000:.0f} ms, {most_ms} is the bound")
    if first * 1000 >= MOST_FIRST_MS:
        found.append(f"{name}: the first answer took {first * 1000:.0f} ms, {MOST_FIRST_MS} is the bound")
    if resident > MOST_MIB:
        found.append(f"{name}: the admin process has {resident:.0f} MiB, {MOST_MIB} is the bound")
    return found


def measure(arguments, folder):
    stage = Stage(folder)
    machine, port = None, free_port()
    try:
        assert fedpush(stage, "setup").returncode == 0
        fill(stage, arguments.domains, arguments.days, arguments.active, arguments.jobs)
        machine = Machine(stage, os.path.join(folder, "machine"), FEDPUSH_LOG_LEVEL="warn",
                          FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{port}").start()
        wait_for(lambda: machine.roles("admin"), 30, "the page")
        print(f"{'':52} {'first':>7} {'p50':>7} {'p95':>7} ms {'KB':>6}  RSS MiB")
        found = []
        with Company(lambda path: ask(port, path), arguments.domains) as company:
            for name, path_of in paths(arguments.domains):
                found += measure_path(port, machine, name, path_of, arguments.rounds)
        return found + company.problems
    finally:
        if machine is not None and machine.process is not None:
            machine.stop()
        stage.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--domains", type=int, default=10000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--active", type=float, default=0.5, help="share of the hours in which a domain got something")
    parser.add_argument("--jobs", type=int, default=20000, help="that wait in retry")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = tempfile.mkdtemp(prefix="fedpush-page-")
    os.chmod(folder, 0o755)  # PostgreSQL runs as a user of its own
    try:
        found = measure(arguments, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for line in found:
        print(f"FAIL: {line}", file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
