"""Jobs as Mastodon pushes them, and where each of them is."""

import collections
import json
import os
import subprocess
import time

from machine import DOMAIN
from servers import FEDIVERSE, wait_for

DELIVERY = "ActivityPub::DeliveryWorker"


def activity(number, bytes_of_content=200):
    return json.dumps(
        {
            "id": f"https://{DOMAIN}/activities/{number}",
            "@context": "https://www.w3.org/ns/activitystreams",
            "type": "Create",
            "object": {"type": "Note", "content": "<p>Grüße</p> " + "x" * bytes_of_content},
        },
        separators=(",", ":"), ensure_ascii=False,
    )


def delivery(number, inbox, account=1, options=None, bytes_of_content=200, **more):
    """One job; `number` names its activity."""
    args = [activity(number, bytes_of_content), account, inbox]
    if options is not None:
        args.append(options)
    return {"class": DELIVERY, "args": args, **more}


def push(redis, jobs, namespace=None):
    """Pushes with Sidekiq's client; returns the jids."""
    command = ["ruby", os.path.join(FEDIVERSE, "push.rb"), redis.url]
    if redis.certificate:
        command.append(redis.certificate.ca)
    lines = "".join(json.dumps(job) + "\n" for job in jobs)
    environment = {**os.environ, "REDIS_NAMESPACE": namespace or ""}
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def push_fanout(redis, jobs):
    """The same with push_bulk, in slices of 1,000."""
    bulks = [jobs[i : i + 1000] for i in range(0, len(jobs), 1000)]
    return push(redis, [{"class": DELIVERY, "bulk": [job["args"] for job in bulk]} for bulk in bulks])


def sidekiq(redis):
    """What Sidekiq's own API reads."""
    command = ["ruby", os.path.join(FEDIVERSE, "read.rb"), redis.url]
    if redis.certificate:
        command.append(redis.certificate.ca)
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)


def name_of(args):
    """What a job is known by, as the receiver counts it: its activity and its inbox."""
    authority, _, path = args[2].split("://", 1)[1].partition("/")
    return json.loads(args[0])["id"], authority.split(":")[0] + "/" + path


def payloads(client):
    """Every job in Redis, with the place that it is in."""
    for key in ("queue:push", "queue:default", "queue:pull"):
        for payload in client.lrange(key, 0, -1):
            yield key, payload
    for key in ("retry", "schedule", "dead"):
        for payload in client.zrange(key, 0, -1):
            yield key, payload
    for key in client.scan_iter("fedpush:claimed:*"):
        for field, value in client.hgetall(key).items():
            if field != b"seq":
                yield "claimed", value.split(b"\n", 1)[1]
    for key in client.scan_iter("fedpush:wait:*"):
        for payload in client.lrange(key, 0, -1):
            yield "wait", payload


class Account:
    """Where jobs are. `places` counts them (deliveries beyond the first are `duplicates`); `lost`
    names those that are nowhere."""

    def __init__(self, jobs, held, activities):
        found = set()
        self.places = collections.Counter()
        self.duplicates = 0
        for place, payload in held:
            self.places[place] += 1
            try:
                found.add(name_of(json.loads(payload)["args"]))
            except (ValueError, KeyError, IndexError, TypeError, AttributeError):
                continue  # not a delivery
        for identity, inboxes in activities.items():
            for inbox, times in inboxes.items():
                found.add((identity, inbox))
                self.places["delivered"] += 1
                self.duplicates += times - 1
        self.lost = [name for name in (name_of(job["args"]) for job in jobs) if name not in found]

    def __repr__(self):
        return f"{dict(self.places)}, lost {len(self.lost)}, duplicates {self.duplicates}"


def account_for(world, jobs):
    # Redis first: what is delivered meanwhile is then seen twice, never missed.
    held = list(payloads(world.redis_client))
    return Account(jobs, held, world.fediverse.counts()["activities"])


def account_at_rest(world, jobs, seconds=60):
    """Where jobs are when none waits any more, or the time is over: what was booked while nothing was known of
    its host is called back."""
    deadline = time.monotonic() + seconds
    while True:
        account = account_for(world, jobs)
        if set(account.places) <= {"delivered"} or time.monotonic() > deadline:
            return account
        time.sleep(0.2)


def unsettled(world):
    """How many jobs wait in the queue or are claimed."""
    # In the direction that jobs move in: one that moves meanwhile is seen twice, never missed.
    client = world.redis_client
    queued = client.llen("queue:push")
    waiting = sum(client.llen(key) for key in client.scan_iter("fedpush:wait:*"))
    claimed = sum(
        client.hlen(key) - client.hexists(key, "seq") for key in client.scan_iter("fedpush:claimed:*")
    )
    return queued + waiting + claimed


def wait_settled(world, seconds=120):
    """Until every job has left queue and claims."""
    wait_for(lambda: unsettled(world) == 0, seconds, lambda: f"settled; {unsettled(world)} are not", every=0.1)


def fanout(world, count, hosts=50, word="ok", **more):
    return [
        delivery(i, world.fediverse.inbox(f"{word}-{i % hosts}", f"/u{i}/inbox"), account=[1, 2][i % 2], **more)
        for i in range(count)
    ]


def claimed(world):
    client = world.redis_client
    return sum(client.hlen(key) - 1 for key in client.scan_iter("fedpush:claimed:*"))


def delivered(world, count):
    return lambda: world.fediverse.summary()["posts"] >= count


def assert_all_delivered_once(world, jobs):
    account = account_at_rest(world, jobs)
    wrong = [entry["item"]["error_message"] for entry in sidekiq(world.redis)["retry"]]
    assert account.lost == [] and account.duplicates == 0, (account, wrong[:5])
    assert account.places == {"delivered": len(jobs)}, wrong[:5]
