"""What Mastodon pushes arrives, signed so that other servers accept it, and what fails is where
Sidekiq and Mastodon look for it."""

import json
import subprocess
import time

import pytest
from jobs import DELIVERY, account_at_rest, account_for, delivery, payloads, push, push_fanout, sidekiq, unsettled, wait_settled
from machine import DOMAIN, fedpush
from servers import Redis, wait_for


def push_raw(world, payload):
    with world.redis_client.pipeline() as pipeline:
        pipeline.sadd("queues", "push")
        pipeline.lpush("queue:push", payload)
        pipeline.execute()


def raw(number, inbox, **more):
    """A job's bytes with fields of its own choosing."""
    job = delivery(number, inbox)
    job.update({"retry": 16, "dead": False, "queue": "push", "jid": f"{number:024x}",
                "created_at": time.time(), "enqueued_at": time.time()}, **more)
    return json.dumps(job)


@pytest.mark.parametrize("release", ["4.3", "4.6"])
def test_every_job_arrives_once_and_all_verifiers_accept_it(world, machines, release):
    world.use(release)
    machines()
    jobs = [
        delivery(i, world.fediverse.inbox(f"ok-{i % 40}", tls=i % 3 == 0), account=[1, 2, -99][i % 3])
        for i in range(300)
    ]
    push_fanout(world.redis, jobs)
    wait_settled(world)
    account = account_at_rest(world, jobs)
    assert account.places == {"delivered": 300} and account.duplicates == 0
    summary = world.fediverse.summary()
    assert summary["failures"] == []
    assert summary["verified"] == {"misskey": 100, "peertube": 100, "fedify": 100}


def test_request_is_what_mastodon_sends(world, machine):
    push(world.redis, [delivery(1, world.fediverse.inbox("ok-1", "/users/x/inbox?a=b"), account=2)])
    wait_settled(world)
    request = world.fediverse.counts()["requests"][0]
    headers = dict(zip(request["headers"][::2], request["headers"][1::2]))
    assert request["method"] == "POST" and request["url"] == "/users/x/inbox?a=b"
    assert headers["User-Agent"] == f"Mastodon/4.6.5 (http.rb/5.3.1; +https://{DOMAIN}/)"
    assert headers["Content-Type"] == "application/activity+json"
    assert headers["Signature"].startswith(
        f'keyId="https://{DOMAIN}/ap/users/2#main-key",algorithm="rsa-sha256",headers="'
    )


def test_a_failure_waits_in_sidekiqs_retry_set(world, machines):
    machines(FEDPUSH_SIDEKIQ_VERSION="8.1.6")
    jobs = [delivery(1, world.fediverse.inbox("status503-1")), delivery(2, world.fediverse.inbox("refused-1"))]
    jids = push(world.redis, jobs)
    wait_settled(world)
    seen = {entry["jid"]: entry["item"] for entry in sidekiq(world.redis)["retry"]}
    assert sorted(seen) == sorted(jids)
    status, refused = seen[jids[0]], seen[jids[1]]
    assert status["error_class"] == "Mastodon::UnexpectedResponseError"
    assert "returned code 503" in status["error_message"]
    assert refused["error_class"] in ("HTTP::ConnectionError", "HTTP::TimeoutError")
    for item in (status, refused):
        assert item["retry_count"] == 0 and item["queue"] == "push" and item["class"] == DELIVERY
        assert isinstance(item["failed_at"], int), "milliseconds"


def test_times_are_seconds_for_sidekiq_6(world, machines):
    world.use("4.3")
    machines()
    push(world.redis, [delivery(1, world.fediverse.inbox("status503-1"))])
    wait_settled(world)
    item = sidekiq(world.redis)["retry"][0]["item"]
    assert abs(item["failed_at"] - time.time()) < 60


def test_a_due_retry_is_delivered_from_the_retry_set(world, machine):
    push(world.redis, [delivery(1, world.fediverse.inbox("status503-1"))])
    wait_settled(world)
    world.fediverse.behave("status503-1", "ok")
    entry = world.redis_client.zrange("retry", 0, -1)[0]
    world.redis_client.zadd("retry", {entry: time.time() - 1})
    wait_for(lambda: world.redis_client.zcard("retry") == 0 and unsettled(world) == 0, 60, "retried")
    assert world.fediverse.summary()["posts"] == 2


def test_the_last_retry_drops_the_job(world, machine):
    push_raw(world, raw(1, world.fediverse.inbox("status503-1"), retry_count=15, failed_at=time.time() - 9))
    wait_settled(world)
    assert list(payloads(world.redis_client)) == []
    assert wait_for(
        lambda: health(world) and health(world)[0], 30, "the health row"
    )[4] == 1


def health(world):
    return world.query(
        "SELECT inbox_url, delivered, retried, rejected, exhausted FROM fedpush.inbox_health ORDER BY inbox_url"
    )


def test_health_counts_each_inbox(world, machine):
    jobs = [delivery(i, world.fediverse.inbox("ok-1")) for i in range(5)]
    jobs += [delivery(7, world.fediverse.inbox("status503-1")), delivery(8, world.fediverse.inbox("status410-1"))]
    push(world.redis, jobs)
    wait_settled(world)
    expected = [("ok-1", 5, 0, 0, 0), ("status410-1", 0, 0, 1, 0), ("status503-1", 0, 1, 0, 0)]

    def found():
        return [(url.split("/")[2].split(".")[0], *counts) for url, *counts in health(world)]

    wait_for(lambda: found() == expected, 30, lambda: f"the statistics; they are {found()}")


def test_an_unavailable_domain_gets_nothing_unless_bypassed(world, machine):
    world.query("INSERT INTO unavailable_domains (domain, created_at, updated_at) "
                "VALUES ('ok-5.fedi.test', now(), now())")
    inbox = world.fediverse.inbox("ok-5")
    push(world.redis, [delivery(1, inbox)])
    wait_settled(world)
    assert world.fediverse.summary()["posts"] == 0 and list(payloads(world.redis_client)) == []
    push(world.redis, [delivery(2, inbox, options={"bypass_availability": True})])
    wait_settled(world)
    assert world.fediverse.summary()["posts"] == 1
    wait_for(lambda: world.query("SELECT * FROM unavailable_domains") == [], 30, "the success frees the domain")


def test_delivery_that_was_restarted_goes_on_at_once_behind_an_open_circuit(world, machine):
    client = world.redis_client
    inbox = world.fediverse.inbox("ok-6")
    host = f"ok-6.fedi.test:{world.fediverse.port}"
    now_s, now_us = client.time()
    opened = f"open {now_s * 1000} {now_s * 1000 + 3600000} 3600000"  # its next probe is due in an hour
    client.hset("fedpush:circuit", host, opened)
    client.zadd("fedpush:circuits", {host: now_s * 1000000 + now_us})
    world.query("INSERT INTO unavailable_domains (domain, created_at, updated_at) "
                "VALUES ('ok-6.fedi.test', now(), now())")

    def heard():  # of the circuit
        return "its circuit has been open" in fedpush(world, "domain", "show", "ok-6.fedi.test").stdout

    push(world.redis, [delivery(0, world.fediverse.inbox("ok-1"))])
    wait_settled(world)
    wait_for(heard, 30, "the circuit is known")
    push(world.redis, [delivery(1, inbox)])
    wait_for(lambda: "unavailable, and probed as soon" in machine.log(), 30, "it is found unavailable")
    wait_settled(world)
    assert world.fediverse.summary()["posts"] == 1, "nothing is sent to it"
    world.query("DELETE FROM unavailable_domains")

    def comes():  # what was read of the host may be five seconds old: until then its jobs are skipped
        push(world.redis, [delivery(2, inbox)])
        return world.fediverse.summary()["posts"] >= 2

    wait_for(comes, 60, "its next job goes at once")
    wait_for(lambda: client.hget("fedpush:circuit", host) == b"closed", 30, "and the circuit is closed")


def test_the_seventh_day_of_failures_makes_a_domain_unavailable(world, machine):
    key = "exhausted_deliveries:status500-9.fedi.test"
    world.redis_client.sadd(key, *[f"202601{day:02}" for day in range(1, 7)])
    world.redis_client.set("cache:unavailable_domains", "stale")
    push(world.redis, [delivery(1, world.fediverse.inbox("status500-9"))])
    wait_settled(world)
    rows = wait_for(lambda: world.query("SELECT domain FROM unavailable_domains"), 30, "the row")
    assert rows == [("status500-9.fedi.test",)]
    assert world.redis_client.scard(key) == 7
    wait_for(lambda: not world.redis_client.exists("cache:unavailable_domains"), 30, "the cache key is gone")


def test_a_success_clears_the_days_of_failure(world, machine):
    key = "exhausted_deliveries:ok-9.fedi.test"
    world.redis_client.sadd(key, "20260101")
    push(world.redis, [delivery(1, world.fediverse.inbox("ok-9"))])
    wait_settled(world)
    wait_for(lambda: not world.redis_client.exists(key), 30, "cleared")


OTHERS = [
    '{"class":"ActivityPub::DistributionWorker","args":[109876543210987654],"retry":true,"queue":"push",'
    '"jid":"aaaaaaaaaaaaaaaaaaaaaaaa","created_at":1795419278055,"enqueued_at":1795419278055}',
    '{ "class" : "Web::PushNotificationWorker", "args":[1, 2.50, "\\u00fc"],"retry":5 , "queue":"push",'
    '"jid":"bbbbbbbbbbbbbbbbbbbbbbbb","created_at":1.0e3}',
    '{"retry":true,"queue":"push","args":[7,"https://x.test/f"],"class":"ActivityPub::FollowersSynchronizationWorker",'
    '"lock":"until_executed","lock_digest":"uniquejobs:1","jid":"cccccccccccccccccccccccc","created_at":1}',
]


def test_other_classes_are_handed_on_byte_for_byte(world, machine):
    """But for one member of a locked job: see test_classes."""
    for payload in OTHERS:
        push_raw(world, payload)
    wait_settled(world)
    expected = [p[:-1] + ',"retry_queue":"push"}' if "lock_digest" in p else p for p in OTHERS]
    assert sorted(world.redis_client.lrange("queue:default", 0, -1)) == sorted(p.encode() for p in expected)


def test_a_delivery_with_key_material_is_handed_on(world, machine):
    job = delivery(1, world.fediverse.inbox("ok-1"), options={"sign_with": "-----BEGIN RSA PRIVATE KEY-----"})
    push(world.redis, [job])
    wait_settled(world)
    assert world.redis_client.llen("queue:default") == 1 and world.fediverse.summary()["posts"] == 0
    assert "BEGIN RSA" not in machine.log()


D = b'{"class":"ActivityPub::DeliveryWorker","args":'
MALFORMED = {
    # nobody could run these
    "dead": [
        b"", b"null", b"[]", b"{}", b'"text"', b"{", b"not json", b"\xff\xfe\x00", b'{"class":1}',
        b'{"class":"ActivityPub::DeliveryWorker"}', D + b"{}}",
    ],
    # not of a form that is known here: Ruby decides
    "queue:default": [
        D + b"[]}", D + b'["x",1]}', D + b"[1,2,3]}", D + b'["x","y","https://ok-1.fedi.test/inbox"]}',
        D + b'["x",99999999999999999999999,"https://ok-1.fedi.test/"]}',
        D + b'["\\ud800",1,"https://ok-1.fedi.test/"],"jid":"m5"}',
        b'{"class":"ActivityPub::DeliveryWorker","class":"X","args":["x",1,"https://ok-1.fedi.test/"]}',
        b"[" * 5000, b'{"a":' * 5000,
    ],
    # a URL that Mastodon would fail at, again and again
    "retry": [
        D + b'["x",1,"ftp://ok-1.fedi.test/inbox"],"jid":"m1"}',
        D + b'["x",1,"https://"],"jid":"m2"}',
        D + b'["x",1,"https://u:p@ok-1.fedi.test/"],"jid":"m3"}',
        D + b'["x",1,"https://ok-1.fedi.test/\\n"],"jid":"m4"}',
    ],
}


def test_malformed_jobs_are_kept_and_harm_nothing(world, machine):
    everything = [(place, payload) for place, some in MALFORMED.items() for payload in some]
    for _, payload in everything:
        push_raw(world, payload)
    push(world.redis, [delivery(i, world.fediverse.inbox("ok-1")) for i in range(3)])
    wait_settled(world)
    assert world.fediverse.summary()["posts"] == 3
    kept = list(payloads(world.redis_client))
    assert len(kept) == len(everything)
    for place, payload in everything:
        # Fields may have been added behind the last one; nothing else changes.
        stem = payload[:-1] if payload.startswith(b"{") and payload.endswith(b"}") else payload
        assert any(at == place and value.startswith(stem) for at, value in kept), (place, payload[:100])
    handed = {payload for place, payload in kept if place == "queue:default"}
    assert handed == set(MALFORMED["queue:default"])


def test_one_inbox_is_served_in_order(world, machines):
    machines(FEDPUSH_HOST_WINDOW=1)  # requests that are under way at once may overtake each other
    jobs = [delivery(i, world.fediverse.inbox("slow20-1")) for i in range(60)]
    push(world.redis, jobs)
    wait_settled(world)
    order = world.fediverse.counts()["order"]["slow20-1.fedi.test/inbox"]
    assert order == [f"https://{DOMAIN}/activities/{i}" for i in range(60)]


def test_a_host_is_not_flooded(world, machines):
    machines(FEDPUSH_HOST_WINDOW=4)
    jobs = [delivery(i, world.fediverse.inbox("slow50-1", f"/u{i}")) for i in range(80)]
    push_fanout(world.redis, jobs)
    wait_settled(world)
    assert world.fediverse.counts()["busy"]["slow50-1.fedi.test"] <= 4


def test_redis_over_tls_with_an_acl_user(world, machines, tmp_path):
    server = Redis(str(tmp_path / "redis"), world.certificate)
    plain, plain_client = world.redis, world.redis_client
    world.redis, world.redis_client = server, server.client()
    try:
        machine = machines(FEDPUSH_REDIS_CA_FILE=world.certificate.ca)
        jobs = [delivery(i, world.fediverse.inbox(f"ok-{i}")) for i in range(50)]
        push(server, jobs)
        wait_settled(world)
        assert account_at_rest(world, jobs).places == {"delivered": 50}
        assert "sec:ret" not in machine.log() and "sec%3Aret" not in machine.log()
        machine.stop()
    finally:
        world.redis, world.redis_client = plain, plain_client
        server.stop()


def test_through_pgbouncer_in_transaction_mode(world, machines, pgbouncer):
    machines(DATABASE_URL=world.postgres.url(world.database, pgbouncer.port))
    jobs = [delivery(i, world.fediverse.inbox(f"ok-{i}"), account=[1, 2][i % 2]) for i in range(100)]
    push_fanout(world.redis, jobs)
    wait_settled(world)
    assert account_at_rest(world, jobs).places == {"delivered": 100}
    wait_for(lambda: len(health(world)) == 100, 30, "health through PgBouncer")


def test_sidekiqs_web_ui_shows_machine_and_retries(world, machine, web):
    push(world.redis, [delivery(1, world.fediverse.inbox("status503-1")), delivery(2, world.fediverse.inbox("ok-1"))])
    wait_settled(world)
    wait_for(lambda: "fedpush" in web("/busy"), 30, "the busy page names fedpush")
    retries = web("/retries")
    assert DELIVERY in retries and "Mastodon::UnexpectedResponseError" in retries
    wait_for(lambda: sidekiq(world.redis)["processed"] >= 2, 30, "processed counter")
    assert sidekiq(world.redis)["failed"] == 1
    process = sidekiq(world.redis)["processes"][0]
    assert "push" in process["queues"]


def test_a_stop_drains_and_leaves_nothing_claimed(world, machines):
    machine = machines()
    jobs = [delivery(i, world.fediverse.inbox(f"slow100-{i % 10}", f"/u{i}")) for i in range(600)]
    push_fanout(world.redis, jobs)
    wait_for(lambda: world.fediverse.summary()["posts"] > 20, 30, "some are delivered")
    assert machine.stop() == 0
    account = account_for(world, jobs)
    assert account.lost == [] and account.duplicates == 0
    assert account.places["claimed"] == 0 and account.places["wait"] == 0
    assert world.redis_client.zcard("fedpush:identities") == 0
    assert sidekiq(world.redis)["processes"] == []


def test_ruby_takes_over_what_fedpush_returned(world, machines):
    """The way back: what a drain returned is in Mastodon's own queue, as it was pushed."""
    machine = machines()
    jobs = [delivery(i, world.fediverse.inbox("slow1500-1", f"/u{i}")) for i in range(40)]
    jids = push(world.redis, jobs)
    wait_for(lambda: world.fediverse.summary()["posts"] > 0, 30, "it has begun")
    assert machine.stop() == 0
    left = sidekiq(world.redis)
    returned = {item["jid"] for item in left["push"]}
    assert returned and returned <= set(jids) and left["scheduled"] == []
    assert len(returned) + world.fediverse.summary()["posts"] == 40
