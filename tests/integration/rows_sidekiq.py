"""fedpush as a process of each Sidekiq: the rows of the second table, in the order of the facts about
Sidekiq's protocol. What fedpush leaves in Redis is read as that version reads it."""

import json
import re
import time

from conformance import NotHere, Table, since, unit
from jobs import DELIVERY
from mastodons import SIDEKIQS, SLOW_MS, SPACE, Job
from test_classes import LOCK, LOW

COLUMNS = ["6.5", "7.3", "8.0", "8.1"]
PROCESSES = Table("Sidekiq", COLUMNS)
row = PROCESSES.row
MALFORMED = '{"class":"ActivityPub::DeliveryWorker","args":['
FILLERS = 10000
LIMITS_MS = [20, 30, 45, 65, 100, 150, 225, 335, 500, 750, 1100, 1700, 2500, 3800, 5750, 8500, 13000, 20000,
             30000, 45000, 65000, 100000, 150000, 225000, 335000]


def by(*steps):
    return since(COLUMNS, *steps)


def is_time(mastodon, text, eight=None):
    """Whether this JSON number is a time of this test, in the form of Sidekiq 8 or of those before."""
    eight = mastodon.eight if eight is None else eight
    if eight != bool(re.fullmatch(r"\d+", text)) or not eight and not re.fullmatch(r"\d+\.\d{1,6}", text):
        return False
    return mastodon.began - 1 < float(text) / (1000 if eight else 1) < time.time() + 1


def seconds(mastodon, time_of_job):
    return time_of_job / (1000 if mastodon.eight else 1)


# ---- §1 to §3 the job, and taking it ----

INTEGER_MS = by(("6.5", False), ("8.0", True))


@row("§1.1", "times that are written: seconds with a fraction, from 8 on integer milliseconds", INTEGER_MS,
     [Job("first", "status503-first")])
def _(mastodon, expected):
    found = re.search(r'"failed_at":([\d.]+)', mastodon.booked["retry"]["first"][1])
    assert is_time(mastodon, found[1], expected)


@row("§2", "what falls due is pushed: SADD, LPUSH, a fresh enqueued_at in the version's unit", INTEGER_MS)
def _(mastodon, expected):
    added = re.fullmatch(re.escape(mastodon.scheduled[:-1]) + r',"enqueued_at":([\d.]+)}', mastodon.mailers[0])
    assert added and is_time(mastodon, added[1], expected), mastodon.mailers
    assert b"mailers" in mastodon.client.smembers("queues")


@row("§3", "a job that is no JSON goes to `dead` as it stands")
def _(mastodon):
    assert MALFORMED in mastodon.booked["dead"]


@row("§3, §15", "private lists are in no set of queues, nor named like one")
def _(mastodon):
    assert mastodon.client.smembers("queues") == {b"push", b"default", b"mailers"}
    assert {key.decode() for key in mastodon.client.scan_iter("queue:*")} <= {
        "queue:push", "queue:default", "queue:mailers"}


# ---- §4 failures ----


@row("§4.1", "the new members follow the job's own bytes, in Sidekiq's order")
def _(mastodon):
    _, entry = mastodon.booked["retry"]["first"]
    head = mastodon.pushed["first"][:-1]
    assert entry.startswith(head)
    assert re.fullmatch(r',"error_message":"[^"]*returned code 503","error_class":"Mastodon::UnexpectedResponseError"'
                        r',"failed_at":[\d.]+,"retry_count":0}', entry[len(head):]), entry


@row("§4.1, §9", "failed_at stays as another version wrote it; retried_at is new, retry_count one more",
     jobs=[Job("again", "status503-again", retry_count=1, error_message="old", error_class="Old",
          failed_at=lambda mastodon: mastodon.now(not mastodon.eight))])
def _(mastodon):
    _, entry = mastodon.booked["retry"]["again"]
    before, after = json.loads(mastodon.pushed["again"]), json.loads(entry)
    assert list(after) == list(before) + ["retried_at"] and after["retry_count"] == 2
    assert re.search(r'"failed_at":[\d.]+', mastodon.pushed["again"])[0] in entry
    assert is_time(mastodon, re.search(r'"retried_at":([\d.]+)', entry)[1])
    assert after["error_class"] == "Mastodon::UnexpectedResponseError"


@row("§4.1", "`retry_queue` is where it is tried again",
     jobs=[Job("other", "status503-other", retry_queue="mailers")])
def _(mastodon):
    after = json.loads(mastodon.booked["retry"]["other"][1])
    assert after["queue"] == "mailers" and list(after)[1] == "queue", "replaced where it stands"


@row("§4.1", "`retry` false leaves nothing", jobs=[Job("never", "status503-never", retry=False, dead=None)])
def _(mastodon):
    assert mastodon.outcome("never") == "gone" and len(mastodon.received("never")) == 1


@row("§4.1", "`retry` 0 dies after one run", jobs=[Job("norun", "status503-norun", retry=0, dead=None)])
def _(mastodon):
    entry = json.loads(mastodon.booked["dead"]["norun"][1])
    assert entry["retry_count"] == 0 and entry["error_class"] == "Mastodon::UnexpectedResponseError"


@row("§4.1", "`retry` true: 25 retries, then it dies",
     jobs=[Job("run25", "status503-run25", retry=True, dead=None, retry_count=23),
      Job("run26", "status503-run26", retry=True, dead=None, retry_count=24)])
def _(mastodon):
    assert mastodon.outcome("run25") == "retry"
    assert json.loads(mastodon.booked["dead"]["run26"][1])["retry_count"] == 25


@row("§4.1", "without `retry` the class decides",
     jobs=[Job("class8", "status503-class8", retry=None, dead=None, retry_count=6, **{"class": LOW}),
      Job("class9", "status503-class9", retry=None, dead=None, retry_count=7, **{"class": LOW})])
def _(mastodon):
    assert (mastodon.outcome("class8"), mastodon.outcome("class9")) == ("retry", "dead")


@row("§4.1", "`retry_for` and `backtrace` are left to Ruby",
     jobs=[Job("until", retry_for=3600), Job("trace", backtrace=True)])
def _(mastodon):
    assert all(mastodon.handed[name] == mastodon.pushed[name] for name in ("until", "trace"))


JITTERED = range(12)


@row("§4.2", "jitter of a delay: tenths of 10·(n+1), from 8 on any second below that", by(("6.5", 2), ("8.0", 1)),
     [Job(f"jitter{i}", f"status503-jitter{i}", retry_count=0, failed_at=lambda mastodon: mastodon.now())
      for i in JITTERED])
def _(mastodon, expected):
    for i in JITTERED:
        score, entry = mastodon.booked["retry"][f"jitter{i}"]
        # A delay of n⁴ + 15 for n = 1; the time of the failure is the entry's own.
        jitter_s = score - seconds(mastodon, json.loads(entry)["retried_at"]) - 16
        whole = round(jitter_s)
        assert abs(jitter_s - whole) < 0.01, jitter_s
        assert 0 <= whole < 20 and whole % expected == 0


row("§4.2, §4.4", "delays at their least and greatest")(
    unit("test_retry", "the_least_delay_is_the_formula_without_jitter", "the_greatest_delay_before_sidekiq_8",
         "the_greatest_delay_from_sidekiq_8_on", "jitter_before_sidekiq_8_is_a_multiple_of_the_runs"))


@row("§4.1, §13", "scores are floats of microseconds: no two entries alike")
def _(mastodon):
    for found in mastodon.booked.values():
        scores = [score for score, _ in found.values()]
        assert len(set(scores)) == len(scores) and any(score * 1000 % 1 for score in scores)


row("§4.5", "the poller's interval by the number of processes")(
    unit("test_poller", "the_interval_grows_with_the_processes"))


@row("§4.6", "`dead` is trimmed: at most 9,999, none older than 180 days")
def _(mastodon):
    assert mastodon.client.zcard("dead") == FILLERS - 1
    oldest = mastodon.client.zrange("dead", 0, 0, withscores=True)[0][1]
    assert oldest > time.time() - 181 * 86400 and mastodon.client.zscore("dead", "filler-ancient") is None


# ---- §5 the process ----


@row("§5.1", "identity: host, pid, twelve hexadecimal digits")
def _(mastodon):
    hostname, pid, nonce = mastodon.identity.rsplit(":", 2)
    assert (mastodon.info["hostname"], mastodon.info["pid"]) == (hostname, int(pid))
    assert re.fullmatch("[0-9a-f]{12}", nonce)


@row("§5.2", "seconds between two beats", by(("6.5", 5), ("7.3", 10)))
def _(mastodon, expected):
    apart = [after - before for before, after in zip(mastodon.beats[1:], mastodon.beats[2:])]
    # On a busy machine one may be late, or pass unseen.
    assert any(abs(between - expected) < 2.5 for between in apart), mastodon.beats
    assert min(apart) > 0.55 * expected, mastodon.beats


@row("§5.2", "it expires after 60 s without a beat")
def _(mastodon):
    assert 40 < mastodon.ttl <= 60


INFO = by(("6.5", ["hostname", "started_at", "pid", "tag", "concurrency", "queues", "labels", "identity"]),
          ("7.3", ["hostname", "started_at", "pid", "tag", "concurrency", "queues", "weights", "labels", "identity",
                   "version", "embedded"]),
          ("8.0", ["hostname", "started_at", "pid", "tag", "concurrency", "capsules", "queues", "weights", "labels",
                   "identity", "version", "embedded"]),
          ("8.1", ["hostname", "started_at", "pid", "tag", "capsules", "queues", "weights", "labels", "identity",
                   "version", "embedded"]))


@row("§5.3", "`info` has what this version reads", INFO)
def _(mastodon, expected):
    info = mastodon.info
    assert set(expected) <= set(info)
    assert isinstance(info["started_at"], float) and mastodon.began - 1 < info["started_at"] < time.time()
    assert info["queues"] == ["push"] and info["labels"] == ["fedpush"] and info["tag"] == "fedpush"
    assert info["weights"] == [{"push": 0}] and info["identity"] == mastodon.identity and info["embedded"] is False
    assert info["capsules"] == {"default": {"concurrency": 40, "mode": "strict", "weights": {"push": 0}}}


@row("§5.3", "the fields of its hash")
def _(mastodon):
    assert set(mastodon.shown) == {b"info", b"concurrency", b"busy", b"beat", b"rtt_us", b"quiet", b"rss"}
    assert int(mastodon.shown[b"rss"]) > 1000 and int(mastodon.shown[b"rtt_us"]) > 0
    assert int(mastodon.shown[b"busy"]) >= 0 and mastodon.shown[b"quiet"] == b"false"


@row("§5.3", "its threads, where this version reads them", by(("6.5", "info"), ("8.1", "hash")))
def _(mastodon, expected):
    assert mastodon.info["concurrency"] == 40 if expected == "info" else mastodon.shown[b"concurrency"] == b"40"


@row("§5.4", "jobs at work: queue, the job's bytes as a string, seconds as an integer")
def _(mastodon):
    works = [json.loads(work) for work in mastodon.works.values()]
    slow = [work for work in works if json.loads(work["payload"])["jid"] == "slow"]
    assert len(slow) == 1 and slow[0]["payload"] == mastodon.pushed["slow"] and slow[0]["queue"] == "push"
    assert isinstance(slow[0]["run_at"], int) and mastodon.began - 1 <= slow[0]["run_at"] <= time.time()


@row("§5.5", "it leaves the list when it ends")
def _(mastodon):
    assert mastodon.after["processes"] == 0 and not mastodon.after["work"]


@row("§5.6, §7", "TSTP: quiet is shown, nothing more is taken")
def _(mastodon):
    assert mastodon.quiet == b"true" and mastodon.after["queue"][0] == mastodon.pushed["late"]
    assert mastodon.received("late") == []


row("§5.6", "one order a beat")(unit("test_register", "one_order_a_beat_is_obeyed"))


@row("§7", "TERM: it ends; what is at work goes back with its own bytes, to be served first")
def _(mastodon):
    assert mastodon.after["code"] == 0
    assert mastodon.after["queue"] == [mastodon.pushed["late"], mastodon.pushed["hang"]]


# ---- §6 statistics and metrics ----


def ran(mastodon, class_name=None):
    """Names of the jobs that were executed here: all but what Ruby has, what waits and what is no job."""
    return [name for name, text in mastodon.pushed.items()
            if name not in mastodon.handed and name not in ("hang", "late")
            and class_name in (None, json.loads(text)["class"])]


DROPPED = {"never", "run17", "low9"}


def failed(mastodon, class_name=None):
    booked = set(mastodon.booked["retry"]) | set(mastodon.booked["dead"]) | DROPPED
    return [name for name in ran(mastodon, class_name) if name in booked]


@row("§6", "each run is counted, in total and by its UTC day, for five years")
def _(mastodon):
    days = {time.strftime("%Y-%m-%d", time.gmtime(at)) for at in (mastodon.began, time.time())}
    for name, jobs in (("processed", ran(mastodon)), ("failed", failed(mastodon))):
        assert int(mastodon.client.get(f"stat:{name}")) == len(jobs)
        found = {key.decode(): int(mastodon.client.get(key)) for key in mastodon.client.scan_iter(f"stat:{name}:*")}
        assert set(found) <= {f"stat:{name}:{day}" for day in days} and sum(found.values()) == len(jobs)
        assert all(157670000 < mastodon.client.ttl(key) <= 157680000 for key in found)


NO_METRICS = NotHere("not in this version: no key is written")


def minute_keys(sidekiq, at, name):
    """(hash, histogram) of a minute, as Sidekiq::Metrics::Query of this version names them."""
    utc = time.gmtime(at)
    if sidekiq == "7.3":
        return (time.strftime("j|%Y%m%d|", utc) + f"{utc.tm_hour}:{utc.tm_min}",
                f"{name}-" + time.strftime("%d-%H:", utc) + f"{utc.tm_min}")
    return (time.strftime("j|%y%m%d|", utc) + f"{utc.tm_hour}:{utc.tm_min:02}",
            f"h|{name}-{utc.tm_mday}-{utc.tm_hour}:{utc.tm_min}")


def read_metrics(mastodon, name):
    """Totals and histogram of a class over the test's minutes, and what their keys still live."""
    totals, slots, lives = {}, [0] * 26, set()
    for minute in range(int(mastodon.began) // 60, int(time.time()) // 60 + 1):
        keys = minute_keys(mastodon.sidekiq, minute * 60, name)
        lives |= {mastodon.client.ttl(key) for key in keys if mastodon.client.exists(key)}
        for field, value in mastodon.client.hgetall(keys[0]).items():
            found, what = field.decode().split("|")
            if found == name:
                totals[what] = totals.get(what, 0) + int(value)
        asked = [word for slot in range(26) for word in ("GET", "u16", f"#{slot}")]
        counted = mastodon.client.execute_command("BITFIELD_RO", keys[1], *asked)
        slots = [a + b for a, b in zip(slots, counted)]
    return totals, slots, lives


@row("§6", "no metrics before 7", by(("6.5", ""), ("7.3", NotHere("has them: next row"))))
def _(mastodon, expected):
    assert list(mastodon.client.scan_iter("j|*")) == [] and list(mastodon.client.scan_iter("*-*-*:*")) == []


@row("§6", "metrics under this version's names: runs, failures, time of successes, for eight hours",
     by(("6.5", NO_METRICS), ("7.3", "")))
def _(mastodon, expected):
    for name in (DELIVERY, LOW):
        totals, slots, lives = read_metrics(mastodon, name)
        runs, failures = len(ran(mastodon, name)), len(failed(mastodon, name))
        assert (totals["p"], totals["f"]) == (runs, failures) and sum(slots) == runs - failures
        assert lives and all(28000 < seconds <= 28800 for seconds in lives)
        if name == DELIVERY:
            assert totals["ms"] >= SLOW_MS and sum(slots[LIMITS_MS.index(8500):]) >= 1, "the slow one"


@row("§6", "the hash of ten minutes, for three days", by(("6.5", NotHere("not in this version")), ("8.0", "")))
def _(mastodon, expected):
    keys = [key for key in mastodon.client.scan_iter("j|*") if re.fullmatch(r"j\|\d{6}\|\d{1,2}:\d", key.decode())]
    assert sum(int(mastodon.client.hget(key, f"{DELIVERY}|p")) for key in keys) == len(ran(mastodon, DELIVERY))
    assert keys and all(250000 < mastodon.client.ttl(key) <= 259200 for key in keys)


# ---- §8 the namespace ----


@row("§8", "under `REDIS_NAMESPACE` every key has the prefix",
     by(("6.5", ""), ("7.3", NotHere("not in this version"))))
def _(mastodon, expected):
    other = mastodon.switched
    assert other.client.exists(f"{SPACE}:retry", f"{SPACE}:queues", f"{SPACE}:stat:processed") == 3
    assert all(key.startswith(f"{SPACE}:".encode()) for key in other.client.keys("*"))


# ---- §11 locks ----


@row("§11", "a job with `lock_digest` is Ruby's, and is retried into the queue that its lock knows",
     jobs=[Job("locked", **LOCK), Job("chosen", retry_queue="elsewhere", **LOCK)])
def _(mastodon):
    assert mastodon.handed["locked"] == mastodon.pushed["locked"][:-1] + ',"retry_queue":"push"}'
    assert mastodon.handed["chosen"] == mastodon.pushed["chosen"]


row("§0", "the Sidekiq that runs is found")(
    unit("test_incumbent", "the_process_that_started_last_decides", "jobs_speak_where_no_process_does",
         "an_upgrade_and_a_rollback_are_followed"))
assert set(SIDEKIQS.values()) == set(COLUMNS)
