"""fedpush as a process of each Sidekiq that Mastodon has had since 4.2: four machines at once, each in a
Redis database of its own, are given the same jobs in their version's form, and what they leave in
Redis is read as that version reads it."""

import copy
import json
import re
import time

import pytest
import redis
from jobs import DELIVERY, activity, unsettled
from machine import Machine, fedpush
from servers import wait_for

VERSIONS = ["6.5.12", "7.3.9", "8.0.9", "8.1.6"]
LOW = "ActivityPub::LowPriorityDeliveryWorker"
SLOW_MS = 8000
LIMITS_MS = [20, 30, 45, 65, 100, 150, 225, 335, 500, 750, 1100, 1700, 2500, 3800, 5750, 8500, 13000, 20000,
             30000, 45000, 65000, 100000, 150000, 225000, 335000]


class Numbered:
    """One database of the world's Redis."""

    certificate = None

    def __init__(self, server, number):
        self.url = server.url.removesuffix("/0") + f"/{number}"
        self.client = redis.Redis.from_url(self.url)


class Site:
    """One Mastodon with its Sidekiq's version: its Redis, its machine, its jobs."""

    def __init__(self, world, folder, number, version):
        self.version = version
        self.eight = version.startswith("8")
        self.beat_s = 5 if version.startswith("6") else 10
        self.world = copy.copy(world)
        self.world.redis = Numbered(world.redis, number)
        self.client = self.world.redis_client = self.world.redis.client
        self.machine = Machine(self.world, f"{folder}/{version}", FEDPUSH_SIDEKIQ_VERSION=version,
                               FEDPUSH_WORKERS=1, FEDPUSH_CONCURRENCY=40)
        self.pushed = {}
        self.beats = []
        self.works = {}
        self.sets = {}  # `retry` and `dead` with scores, when all has failed that fails

    def now(self, eight=None):
        now = time.time()
        return int(now * 1000) if (self.eight if eight is None else eight) else now

    def push(self, jid, host, name=DELIVERY, **more):
        """As this version's client writes it; None takes a member out."""
        job = {"retry": 16, "queue": "push", "dead": False,
               "args": [activity(jid), 1, self.world.fediverse.inbox(host)], "class": name, "jid": jid,
               "tags": ["é/<x>"], "created_at": self.now(), "enqueued_at": self.now()}
        job.update(more)
        job = {key: value for key, value in job.items() if value is not None}
        self.pushed[jid] = json.dumps(job, separators=(",", ":"), ensure_ascii=False)
        self.client.lpush("queue:push", self.pushed[jid])

    def push_all(self):
        self.push("first", "status503-1")
        self.push("again", "status503-1", retry_count=1, error_message="old", error_class="Old",
                  failed_at=self.now(not self.eight))  # as the other form of Sidekiq wrote it
        self.push("norun", "status503-1", retry=0, dead=None)
        self.push("never", "status503-1", retry=False, dead=None)
        self.push("quiet", "status503-1", retry_count=15, failed_at=self.now())
        self.push("class", "status503-1", name=LOW, retry=None, dead=None, retry_count=7, failed_at=self.now())
        self.push("limit", "status503-1", retry=True, dead=None, retry_count=24, failed_at=self.now())
        self.push("other", "status503-1", retry_queue="mailers")
        self.push("until", "ok-2", retry_for=3600)
        self.push("trace", "ok-2", backtrace=True)
        for i in range(3):
            self.push(f"fine{i}", f"ok-{i}")
        self.scheduled = f'{{"class":"Other","args":[],"queue":"mailers","jid":"due","created_at":{self.now()}}}'
        self.client.zadd("schedule", {self.scheduled: time.time()})

    def watch(self):
        """Notes each beat and what is shown as being at work. True when there is nothing more to see."""
        identity = self.machine.identity()
        beat = float(self.client.hget(identity, "beat") or 0)
        if beat and beat not in self.beats:
            self.beats.append(beat)
        self.works.update(self.client.hgetall(f"{identity}:work"))
        if not self.sets and self.client.zcard("retry") >= 3 and self.client.zcard("dead") >= 3:
            self.sets = {key: self.client.zrange(key, 0, -1, withscores=True) for key in ("retry", "dead")}
            for entry, score in self.sets["retry"]:  # so that nothing falls due before the end
                self.client.zadd("retry", {entry: score + 3600}, xx=True)
        if "slow" not in self.pushed and len(self.beats) == 2 and time.time() > beat + (6 if self.beat_s > 5 else 1):
            self.push("slow", f"slow{SLOW_MS}-1")  # it will be at work when the next beat comes
        return (self.sets and len(self.beats) >= 3 and "slow" in self.pushed and unsettled(self.world) == 0
                and self.client.llen("queue:mailers") == 1)

    def entry(self, key, jid):
        """(score, bytes) of a job in a sorted set."""
        found = [(score, entry.decode()) for entry, score in self.sets[key] if json.loads(entry)["jid"] == jid]
        assert len(found) == 1, (key, jid, found)
        return found[0]


@pytest.fixture(scope="module")
def sites(shared_world, tmp_path_factory):
    world = shared_world
    world.reset()
    folder = tmp_path_factory.mktemp("sites")
    assert fedpush(world, "setup").returncode == 0
    made = [Site(world, folder, 1 + i, version) for i, version in enumerate(VERSIONS)]
    for site in made:
        site.began = time.time()
        site.machine.start(ready=False)
    for site in made:
        site.machine.wait_ready()
        site.push_all()

    wait_for(lambda: all([site.watch() for site in made]), 120,
             lambda: str([(unsettled(site.world), site.beats, site.sets) for site in made]), every=0.2)
    for site in made:
        site.shown = site.client.hgetall(site.machine.identity())
        site.identity = site.machine.identity()
        site.machine.process.terminate()
    for site in made:
        assert site.machine.process.wait(60) == 0
        site.machine.check_log()
        site.machine.process, site.ended = None, time.time()
    yield {site.version: site for site in made}
    for site in made:
        if site.machine.process is not None:
            site.machine.stop()


@pytest.fixture(params=VERSIONS)
def site(sites, request):
    return sites[request.param]


def is_time(site, text, eight=None):
    """Whether this JSON number is a time of this test, in the form of Sidekiq 8 or of those before."""
    eight = site.eight if eight is None else eight
    if eight != bool(re.fullmatch(r"\d+", text)) or not eight and not re.fullmatch(r"\d+\.\d{1,6}", text):
        return False
    return site.began - 1 < float(text) / (1000 if eight else 1) < site.ended + 1


def test_a_first_failure_is_written_as_its_version_writes_it(site):
    score, entry = site.entry("retry", "first")
    head = site.pushed["first"][:-1]
    assert entry.startswith(head + ',"error_message":"'), "the job's own bytes stay, the new members follow"
    added = re.fullmatch(
        r',"error_message":"[^"]*returned code 503","error_class":"Mastodon::UnexpectedResponseError"'
        r',"failed_at":([\d.]+),"retry_count":0}', entry[len(head):])
    assert added, entry
    assert is_time(site, added[1])
    failed_at_s = json.loads(entry)["failed_at"] / (1000 if site.eight else 1)
    assert 14.9 < score - failed_at_s < 25, "15 s and Sidekiq's jitter of at most 9 s"
    assert score * 1000 % 1 != 0, "microseconds, so that no two entries are taken for one"


def test_a_second_failure_keeps_what_another_version_wrote(site):
    score, entry = site.entry("retry", "again")
    before, after = json.loads(site.pushed["again"]), json.loads(entry)
    assert list(after) == list(before) + ["retried_at"]
    failed_at = re.search(r'"failed_at":[\d.]+', site.pushed["again"])[0]
    assert failed_at in entry and after["retry_count"] == 2
    assert is_time(site, re.search(r'"retried_at":([\d.]+)', entry)[1])
    retried_at_s = after["retried_at"] / (1000 if site.eight else 1)
    assert 30.9 < score - retried_at_s < 31 + 7 + 30, "2⁴ + 15 and both jitters"
    if not site.eight:
        assert any(abs(score - retried_at_s - delay - 3 * n) < 0.01 for delay in range(31, 39) for n in range(10))


def test_who_dies_and_who_vanishes(site):
    """What Sidekiq's options say: retry false and dead false leave nothing, anything else a dead entry."""
    dead, retried = ({json.loads(entry)["jid"] for entry, _ in site.sets[key]} for key in ("dead", "retry"))
    assert dead == {"norun", "class", "limit"}
    assert retried == {"first", "again", "other"}
    assert site.client.zcard("schedule") == 0 and site.client.llen("queue:push") == 0
    scores = [score for _, score in site.sets["dead"]]
    assert len(set(scores)) == 3, "the Web UI finds an entry by its score"
    assert all(site.began < score < site.ended for score in scores)
    score, entry = site.entry("dead", "norun")
    assert json.loads(entry)["retry_count"] == 0 and json.loads(entry)["error_class"]
    _, entry = site.entry("dead", "limit")
    assert json.loads(entry)["retry_count"] == 25


def test_the_queue_of_retries_is_obeyed(site):
    _, entry = site.entry("retry", "other")
    assert json.loads(entry)["queue"] == "mailers"
    assert list(json.loads(entry))[1] == "queue", "replaced where it stands"


def test_what_only_ruby_knows_is_handed_off_byte_for_byte(site):
    waiting = [entry.decode() for entry in site.client.lrange("queue:default", 0, -1)]
    assert sorted(waiting) == sorted([site.pushed["until"], site.pushed["trace"]])
    assert b"default" in site.client.smembers("queues")


def test_what_falls_due_for_others_is_enqueued_as_by_its_poller(site):
    pushed = site.client.lindex("queue:mailers", 0).decode()
    added = re.fullmatch(re.escape(site.scheduled[:-1]) + r',"enqueued_at":([\d.]+)}', pushed)
    assert added and is_time(site, added[1]), pushed
    assert b"mailers" in site.client.smembers("queues")


def test_the_process_is_shown_to_every_version(site):
    assert {b"info", b"concurrency", b"busy", b"beat", b"rtt_us", b"quiet", b"rss"} == set(site.shown)
    info = json.loads(site.shown[b"info"])
    hostname, pid, nonce = site.identity.rsplit(":", 2)
    assert (info["hostname"], info["pid"]) == (hostname, int(pid)) and re.fullmatch("[0-9a-f]{12}", nonce)
    assert site.began - 1 < info["started_at"] < site.ended and isinstance(info["started_at"], float)
    assert info["identity"] == site.identity and info["version"] == site.version
    # 6.5 to 8.0 read it from info, 8.1 from the hash.
    assert info["concurrency"] == 40 and site.shown[b"concurrency"] == b"40"
    assert info["queues"] == ["push"] and info["weights"] == [{"push": 0}]
    assert info["capsules"] == {"default": {"concurrency": 40, "mode": "strict", "weights": {"push": 0}}}
    assert (info["tag"], info["labels"], info["embedded"]) == ("fedpush", ["fedpush"], False)
    assert site.shown[b"quiet"] == b"false" and int(site.shown[b"rss"]) > 1000 and int(site.shown[b"rtt_us"]) > 0


def test_it_beats_as_often_as_its_version(site):
    """The first beat is the joining's; from then on they are regular."""
    apart = [after - before for before, after in zip(site.beats[1:], site.beats[2:])]
    assert apart and all(abs(seconds - site.beat_s) < 2.5 for seconds in apart), site.beats


def test_jobs_at_work_are_shown_as_they_stand(site):
    works = [json.loads(work) for work in site.works.values()]
    slow = [work for work in works if json.loads(work["payload"])["jid"] == "slow"]
    assert len(slow) == 1, works
    assert slow[0]["payload"] == site.pushed["slow"] and slow[0]["queue"] == "push"
    assert isinstance(slow[0]["run_at"], int) and site.began - 1 <= slow[0]["run_at"] <= site.ended


def test_each_execution_is_counted(site):
    assert site.client.get("stat:processed") == b"12" and site.client.get("stat:failed") == b"8"
    days = {time.strftime("%Y-%m-%d", time.gmtime(at)) for at in (site.began, site.ended)}
    for name, expected in (("processed", 12), ("failed", 8)):
        found = {key.decode(): int(site.client.get(key)) for key in site.client.scan_iter(f"stat:{name}:*")}
        assert set(found) <= {f"stat:{name}:{day}" for day in days} and sum(found.values()) == expected
        assert all(157679000 < site.client.ttl(key) <= 157680000 for key in found)


def test_it_leaves_the_list_when_it_ends(site):
    assert site.client.scard("processes") == 0 and not site.client.exists(f"{site.identity}:work")


def minute_keys(version, at, name):
    """(hash, histogram) of a minute, as Sidekiq::Metrics::Query of this version names them."""
    utc = time.gmtime(at)
    if version.startswith("7"):
        return (time.strftime("j|%Y%m%d|", utc) + f"{utc.tm_hour}:{utc.tm_min}",
                f"{name}-" + time.strftime("%d-%H:", utc) + f"{utc.tm_min}")
    return (time.strftime("j|%y%m%d|", utc) + f"{utc.tm_hour}:{utc.tm_min:02}",
            f"h|{name}-{utc.tm_mday}-{utc.tm_hour}:{utc.tm_min}")


def read_metrics(site, name):
    """Totals and histogram of a class over the test's minutes."""
    totals, slots = {}, [0] * 26
    for minute in range(int(site.began) // 60, int(site.ended) // 60 + 1):
        totals_key, histogram_key = minute_keys(site.version, minute * 60, name)
        for field, value in site.client.hgetall(totals_key).items():
            klass, what = field.decode().split("|")
            if klass == name:
                totals[what] = totals.get(what, 0) + int(value)
        asked = [word for slot in range(26) for word in ("GET", "u16", f"#{slot}")]
        found = site.client.execute_command("BITFIELD_RO", histogram_key, *asked)
        slots = [a + b for a, b in zip(slots, found)]
    return totals, slots


def test_the_metrics_page_finds_runs_failures_and_times(site):
    if site.version.startswith("6"):
        assert list(site.client.scan_iter("j|*")) == [] and list(site.client.scan_iter("*-*-*:*")) == []
        return
    totals, slots = read_metrics(site, DELIVERY)
    assert (totals["p"], totals["f"]) == (11, 7) and SLOW_MS <= totals["ms"] < SLOW_MS + 30000
    assert sum(slots) == 4 and sum(slots[LIMITS_MS.index(8500):]) >= 1, "the slow one, and three that are fast"
    totals, slots = read_metrics(site, LOW)
    assert totals == {"p": 1, "f": 1} and sum(slots) == 0, "failures have no time"
    if site.eight:
        hours = {key.decode(): site.client.hgetall(key) for key in site.client.scan_iter("j|*")
                 if re.fullmatch(r"j\|\d{6}\|\d{1,2}:\d", key.decode())}
        assert sum(int(found.get(f"{DELIVERY}|p".encode(), 0)) for found in hours.values()) == 11
