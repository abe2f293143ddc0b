"""Redis behind Sentinels: the master is found, lost, and found again."""

import pytest
from jobs import account_at_rest, account_for, delivery, push, push_fanout, unsettled, wait_settled
from machine import fedpush
from servers import Redis, Sentinel, free_port, wait_for
from test_cli import lines

PASSWORD, SENTINELS_PASSWORD = "red:is", "watch@men"


class Watched:
    """A master, its replica and a Sentinel, all with passwords; the first Sentinel of the list is
    away. What the world knows as its Redis is the master."""

    def __init__(self, world, folder):
        self.world = world
        options = {"requirepass": PASSWORD, "masterauth": PASSWORD, "repl-diskless-sync-delay": 0}
        self.master = Redis(f"{folder}/master", options=options)
        self.replica = Redis(
            f"{folder}/replica", options={**options, "replicaof": f"127.0.0.1 {self.master.port}"})
        wait_for(self.is_following, 30, "the replica follows")
        self.sentinel = Sentinel(f"{folder}/sentinel", self.master, SENTINELS_PASSWORD)
        self.settings = {
            "REDIS_URL": None, "REDIS_SENTINEL_MASTER": "main", "REDIS_PASSWORD": PASSWORD,
            "REDIS_SENTINELS": f"127.0.0.1:{free_port()},127.0.0.1", "REDIS_SENTINEL_PORT": self.sentinel.port,
            "REDIS_SENTINEL_PASSWORD": SENTINELS_PASSWORD}
        self.plain = world.redis, world.redis_client
        self.use(self.master)

    def is_following(self):
        return self.replica.client().info("replication")["master_link_status"] == "up"

    def use(self, server):
        self.world.redis, self.world.redis_client = server, server.client()

    def lag(self):
        """From now on nothing reaches the replica."""
        self.replica.client().config_set("masterauth", "wrong")
        self.master.client().execute_command("CLIENT", "KILL", "TYPE", "replica")
        wait_for(lambda: not self.is_following(), 30, "the replica lags")

    def fail_over(self):
        self.master.stop(9)
        wait_for(lambda: self.sentinel.master_port() == self.replica.port, 30, "the Sentinel promotes the replica")
        wait_for(lambda: self.replica.client().info("replication")["role"] == "master", 30, "it is the master")
        self.use(self.replica)

    def stop(self):
        self.world.redis, self.world.redis_client = self.plain
        for server in (self.sentinel, self.replica, self.master):
            server.stop()


@pytest.fixture
def watched(world, tmp_path):
    server = Watched(world, str(tmp_path))
    yield server
    server.stop()


def assert_named(watched, server):
    """check and status name the master found, and no password."""
    for command in ("check", "status"):
        done = fedpush(watched.world, command, **watched.settings)
        assert f"redis://127.0.0.1:{server.port}/0, master main" in lines(done, "ok")["Redis"], done.stdout
        assert PASSWORD not in done.stdout and SENTINELS_PASSWORD not in done.stdout


def test_the_master_dies_while_jobs_flow(world, watched, machines):
    machine = machines(**watched.settings)
    assert_named(watched, watched.master)
    jobs = [delivery(i, world.fediverse.inbox(f"slow100-{i % 10}", f"/u{i}")) for i in range(400)]
    push_fanout(watched.master, jobs[:300])
    wait_for(lambda: world.fediverse.summary()["posts"] > 20, 30, "some are delivered")
    watched.master.client().wait(1, 5000)
    watched.fail_over()
    push_fanout(watched.replica, jobs[300:])
    wait_for(lambda: world.fediverse.summary()["posts"] >= 400, 60, "all are sent")
    wait_settled(world)
    account = account_at_rest(world, jobs)
    assert account.lost == [] and account.places == {"delivered": 400}, account
    assert_named(watched, watched.replica)
    # The old master comes back as it was; the Sentinel makes it a replica, and nobody writes to it.
    watched.master.start()
    push(watched.replica, [delivery(999, world.fediverse.inbox("ok-1"))])
    wait_settled(world)
    assert account_for(world, [delivery(999, world.fediverse.inbox("ok-1"))]).lost == []
    assert PASSWORD not in machine.log() and SENTINELS_PASSWORD not in machine.log()
    assert machine.process.poll() is None


def test_claims_that_the_new_master_never_saw_are_put_back(world, watched, machines):
    machine = machines(**watched.settings)
    watched.master.client().wait(1, 5000)  # the replica knows the machine, and none of its claims
    watched.lag()
    jobs = [delivery(i, world.fediverse.inbox(f"slow1500-{i % 10}", f"/u{i}")) for i in range(250)]
    push_fanout(watched.master, jobs)
    wait_for(lambda: watched.master.client().llen("queue:push") == 0, 30, "all are claimed")
    assert unsettled(world) > 100
    watched.fail_over()
    wait_for(lambda: "claims missing in Redis were put back" in machine.log(), 30, "claims are put back")
    wait_for(lambda: world.fediverse.summary()["posts"] >= 250, 60, "all are sent")
    wait_settled(world)
    account = account_at_rest(world, jobs)
    assert account.lost == [] and account.places == {"delivered": 250}, account
    assert machine.process.poll() is None


def test_wrong_settings_of_sentinel_are_told(world, watched):
    def refused(**settings):
        done = fedpush(world, "check", **{**watched.settings, **settings})
        assert done.returncode == 1, done.stdout
        return lines(done, "FAIL")["Redis"]

    assert 'it knows no master "other"' in refused(REDIS_SENTINEL_MASTER="other")
    assert "AUTH: WRONGPASS" in refused(REDIS_SENTINEL_PASSWORD="no")
    assert f"Sentinel 127.0.0.1:{watched.settings['REDIS_SENTINEL_PORT']}" in refused(REDIS_SENTINEL_PASSWORD="no")
    assert "AUTH: WRONGPASS" in refused(REDIS_PASSWORD="no") and "Sentinel" not in refused(REDIS_PASSWORD="no")
    assert "Connection refused" in refused(REDIS_SENTINELS=f"127.0.0.1:{free_port()}")
