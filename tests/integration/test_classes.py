"""Every class that Mastodon 4.2 to 4.7 puts into `push` and `pull`: which are delivered, and where
the others go; and what consuming `pull` means for `push`."""

import json
import time

import pytest
from jobs import DELIVERY, activity, delivery, wait_settled
from machine import fedpush
from servers import wait_for

LOW = "ActivityPub::LowPriorityDeliveryWorker"
BOTH = {"FEDPUSH_QUEUES": "push,pull", "FEDPUSH_HANDOFF_QUEUE_PULL": "pull_ruby"}
INBOX = None  # where a row says so: an inbox that answers
BODY = "{}"

# Class without ActivityPub::, args, options in the payload; a lock is tried with each.
PUSH = [
    ("ActivityPub::MigratedFollowDeliveryWorker", [BODY, 1, INBOX, 7], {"retry": 16, "dead": False}),
    ("ActivityPub::MigratedFollowDeliveryWorker", [BODY, 1, INBOX, 7, {}], {"retry": 16, "dead": False}),
    ("Webhooks::DeliveryWorker", [5, BODY], {"retry": 16, "dead": False}),
    ("Web::PushNotificationWorker", [5, 116543210987654321], {"retry": 5}),
    ("ActivityPub::DistributionWorker", [116543210987654321], {"retry": True}),
    ("ActivityPub::RawDistributionWorker", [BODY, 1, [INBOX]], {"retry": True}),
    ("ActivityPub::AccountRawDistributionWorker", [BODY, 1], {"retry": True}),
    ("ActivityPub::StatusUpdateDistributionWorker", [5, {"updated_at": "2026-11-25"}], {"retry": True}),
    ("ActivityPub::UpdateDistributionWorker", [1, {"sign_with": "-----BEGIN RSA PRIVATE KEY-----"}], {"retry": True}),
    ("ActivityPub::MoveDistributionWorker", [5], {"retry": True}),
    ("ActivityPub::DistributePollUpdateWorker", [5], {"retry": 0}),
    ("ActivityPub::FollowersSynchronizationWorker", [1, "https://ok-1.fedi.test/f"], {"retry": True}),
    ("ActivityPub::FollowersSynchronizationWorker", [1, "https://ok-1.fedi.test/f", "ab12"], {"retry": True}),  # 4.5
    ("ActivityPub::QuoteRequestWorker", [5], {"retry": True}),  # 4.5
    ("ActivityPub::FeatureRequestWorker", [5], {"retry": True}),  # 4.6
    ("ActivityPub::CollectionRawDistributionWorker", [BODY, 5, []], {"retry": True}),  # 4.6
    ("Nobody::KnowsThisWorker", [{"a": [1.5, None, "<ü>"]}], {"retry": True, "unknown": {"x": 1}}),
    # Deliveries with what fedpush doesn't know or must not see.
    (DELIVERY, [BODY, 1, INBOX, {"sign_with": "-----BEGIN RSA PRIVATE KEY-----"}], {"retry": 16, "dead": False}),
    (DELIVERY, [BODY, 1, INBOX, {"sign_with": {"uri": "x", "type": "ed25519"}}], {"retry": 16, "dead": False}),  # 4.7
    (DELIVERY, [BODY, 1, INBOX, {"later": True}], {"retry": 16, "dead": False}),
    (DELIVERY, [BODY, 1, INBOX, {}, 5], {"retry": 16, "dead": False}),
    (DELIVERY, [BODY, 1, INBOX], {"retry": 16, "dead": False, "bid": "b"}),
    (DELIVERY, [BODY, 1, INBOX], {"retry": 16, "dead": False, "retry_for": 60}),
]
PULL = [
    (name, args, options)
    for name, options, args in [
        ("ActivityPub::VerifyFeaturedItemWorker", {"retry": 5}, [5]),
        ("ActivityPub::SynchronizeFeaturedCollectionWorker", {"retry": True}, [1, {"hashtag": True}]),
        ("ActivityPub::SynchronizeFeaturedCollectionsCollectionWorker", {"retry": True}, [1]),
        ("ActivityPub::SynchronizeFeaturedTagsCollectionWorker", {"retry": True}, [1, "https://x.test/t"]),
        ("ActivityPub::FetchAllRepliesWorker", {"retry": 3}, [5, {}]),
        ("ActivityPub::FetchRepliesWorker", {"retry": 3}, [5, "https://x.test/r", {}]),
        ("ActivityPub::QuoteRefreshWorker", {"retry": 3, "dead": False}, [5]),
        ("ActivityPub::ProcessFeaturedItemWorker", {"retry": 3}, [5, "https://x.test/i"]),
        ("ActivityPub::RefetchAndVerifyQuoteWorker", {"retry": 5}, [5, "https://x.test/q"]),
        ("ActivityPub::PostUpgradeWorker", {"retry": True}, ["x.test"]),
        ("Admin::DomainPurgeWorker", {"retry": True}, ["x.test"]),
        ("Admin::SuspensionWorker", {"retry": True}, [1]),
        ("Admin::UnsuspensionWorker", {"retry": True}, [1]),
        ("Admin::AccountDeletionWorker", {"retry": True}, [1]),
        ("TaggedCollectionResolveWorker", {"retry": 7}, [5]),
        ("BackupWorker", {"retry": 5, "dead": False}, [5]),
        ("UnfollowFollowWorker", {"retry": True}, [1, 2, 3]),
        ("TagUnmergeWorker", {"retry": True}, [1, 2]),
        ("RefollowWorker", {"retry": False}, [1]),
        ("CacheBusterWorker", {"retry": True}, ["/x"]),
        ("AddToPublicStatusesIndexWorker", {"retry": True}, [1]),
        ("RedownloadHeaderWorker", {"retry": 7}, [1]),
        ("RedownloadAvatarWorker", {"retry": 7}, [1]),
        ("RedownloadMediaWorker", {"retry": 3}, [1]),
        ("RemoteAccountRefreshWorker", {"retry": 3}, [1]),
        ("AccountRefreshWorker", {"retry": 3}, [1]),
        ("AccountMergingWorker", {"retry": True}, [1]),
        ("Import::RowWorker", {"retry": 6}, [5]),
        ("Import::RelationshipWorker", {"retry": 8}, [1, "a@x.test", "follow", {}]),  # up to 4.3
        ("ImportWorker", {"retry": False}, [5]),  # up to 4.3
        ("LinkCrawlWorker", {"retry": 0}, [5]),
        ("BulkImportWorker", {"retry": False}, [5]),
        ("UnmergeWorker", {"retry": True}, [1, 2, "home"]),
        ("ThreadResolveWorker", {"retry": 3}, [5, "https://x.test/s", {"request_id": "1"}]),
        ("MentionResolveWorker", {"retry": 7}, [5, "https://x.test/u", {}]),
        ("DomainClearMediaWorker", {"retry": True}, [5]),
        ("ResolveAccountWorker", {"retry": True}, ["a@x.test"]),
        ("AccountDeletionWorker", {"retry": True}, [1, {"reserve_username": True}]),
        ("FetchReplyWorker", {"retry": 3}, ["https://x.test/s", {}]),
        ("Nobody::KnowsThisWorker", {"retry": True}, []),
        (LOW, {"retry": 8, "dead": False}, [BODY, 1, INBOX, {"sign_with": "x"}]),
        (LOW, {"retry": 8, "dead": False}, [BODY, 1, INBOX, {"later": True}]),
    ]
]
# What is delivered: class, options as the fourth argument, options in the payload.
NATIVE = [
    (DELIVERY, "push", None, {"retry": 16, "dead": False}),
    (DELIVERY, "push", {}, {"retry": 16, "dead": False}),
    (DELIVERY, "push", {"synchronize_followers": False}, {"retry": 16, "dead": False}),
    (DELIVERY, "push", {"synchronize_followers": True}, {"retry": 16, "dead": False}),
    (DELIVERY, "push", {"bypass_availability": True}, {"retry": 16, "dead": False}),  # 4.3
    (DELIVERY, "push", None, {"retry": True}),
    (DELIVERY, "push", None, {"retry": 16, "retry_queue": "push"}),
    (LOW, "push", None, {"retry": 8, "dead": False}),
    (LOW, "pull", None, {"retry": 8, "dead": False}),
    (LOW, "pull", {}, {"retry": 8, "dead": False}),
    (DELIVERY, "pull", None, {"retry": 16, "dead": False}),
]
LOCK = {
    "lock": "until_executed", "lock_timeout": 0, "lock_ttl": 4320000, "lock_prefix": "uniquejobs",
    "lock_args": [1], "lock_digest": "uniquejobs:0123456789abcdef0123456789abcdef",
}


class Maker:
    """Payloads in Ruby's JSON, each with a jid of its own."""

    def __init__(self, world):
        self.inbox = world.fediverse.inbox("ok-1")
        self.count = 0

    def __call__(self, class_name, queue, args, options, milliseconds, more):
        self.count += 1
        args = [self.inbox if arg is INBOX else [self.inbox] if arg == [INBOX] else arg for arg in args]
        at = int(time.time() * 1000) if milliseconds else time.time()
        job = {"retry": True, "queue": queue, **options, "args": args, "class": class_name, **more,
               "jid": f"{self.count:024x}", "created_at": at, "enqueued_at": at}
        return json.dumps(job, separators=(",", ":"), ensure_ascii=False).encode()


def put(world, queue, payloads):
    with world.redis_client.pipeline() as pipeline:
        pipeline.sadd("queues", queue)
        for payload in payloads:
            pipeline.lpush(f"queue:{queue}", payload)
        pipeline.execute()


def with_retry_queue(payload, queue):
    return payload[:-1] + b',"retry_queue":"%s"}' % queue.encode()


def everything_handed_off(world, queue, rows):
    """Each row as Sidekiq 6 and 7 and as 8 write it, without and with a lock: payload -> what
    arrives at Ruby's queue."""
    make = Maker(world)
    expected = {}
    for row in rows:
        for milliseconds in (False, True):
            plain, locked, chosen = (
                make(*row[:1], queue, *row[1:], milliseconds, more)
                for more in ({}, LOCK, {**LOCK, "retry_queue": "elsewhere"})
            )
            expected[plain] = plain
            expected[locked] = with_retry_queue(locked, queue)
            expected[chosen] = chosen
    put(world, queue, expected)
    return sorted(expected.values())


def pull_settled(world):
    wait_for(lambda: world.redis_client.llen("queue:pull") == 0, 60, "pull is empty")
    wait_settled(world)


def test_each_class_goes_where_it_belongs(world, machines):
    machine = machines(**BOTH)
    to_default = everything_handed_off(world, "push", PUSH)
    to_pull_ruby = everything_handed_off(world, "pull", PULL)
    # A delivery with a lock is Ruby's, too: its middleware ends the lock.
    make = Maker(world)
    for class_name, queue, options, fields in NATIVE:
        args = [BODY, 1, INBOX] + ([] if options is None else [options])
        locked = make(class_name, queue, args, fields, True, LOCK)
        put(world, queue, [locked])
        arrives = locked if "retry_queue" in fields else with_retry_queue(locked, queue)
        (to_default if queue == "push" else to_pull_ruby).append(arrives)
    natives = 0
    for class_name, queue, options, fields in NATIVE:
        for milliseconds in (False, True):
            natives += 1
            args = [activity(natives), 1, INBOX] + ([] if options is None else [options])
            put(world, queue, [make(class_name, queue, args, fields, milliseconds, {})])
    pull_settled(world)
    client = world.redis_client
    assert sorted(client.lrange("queue:default", 0, -1)) == sorted(to_default)
    assert sorted(client.lrange("queue:pull_ruby", 0, -1)) == sorted(to_pull_ruby)
    assert world.fediverse.summary()["posts"] == natives == len(world.fediverse.counts()["activities"])
    assert [client.zcard(name) for name in ("retry", "schedule", "dead")] == [0, 0, 0]
    assert "PRIVATE KEY" not in machine.log()
    info = json.loads(client.hget(machine.identity(), "info"))
    assert info["queues"] == ["push", "pull"] and info["weights"] == [{"push": 0, "pull": 0}]
    assert info["capsules"]["default"]["weights"] == {"push": 0, "pull": 0}


def low(number, inbox):
    return {**delivery(number, inbox), "class": LOW, "queue": "pull", "retry": 8}


def push_all(world, jobs):
    """Without Ruby, which needs seconds to start on a loaded machine."""
    with world.redis_client.pipeline() as pipeline:
        for job in jobs:
            fields = {"retry": 16, "queue": "push", **job, "dead": False, "jid": f"{id(job):024x}",
                      "created_at": time.time(), "enqueued_at": time.time()}
            pipeline.lpush(f"queue:{fields['queue']}", json.dumps(fields, separators=(",", ":")))
        pipeline.execute()


def commands(world, name):
    return world.redis_client.info("commandstats").get(f"cmdstat_{name}", {"calls": 0})["calls"]


def test_pull_never_delays_push(world, machines):
    world.fediverse.verify(0)
    push_all(world, [low(i, world.fediverse.inbox(f"ok-{i % 60}")) for i in range(20000)])
    machine = machines(**BOTH)
    client = world.redis_client
    wait_for(lambda: client.llen("queue:pull") < 19000, 30, "pull drains")
    jobs = [delivery(100000 + i, world.fediverse.inbox(f"ok-{i % 100}")) for i in range(300)]
    wanted = {json.loads(job["args"][0])["id"] for job in jobs}
    push_all(world, jobs)
    first = {inbox: len(ids) for inbox, ids in world.fediverse.counts()["order"].items()}
    wait_for(lambda: wanted <= set(world.fediverse.counts()["activities"]), 30, "push arrives", every=0.3)
    # However slow this machine is: little of pull was served before what came behind it in push.
    left = client.llen("queue:pull")
    between = 0
    for inbox, ids in world.fediverse.counts()["order"].items():
        last = max(i for i, identity in enumerate(ids) if identity in wanted)
        between += sum(identity not in wanted for identity in ids[first.get(inbox, 0) : last])
    assert between < 600 and left > 3000, (between, left)
    # It goes on, and takes few claims: claim.lua asks for one ZSCORE (due.lua, too, twice a second).
    claims, since = commands(world, "zscore"), time.monotonic()
    wait_for(lambda: client.llen("queue:pull") <= left - 2000, 30, "pull drains on")
    claims = commands(world, "zscore") - claims - 3 * (time.monotonic() - since)
    assert claims <= 3 * (left - client.llen("queue:pull")) / 100
    assert machine.stop() == 0
    activities = world.fediverse.counts()["activities"]
    assert len(activities) + client.llen("queue:pull") == 20300
    assert client.llen("queue:push") == 0 and client.zcard("schedule") == 0


def test_an_attempt_that_fails_is_retried_into_pull(world, machines):
    machines(**BOTH)
    client = world.redis_client
    world.fediverse.behave("ok-1", "status503")
    push_all(world, [low(1, world.fediverse.inbox("ok-1"))])
    wait_for(lambda: client.zcard("retry") == 1, 30, "it failed")
    entry = client.zrange("retry", 0, -1)[0]
    seen = json.loads(entry)
    assert seen["queue"] == "pull" and seen["retry_count"] == 0 and seen["retry"] == 8
    world.fediverse.behave("ok-1", "ok")
    client.zadd("retry", {entry: time.time()})
    wait_for(lambda: client.zcard("retry") == 0, 30, "it is due")
    pull_settled(world)
    assert world.fediverse.counts()["activities"][json.loads(seen["args"][0])["id"]] == {"ok-1.fedi.test/inbox": 2}
    # Pull's other classes come back to where Ruby serves them.
    other = Maker(world)("LinkCrawlWorker", "pull", [5], {"retry": 3, "retry_count": 0}, True, {})
    client.zadd("retry", {other: 5})
    wait_for(lambda: client.llen("queue:pull_ruby") == 1, 60, "it is due")
    assert client.lrange("queue:pull_ruby", 0, -1)[0].startswith(other.split(b',"enqueued_at"')[0])


@pytest.mark.parametrize("how", ["drain", "kill"])
def test_what_is_held_goes_back_to_its_queue(world, machines, how, tmp_path):
    client = world.redis_client
    machine = machines(**BOTH, FEDPUSH_DRAIN_SECONDS=1)
    inbox = world.fediverse.inbox("silent-1")
    jobs = {"push": [], "pull": []}
    make = Maker(world)
    for i in range(8):
        for queue, class_name in (("push", DELIVERY), ("pull", LOW)):
            jobs[queue].append(make(class_name, queue, [activity(i), 1, inbox], {"retry": 8}, True, {}))
    for queue in jobs:
        put(world, queue, jobs[queue])
    held = f"fedpush:claimed:{machine.identity()}"
    wait_for(lambda: client.hlen(held) == 17, 30, "all are held")
    if how == "drain":
        assert machine.stop() == 0
    else:
        machine.kill()
        done = fedpush(world, "handback", "--own", runtime_dir=machine.runtime_dir)
        assert done.returncode == 0 and "16 jobs back" in done.stdout, done.stdout + done.stderr
    for queue in jobs:  # the oldest is served first
        assert client.lrange(f"queue:{queue}", 0, -1)[::-1] == jobs[queue]
    assert client.zcard("schedule") == 0


def test_pull_is_left_alone_unless_it_is_asked_for(world, machines):
    machines()
    push_all(world, [low(1, world.fediverse.inbox("ok-1"))])
    push_all(world, [delivery(2, world.fediverse.inbox("ok-1"))])
    wait_settled(world)
    assert world.redis_client.llen("queue:pull") == 1
    assert world.fediverse.summary()["posts"] == 1


def test_check_and_status_know_pull(world):
    from test_cli import lines, sidekiq_process

    assert fedpush(world, "setup").returncode == 0
    for command in ("check", "run"):
        refused = fedpush(world, command, FEDPUSH_QUEUES="push,pull")
        assert refused.returncode == 78 and "FEDPUSH_HANDOFF_QUEUE_PULL" in refused.stderr
    sidekiq_process(world, ["default"])
    done = fedpush(world, "check", **BOTH)
    assert done.returncode == 1 and "-q pull_ruby" in lines(done, "FAIL")["hand-off"], done.stdout
    assert "pull_ruby" in fedpush(world, "status", **BOTH).stdout
    sidekiq_process(world, ["pull_ruby"], "ruby:2:bbbbbbbbbbbb")
    assert fedpush(world, "check", **BOTH).returncode == 0
    old = {**low(1, "https://x.test/inbox"), "enqueued_at": time.time() - 600}
    put(world, "pull", [json.dumps(old)])
    assert lines(fedpush(world, "check", **BOTH), "ok")["pull"] == "1 jobs wait, the oldest for 10 min"
    done = fedpush(world, "status", **BOTH)
    assert lines(done, "ok")["pull"] == "1 jobs wait, the oldest for 10 min", done.stdout
    assert "queue pull_ruby: 0 jobs, served by 1" in done.stdout
