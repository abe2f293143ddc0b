"""All numbers of one run with faults: what the receivers have counted themselves is what everybody is told."""

import collections
import json
import os
import re
import signal

import pytest
from admin_page import PASSWORD, Page
from jobs import delivered, delivery, name_of, payloads, push, push_fanout, unsettled
from machine import fedpush
from servers import wait_for
from test_admin_api import start  # noqa: F401
from test_admin_login import password  # noqa: F401
from test_history import RESULTS, histogram, sums
from test_page import visitor  # noqa: F401
from test_policy import ledger
from test_prometheus import Metrics

HEALTHY = [f"slow50-{i}" for i in range(12)]
EACH = 300
GONE, BAD, DEAD = "status410-1", "status500-1", "refused-1"
LATE = "slow50-99"  # answers 503 for a while
OTHERS = {GONE: 30, BAD: 5, DEAD: 15, LATE: 6}
LOOKED_AT = [HEALTHY[3], GONE, DEAD, LATE]  # one by one
PUSHED = {**dict.fromkeys(HEALTHY, EACH), **OTHERS}
RATE = 250  # deliveries a second, so that there is time for all the faults
HOST_TABLES = ("domain_health", "inbox_health", "domain_hourly")
TABLES = HOST_TABLES + ("fleet_minutely", "fleet_hourly")


def jobs_for(world, name):
    more = {"retry": 0} if name == BAD else {}
    return [delivery(f"{name}-{i}", world.fediverse.inbox(name, f"/u{i}/inbox"), account=1 + i % 2, **more)
            for i in range(PUSHED[name])]


def host_of(inbox):
    """The name here of a host that is known as slow50-1.fedi.test:1234 or as http://slow50-1.fedi.test:1234/inbox."""
    return inbox.split("//")[-1].split(".")[0]


def by_host(world, table):
    found = world.query(f"SELECT host, {', '.join(f'sum({result})::bigint' for result in RESULTS)}"
                        f" FROM fedpush.{table} GROUP BY host")
    return {host_of(row[0]): dict(zip(RESULTS, row[1:])) for row in found}


class Look:
    """Everything that is counted, at one time. `waiting`, `received`: names of jobs that are in Redis, and that came."""

    def __init__(self, world):
        self.waiting = {name_of(json.loads(payload)["args"]) for _, payload in payloads(world.redis_client)}
        counts = world.fediverse.counts()
        self.busy = any(counts["now"].values())
        self.received = {(activity, inbox): times for activity, inboxes in counts["activities"].items()
                         for inbox, times in inboxes.items()}
        self.ledger = {result: ledger(world).get(result, 0) for result in RESULTS}
        self.hosts = {table: by_host(world, table) for table in HOST_TABLES}
        self.sums = {table: sums(world, table) for table in TABLES}
        self.inboxes = {host_of(host): count for host, count in world.query(
            "SELECT host, count(*) FROM fedpush.inbox_health GROUP BY host")}

    def __eq__(self, other):
        return vars(self) == vars(other)

    def waiting_for(self, host):
        return {job for job in self.waiting if host_of(job[1]) == host}

    def requests(self, host):
        return sum(times for job, times in self.received.items() if host_of(job[1]) == host)


def kill_scheduler(world, machine):
    """What was counted when it died: it stands still first, until all that it had said is done."""
    pids = machine.signal("scheduler", signal.SIGSTOP)
    looks = []

    def is_still():
        looks.append(Look(world))
        return len(looks) > 1 and looks[-1] == looks[-2] and not looks[-1].busy

    wait_for(is_still, 30, "nothing changes any more", every=0.3)
    os.kill(pids[0], signal.SIGKILL)
    wait_for(lambda: set(machine.roles("scheduler")) - set(pids), 30, "a new scheduler")
    return looks[-1]


def hurt(world, machine):
    """One fault after the other, while deliveries run. Answers how it stood when the scheduler died."""
    wait_for(delivered(world, 300), 30, "some are delivered")
    os.kill(machine.roles("worker")[0], signal.SIGKILL)
    wait_for(delivered(world, 700), 30, "more are delivered")
    machine.signal("signer", signal.SIGKILL)
    wait_for(lambda: all(sums(world, table)["delivered"] > 100 for table in TABLES), 30, "they are recorded meanwhile")
    with world.redis.away():
        pass
    came = world.fediverse.summary()["posts"]
    wait_for(delivered(world, min(came + 300, 2500)), 60, "it goes on")
    return kill_scheduler(world, machine)


def finish(world, api):
    """Until all has come to its end but what is for the dead host, and nothing changes any more."""
    world.fediverse.behave(LATE, "slow50")

    def is_over():
        now = world.redis_client.time()[0]
        for entry in world.redis_client.zrange("retry", 0, -1):  # as if its time had come
            if host_of(json.loads(entry)["args"][2]) != DEAD:
                world.redis_client.zadd("retry", {entry: now}, xx=True)
        left = collections.Counter(host_of(json.loads(payload)["args"][2]) for _, payload in payloads(world.redis_client))
        return set(left) == {DEAD} and unsettled(world) == 0

    wait_for(is_over, 90, lambda: f"all is over: {unsettled(world)}", every=0.5)
    api.order("/pause")
    wait_for(lambda: [one["report"] and one["report"]["state"] for one in api.get("/machines")["items"]] == ["paused"], 30,
             "the machine is paused")
    wait_for(lambda: unsettled(world) == 0, 30, "nothing is held")


def agree(look, wanted, what, seconds=30):
    """What is kept for some seconds agrees when these are over."""
    wait_for(lambda: look() == wanted, seconds, lambda: f"{what}: {look()}, not {wanted}", every=0.5)


def missing(died, table, result):
    """What a dead scheduler had counted in the ledger, and not yet written to the table. Negative: it had written what was
    not settled yet, and so was done again."""
    return died.ledger[result] - died.sums[table][result]


def assert_little_is_missing(died):
    """No more than was delivered since the last writing: of health each second, of history each five seconds, and of its
    tables one a second. A writing may take as long again."""
    for table in TABLES:
        seconds = 2 if table.endswith("health") else 2 * (5 + 4)
        for result in RESULTS:
            assert -len(died.waiting) <= missing(died, table, result) <= RATE * seconds, (table, result)


def assert_receivers_agree(died, last, jobs_lost):
    """Whatever was not settled when the scheduler died, or not said when the worker did, came once more; all else once."""
    again = {job for job in died.waiting if job in died.received and host_of(job[1]) in HEALTHY + [GONE, BAD]}
    extra = 0
    for host in HEALTHY + [GONE, BAD]:
        came = {job for job in last.received if host_of(job[1]) == host}
        assert len(came) == PUSHED[host], host
        extra += last.requests(host) - len(came)
    assert len(again) <= extra <= len(again) + jobs_lost, (extra, len(again), jobs_lost)
    assert last.requests(DEAD) == 0
    # Of the one that failed for a while each attempt is counted, but for those that nobody heard the end of.
    counted = last.hosts["domain_health"][LATE]
    assert counted["delivered"] == len({job for job in last.received if host_of(job[1]) == LATE}) == PUSHED[LATE]
    attempts = counted["delivered"] + counted["retried"]
    assert counted["retried"] > 0 and attempts <= last.requests(LATE) <= attempts + missing(died, "domain_health", "retried") \
        + PUSHED[LATE] + jobs_lost


def assert_tables_agree(died, last):
    for table in TABLES:
        for result in RESULTS:
            assert last.sums[table][result] == last.ledger[result] - missing(died, table, result), (table, result)
    for table in HOST_TABLES:
        for host in HEALTHY:  # host by host: all that was not settled yet is counted once
            before = died.hosts[table].get(host, {"delivered": 0})["delivered"]
            assert last.hosts[table][host]["delivered"] == before + len(died.waiting_for(host)), (table, host)


def assert_ledger_agrees(world, api, last):
    counted = ledger(world)
    claimed = counted.pop("claimed")
    assert claimed == sum(counted.values()), counted
    ended = {"delivered": EACH * len(HEALTHY) + PUSHED[LATE], "rejected": PUSHED[GONE], "exhausted": PUSHED[BAD]}
    assert ended == {word: counted[word] for word in ended} and counted["retried"] > 0
    shown = {"claimed": claimed, "outcomes": counted, "held": 0, "missing": 0}
    agree(lambda: {**(told := api.get("/overview")["ledger"]),
                   "outcomes": {word: count for word, count in told["outcomes"].items() if count}}, shown, "the API's ledger")
    told = json.loads(fedpush(world, "status", "--json").stdout)["ledger"]["fleet"]
    assert told["claimed"] == claimed and told["missing"] == 0 and told["outcomes"].items() >= counted.items(), told


def assert_api_agrees(world, api, died, last):
    def listed():
        return {host_of(item["host"]): {result: item[result] for result in RESULTS}
                for item in api.get("/domains?limit=1000")["items"]}

    agree(listed, last.hosts["domain_hourly"], "the API's domains")
    for item in api.get("/domains?limit=1000")["items"]:
        host = host_of(item["host"])
        assert item["total_delivered"] == last.hosts["domain_health"][host]["delivered"], host
        series = api.get(f"/series?span=24h&host={item['host']}")
        assert {name: sum(series[name]) for name in RESULTS} == last.hosts["domain_hourly"][host], host
        if host in LOOKED_AT:
            one = api.get(f"/domains/{item['host']}", "/domains/{host}")
            assert {name: one[name] for name in RESULTS} == last.hosts["domain_hourly"][host], host
            assert one["inboxes_total"] == last.inboxes[host], host
    for span, table in (("1h", "fleet_minutely"), ("24h", "fleet_minutely"), ("7d", "fleet_hourly"), ("30d", "fleet_hourly")):
        series = api.get(f"/series?span={span}")
        assert {name: sum(series[name]) for name in RESULTS} == last.sums[table], span
    # The one machine counts since its scheduler was started again.
    since = {name: last.ledger[name] - died.ledger[name] for name in RESULTS}

    def reported():
        report = api.get("/machines")["items"][0]["report"]
        assert all(report["recent"][name] <= report["totals"][name] for name in RESULTS), report
        return {name: report["totals"][name] for name in RESULTS}

    agree(reported, since, "the machine's report")
    for table in TABLES:
        assert {name: last.sums[table][name] - died.sums[table][name] for name in RESULTS} == since, table
    for table in ("domain_hourly", "fleet_minutely", "fleet_hourly"):
        assert sum(histogram(world, table)) == sum(last.sums[table].values()), table
    later = api.get("/overview")["later"]
    assert later["retry"] + later["schedule"] == PUSHED[DEAD] == len(last.waiting) and later["dead"] == 0
    places = api.get("/jobs")["places"]
    assert {place: places[place]["total"] for place in later} == later
    return later, since


def assert_commands_agree(world, last):
    for span, table in (([], "domain_health"), (["--span", "24h"], "domain_hourly")):
        rows = json.loads(fedpush(world, "stats", *span, "--json").stdout)
        assert {host_of(row["host"]): {name: row[name] for name in RESULTS} for row in rows} == last.hosts[table], table


def assert_metrics_agree(api, last, later, since):
    page = Page(int(api.base.split(":")[2].split("/")[0]))

    def domains(metrics, family, **labels):
        found = {}
        for (name, text), value in metrics.samples.items():
            told = dict(re.findall(r'(\w+)="([^"]*)"', text or ""))
            if name == family and labels.items() <= told.items() and told["domain"] != "other":
                found[host_of(told["domain"])] = value
        return found

    def ask():
        return Metrics(page, Authorization=f"Bearer {api.token}")

    day = {result: {host: found[result] for host, found in last.hosts["domain_hourly"].items()} for result in RESULTS}
    agree(lambda: {result: domains(ask(), "fedpush_domain_last_day_deliveries", outcome=result) for result in RESULTS}, day,
          "domains in metrics")
    metrics = ask()
    assert domains(metrics, "fedpush_domain_delivered_total") == {
        host: found["delivered"] for host, found in last.hosts["domain_health"].items()}
    assert {result: metrics[f'fedpush_deliveries_total{{outcome="{result}"}}'] for result in RESULTS} == since
    assert metrics["fedpush_delivery_duration_seconds_count"] == sum(since.values())
    assert {place: metrics[f'fedpush_fleet_later_jobs{{set="{place}"}}'] for place in later} == later
    assert metrics["fedpush_fleet_ledger_missing_jobs"] == metrics["fedpush_fleet_held_jobs"] == 0


def number(text):
    return int(re.sub(r"\D", "", text))


def assert_page_agrees(world, api, visitor, last, later):  # noqa: F811
    def failed(counts):
        return counts["retried"] + counts["rejected"] + counts["exhausted"]

    visitor.do("sign_in", at=api.base.removesuffix("api/v1"), password=PASSWORD)
    rows = {host: [found["delivered"], failed(found)] for host, found in last.hosts["domain_hourly"].items()}
    agree(lambda: {host_of(host): [number(shown) for shown in cells] for host, *cells in visitor.do("table")},
          rows, "the page's table")
    for name in LOOKED_AT:
        found = last.hosts["domain_hourly"][name]
        authority = world.fediverse.inbox(name).split("/")[2]
        tiles = visitor.do("tiles", hash=f"#/domains/{authority.replace(':', '%3A')}")
        shown = [number(text) for text in (tiles[0][0], tiles[0][1], tiles[1][0])]
        assert shown == [found["delivered"], last.hosts["domain_health"][name]["delivered"], failed(found)], (name, tiles)
        assert [int(text) for text in re.findall(r"\d+", tiles[1][1])] == [found[word] for word in RESULTS[1:]], tiles
    facts = visitor.do("facts")
    claimed = ledger(world)["claimed"]
    assert [number(text) for text in re.findall(r"\d[\d,]*", facts["Ledger"])] == [claimed, 0], facts
    assert [int(text) for text in re.findall(r"\d+", facts["For later"])] == [later[s] for s in ("retry", "schedule", "dead")]
    visitor.do("sign_out")


@pytest.mark.slow
def test_all_numbers_agree_after_a_run_with_faults(start, world, visitor):  # noqa: F811
    world.fediverse.verify(50)
    world.fediverse.behave(LATE, "status503")
    machine, api = start(FEDPUSH_MAX_RATE=RATE)
    push(world.redis, [job for name in OTHERS for job in jobs_for(world, name)])
    each = [jobs_for(world, name) for name in HEALTHY]
    push_fanout(world.redis, [job for row in zip(*each) for job in row])
    died = hurt(world, machine)
    finish(world, api)
    jobs_lost = int(re.search(r"worker is gone.*\bjobs=(\d+)", machine.log())[1])

    looks = []

    def written():
        looks.append(Look(world))
        now = looks[-1]
        return all(now.sums[table][result] == now.ledger[result] - missing(died, table, result)
                   for table in TABLES for result in RESULTS)

    wait_for(written, 30, lambda: f"all is written: {looks[-1].ledger} {looks[-1].sums}; then {died.ledger} {died.sums}",
             every=0.5)
    last = looks[-1]
    assert_little_is_missing(died)
    assert_receivers_agree(died, last, jobs_lost)
    assert_tables_agree(died, last)
    assert_ledger_agrees(world, api, last)
    later, since = assert_api_agrees(world, api, died, last)
    assert_commands_agree(world, last)
    assert_metrics_agree(api, last, later, since)
    assert_page_agrees(world, api, visitor, last, later)
