"""What becomes of a job in each Mastodon: the first rows of the first table, in the order of the facts about
Mastodon's delivery (§1 to §3). rows_request.py goes on."""

import re
import time

from conformance import Differs, NotHere, Table, since, unit
from jobs import DELIVERY
from mastodons import CACHE_KEY, FOLLOWERS, MISSING, RELEASES, Job
from test_classes import INBOX, LOW, PUSH
from test_followers import expected as synchronization

DELIVERIES = Table("Mastodon", RELEASES)
row = DELIVERIES.row
NOT_YET = NotHere("not in this version")
SYNC = {"synchronize_followers": True}


def by(*steps):
    return since(RELEASES, *steps)


def in_all(value):
    return by(("4.2", value))


# ---- §1 queues and classes ----

CLASS_SINCE = {"QuoteRequestWorker": "4.5", "FeatureRequestWorker": "4.6", "CollectionRawDistributionWorker": "4.6"}


def class_rows():
    """Each class of `push` that needs Ruby; of those with two forms, and of deliveries, elsewhere."""
    seen = {DELIVERY, "Nobody::KnowsThisWorker"}
    for name, args, options in PUSH:
        if name in seen:
            continue
        seen.add(name)
        short = name.split("::")[-1]
        first = CLASS_SINCE.get(short, "4.2")
        at = f"class-{name.replace('::', '-')}"
        args = ["http://ok-any.fedi.test/inbox" if arg is INBOX else arg for arg in args]
        only = [release for release in RELEASES if release >= first]
        job = Job(at, args=args, only=only, **{"class": name, "dead": None, **options})

        def handed_off(mastodon, expected, at=at):
            assert mastodon.handed[at] == mastodon.pushed[at]

        expected = in_all("") if first == "4.2" else by(("4.2", NOT_YET), (first, ""))
        row("§1.2", f"`{name}` is Ruby's: handed off byte for byte", expected, [job])(handed_off)


class_rows()


@row("§1.2", "a class that nobody knows, too",
     jobs=[Job("unknown", args=[1], **{"class": "Nobody::KnowsThisWorker"})])
def _(mastodon):
    assert mastodon.handed["unknown"] == mastodon.pushed["unknown"]


@row("§1.3", "`LowPriorityDeliveryWorker` is delivered", jobs=[Job("low", **{"class": LOW, "retry": 8})])
def _(mastodon):
    assert len(mastodon.received("low")) == 1 and mastodon.outcome("low") == "gone"


ARGUMENTS = [None, {}, {"synchronize_followers": False}, {"bypass_availability": True},
             {"bypass_availability": False, "synchronize_followers": False}]


@row("§1.4", "three arguments, or four with options",
     jobs=[Job(f"args{i}", options=options) for i, options in enumerate(ARGUMENTS)])
def _(mastodon):
    assert all(len(mastodon.received(f"args{i}")) == 1 for i in range(len(ARGUMENTS)))


@row("§1.4", "times of either unit are read",
     jobs=[Job("units", created_at=lambda mastodon: mastodon.now(not mastodon.eight), retry_count=0)])
def _(mastodon):
    assert len(mastodon.received("units")) == 1


# ---- §2 the worker ----


@row("§2.1", "an unavailable host: the job ends, nothing is written", jobs=[Job("away", days=3, gone=True)])
def _(mastodon):
    assert mastodon.received("away") == [] and mastodon.outcome("away") == "gone"
    assert mastodon.effect("ok-away") == "kept" and "ok-away.fedi.test" in mastodon.unavailable()


@row("§2.1", "`bypass_availability` delivers, and makes the host available",
     by(("4.2", Differs("4.2 has no such option; obeyed where it stands")), ("4.3", "")),
     [Job("bypass", options={"bypass_availability": True}, days=3, gone=True)])
def _(mastodon, expected):
    assert len(mastodon.received("bypass")) == 1 and mastodon.outcome("bypass") == "gone"
    assert mastodon.effect("ok-bypass") == "cleared" and "ok-bypass.fedi.test" not in mastodon.unavailable()


@row("§2.1", "a sender that is missing: tried again, nothing is tracked",
     jobs=[Job("missing", account=MISSING, days=1)])
def _(mastodon):
    assert mastodon.error("missing")[0] == "ActiveRecord::RecordNotFound"
    assert mastodon.effect("ok-missing") == "kept" and mastodon.received("missing") == []


DONE, AGAIN = ("gone", "cleared"), ("retry", "added")
FINAL = by(("4.2", DONE), ("4.6", ("gone", "kept")))


def status_rows():
    """The outcome matrix: what becomes of the job, and of its host's days of failure."""
    words = {DONE: "done, a success for the tracker", AGAIN: "tried again, a failure of the day"}
    for statuses, expected in [
        ((200, 201, 202, 204, 299), in_all(DONE)),
        ((400, 402, 403, 404, 405, 406, 409, 410, 413, 415, 422, 451, 499, 501), FINAL),
        ((304, 401, 408, 429, 500, 502, 503, 504, 505, 599), in_all(AGAIN)),
    ]:
        for status in statuses:
            host = f"status{status}-matrix"

            def check(mastodon, expected, status=status, host=host):
                assert (mastodon.outcome(f"matrix{status}"), mastodon.effect(host)) == expected
                if expected[0] == "retry":
                    name, message = mastodon.error(f"matrix{status}")
                    assert name == "Mastodon::UnexpectedResponseError"
                    assert message == f"{mastodon.inbox(mastodon.jobs[f'matrix{status}'])} returned code {status}"

            text = words.get(expected["4.7"], "done; a success for the tracker, from 4.6 on neither")
            row("§2.2", f"{status}: {text}", expected, [Job(f"matrix{status}", host, days=1)])(check)


status_rows()


@row("§2.2", "Retry-After is ignored", jobs=[Job("later", "later9999-x")])
def _(mastodon):
    score, _ = mastodon.booked["retry"]["later"]
    assert score < time.time() + 60


GONE = by(("4.2", AGAIN), ("4.3", DONE), ("4.6", ("gone", "kept")))


@row("§2.2, §7", "401 to a sender that is gone for ever is final (from 4.3.8 on)", GONE,
     [Job("gone401", "status401-gone", account=3, days=1)])
def _(mastodon, expected):
    assert (mastodon.outcome("gone401"), mastodon.effect("status401-gone")) == expected


@row("§7", "not while its deletion is only asked for", jobs=[Job("going401", "status401-going", account=4, days=1)])
def _(mastodon):
    assert (mastodon.outcome("going401"), mastodon.effect("status401-going")) == AGAIN


@row("§7", "a sender with `requested_deletion_at` is gone, too", by(("4.2", NOT_YET), ("4.7", ("gone", "kept"))),
     [Job("flagged401", "status401-flagged", account=5, days=1)])
def _(mastodon, expected):
    assert (mastodon.outcome("flagged401"), mastodon.effect("status401-flagged")) == expected


@row("§7", "the instance actor never is", jobs=[Job("actor401", "status401-actor", account=-99, days=1)])
def _(mastodon):
    assert (mastodon.outcome("actor401"), mastodon.effect("status401-actor")) == AGAIN


def transport_rows():
    for host, error, words in [
        ("refused-t", "HTTP::ConnectionError", "a refused connection"),
        ("nx-t", "HTTP::ConnectionError", "no such name"),
        ("hole-t", "HTTP::TimeoutError", "a connection without answer"),
        ("close-t", "HTTP::ConnectionError", "a connection that ends without answer"),
    ]:

        def check(mastodon, host=host, error=error):
            assert (mastodon.outcome(host), mastodon.effect(host)) == AGAIN
            name, message = mastodon.error(host)
            assert name == error and message.endswith(f" on {mastodon.inbox(mastodon.jobs[host])}")

        row("§2.3", f"{words}: `{error}`, tried again, a failure of the day", jobs=[Job(host, host, days=1)])(check)


transport_rows()


@row("§2.3, §4.6", "a certificate of another name: `OpenSSL::SSL::SSLError`",
     jobs=[Job("tls", inbox="https://127.1.0.9:{tls_port}/{at}")])
def _(mastodon):
    assert mastodon.error("tls")[0] == "OpenSSL::SSL::SSLError" and mastodon.days("127.1.0.9")


@row("§2.3, §4.7", "a private address is refused: done, a failure of the day",
     jobs=[Job("private", inbox="http://10.1.2.3/{at}")])
def _(mastodon):
    assert mastodon.outcome("private") == "gone" and len(mastodon.days("10.1.2.3")) == 1


@row("§2.3, §4.7", "a hidden service without permission: done, a failure of the day",
     jobs=[Job("onion", inbox="http://abc.onion/{at}"), Job("i2p", inbox="http://abc.i2p/{at}")])
def _(mastodon):
    for name in ("onion", "i2p"):
        assert mastodon.outcome(name) == "gone" and len(mastodon.days(f"abc.{name}")) == 1


@row("§2.4", "exhausted after 16 retries: gone, not `dead`; the failure counts",
     jobs=[Job("run16", "status503-run16", retry_count=14), Job("run17", "status503-run17", days=1, retry_count=15)])
def _(mastodon):
    assert mastodon.outcome("run16") == "retry"
    assert (mastodon.outcome("run17"), mastodon.effect("status503-run17")) == ("gone", "added")


@row("§2.4, §2.8", "of low priority after 8",
     jobs=[Job("low8", "status503-low8", retry=8, retry_count=6, **{"class": LOW}),
      Job("low9", "status503-low9", retry=8, retry_count=7, **{"class": LOW})])
def _(mastodon):
    assert (mastodon.outcome("low8"), mastodon.outcome("low9")) == ("retry", "gone")


COUNTS = [0, 1, 2, 3, 5, 8, 12]


@row("§2.4", "delay: n⁴ + 15, up to half of n⁴ more, and Sidekiq's jitter",
     jobs=[Job(f"delay{n}", f"status503-delay{n}", retry_count=n - 1 if n > 0 else None,
          failed_at=(lambda mastodon: mastodon.now()) if n > 0 else None) for n in COUNTS])
def _(mastodon):
    for n in COUNTS:
        score, entry = mastodon.booked["retry"][f"delay{n}"]
        failed_s = float(re.findall(r'"(?:failed|retried)_at":([\d.]+)', entry)[-1]) / (1000 if mastodon.eight else 1)
        assert n**4 + 15 - 0.1 < score - failed_s < n**4 + 15 + n**4 // 2 + 10 * (n + 1), n


@row("§2.5", "the breaker's keys in Redis are left alone")
def _(mastodon):
    assert list(mastodon.client.scan_iter("stoplight*")) == []


def sync_value(mastodon, name, account):
    inbox = mastodon.inbox(mastodon.jobs[name])
    username, numbered = {1: ("alice", False), 2: ("bob", mastodon.release >= "4.5")}[account]
    uris = [mastodon.world.fediverse.inbox("ok-sync", f"/{user}") for user in FOLLOWERS[account]]
    return synchronization(uris, inbox, f"ap/users/{account}" if numbered else f"users/{username}", username)


@row("§2.6", "Collection-Synchronization of an account by name", jobs=[Job("sync1", "ok-sync", options=SYNC)])
def _(mastodon):
    assert mastodon.head("sync1")["Collection-Synchronization"] == sync_value(mastodon, "sync1", 1)


@row("§2.6", "of one with numeric URIs: collectionId since 4.5, `url` by name",
     jobs=[Job("sync2", "ok-sync", account=2, options=SYNC)])
def _(mastodon):
    assert mastodon.head("sync2")["Collection-Synchronization"] == sync_value(mastodon, "sync2", 2)


@row("§2.6", "without followers at that server: zeros", jobs=[Job("sync0", "ok-lonely", options=SYNC)])
def _(mastodon):
    assert f'digest="{"0" * 64}"' in mastodon.head("sync0")["Collection-Synchronization"]


@row("§2.6", "none unless it is asked for")
def _(mastodon):
    assert not any("Collection-Synchronization" in mastodon.head(f"args{i}") for i in range(len(ARGUMENTS)))


@row("§2.6, §6.4", "none with `DISABLE_FOLLOWERS_SYNCHRONIZATION`")
def _(mastodon):
    assert "Collection-Synchronization" not in mastodon.switched.head("unsynced")


row("§2.6", "the digest's known answers")(
    unit("test_synchronization", "the_digest_is_the_xor_of_every_uri", "a_prefix_is_taken_as_it_stands",
         "patterns_match_only_what_they_say"))


@row("§2.7", "a job with `sign_with` is handed off: no key leaves the signer",
     jobs=[Job("withkey", options={"sign_with": "-----BEGIN RSA PRIVATE KEY-----"})])
def _(mastodon):
    assert mastodon.handed["withkey"] == mastodon.pushed["withkey"]
    assert "PRIVATE KEY" not in mastodon.machine.log()


@row("§2.7", "options that are not known", in_all(Differs("handed off to Ruby, which ignores them")),
     [Job("newer", options={"later": True})])
def _(mastodon, expected):
    assert mastodon.handed["newer"] == mastodon.pushed["newer"]


@row("§2.9", "an inbox that is no URL: tried again, nothing is tracked",
     jobs=[Job("nourl", inbox="http://[::1/{at}")])
def _(mastodon):
    assert mastodon.error("nourl")[0] == "Addressable::URI::InvalidURIError"
    assert list(mastodon.client.scan_iter("exhausted_deliveries:*::1*")) == []


# ---- §3 the failure tracker ----


@row("§3.1", "the seventh day makes a host unavailable, the sixth doesn't",
     jobs=[Job("six", "status503-six", days=5), Job("seven", "status503-seven", days=6)])
def _(mastodon):
    assert (mastodon.effect("status503-six"), mastodon.effect("status503-seven")) == ("added", "added")
    found = mastodon.unavailable()
    assert "status503-seven.fedi.test" in found and "status503-six.fedi.test" not in found


@row("§3.1", "a host that is in the list already stays there once",
     jobs=[Job("eight", "status503-eight", days=8, gone=True, options={"bypass_availability": True})])
def _(mastodon):
    assert mastodon.effect("status503-eight") == "added" and mastodon.outcome("eight") == "retry"
    assert "status503-eight.fedi.test" in mastodon.unavailable()


@row("§3.1", "the days have no end of their own")
def _(mastodon):
    assert mastodon.client.ttl("exhausted_deliveries:status503-six.fedi.test") == -1


@row("§3.2", "a changed list is taken out of Rails' cache")
def _(mastodon):
    assert not mastodon.client.exists(CACHE_KEY)


@row("§3.3", "the tracker's host: lower case, without port, ASCII",
     jobs=[Job("upper", "status503-upper", inbox="http://STATUS503-Upper.fedi.test:{port}/{at}", days=2),
      Job("ascii", "fass", inbox="http://fa\u00df.fedi.test:{port}/{at}", days=2)])
def _(mastodon):
    assert (mastodon.effect("status503-upper"), mastodon.effect("fass")) == ("added", "cleared")


row("§3.3", "the other forms of a host")(unit("test_url", "tracker_hosts_are_those_of_mastodon"))
