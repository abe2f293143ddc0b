"""Where settings come from, and what wrong ones are answered with."""

import os

import pytest
from machine import fedpush
from servers import FEDIVERSE, Server

NOTHING = dict.fromkeys(("REDIS_URL", "DATABASE_URL", "LOCAL_DOMAIN", "FEDPUSH_MASTODON_VERSION"))
VERSION_RB = """\
module Mastodon
  module Version
    module_function

    def major
      4
    end

    def minor
      6
    end

    def patch
      5
    end

    def default_prerelease
      ''
    end

    def prerelease
      version_configuration[:prerelease].presence || default_prerelease
    end
  end
end
"""


@pytest.mark.parametrize("settings, named", [
    ({"FEDPUSH_MASTODON_VERSION": None}, "FEDPUSH_MASTODON_VERSION"),
    ({"FEDPUSH_WORKERS": "x"}, "FEDPUSH_WORKERS"),
    ({"FEDPUSH_WROKERS": "2"}, "FEDPUSH_WROKERS"),
    ({"LOCAL_DOMAIN": None}, "LOCAL_DOMAIN"),
    ({"REDIS_URL": "http://s3cret@x/"}, "REDIS_URL"),
    ({"REDIS_NAMESPACE": "ns"}, "REDIS_NAMESPACE"),
    ({"DATABASE_URL": "mysql://me:s3cret@x/y"}, "DATABASE_URL"),
    ({"FEDPUSH_LOG_LEVEL": "loud"}, "FEDPUSH_LOG_LEVEL"),
])
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_wrong_setting_is_named_without_its_secret(world, command, settings, named):
    ended = fedpush(world, command, **settings)
    assert ended.returncode == 78, (ended.stdout, ended.stderr)
    assert named in ended.stderr.splitlines()[-1] and "s3cret" not in ended.stdout + ended.stderr


@pytest.fixture
def live(world, tmp_path):
    """A Mastodon's directory."""
    directory = tmp_path / "live"
    (directory / "lib" / "mastodon").mkdir(parents=True)
    (directory / "lib" / "mastodon" / "version.rb").write_text(VERSION_RB)
    (directory / ".env.production").write_text(
        f"# Mastodon\nREDIS_URL={world.redis.url} # of this machine\n"
        f"DATABASE_URL='{world.postgres.url(world.database)}'\n"
        "export LOCAL_DOMAIN=\"social.fedi.test\"\nSECRET_KEY_BASE=abc\n")
    return directory


def test_mastodons_own_file_is_read(world, live):
    done = fedpush(world, "--mastodon", str(live), "setup", **NOTHING)
    assert done.returncode == 0, done.stderr
    assert world.query("SELECT min(version) FROM fedpush.schema_version") == [(1,)]
    assert "Mastodon 4.6.5" in fedpush(world, "--mastodon", str(live), "check", **NOTHING).stdout


def test_the_environment_wins_over_the_file(world, live):
    done = fedpush(world, "--mastodon", str(live), "setup", **{**NOTHING, "DATABASE_URL": "postgresql://127.0.0.1:1/x"})
    assert done.returncode not in (0, 78)


def test_a_file_that_would_run_a_program_is_refused(world, live):
    (live / ".env.production").write_text("LOCAL_DOMAIN=$(touch pwned)\n")
    refused = fedpush(world, "--mastodon", str(live), "setup", **NOTHING)
    assert refused.returncode == 78 and ".env.production" in refused.stderr
    assert not os.path.exists("pwned") and not (live / "pwned").exists()


def test_check_counts_a_real_sidekiq_on_the_handoff_queue(world, tmp_path):
    assert fedpush(world, "setup").returncode == 0
    server = Server(str(tmp_path / "sidekiq"))
    server.spawn(["sidekiq", "-q", "default", "-r", f"{FEDIVERSE}/default.rb"],
                 env={**os.environ, "REDIS_URL": world.redis.url}, cwd=str(tmp_path))
    try:
        server.await_ready(lambda: [world.redis_client.hexists(name, "info")
                                    for name in world.redis_client.smembers("processes")] == [True])
        done = fedpush(world, "check")
    finally:
        server.stop()
    assert done.returncode == 0, done.stdout
    assert "served by 1 Sidekiq" in done.stdout
