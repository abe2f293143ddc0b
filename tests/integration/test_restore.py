"""What a backup of Mastodon's database means for schema `fedpush`."""

import subprocess

import pytest
from jobs import delivery, push, wait_settled
from machine import fedpush
from servers import wait_for
from test_cli import lines, sidekiq_process

DELIVERED = "SELECT coalesce(sum(delivered), 0)::int FROM fedpush.domain_health"


@pytest.fixture
def backup(world, machines, tmp_path):
    """A dump of a Mastodon that fedpush has delivered for; fedpush has ended."""
    sidekiq_process(world, ["default"])
    machine = machines()
    push(world.redis, [delivery(i, world.fediverse.inbox("ok-1")) for i in range(3)])
    wait_settled(world)
    assert machine.stop() == 0
    assert world.query(DELIVERED) == [(3,)]
    path = str(tmp_path / "backup.dump")
    tool(world, "pg_dump", "-Fc", "-f", path, world.database)
    return path


def tool(world, name, *arguments):
    postgres = world.postgres
    command = [f"{postgres.bin}/{name}", "-h", "127.0.0.1", "-p", str(postgres.port), "-U", "mastodon", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr


@pytest.fixture
def restore(world):
    """Into an empty database, which is Mastodon's from then on."""
    def into_new(path, *options):
        world.query("DROP DATABASE IF EXISTS restored")
        tool(world, "createdb", "-T", "template0", "restored")
        tool(world, "pg_restore", "--no-owner", *options, "-d", "restored", path)
        world.database = "restored"

    yield into_new
    world.use("4.6")
    world.query("DROP DATABASE IF EXISTS restored WITH (FORCE)")


def test_a_whole_dump_brings_the_statistics_back(world, backup, restore, machines):
    restore(backup)
    done = fedpush(world, "check")
    assert done.returncode == 0, done.stdout
    assert fedpush(world, "setup").returncode == 0 and world.query(DELIVERED) == [(3,)]
    machines(setup=False)
    push(world.redis, [delivery(9, world.fediverse.inbox("ok-1"))])
    wait_for(lambda: world.query(DELIVERED) == [(4,)], 30, "the statistics go on")


def test_without_the_schema_jobs_are_delivered_and_setup_mends_it(world, backup, restore, machines):
    """Mastodon's documentation restores schema `public` alone; an old dump has nothing else."""
    restore(backup, "-n", "public")
    done = fedpush(world, "check")
    assert done.returncode == 1 and list(lines(done, "FAIL")) == ["schema"], done.stdout
    assert "fedpush setup" in lines(done, "FAIL")["schema"]
    machine = machines(setup=False)
    push(world.redis, [delivery(9, world.fediverse.inbox("ok-1"))])
    wait_settled(world)
    assert world.fediverse.summary()["posts"] == 4
    assert fedpush(world, "setup").returncode == 0 and fedpush(world, "check").returncode == 0
    push(world.redis, [delivery(10, world.fediverse.inbox("ok-1"))])
    wait_for(lambda: world.query(DELIVERED)[0][0] >= 1, 60, lambda: f"statistics, anew: {world.query(DELIVERED)}")
    assert machine.process.poll() is None
