"""Where each Mastodon keeps its private keys, and that deliveries follow them."""

import json
import os
import re
import subprocess
import threading

import pytest
from jobs import account_at_rest, delivery, push, wait_settled
from machine import DOMAIN, fedpush
from servers import FEDIVERSE, HERE, node, wait_for
from test_cli import lines, sidekiq_process
from test_deliver import push_raw, raw
from world import ACCOUNTS, VERSIONS, Keys, insert_accounts, schema_of

PRIMARY_KEY, SALT = "Vx9hM2kQ7pLr4tYw8zBc3nFg6jKd1sQa", "aZ5rT8uI2oP4eW7qL9mN6bV3cX1kJ0hG"
ENCRYPTION = {
    "ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY": PRIMARY_KEY,
    "ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY": "unused",
    "ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT": SALT,
}
NAMED = [f"https://{DOMAIN}/users/alice", f"https://{DOMAIN}/users/bob", f"https://{DOMAIN}/actor"]
NUMBERED = [f"https://{DOMAIN}/users/alice", f"https://{DOMAIN}/ap/users/2", f"https://{DOMAIN}/actor"]
SENDERS = [account for account, *_ in ACCOUNTS]

with open(os.path.join(HERE, "migrate-4.7.sql")) as file:
    TO_4_7 = file.read()

# Mastodon's version -> its actors' URIs
RELEASES = {version: NAMED if release < "4.5" else NUMBERED for release, version in VERSIONS.items()}


def seal(texts, digest="sha256"):
    """As Rails would have encrypted them."""
    told = {"primary_key": PRIMARY_KEY, "salt": SALT, "digest": digest, "texts": texts}
    done = subprocess.run([node(), os.path.join(FEDIVERSE, "seal.js")], input=json.dumps(told),
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture
def mastodon(world):
    """Makes a Mastodon of one release, with the accounts' keys in `accounts`."""

    def make(version):
        world.version, world.database = version, f"keys_{version}"
        world.postgres.create_database(world.database, schema_of(version[:3]))
        insert_accounts(world.query, world.keys, with_scheme=version[:3] >= "4.5")

    yield make
    world.postgres.query("postgres", f'DROP DATABASE IF EXISTS "{world.database}" WITH (FORCE)')


def add_keypair(world, account, sealed, fragment, kind=0, revoked=False, expires="NULL"):
    world.query(
        "INSERT INTO keypairs (account_id, local_fragment, private_key, public_key, type, revoked, expires_at,"
        f" created_at, updated_at) VALUES (%s, %s, %s, '', %s, %s, {expires}, now(), now())",
        account, fragment, sealed, kind, revoked)


def move_key(world, account, sealed):
    """What Mastodon 4.7's last migration does for each account."""
    add_keypair(world, account, sealed, "#main-key")
    world.query("UPDATE accounts SET private_key = NULL, public_key = '' WHERE id = %s", account)


def key_ids(world):
    """The key ids that came, of each request."""
    heads = [dict(zip(one["headers"][::2], one["headers"][1::2])) for one in world.fediverse.counts()["requests"]]
    return [re.match(r'keyId="([^"]*)"', head["Signature"]).group(1) for head in heads]


def deliver_one_each(world):
    push(world.redis, [delivery(i, world.fediverse.inbox(f"ok-{i}"), account=SENDERS[i]) for i in range(3)])
    wait_settled(world)


@pytest.mark.parametrize("version", RELEASES)
def test_every_release_signs_with_its_keys_and_key_ids(world, machines, mastodon, version):
    mastodon(version)
    machines(FEDPUSH_WORKERS=1, **ENCRYPTION)
    deliver_one_each(world)
    assert sorted(key_ids(world)) == sorted(f"{uri}#main-key" for uri in RELEASES[version])
    assert world.fediverse.summary()["failures"] == []


def test_keypairs_of_4_7_are_chosen_as_mastodon_chooses(world, machines, mastodon):
    mastodon("4.7.0")
    of_alice, of_bob = seal([world.keys.private[1], world.keys.private[2]])
    of_actor, = seal([world.keys.private[-99]], "sha1")  # as an earlier Rails did
    add_keypair(world, 1, "rubbish", "#ed25519-0", kind=1)
    add_keypair(world, 1, "rubbish", "#revoked", revoked=True)
    add_keypair(world, 1, "rubbish", "#expired", expires="now() AT TIME ZONE 'utc' - interval '1 second'")
    add_keypair(world, 1, of_alice, "#rsa-0123456789abcdef")
    add_keypair(world, 1, "rubbish", "#later")
    add_keypair(world, 2, of_bob, "#main-key")
    add_keypair(world, -99, of_actor, "#main-key")
    world.query("UPDATE accounts SET private_key = NULL")
    world.fediverse.learn({f"{NAMED[0]}#rsa-0123456789abcdef": world.keys.public[f"{NAMED[0]}#main-key"]})
    machines(FEDPUSH_WORKERS=1, **ENCRYPTION)
    deliver_one_each(world)
    assert sorted(key_ids(world)) == sorted(
        [f"{NUMBERED[0]}#rsa-0123456789abcdef", f"{NUMBERED[1]}#main-key", f"{NUMBERED[2]}#main-key"])
    assert world.fediverse.summary()["failures"] == []


class Producer(threading.Thread):
    """Pushes jobs of these accounts, a few at a time, until it is stopped."""

    def __init__(self, world, senders):
        super().__init__(daemon=True)
        self.world, self.senders, self.jobs, self.ended = world, senders, [], threading.Event()

    def run(self):
        while not self.ended.is_set():
            first = len(self.jobs)
            senders = self.senders
            batch = [
                delivery(i, self.world.fediverse.inbox(f"ok-{i % 20}"), account=senders[i % len(senders)])
                for i in range(first, first + 15)
            ]
            push(self.world.redis, batch)
            self.jobs += batch

    def wait_for_more(self, count=15):
        goal = len(self.jobs) + count
        wait_for(lambda: len(self.jobs) >= goal, 60, "more jobs are pushed")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


def test_mastodon_becomes_4_7_under_a_running_fedpush(world, machines, mastodon):
    mastodon("4.6.5")
    machine = machines(**ENCRYPTION)
    with Producer(world, [1]) as producer:
        producer.wait_for_more()
        world.query(TO_4_7)
        producer.wait_for_more()
        sealed = dict(zip(SENDERS, seal([world.keys.private[account] for account in SENDERS])))
        move_key(world, 2, sealed[2])
        producer.senders = [1, 2]  # the signer, which knows the tables of 4.6, finds no key for it at first
        producer.wait_for_more(30)
        move_key(world, 1, sealed[1])
        producer.wait_for_more()
        machine.signal("signer", 9)  # the next one finds a key in either place
        producer.senders = SENDERS
        producer.wait_for_more(30)
        move_key(world, -99, sealed[-99])
        producer.wait_for_more()
    wait_settled(world)
    account = account_at_rest(world, producer.jobs)
    assert account.lost == [] and account.places == {"delivered": len(producer.jobs)}
    summary = world.fediverse.summary()
    assert summary["failures"] == [] and sum(summary["verified"].values()) == summary["posts"]
    assert world.redis_client.zcard("retry") == 0
    assert list(world.redis_client.scan_iter("exhausted_deliveries:*")) == []


def verified(world):
    """How many signatures were found right, and how many wrong."""
    summary = world.fediverse.summary()
    return sum(summary["verified"].values()), len(summary["failures"])


def test_a_key_that_was_replaced_is_used_right_after_a_401(world, machine):
    fresh = Keys()
    inbox = world.fediverse.inbox("ok-1")
    push(world.redis, [delivery(0, inbox)])
    wait_settled(world)
    assert world.fediverse.summary()["failures"] == []
    world.query("UPDATE accounts SET private_key = %s WHERE id = 1", fresh.private[1])
    world.fediverse.learn({f"{NAMED[0]}#main-key": fresh.public[f"{NAMED[0]}#main-key"]})

    def delivered():
        accepted, refused = verified(world)
        push_raw(world, raw(accepted + refused, inbox))
        now = wait_for(lambda: sum(verified(world)) > accepted + refused and verified(world), 30, "it is verified")
        return now[0] > accepted

    wait_for(delivered, 25, "the new key is used", every=0.2)  # the refresh would take up to half a minute


def test_without_the_encryption_keys_deliveries_wait_and_it_is_said(world, machines, mastodon):
    mastodon("4.7.0")
    sealed, = seal([world.keys.private[1]])
    move_key(world, 1, sealed)
    machine = machines(FEDPUSH_WORKERS=1)
    sidekiq_process(world, ["default"])
    push(world.redis, [delivery(0, world.fediverse.inbox("ok-0")), delivery(1, world.fediverse.inbox("ok-1"), 2)])
    wait_for(lambda: world.fediverse.summary()["posts"] == 1, 30, "what needs no encryption goes on")
    wait_for(lambda: "set ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY" in machine.log(), 30, "it is said")
    failed = lines(fedpush(world, "check"), "FAIL")
    assert list(failed) == ["encryption"] and "ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT" in failed["encryption"]
    assert lines(fedpush(world, "check", **ENCRYPTION), "FAIL") == {}
    machine.stop()
    assert world.redis_client.llen("queue:push") == 1
    assert list(world.redis_client.scan_iter("exhausted_deliveries:*")) == []
    machines(FEDPUSH_WORKERS=1, **ENCRYPTION)
    wait_settled(world)
    assert world.fediverse.summary()["posts"] == 2 and world.fediverse.summary()["failures"] == []


def test_the_deliver_command_reads_keypairs_too(world, mastodon, tmp_path):
    mastodon("4.7.0")
    sealed, = seal([world.keys.private[2]])
    move_key(world, 2, sealed)
    (tmp_path / "activity").write_text("{}")
    words = ["deliver", "--account", "bob", "--inbox", world.fediverse.inbox("ok-1"), str(tmp_path / "activity")]
    done = fedpush(world, *words, "--send", **ENCRYPTION)
    assert done.returncode == 0, done.stderr
    assert f'keyId="{NUMBERED[1]}#main-key"' in done.stdout and world.fediverse.summary()["failures"] == []
    done = fedpush(world, *words)
    assert done.returncode == 1 and "set ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY" in done.stderr
