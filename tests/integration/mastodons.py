"""One Mastodon of each release, side by side: each has a Redis database, a PostgreSQL database with its
columns, and a fedpush. All are given the same jobs, in the form of their Sidekiq."""

import copy
import json
import time

import redis
from jobs import DELIVERY, activity
from machine import DOMAIN, Machine
from test_followers import follow
from test_keys import ENCRYPTION, seal
from world import ACCOUNTS, VERSIONS

RELEASES = list(VERSIONS)
SIDEKIQS = {"4.2": "6.5", "4.3": "6.5", "4.4": "7.3", "4.5": "8.0", "4.6": "8.1", "4.7": "8.1"}
SLOW_MS = 8000
FUTURE_S = 3600
CACHE_KEY = "cache:unavailable_domains"
FOLLOWERS = {1: ["users/a", "users/b"], 2: ["users/c"]}  # of account, at ok-sync

# id, username and what else is set. The instance actor is suspended, too, which means nothing for it.
SENDERS = [
    (3, "gone", {"suspended_at": "now()"}),
    (4, "going", {"suspended_at": "now()"}),  # has asked for its deletion
    (5, "flagged", {"requested_deletion_at": "now()"}),  # 4.7
    (6, "keyless", {"private_key": "NULL"}),
    (8, "unnumbered", {"id_scheme": "NULL"}),  # 4.5
    (9, "paired", {"private_key": "NULL"}),  # 4.7: of its keypairs one is usable
    (10, "old", {"private_key": "NULL"}),  # 4.7: its keypair is sealed as an earlier Rails did
]
SINCE = {"requested_deletion_at": "4.7", "id_scheme": "4.5"}
MISSING = 7


class Numbered:
    """One database of the world's Redis."""

    certificate = None

    def __init__(self, server, number):
        self.url = server.url.removesuffix("/0") + f"/{number}"
        self.client = redis.Redis.from_url(self.url)


class Job:
    """What is pushed for a row. `days`: so many days of failure are on record for its host, `gone`: it is
    unavailable; `verified`: its host verifies what it gets. `fields` are members of the job; None takes one
    out, a function makes what depends on the Mastodon."""

    def __init__(self, name, host=None, account=1, options=None, path="", tls=False, inbox=None, args=None,
                 days=0, gone=False, verified=False, only=RELEASES, **fields):
        self.name, self.account, self.options, self.path, self.tls = name, account, options, path, tls
        self.host = host or f"ok-{name}"
        self.inbox, self.args, self.fields = inbox, args, fields
        self.days, self.gone, self.verified, self.only = days, gone, verified, only


SPACE = "masto"
# What is pushed to the second fedpush of each.
SWITCHED = [
    Job("unsynced", "ok-sync", options={"synchronize_followers": True}), Job("oneknock", "rfc-once"),
    Job("onion", inbox="http://abc.onion/{at}"), Job("spaced", "status503-spaced", days=6),
]


def switches(release):
    """The settings of the second fedpush of each release."""
    space = {"REDIS_NAMESPACE": SPACE} if release < "4.4" else {}
    return {"DISABLE_FOLLOWERS_SYNCHRONIZATION": "true", "FEDPUSH_DOUBLE_KNOCK": "false",
            "ALLOW_ACCESS_TO_HIDDEN_SERVICE": "true", **space}


def fill_database(world, release, sealed):
    """The senders, their keys and followers. `sealed`: the key of account 1, encrypted with either digest."""
    key = world.keys.private[1]
    for account, username, more in SENDERS:
        told = {"private_key": f"'{key}'", **({"id_scheme": "0"} if release >= "4.5" else {})}
        if release < "4.7" and account in (9, 10):
            more = {}  # their keys have not moved yet
        told.update({name: value for name, value in more.items() if release >= SINCE.get(name, "4.2")})
        world.query(f"INSERT INTO accounts (id, username, created_at, updated_at, {', '.join(told)})"
                    f" VALUES (%s, %s, now(), now(), {', '.join(told.values())})", account, username)
    world.query("UPDATE accounts SET suspended_at = now() WHERE id = -99")
    world.query("INSERT INTO account_deletion_requests (account_id, created_at, updated_at) VALUES (4, now(), now())")
    world.query("CREATE TABLE IF NOT EXISTS domain_blocks (domain varchar, severity integer)")
    world.query("INSERT INTO domain_blocks VALUES ('ok-blocked.fedi.test', 1)")
    for account, users in FOLLOWERS.items():
        follow(world, account, [world.fediverse.inbox("ok-sync", f"/{user}") for user in users])
    if release == "4.6":  # where only keys of remote actors stand there
        world.query("INSERT INTO keypairs (account_id, uri, private_key, public_key, type, created_at, updated_at)"
                    " VALUES (1, 'https://x.test/key', 'rubbish', '', 0, now(), now())")
    if release == "4.7":
        fill_keypairs(world, *sealed)


def fill_keypairs(world, with_sha256, with_sha1):
    expired = "now() AT TIME ZONE 'utc' - interval '1 second'"
    for account, fragment, key, kind, revoked, expires in [
        (9, "#ed25519-0", "rubbish", 1, False, "NULL"),
        (9, "#revoked", "rubbish", 0, True, "NULL"),
        (9, "#expired", "rubbish", 0, False, expired),
        (9, "#rsa-0123456789abcdef", with_sha256, 0, False, "NULL"),
        (9, "#later", "rubbish", 0, False, "NULL"),
        (10, "#main-key", with_sha1, 0, False, "NULL"),
    ]:
        world.query("INSERT INTO keypairs (account_id, local_fragment, private_key, public_key, type, revoked,"
                    f" expires_at, created_at, updated_at) VALUES (%s, %s, %s, '', %s, %s, {expires}, now(), now())",
                    account, fragment, key, kind, revoked)


class Mastodon:
    def __init__(self, world, folder, number, release, **settings):
        space = settings.get("REDIS_NAMESPACE")
        self.space = f"{space}:" if space else ""
        self.release, self.sidekiq = release, SIDEKIQS[release]
        self.eight = self.sidekiq >= "8"  # its times are integers of milliseconds
        self.world = copy.copy(world)
        self.world.use(release)
        self.world.redis = Numbered(world.redis, number)
        self.client = self.world.redis_client = self.world.redis.client
        self.version = self.world.version
        self.machine = Machine(self.world, f"{folder}/{release}", FEDPUSH_WORKERS=1, FEDPUSH_CONCURRENCY=40,
                               FEDPUSH_DRAIN_SECONDS=1, FEDPUSH_MAX_IN_FLIGHT=8, **ENCRYPTION, **settings)
        self.jobs = {}  # name -> Job
        self.pushed = {}  # name -> bytes
        self.booked = {"retry": {}, "dead": {}}  # name -> (score, bytes), as it was written first
        self.beats = []
        self.works = {}
        self.quiet = None  # as shown, once it has been told to be
        self.all_pushed = False  # what rows ask for
        self.told = False  # to end
        self.began = time.time()
        self.switched = None  # the same Mastodon with other settings

    # ---- what is there before, and is pushed ----

    def now(self, eight=None):
        now = time.time()
        return int(now * 1000) if (self.eight if eight is None else eight) else now

    def inbox(self, job):
        if job.inbox is not None:
            return job.inbox.format(port=self.world.fediverse.port, tls_port=self.world.fediverse.tls_port,
                                    at=f"{self.release}/{job.name}")
        return self.world.fediverse.inbox(job.host, f"/{self.release}/{job.name}{job.path}", job.tls)

    def text(self, job):
        """The job as this Mastodon's Sidekiq writes it."""
        args = job.args or [activity(job.name), job.account, self.inbox(job)]
        args = args + ([] if job.options is None else [job.options])
        fields = {"retry": 16, "queue": "push", "dead": False, "args": args, "class": DELIVERY, "jid": job.name,
                  "tags": ["é/<x>"], "created_at": self.now(), "enqueued_at": self.now()}
        fields.update({name: value(self) if callable(value) else value for name, value in job.fields.items()})
        fields = {name: value for name, value in fields.items() if value is not None}
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)

    def prepare(self, job):
        if job.days:
            self.client.sadd(f"{self.space}exhausted_deliveries:{job.host}.fedi.test",
                             *(f"2020010{day + 1}" for day in range(job.days)))
        if job.gone:
            self.world.query("INSERT INTO unavailable_domains (domain, created_at, updated_at)"
                             " VALUES (%s, now(), now())", f"{job.host}.fedi.test")

    def push(self, jobs):
        """All at once, the first to be served first."""
        jobs = [job for job in jobs if self.release in job.only]
        for job in jobs:
            assert job.name not in self.jobs, job.name
            self.prepare(job)
            self.jobs[job.name], self.pushed[job.name] = job, self.text(job)
        with self.client.pipeline() as pipeline:
            pipeline.sadd(f"{self.space}queues", "push")
            for job in jobs:
                pipeline.lpush(f"{self.space}queue:push", self.pushed[job.name])
            pipeline.execute()

    # ---- what is left ----

    def note_booked(self):
        """Notes what was written into `retry` and `dead`, and keeps it from falling due."""
        for key, found in self.booked.items():
            for entry, score in self.client.zrangebyscore(self.space + key, self.began, "+inf", withscores=True):
                try:
                    name = json.loads(entry)["jid"]
                except ValueError:
                    name = entry.decode()
                if name in found:
                    continue
                found[name] = (score, entry.decode())
                if key == "retry":
                    self.client.zadd(self.space + key, {entry: score + FUTURE_S}, xx=True)

    def held(self):
        """Names of the jobs that are in the queue or claimed."""
        payloads = self.client.lrange(f"{self.space}queue:push", 0, -1)
        for key in self.client.scan_iter(f"{self.space}fedpush:wait:*"):
            payloads += self.client.lrange(key, 0, -1)
        for key in self.client.scan_iter(f"{self.space}fedpush:claimed:*"):
            claims = self.client.hgetall(key)
            payloads += [value.split(b"\n", 1)[1] for field, value in claims.items() if field != b"seq"]
        return {json.loads(payload)["jid"] if payload.endswith(b"}") else payload.decode() for payload in payloads}

    def days(self, host):
        """Those on record for a host of the fediverse, by its first label, or for any other."""
        name = host if "." in host else f"{host}.fedi.test"
        return {day.decode() for day in self.client.smembers(f"{self.space}exhausted_deliveries:{name}")}

    def unavailable(self):
        return {domain for domain, in self.world.query("SELECT domain FROM unavailable_domains")}

    def snapshot(self, requests):
        """When all has been decided. `requests`: what the hosts saw."""
        self.note_booked()
        self.requests = [one for one in requests if one["url"].startswith(f"/{self.release}/")]
        handed = {key: [entry.decode() for entry in self.client.lrange(key, 0, -1)]
                  for key in ("queue:default", "queue:mailers")}
        self.handed = {json.loads(entry)["jid"]: entry for entry in handed["queue:default"]}
        self.mailers = handed["queue:mailers"]

    def received(self, name):
        """The requests of a job, oldest first, each with its headers in a dictionary."""
        at = f"/{self.release}/{name}"
        found = [one for one in self.requests if one["url"].split("?")[0] in (at, f"{at}/moved")]
        return [{**one, "head": dict(zip(one["headers"][::2], one["headers"][1::2]))} for one in found]

    def head(self, name):
        """The headers of a job's only request."""
        found = self.received(name)
        assert len(found) == 1, found
        return found[0]["head"]

    def outcome(self, name):
        places = [place for place, found in (("retry", self.booked["retry"]), ("dead", self.booked["dead"]),
                                             ("handed off", self.handed)) if name in found]
        assert len(places) <= 1 and name in self.pushed, (name, places)
        return places[0] if places else "gone"

    def effect(self, host):
        """What became of the days of failure on record for a host."""
        job = next(job for job in self.jobs.values() if job.host == host)
        before = {f"2020010{day + 1}" for day in range(job.days)}
        days = self.days(host)
        today = {time.strftime("%Y%m%d", time.gmtime(at)) for at in (self.began, time.time())}
        if days == before:
            return "kept"
        if not days:
            return "cleared"
        assert days > before and days - before <= today, (host, days)
        return "added"

    def error(self, name):
        entry = json.loads(self.booked["retry"][name][1])
        return entry["error_class"], entry["error_message"]


def make_all(world, folder, numbers, settings=lambda release: {}):
    """One of each release. `numbers`: of their Redis databases."""
    return [Mastodon(world, f"{folder}/{number}", number, release, **settings(release))
            for number, release in zip(numbers, RELEASES)]


def fill_databases(world, made):
    sealed = [seal([world.keys.private[1]], digest)[0] for digest in ("sha256", "sha1")]
    world.fediverse.learn({f"https://{DOMAIN}/users/{username}{fragment}": world.keys.public[
        f"https://{DOMAIN}/{ACCOUNTS[0][3]}#main-key"]
        for _, username, _ in SENDERS for fragment in ("#main-key", "#rsa-0123456789abcdef")})
    for mastodon in made:
        fill_database(mastodon.world, mastodon.release, sealed)
