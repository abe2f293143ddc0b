"""What deploy/demo shows. It uses the servers of the integration tests: real Redis and PostgreSQL, the
real Sidekiq client, simulated hosts. Everything lives in one temporary folder and ends with this program."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

from conftest import World  # noqa: E402
from jobs import account_for, delivery, push, push_fanout, unsettled  # noqa: E402
from machine import BINARY, Machine, environment, fedpush, title  # noqa: E402
from servers import FEDIVERSE, Server, free_port, wait_for  # noqa: E402

POSTS = 50
BODY_BYTES = 3000
HEALTHY = [f"ok-{i}" for i in range(240)] + [f"slow{200 + 100 * (i % 8)}-{i}" for i in range(30)]
FAILING = (
    [f"status503-{i}" for i in range(8)] + [f"status410-{i}" for i in range(6)]
    + [f"refused-{i}" for i in range(8)] + [f"nx-{i}" for i in range(5)]
)
BLACK_HOLES = [f"hole-{i}" for i in range(6)]
POSTS_INTO_HOLES = 2  # each costs ten seconds of waiting, by Mastodon's own time-out
VERIFIED = 25  # every nth delivery of a host has its signature verified: the verifiers share this machine
LIMIT_SECONDS = 300


def say(text=""):
    print(text, flush=True)


def command(world, machine, *arguments):
    return fedpush(world, *arguments, runtime_dir=machine.runtime_dir).stdout


def processes(machine):
    """role -> (CPU seconds, resident MiB)"""
    ticks = os.sysconf("SC_CLK_TCK")
    found = {"supervisor": machine.process.pid}
    found.update({title(pid).replace("fedpush: ", ""): pid for pid in machine.children()})
    figures = {}
    for role, pid in found.items():
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        with open(f"/proc/{pid}/status") as file:
            resident = int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))
        figures[role] = ((int(fields[11]) + int(fields[12])) / ticks, resident / 1024)
    return figures


def signature_seconds():
    """CPU seconds of 1,000 RSA-2048 signatures on this machine, now."""
    shown = subprocess.run(["openssl", "speed", "-seconds", "2", "rsa2048"], capture_output=True, text=True).stdout
    return 1000 / float(re.search(r"^rsa 2048 bits\s+\S+\s+\S+\s+([\d.]+)", shown, re.M).group(1))


def make_jobs(world):
    def job(post, host):  # what one sender sends to one inbox goes one by one: here each has one of its own
        inbox = world.fediverse.inbox(host, f"/users/{post}/inbox")
        return delivery(post, inbox, bytes_of_content=BODY_BYTES)

    healthy = [job(post, host) for post in range(POSTS) for host in HEALTHY]
    failing = [job(post, host) for post in range(POSTS) for host in FAILING]
    holes = [job(post, host) for post in range(POSTS_INTO_HOLES) for host in BLACK_HOLES]
    # The way a fan-out leaves Mastodon: post by post, all hosts mixed.
    return healthy, sorted(healthy + failing + holes, key=lambda job: job["args"][0])


def attempts_made(world, machine, healthy):
    """Every attempt that statistics know, once they know of all deliveries to healthy hosts."""
    def count():
        rows = json.loads(command(world, machine, "stats", "--json"))
        delivered = sum(row["delivered"] for row in rows if row["host"].startswith(("ok-", "slow")))
        made = sum(row["delivered"] + row["retried"] + row["rejected"] + row["exhausted"] for row in rows)
        return made if delivered >= len(healthy) else None

    return wait_for(count, 20, "statistics are written")


def wait_for_all(world, healthy):
    """Shows progress; returns first and last time of the healthy hosts' deliveries."""
    client = world.redis_client
    first = last = None
    end = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < end:
        posts = world.fediverse.summary()["posts"]
        inboxes = world.fediverse.counts()["inboxes"] if posts else {}
        done = sum(count for name, count in inboxes.items() if name.startswith(("ok-", "slow")))
        now = time.monotonic()
        if posts and first is None:
            first = now
        if done >= len(healthy) and last is None:
            last = now
        left = unsettled(world)
        sys.stdout.write(
            f"\r  delivered to healthy hosts {done}/{len(healthy)}   retry {client.zcard('retry')}"
            f"   queued or claimed {left}      "
        )
        sys.stdout.flush()
        if left == 0 and last is not None:
            say()
            return first, last
        time.sleep(0.2)
    say()
    raise SystemExit("demo: not everything was settled in time; see the log below")


def report(world, machine, jobs, healthy, span, started, signature):
    attempts = attempts_made(world, machine, healthy)
    figures = processes(machine)
    account = account_for(world, jobs)
    summary = world.fediverse.summary()
    stats = command(world, machine, "stats").splitlines()
    say("\n== fedpush status")
    say(command(world, machine, "status"))
    say("== fedpush stats: the 15 busiest, and what fails")
    failing = [line for line in stats[16:] if re.match(r"(hole|nx|refused|status)", line)]
    say("\n".join(stats[:16] + failing[:: max(1, len(failing) // 14)]))
    signature = (signature + signature_seconds()) / 2  # before and after: machines change their pace
    seconds = span[1] - span[0]
    start = sum(used for used, _ in started.values())
    cpu = sum(used for used, _ in figures.values()) - start
    per_thousand = cpu / attempts * 1000
    say("\n== figures")
    say(f"  {len(healthy)} deliveries to {len(HEALTHY)} healthy hosts in {seconds:.1f} s: {len(healthy) / seconds:.0f} a second"
        " (receivers and database share this machine)")
    say(f"  CPU for 1,000 deliveries (of {attempts} attempts), all fedpush processes: {per_thousand:.3f} s")
    say(f"  CPU for 1,000 RSA-2048 signatures on this machine: {signature:.3f} s; ratio {per_thousand / signature:.2f}")
    say(f"  CPU of the start, once, apart from these: {start:.2f} s")
    for role, (used, resident) in sorted(figures.items()):
        say(f"  {role:<12} {resident:6.1f} MiB resident   {used:6.2f} s CPU, start included")
    verified = ", ".join(f"{count} by {library}" for library, count in summary["verified"].items())
    say(f"  signatures verified: {verified}; refused: {len(summary['failures'])}")
    say(f"  every job: {dict(account.places)}; lost {len(account.lost)}, {account.duplicates} came again after an error")
    return not account.lost and not summary["failures"]


def show(folder, keep):
    say("starting Redis, PostgreSQL and the simulated fediverse")
    world = World(folder)
    ruby = Server(os.path.join(folder, "sidekiq"))
    machine = None
    try:
        world.reset()
        world.fediverse.verify(VERIFIED)
        ruby.spawn(["sidekiq", "-q", "default", "-r", os.path.join(FEDIVERSE, "default.rb")],
                   env={**os.environ, "REDIS_URL": world.redis.url}, cwd=ruby.folder)
        ruby.await_ready(lambda: world.redis_client.scard("processes") == 1)
        page = {"FEDPUSH_ADMIN_LISTEN": f"127.0.0.1:{free_port()}"} if keep else {}
        machine = Machine(world, os.path.join(folder, "machine"), FEDPUSH_MAX_RATE=0, **page)  # as fast as it goes
        say("\n== fedpush setup, fedpush check")
        say(command(world, machine, "setup") + command(world, machine, "check"))
        signature = signature_seconds()
        say("== fedpush run")
        machine.start()
        started = processes(machine)
        healthy, jobs = make_jobs(world)
        say(f"pushing {len(jobs)} deliveries and 10 other jobs with Sidekiq's client")
        push_fanout(world.redis, jobs)
        push(world.redis, [{"class": "Web::PushNotificationWorker", "args": [i, i], "retry": 5} for i in range(10)])
        span = wait_for_all(world, healthy)
        good = report(world, machine, jobs, healthy, span, started, signature)
        if keep:
            told = environment(world, machine.runtime_dir).items()
            settings = " ".join(f"{name}='{value}'" for name, value in told if name not in ("PATH", "LANG"))
            say(f"\nstill running; look with:\n  env {settings} {BINARY} status\n"
                f"the page: http://{page['FEDPUSH_ADMIN_LISTEN']}/\nCtrl-C ends everything")
            signal.pause()
        return 0 if good else 1
    finally:
        no_more_signals()
        if machine is not None and machine.process is not None:
            machine.stop()
        ruby.stop()
        world.stop()


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def no_more_signals():
    """Everything is being ended: a second Ctrl-C must not leave half of it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def on_signal(number, _):
    no_more_signals()
    os.write(sys.stdout.fileno(), b"\nending\n")  # print may be what was interrupted
    sys.exit(128 + number)


def remove(folder):
    """What was interrupted in the making may still write for a moment."""
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(0.1)
    say(f"demo: {folder} could not be removed")


def main():
    folder = tempfile.mkdtemp(prefix="fedpush-demo-")
    os.chmod(folder, 0o755)
    for number in SIGNALS:
        signal.signal(number, on_signal)
    try:
        return show(folder, "--keep" in sys.argv[1:])
    finally:
        no_more_signals()
        remove(folder)


if __name__ == "__main__":
    sys.exit(main())
