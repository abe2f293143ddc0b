"""The conformance tables: what is true of each Mastodon from 4.2 to 4.7 and of its Sidekiq, checked cell
by cell on machines that run side by side. The tables are printed, and written beside the program."""

import json
import os
import time

import pytest

pytest.register_assert_rewrite("mastodons", "rows_delivery", "rows_request", "rows_sidekiq")

from conformance import BUILT
from mastodons import CACHE_KEY, SLOW_MS, SWITCHED, Job, fill_databases, make_all, switches
from rows_request import DELIVERIES  # with the rows before it
from rows_sidekiq import FILLERS, MALFORMED, PROCESSES
from servers import wait_for

TABLES = [DELIVERIES, PROCESSES]
CELLS = [pytest.param(row, column, id=f"{table.title} {column}, {row.chapter}: {row.text}")
         for table in TABLES for row, column in table.cells()]


def prepare(mastodon):
    """What no job of a row is."""
    client, now = mastodon.client, time.time()
    client.set(CACHE_KEY, "stale")
    client.zadd("dead", {"filler-ancient": now - 181 * 86400, **{f"filler{i}": now - 1000 - i for i in range(FILLERS)}})
    mastodon.scheduled = (
        f'{{"class":"Other","args":[],"queue":"mailers","jid":"due","created_at":{mastodon.now()}}}')
    client.zadd("schedule", {mastodon.scheduled: now})
    client.lpush("queue:push", MALFORMED)


def note(mastodon):
    """Each beat, and what is shown as being at work."""
    identity = mastodon.machine.identity()
    mastodon.note_booked()
    beat = float(mastodon.client.hget(identity, "beat") or 0)
    if beat and beat not in mastodon.beats:
        mastodon.beats.append(beat)
    mastodon.works.update(mastodon.client.hgetall(f"{identity}:work"))


def look(mastodon):
    """What it shows of itself while it runs."""
    mastodon.identity = mastodon.machine.identity()
    mastodon.shown = mastodon.client.hgetall(mastodon.identity)
    mastodon.ttl = mastodon.client.ttl(mastodon.identity)
    mastodon.info = json.loads(mastodon.shown[b"info"])


def is_at_work(mastodon, name):
    return any(json.loads(json.loads(work)["payload"])["jid"] == name for work in mastodon.works.values())


def is_decided(mastodon):
    """Nothing that a row asks about waits for anything."""
    return not mastodon.client.zcard("schedule") and mastodon.held() <= {"slow", "hang"}


def go_on(mastodon):
    """The next step of each Mastodon's run. True when its fedpush has been told to end."""
    client, pushed = mastodon.client, mastodon.pushed
    if mastodon.told:
        return True
    note(mastodon)
    if not mastodon.all_pushed:
        return False
    if "slow" not in pushed:
        if len(mastodon.beats) >= 2 and time.time() > mastodon.beats[-1] + 3:
            mastodon.push([Job("slow", f"slow{SLOW_MS}-w")])  # it will be at work when the next beat comes
    elif "hang" not in pushed:
        if client.llen("queue:mailers") == 1:
            look(mastodon)
            mastodon.push([Job("hang", "drip-h")])  # for 30 s
    elif mastodon.quiet is None:
        if client.llen("queue:push") == 0:  # as the Web UI does:
            client.lpush(f"{mastodon.identity}-signals", "TSTP")
            mastodon.quiet = b""
    elif mastodon.quiet != b"true":
        mastodon.quiet = client.hget(mastodon.identity, "quiet")
    elif is_at_work(mastodon, "slow") and mastodon.held() == {"hang"}:  # slow has ended
        mastodon.push([Job("late", "ok-late")])
        mastodon.machine.process.terminate()
        mastodon.told = True
    return False


def end(mastodon):
    machine, client = mastodon.machine, mastodon.client
    code = machine.process.wait(60)
    machine.check_log()
    machine.process = None
    mastodon.after = {
        "code": code, "processes": client.scard("processes"), "work": list(client.scan_iter("*:work")),
        "queue": [payload.decode() for payload in client.lrange("queue:push", 0, -1)],
    }


def wait_until_decided(made):
    wait_for(lambda: all([not go_on(one) and is_decided(one) for one in made]), 90,
             lambda: str([(one.release, one.held()) for one in made]), every=0.1)


def start(world, made):
    jobs = [job for table in TABLES for row in table.rows for job in row.jobs]
    for mastodon in made:
        mastodon.machine.start(ready=False)
    for mastodon in made:
        mastodon.machine.wait_ready()
        prepare(mastodon)
    world.fediverse.verify(0)
    for mastodon in made:
        mastodon.push([job for job in jobs if not job.verified])
    wait_until_decided(made)
    world.fediverse.verify(1)
    for mastodon in made:  # one after the other: their hosts would answer too late
        mastodon.push([job for job in jobs if job.verified])
        wait_until_decided(made)


def start_switched(made):
    for mastodon in made:
        mastodon.client.set(f"{mastodon.space.replace(':', '_')}{CACHE_KEY}", "stale")
        mastodon.push(SWITCHED)
        mastodon.machine.start(ready=False)


def switched_has_ended(mastodon):
    if not mastodon.told:
        mastodon.note_booked()
        mastodon.told = mastodon.machine.identity() and not mastodon.held()
        if mastodon.told:
            mastodon.machine.process.terminate()
    return mastodon.told


def run(world, made, switched):
    """All side by side; those with other settings start while the first only beat."""
    start(world, made)
    for mastodon in made:
        mastodon.all_pushed = True
    start_switched(switched)
    wait_for(lambda: all([go_on(one) for one in made] + [switched_has_ended(one) for one in switched]), 100,
             lambda: str([(one.release, one.beats, one.quiet, one.held()) for one in made + switched]), every=0.3)
    requests = world.fediverse.counts()["requests"]
    for mastodon in made + switched:
        end(mastodon)
        mastodon.snapshot(requests)
    for mastodon, other in zip(made, switched):
        mastodon.switched = other


class Ended:
    """What a run left, or why it has no end."""

    mastodons, problem = [], None


@pytest.fixture(scope="module")
def ended(shared_world, tmp_path_factory):
    world, result = shared_world, Ended()
    world.reset()
    world.fediverse.keep(5000)
    folder = tmp_path_factory.mktemp("mastodons")
    result.mastodons = made = make_all(world, folder, range(1, 7))
    switched = make_all(world, folder, range(7, 13), switches)
    fill_databases(world, made)
    try:
        run(world, made, switched)
    except Exception as problem:  # said once, not for each cell
        result.problem = problem
    yield result
    for mastodon in made + switched:
        mastodon.machine.stop()


def test_the_run_ends(ended):
    if ended.problem:
        raise ended.problem


@pytest.mark.parametrize("row, column", CELLS)
def test_cell(ended, row, column):
    if ended.problem:
        pytest.fail("there was no run to check", pytrace=False)
    row.judge(column, [one for one in ended.mastodons if column in (one.release, one.sidekiq)])


def test_every_cell_has_a_verdict(record_tables):
    record_tables(TABLES, os.path.join(BUILT, "conformance.md"))
    assert [cell for table in TABLES for cell in table.undecided()] == []
