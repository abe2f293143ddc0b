"""Settings from Mastodon's own directory."""

from machine import fedpush


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

