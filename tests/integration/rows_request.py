"""What each Mastodon sends, and with whose key: the rows of the first table from §4 of the facts about
Mastodon's delivery on, with those about HTTP signatures where they belong."""

import base64
import calendar
import hashlib
import re
import subprocess
import tempfile
import time

from conformance import Differs, NotHere, unit
from jobs import activity
from machine import DOMAIN, fedpush
from mastodons import CACHE_KEY, SIDEKIQS, SPACE, Job
from rows_delivery import AGAIN, DELIVERIES, DONE, NOT_YET, by, in_all

row = DELIVERIES.row
HTTP = "http://{}.fedi.test:{}"

# ---- §4 the request ----

LATE = ["User-Agent", "Host", "Date", "Accept-Encoding", "Content-Type", "Digest", "Connection", "Signature",
        "Content-Length"]
ORDER = by(("4.2", ["User-Agent", "Host", "Date", "Accept-Encoding", "Digest", "Content-Type", "Signature",
                    "Connection", "Content-Length"]), ("4.7", LATE))


@row("§4.1", "header fields, their order and spelling; no other, no Accept", ORDER, [Job("plain", account=2)])
def _(mastodon, expected):
    assert mastodon.received("plain")[0]["headers"][::2] == expected


@row("§4.1", "HTTP/1.1, never chunked")
def _(mastodon):
    one, = mastodon.received("plain")
    assert one["version"] == "1.1" and one["method"] == "POST"
    assert int(one["head"]["Content-Length"]) == one["body_bytes"] == len(activity("plain").encode())


AGENTS = {
    "4.2": "http.rb/5.1.1 (Mastodon/4.2.29; +https://{}/)", "4.3": "Mastodon/4.3.23 (http.rb/5.2.0; +https://{}/)",
    "4.4": "Mastodon/4.4.22 (http.rb/5.3.1; +https://{}/)", "4.5": "Mastodon/4.5.15 (http.rb/5.3.1; +https://{}/)",
    "4.6": "Mastodon/4.6.5 (http.rb/5.3.1; +https://{}/)", "4.7": "Mastodon/4.7.0 (http.rb/5.3.1; +https://{}/)",
}


@row("§4.1", "User-Agent", AGENTS)
def _(mastodon, expected):
    assert mastodon.head("plain")["User-Agent"] == expected.format(DOMAIN)


row("§4.1", "User-Agent of pre-releases and forks")(
    unit("test_request", "the_agent_is_named_as_by_that_release"))


@row("§4.1", "Content-Type, Accept-Encoding, Connection")
def _(mastodon):
    head = mastodon.head("plain")
    assert (head["Content-Type"], head["Accept-Encoding"], head["Connection"]) == (
        "application/activity+json", "gzip", "Keep-Alive")


@row("§4.1", "Date: in GMT, of now")
def _(mastodon):
    at = calendar.timegm(time.strptime(mastodon.head("plain")["Date"], "%a, %d %b %Y %H:%M:%S GMT"))
    assert mastodon.began - 1 <= at <= time.time()


def digest_of(name):
    return base64.b64encode(hashlib.sha256(activity(name).encode()).digest()).decode()


@row("§4.1", "Digest of the first argument's bytes")
def _(mastodon):
    assert mastodon.head("plain")["Digest"] == f"SHA-256={digest_of('plain')}"


@row("§4.1", "Host with a port that isn't the default", in_all(Differs("with the port, as verifiers demand")))
def _(mastodon, expected):
    assert mastodon.head("plain")["Host"] == f"ok-plain.fedi.test:{mastodon.world.fediverse.port}"


@row("§4.1", "the host in lower case and ASCII, dot segments gone",
     jobs=[Job("host", inbox="http://OK-Host.fedi.test:{port}/x/../{at}"),
           Job("name", inbox="http://bücher.fedi.test:{port}/{at}")])
def _(mastodon):
    assert mastodon.head("host")["Host"].startswith("ok-host.fedi.test:")
    assert mastodon.head("name")["Host"].startswith("xn--bcher-kva.fedi.test:")


@row("§4.1", "unreserved characters that are escaped",
     in_all(Differs("stay escaped, as the inbox's server wrote them")), [Job("escape", path="/%7e", days=0)])
def _(mastodon, expected):
    assert any(one["url"] == f"/{mastodon.release}/escape/%7e" for one in mastodon.requests)


KEY_ID = r'keyId="(?P<key>[^"]+)"'
PARAMETERS = KEY_ID + r',algorithm="rsa-sha256",headers="(?P<names>[^"]+)",signature="(?P<signature>[A-Za-z0-9+/]+=*)"'
ORDERS = by(("4.2", "(request-target) host date digest content-type"),
            ("4.3", "host date digest content-type (request-target)"),
            ("4.7", "host date content-type digest (request-target)"))
SYNC_ORDERS = by(("4.2", "(request-target) host date digest content-type collection-synchronization"),
                 ("4.3", "host date digest content-type collection-synchronization (request-target)"),
                 ("4.7", "host date content-type collection-synchronization digest (request-target)"))


def assert_verifies(mastodon, key_id, text, signature):
    """As a receiver does that knows the actor's key."""
    path = key_id.removeprefix(f"https://{DOMAIN}/").split("#")[0]
    known = mastodon.world.keys.public
    pem = known.get(f"https://{DOMAIN}/{path}#main-key") or known[f"https://{DOMAIN}/users/alice#main-key"]
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/key", "w") as key, open(f"{folder}/signature", "wb") as file:
            key.write(pem)
            file.write(base64.b64decode(signature, validate=True))
        done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", f"{folder}/key", "-signature",
                               f"{folder}/signature"], input=text.encode(), capture_output=True)
    assert done.returncode == 0, (text, done.stdout)


def assert_signed(mastodon, one, target):
    found = re.fullmatch(PARAMETERS, one["head"]["Signature"])
    assert found, one["head"]["Signature"]
    values = {name.lower(): value for name, value in one["head"].items()}
    values["(request-target)"] = f"{one['method'].lower()} {target}"
    text = "\n".join(f"{name}: {values[name]}" for name in found["names"].split(" "))
    assert_verifies(mastodon, found["key"], text, found["signature"])
    return found


@row("§4.2", "Signature: its parameters, the signed fields in their order", ORDERS)
def _(mastodon, expected):
    one, = mastodon.received("plain")
    assert assert_signed(mastodon, one, one["url"])["names"] == expected


@row("§4.2", "with Collection-Synchronization", SYNC_ORDERS)
def _(mastodon, expected):
    one, = mastodon.received("sync1")
    assert assert_signed(mastodon, one, one["url"])["names"] == expected


@row("§4.2", "the query is signed (not in 4.2)", by(("4.2", False), ("4.3", True)), [Job("query", path="?x=1&y")])
def _(mastodon, expected):
    one = mastodon.received("query")[0]
    assert_signed(mastodon, one, one["url"] if expected else one["url"].split("?")[0])


row("§4.2", "signing strings of the facts' known answers")(
    unit("test_cavage", "signing_strings_are_those_of_each_mastodon",
         "synchronization_is_signed_where_mastodon_signs_it"))
row("signatures §1, §10", "published signatures, byte for byte")(
    unit("test_cavage", "published_signatures_come_out_byte_for_byte"))


row("signatures §2, §10", "those after RFC 9421, too")(
    unit("test_rfc9421", "published_signatures_come_out_byte_for_byte",
         "published_bases_give_the_published_signatures"))
row("signatures §1.2", "key ids that parsers split are refused")(
    unit("test_cavage", "key_ids_that_parsers_split_are_refused"))
row("signatures §2.2", "`alg`: none up to RSA-2048, as Mastodon; named for larger keys")(
    unit("test_rfc9421", "the_algorithm_is_named_for_large_keys_only"))


@row("signatures §1.4", "other servers' verifiers accept it (Misskey, PeerTube, Fedify)",
     jobs=[Job(f"verified{i}", account=[1, 2, -99][i % 3], tls=i % 2 == 0, verified=True) for i in range(6)])
def _(mastodon):
    assert all(mastodon.received(f"verified{i}")[0]["verified"] for i in range(6))


KNOCKED = Differs("knocked as 4.7 does, unless FEDPUSH_DOUBLE_KNOCK=false")


@row("§4.3", "after 400 and 401 once more, after RFC 9421; the second answer counts",
     by(("4.2", KNOCKED), ("4.7", "")),
     [Job("knock", "rfc-knock", verified=True), Job("knock400", "status400-knock"), Job("knock403", "status403-knock")])
def _(mastodon, expected):
    first, second = mastodon.received("knock")
    assert "Signature-Input" not in first["head"] and "signature-input" in second["head"]
    assert mastodon.outcome("knock") == "gone" and second["verified"]
    assert (len(mastodon.received("knock400")), len(mastodon.received("knock403"))) == (2, 1)


@row("§4.3", "no memory of what a host takes", in_all(Differs("remembered for a week, so that it costs one request")))
def _(mastodon, expected):
    members = [member.decode() for member in mastodon.client.zrange("fedpush:schemes", 0, -1)]
    host = f"rfc-knock.fedi.test:{mastodon.world.fediverse.port}"
    assert [member for member in members if host in member] == [f"rfc9421 http://{host}"], members


@row("§4.3", "`FEDPUSH_DOUBLE_KNOCK=false`: the first answer counts",
     by(("4.2", ""), ("4.7", NotHere("4.7 always knocks twice"))))
def _(mastodon, expected):
    assert len(mastodon.switched.received("oneknock")) == 1
    assert mastodon.switched.error("oneknock")[1].endswith(" returned code 401")


@row("§4.3", "the second knock's fields, their order and spelling")
def _(mastodon):
    assert mastodon.received("knock")[1]["headers"][::2] == [
        "User-Agent", "Host", "Date", "Accept-Encoding", "Content-Type", "content-digest", "Connection", "signature",
        "signature-input", "Content-Length"]


@row("§4.3, signatures §2", "signature-input, content-digest and what is signed")
def _(mastodon):
    one = mastodon.received("knock")[1]
    head = one["head"]
    url = HTTP.format("rfc-knock", mastodon.world.fediverse.port) + one["url"]
    covered = '("@method" "@target-uri" "content-digest")'
    found = re.fullmatch(re.escape(f"sig1={covered}") + r';created=(\d+);keyid="([^"]+)"', head["signature-input"])
    assert found and mastodon.began - 1 <= int(found[1]) <= time.time()
    assert head["content-digest"] == f"sha-256=:{digest_of('knock')}:"
    text = (f'"@method": POST\n"@target-uri": {url}\n"content-digest": {head["content-digest"]}\n'
            f'"@signature-params": {head["signature-input"].removeprefix("sig1=")}')
    assert_verifies(mastodon, found[2], text, re.fullmatch("sig1=:(.+):", head["signature"])[1])


def redirect_rows():
    for status in (300, 301, 302):

        def refused(mastodon, name=f"moved{status}", host=f"redirect{status}-r"):
            assert (mastodon.outcome(name), mastodon.effect(host)) == AGAIN and len(mastodon.received(name)) == 1
            assert mastodon.error(name)[0] == "HTTP::StateError"

        row("§4.4", f"{status} of a POST is not followed: `HTTP::StateError`, tried again",
            jobs=[Job(f"moved{status}", f"redirect{status}-r", days=1)])(refused)


redirect_rows()


@row("§4.4", "303 is followed by a GET without body, whose answer counts",
     jobs=[Job("moved303", "redirect303-r", days=1)])
def _(mastodon):
    assert (mastodon.outcome("moved303"), mastodon.effect("redirect303-r")) == DONE
    post, get = mastodon.received("moved303")
    assert (post["method"], get["method"], get["body_bytes"]) == ("POST", "GET", 0)
    assert "Content-Type" not in get["head"] and "Digest" not in get["head"]


@row("§4.4", "307 and 308 are followed by the same POST",
     jobs=[Job(f"moved{status}", f"redirect{status}-r", days=1, verified=True) for status in (307, 308)])
def _(mastodon):
    for status in (307, 308):
        assert (mastodon.outcome(f"moved{status}"), mastodon.effect(f"redirect{status}-r")) == DONE
        first, second = mastodon.received(f"moved{status}")
        assert first["method"] == second["method"] == "POST" and first["head"]["Digest"] == second["head"]["Digest"]


@row("§4.4", "the second POST's signature",
     by(("4.2", Differs("of its own URL; 4.2 sends the first one's")),
        ("4.3", Differs("of its own URL; Mastodon sends none")), ("4.7", "")))
def _(mastodon, expected):
    second = mastodon.received("moved307")[1]
    assert second["url"].endswith("/moved") and second["verified"]
    assert_signed(mastodon, second, second["url"])


@row("§4.4", "another origin is not followed: `HTTP::StateError`, tried again",
     jobs=[Job("elsewhere", "elsewhere307-r", days=1)])
def _(mastodon):
    assert (mastodon.outcome("elsewhere"), mastodon.effect("elsewhere307-r")) == AGAIN
    assert mastodon.error("elsewhere")[0] == "HTTP::StateError"


@row("§4.4", "three hops at most, then tried again", jobs=[Job("loop", "loop307-r", days=1)])
def _(mastodon):
    assert (mastodon.outcome("loop"), mastodon.effect("loop307-r")) == AGAIN and len(mastodon.received("loop")) <= 4


@row("§4.5", "an answer longer than 1 MiB", by(("4.2", AGAIN), ("4.4", DONE)), [Job("big", "bigbody-b", days=1)])
def _(mastodon, expected):
    assert (mastodon.outcome("big"), mastodon.effect("bigbody-b")) == expected
    if expected == AGAIN:
        assert mastodon.error("big")[0] == "Mastodon::LengthValidationError"


@row("§4.6", "hosts that are addresses", jobs=[Job("literal", inbox="http://127.1.0.1:{port}/{at}")])
def _(mastodon):
    assert len(mastodon.received("literal")) == 1


def name_in_hosts_file():
    """Of this machine's /etc/hosts, but localhost."""
    with open("/etc/hosts") as file:
        names = [name for line in file for name in line.split("#")[0].split()[1:] if line.startswith("127.")]
    return next((name for name in names if "localhost" not in name))


KNOWN = name_in_hosts_file()
NO_NAME = NotHere("this machine's /etc/hosts has no name to try")


@row("§4.6", "/etc/hosts is read from 4.6 on",
     by(("4.2", "cannot be resolved"), ("4.6", "Failed to connect to")) if KNOWN else in_all(NO_NAME),
     [Job("hosts", inbox=f"http://{KNOWN}:{{port}}/{{at}}")] if KNOWN else [])
def _(mastodon, expected):
    name, message = mastodon.error("hosts")
    assert name == "HTTP::ConnectionError" and expected in message


row("§4.6", "connections are kept for 30 s, a dead one is replaced once")(
    unit("test_http", "connections_are_kept_for_their_host", "kept_connections_end_after_thirty_quiet_seconds",
         "a_kept_connection_that_is_dead_is_replaced"))
row("§4.6", "5 s to connect, 30 s for an answer")(
    unit("test_http", "black_holes_are_given_up_after_five_seconds", "drips_end_after_thirty_seconds"))


row("§4.7", "addresses that are refused, at their edges")(unit("test_address", "test_edges_of_refused_ranges"))
row("§4.7", "IPv4-compatible addresses are looked into from 4.4.21, 4.5.14, 4.6.4 on",
    None)(unit("test_address", "test_compatible_addresses_by_version"))
row("§4.7", "`ALLOWED_PRIVATE_ADDRESSES`")(unit("test_address", "test_exceptions"))
@row("§4.7", "`ALLOW_ACCESS_TO_HIDDEN_SERVICE`: such a host is tried")
def _(mastodon):
    assert mastodon.switched.error("onion")[0] == "HTTP::ConnectionError"


row("§4.7", "`http_proxy` and `http_hidden_proxy`")(
    unit("test_proxy", "urls_are_understood_as_mastodon_does", "hidden_services_have_their_own"))


# ---- §5 keys ----


def key_rows():
    for account, name, text, expected in [
        (1, "alice", "keyId of an account by name", in_all("users/alice#main-key")),
        (2, "bob", "of one with numeric URIs (id_scheme 1)",
         by(("4.2", "users/bob#main-key"), ("4.5", "ap/users/2#main-key"))),
        (8, "unnumbered", "of one whose id_scheme is NULL", by(("4.2", NOT_YET), ("4.5", "users/unnumbered#main-key"))),
        (-99, "actor", "of the instance actor", in_all("actor#main-key")),
        (9, "paired", "the first usable RSA row of `keypairs`: not revoked, not expired, its fragment",
         by(("4.2", NOT_YET), ("4.7", "users/paired#rsa-0123456789abcdef"))),
        (10, "old", "a keypair that an earlier Rails encrypted (§5.4, SHA-1)",
         by(("4.2", NOT_YET), ("4.7", "users/old#main-key"))),
    ]:

        def check(mastodon, expected, name=name):
            one, = mastodon.received(f"key-{name}")
            assert re.match(KEY_ID, one["head"]["Signature"])["key"] == f"https://{DOMAIN}/{expected}"
            assert one["verified"]

        row("§5.1, §5.2", text, expected, [Job(f"key-{name}", account=account, verified=True)])(check)


key_rows()


@row("§5.2", "`accounts.private_key` where no keypair is the account's",
     by(("4.2", NotHere("it is the only place")), ("4.6", "")))
def _(mastodon, expected):
    assert mastodon.received("key-alice")[0]["verified"]


@row("§5.2", "a sender without key: tried again, a failure of the remote host",
     jobs=[Job("keyless", account=6, days=1)])
def _(mastodon):
    assert (mastodon.outcome("keyless"), mastodon.effect("ok-keyless")) == AGAIN and mastodon.received("keyless") == []


# ---- §6 to §10 the rest ----

def reads_as(test):
    return [unit("test_dotenv", test), unit("test_config", "files_are_read_by_the_rules_of_the_version")]


@row("§6.1", "`.env.production` as its version's gem reads it: `\\n` in double quotes, bare names, `export`",
     by(("4.2", reads_as("double_quotes_have_line_breaks_in_dotenv_2")),
        ("4.3", reads_as("bare_names_are_nothing_before_dotenv_3_1_5")),
        ("4.4", reads_as("values_are_read_as_by_the_gem"))))
def _(mastodon, expected):
    for check in expected:
        check(mastodon)


row("§6.1", "its files in Rails' order; the environment wins")(
    unit("test_config", "files_are_read_in_rails_order"))
row("§6.2", "where PostgreSQL is")(unit("test_config", "the_database_follows_mastodons_precedence"))
row("§6.3", "where the three roles' Redis servers are")(
    unit("test_config", "redis_roles_follow_mastodons_precedence"))


@row("§6.3", "`REDIS_NAMESPACE`: every key is in it, Rails' cache in its own; from 4.4 on refused",
     by(("4.2", True), ("4.4", False)))
def _(mastodon, expected):
    if not expected:
        refused = fedpush(mastodon.world, "check", REDIS_NAMESPACE=SPACE)
        assert refused.returncode == 78 and "REDIS_NAMESPACE" in refused.stderr
        return
    other = mastodon.switched
    assert other.outcome("spaced") == "retry" and len(other.days("status503-spaced")) == 7
    assert "status503-spaced.fedi.test" in mastodon.unavailable()
    assert not other.client.exists(f"{SPACE}_{CACHE_KEY}")
    assert all(key.startswith(f"{SPACE}:".encode()) for key in other.client.keys("*"))


@row("§7", "a blocked domain is delivered to all the same", jobs=[Job("blocked")])
def _(mastodon):
    assert len(mastodon.received("blocked")) == 1


@row("§7", "a suspended sender still sends", jobs=[Job("suspended", account=3, verified=True)])
def _(mastodon):
    assert mastodon.received("suspended")[0]["verified"]


@row("§9", "the process list has `push`, and an integer for its threads")
def _(mastodon):
    assert mastodon.info["queues"] == ["push"] and isinstance(mastodon.info["concurrency"], int)


@row("§10", "Sidekiq's version by Mastodon's", SIDEKIQS)
def _(mastodon, expected):
    assert mastodon.info["version"].startswith(expected + ".")
