#!/usr/bin/python3
"""What deploy/demo shows, after it has built fedpush (FEDPUSH_BINARY names the program)."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

from jobs import delivery, push_fanout  # noqa: E402
from machine import BINARY, Machine, environment, fedpush, title  # noqa: E402
from servers import FEDIVERSE, Server, wait_for  # noqa: E402
from world import World  # noqa: E402

HOSTS = {  # what they do: how many of them
    "ok": 240, "slow300": 20, "status503": 10, "status410": 8, "refused": 8, "hole": 6, "nx": 4, "silent": 4,
}
HEALTHY = ("ok", "slow300")
POSTS = 6
BACKLOG = 12000
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
SETTINGS = {"FEDPUSH_CA_FILE": None, "FEDPUSH_WORKERS": None, "FEDPUSH_SIGNING_THREADS": None}


def say(text=""):
    print(text, flush=True)


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / CLOCK_TICKS


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"^VmRSS:\s+(\d+) kB", file.read(), re.M).group(1)) / 1024


def signature_cost():
    """CPU seconds of 1,000 RSA-2048 signatures, as OpenSSL measures them."""
    shown = subprocess.run(
        ["openssl", "speed", "-seconds", "2", "rsa2048"], capture_output=True, text=True, check=True
    )
    return float(re.search(r"^rsa 2048 bits ([\d.]+)s", shown.stdout, re.M).group(1)) * 1000


class Demonstration:
    def __init__(self, folder):
        self.folder = folder
        say("starting Redis, PostgreSQL, a name server and 300 hosts, all private and on loopback")
        self.world = World(folder, verify=50)
        self.world.reset()
        self.world.use("4.6")
        self.sidekiq = self.world.add(Server(os.path.join(folder, "sidekiq")))
        self.sidekiq.spawn(
            ["sidekiq", "-q", "default", "-r", os.path.join(FEDIVERSE, "default.rb")],
            env={**os.environ, "REDIS_URL": self.world.redis.url}, cwd=folder,
        )
        wait_for(lambda: self.world.redis_client.scard("processes"), 30, "Sidekiq")
        self.machine = Machine(self.world, os.path.join(folder, "machine"), **SETTINGS)

    def command(self, *arguments):
        say(f"\n$ fedpush {' '.join(arguments)}")
        done = fedpush(self.world, *arguments, runtime_dir=self.machine.runtime_dir, **SETTINGS)
        if done.stdout:
            say(done.stdout.rstrip())
        if done.returncode != 0:
            raise SystemExit(f"fedpush {arguments[0]} ended with {done.returncode}: {done.stderr}")
        return done

    def hosts(self, words):
        return [f"{word}-{i}" for word in words for i in range(HOSTS[word])]

    def show_fanout(self):
        """Posts to every host, while some of them are dead: who waits?"""
        hosts = self.hosts(HOSTS)
        jobs = [
            delivery(post * 1000 + i, self.world.fediverse.inbox(host), account=1 + post % 2)
            for post in range(POSTS) for i, host in enumerate(hosts)
        ]
        say(f"\n{POSTS} posts to {len(hosts)} hosts: {len(jobs)} jobs, pushed with Sidekiq's own client")
        say("  " + ", ".join(f"{count} {word}" for word, count in HOSTS.items()))
        wanted = POSTS * len(self.hosts(HEALTHY))
        began = time.monotonic()
        push_fanout(self.world.redis, jobs)

        def healthy():
            inboxes = self.world.fediverse.counts()["inboxes"]
            return sum(count for inbox, count in inboxes.items() if inbox.split("-")[0] in HEALTHY)

        self.wait_with_progress(healthy, wanted, 120)
        say(f"the {wanted} deliveries to healthy hosts took {time.monotonic() - began:.1f} s from the first push,")
        say("with 50 hosts dead, silent or failing beside them")

    def wait_with_progress(self, count, wanted, seconds):
        began = shown = time.monotonic()
        while (now := time.monotonic()) - began < seconds:
            reached = count()
            if reached >= wanted:
                return
            if now - shown >= 1:
                redis, shown = self.world.redis_client, now
                say(f"  {now - began:4.0f} s  {reached:6} of {wanted} delivered, "
                    f"{redis.llen('queue:push')} in the queue, {redis.zcard('retry')} to retry")
            time.sleep(0.1)
        raise SystemExit(f"only {count()} of {wanted} in {seconds} s; log: {self.machine.log()[-3000:]}")

    def measure_backlog(self):
        """A backlog for healthy hosts: what does a delivery cost?"""
        fediverse = self.world.fediverse
        jobs = [
            delivery(100000 + i, fediverse.inbox(f"ok-{i % HOSTS['ok']}", f"/users/{i}/inbox"), account=1 + i % 2,
                     bytes_of_content=3000)
            for i in range(BACKLOG)
        ]
        say(f"\na backlog of {BACKLOG} jobs of 3 KB for healthy hosts: fedpush is stopped, they are pushed, it starts")
        assert self.machine.stop() == 0
        push_fanout(self.world.redis, jobs)
        before = fediverse.summary()["posts"]
        began = time.monotonic()
        self.machine.start()
        pids = [self.machine.process.pid] + self.machine.children()
        self.wait_with_progress(lambda: fediverse.summary()["posts"] - before, BACKLOG, 180)
        seconds, cpu = time.monotonic() - began, cpu_seconds(pids)
        rsa = signature_cost()
        per_thousand = cpu / BACKLOG * 1000
        say(f"\n  deliveries a second                     {BACKLOG / seconds:8.0f}   (receivers share the cores)")
        say(f"  CPU seconds per 1,000 deliveries        {per_thousand:8.3f}   all fedpush processes")
        say(f"  CPU seconds per 1,000 RSA-2048          {rsa:8.3f}   openssl speed: the floor")
        say(f"  ratio                                   {per_thousand / rsa:8.2f}")
        for pid in pids:
            say(f"  resident memory, {title(pid):22} {resident_mib(pid):8.1f}   MiB, libraries included")

    def check_receivers(self):
        summary = self.world.fediverse.summary()
        verified = " and ".join(f"{count} by {name}" for name, count in summary["verified"].items())
        say(f"\n{summary['posts']} requests received; of each host every 50th was verified: {verified}'s library, "
            f"{len(summary['failures'])} bad")

    def show_stats(self):
        say("\n$ fedpush stats          # the busiest, and the worst")
        time.sleep(1.5)  # health is written once a second
        lines = fedpush(self.world, "stats", runtime_dir=self.machine.runtime_dir, **SETTINGS).stdout.splitlines()
        words = tuple(word for word in HOSTS if word not in HEALTHY)
        bad = [line for line in lines if line.startswith(words)]
        say("\n".join(lines[:6] + ["…"] + bad[:12]))
        say(f"({len(lines) - 1} hosts in all)")

    def keep(self):
        told = environment(self.world, self.machine.runtime_dir, **SETTINGS)
        say("\nstill running; Ctrl-C ends it. In another terminal:")
        names = [n for n in told if n not in ("PATH", "LANG")]
        say("  export " + " ".join(f"{n}={told[n]}" for n in names))
        say(f"  {os.path.relpath(BINARY)} status; {os.path.relpath(BINARY)} stats; tail -f {self.machine.log_path}")
        signal.pause()

    def run(self, keep):
        self.command("setup")
        self.command("check")
        say("\n$ fedpush run")
        self.machine.start()
        say(f"machine {self.machine.identity()} is at work")
        self.show_fanout()
        self.measure_backlog()
        self.check_receivers()
        self.show_stats()
        if keep:
            self.keep()

    def stop(self):
        if self.machine.process is not None and self.machine.process.poll() is None:
            say("\ndraining fedpush")
            self.machine.stop()
        self.world.stop()


def main(argv):
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = tempfile.mkdtemp(prefix="fedpush-demo-")
    os.chmod(folder, 0o755)
    demonstration = None
    try:
        demonstration = Demonstration(folder)
        demonstration.run("--keep" in argv)
    except KeyboardInterrupt:
        say("\nended by the keyboard")
        return 130
    finally:
        if demonstration is not None:
            demonstration.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
