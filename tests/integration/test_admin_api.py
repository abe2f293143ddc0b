"""The JSON API: whether its numbers are true, it answers as described, and its orders do what they say."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from jobs import delivery, push, wait_settled
from machine import DOMAIN, fedpush
from openapi import Description
from servers import free_port, wait_for
from test_admin_login import password  # noqa: F401

WORKERS = 1


class Api:
    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}/api/v1"
        self.token = None
        self.description = Description()

    def ask(self, path, body=None, method=None):
        """(status, what is in the answer)"""
        request = urllib.request.Request(
            self.base + path, method=method or ("GET" if body is None else "POST"),
            data=None if body is None else json.dumps(body).encode(), headers={"Content-Type": "application/json"},
        )
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read()
        faults = self.description.faults_of_answer(path.partition("?")[0], request.get_method(), answer.status,
                                                   answer.headers["Content-Type"], text)
        assert not faults, faults
        return answer.status, json.loads(text)

    def get(self, path, described=None):
        """What a good answer holds, which must be as it is described."""
        status, answer = self.ask(path)
        assert status == 200, answer
        described = described or path.partition("?")[0]
        assert not self.description.faults(answer, self.description.schema(described)), path
        return answer

    def order(self, path, described=None, **body):
        status, answer = self.ask(path, body)
        assert status == 200, answer
        assert not self.description.faults(answer, self.description.schema(described or path, "post")), path
        return answer["text"]

    def refused(self, path, body=None, status=None):
        """The one line of a problem."""
        status = status or (400 if body is None else 422)
        got, answer = self.ask(path, body)
        assert got == status, answer
        schema = {"$ref": "#/components/schemas/Problem"}
        assert not self.description.faults(answer, schema) and answer["status"] == status
        assert "\n" not in answer["detail"] and answer["code"] != "ask.other"
        return answer["detail"]

    def domain(self, host):
        found = [item for item in self.get(f"/domains?search={host}")["items"] if item["host"] == host]
        return found[0] if found else None


@pytest.fixture
def start(machines, world, password):  # noqa: F811
    """A machine with its page, and a token that may do all."""

    def make(**settings):
        port = free_port()
        machine = machines(FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{port}", FEDPUSH_WORKERS=WORKERS, **password, **settings)
        api = Api(port)
        made = fedpush(world, "token", "create", "test", "--full")
        assert made.returncode == 0, made.stderr
        api.token = next(word for word in made.stdout.split() if word.startswith("fp_"))

        def is_there():
            try:
                return api.ask("/overview")[0] == 200
            except OSError:
                return False

        wait_for(is_there, 60, "the API answers")
        return machine, api

    return make


def host_of(world, name):
    return world.fediverse.inbox(name).split("/")[2]


def received(world, name):
    counted = world.fediverse.counts()["inboxes"]
    return sum(count for inbox, count in counted.items() if inbox.startswith(f"{name}.fedi.test/"))


def jobs_for(world, name, count, first):
    return [delivery(first + i, world.fediverse.inbox(name, f"/u{i % 3}")) for i in range(count)]


def test_numbers_agree_and_answers_are_as_described(start, world):
    machine, api = start()
    world.fediverse.behave("gone-1", "status410")
    world.fediverse.behave("bad-1", "status503")
    jobs = jobs_for(world, "ok-1", 30, 0) + jobs_for(world, "ok-2", 12, 100) + jobs_for(world, "gone-1", 5, 200)
    push(world.redis, jobs + jobs_for(world, "bad-1", 1, 300))
    wait_settled(world)
    ok, gone, bad = host_of(world, "ok-1"), host_of(world, "gone-1"), host_of(world, "bad-1")

    # What the receivers have counted is what everybody is told.
    wait_for(lambda: (api.domain(ok) or {}).get("delivered") == received(world, "ok-1") == 30, 60, "the domain's count")
    wait_for(lambda: (api.domain(bad) or {}).get("retried") == received(world, "bad-1") == 1, 60, "the failed one's")
    wait_for(lambda: api.get("/overview")["recent"]["delivered"] == 42, 60, "the overview's")
    listed = {item["host"]: item for item in api.get("/domains?limit=1000")["items"]}
    for row in json.loads(fedpush(world, "stats", "--json").stdout):
        assert row["delivered"] == listed[row["host"]]["total_delivered"]
    assert listed[ok]["state"] == "healthy" and listed[bad]["state"] == "failing"
    assert listed[bad]["last_status"] == 503 and listed[bad]["success_rate"] == 0
    assert listed[gone]["rejected"] + listed[gone]["exhausted"] + listed[gone]["delivered"] == 5
    assert 0 <= listed[ok]["p50_ms"] <= listed[ok]["p95_ms"] <= listed[ok]["p99_ms"]
    overview = api.get("/overview")
    assert overview["ledger"]["missing"] == 0 and overview["later"]["retry"] == 1
    assert overview["machines"][0]["identity"] == machine.identity() and overview["machines"][0]["report"]
    for span in ("1h", "24h", "7d", "30d"):
        of_host = api.get(f"/series?span={span}&host={ok}")
        assert sum(of_host["delivered"]) == 30 and len(of_host["p95_ms"]) == len(of_host["delivered"])
    wait_for(lambda: sum(api.get("/series?span=1h")["delivered"]) == 42, 90, "the fleet's history")
    assert sum(api.get("/series?span=24h")["delivered"]) == 42

    # One domain, and what is described of the rest.
    wait_for(lambda: not api.get(f"/domains/{ok}", "/domains/{host}")["asking"], 30, "the machine's words")
    one = api.get(f"/domains/{ok}", "/domains/{host}")
    assert one["inboxes_total"] == 3 and sum(inbox["delivered"] for inbox in one["inboxes"]) == 30
    assert [words["machine"] for words in one["words"]] == [machine.identity()]
    errors = api.get(f"/domains/{bad}", "/domains/{host}")["errors"]
    assert [(error["status"], error["count"]) for error in errors] == [(503, 1)]
    assert api.get(f"/domains/{bad}/waiting", "/domains/{host}/waiting")["places"]["retry"] == 1
    jobs = api.get("/jobs")["places"]["retry"]
    assert jobs["total"] == jobs["scanned"] == 1 and jobs["domains"] == [{"host": bad, "count": 1}]
    assert jobs["classes"] == {"ActivityPub::DeliveryWorker": 1}
    trace = api.get("/trace?activity=" + urllib.parse.quote(f"https://{DOMAIN}/activities/300", safe=""))
    assert [inbox["state"] for inbox in trace["inboxes"]] == ["retry"]
    for path in ("/machines", "/audit", "/me"):
        api.get(path)
    assert api.ask("/openapi.json")[1] == api.description.document


def test_what_machines_have_seen_within_a_step_is_told(start, world):
    _, api = start()
    world.query("INSERT INTO fedpush.fleet_minutely (minute, machine, queue_length, oldest_age_ms, in_flight,"
                " open_circuits) SELECT date_trunc('minute', now()) - interval '10 minutes', m, q, a, f, o FROM (VALUES"
                " ('mx1', 70, 2500, 30, 7), ('mx2', 65, 2000, 12, 9)) AS v(m, q, a, f, o)")
    series = api.get("/series?span=1h")
    for name, most in {"queue_length": 70, "oldest_age_s": 2.5, "in_flight": 42, "open_circuits": 9}.items():
        assert len(series[name]) == 60 and most in series[name][-12:], name
    assert set(api.get("/series?span=24h&host=a.example")["open_circuits"]) == {None}


def test_lists_are_paged_and_what_is_not_known_is_refused(start, world):
    _, api = start()
    rows = ", ".join(f"('h{i:03}.example', {i}, now())" for i in range(250))
    world.query(f"INSERT INTO fedpush.domain_health (host, delivered, last_attempt_at) VALUES {rows}")
    wait_for(lambda: api.get("/domains")["total"] == 250, 60, "all are there")
    seen = []
    for offset in range(0, 300, 100):
        page = api.get(f"/domains?sort=host&limit=100&offset={offset}")
        assert page["matched"] == 250 and page["offset"] == offset
        seen += [item["host"] for item in page["items"]]
    assert seen == sorted(seen) == [f"h{i:03}.example" for i in range(250)]
    assert [item["host"] for item in api.get("/domains?sort=host&order=desc&limit=1")["items"]] == ["h249.example"]
    assert api.get("/domains?search=H01&state=idle")["matched"] == 10
    assert api.get("/domains?state=open")["matched"] == 0
    assert 'parameter "sorted" isn\'t known here' in api.refused("/domains?sorted=host")
    assert "sort:" in api.refused("/domains?sort=size") and "order:" in api.refused("/domains?order=up")
    assert "state:" in api.refused("/domains?state=bad") and "limit:" in api.refused("/domains?limit=0")
    assert "limit is given twice" in api.refused("/domains?limit=1&limit=2")
    assert "search:" in api.refused("/domains?search=%zz") and "span:" in api.refused("/series?span=2h")
    assert "a host is asked for" in api.refused("/domains/..%20")
    assert "there are none" in api.refused("/overview?x=1")
    api.refused("/nothing", status=404)
    api.refused("/overview", {}, status=405)
    assert 'member "for" isn\'t known here: for_s, now' in api.refused("/domains/h1.example/pause", {"for": 5})
    assert "for_s: a whole number" in api.refused("/domains/h1.example/pause", {"for_s": "5"})
    assert "one JSON object" in api.refused("/domains/h1.example/pause", [1])
    assert "rate: like" in api.refused("/domains/h1.example/limit", {"rate": "5"})
    assert "a limit is wanted" in api.refused("/domains/h1.example/limit", {})
    assert '"confirm" must be' in api.refused("/domains/h1.example/drop", {"confirm": "h2.example"})
    assert "no fedpush of that name" in api.refused("/pause", {"machine": "elsewhere"})


def test_orders_are_carried_out_and_audited(start, world):
    machine, api = start()
    ok = host_of(world, "ok-1")
    path = f"/domains/{ok}"
    assert "paused: ok-1.fedi.test" in api.order(f"{path}/pause", "/domains/{host}/pause", for_s=600)
    version = world.redis_client.hget("fedpush:policies", ":version").decode()
    wait_for(lambda: f"version={version} " in machine.log(), 30, "the machine has read it")
    push(world.redis, jobs_for(world, "ok-1", 20, 0))
    wait_settled(world)
    assert received(world, "ok-1") == 0
    wait_for(lambda: (api.domain(ok) or api.domain("ok-1.fedi.test"))["state"] == "paused", 30, "it is shown")
    detail = api.get(path, "/domains/{host}")
    assert detail["policy_detail"]["paused_for"] == ["ok-1.fedi.test"]
    assert detail["policy_detail"]["paused"] and detail["policy_detail"]["until"] > time.time() + 300
    assert api.get(f"{path}/waiting", "/domains/{host}/waiting")["places"]["schedule"] == 20
    assert "resume it first" in api.refused(f"{path}/try", {})
    assert "20 jobs that were put off" in api.order(f"{path}/resume", "/domains/{host}/resume")
    wait_for(lambda: received(world, "ok-1") == 20, 60, "what was put off is sent")

    assert "at most 2 at once" in api.order(f"{path}/limit", "/domains/{host}/limit", window=2, rate="30/m")
    assert "30 a minute" in api.order(f"{path}/limit", "/domains/{host}/limit", window=0)
    assert "no policy" in api.order(f"{path}/limit", "/domains/{host}/limit", clear=True)

    dropped = "/domains/ok-3.fedi.test"
    api.order(f"{dropped}/pause", "/domains/{host}/pause")
    version = world.redis_client.hget("fedpush:policies", ":version").decode()
    wait_for(lambda: f"version={version} " in machine.log(), 30, "the machine has read it")
    push(world.redis, jobs_for(world, "ok-3", 7, 100))
    wait_settled(world)
    text = api.order(f"{dropped}/drop", "/domains/{host}/drop", confirm="ok-3.fedi.test")
    assert "7 removed" in text and world.redis_client.zcard("schedule") == 0
    assert received(world, "ok-3") == 0

    # "test" is the token that it was done with.
    wait_for(lambda: len(api.get("/audit")["items"]) >= 8, 60, "the audit is written")
    items = api.get("/audit?limit=500")["items"]
    assert all("test" in item["who"] for item in items)
    assert [item["action"] for item in reversed(items)][:5] == [
        "domain pause", "domain resume", "domain limit", "domain limit", "domain limit"]
    first = api.get("/audit?limit=3")
    second = api.get(f"/audit?limit=3&before={first['next']}")
    assert [item["id"] for item in first["items"] + second["items"]] == [item["id"] for item in items[:6]]
    assert "domain drop" in [item["action"] for item in api.get(dropped, "/domains/{host}")["audit"]]


def test_a_host_is_tried_at_once(start, world):
    machine, api = start()
    host = host_of(world, "ok-1")
    world.fediverse.behave("ok-1", "status503")
    push(world.redis, jobs_for(world, "ok-1", 1, 0))
    wait_for(lambda: world.redis_client.zcard("retry") == 1 and received(world, "ok-1") == 1, 60, "it has failed")
    wait_settled(world)
    world.fediverse.behave("ok-1", "ok")
    assert "due now" in api.order(f"/domains/{host}/try", "/domains/{host}/try")
    wait_for(lambda: received(world, "ok-1") == 2 and world.redis_client.zcard("retry") == 0, 30, "it is sent")

    # A circuit that is open for an hour, by another machine's word, with a job that waits as long.
    world.fediverse.behave("ok-2", "ok")
    other = host_of(world, "ok-2")
    now_ms = int(time.time() * 1000)
    world.redis_client.hset("fedpush:circuit", other, f"open {now_ms} {now_ms + 3600000} 3600000")
    world.redis_client.zadd("fedpush:circuits", {other: now_ms * 1000})
    wait_for(lambda: "its circuit has been open" in str(api.get(f"/domains/{other}", "/domains/{host}")["words"]), 30,
             "the machine has heard of it")
    wait_for(lambda: api.domain(other)["state"] == "open", 30, "it is shown")
    push(world.redis, jobs_for(world, "ok-2", 3, 100))
    wait_settled(world)
    assert received(world, "ok-2") == 0 and world.redis_client.zcard("schedule") == 3
    circuit = api.get(f"/domains/{other}", "/domains/{host}")["circuit"]
    assert circuit["backoff_s"] == 3600 and circuit["probe_at"] > time.time() + 3000
    began = time.monotonic()
    assert "as the probe" in api.order(f"/domains/{other}/try", "/domains/{host}/try")
    wait_for(lambda: received(world, "ok-2") >= 1, 30, "it is probed")
    assert time.monotonic() - began < 5 * 2  # two seconds, on a machine five times slower
    wait_for(lambda: received(world, "ok-2") == 3, 60, "the answer calls back the rest")
    wait_settled(world)
    assert world.redis_client.hget("fedpush:circuit", other) in (None, b"closed")
    assert machine.process.poll() is None


def test_pause_works_without_postgres_and_a_machine_drains(start, world):
    machine, api = start()
    read_at = api.get("/domains")["at"]
    world.postgres.stop()
    try:
        assert "the fleet pauses within two seconds" in api.order("/pause")
        wait_for(lambda: "paused" in [m["report"] and m["report"]["state"] for m in api.get("/machines")["items"]],
                 30, "the machine says so")
        overview = api.get("/overview")
        assert overview["paused"]["until"] is None and "test" in overview["paused"]["by"]
        assert "PostgreSQL" in api.refused("/series?span=1h", status=503)
        assert "paused: ok-1.fedi.test" in api.order("/domains/ok-1.fedi.test/pause", "/domains/{host}/pause")
        assert api.get("/audit")["items"]  # what waits for PostgreSQL
        assert "goes on" in api.order("/resume")
        wait_for(lambda: api.get("/overview")["paused"] is None, 30, "it is over")
        wait_for(lambda: api.get("/overview")["at"] > read_at + 6, 30, "the domains are old")
        assert api.get("/domains")["at"] == read_at  # as they were
    finally:
        world.postgres.start()
    wait_for(lambda: api.get("/domains")["at"] > read_at, 60, "PostgreSQL is asked again")
    identity = machine.identity()
    quoted = urllib.parse.quote(identity, safe="")
    assert '"confirm"' in api.refused(f"/machines/{quoted}/drain", {})
    assert "told to drain" in api.order(f"/machines/{quoted}/drain", "/machines/{identity}/drain", confirm=identity)
    assert machine.process.wait(60) == 0
