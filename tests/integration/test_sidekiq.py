"""fedpush beside the Ruby Sidekiq: which one runs, who goes on with whose jobs, and what an admin sees of
fedpush in Sidekiq's Web UI."""

import json
import os
import signal
import time

import pytest
from browser import Browser
from jobs import DELIVERY, delivery, push, unsettled, wait_settled
from machine import fedpush
from servers import FEDIVERSE, Server, wait_for


def push_as(world, number, host, eight):
    """One job in the form of Sidekiq 8's client, or of those before."""
    now = int(time.time() * 1000) if eight else time.time()
    job = {"retry": 16, "queue": "push", "dead": False, "jid": f"{number:024x}", "created_at": now,
           "enqueued_at": now, **delivery(number, world.fediverse.inbox(host))}
    world.redis_client.lpush("queue:push", json.dumps(job))


def retried(world):
    """The retry set by jid."""
    return {json.loads(entry)["jid"]: json.loads(entry) for entry in world.redis_client.zrange("retry", 0, -1)}


def ruby_process(world, identity, version):
    """Another Sidekiq, as Redis knows one from version 7 on."""
    info = {"hostname": "ruby", "started_at": time.time(), "pid": 1, "tag": "live", "concurrency": 5,
            "queues": ["default"], "weights": [{"default": 0}], "labels": [], "identity": identity,
            "version": version, "embedded": False}
    with world.redis_client.pipeline() as pipeline:
        pipeline.hset(identity, "info", json.dumps(info))
        pipeline.sadd("processes", identity)
        pipeline.execute()


def shown_version(world, machine):
    info = world.redis_client.hget(machine.identity(), "info")
    return info and json.loads(info)["version"]


def said(world, machine):
    """Which Sidekiq the machine goes by, in its own words."""
    report = world.redis_client.hget("fedpush:machines", machine.identity())
    return report and json.loads(report)["sidekiq"]


def fail_one(world, number, eight):
    """Pushes a job that fails; returns failed_at."""
    push_as(world, number, "status503-1", eight)
    return wait_for(lambda: retried(world).get(f"{number:024x}"), 30, "it has failed")["failed_at"]


def test_the_sidekiq_that_runs_is_found_and_followed(world, machines):
    """Nothing else being known, jobs tell it; then processes do, however it changes under a running fedpush."""
    machine = machines()
    wait_for(lambda: said(world, machine), 30, "it says which one it found")
    machine.pause()
    for number in (1, 11):  # Redis may give one to a BLMOVE that waits
        push_as(world, number, "ok-1", eight=False)
    # What it goes by is shown, not what one that starts now would: a job from before waits.
    assert "Sidekiq      8.1.6, by Mastodon's version" in fedpush(world, "status").stdout
    assert "Sidekiq      7.3.9, by the form of its jobs" in fedpush(world, "check").stdout
    found = json.loads(fedpush(world, "status", "--json").stdout)["sidekiq"]
    assert found == {"version": "8.1.6", "found": "by Mastodon's version; no Sidekiq is running"}
    machine.resume()
    wait_for(lambda: "7.3.9, by the form of its jobs" in machine.log(), 60, "an old job is noticed")
    assert isinstance(fail_one(world, 2, eight=False), float)
    ruby_process(world, "ruby:1:aaaaaaaaaaaa", "8.0.9")
    wait_for(lambda: "8.0.9, seen in ruby:1" in machine.log(), 60, "an upgrade is noticed")
    assert isinstance(fail_one(world, 3, eight=False), int)  # a job from before
    ruby_process(world, "ruby:2:bbbbbbbbbbbb", "7.3.9")
    wait_for(lambda: "7.3.9, seen in ruby:2" in machine.log(), 60, "a rollback is noticed")
    assert isinstance(fail_one(world, 4, eight=True), float)
    wait_for(lambda: said(world, machine) == "7.3.9, seen in ruby:2", 30, "it says so")
    for command in ("status", "check"):
        assert "Sidekiq      7.3.9, seen in ruby:2\n" in fedpush(world, command).stdout
    wait_for(lambda: shown_version(world, machine) == "7.3.9", 30, "it shows the same version as its own")


def test_a_fifth_machine_works_without_being_listed(world, machines):
    client = world.redis_client
    others = [f"other:{i}:aaaaaaaaaaaa" for i in range(4)]
    client.zadd("fedpush:identities", {other: client.time()[0] for other in others})
    client.sadd("processes", *others)
    machine = machines(FEDPUSH_SIDEKIQ_VERSION="6.5.12")
    push_as(world, 1, "ok-1", eight=False)
    wait_settled(world)
    assert world.fediverse.summary()["posts"] == 1
    wait_for(lambda: client.get("stat:processed") == b"1", 30, "it counts")
    assert not client.sismember("processes", machine.identity()) and not client.exists(machine.identity())
    client.zrem("fedpush:identities", others[0])  # one has ended
    wait_for(lambda: client.sismember("processes", machine.identity()), 30, "it takes the free place")


@pytest.fixture
def ruby(world, tmp_path):
    """Starts Sidekiq on `push` and `default`, with classes of Mastodon's names."""
    servers = []

    def start():
        server = Server(str(tmp_path / "ruby"))
        servers.append(server)
        server.spawn(["sidekiq", "-q", "push", "-q", "default", "-r", f"{FEDIVERSE}/delivery.rb"],
                     env={**os.environ, "REDIS_URL": world.redis.url}, cwd=str(tmp_path))
        return server

    yield start
    for server in servers:
        server.stop()


def make_due(world):
    """Every entry of `retry`, as if its time had come."""
    for entry in world.redis_client.zrange("retry", 0, -1):
        world.redis_client.zadd("retry", {entry: time.time() - 1})


def test_ruby_and_fedpush_go_on_with_each_others_jobs(world, machines, ruby):
    """fedpush fails, Ruby's poller and worker try it again and fail, fedpush delivers what Ruby left."""
    client = world.redis_client
    machine = machines(FEDPUSH_SIDEKIQ_VERSION="6.5.12")
    jobs = [delivery(1, world.fediverse.inbox("status503-1")),
            {"class": "Web::PushNotificationWorker", "args": [1, 2], "retry": 5, "queue": "push"}]
    jid, other = push(world.redis, jobs)
    wait_settled(world)
    first = retried(world)[jid]
    assert json.loads(client.lindex("queue:default", 0))["jid"] == other
    assert machine.stop() == 0
    make_due(world)
    server = ruby()
    wait_for(lambda: retried(world).get(jid, {}).get("retry_count") == 1, 60, server.log)
    wait_for(lambda: client.llen("queue:default") == 0, 30, "Ruby runs what was handed off")
    server.stop()
    ran = [json.loads(line) for line in client.lrange("tests:ran", 0, -1)]
    assert ran == [{"jid": jid, "args": jobs[0]["args"]}]
    again = retried(world)[jid]
    assert (again["error_class"], again["failed_at"]) == ("ArgumentError", first["failed_at"])
    assert again["retried_at"] > first["failed_at"] and set(retried(world)) == {jid}
    world.fediverse.behave("status503-1", "ok")
    make_due(world)
    machine.start()
    wait_for(lambda: client.zcard("retry") == 0 and unsettled(world) == 0, 60, "it is delivered")
    assert world.fediverse.summary()["posts"] == 2


@pytest.fixture
def browser(tmp_path):
    made = Browser(str(tmp_path / "browser"))
    yield made
    made.stop()


def test_an_admin_sees_and_commands_it_in_the_web_ui(world, machines, web, browser):
    """As with any process of Sidekiq: what it does, what failed, Quiet and Stop."""
    machine = machines(FEDPUSH_SIDEKIQ_VERSION="6.5.12")
    jids = push(world.redis, [
        delivery(1, world.fediverse.inbox("slow8000-1")),
        delivery(2, world.fediverse.inbox("status503-1")),
        {"class": DELIVERY, "args": delivery(3, world.fediverse.inbox("status503-2"))["args"], "retry": 0, "dead": True},
        delivery(4, world.fediverse.inbox("ok-1")),
    ])
    # Debian's Sidekiq, 6.4, still reads this under its older name.
    wait_for(lambda: world.redis_client.copy(f"{machine.identity()}:work", f"{machine.identity()}:workers"), 30)
    scheduler, = machine.signal("scheduler", signal.SIGSTOP)  # it renews nothing while the page is looked at
    try:
        browser.goto(f"{web.url}/busy")
    finally:
        os.kill(scheduler, signal.SIGCONT)
    works = browser.rows("table.workers")
    process, thread, jid, queue, job, args, _ = works[0]
    assert len(works) == 1 and (process, jid, queue, job) == (machine.identity(), jids[0], "push", DELIVERY)
    assert thread and "slow8000-1.fedi.test" in args
    (name, _, memory, threads, busy, _), = browser.rows("table.processes")
    pid = machine.identity().split(":")[1]
    assert f":{pid} fedpush fedpush" in name and name.endswith("Queues: push")
    assert (threads, busy) == ("60", "1") and memory.endswith("KB")

    browser.goto(f"{web.url}/retries")
    (_, due, count, queue, job, args, error), = browser.rows("table")
    assert (count, queue, job) == ("0", "push", DELIVERY) and "status503-1.fedi.test" in args and due
    assert error.startswith("Mastodon::UnexpectedResponseError: ") and error.endswith("returned code 503")
    browser.click("document.querySelector('table td a')")
    detail = browser.text()
    assert jids[1] in detail and "Mastodon::UnexpectedResponseError" in detail
    browser.goto(f"{web.url}/morgue")
    (_, died, queue, job, args, error), = browser.rows("table")
    assert (queue, job) == ("push", DELIVERY) and "status503-2.fedi.test" in args and "503" in error and died

    browser.goto(f"{web.url}/busy")
    browser.click("document.querySelector('table.processes button[name=quiet]')")
    browser.wait_for_rows(f"{web.url}/busy", "table.processes", lambda rows: rows and "quiet" in rows[0][0])
    posts = world.fediverse.summary()["posts"]
    push(world.redis, [delivery(5, world.fediverse.inbox("ok-1"))])
    browser.click("document.querySelector('table.processes button[name=stop]')")
    assert machine.process.wait(60) == 0, "stopped by the Web UI"
    assert world.fediverse.summary()["posts"] == posts and world.redis_client.llen("queue:push") == 1
    browser.goto(f"{web.url}/busy")
    assert browser.rows("table.processes") == []
    browser.goto(f"{web.url}/")
    assert "4\nProcessed" in browser.text() and "2\nFailed" in browser.text(), browser.text()
