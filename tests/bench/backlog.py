#!/usr/bin/python3
"""Whether posts are delayed by a backlog of low priority: a million jobs of an account's deletion in
`pull`, and posts to the same hosts before, meanwhile and afterwards.

    tests/bench/backlog.py [--jobs N] [--hosts N] [--inboxes N] [--every SECONDS] [--quiet SECONDS] [--most SECONDS]
        [--rate N]

Prints what of `pull` is delivered each second, how long a post's deliveries take from the push to their
receiver, and memory; ends with an error when a job is lost or the ledger doesn't agree. Redis writes
nothing to disk. Sender, receiver, Redis and this program share the machine's cores: compare only within
one run.
"""

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time

from delivery import Stage  # it says where the tests' modules are
from demonstration import processes
from jobs import activity, unsettled
from machine import DOMAIN, Machine, fedpush
from servers import wait_for

LOW = "ActivityPub::LowPriorityDeliveryWorker"
CHUNK = 10000
SETTINGS = {"FEDPUSH_QUEUES": "push,pull", "FEDPUSH_HANDOFF_QUEUE_PULL": "pull_ruby", "FEDPUSH_LOG_LEVEL": "warn"}
# Jobs FROM up to TO in the order in which Mastodon pushes a fan-out. `parts` are a payload around the
# number of the activity, that of the host and that of the job.
FILL = """
local parts = cjson.decode(ARGV[1])
local hosts = tonumber(ARGV[2])
for i = tonumber(ARGV[3]), tonumber(ARGV[4]) - 1 do
  redis.call('LPUSH', KEYS[1], parts[1] .. math.floor(i / hosts) .. parts[2] .. i % hosts .. parts[3]
    .. string.format('%024x', i) .. parts[4])
end
"""


def deletion():
    actor = f"https://{DOMAIN}/users/alice"
    return json.dumps({
        "@context": ["https://www.w3.org/ns/activitystreams", "https://w3id.org/security/v1"],
        "id": f"{actor}#delete-@1@", "type": "Delete", "actor": actor,
        "to": ["https://www.w3.org/ns/activitystreams#Public"], "object": actor,
        "signature": {"type": "RsaSignature2017", "creator": f"{actor}#main-key", "created": "2026-11-25T12:00:00Z",
                      "signatureValue": "x" * 344},
    }, separators=(",", ":"))


def payload(name, queue, body, inbox, jid, now):
    return json.dumps({
        "retry": 8 if name == LOW else 16, "queue": queue, "dead": False, "args": [body, 1, inbox], "class": name,
        "jid": jid, "created_at": now, "enqueued_at": now,
    }, separators=(",", ":"))


def fill(stage, count, hosts):
    """Puts `count` jobs into `pull`; returns the bytes of one."""
    job = payload(LOW, "pull", deletion(), f"http://host-@2@.fedi.test:{stage.sink.port}/inbox", "@3@", time.time())
    script = stage.redis_client.register_script(FILL)
    for first in range(0, count, CHUNK):
        script(["queue:pull"], [json.dumps(re.split("@[123]@", job)), hosts, first, min(first + CHUNK, count)])
    stage.redis_client.sadd("queues", "pull")
    return len(job)


class Posts:
    """Pushes posts and learns when each of their deliveries has come."""

    def __init__(self, stage, inboxes, hosts):
        self.stage, self.inboxes, self.hosts = stage, inboxes, hosts
        self.count = 0
        self.pushed = {}  # name of a delivery -> when it was pushed
        self.delays = {}  # the same -> seconds until it came
        self.answered = None
        threading.Thread(target=self.listen, args=(stage.sink.process.stdout,), daemon=True).start()

    def listen(self, lines):
        for line in lines:
            name, *at = line.decode().split()
            if at:
                self.delays.setdefault(name, float(at[0]) - self.pushed[name])
            else:
                self.answered = int(name)

    def push(self):
        """One post to so many hosts, as one LPUSH; returns the names of its deliveries."""
        self.count += 1
        names, payloads, now = [], [], time.time()
        for i in range(self.inboxes):
            host = (self.count * 37 + i * self.hosts // self.inboxes) % self.hosts
            names.append(f"{self.count}-{i}")
            inbox = f"http://host-{host}.fedi.test:{self.stage.sink.port}/timed/{names[-1]}"
            body = activity(f"post-{self.count}", 2500)
            payloads.append(payload("ActivityPub::DeliveryWorker", "push", body, inbox,
                                    f"{self.count:012x}{i:012x}", now))
        self.pushed.update(dict.fromkeys(names, time.time()))
        self.stage.redis_client.lpush("queue:push", *payloads)
        return names

    def report(self, what, names):
        wait_for(lambda: all(name in self.delays for name in names), 120, f"the posts {what} have come")
        delays = sorted(self.delays[name] for name in names)
        shown = "  ".join(f"{label} {delays[min(len(delays) - 1, int(len(delays) * part))] * 1000:.0f}"
                          for label, part in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("most", 1)))
        print(f"posts {what}: {len(names)} deliveries, ms from push to receiver: {shown}", flush=True)


def push_for(posts, every, goes_on):
    """Pushes a post each `every` seconds while `goes_on`; the names of their deliveries."""
    names = []
    while goes_on():
        due = time.monotonic() + every
        names += posts.push()
        time.sleep(max(0, due - time.monotonic()))
    return names


def show_memory(when, machine, stage):
    figures = "  ".join(f"{role} {mib:.1f}" for role, (_, mib) in sorted(processes(machine).items()))
    used = stage.redis_client.info("memory")["used_memory"] / 2**20
    print(f"resident MiB {when}: {figures}  (Redis holds {used:.0f})", flush=True)


def drain(arguments, stage, machine, posts):
    """Serves the backlog and posts, for `most` seconds; returns the names of the posts' deliveries, and
    how many jobs were left and are taken away."""
    half, started, last = arguments.jobs // 2, time.monotonic(), [time.monotonic(), arguments.jobs]
    shown = False

    def goes_on():
        nonlocal shown
        left, now = stage.redis_client.llen("queue:pull"), time.monotonic()
        if now - last[0] >= 20:
            print(f"  {left} wait, {(last[1] - left) / (now - last[0]):.0f}/s", flush=True)
            last[:] = now, left
        if left <= half and not shown:
            shown = True
            show_memory("at half", machine, stage)
        return left > 0 and now - started < arguments.most

    names = push_for(posts, arguments.every, goes_on)
    seconds = time.monotonic() - started
    left, _ = stage.redis_client.pipeline().llen("queue:pull").delete("queue:pull").execute()
    served = arguments.jobs - left
    print(f"pull: {served} jobs in {seconds:.0f} s, {served / seconds:.0f}/s; {left} left", flush=True)
    return names, left


def check(stage, posts, total):
    """Nothing is lost, nothing is left, and fedpush's own account says the same."""
    client = stage.redis_client
    wait_for(lambda: unsettled(stage) + client.zcard("schedule") == 0, 120, "all is settled")
    left = {name: client.zcard(name) for name in ("retry", "dead")}
    text = fedpush(stage, "status", **SETTINGS).stdout
    ledger = re.search(r"(\w+) +ledger +fleet: (\d+) claimed = (.*)", text)
    print(f"ledger: {ledger[0].strip()}")
    assert left == {"retry": 0, "dead": 0}, left
    assert ledger[1] == "ok" and f"{total} delivered" in ledger[3], text


def measure(arguments, folder):
    stage = Stage(folder, {"appendonly": "no"})
    machine = Machine(stage, os.path.join(folder, "machine"), FEDPUSH_MAX_RATE=str(arguments.rate), **SETTINGS)
    try:
        assert fedpush(stage, "setup", **SETTINGS).returncode == 0
        machine.start()
        posts = Posts(stage, arguments.inboxes, arguments.hosts)

        def quiet():
            end = time.monotonic() + arguments.quiet
            return push_for(posts, arguments.every, lambda: time.monotonic() < end)

        posts.report("that warm it up", push_for(posts, 1, lambda: posts.count < 5))
        posts.report("before", quiet())
        show_memory("at the start", machine, stage)
        machine.pause()
        size = fill(stage, arguments.jobs, arguments.hosts)
        machine.resume()
        print(f"{arguments.jobs} jobs of {size} bytes for {arguments.hosts} hosts wait in pull", flush=True)
        names, left = drain(arguments, stage, machine, posts)
        posts.report("meanwhile", names)
        posts.report("afterwards", quiet())
        show_memory("at the end", machine, stage)
        total = arguments.jobs - left + len(posts.pushed)
        check(stage, posts, total)
        stage.sink.process.stdin.close()
        wait_for(lambda: posts.answered is not None, 30, "the receiver's account")
        print(f"{posts.answered} requests for {total} jobs")
        assert posts.answered == total
    finally:
        if machine.process is not None:
            machine.stop()
        stage.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--jobs", type=int, default=1000000)
    parser.add_argument("--hosts", type=int, default=300)
    parser.add_argument("--inboxes", type=int, default=100, help="of each post")
    parser.add_argument("--every", type=float, default=2, help="seconds from post to post")
    parser.add_argument("--quiet", type=float, default=30, help="seconds of posts without a backlog")
    parser.add_argument("--most", type=float, default=3600, help="seconds in which the backlog is served")
    parser.add_argument("--rate", type=int, default=1000, help="FEDPUSH_MAX_RATE; 0: none")
    folder = tempfile.mkdtemp(prefix="fedpush-bench-")
    os.chmod(folder, 0o755)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        measure(parser.parse_args(), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
