#!/usr/bin/python3
"""Writes fedpush.json beside it: the dashboard that Grafana imports (Dashboards, New, Import)."""

import json
import os

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
MINE = '{job="$job"}'
WIDTH = 24


def targets(*queries):
    return [{"datasource": SOURCE, "refId": chr(65 + i), "expr": expression.replace("{}", MINE), "legendFormat": legend}
            for i, (expression, legend) in enumerate(queries)]


def panel(kind, title, width, height, unit, *queries, **options):
    field = {"unit": unit, "min": 0, **options.pop("field", {})}
    return {"type": kind, "title": title, "datasource": SOURCE, "gridPos": {"w": width, "h": height},
            "fieldConfig": {"defaults": field, "overrides": []}, "targets": targets(*queries),
            "options": options, "description": options.pop("description", "")}


def stat(title, unit, query, bad_from=None, **options):
    steps = [{"color": "green", "value": None}]
    if bad_from is not None:
        steps.append({"color": "red", "value": bad_from})
    return panel("stat", title, 4, 4, unit, (query, ""), colorMode="value", graphMode="area",
                 reduceOptions={"calcs": ["lastNotNull"]},
                 field={"thresholds": {"mode": "absolute", "steps": steps}}, **options)


def graph(title, unit, *queries, stacked=False, **options):
    custom = {"fillOpacity": 20 if stacked else 5, "lineWidth": 1, "showPoints": "never",
              "stacking": {"mode": "normal" if stacked else "none"}}
    return panel("timeseries", title, 12, 8, unit, *queries, legend={"displayMode": "list", "placement": "bottom"},
                 tooltip={"mode": "multi"}, field={"custom": custom}, **options)


def quantile(share):
    return f"histogram_quantile({share}, sum by (le) (rate(fedpush_delivery_duration_seconds_bucket{{}}[5m])))"


def row(title):
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": WIDTH, "h": 1}}


PANELS = [
    stat("Deliveries a second", "reqps", 'sum(rate(fedpush_deliveries_total{job="$job", outcome="delivered"}[1m]))'),
    stat("Success", "percentunit", 'sum(rate(fedpush_deliveries_total{job="$job", outcome="delivered"}[5m]))'
         " / sum(rate(fedpush_deliveries_total{}[5m]))"),
    stat("Oldest job of push", "s", 'max(fedpush_fleet_queue_oldest_age_seconds{job="$job", queue="push"})', 300),
    stat("In flight", "short", "max(fedpush_fleet_in_flight{})"),
    stat("Hosts that don't answer", "short", "max(fedpush_fleet_open_circuits{})"),
    stat("Alerts", "short", "max(fedpush_fleet_alerts{})", 1),
    row("Deliveries"),
    graph("Attempts by outcome", "reqps", ("sum by (outcome) (rate(fedpush_deliveries_total{}[5m]))", "{{outcome}}"),
          stacked=True),
    graph("How long attempts take", "s", (quantile(0.5), "p50"), (quantile(0.95), "p95"), (quantile(0.99), "p99")),
    graph("Sent, and passed on to Ruby", "short", ("sum(rate(fedpush_sent_bytes_total{}[5m]))", "bytes a second"),
          ("sum(rate(fedpush_handed_off_jobs_total{}[5m]))", "jobs a second to Ruby")),
    graph("Attempts that the resolver let down", "short",
          ("sum by (instance) (rate(fedpush_dns_failures_total{}[5m]))", "{{instance}}")),
    row("What waits"),
    graph("Queues", "short", ("max by (queue) (fedpush_fleet_queue_jobs{})", "{{queue}}"),
          ("max by (queue) (fedpush_fleet_handoff_jobs{})", "{{queue}} (for Ruby)")),
    graph("Age of the oldest job", "s",
          ("max by (queue) (fedpush_fleet_queue_oldest_age_seconds{})", "{{queue}}")),
    graph("Sidekiq's sets", "short", ("max by (set) (fedpush_fleet_later_jobs{})", "{{set}}")),
    graph("Claims", "short", ("max(fedpush_fleet_held_jobs{})", "held"),
          ("max(fedpush_fleet_dead_owners_jobs{})", "held by the dead"),
          ("max(abs(fedpush_fleet_ledger_missing_jobs{}))", "not accounted for")),
    graph("Sidekiq processes for what is passed on", "short",
          ("max by (queue) (fedpush_fleet_handoff_consumers{})", "{{queue}}")),
    graph("Redis", "bytes", ("max(fedpush_fleet_redis_memory_bytes{})", "used"),
          ("max(fedpush_fleet_redis_memory_max_bytes{})", "maxmemory")),
    row("Domains"),
    graph("Domains by state", "short", ("max by (state) (fedpush_fleet_domains{})", "{{state}}"), stacked=True),
    graph("Deliveries to the busiest domains", "reqps",
          ("max by (domain) (rate(fedpush_domain_delivered_total{}[5m]))", "{{domain}}"), stacked=True),
    panel("bargauge", "Attempts of the last 24 hours", 12, 12, "short",
          ('sort_desc(sum by (domain) (max by (domain, outcome) (fedpush_domain_last_day_deliveries{})))', "{{domain}}"),
          displayMode="basic", orientation="horizontal", reduceOptions={"calcs": ["lastNotNull"]}),
    graph("95 % of attempts take less than", "s", ("max by (domain) (fedpush_domain_p95_seconds{})", "{{domain}}")),
    graph("Failures in a row", "short",
          ("max by (domain) (fedpush_domain_consecutive_failures{}) > 0", "{{domain}}")),
    row("Machines"),
    graph("Machines", "short", ("max by (state) (fedpush_fleet_machines{})", "{{state}}"),
          ("sum(fedpush_up{})", "reporting"), ("max(fedpush_fleet_suspicious_machines{})", "suspect themselves"),
          ("max(fedpush_fleet_paused{})", "all are paused")),
    graph("State", "short", ("fedpush_state{} * on (instance) group_left (version) fedpush_info{}",
                             "{{instance}} {{version}} {{state}}")),
    graph("Hosts", "short", ("fedpush_lanes{}", "{{instance}} lanes"),
          ("fedpush_open_circuits{}", "{{instance}} don't answer")),
    graph("Running for", "s", ("time() - fedpush_start_time_seconds{}", "{{instance}}")),
    graph("Slots in use", "percentunit", ("fedpush_in_flight{} / fedpush_slots{}", "{{instance}}")),
    graph("Look-ahead in use", "percentunit", ("fedpush_held_jobs{} / fedpush_lookahead_jobs{}", "{{instance}}")),
    graph("Cores", "short", ("fedpush_cpu_cores{}", "{{instance}}"), ("fedpush_workers{}", "{{instance}} workers")),
    graph("Memory", "bytes", ("fedpush_resident_memory_bytes{}", "{{instance}}")),
    graph("How late the scheduler runs", "s", ("fedpush_loop_lag_seconds{}", "{{instance}}")),
    graph("Waiting in lanes, or for keys", "short", ("fedpush_waiting_jobs{}", "{{instance}} lanes"),
          ("fedpush_keys_waiting_jobs{}", "{{instance}} keys")),
]


def place(panels):
    """From left to right, row by row."""
    x = y = height = 0
    for number, one in enumerate(panels):
        at = one["gridPos"]
        if x + at["w"] > WIDTH:
            x, y, height = 0, y + height, 0
        at.update(x=x, y=y)
        one["id"] = number + 1
        x, height = x + at["w"], max(height, at["h"])
    return panels


def variable(name, label, kind, **more):
    return {"name": name, "label": label, "type": kind, "hide": 0, "refresh": 1, **more}


def dashboard():
    return {
        "title": "fedpush", "uid": "fedpush", "tags": ["fedpush", "mastodon"], "timezone": "browser", "editable": True,
        "schemaVersion": 37, "version": 1, "refresh": "30s", "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [
            variable("datasource", "Prometheus", "datasource", query="prometheus"),
            variable("job", "Job", "query", datasource=SOURCE, query="label_values(fedpush_up, job)",
                     definition="label_values(fedpush_up, job)"),
        ]},
        "panels": place(PANELS),
    }


if __name__ == "__main__":
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fedpush.json")
    with open(path, "w") as file:
        json.dump(dashboard(), file, indent=1)
        file.write("\n")
