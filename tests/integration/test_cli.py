"""The commands for people: what they print, and the exit codes that scripts rely on."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time

import pytest
from jobs import activity, delivery, payloads, push, wait_settled
from machine import BINARY, DOMAIN, environment, fedpush
from servers import free_port, wait_for

COMMANDS = ["run", "check", "setup", "status", "stats", "top", "pause", "resume", "drain", "domain",
            "jobs", "trace", "alert", "rehearse", "deliver", "handback", "password", "token",
            "completion", "manual", "version"]
STRANGER = "elsewhere:77:abcdefabcdef"


def lines(done, grade):
    """Subject -> text of the lines of one grade."""
    found = {}
    for line in done.stdout.splitlines():
        words = line.split(None, 2)
        if len(words) == 3 and words[0] == grade:
            found[words[1]] = words[2]
    return found


def sidekiq_process(world, queues, identity="ruby:1:aaaaaaaaaaaa"):
    """A live Sidekiq process that serves these queues, as Redis knows one."""
    info = {"hostname": "ruby", "pid": 1, "queues": queues, "labels": [], "identity": identity, "concurrency": 5}
    world.redis_client.sadd("processes", identity)
    world.redis_client.hset(identity, mapping={"info": json.dumps(info), "beat": time.time(), "quiet": "false"})


@pytest.fixture
def installed(world):
    """All that `check` asks for."""
    assert fedpush(world, "setup").returncode == 0
    sidekiq_process(world, ["default", "push"])
    return world


@pytest.fixture
def limited(world):
    """A database role without rights, and how to log in as it."""
    world.query("DROP OWNED BY limited") if world.query("SELECT 1 FROM pg_roles WHERE rolname = 'limited'") else (
        world.query("CREATE ROLE limited LOGIN")
    )
    yield world.postgres.url(world.database).replace("mastodon@", "limited@")
    world.query("DROP OWNED BY limited")


# ---- check ----


def test_check_is_content_with_a_good_installation(installed):
    done = fedpush(installed, "check")
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
    assert lines(done, "FAIL") == {} and lines(done, "warn") == {}
    assert lines(done, "ok")["eviction"] == "noeviction"
    assert "`fedpush run` would work" in done.stdout
    assert "not" not in done.stdout.splitlines()[-1]


def test_check_says_who_may_see_the_page_and_whom_alerts_reach(installed):
    good = lines(fedpush(installed, "check"), "ok")
    assert "none" in good["page"] and "reach nobody" in good["alerts"]
    done = fedpush(installed, "check", FEDPUSH_ADMIN_LISTEN="0.0.0.0:4480")
    assert done.returncode == 0 and "fedpush password" in lines(done, "warn")["page"]
    good = lines(fedpush(installed, "check", FEDPUSH_ADMIN_LISTEN="127.0.0.1:4480",
                         FEDPUSH_ALERT_MAIL="admin@example.org"), "ok")
    assert "read-only" in good["page"] and "a web server here sends to it" in good["page"]
    assert "by mail;" in good["alerts"]
    for told in ({"FEDPUSH_ADMIN_URL": "https://fed.test/"}, {"FEDPUSH_ADMIN_TRUSTED_PROXIES": "127.0.0.1"}):
        done = fedpush(installed, "check", FEDPUSH_ADMIN_LISTEN="127.0.0.1:4480", **told)
        assert done.returncode == 0 and "nobody gets in without a login" in lines(done, "warn")["page"]


def test_check_finds_redis_away_and_nothing_else(installed):
    port = free_port()
    done = fedpush(installed, "check", REDIS_URL=f"redis://127.0.0.1:{port}/0")
    failed = lines(done, "FAIL")
    assert done.returncode == 1 and list(failed) == ["Redis"], done.stdout
    assert f"127.0.0.1:{port}" in failed["Redis"] and "check REDIS_URL" in failed["Redis"]


def test_check_finds_postgresql_away(installed):
    url = installed.postgres.url(installed.database, free_port())
    done = fedpush(installed, "check", DATABASE_URL=url)
    assert done.returncode == 1
    assert {"PostgreSQL", "signer", "schema"} == set(lines(done, "FAIL")), done.stdout


def test_check_refuses_an_evicting_redis(installed):
    installed.redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        done = fedpush(installed, "check")
    finally:
        installed.redis_client.config_set("maxmemory-policy", "noeviction")
    assert done.returncode == 1
    assert list(lines(done, "FAIL")) == ["eviction"], done.stdout
    assert "allkeys-lru" in done.stdout and "CONFIG SET maxmemory-policy noeviction" in done.stdout


def test_check_wants_somebody_to_serve_the_handoff_queue(installed):
    installed.redis_client.delete("ruby:1:aaaaaaaaaaaa")  # dead: its hash has expired
    sidekiq_process(installed, ["pull"], "ruby:2:bbbbbbbbbbbb")
    done = fedpush(installed, "check")
    assert done.returncode == 1 and list(lines(done, "FAIL")) == ["hand-off"], done.stdout
    assert "-q default" in lines(done, "FAIL")["hand-off"]
    assert fedpush(installed, "check", FEDPUSH_HANDOFF_QUEUE="pull").returncode == 0


def test_check_refuses_to_hand_off_to_its_own_queue(installed):
    done = fedpush(installed, "check", FEDPUSH_HANDOFF_QUEUE="push")
    assert done.returncode == 78 and "FEDPUSH_HANDOFF_QUEUE" in done.stderr


def grants(text):
    """The statements of a line `…: run GRANT …; GRANT …`."""
    return [part.strip() for part in text.split(": run ", 1)[1].split(";") if part.strip()]


def test_the_grants_that_check_prints_are_exactly_what_is_missing(installed, limited):
    settings = {"DATABASE_URL": limited, "FEDPUSH_DATABASE_URL": installed.postgres.url(installed.database)}
    done = fedpush(installed, "check", **settings)
    assert done.returncode == 1
    failed = lines(done, "FAIL")
    assert sorted(grants(failed["PostgreSQL"])) == [
        "GRANT SELECT (account_id) ON public.account_deletion_requests TO limited",
        "GRANT SELECT (account_id, target_account_id) ON follows TO limited",
        "GRANT SELECT (id, username, uri, id_scheme) ON accounts TO limited",
        "GRANT SELECT, INSERT, DELETE ON public.unavailable_domains TO limited",
        "GRANT USAGE ON SEQUENCE public.unavailable_domains_id_seq TO limited",
    ]
    assert len(grants(failed["signer"])) == 1
    assert grants(failed["signer"])[0].endswith(" ON accounts TO limited")
    for statement in grants(failed["PostgreSQL"]) + grants(failed["signer"]):
        installed.query(statement)
    done = fedpush(installed, "check", **settings)
    assert done.returncode == 0, done.stdout


def test_check_names_the_one_right_that_is_missing(installed, limited):
    installed.query("GRANT ALL ON ALL TABLES IN SCHEMA public TO limited")
    installed.query("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO limited")
    installed.query("REVOKE DELETE ON unavailable_domains FROM limited")
    done = fedpush(installed, "check", DATABASE_URL=limited,
                   FEDPUSH_DATABASE_URL=installed.postgres.url(installed.database))
    failed = lines(done, "FAIL")
    assert list(failed) == ["PostgreSQL"], done.stdout
    assert grants(failed["PostgreSQL"]) == ["GRANT DELETE ON public.unavailable_domains TO limited"]


def test_check_wants_rights_on_the_schema(installed, limited):
    done = fedpush(installed, "check", FEDPUSH_DATABASE_URL=limited)
    assert done.returncode == 1 and list(lines(done, "FAIL")) == ["schema"], done.stdout
    assert "GRANT" in lines(done, "FAIL")["schema"]


def test_check_wants_setup(world):
    sidekiq_process(world, ["default"])
    done = fedpush(world, "check")
    assert done.returncode == 1 and list(lines(done, "FAIL")) == ["schema"], done.stdout
    assert "fedpush setup" in lines(done, "FAIL")["schema"]


def test_check_wants_keys(installed):
    installed.query("UPDATE accounts SET private_key = NULL")
    done = fedpush(installed, "check")
    assert done.returncode == 1 and list(lines(done, "FAIL")) == ["keys"], done.stdout


def test_check_wants_a_runtime_directory(installed, tmp_path):
    done = fedpush(installed, "check", runtime_dir=str(tmp_path / "none" / "run"))
    assert done.returncode == 1 and list(lines(done, "FAIL")) == ["directory"], done.stdout
    done = fedpush(installed, "check", runtime_dir=str(tmp_path / "run"))
    assert done.returncode == 0, done.stdout
    assert "is made at the first start" in lines(done, "ok")["directory"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a /run of its own")
def test_check_knows_that_systemd_makes_the_directory(installed):
    """Before the first start under systemd there is no /run/fedpush."""
    run = "mount -t tmpfs -o mode=755 none /run && mkdir -p /run/{0} && exec {1} check"
    for booted, grade in (("systemd/system", "ok"), ("nothing", "FAIL")):
        told = environment(installed, "/run/fedpush", FEDPUSH_USER="nobody")
        done = subprocess.run(["unshare", "--mount", "sh", "-c", run.format(booted, BINARY)], env=told,
                              capture_output=True, text=True, timeout=60)
        if "unshare" in done.stderr or "mount" in done.stderr:
            pytest.skip(done.stderr)
        assert "/run/fedpush" in lines(done, grade)["directory"], done.stdout + done.stderr
        assert done.returncode == (0 if grade == "ok" else 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory away")
def test_check_wants_the_directory_that_run_wants(installed):
    path = tempfile.mkdtemp(dir=installed.folder)
    done = fedpush(installed, "check", runtime_dir=path, FEDPUSH_USER="nobody")
    assert done.returncode == 1 and list(lines(done, "FAIL")) == ["directory"], done.stdout
    assert "belongs to nobody" in done.stdout
    shutil.chown(path, "nobody")
    assert fedpush(installed, "check", runtime_dir=path, FEDPUSH_USER="nobody").returncode == 0
    done = fedpush(installed, "check", runtime_dir=path, FEDPUSH_USER="no-such-user")
    assert done.returncode == 1 and list(lines(done, "FAIL")) == ["user"], done.stdout


def test_check_wants_resolvers_that_answer(installed):
    done = fedpush(installed, "check", FEDPUSH_RESOLVERS=f"127.0.0.1:{free_port()}")
    assert done.returncode == 1 and list(lines(done, "FAIL")) == ["DNS"], done.stdout
    assert "FEDPUSH_RESOLVERS" in lines(done, "FAIL")["DNS"]


def test_check_touches_no_job(installed):
    push(installed.redis, [delivery(1, installed.fediverse.inbox("ok-1"))])
    before = list(payloads(installed.redis_client))
    assert fedpush(installed, "check").returncode == 0
    assert list(payloads(installed.redis_client)) == before


def test_no_secret_is_printed(installed):
    url = f"redis://:hunter-two@127.0.0.1:{installed.redis.port}/0"
    done = fedpush(installed, "check", REDIS_URL=url)
    assert done.returncode == 1 and "FAIL" in done.stdout
    assert "hunter-two" not in done.stdout + done.stderr


# ---- status ----


def test_status_is_good_beside_a_running_machine(machine, world):
    sidekiq_process(world, ["default"])
    done = fedpush(world, "status")
    assert done.returncode == 0, done.stdout
    assert machine.identity() in lines(done, "ok")["machine"]


def test_status_counts_open_circuits(machine, world):
    sidekiq_process(world, ["default"])
    assert lines(fedpush(world, "status"), "ok")["circuits"] == "none is open"
    change = time.time() * 1e6  # more than Redis answers at once
    world.redis_client.zadd("fedpush:circuits", {f"{i}.example": change + i for i in range(3000)})
    world.redis_client.hset("fedpush:circuit", mapping={
        f"{i}.example": "closed" if i % 3 == 0 else f"open {int(change / 1000)} {int(change / 1000) + 60000} 60000"
        for i in range(3000)})
    done = fedpush(world, "status")
    assert lines(done, "ok")["circuits"].startswith("2000 hosts don't answer"), done.stdout


def test_status_warns_of_old_jobs(machines, world):
    machines(FEDPUSH_CLAIM_RATE="1")
    sidekiq_process(world, ["default"])
    old = json.dumps({"class": "Old", "args": [], "jid": "f" * 24, "enqueued_at": int((time.time() - 300) * 1000)})
    world.redis_client.rpush("queue:push", *[old] * 200)
    done = fedpush(world, "status")
    assert done.returncode == 1, done.stdout
    assert "the oldest for 5 min" in lines(done, "warn")["push"]


def test_status_warns_of_the_dead(machine, world):
    sidekiq_process(world, ["default"])
    world.redis_client.zadd("fedpush:identities", {STRANGER: time.time() - 65})
    world.redis_client.hset(f"fedpush:claimed:{STRANGER}", mapping={"seq": 1, "1": "q\n{}"})
    done = fedpush(world, "status")
    assert done.returncode == 1, done.stdout
    assert lines(done, "warn")["machine"] == f"{STRANGER} is dead and holds 1 jobs: fedpush handback"


def test_status_is_broken_without_fedpush(installed):
    installed.redis_client.flushall()
    sidekiq_process(installed, ["default"])
    done = fedpush(installed, "status")
    assert done.returncode == 2 and "no fedpush is running" in lines(done, "FAIL")["machines"], done.stdout


def test_status_without_redis_or_schema(world):
    done = fedpush(world, "status", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert done.returncode == 2 and set(lines(done, "FAIL")) == {"Redis", "health"}, done.stdout
    assert lines(done, "FAIL")["health"].endswith("fedpush setup")


def status_json(world):
    done = fedpush(world, "status", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == ["ok", "warn", "FAIL"].index(found["grade"]), done.stdout
    return found


def test_status_for_programs(machine, world):
    sidekiq_process(world, ["default"])
    push(world.redis, [delivery(i, world.fediverse.inbox("ok-1")) for i in range(3)])
    wait_settled(world)
    wait_for(lambda: status_json(world)["health"]["last_written_age_s"] is not None, 30, "statistics")
    wait_for(lambda: status_json(world)["machines"][0]["listed"], 30, "it is in Sidekiq's list")
    found = status_json(world)
    assert set(found) == {"grade", "lines", "redis", "machines", "sidekiq", "queues", "later", "handoff", "ledger",
                          "health"}
    assert found["grade"] == "ok" and {line["grade"] for line in found["lines"]} == {"ok"}
    alone, = found["machines"]
    assert alone["identity"] == machine.identity() and alone["alive"] and alone["held"] == 0
    assert found["queues"] == [{"name": "push", "length": 0, "oldest_age_s": 0.0}]
    assert found["handoff"] == [{"queue": "default", "length": 0, "consumers": 1}]
    assert found["later"] == {"retry": 0, "schedule": 0, "dead": 0}
    fleet = found["ledger"]["fleet"]
    assert (fleet["claimed"], fleet["outcomes"]["delivered"], fleet["held"], fleet["missing"]) == (3, 3, 0, 0)
    assert found["ledger"]["machine"] == fleet
    assert found["sidekiq"]["version"] and str(world.redis.port) in found["redis"]["address"]


def test_what_could_not_be_asked_is_null(world):
    done = fedpush(world, "status", "--json", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    found = json.loads(done.stdout)
    assert done.returncode == 2 and found["grade"] == "FAIL"
    assert [line["subject"] for line in found["lines"]] == ["Redis", "health"]
    assert found["machines"] is None and found["ledger"] is None and found["health"] is None


def test_status_tells_who_is_not_listed(machine, world):
    sidekiq_process(world, ["default"])
    client = world.redis_client
    wait_for(lambda: client.sismember("processes", machine.identity()), 30, "it is listed")
    assert "list" not in lines(fedpush(world, "status"), "ok")["machine"]
    stranger = "ex\x1bample\xff:1:0123456789ab"
    client.zadd("fedpush:identities", {stranger.encode("latin-1"): time.time() + 20})
    done = fedpush(world, "status")
    assert done.returncode == 0 and "it isn't in Sidekiq's list" in done.stdout
    listed = {entry["identity"]: entry["listed"] for entry in status_json(world)["machines"]}
    assert listed == {machine.identity(): True, "ex?ample?:1:0123456789ab": False}


# ---- stats ----


def test_stats(machine, world):
    jobs = [delivery(i, world.fediverse.inbox("ok-1")) for i in range(3)]
    jobs += [delivery(3, world.fediverse.inbox("ok-1", "/users/x/inbox")), delivery(4, world.fediverse.inbox("status503-1"))]
    push(world.redis, jobs)
    wait_settled(world)

    def rows(*arguments):
        done = fedpush(world, "stats", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    wait_for(lambda: sum(row["delivered"] + row["retried"] for row in rows()) == 5, 30, "all five are counted")
    found = rows()
    assert [(row["host"].split(":")[0], row["delivered"], row["retried"]) for row in found] == [
        ("ok-1.fedi.test", 4, 0), ("status503-1.fedi.test", 0, 1),
    ]
    assert found[0]["failing_for_s"] is None and found[0]["last_success_age_s"] >= 0
    assert found[1]["last_status"] == 503 and found[1]["consecutive_failures"] == 1
    assert found[1]["last_success_age_s"] is None and found[1]["failing_for_s"] >= 0
    inboxes = rows(found[0]["host"].upper())
    assert [(row["inbox_url"], row["delivered"]) for row in inboxes] == [
        (world.fediverse.inbox("ok-1"), 3), (world.fediverse.inbox("ok-1", "/users/x/inbox"), 1),
    ]
    table = fedpush(world, "stats").stdout.splitlines()
    assert table[0].split()[:4] == ["HOST", "DELIVERED", "RETRIED", "REJECTED"]
    assert table[1].split()[:4] == [found[0]["host"], "4", "0", "0"]
    assert "503" in table[2] and "never" in table[2]
    table = fedpush(world, "stats", found[0]["host"]).stdout
    assert all(f"{row['inbox_url']} " in table for row in inboxes), "addresses are told apart"
    assert fedpush(world, "stats", "nowhere.test").stdout == "no delivery is known\n"


def test_stats_shows_no_control_characters(installed):
    installed.query("INSERT INTO fedpush.domain_health (host, consecutive_failures, last_error)"
                    " VALUES (%s, 1, %s)", "evil\x1b[2J.test", "\x1b]0;title\x07 ok")
    done = fedpush(installed, "stats")
    assert "evil?[2J.test" in done.stdout and "\x1b" not in done.stdout and "\x07" not in done.stdout


def test_stats_before_setup(world):
    done = fedpush(world, "stats")
    assert done.returncode == 1 and "fedpush setup" in done.stderr and done.stdout == ""


# ---- setup ----


def test_setup_can_be_run_again(world):
    for _ in range(2):
        done = fedpush(world, "setup")
        assert done.returncode == 0 and "schema fedpush is at version" in done.stdout, done.stderr
    assert world.query("SELECT count(*) = max(version) FROM fedpush.schema_version") == [(True,)]


def test_setup_without_the_right_names_it(world, limited):
    done = fedpush(world, "setup", FEDPUSH_DATABASE_URL=limited)
    assert done.returncode == 77 and "GRANT CREATE ON DATABASE" in done.stderr


def test_setup_without_postgresql(world):
    done = fedpush(world, "setup", DATABASE_URL=world.postgres.url(world.database, free_port()))
    assert done.returncode == 69 and done.stderr.startswith("fedpush: PostgreSQL")


# ---- handback ----


def held_by(world, identity, beat_age_s, *numbers):
    """Jobs that this identity claimed from queue:push."""
    jobs = [json.dumps({**delivery(i, world.fediverse.inbox("ok-1")), "jid": f"{i:024x}"}) for i in numbers]
    values = {str(i): "q\n" + job for i, job in zip(numbers, jobs)}
    world.redis_client.hset(f"fedpush:claimed:{identity}", mapping={"seq": max(numbers), **values})
    world.redis_client.zadd("fedpush:identities", {identity: time.time() - beat_age_s})
    return [job.encode() for job in jobs]


def test_handback_with_nothing_to_do(world):
    done = fedpush(world, "handback")
    assert done.returncode == 0 and done.stdout == "nothing to hand back\n"


def test_handback_takes_from_the_dead_only(world):
    jobs = held_by(world, STRANGER, 100, 1, 2, 3)
    held_by(world, "alive:1:abcabcabcabc", 1, 4)
    done = fedpush(world, "handback")
    assert done.returncode == 0, done.stderr
    assert f"{STRANGER}: 3 jobs back" in done.stdout and "alive:1:abcabcabcabc: alive, left alone" in done.stdout
    # the consuming end is the right one, and the oldest goes first
    assert world.redis_client.lrange("queue:push", 0, -1) == jobs[::-1]
    assert world.redis_client.hlen("fedpush:claimed:alive:1:abcabcabcabc") == 2
    assert world.redis_client.zrange("fedpush:identities", 0, -1) == [b"alive:1:abcabcabcabc"]


def test_handback_of_a_named_living_owner_is_refused(world):
    held_by(world, STRANGER, 1, 1)
    for arguments in ([STRANGER], [STRANGER, "--own"], ["--own", STRANGER]):
        done = fedpush(world, "handback", *arguments)
        assert done.returncode == (1 if len(arguments) == 1 else 64), done.stdout + done.stderr
    assert world.redis_client.llen("queue:push") == 0
    assert world.redis_client.hlen(f"fedpush:claimed:{STRANGER}") == 2


def test_handback_own_returns_at_once_what_a_crash_left(machines, world):
    machine = machines()
    push(world.redis, [delivery(i, world.fediverse.inbox("slow9000-1")) for i in range(3)])
    identity = machine.identity()
    wait_for(lambda: world.redis_client.hlen(f"fedpush:claimed:{identity}") == 4, 30, "three claims")
    done = fedpush(world, "handback", "--own", runtime_dir=machine.runtime_dir)
    assert done.returncode == 1 and "stop it first" in done.stderr
    machine.kill()
    done = fedpush(world, "handback", "--own", runtime_dir=machine.runtime_dir)
    assert done.returncode == 0, done.stderr
    assert f"{identity}: 3 jobs back" in done.stdout
    assert world.redis_client.llen("queue:push") == 3
    assert world.redis_client.zcard("fedpush:identities") == 0


def test_handback_needs_redis_only(world):
    held_by(world, STRANGER, 100, 1)
    done = fedpush(world, "handback", DATABASE_URL=world.postgres.url(world.database, free_port()))
    assert done.returncode == 0 and world.redis_client.llen("queue:push") == 1
    done = fedpush(world, "handback", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert done.returncode == 69


# ---- deliver ----


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "activity.json"
    path.write_text(activity(1))
    return str(path)


def deliver(world, document, *more, account="alice", host="ok-1"):
    return fedpush(world, "deliver", "--account", account, "--inbox", world.fediverse.inbox(host), document, *more)


def test_deliver_only_shows(world, document):
    done = deliver(world, document)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("POST /inbox HTTP/1.1\n")
    assert f'Signature: keyId="https://{DOMAIN}/users/alice#main-key"' in done.stdout
    assert f"Content-Length: {os.path.getsize(document)}" in done.stdout
    assert world.fediverse.summary()["posts"] == 0


@pytest.mark.parametrize("account", ["alice", "bob", "mastodon.internal"])
def test_deliver_sends_what_receivers_verify(world, document, account):
    done = deliver(world, document, "--send", account=account)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = world.fediverse.summary()
    assert summary["posts"] == 1 and summary["failures"] == []
    assert sum(summary["verified"].values()) == 1
    assert "HTTP/1.1 20" in done.stdout


def test_deliver_says_what_the_inbox_answers(world, document):
    done = deliver(world, document, "--send", host="status503-1")
    assert done.returncode == 1 and "HTTP/1.1 503" in done.stdout


def test_deliver_tells_programs(world, document):
    told = json.loads(deliver(world, document, "--json").stdout)
    assert told["answer"] is None and told["request"]["body_bytes"] == os.path.getsize(document)
    assert any(line.startswith("Signature: ") for line in told["request"]["head"])
    done = deliver(world, document, "--json", "--send", host="status503-1")
    assert done.returncode == 1 and json.loads(done.stdout)["answer"]["status"] == 503


@pytest.mark.parametrize("host", ["refused-1", "nx-1"])
def test_deliver_says_why_nothing_answered(world, document, host):
    done = deliver(world, document, "--send", host=host)
    assert done.returncode == 1 and f"{host}.fedi.test" in done.stderr and done.stderr.count("\n") == 1


def test_deliver_refuses_private_addresses(world, document):
    done = fedpush(world, "deliver", "--account", "alice", "--inbox", world.fediverse.inbox("ok-1"), document,
                   "--send", ALLOWED_PRIVATE_ADDRESSES=None)
    assert done.returncode == 1 and "ALLOWED_PRIVATE_ADDRESSES" in done.stderr
    assert world.fediverse.summary()["posts"] == 0


def test_deliver_of_an_unknown_account(world, document):
    done = deliver(world, document, account="nobody")
    assert done.returncode == 1 and 'no local account "nobody"' in done.stderr and done.stdout == ""


def test_deliver_of_a_missing_file(world, tmp_path):
    done = deliver(world, str(tmp_path / "none.json"))
    assert done.returncode == 1 and "none.json: No such file" in done.stderr and done.stdout == ""


@pytest.mark.parametrize("inbox", ["nonsense", "ftp://ok-1.fedi.test/inbox"])
def test_deliver_to_what_is_no_inbox(world, document, inbox):
    done = fedpush(world, "deliver", "--account", "alice", "--inbox", inbox, document)
    assert done.returncode == 64 and done.stdout == ""


# ---- the command line ----


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help(world, command, option):
    # It needs no configuration.
    done = fedpush(world, command, option, LOCAL_DOMAIN=None, REDIS_URL=None, DATABASE_URL=None)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"Usage: fedpush [--mastodon DIR] {command}")


def test_overview_names_every_command(world):
    done = fedpush(world, "--help")
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert done.returncode == 0 and listed[: len(COMMANDS)] == COMMANDS


def test_help_of_run_lists_the_settings(world):
    text = fedpush(world, "run", "--help").stdout
    assert all(name in text for name in ("FEDPUSH_USER", "FEDPUSH_HOST_WINDOW", "FEDPUSH_KEYS_DATABASE_URL"))


def test_version(world):
    for word in ("version", "--version"):
        done = fedpush(world, word)
        assert done.returncode == 0 and done.stdout.startswith("fedpush ")


@pytest.mark.parametrize("arguments", [
    [], ["dance"], ["--json"], ["--mastodon"], ["run", "now"], ["check", "--fast"], ["setup", "again"],
    ["status", "--xml"], ["stats", "--xml"], ["stats", "a.test", "b.test"],
    ["stats", "--span", "1y"], ["stats", "--sort", "luck"], ["stats", "--limit", "0"], ["stats", "--csv", "--json"],
    ["stats", "a.test", "--span", "7d"], ["setup", "--json", "--roles"], ["handback", "--all"], ["handback", ""],
    ["deliver"], ["deliver", "--account"], ["deliver", "--account", "alice", "--inbox", "https://a.test/"],
    ["version", "1"], ["top", "now"], ["jobs", "all"], ["jobs", "--domain"], ["jobs", "--domain", "a b"], ["trace"], ["trace", "alice"], ["trace", "--xml"], ["completion"], ["completion", "csh"], ["manual", "now"], ["role", "worker", "0"], ["role"],
])
def test_what_is_not_understood_exits_64(world, arguments):
    done = fedpush(world, *arguments)
    assert done.returncode == 64, done.stdout + done.stderr
    assert done.stdout == "" and done.stderr.startswith("fedpush: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["run", "check", "status", "handback"])
def test_an_unknown_setting_exits_78(world, command):
    done = fedpush(world, command, FEDPUSH_WORKRES="2")
    assert done.returncode == 78
    assert "FEDPUSH_WORKRES" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name, value", [
    ("FEDPUSH_WORKERS", "many"), ("FEDPUSH_WORKERS", "65"), ("FEDPUSH_LOG_LEVEL", "loud"), ("LOCAL_DOMAIN", None),
    ("FEDPUSH_MASTODON_VERSION", "new"), ("REDIS_URL", "http://127.0.0.1/"),
])
def test_an_invalid_setting_exits_78_and_is_named(world, name, value):
    done = fedpush(world, "check", **{name: value})
    assert done.returncode == 78 and name in done.stderr, done.stdout + done.stderr


# ---- what packages install beside it ----


def test_completions_know_every_command_and_its_options(world):
    scripts = {shell: fedpush(world, "completion", shell, LOCAL_DOMAIN=None).stdout for shell in ("bash", "zsh", "fish")}
    for shell, script in scripts.items():
        for command in COMMANDS:
            assert re.search(rf"\b{command}\b", script), (shell, command)
        for word in ("pause", "drop", "show", "--window", "--own", "--print-redis-acl", "--mastodon"):
            assert word in script or f"-l {word[2:]}" in script, (shell, word)
        if shutil.which(shell):
            done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0 and done.stderr == "", done.stderr


def completed(script, *words):
    """What bash offers for the last of the words."""
    ask = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _fedpush; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", f"{script}\n{ask}", "bash", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.split()


def test_bash_completes(world):
    script = fedpush(world, "completion", "bash").stdout
    assert completed(script, "fedpush", "reh") == ["rehearse"]
    assert completed(script, "fedpush", "domain", "re") == ["resume"]
    assert completed(script, "fedpush", "--mastodon", "/", "handback", "--o") == ["--own"]


def test_the_manual_has_every_command_and_is_clean(world):
    source = fedpush(world, "manual", LOCAL_DOMAIN=None).stdout
    for command in COMMANDS:
        assert f"\n.SS fedpush {command}" in source
    assert "FEDPUSH_LOG_LEVEL" in source
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-Tascii", "-ww", "-z"], input=source, capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == 0 and done.stderr == "", done.stderr


# ---- for programs ----


def result(world, *arguments, code=0, **settings):
    done = fedpush(world, *arguments, "--json", **settings)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_every_command_has_an_object_for_programs(installed):
    world = installed
    assert result(world, "check")["works"] is True
    assert result(world, "setup") == {"schema_version": 3}
    assert result(world, "version")["libraries"]["libcurl"]
    world.redis_client.zadd("fedpush:identities", {STRANGER: 1})
    world.redis_client.hset(f"fedpush:claimed:{STRANGER}", mapping={"seq": 1, "1": "q\n{}"})
    returned, = result(world, "handback")["items"]
    assert returned == {"identity": STRANGER, "alive": False, "returned": 1, "poisoned": 0, "error": None}
    assert result(world, "pause", "--for", "1h") == {
        "ok": True, "error": None, "text": "the fleet pauses within two seconds\n"
        "what is in flight ends, what is held goes back to its queue after ten seconds"}
    assert result(world, "resume")["ok"] is True
    assert "paused: a.example" in result(world, "domain", "pause", "a.example")["text"]
    assert "resumed: a.example" in result(world, "domain", "resume", "a.example")["text"]
    assert result(world, "domain", "limit", "a.example", "--rate", "5/m")["ok"] is True
    assert result(world, "domain", "drop", "a.example", "--yes")["ok"] is True
    assert result(world, "domain", "list")[0]["name"]
    found = result(world, "domain", "show", "a.example")
    assert found["host"] == "a.example" and found["waiting"]["places"]["retry"] == 0
    assert result(world, "domain", "show", "A.example:8443")["host"] == "a.example:8443"
    for wrong in ("*.a.example", "a.example/b"):
        assert fedpush(world, "domain", "show", wrong, "--json").returncode == 64


def test_what_failed_is_an_object_too(installed):
    done = fedpush(installed, "pause", "--machine", "nowhere", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 69 and not found["ok"] and "no fedpush of that name" in found["error"]
    assert found["error"] in done.stderr
    found = result(installed, "check", code=1, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert not found["works"] and found["grade"] == "FAIL"
    for wrong in (["drop", "a.example"], ["limit", "a.example"], ["limit", "a.example", "--inherit", "--clear"],
                  ["resume", "a.example/b"], ["pause", "a.example/b"]):
        done = fedpush(installed, "domain", *wrong, "--json")
        assert done.returncode == 64 and json.loads(done.stdout)["error"] in done.stderr, wrong


def test_stats_of_a_span(installed):
    buckets = [0] * 24
    buckets[7], buckets[10] = 95, 5  # 64 to 127 ms, 512 to 1023 ms
    for hours, host in ((0, "now.example"), (23, "now.example"), (24, "old.example"), (100, "old.example"), (800, "gone.example")):
        installed.query("INSERT INTO fedpush.domain_hourly (host, hour, delivered, retried, sent_bytes, latency) VALUES"
                        " (%s, date_trunc('hour', now()) - %s * interval '1 hour', 90, 10, 1000, %s)", host, hours, buckets)

    def rows(*arguments):
        return {row["host"]: row for row in result(installed, "stats", *arguments)}

    day = rows("--span", "24h")
    assert list(day) == ["now.example"] and (day["now.example"]["delivered"], day["now.example"]["retried"]) == (180, 20)
    assert day["now.example"]["success_rate"] == 0.9 and day["now.example"]["sent_bytes"] == 2000
    assert 64 <= day["now.example"]["p50_ms"] < 128 and 512 <= day["now.example"]["p99_ms"] < 1024
    week = rows("--span", "7d")
    assert {host: row["delivered"] for host, row in week.items()} == {"now.example": 180, "old.example": 180}
    assert list(rows("--span", "7d", "--limit", "1", "--sort", "host")) == ["now.example"]
    assert rows("--span", "total") == {}
    table = fedpush(installed, "stats", "--span", "30d").stdout.splitlines()
    assert table[0].split()[:5] == ["HOST", "DELIVERED", "RETRIED", "REJECTED", "GAVE"] and len(table) == 3
    assert fedpush(installed, "stats", "--csv", "--span", "24h").stdout.splitlines()[1].startswith('"now.example",180,20')
