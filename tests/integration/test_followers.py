"""Posts for followers only carry Collection-Synchronization, with the digest that Mastodon would
have sent."""

import hashlib
import re
import time

import pytest
from jobs import delivery, payloads, push, push_fanout, unsettled, wait_settled
from machine import DOMAIN
from servers import wait_for
from test_classes import push_all

SIGNED = {
    "4.3": "host date digest content-type collection-synchronization (request-target)",
    "4.6": "host date digest content-type collection-synchronization (request-target)",
}
PRIVATE = {"synchronize_followers": True}


def follow(world, account, uris):
    """Remote accounts with these URIs follow the account."""
    world.query(
        "WITH new AS (INSERT INTO accounts (id, username, domain, uri, created_at, updated_at)"
        " SELECT (SELECT max(id) FROM accounts) + row_number() OVER (), 'f', 'd', uri, now(), now()"
        " FROM unnest(%s::varchar[]) AS uri RETURNING id)"
        " INSERT INTO follows (account_id, target_account_id, created_at, updated_at)"
        " SELECT id, %s, now(), now() FROM new",
        uris, account,
    )


def prefix_of(inbox):
    return re.match(r"https?://[^/]+", inbox).group()


def expected(uris, inbox, collection, name):
    digest = bytes(32)
    for uri in uris:
        if uri == prefix_of(inbox) or uri.startswith(prefix_of(inbox) + "/"):
            digest = bytes(a ^ b for a, b in zip(digest, hashlib.sha256(uri.encode()).digest()))
    return (f'collectionId="https://{DOMAIN}/{collection}/followers", digest="{digest.hex()}", '
            f'url="https://{DOMAIN}/users/{name}/followers_synchronization"')


def received(world):
    """What came, oldest first: (inbox, headers)."""
    requests = world.fediverse.counts()["requests"]
    return [(one["inbox"], dict(zip(one["headers"][::2], one["headers"][1::2]))) for one in requests]


def value_of(headers):
    return headers.get("Collection-Synchronization")


def posts(world, count):
    return lambda: world.fediverse.summary()["posts"] >= count


@pytest.mark.parametrize("release", ["4.3", "4.6"])
def test_each_server_gets_the_digest_of_its_followers(world, machines, release):
    world.use(release)
    machines()
    inboxes = {f"ok-{i}": world.fediverse.inbox(f"ok-{i}", tls=i % 2 == 0) for i in range(40)}
    # ok-0 has no follower, ok-1 has one, ok-2 has two, …; nobody else's count
    uris = [f"{prefix_of(inboxes[f'ok-{i}'])}/users/{n}" for i in range(40) for n in range(i)]
    others = ["https://ok-1.fedi.test/users/1", f"{prefix_of(inboxes['ok-1'])}0/users/1", None]
    bobs = [uri + "b" for uri in uris[::3]]
    follow(world, 1, uris + others)
    follow(world, 2, bobs)
    push_fanout(world.redis, [delivery(i, inbox, account=account, options=PRIVATE)
                              for i, inbox in enumerate(inboxes.values()) for account in (1, 2)])
    wait_settled(world)
    bob = "ap/users/2" if release == "4.6" else "users/bob"
    wanted = sorted((host, value) for host, inbox in inboxes.items() for value in (
        expected(uris, inbox, "users/alice", "alice"), expected(bobs, inbox, bob, "bob")))
    came = received(world)
    assert sorted((inbox.split(".")[0], value_of(headers)) for inbox, headers in came) == wanted
    for _, headers in came:
        assert f'headers="{SIGNED[release]}"' in headers["Signature"]
    summary = world.fediverse.summary()
    assert summary["failures"] == [] and sum(summary["verified"].values()) == 80


def test_only_jobs_that_ask_for_it_get_it(world, machine):
    options = [True, 0, False, None]
    jobs = [delivery(i, world.fediverse.inbox("ok-1", f"/{i}"), options={"synchronize_followers": asked})
            for i, asked in enumerate(options)]
    jobs += [delivery(4, world.fediverse.inbox("ok-1", "/4"), options={}),
             delivery(5, world.fediverse.inbox("ok-1", "/5"))]
    push(world.redis, jobs)
    wait_settled(world)
    came = {inbox[-1]: value_of(headers) for inbox, headers in received(world)}
    value = expected([], jobs[0]["args"][2], "users/alice", "alice")
    assert came == {"0": value, "1": value, "2": None, "3": None, "4": None, "5": None}


def test_mastodons_switch_leaves_it_out(world, machines):
    machines(DISABLE_FOLLOWERS_SYNCHRONIZATION="true")
    push(world.redis, [delivery(1, world.fediverse.inbox("ok-1"), options=PRIVATE)])
    wait_settled(world)
    assert [value_of(headers) for _, headers in received(world)] == [None]


def test_a_large_account_delays_nobody(world, machine):
    inbox = world.fediverse.inbox("ok-0")
    uris = [f"{prefix_of(inbox)}/users/{n}" for n in range(120000)]
    follow(world, 1, uris)
    world.query("ANALYZE accounts")
    world.query("ANALYZE follows")
    others = [delivery(i, world.fediverse.inbox(f"ok-{i}"), account=2, options=PRIVATE if i % 2 else None)
              for i in range(1, 21)]
    push_all(world, [delivery(0, inbox, options=PRIVATE), *others, delivery(21, world.fediverse.inbox("ok-21"))])
    wait_settled(world)
    came = received(world)
    assert len(came) == 22
    assert came[-1][0].startswith("ok-0."), "everything else came before the large one"
    assert value_of(came[-1][1]) == expected(uris, inbox, "users/alice", "alice")


def test_posts_wait_while_postgresql_is_away(world, machine):
    inbox = world.fediverse.inbox("ok-1")
    uris = [f"{prefix_of(inbox)}/users/{n}" for n in range(3)]
    follow(world, 1, uris)
    push(world.redis, [delivery(1, inbox)])  # its key is known from now on
    wait_for(posts(world, 1), 30, "the first")
    with world.postgres.away():
        private = [delivery(i, world.fediverse.inbox(f"ok-{i}"), options=PRIVATE) for i in (1, 2)]
        push(world.redis, private + [delivery(3, world.fediverse.inbox("ok-1"))])
        wait_for(posts(world, 2), 30, "what needs no digest passes")
        wait_for(lambda: unsettled(world) == 2, 30, "the two private ones are left")
        assert world.fediverse.summary()["posts"] == 2
    wait_settled(world)
    assert [value_of(headers) for _, headers in received(world)][:2] == [None, None]
    came = {inbox: value_of(headers) for inbox, headers in received(world)[2:]}
    assert came == {
        f"ok-{i}.fedi.test/inbox": expected(uris, job["args"][2], "users/alice", "alice")
        for i, job in zip((1, 2), private)
    }


def test_a_drain_returns_what_waits(world, machines):
    machine = machines()
    push(world.redis, [delivery(1, world.fediverse.inbox("ok-1"))])
    wait_for(posts(world, 1), 30, "the first")
    with world.postgres.away():
        push(world.redis, [delivery(i, world.fediverse.inbox(f"ok-{i}"), options=PRIVATE) for i in range(5)])
        wait_for(lambda: world.redis_client.llen("queue:push") == 0, 30, "claimed")
        assert machine.stop() == 0
    assert [place for place, _ in payloads(world.redis_client)] == ["queue:push"] * 5
    assert world.fediverse.summary()["posts"] == 1


def test_a_missing_right_is_named_and_waited_for(world, machines):
    world.query("CREATE ROLE no_follows LOGIN")
    try:
        world.query("GRANT ALL ON ALL TABLES IN SCHEMA public TO no_follows")
        world.query("REVOKE ALL ON follows FROM no_follows")
        url = world.postgres.url(world.database)
        machine = machines(DATABASE_URL=url.replace("mastodon@", "no_follows@"), FEDPUSH_DATABASE_URL=url)
        push(world.redis, [delivery(1, world.fediverse.inbox("ok-1"), options=PRIVATE),
                           delivery(2, world.fediverse.inbox("ok-2"))])
        wait_for(posts(world, 1), 30, "the other one")
        grant = "GRANT SELECT (account_id, target_account_id) ON follows TO no_follows"
        wait_for(lambda: grant in machine.log(), 30, "the remedy in the log")
        world.query(grant)
        wait_settled(world)
        assert world.fediverse.summary()["posts"] == 2
        machine.stop()
    finally:
        world.query("DROP OWNED BY no_follows")
        world.query("DROP ROLE no_follows")


def test_a_suspicious_job_runs_alone_with_its_digest(world, machine):
    inbox = world.fediverse.inbox("ok-1")
    jid = "c0ffee" * 4
    world.redis_client.hset("fedpush:recoveries", jid, f"2 {int(time.time())}")
    push(world.redis, [delivery(1, inbox, options=PRIVATE, jid=jid)])
    wait_settled(world)
    assert "job runs alone" in machine.log()
    assert [value_of(headers) for _, headers in received(world)] == [expected([], inbox, "users/alice", "alice")]
