"""Every way that a Mastodon reaches its Redis, but for Sentinel: namespace, three roles, TLS with
certificates, and a fail-over behind a name."""

import json
import os
import subprocess
import time

import pytest
from jobs import account_at_rest, delivery, push, push_fanout, wait_settled
from machine import fedpush
from renamed import RenamedHost
from servers import Redis, free_port, wait_for
from test_cli import lines, sidekiq_process


def push_raw(client, jobs):
    """For what Sidekiq's client of the tests can't reach."""
    client.sadd("queues", "push")
    for number, job in enumerate(jobs):
        more = {"retry": 16, "dead": False, "queue": "push", "jid": f"{number:024x}",
                "created_at": time.time(), "enqueued_at": time.time()}
        client.lpush("queue:push", json.dumps({**job, **more}, separators=(",", ":")))


def six_days_of_failure(client, key):
    client.sadd(key, *(f"2026-01-0{day}" for day in range(1, 7)))


# ---- its clock ----


class Behind(Redis):
    """Its clock is an hour behind everybody else's."""

    CODE = """
        #include <dlfcn.h>
        #include <sys/time.h>
        int gettimeofday(struct timeval *now, void *zone)
        {
            int (*real)(struct timeval *, void *) = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
            int done = real(now, zone);
            now->tv_sec -= 3600;
            return done;
        }"""

    def spawn(self, command, **options):
        library = os.path.join(self.folder, "behind.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", library, "-xc", "-"],
                       input=self.CODE.encode(), check=True)
        super().spawn(command, env={**os.environ, "LD_PRELOAD": library}, **options)


@pytest.fixture
def behind(tmp_path):
    server = Behind(str(tmp_path / "behind"))
    yield server
    server.stop()


def claims(client):
    return sum(int(client.hget(key, "claimed") or 0) for key in client.keys("fedpush:ledger:*"))


def test_what_is_due_is_so_by_the_clock_of_redis(world, behind, machines):
    """What was put off by it isn't due at once by ours, again and again."""
    with behind.client() as client:
        assert -3610 < client.time()[0] - time.time() < -3590
        push_raw(client, [delivery(100 + i, world.fediverse.inbox("refused-1", f"/u{i}")) for i in range(2)])
        machine = machines(ready=False, REDIS_URL=behind.url, FEDPUSH_WORKERS=1)
        wait_for(lambda: client.zcard("retry") > 1, 30, "the first failure holds no host back for an hour")
        wait_for(lambda: any(abs(json.loads(said)["at"] - client.time()[0]) < 60 for said in client.hvals("fedpush:machines")),
                 60, "the machine knows what time it is there")
        assert fedpush(world, "domain", "pause", "ok-1.fedi.test", REDIS_URL=behind.url).returncode == 0
        wait_for(lambda: "msg=policies " in machine.log(), 30, "the machine has heard of it")
        push_raw(client, [delivery(i, world.fediverse.inbox("ok-1", f"/u{i}")) for i in range(50)])
        wait_for(lambda: client.zcard("schedule") == 50, 60, "all wait")
        claimed, since = claims(client), time.monotonic()
        wait_for(lambda: time.monotonic() > since + 3, 30, "three turns of the poller")
        assert claims(client) - claimed <= 4, "none, but for the two retries"
        waiting = client.zrange("schedule", 0, -1)
        assert len(waiting) == 50
        client.zadd("schedule", {job: client.time()[0] - 1 for job in waiting})
        assert fedpush(world, "domain", "resume", "ok-1.fedi.test", REDIS_URL=behind.url).returncode == 0
        wait_for(lambda: world.fediverse.summary()["posts"] == 50, 60, "they come due by it, too")


# ---- the namespace of Mastodon up to 4.3 ----


SPACE = "masto"


def test_with_a_namespace_no_other_key_is_touched(world, machines):
    """The user may touch no key outside of it: whatever was tried there is in ACL LOG."""
    world.use("4.3")
    client = world.redis_client
    client.execute_command("ACL", "SETUSER", "masto", "on", ">pw", f"~{SPACE}:*", f"~{SPACE}_cache:*", "&*", "+@all")
    client.execute_command("ACL", "LOG", "RESET")
    six_days_of_failure(client, f"{SPACE}:exhausted_deliveries:status503-1.fedi.test")
    client.set(f"{SPACE}_cache:unavailable_domains", "stale")
    settings = {"REDIS_URL": world.redis.url.replace("redis://", "redis://masto:pw@"), "REDIS_NAMESPACE": SPACE}
    machine = machines(**settings)
    jobs = [delivery(i, world.fediverse.inbox(f"ok-{i % 5}", f"/u{i}")) for i in range(20)]
    jobs += [delivery(20 + i, world.fediverse.inbox(f"status503-{i}")) for i in range(3)]
    jobs += [delivery(23, world.fediverse.inbox("ok-1"), options={"sign_with": "a key"})]
    push(world.redis, jobs, SPACE)
    wait_for(lambda: client.zcard(f"{SPACE}:retry") == 3 and client.llen(f"{SPACE}:queue:default") == 1, 30, "failures wait")
    wait_for(lambda: world.query("SELECT domain FROM unavailable_domains") == [("status503-1.fedi.test",)], 30, "unavailable")
    wait_for(lambda: not client.exists(f"{SPACE}_cache:unavailable_domains"), 30, "the cache is told")
    # A due retry, and what a machine that died left behind.
    entry = client.zrange(f"{SPACE}:retry", 0, 0)[0]
    world.fediverse.behave(json.loads(entry)["args"][2].split("//")[1].split(".")[0], "ok")
    client.zadd(f"{SPACE}:retry", {entry: time.time() - 1})
    wait_for(lambda: client.zcard(f"{SPACE}:retry") == 2, 30, "the due one is retried")
    wait_for(lambda: client.get(f"{SPACE}:stat:processed"), 30, "Sidekiq's statistics")
    push(world.redis, [delivery(100 + i, world.fediverse.inbox("slow1500-1", f"/u{i}")) for i in range(30)], SPACE)
    wait_for(lambda: world.fediverse.summary()["posts"] > 25, 30, "some are delivered")
    identity = machine.identity()
    machine.kill()
    assert client.hlen(f"{SPACE}:fedpush:claimed:{identity}") > 1
    assert f"machine      {identity}" in fedpush(world, "status", **settings).stdout
    handed = fedpush(world, "handback", "--own", runtime_dir=machine.runtime_dir, **settings)
    assert handed.returncode == 0 and not client.exists(f"{SPACE}:fedpush:claimed:{identity}"), handed.stderr
    assert client.llen(f"{SPACE}:queue:push") > 0
    machine.start()
    wait_for(lambda: client.llen(f"{SPACE}:queue:push") == 0 and world.fediverse.summary()["posts"] >= 54, 60, "all")
    assert lines(fedpush(world, "check", **settings), "FAIL").keys() <= {"hand-off"}
    machine.stop()
    assert client.hgetall(f"{SPACE}:fedpush:claimed:{identity}") == {}
    foreign = [key for key in client.keys("*") if not key.startswith((f"{SPACE}:".encode(), f"{SPACE}_cache:".encode()))]
    assert foreign == []
    assert client.execute_command("ACL", "LOG") == []
    client.execute_command("ACL", "DELUSER", "masto")


# ---- three roles, three servers ----


@pytest.fixture
def three(world, tmp_path):
    """Sidekiq's is the world's, and has a password and a user; base and cache are others."""
    client = world.redis_client
    client.execute_command("ACL", "SETUSER", "queue", "on", ">p@ss:1", "~*", "&*", "+@all")
    base, cache = Redis(str(tmp_path / "base")), Redis(str(tmp_path / "cache"))
    yield base, cache
    client.execute_command("ACL", "DELUSER", "queue")
    client.config_set("requirepass", "")
    base.stop()
    cache.stop()


def assert_each_role_has_its_server(world, machines, base, cache, settings):
    six_days_of_failure(base.client(), "exhausted_deliveries:status503-1.fedi.test")
    cache.client().set("cache:unavailable_domains", "stale")
    machines(**settings)
    jobs = [delivery(1, world.fediverse.inbox("status503-1")), delivery(2, world.fediverse.inbox("status503-2"))]
    push(world.redis, jobs)
    wait_settled(world)
    wait_for(lambda: not cache.client().exists("cache:unavailable_domains"), 30, "the cache is told")
    tracked = [f"exhausted_deliveries:status503-{i}.fedi.test".encode() for i in (1, 2)]
    wait_for(lambda: sorted(base.client().keys()) == tracked, 30, "the failures are tracked")
    assert world.redis_client.zcard("retry") == 2 and not world.redis_client.keys("exhausted*")
    assert cache.client().keys() == []
    sidekiq_process(world, ["default"])
    done = fedpush(world, "check", **settings)
    assert done.returncode == 0, done.stdout
    for role, server in (("base", base), ("cache", cache)):
        assert f"role {role} answers at redis://" in done.stdout and f":{server.port}/" in done.stdout


def test_each_role_has_its_own_server(world, three, machines):
    base, cache = three
    assert_each_role_has_its_server(world, machines, base, cache, {
        "REDIS_URL": None, "REDIS_HOST": "localhost", "REDIS_PORT": base.port,
        "SIDEKIQ_REDIS_HOST": "127.0.0.1", "SIDEKIQ_REDIS_PORT": world.redis.port, "SIDEKIQ_REDIS_DB": "0",
        "SIDEKIQ_REDIS_USER": "queue", "SIDEKIQ_REDIS_PASSWORD": "p@ss:1",
        "CACHE_REDIS_URL": cache.url})


def test_mastodon_4_2_makes_a_server_of_a_port_alone(world, three, machines):
    base, cache = three
    world.use("4.3")
    assert_each_role_has_its_server(world, machines, base, cache, {
        "FEDPUSH_MASTODON_VERSION": "4.2.29", "REDIS_URL": base.url,
        "SIDEKIQ_REDIS_PORT": world.redis.port, "CACHE_REDIS_PORT": cache.port,
        "REDIS_USER": "nobody", "CACHE_REDIS_SENTINELS": "ignored", "CACHE_REDIS_SENTINEL_MASTER": "ignored"})


# ---- TLS with certificates on both sides ----


@pytest.fixture
def sealed(world, tmp_path):
    """The world's Redis is one that asks clients for a certificate."""
    server = Redis(str(tmp_path / "redis"), world.certificate, {"tls-auth-clients": "yes"})
    plain, plain_client = world.redis, world.redis_client
    world.redis, world.redis_client = server, server.client()
    yield world
    world.redis, world.redis_client = plain, plain_client
    server.stop()


def certificate_settings(world):
    return {"FEDPUSH_REDIS_CA_FILE": world.certificate.ca, "FEDPUSH_REDIS_CERT_FILE": world.certificate.cert,
            "FEDPUSH_REDIS_KEY_FILE": world.certificate.key}


def test_redis_that_asks_for_a_certificate_gets_one(sealed, machines):
    machine = machines(**certificate_settings(sealed))
    jobs = [delivery(i, sealed.fediverse.inbox(f"ok-{i}")) for i in range(20)]
    push_raw(sealed.redis_client, jobs)
    wait_settled(sealed)
    assert account_at_rest(sealed, jobs).places == {"delivered": 20}
    machine.stop()  # while that Redis is there


def test_check_tells_what_is_wrong_with_a_certificate(sealed, tmp_path):
    settings = certificate_settings(sealed)
    assert fedpush(sealed, "setup", **settings).returncode == 0
    sidekiq_process(sealed, ["default"])
    assert fedpush(sealed, "check", **settings).returncode == 0
    none = fedpush(sealed, "check", **{**settings, "FEDPUSH_REDIS_CERT_FILE": None, "FEDPUSH_REDIS_KEY_FILE": None})
    assert none.returncode == 1 and "FEDPUSH_REDIS_CERT_FILE" in lines(none, "FAIL")["Redis"], none.stdout
    other = fedpush(sealed, "check", **{**settings, "FEDPUSH_REDIS_KEY_FILE": sealed.certificate.ca})
    assert "check FEDPUSH_REDIS_CERT_FILE and FEDPUSH_REDIS_KEY_FILE" in lines(other, "FAIL")["Redis"], other.stdout
    missing = fedpush(sealed, "check", **{**settings, "FEDPUSH_REDIS_CA_FILE": str(tmp_path / "none")})
    assert "FEDPUSH_REDIS_CA_FILE" in lines(missing, "FAIL")["file"], missing.stdout
    assert "No such file" in lines(missing, "FAIL")["file"]
    alone = fedpush(sealed, "run", **{**settings, "FEDPUSH_REDIS_KEY_FILE": None})
    assert alone.returncode == 78 and "FEDPUSH_REDIS_KEY_FILE" in alone.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_check_asks_whether_the_user_may_read_the_key(sealed):
    os.chmod(sealed.certificate.key, 0o600)
    done = fedpush(sealed, "check", **{**certificate_settings(sealed), "FEDPUSH_USER": "nobody"})
    failed = lines(done, "FAIL")["file"]
    assert done.returncode == 1 and "FEDPUSH_REDIS_KEY_FILE" in failed and "user nobody" in failed, done.stdout
    assert "FEDPUSH_REDIS_CERT_FILE" not in done.stdout


# ---- a fail-over behind one name ----


def test_a_name_that_leads_elsewhere_after_a_failover(world, machines, tmp_path):
    """As ElastiCache does it: the old primary becomes a replica and keeps our connections; the name
    leads to the new one."""
    port = free_port()
    old = Redis(str(tmp_path / "old"), port=port)
    new = Redis(str(tmp_path / "new"), address="127.0.0.2", port=port, 
                options={"replicaof": f"127.0.0.1 {port}", "replica-announce-ip": "127.0.0.2"})
    wait_for(lambda: new.client().info("replication")["master_link_status"] == "up", 30, "the replica follows")
    host = RenamedHost("primary.fedi.test", "127.0.0.1", world.names)
    plain, plain_client = world.redis, world.redis_client
    world.redis, world.redis_client = old, old.client()
    try:
        machine = machines(REDIS_URL=f"redis://primary.fedi.test:{port}/0", FEDPUSH_RESOLVERS=host.resolver)
        jobs = [delivery(i, world.fediverse.inbox(f"slow100-{i % 20}", f"/u{i}")) for i in range(200)]
        push_fanout(old, jobs[:150])
        wait_for(lambda: world.fediverse.summary()["posts"] > 20, 30, "some are delivered")
        old.client().execute_command("FAILOVER", "TO", "127.0.0.2", port)
        wait_for(lambda: new.client().info("replication")["role"] == "master", 30, "the new primary")
        world.redis, world.redis_client = new, new.client()
        push_fanout(new, jobs[150:])
        wait_for(lambda: "READONLY" in machine.log() or "UNBLOCKED" in machine.log(), 30, "it met the old one")
        host.move("127.0.0.2")
        wait_settled(world)
        account = account_at_rest(world, jobs)
        assert account.places == {"delivered": 200} and account.duplicates == 0, account
        assert old.client().info("replication")["role"] == "slave"
        machine.stop()
    finally:
        world.redis, world.redis_client = plain, plain_client
        old.stop()
        new.stop()
