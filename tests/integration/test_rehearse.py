"""A rehearsal says what would be done, and does nothing."""

import json
import subprocess
import threading

import pytest
from jobs import delivery, push
from machine import DOMAIN, fedpush
from servers import free_port
from test_cli import lines, sidekiq_process
from test_followers import expected, follow, prefix_of
from test_keys import ENCRYPTION, mastodon, move_key, seal  # noqa: F401

READING = {
    "auth", "hello", "select", "ping", "client", "info", "time", "lrange", "llen", "lindex", "zrange", "zcard", "hget",
    "hlen", "hscan", "smembers",
}


class Commands:
    """What Redis is asked meanwhile, by anybody else."""

    def __init__(self, redis):
        self.client = redis.client()
        self.names = []
        self.asked = set()
        self.begun = threading.Event()
        self.thread = threading.Thread(target=self.listen, daemon=True)

    def listen(self):
        with self.client.monitor() as monitor:
            self.begun.set()
            for command in monitor.listen():
                words = command["command"].split()
                self.names.append(words[0].lower())
                if words[:2] == ["ECHO", "end"]:
                    return

    def __enter__(self):
        self.thread.start()
        assert self.begun.wait(30)
        return self

    def __exit__(self, *_):
        self.client.echo("end")
        self.thread.join(30)
        assert not self.thread.is_alive()
        self.asked = set(self.names) - {"echo"}


def introduce(world):
    """Makes it a Mastodon with users, their public keys, and other servers that it knows."""
    world.query("CREATE TABLE IF NOT EXISTS users (id bigserial PRIMARY KEY, account_id bigint NOT NULL)")
    world.query("TRUNCATE users")
    world.query("INSERT INTO users (account_id) VALUES (1), (2)")
    for account, path in ((1, "users/alice"), (2, "ap/users/2"), (-99, "actor")):
        pem = world.keys.public[f"https://{DOMAIN}/{path}#main-key"]
        world.query("UPDATE accounts SET public_key = %s WHERE id = %s", pem, account)
    world.query(
        "INSERT INTO accounts (id, username, domain, inbox_url, shared_inbox_url, created_at, updated_at)"
        " SELECT 1000 + i, 'u' || i, 'ok-' || i || '.fedi.test', format(%s, i, 'u/inbox'), format(%s, i, 'inbox'),"
        " now(), now() FROM generate_series(0, 29) AS i",
        *[world.fediverse.inbox("ok-%s", "/%s")] * 2,
    )
    sidekiq_process(world, ["default", "push"])


@pytest.fixture
def known(world):
    introduce(world)
    return world


def rehearse(world, *arguments, **settings):
    done = fedpush(world, "rehearse", "--json", *arguments, **settings)
    assert done.stderr == "", done.stderr
    found = json.loads(done.stdout)
    return done.returncode, found


def fates(found):
    return {job["host"] or job["class"]: job["fate"] for job in found["jobs"]}


def test_it_takes_and_writes_nothing(known):
    jobs = [delivery(i, known.fediverse.inbox(f"ok-{i}")) for i in range(5)]
    jobs += [{"class": "ActivityPub::DistributionWorker", "args": [7]}]
    push(known.redis, jobs)
    push(known.redis, [dict(delivery(9, known.fediverse.inbox("ok-9")), **{"in": 3600})])
    known.redis_client.zadd("retry", {json.dumps(job): 1e9 for job in (
        delivery(8, known.fediverse.inbox("ok-8"), jid="r" * 24, queue="push"),
        {"class": "LinkCrawlWorker", "args": [1], "jid": "o" * 24, "queue": "pull"},
    )})
    before = known.redis_client.execute_command("DEBUG", "DIGEST")
    rows = known.query("SELECT (SELECT count(*) FROM unavailable_domains), (SELECT count(*) FROM accounts)")
    with Commands(known.redis) as commands:
        code, found = rehearse(known)
    assert commands.asked <= READING and "lrange" in commands.asked, commands.asked - READING
    assert known.redis_client.execute_command("DEBUG", "DIGEST") == before
    assert known.redis_client.llen("queue:push") == 6 and known.redis_client.zcard("retry") == 2
    assert known.query("SELECT (SELECT count(*) FROM unavailable_domains), (SELECT count(*) FROM accounts)") == rows
    assert known.fediverse.summary()["posts"] == 0
    assert code == 0 and found["problems"] == [], found["problems"]
    assert [job["source"] for job in found["jobs"]].count("retry") == 1 and found["summary"]["seen"] == 7


def test_it_says_what_would_become_of_each(known):
    known.query("INSERT INTO unavailable_domains (domain, created_at, updated_at)"
                " VALUES ('ok-3.fedi.test', now(), now())")
    inbox = known.fediverse.inbox
    push(known.redis, [
        delivery(1, inbox("ok-1")),
        delivery(2, inbox("ok-2"), account=2),
        delivery(3, inbox("ok-3")),
        delivery(4, inbox("ok-4"), options={"sign_with": "x"}),
        {"class": "ActivityPub::DistributionWorker", "args": [7]},
        delivery(5, "http://[broken"),
        delivery(6, inbox("nx-1")),
        delivery(7, inbox("ok-7"), account=4711),
        delivery(8, "http://127.0.0.1:80/inbox"),
    ])
    known.redis_client.lpush("queue:push", "{broken")
    code, found = rehearse(known, "--sample", "10", ALLOWED_PRIVATE_ADDRESSES="127.1.0.0/16")
    assert code == 0, found["problems"]
    by_host = fates(found)
    assert by_host.pop("http://[broken", None) or by_host.pop("[broken", None) == "retry", by_host
    assert by_host == {
        "ok-1.fedi.test": "deliver", "ok-2.fedi.test": "deliver", "ok-3.fedi.test": "skip",
        "ActivityPub::DeliveryWorker": "hand off", "ActivityPub::DistributionWorker": "hand off",
        "nx-1.fedi.test": "retry", "ok-7.fedi.test": "retry", "127.0.0.1": "drop", None: "dead",
    }
    assert found["summary"]["looked_at"] == 10 and found["summary"]["deliver"] == 2
    shares = {entry["class"]: (entry["native"], entry["handed_off"]) for entry in found["classes"]}
    assert shares["ActivityPub::DistributionWorker"] == (0, 1)
    assert shares["ActivityPub::DeliveryWorker"] == (7, 1)


def test_pull_is_looked_at_where_it_is_consumed(known):
    low = dict(delivery(1, known.fediverse.inbox("ok-1")), **{"class": "ActivityPub::LowPriorityDeliveryWorker"})
    other = {"class": "LinkCrawlWorker", "args": [1]}
    push(known.redis, [dict(job, queue="pull") for job in (low, other)])
    assert rehearse(known, "--sample", "1")[1]["summary"]["seen"] == 0
    taken = {"FEDPUSH_QUEUES": "push,pull", "FEDPUSH_HANDOFF_QUEUE_PULL": "pull_ruby"}
    code, found = rehearse(known, "--sample", "2", **taken)
    assert [(job["source"], job["fate"]) for job in found["jobs"]] == [("pull", "deliver"), ("pull", "hand off")]
    assert code == 1 and "-q pull_ruby" in found["problems"][0]["text"], found["problems"]
    sidekiq_process(known, ["default", "pull_ruby"])
    assert rehearse(known, "--sample", "2", **taken)[0] == 0


def test_the_request_is_the_one_that_would_be_sent(known):
    job = delivery(1, known.fediverse.inbox("ok-1", "/users/x/inbox"), options={"synchronize_followers": True})
    push(known.redis, [job])
    inbox = job["args"][2]
    followers = [f"{prefix_of(inbox)}/users/{n}" for n in range(3)]
    follow(known, 1, followers + ["https://elsewhere.test/users/1"])
    code, found = rehearse(known, "--sample", "1")
    shown = found["jobs"][0]
    fields = dict(line.split(": ", 1) for line in shown["request"][1:])
    assert code == 0 and shown["fate"] == "deliver" and shown["signature_holds"] is True
    assert shown["rfc9421_signature_holds"] is True
    assert shown["request"][0] == "POST /users/x/inbox HTTP/1.1"
    assert fields["Host"] == f"ok-1.fedi.test:{known.fediverse.port}"
    assert fields["Collection-Synchronization"] == expected(followers, inbox, "users/alice", "alice")
    assert "collection-synchronization" in fields["Signature"]
    assert fields["Content-Length"] == str(len(job["args"][0].encode()))
    assert f'keyId="https://{DOMAIN}/users/alice#main-key"' in fields["Signature"]
    assert fields["Signature"].endswith('..."'), "not one that could be used"
    assert shown["addresses"].startswith("127.1.")


def test_settings_that_spare_a_header_or_a_scheme(known):
    push(known.redis, [delivery(1, known.fediverse.inbox("ok-1"), options={"synchronize_followers": True})])
    code, found = rehearse(known, "--sample", "1", FEDPUSH_DOUBLE_KNOCK="false", DISABLE_FOLLOWERS_SYNCHRONIZATION="true")
    shown = found["jobs"][0]
    assert code == 0 and shown["fate"] == "deliver", found["problems"]
    assert shown["signature_holds"] and not shown["rfc9421_signature_holds"]
    assert not any("Collection-Synchronization" in line for line in shown["request"])


def test_keys_of_4_7(world, mastodon):  # noqa: F811
    mastodon("4.7.0")
    introduce(world)
    sealed, = seal([world.keys.private[1]])
    public, = world.query("SELECT public_key FROM accounts WHERE id = 1")[0]
    move_key(world, 1, sealed)
    world.query("UPDATE keypairs SET public_key = %s", public)
    inboxes = [world.fediverse.inbox(f"ok-{i}") for i in range(2)]
    follow(world, 2, [f"{prefix_of(inboxes[1])}/users/1"])
    push(world.redis, [delivery(i, inboxes[i], account=1 + i, options={"synchronize_followers": True}) for i in range(2)])
    code, found = rehearse(world, "--sample", "2", **ENCRYPTION)
    assert code == 0 and found["problems"] == [], found["problems"]
    for shown in found["jobs"]:
        assert shown["fate"] == "deliver" and shown["signature_holds"] and shown["rfc9421_signature_holds"], shown
        assert any(line.startswith("Collection-Synchronization: ") for line in shown["request"])
        assert any(line.startswith("User-Agent: Mastodon/4.7.0 ") for line in shown["request"])
    done = fedpush(world, "rehearse", "--sample", "2")  # without what opens the moved key
    assert done.returncode == 1 and "account 1: its key in keypairs is encrypted" in lines(done, "FAIL")["key"], done.stdout
    assert "2 looked at: 1 would be delivered" in done.stdout
    # A public key that is another's is found in `keypairs`, too.
    world.query("UPDATE keypairs SET public_key = (SELECT public_key FROM accounts WHERE id = 2)")
    code, found = rehearse(world, "--sample", "2", **ENCRYPTION)
    assert code == 1 and "account 1 doesn't hold" in found["problems"][0]["text"], found["problems"]


def test_followers_that_cannot_be_counted_are_a_problem(known):
    push(known.redis, [delivery(1, known.fediverse.inbox("ok-1"), options={"synchronize_followers": True})])
    known.query("ALTER TABLE follows RENAME TO gone")
    try:
        done = fedpush(known, "rehearse", "--sample", "1")
    finally:
        known.query("ALTER TABLE gone RENAME TO follows")
    assert done.returncode == 1 and "Collection-Synchronization" in lines(done, "FAIL")["followers"], done.stdout


def test_pairs_are_made_up_where_nothing_waits(known):
    code, found = rehearse(known, "--sample", "8")
    assert code == 0 and found["summary"]["seen"] == 0, found["problems"]
    assert [job["source"] for job in found["jobs"]] == ["pair"] * 8
    assert {job["account_id"] for job in found["jobs"]} == {1, 2}
    assert len({job["host"] for job in found["jobs"]}) == 8
    assert all(job["fate"] == "deliver" and job["signature_holds"] for job in found["jobs"])
    done = fedpush(known, "rehearse", "--sample", "3")
    assert done.returncode == 0 and "3 looked at: 3 would be delivered" in done.stdout, done.stdout
    assert "Nothing is wrong" in done.stdout and done.stdout.count("POST /inbox HTTP/1.1") == 3


def test_a_key_that_is_not_its_public_key_is_found(known):
    other = subprocess.run(["openssl", "genrsa", "-traditional", "2048"], capture_output=True, check=True).stdout
    known.query("UPDATE accounts SET private_key = %s WHERE id = 1", other.decode())
    known.query("UPDATE accounts SET private_key = NULL WHERE id = 2")
    push(known.redis, [delivery(i, known.fediverse.inbox(f"ok-{i}"), account=1 + i % 2) for i in range(4)])
    code, found = rehearse(known, "--sample", "4")
    texts = sorted(problem["text"] for problem in found["problems"])
    assert code == 1 and [problem["subject"] for problem in found["problems"]] == ["key", "key"], texts
    assert "account 1 doesn't hold with its public key" in texts[1] and "account 2: " in texts[0]
    assert found["summary"]["broken"] == 4


def test_what_is_wrong_here_is_a_problem_with_a_remedy(known):
    push(known.redis, [delivery(1, known.fediverse.inbox("ok-1"))])
    known.redis_client.delete("ruby:1:aaaaaaaaaaaa")
    done = fedpush(known, "rehearse", FEDPUSH_RESOLVERS=f"127.0.0.1:{free_port()}")
    failed = lines(done, "FAIL")
    assert done.returncode == 1 and set(failed) == {"DNS", "hand-off"}, done.stdout
    assert "FEDPUSH_RESOLVERS" in failed["DNS"] and "-q default" in failed["hand-off"]
    done = fedpush(known, "rehearse", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert done.returncode == 69 and "Redis" in done.stderr and done.stdout == ""
    done = fedpush(known, "rehearse", DATABASE_URL=known.postgres.url(known.database, free_port()))
    assert done.returncode == 1 and "PostgreSQL" in lines(done, "FAIL"), done.stdout


def test_watching_sees_jobs_once_as_they_pass(known):
    stop = threading.Event()
    jobs = [delivery(i, known.fediverse.inbox(f"ok-{i % 20}")) for i in range(30)]
    jobs += [{"class": "Web::PushNotificationWorker", "args": [i, i]} for i in range(10)]
    push(known.redis, jobs)
    payloads = known.redis_client.lrange("queue:push", 0, -1)
    known.redis_client.delete("queue:push")

    def ruby():
        """A worker that takes jobs right after they were looked at."""
        for at in range(0, len(payloads), 8):
            looked = commands.names.count("lrange")
            known.redis_client.lpush("queue:push", *payloads[at : at + 8])
            while commands.names.count("lrange") < looked + 2:  # one may have been on its way
                if stop.wait(0.02):
                    return
            known.redis_client.ltrim("queue:push", 1, 0)

    thread = threading.Thread(target=ruby)
    with Commands(known.redis) as commands:
        thread.start()
        code, found = rehearse(known, "--sample", "5", "--watch", "5")
        stop.set()
        thread.join()
    assert code == 0, found["problems"]
    assert commands.asked - READING <= {"lpush", "ltrim"}
    shares = {entry["class"]: (entry["native"], entry["handed_off"]) for entry in found["classes"]}
    assert sum(map(sum, shares.values())) == found["summary"]["seen"] <= 40
    assert shares["ActivityPub::DeliveryWorker"][1] == 0 and shares["Web::PushNotificationWorker"][0] == 0
    assert found["summary"]["seen"] >= 20 and found["summary"]["looked_at"] == 5


def test_what_is_not_understood_is_refused(known):
    for words in (["--sample"], ["--sample", "0"], ["--sample", "501"], ["--watch", "x"], ["x"]):
        done = fedpush(known, "rehearse", *words)
        assert done.returncode == 64 and "rehearse" in done.stderr
