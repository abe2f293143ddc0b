"""fedpush with the rights that `fedpush setup` prints, and no others."""

import datetime
import glob
import json
import os
import re
import subprocess
import time
import urllib.request

import pytest
import redis
from admin_page import Mastodon, Page, add_admin, rewrite, sign_in
from jobs import delivery, push, sidekiq, wait_settled
from machine import DOMAIN, fedpush
from servers import HERE, free_port, wait_for
from test_cli import lines, sidekiq_process
from test_keys import ENCRYPTION, add_keypair, mastodon, move_key, seal  # noqa: F401

SOURCES = os.path.join(HERE, "..", "..")


def told_by_page(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1{path}", timeout=60) as answer:
        return json.load(answer)


def week_of_failures():
    """Days on which a host failed, one short of Mastodon's limit."""
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return [(today - datetime.timedelta(days)).strftime("%Y%m%d") for days in range(1, 7)]


def retry_now(world):
    """All that waits in `retry` is due."""
    for payload in world.redis_client.zrange("retry", 0, -1):
        world.redis_client.zadd("retry", {payload: time.time() - 1})


# ---- PostgreSQL ----


@pytest.fixture
def roles(world):
    """Logs in as the roles of the printed SQL."""

    def make():
        assert fedpush(world, "setup").returncode == 0
        printed = fedpush(world, "setup", "--roles", "--print", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
        assert printed.returncode == 0, printed.stderr
        url = world.postgres.url(world.database)
        for _ in range(2):  # it may be run again
            subprocess.run([f"{world.postgres.bin}/psql", "-qv", "ON_ERROR_STOP=1", url], input=printed.stdout,
                           text=True, check=True, capture_output=True)
        return {
            "DATABASE_URL": url.replace("mastodon@", "fedpush_scheduler@"),
            "FEDPUSH_KEYS_DATABASE_URL": url.replace("mastodon@", "fedpush_signer@"),
        }

    yield make
    world.postgres.query("postgres", "DROP ROLE IF EXISTS fedpush_scheduler, fedpush_signer")


def readable(world, role):
    """What a role may read outside the catalogue, and what else it may do."""
    columns = world.query(
        "SELECT table_name, column_name FROM information_schema.column_privileges"
        " WHERE grantee = %s AND privilege_type = 'SELECT' AND table_schema = 'public'", role)
    others = world.query(
        "SELECT table_schema || '.' || table_name, privilege_type FROM information_schema.table_privileges"
        " WHERE grantee = %s AND privilege_type <> 'SELECT'", role)
    return set(columns), set(others)


def test_the_printed_roles_suffice_and_can_do_nothing_else(world, roles, mastodon, machines):  # noqa: F811
    mastodon("4.7.0")
    move_key(world, 1, seal([world.keys.private[1]])[0])
    settings = {**roles(), **ENCRYPTION}
    sidekiq_process(world, ["default"])
    assert lines(fedpush(world, "check", **settings), "FAIL") == {}
    port = free_port()
    machine = machines(setup=False, FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{port}", **settings)
    world.query("INSERT INTO unavailable_domains (domain, created_at, updated_at) VALUES ('gone', now(), now())")
    world.redis_client.sadd("exhausted_deliveries:refused-1.fedi.test", *week_of_failures())
    world.query("INSERT INTO account_deletion_requests (account_id, created_at, updated_at) VALUES (2, now(), now())")
    push(world.redis, [
        delivery(1, world.fediverse.inbox("ok-1")), delivery(2, world.fediverse.inbox("ok-2"), account=2),
        delivery(3, world.fediverse.inbox("status401-1"), account=2), delivery(4, world.fediverse.inbox("refused-1")),
        delivery(7, world.fediverse.inbox("ok-3"), options={"synchronize_followers": True}),
    ])
    wait_settled(world)
    wait_for(lambda: world.query("SELECT 1 FROM unavailable_domains WHERE domain = 'refused-1.fedi.test'"), 30,
             "the seventh day of failures is recorded")
    assert world.fediverse.summary()["failures"] == []
    push(world.redis, [delivery(5, world.fediverse.inbox("refused-1")),
                       delivery(6, world.fediverse.inbox("ok-1"), options={"bypass_availability": True})])
    wait_settled(world)
    inbox = world.fediverse.inbox("ok-1")
    host = inbox.split("/")[2]
    world.query("INSERT INTO accounts (id, username, domain, inbox_url, created_at, updated_at)"
                " VALUES (10, 'carol', 'ok-1.fedi.test', %s, now(), now())", inbox)
    world.query("INSERT INTO follows (account_id, target_account_id, created_at, updated_at)"
                " VALUES (10, 1, now(), now())")
    wait_for(lambda: (host, 1) in [(item["host"], item["followers"]) for item in told_by_page(port, "/domains")["items"]],
             60, "followers are counted")
    told_by_page(port, f"/domains/{host}")
    told_by_page(port, "/series?span=24h")
    paused = fedpush(world, "domain", "pause", "ok-9.fedi.test", **settings)
    assert paused.returncode == 0 and paused.stderr == ""
    wait_for(lambda: world.query("SELECT 1 FROM fedpush.audit"), 30, "the audit")
    machine.stop()
    assert world.query("SELECT count(*) FROM fedpush.domain_health WHERE delivered > 0") == [(3,)]
    assert not re.search("permission denied|rights|GRANT", machine.log()), machine.log()

    read, do = readable(world, "fedpush_signer")
    assert read == {("accounts", name) for name in ("id", "username", "domain", "private_key", "suspended_at",
                                                    "id_scheme", "requested_deletion_at")} | {
        ("keypairs", name) for name in ("id", "account_id", "type", "revoked", "expires_at", "local_fragment", "uri",
                                        "private_key")}
    assert do == set()
    read, do = readable(world, "fedpush_scheduler")
    assert {table for table, _ in read} == {"accounts", "follows", "unavailable_domains", "account_deletion_requests",
                                            "users", "user_roles"}
    assert {name for table, name in read if table == "accounts"} == {
        "id", "username", "uri", "id_scheme", "domain", "inbox_url", "shared_inbox_url", "suspended_at"}
    assert {name for table, name in read if table == "users"} == {
        "account_id", "role_id", "disabled", "approved", "confirmed_at"}
    assert {right for table, right in do if table == "public.unavailable_domains"} == {"INSERT", "DELETE"}
    assert {table.split(".")[0] for table, _ in do if table != "public.unavailable_domains"} == {"fedpush"}


def test_the_printed_roles_are_for_every_release(world, roles, mastodon, machines):  # noqa: F811
    mastodon("4.2.29")
    machine = machines(setup=False, FEDPUSH_WORKERS=1, **roles())
    push(world.redis, [delivery(1, world.fediverse.inbox("ok-1"))])
    wait_settled(world)
    assert world.fediverse.summary()["posts"] == 1 and "GRANT" not in machine.log()


def test_a_right_that_4_7_needs_is_named_and_waited_for(world, roles, mastodon, machines):  # noqa: F811
    mastodon("4.7.0")
    move_key(world, 1, seal([world.keys.private[1]])[0])
    settings = {**roles(), **ENCRYPTION}
    world.query("REVOKE SELECT (local_fragment) ON keypairs FROM fedpush_signer")
    machine = machines(setup=False, FEDPUSH_WORKERS=1, **settings)
    push(world.redis, [delivery(1, world.fediverse.inbox("ok-1"))])
    found = re.compile(r"GRANT SELECT \([a-z_, ]*\) ON keypairs TO fedpush_signer;")
    wait_for(lambda: found.search(machine.log()), 30, "the GRANT is in the log")
    said = lines(fedpush(world, "check", **settings), "FAIL")["signer"]
    assert found.search(said) and "accounts" not in said
    world.query(found.search(machine.log()).group())
    wait_settled(world)
    assert world.fediverse.summary()["posts"] == 1 and world.redis_client.zcard("retry") == 0


# ---- Redis ----


def acl(world):
    """The printed command, one a server."""
    printed = fedpush(world, "setup", "--print-redis-acl", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert printed.returncode == 0, printed.stderr
    return [line for line in printed.stdout.splitlines() if not line.startswith("#")]


@pytest.fixture
def user(world):
    """Logs in as the user of the printed ACL; whatever it was refused fails the test."""
    line, = acl(world)
    client = world.redis_client
    assert client.execute_command(*line.replace("PASSWORD", "s3cret").split()) in (b"OK", True)
    client.execute_command("ACL", "LOG", "RESET")
    yield {"REDIS_URL": f"redis://fedpush:s3cret@127.0.0.1:{world.redis.port}/0"}
    refused = client.execute_command("ACL", "LOG")
    client.execute_command("ACL", "DELUSER", "fedpush")
    assert not refused, refused


def test_the_printed_acl_suffices(world, machines, user):
    sidekiq_process(world, ["default"])
    port = free_port()
    first = machines(FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{port}", **user)
    world.redis_client.sadd("exhausted_deliveries:refused-1.fedi.test", *week_of_failures())
    jobs = [delivery(i, world.fediverse.inbox(f"ok-{i}")) for i in range(40)]
    jobs += [delivery(40, world.fediverse.inbox("refused-1")), delivery(41, world.fediverse.inbox("status503-1"))]
    push(world.redis, jobs + [{"class": "Unknown::Worker", "args": [1]}])
    wait_settled(world)
    assert world.redis_client.llen("queue:default") == 1  # handed off
    assert world.redis_client.zcard("retry") == 2
    wait_for(lambda: len(sidekiq(world.redis)["processes"]) == 2, 30, "it is seen by Sidekiq")
    world.fediverse.behave("status503-1", "ok")
    retry_now(world)
    wait_for(lambda: world.fediverse.counts()["inboxes"].get("status503-1.fedi.test/inbox") == 2, 60, "the retry")
    wait_settled(world)
    waiting = push(world.redis, [{**delivery(60, world.fediverse.inbox("ok-9")), "queue": "pull"}])
    assert world.redis_client.llen("queue:pull") == len(waiting)
    for command in (["check"], ["status"], ["stats"], ["stats", "--span", "24h"], ["top"], ["jobs"],
                    ["trace", f"https://{DOMAIN}/@alice/1"], ["pause", "--machine", first.identity()],
                    ["resume", "--machine", first.identity()], ["domain", "pause", "ok-9.fedi.test"],
                    ["domain", "show", "ok-9.fedi.test"], ["domain", "resume", "ok-9.fedi.test"],
                    ["domain", "try", "ok-9.fedi.test"], ["domain", "drop", "ok-9.fedi.test", "--yes"],
                    ["domain", "list"]):
        shown = fedpush(world, *command, **user)
        assert "NOPERM" not in shown.stdout + shown.stderr and lines(shown, "FAIL") == {}, shown.stdout
    assert world.redis_client.llen("queue:pull") == 0
    for path in ("/overview", "/domains", "/domains/ok-9.fedi.test", "/domains/ok-9.fedi.test/waiting", "/jobs", "/audit"):
        told_by_page(port, path)
    # A machine that dies, and what is left of it.
    push(world.redis, [delivery(i, world.fediverse.inbox(f"hole-{i}")) for i in range(50, 54)])
    wait_for(lambda: list(world.redis_client.scan_iter("fedpush:claimed:*")), 30, "a claim")
    first.kill()
    back = fedpush(world, "handback", "--own", runtime_dir=first.runtime_dir, **user)
    assert back.returncode == 0 and world.redis_client.llen("queue:push") == 4, back.stderr
    identity = first.start().identity()
    wait_for(lambda: world.redis_client.hlen(f"fedpush:claimed:{identity}") > 1, 30, "a claim")
    first.kill()
    first.start()  # returns by itself what its former self held
    wait_for(lambda: not world.redis_client.exists(f"fedpush:claimed:{identity}"), 30, "recovery")
    identity = first.identity()
    drained = fedpush(world, "drain", "--machine", identity, **user)
    assert drained.returncode == 0 and first.process.wait(60) == 0, drained.stderr
    assert "NOPERM" not in first.log()
    assert not world.redis_client.sismember("processes", identity)


def test_the_page_needs_no_more(world, roles, machines, mastodon, user):  # noqa: F811
    mastodon("4.2.29")
    port = free_port()
    add_admin(world)
    instance = Mastodon("http://fed.test/api/v1/login/mastodon/callback")
    settings = {**roles(), **user}
    machine = machines(
        setup=False, FEDPUSH_WORKERS=1, FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{port}", FEDPUSH_ADMIN_URL="http://fed.test",
        FEDPUSH_ADMIN_OAUTH_ID="client", FEDPUSH_ADMIN_OAUTH_SECRET="s3cret", FEDPUSH_ADMIN_OAUTH_URL=instance.url,
        **settings)
    page = Page(port, host="fed.test")
    try:
        wait_for(page.answers, 30, "the page")
        sign_in(page, instance)
        rewrite(world, asked_us=lambda us: us - 61 * 1000000)
        assert page.me()["who"] == "@alice"
        wait_for(lambda: page.ask("/readyz").status == 200, 30, "the machine is ready")
        made = page.ask("/api/v1/tokens", "POST", {"name": "one"}).json()["token"]
        assert page.ask("/metrics", Authorization=f"Bearer {made}").status == 200
        assert fedpush(world, "token", "list", **settings).returncode == 0
        assert page.ask("/api/v1/tokens/one", "DELETE").status == 200
        for path in ("overview", "domains", "series?span=1h", "jobs", "audit"):
            assert page.ask(f"/api/v1/{path}").status == 200, path
        assert page.ask("/api/v1/logout", "POST", {"everywhere": True}).status == 200
    finally:
        instance.stop()
    assert not re.search("permission denied|NOPERM", machine.log()), machine.log()


def commands_of_the_sources(world):
    """Every command of Redis that a source names."""
    listed = world.redis_client.eval("return redis.call('COMMAND', 'LIST')", 0)
    known = {name.decode().upper() for name in listed}
    found = set()
    for path in [path for place in ("admin/*.c", "base/redis*.c", "sched/*.c", "sched/*.lua", "worker/sample.c")
                 for path in glob.glob(f"{SOURCES}/{place}")]:
        with open(path) as file:
            found |= set(re.findall(r"(?:STR\(\"|session, \"|redis\.p?call\(')([A-Z]+)['\"]", file.read()))
    return found & known


def test_the_printed_acl_allows_what_the_sources_send_and_no_more(world):
    line, = acl(world)
    allowed = {word[1:].split("|")[0].upper() for word in line.split() if word.startswith("+")}
    # AUTH needs no right; READONLY is an error that Redis answers with. Else: admin/rights_redis.c.
    assert allowed == commands_of_the_sources(world) - {"AUTH", "READONLY"}


def test_another_users_keys_are_out_of_reach(world, user):
    client = redis.Redis.from_url(user["REDIS_URL"])
    for key in ("session:1", "cache:followers_hash:1:x", "unique:x", "a:b:c", "host:1:0123456789abcdef"):
        with pytest.raises(redis.exceptions.ResponseError, match="permissions"):
            client.delete(key)
    with pytest.raises(redis.exceptions.ResponseError, match="permissions"):
        client.flushall()
    world.redis_client.execute_command("ACL", "LOG", "RESET")


def test_each_server_has_its_own_line_and_namespaces_are_kept(world):
    printed = fedpush(world, "setup", "--print-redis-acl", REDIS_NAMESPACE="m", FEDPUSH_MASTODON_VERSION="4.3.23",
                      REDIS_URL="redis://:s3cret@a.test/0", SIDEKIQ_REDIS_URL="redis://a.test/3",
                      CACHE_REDIS_URL="redis://joe:s3cret@b.test/0").stdout
    first, second = [line for line in printed.splitlines() if not line.startswith("#")]
    assert "~m:queue:* " in first and "~m:exhausted_deliveries:* " in first and " ~queue:*" not in first
    assert second == ("ACL SETUSER joe reset on >PASSWORD resetchannels ~m_cache:unavailable_domains"
                      " +del +ping +role +select +unlink")
    assert "s3cret" not in printed
