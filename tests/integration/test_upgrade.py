"""Another Mastodon is installed under a running fedpush."""

import os
import signal

import pytest
from jobs import delivery, push, wait_settled
from servers import wait_for

VERSION_RB = """module Mastodon
  module Version
    module_function

    def major
      {0}
    end

    def minor
      {1}
    end

    def patch
      {2}
    end
  end
end
"""


@pytest.fixture
def install(tmp_path):
    """Puts a release into Mastodon's directory, as git does; returns the directory."""
    def put(release):
        folder = tmp_path / "live" / "lib" / "mastodon"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "new").write_text(VERSION_RB.format(*release.split(".")))
        os.rename(folder / "new", folder / "version.rb")
        return str(tmp_path / "live")

    return put


def next_request(world):
    """The header fields of one more delivery."""
    world.fediverse.reset()
    push(world.redis, [delivery(1, world.fediverse.inbox("ok-1", tls=True))])
    wait_for(lambda: world.fediverse.summary()["posts"] == 1, 30, "it is delivered")
    wait_settled(world)
    headers = world.fediverse.counts()["requests"][0]["headers"]
    return {name.lower(): value for name, value in zip(headers[::2], headers[1::2])}


def test_its_version_is_followed(machines, world, install):
    machine = machines(FEDPUSH_MASTODON_DIR=install("4.6.5"), FEDPUSH_MASTODON_VERSION=None)
    roles = machine.children()
    before = next_request(world)
    assert before["user-agent"].startswith("Mastodon/4.6.5 ")
    install("4.7.0")
    wait_for(lambda: "another Mastodon is installed" in machine.log(), 40, "it is noticed")
    wait_for(lambda: next_request(world)["user-agent"].startswith("Mastodon/4.7.0 "), 30, "workers follow")

    def signed_fields(request):
        return request["signature"].partition('headers="')[2].partition('"')[0]

    wait_for(lambda: signed_fields(next_request(world)) != signed_fields(before), 30, "the signer follows")
    assert world.fediverse.counts()["failures"] == []
    assert sorted(machine.children()) == sorted(roles), "nothing was restarted"


def test_a_version_that_is_set_wins(machines, world, install):
    machine = machines(FEDPUSH_MASTODON_DIR=install("4.6.5"))
    install("4.7.0")
    machine.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reloaded" in machine.log(), 30, "reloaded")
    assert next_request(world)["user-agent"].startswith(f"Mastodon/{world.version} ")
