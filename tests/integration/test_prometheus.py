"""/metrics, the rules for Prometheus and the dashboard for Grafana, which must know the same names."""

import importlib.util
import json
import os
import re
import subprocess

import pytest
from admin_page import Page
from jobs import delivery, push, wait_settled
from machine import fedpush
from servers import HERE, free_port, wait_for

TOP = os.path.join(HERE, "..", "..")
RULES = os.path.join(TOP, "deploy", "prometheus")
GRAFANA = os.path.join(TOP, "deploy", "grafana")
SAMPLE = re.compile(r'([a-z0-9_]+)(?:\{(.*)\})? (\S+)')


def promtool(*arguments, given=None, folder=None):
    program = os.path.join(HERE, "..", "tools", "promtool")
    assert os.access(program, os.X_OK), "no tests/tools/promtool: run deploy/dependencies"
    done = subprocess.run([program, *arguments], input=given, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Metrics:
    """One look at /metrics."""

    def __init__(self, page, **fields):
        answer = page.ask("/metrics", **fields)
        assert answer.status == 200, answer.body
        self.fields, self.text = answer.fields, answer.body.decode()
        self.samples = {}
        for line in self.text.splitlines():
            if not line.startswith("#"):
                name, labels, value = SAMPLE.fullmatch(line).groups()
                assert (name, labels) not in self.samples, line
                self.samples[name, labels] = float(value)

    def __getitem__(self, series):
        name, _, labels = series.partition("{")
        return self.samples.get((name, labels[:-1] or None))

    def families(self):
        return set(re.findall(r"^# TYPE (\S+)", self.text, re.MULTILINE))


@pytest.fixture
def page(world, machines):
    world.redis_client.config_set("maxmemory", 1 << 30)  # so that it is told
    port = free_port()
    machines(FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{port}", FEDPUSH_WORKERS=1)
    page = Page(port)
    wait_for(page.answers, 30, "the page answers")
    return page


def named(expression):
    """The metrics that a query is about: not ours that rules record, nor what Prometheus itself makes."""
    expression = re.sub(r'"[^"]*"', '""', expression)
    return {re.sub("_(bucket|count|sum)$", "", name) for name in re.findall(r"\bfedpush_[a-z0-9_]+", expression)}


def test_metrics_rules_and_dashboard_agree(page, world):
    jobs = [delivery(i, world.fediverse.inbox(f"ok-{i % 25}", f"/u{i}")) for i in range(50)]
    jobs.append(delivery(50, world.fediverse.inbox("status410-1")))
    push(world.redis, jobs)
    wait_settled(world)
    # Domains are kept for a quarter of a minute, so that they are asked for when all of it is there.
    for table in ("domain_hourly", "domain_health"):
        wait_for(lambda: world.query(f"SELECT sum(delivered + rejected) FROM fedpush.{table}") == [(51,)], 60,
                 f"{table} is written")

    def counted():
        metrics = Metrics(page)
        measured = metrics["fedpush_cpu_cores"] is not None  # between two reports
        return metrics if measured and metrics["fedpush_delivery_duration_seconds_count"] == 51 else None

    metrics = wait_for(counted, 60, lambda: f"what was delivered is counted:\n{Metrics(page).text}", every=0.5)
    assert metrics.fields["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert promtool("check", "metrics", given=metrics.text) == ""
    wait_for(lambda: world.fediverse.summary()["posts"] >= 50, 30, "the receivers' own count")
    assert metrics['fedpush_deliveries_total{outcome="delivered"}'] == 50
    assert metrics["fedpush_up"] == 1 and metrics['fedpush_state{state="running"}'] == 1
    assert metrics['fedpush_deliveries_total{outcome="rejected"}'] == 1
    assert metrics['fedpush_delivery_duration_seconds_bucket{le="+Inf"}'] == 51
    assert metrics['fedpush_fleet_queue_jobs{queue="push"}'] == 0 and metrics["fedpush_fleet_ledger_missing_jobs"] == 0
    assert metrics['fedpush_fleet_handoff_consumers{queue="default"}'] == 0
    assert metrics["fedpush_fleet_redis_memory_max_bytes"] == 1 << 30
    assert metrics["fedpush_sent_bytes_total"] > 50 * 200 and metrics["fedpush_resident_memory_bytes"] > 1 << 20
    listed = {labels for name, labels in metrics.samples if name == "fedpush_domain_delivered_total"}
    assert len(listed) == 20 and metrics['fedpush_domain_last_day_deliveries{domain="other",outcome="delivered"}'] == 10

    families = metrics.families()
    with open(os.path.join(GRAFANA, "fedpush.json")) as file:
        dashboard = json.load(file)
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    with open(os.path.join(RULES, "fedpush.rules.yml")) as file:
        asked += re.findall(r"^ +expr: (?:>-\n)?((?:.*\n)(?: {10}.*\n)*)", file.read(), re.MULTILINE)
    known = set().union(*(named(expression) for expression in asked))
    assert len(asked) > 40 and known <= families, known - families
    assert families <= known, families - known  # nothing that nobody looks at


def test_rules_are_good():
    promtool("check", "rules", "fedpush.rules.yml", folder=RULES)
    promtool("check", "config", "--syntax-only", "prometheus.yml", folder=RULES)
    promtool("test", "rules", "fedpush.test.yml", folder=RULES)
    with open(os.path.join(RULES, "fedpush.rules.yml")) as rules, open(os.path.join(RULES, "fedpush.test.yml")) as tests:
        alerts, tested = (set(re.findall(pattern, file.read()))
                          for pattern, file in ((r"alert: (\w+)", rules), (r"alertname: (\w+)", tests)))
    assert alerts == tested and len(alerts) > 10


def test_the_dashboard_is_what_its_program_writes(tmp_path):
    spec = importlib.util.spec_from_file_location("dashboard", os.path.join(GRAFANA, "dashboard.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with open(os.path.join(GRAFANA, "fedpush.json")) as file:
        dashboard = json.load(file)
    assert dashboard == module.dashboard()
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in dashboard["panels"])
    # promtool reads queries in rules only; JSON is YAML, too
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "queries.yml").write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", "queries.yml", folder=tmp_path)


def test_without_postgresql_the_fleet_is_still_told(machines, world):
    port = free_port()
    assert fedpush(world, "setup").returncode == 0
    machines(FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{port}", FEDPUSH_WORKERS=1)
    page = Page(port)
    wait_for(page.answers, 30, "the page answers")
    with world.postgres.away():
        metrics = wait_for(lambda: (lambda found: found["fedpush_up"] == 1 and found)(Metrics(page)), 60, "it reports")
        assert metrics['fedpush_fleet_machines{state="alive"}'] == 1
