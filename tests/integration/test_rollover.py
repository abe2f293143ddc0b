"""From Ruby to fedpush and back: beside each other, alone, dead, and Ruby again; every job arrives."""

import os
import re

import pytest
from jobs import account_at_rest, account_for, delivery, push_fanout, unsettled, wait_settled
from machine import fedpush
from servers import FEDIVERSE, Server, wait_for


class Sidekiq(Server):
    """Ruby's workers of `push`."""

    def __init__(self, folder, world):
        super().__init__(folder)
        self.redis = world.redis_client
        self.environment = {**os.environ, "REDIS_URL": world.redis.url, "RESOLVER": world.names.resolver}

    def start(self):
        self.spawn(["sidekiq", "-q", "push", "-c", "5", "-r", f"{FEDIVERSE}/push_worker.rb"],
                   env=self.environment, cwd=self.folder)
        self.await_ready(self.is_registered, 60)

    def is_registered(self):
        return any(f":{self.process.pid}:" in name.decode() for name in self.redis.smembers("processes"))

    def delivered(self):
        return int(self.redis.get("ruby:delivered") or 0)

    def is_idle(self):
        """No job is in its threads' hands: its own account, renewed each few seconds."""
        names = [name.decode() for name in self.redis.smembers("processes") if f":{self.process.pid}:" in name.decode()]
        return all(int(self.redis.hget(name, "busy") or 0) == 0 for name in names)


@pytest.fixture
def ruby(world, tmp_path):
    sidekiq = Sidekiq(str(tmp_path / "sidekiq"), world)
    yield sidekiq
    sidekiq.stop()


def jobs_of(world, first, count, word="slow50", hosts=40):
    return [delivery(i, world.fediverse.inbox(f"{word}-{i % hosts}", f"/u{i}/inbox")) for i in range(first, first + count)]


def arrived(world):
    return world.fediverse.summary()["posts"]


@pytest.mark.slow
def test_ruby_and_fedpush_take_turns(world, machines, ruby):
    world.fediverse.verify(0)  # Ruby's class of these tests does not sign
    ruby.start()
    machine = machines(FEDPUSH_CLAIM_RATE=80)
    jobs = []

    def both_deliver():
        if world.redis_client.llen("queue:push") < 50:  # whoever is faster leaves something to the other
            more = jobs_of(world, len(jobs), 100)
            push_fanout(world.redis, more)
            jobs.extend(more)
        return ruby.delivered() >= 10 and arrived(world) - ruby.delivered() >= 20

    wait_for(both_deliver, 60, lambda: f"both deliver: Ruby {ruby.delivered()} of {arrived(world)}")

    ruby.stop()  # it finishes what it has
    by_ruby = ruby.delivered()
    more = jobs_of(world, len(jobs), 80)
    push_fanout(world.redis, more)
    jobs += more
    wait_settled(world)
    assert account_at_rest(world, jobs).places == {"delivered": len(jobs)}
    assert ruby.delivered() == by_ruby

    last = jobs_of(world, len(jobs), 120, "slow500", 2)
    push_fanout(world.redis, last)
    jobs += last
    wait_for(lambda: arrived(world) >= len(jobs) - 100, 30, "some of the last ones are sent")
    machine.kill()
    done = fedpush(world, "handback", "--own", runtime_dir=machine.runtime_dir)
    back = re.search(r": (\d+) jobs back in their queues, 0 poisonous", done.stdout)
    assert done.returncode == 0 and back and int(back[1]) > 0, done.stdout + done.stderr
    assert world.redis_client.keys("fedpush:claimed:*") + world.redis_client.keys("fedpush:wait:*") == []

    ruby.start()
    wait_for(lambda: unsettled(world) == 0 and ruby.is_idle(), 60, "Ruby is done")
    wait_for(lambda: account_for(world, jobs).places["delivered"] == len(jobs), 30, lambda: account_for(world, jobs))
    account = account_at_rest(world, jobs)
    assert account.lost == [] and account.places == {"delivered": len(jobs)}, account
    assert ruby.delivered() > by_ruby
    assert account.duplicates <= int(back[1]), "only what was on the wire may arrive twice"
    assert re.search(r"ok +ledger +fleet", fedpush(world, "status").stdout)
