"""The commands as an admin types them: what they print, and how they end."""

import json
import os
import re
import time

import pytest
from jobs import delivery, push, push_fanout, unsettled, wait_settled
from machine import fedpush
from servers import FEDIVERSE, Server, wait_for

COMMANDS = ["run", "check", "setup", "stats", "status", "deliver", "handback", "version"]


@pytest.fixture
def ruby(world, tmp_path):
    """The Sidekiq that serves the hand-off queue."""
    server = Server(str(tmp_path / "sidekiq"))
    server.spawn(["sidekiq", "-q", "default", "-r", f"{FEDIVERSE}/default.rb"],
                 env={**os.environ, "REDIS_URL": world.redis.url}, cwd=str(tmp_path))
    server.await_ready(lambda: world.redis_client.scard("processes") == 1)
    yield server
    server.stop()


def lines_of(output, word):
    return [line for line in output.splitlines() if word in line]


def test_help_names_every_command(world):
    shown = fedpush(world, "--help")
    assert shown.returncode == 0 and shown.stderr == ""
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", shown.stdout, re.M)
    assert max(map(len, shown.stdout.splitlines())) <= 100


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(world, command):
    shown = fedpush(world, command, "--help")
    assert shown.returncode == 0 and shown.stdout.startswith("Usage: fedpush") and shown.stderr == ""


def test_help_needs_no_configuration(world):
    nothing = dict.fromkeys(("REDIS_URL", "DATABASE_URL", "LOCAL_DOMAIN", "FEDPUSH_MASTODON_VERSION"))
    assert fedpush(world, "run", "--help", **nothing).returncode == 0
    assert fedpush(world, "version", **nothing).returncode == 0


@pytest.mark.parametrize("arguments", [[], ["nosuch"], ["stats", "--nosuch"], ["run", "more"], ["deliver"],
                                       ["--mastodon"], ["check", "x"], ["setup", "x"]])
def test_wrong_usage_is_one_line_and_64(world, arguments):
    ended = fedpush(world, *arguments)
    assert ended.returncode == 64 and ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1 and re.search("--help|needs", ended.stderr)


@pytest.mark.parametrize("settings, named", [
    ({"FEDPUSH_MASTODON_VERSION": None}, "FEDPUSH_MASTODON_VERSION"),
    ({"FEDPUSH_WORKERS": "x"}, "FEDPUSH_WORKERS"),
    ({"FEDPUSH_WROKERS": "2"}, "FEDPUSH_WROKERS"),
    ({"LOCAL_DOMAIN": None}, "LOCAL_DOMAIN"),
    ({"REDIS_URL": "http://sec:ret@x/"}, "REDIS_URL"),
    ({"REDIS_NAMESPACE": "ns"}, "REDIS_NAMESPACE"),
    ({"DATABASE_URL": "mysql://me:s3cret@x/y"}, "DATABASE_URL"),
    ({"FEDPUSH_LOG_LEVEL": "loud"}, "FEDPUSH_LOG_LEVEL"),
])
def test_wrong_configuration_is_one_line_and_78(world, settings, named):
    for command in ("run", "check"):
        ended = fedpush(world, command, **settings)
        assert ended.returncode == 78, (command, ended.stdout, ended.stderr)
        last = ended.stderr.splitlines()[-1]
        assert named in last and "s3cret" not in ended.stderr and "sec:ret" not in ended.stderr


def test_mastodons_own_file_is_read(world, tmp_path):
    directory = tmp_path / "live"
    (directory / "lib" / "mastodon").mkdir(parents=True)
    (directory / "lib" / "mastodon" / "version.rb").write_text(
        "module Mastodon\n  module Version\n    module_function\n\n    def major\n      4\n    end\n\n"
        "    def minor\n      6\n    end\n\n    def patch\n      5\n    end\n\n"
        "    def default_prerelease\n      ''\n    end\n\n    def prerelease\n"
        "      version_configuration[:prerelease].presence || default_prerelease\n    end\n  end\nend\n")
    (directory / ".env.production").write_text(
        f"# Mastodon\nREDIS_URL={world.redis.url}\nDATABASE_URL='{world.postgres.url(world.database)}'\n"
        "export LOCAL_DOMAIN=\"social.fedi.test\"\nSECRET_KEY_BASE=abc\n")
    nothing = dict.fromkeys(("REDIS_URL", "DATABASE_URL", "LOCAL_DOMAIN", "FEDPUSH_MASTODON_VERSION"))
    done = fedpush(world, "--mastodon", str(directory), "setup", **nothing)
    assert done.returncode == 0, done.stderr
    assert world.query("SELECT max(version) FROM fedpush.schema_version") == [(1,)]
    (directory / ".env.production").write_text("LOCAL_DOMAIN=$(hostname)\n")
    refused = fedpush(world, "--mastodon", str(directory), "setup", **nothing)
    assert refused.returncode == 78 and ".env.production" in refused.stderr


def test_setup_makes_the_schema_and_may_be_repeated(world):
    for _ in range(2):
        done = fedpush(world, "setup")
        assert done.returncode == 0, done.stderr
    tables = world.query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'fedpush' ORDER BY 1")
    assert tables == [("domain_health",), ("inbox_health",), ("schema_version",)]


def test_setup_names_the_grant_that_is_missing(world):
    world.query("DROP ROLE IF EXISTS weak")
    world.query("CREATE ROLE weak LOGIN")
    done = fedpush(world, "setup", DATABASE_URL=world.postgres.url(world.database).replace("mastodon@", "weak@"))
    assert done.returncode not in (0, 64) and "GRANT" in done.stderr + done.stdout
    world.query("DROP ROLE weak")


def test_check_passes_when_a_run_would_work(world, ruby):
    assert fedpush(world, "setup").returncode == 0
    done = fedpush(world, "check")
    assert done.returncode == 0, done.stdout
    assert lines_of(done.stdout, "FAIL") == []


def test_check_names_what_is_missing(world):
    done = fedpush(world, "check")
    assert done.returncode != 0
    assert "fedpush setup" in "".join(lines_of(done.stdout, "FAIL"))
    assert lines_of(done.stdout, "hand-off") and "FAIL" in lines_of(done.stdout, "hand-off")[0]


@pytest.mark.parametrize("settings, named", [
    ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "Redis"),
    ({"DATABASE_URL": "postgresql://mastodon@127.0.0.1:1/x"}, "PostgreSQL"),
    ({"FEDPUSH_RESOLVERS": "127.0.0.1:1"}, "DNS"),
    ({"FEDPUSH_RUNTIME_DIR": "/nonexistent/fedpush"}, "directory"),
])
def test_check_fails_at_each_thing(world, ruby, settings, named):
    assert fedpush(world, "setup").returncode == 0
    done = fedpush(world, "check", **settings)
    assert done.returncode != 0
    assert any(named.lower() in line.lower() for line in lines_of(done.stdout, "FAIL")), done.stdout


def test_check_refuses_a_redis_that_evicts(world, ruby):
    assert fedpush(world, "setup").returncode == 0
    world.redis_client.config_set("maxmemory", 10**9)
    world.redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        done = fedpush(world, "check")
    finally:
        world.redis_client.config_set("maxmemory-policy", "noeviction")
        world.redis_client.config_set("maxmemory", 0)
    assert done.returncode != 0 and "noeviction" in "".join(lines_of(done.stdout, "FAIL"))


def test_check_touches_no_job(world, ruby):
    assert fedpush(world, "setup").returncode == 0
    push(world.redis, [delivery(1, world.fediverse.inbox("ok-1"))])
    before = world.redis_client.lrange("queue:push", 0, -1)
    fedpush(world, "check")
    assert world.redis_client.lrange("queue:push", 0, -1) == before
    assert world.redis_client.keys("fedpush:*") == []


def test_stats_shows_domains_and_inboxes(world, machine):
    jobs = [delivery(i, world.fediverse.inbox("ok-1")) for i in range(7)]
    jobs += [delivery(9, world.fediverse.inbox("status500-1"))]
    push(world.redis, jobs)
    wait_settled(world)
    wait_for(lambda: world.query("SELECT count(*) FROM fedpush.domain_health") == [(2,)], 20, "health is written")
    shown = fedpush(world, "stats")
    assert shown.returncode == 0, shown.stderr
    # The last error of a failing host stands behind the table's columns.
    assert max(len(line) for line in shown.stdout.splitlines() if "returned code" not in line) <= 110
    assert len(lines_of(shown.stdout, "ok-1.fedi.test")) == 1 and re.search(r"ok-1\S*\s+7\b", shown.stdout)
    parsed = json.loads(fedpush(world, "stats", "--json").stdout)
    assert "status500-1.fedi.test" in json.dumps(parsed)
    host = f"ok-1.fedi.test:{world.fediverse.port}"
    one = fedpush(world, "stats", host)
    assert one.returncode == 0 and "/inbox" in one.stdout and "status500" not in one.stdout


def test_stats_before_setup_says_what_to_do(world):
    ended = fedpush(world, "stats")
    assert ended.returncode != 0 and "fedpush setup" in ended.stderr + ended.stdout


def test_status_ends_as_things_are(world, ruby, machines):
    assert fedpush(world, "setup").returncode == 0
    without = fedpush(world, "status")
    assert without.returncode == 2, without.stdout
    machines()
    wait_for(lambda: fedpush(world, "status").returncode == 0, 30, lambda: fedpush(world, "status").stdout)


def test_status_without_redis_is_critical(world):
    ended = fedpush(world, "status", REDIS_URL="redis://127.0.0.1:1/0")
    assert ended.returncode == 2 and "Redis" in ended.stdout + ended.stderr


def test_deliver_shows_and_sends_one_delivery(world, tmp_path):
    file = tmp_path / "note.json"
    file.write_text('{"id":"https://social.fedi.test/activities/77","type":"Create"}')
    inbox = world.fediverse.inbox("ok-1")
    shown = fedpush(world, "deliver", "--account", "alice", "--inbox", inbox, str(file))
    assert shown.returncode == 0, shown.stderr
    assert "POST /inbox" in shown.stdout and 'keyId="https://social.fedi.test/users/alice#main-key"' in shown.stdout
    assert world.fediverse.summary()["posts"] == 0
    sent = fedpush(world, "deliver", "--account", "alice", "--inbox", inbox, str(file), "--send")
    assert sent.returncode == 0 and "202" in sent.stdout, sent.stderr
    assert world.fediverse.summary() == {"posts": 1, "verified": world.fediverse.summary()["verified"], "failures": []}
    failed = fedpush(world, "deliver", "--account", "alice", "--inbox", world.fediverse.inbox("status500-1"),
                     str(file), "--send")
    assert failed.returncode not in (0, 64) and "500" in failed.stdout + failed.stderr
    nobody = fedpush(world, "deliver", "--account", "nobody", "--inbox", inbox, str(file))
    assert nobody.returncode not in (0, 64) and "nobody" in nobody.stderr


def test_handback_returns_own_claims_after_a_crash(world, machines):
    machine = machines()
    jobs = [delivery(i, world.fediverse.inbox(f"silent-{i % 30}", f"/u{i}")) for i in range(200)]
    push_fanout(world.redis, jobs)
    wait_for(lambda: world.fediverse.summary()["posts"] > 20, 20, "requests hang")
    living = fedpush(world, "handback", machine.identity(), runtime_dir=machine.runtime_dir)
    assert living.returncode != 0, "a living owner keeps its claims"
    own = fedpush(world, "handback", "--own", runtime_dir=machine.runtime_dir)
    assert own.returncode != 0, "its supervisor runs"
    machine.kill()
    held = unsettled(world) - world.redis_client.llen("queue:push")
    assert held > 0
    done = fedpush(world, "handback", "--own", runtime_dir=machine.runtime_dir)
    assert done.returncode == 0 and str(held) in done.stdout, (held, done.stdout, done.stderr)
    assert world.redis_client.llen("queue:push") + world.redis_client.zcard("retry") == 200
    assert world.redis_client.keys("fedpush:claimed:*") == []


def test_handback_returns_what_the_dead_hold(world):
    world.redis_client.zadd("fedpush:identities", {"gone:1:aaaaaaaaaaaa": time.time() - 300})
    world.redis_client.hset("fedpush:claimed:gone:1:aaaaaaaaaaaa", mapping={"seq": 2, "1": "q\n{\"a\":1}", "2": "q\n{}"})
    done = fedpush(world, "handback")
    assert done.returncode == 0 and "2" in done.stdout, done.stderr
    assert world.redis_client.lrange("queue:push", 0, -1) == [b"{}", b'{"a":1}'], "the oldest is served first"


def test_version_names_libraries(world):
    shown = fedpush(world, "version")
    assert shown.returncode == 0 and re.search(r"fedpush \d+\.\d+\.\d+", shown.stdout)
    for library in ("curl", "OpenSSL", "libevent"):
        assert library.lower() in shown.stdout.lower()
