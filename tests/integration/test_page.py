"""The statistics page in a real browser, at a real fedpush, while real deliveries run."""

import json
import os
import signal
import subprocess

import pytest
from admin_page import PASSWORD, Page
from jobs import fanout, push_fanout
from machine import BINARY
from servers import HERE, Server, free_port, node, wait_for

HOSTS = 20
RATE = 50  # deliveries a second: enough jobs for the whole visit


class Visitor(Server):
    """tests/page/visit.mjs: a browser that takes one step after the other."""

    def __init__(self, folder):
        super().__init__(folder)
        self.spawn([node(), os.path.join(HERE, "..", "page", "visit.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def stop(self, *how):
        self.process.stdin.close()  # it closes its browser, and ends
        try:
            self.process.wait(30)
        finally:
            super().stop(*how)

    def do(self, step, **told):
        self.process.stdin.write(json.dumps({"step": step, **told}).encode() + b"\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or json.dumps({"problem": self.log()}))
        assert "problem" not in answer, f"{step}: {answer['problem']}"
        return answer["ok"]


@pytest.fixture
def visitor(tmp_path):
    made = Visitor(str(tmp_path / "visitor"))
    yield made
    made.stop()


def received(world, host=None):
    """How many posts the receivers have counted, of one host or all."""
    activities = world.fediverse.counts()["activities"]
    return sum(times for inboxes in activities.values() for inbox, times in inboxes.items()
               if host is None or inbox.split("/")[0] == host)


def stands_still(world, host):
    """Whether the host got nothing while the others got many times as much as would have been for it."""
    before, all_before = received(world, host), received(world)
    wait_for(lambda: received(world) > all_before + 8 * HOSTS, 60, "the others are delivered to")
    return received(world, host) == before


def password_hash():
    done = subprocess.run([BINARY, "password"], input=PASSWORD + "\n", capture_output=True, text=True, timeout=120, check=True)
    name, _, value = done.stdout.strip().partition("=")
    return {name: value.strip("'")}


def test_an_admin_watches_pauses_and_resumes(world, machines, visitor):
    port = free_port()
    machine = machines(FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{port}", FEDPUSH_MAX_RATE=RATE, **password_hash())
    wait_for(Page(port).answers, 30, "the page answers")
    push_fanout(world.redis, fanout(world, 8000, hosts=HOSTS))

    visitor.do("sign_in", at=f"http://127.0.0.1:{port}/", password=PASSWORD)
    first, second = visitor.do("numbers_move")
    assert first > 0 and second > 0
    found = visitor.do("sort_and_filter", search="ok-7", count=HOSTS)
    assert len(found["sorted"]) == HOSTS and found["sorted"] == sorted(found["sorted"])
    authority = visitor.do("open_found")
    host = authority.split(":")[0]
    assert [authority] == found["found"] and host.startswith("ok-7.")

    visitor.do("pause")
    wait_for(lambda: stands_still(world, host), 60, f"nothing goes to {host}")
    visitor.do("shown_delivered", count=received(world, host))
    visitor.do("in_japanese", host=host)
    paused_at = received(world, host)
    visitor.do("resume")
    wait_for(lambda: received(world, host) > paused_at, 60, f"{host} is delivered to again")

    visitor.do("watch_connection")
    machine.signal("admin", signal.SIGKILL)
    visitor.do("reconnected")

    visitor.do("pause_everything")
    quiet = []
    wait_for(lambda: quiet.append(received(world)) or quiet[-5:].count(quiet[-1]) == 5, 60, "nothing is delivered", every=0.5)
    visitor.do("resume_everything")
    wait_for(lambda: received(world) > quiet[-1], 60, "it goes on")

    own = f"#/domains/{authority.replace(':', '%3A')}"
    visitor.do("views", theme="light", hashes=["#/", "#/domains", own, "#/machines", "#/jobs", "#/audit", "#/settings"])
    visitor.do("views", theme="dark", hashes=["#/", own])
    visitor.do("views", theme="light", width=360, language="ja",
               hashes=["#/", "#/domains", own, "#/machines", "#/jobs", "#/audit", "#/settings"])
    visitor.do("views", theme="dark", width=1280, language="en", hashes=["#/settings"])
    visitor.do("sign_out")
