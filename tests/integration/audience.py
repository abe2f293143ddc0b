"""Posts to many hosts of which each answers after a time of its own, how long it takes until they have them, and
what a loop that does nothing but sign and send needs for that on this machine, now."""

import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
import urllib.parse

from jobs import activity, delivery
from machine import BINARY
from servers import FEDIVERSE, Server, wait_for

sys.path.append(FEDIVERSE)

from names import Names as NameServer  # noqa: E402

MEDIAN_MS, PERCENTILE_99_MS = 150, 2000
BARE_HOSTS = 400
USUAL_S = 0.001  # signing, sending and receiving one request, on two processors that do nothing else


def latencies(count):
    """Milliseconds, log-normal: the same ones each time, in no order."""
    spread = math.log(PERCENTILE_99_MS / MEDIAN_MS) / statistics.NormalDist().inv_cdf(0.99)
    normal = statistics.NormalDist(math.log(MEDIAN_MS), spread)
    found = [int(math.exp(normal.inv_cdf((i + 0.5) / count))) for i in range(count)]
    random.Random(1).shuffle(found)
    return found


def push_at_once(client, jobs, per_call=1000):
    """Without Ruby's time to start: one pipeline of LPUSH, each of as many jobs as push_bulk takes. Returns when it
    began, in Unix time."""
    began = time.time()
    payloads = [
        json.dumps({"retry": 16, "queue": "push", "dead": False, "jid": os.urandom(12).hex(), "created_at": began,
                    "enqueued_at": began, **job}, separators=(",", ":"), ensure_ascii=False)
        for job in jobs
    ]
    pipeline = client.pipeline(transaction=False)
    pipeline.sadd("queues", "push")
    for at in range(0, len(payloads), per_call):
        pipeline.lpush("queue:push", *payloads[at : at + per_call])
    pipeline.execute()
    return began


class Crowd:
    """`hosts` are words of the receiver's; each post has an inbox of its own at each of them."""

    def __init__(self, world, hosts):
        self.world = world
        self.hosts = hosts
        self.posts = {}  # path of its inboxes -> when it was pushed
        self.jobs = []

    def post(self):
        """Pushes one to all of them; returns the path of its inboxes."""
        number = len(self.posts) + 1
        path = f"/post-{number}/inbox"
        jobs = [delivery(number, self.world.fediverse.inbox(host, path)) for host in self.hosts]
        self.posts[path] = push_at_once(self.world.redis_client, jobs)
        self.jobs += jobs
        return path

    def visits(self, which, hosts=None):
        """(path, host) -> seconds until the first request of this post came, and until it was answered (None: it isn't
        yet). `which`: the paths of some posts."""
        wanted, found = {f"{host}.fedi.test": host for host in hosts or self.hosts}, {}
        for visit in self.world.fediverse.visits():
            path, pushed = visit["url"], self.posts.get(visit["url"])
            if path in which and visit["host"] in wanted:
                left = visit["left_ms"] and visit["left_ms"] / 1000 - pushed
                found.setdefault((path, wanted[visit["host"]]), (visit["began_ms"] / 1000 - pushed, left))
        return found

    def arrivals(self, which, hosts=None, seconds=60):
        """The same, once all these posts are answered by all these hosts. When that isn't in time, the test fails."""
        count = len(which) * len(hosts or self.hosts)

        def answered():
            return sum(left is not None for _, left in self.visits(which, hosts).values())

        wait_for(lambda: answered() == count, seconds, lambda: f"{answered()} of {count} are answered", every=0.5)
        return self.visits(which, hosts)


def percentile(waits, share):
    return sorted(waits)[math.ceil(len(waits) * share / 100) - 1]


class Bare(Server):
    """tests/bench/bare.c: what it needs for a post is the floor on this machine, with all that keeps it busy."""

    def __init__(self, folder, world, hosts):
        super().__init__(folder)
        self.crowd = Crowd(world, hosts)
        self.path = f"/{os.path.basename(folder)}/inbox"  # of this round
        key, body = os.path.join(folder, "key.pem"), os.path.join(folder, "body.json")
        for name, text in ((key, world.keys.private[1]), (body, activity(0))):
            with open(name, "w") as file:
                file.write(text)
        _, _, hole, refused, *addresses = world.names.command
        names = NameServer(addresses, hole, refused)
        inboxes = [urllib.parse.urlsplit(world.fediverse.inbox(host, self.path)) for host in hosts]
        lines = [f"{names.address_of(url.hostname)} {url.port} {url.netloc} {url.path}\n" for url in inboxes]
        self.spawn([os.path.join(os.path.dirname(BINARY), "bench_bare"), key, body],
                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdin.write(("".join(lines) + "\n").encode())
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"ready\n", self.log()

    def post(self):
        """Seconds until the last host had it."""
        self.crowd.posts[self.path] = time.time()
        self.process.stdin.write(b"post\n")
        self.process.stdin.flush()
        return max(came for came, _ in self.crowd.arrivals([self.path]).values())


def slowness(folder, world):
    """How many times longer than on two free processors a bare request takes now, 1 at least."""
    bare = Bare(folder, world, [f"ok-{i}" for i in range(BARE_HOSTS)])
    try:
        return max(1.0, bare.post() / (BARE_HOSTS * USUAL_S))
    finally:
        bare.stop()
