#!/usr/bin/python3
"""What the API costs with many domains: how long each answer takes, and the memory of the admin process.

    tests/bench/page.py [--domains N] [--days N] [--active SHARE] [--jobs N] [--rounds N]

Every domain has health, history of each hour in which it was active, and followers; some circuits are open, some
domains have orders, and jobs wait in `retry`. The first answer of each kind is shown apart: it reads what later
ones have at hand. Client, servers and PostgreSQL share the machine's cores.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
import urllib.request

from delivery import Stage  # it says where the tests' modules are
from demonstration import processes
from jobs import activity
from machine import Machine, fedpush
from servers import free_port, wait_for

LATENCY = "ARRAY(SELECT CASE WHEN i BETWEEN 5 AND 12 THEN 3 ELSE 0 END FROM generate_series(0, 23) AS i)::bigint[]"
COUNTS = f"25, 2, 1, 0, 90000, {LATENCY}"
SQL = {
    "health": """
INSERT INTO fedpush.domain_health (host, delivered, retried, rejected, exhausted, consecutive_failures, total_ms,
  last_status, last_error, last_attempt_at, last_success_at, failing_since)
SELECT 'host-' || i || '.example', 10000 + i, mod(i, 100), mod(i, 7), mod(i, 3),
  CASE WHEN mod(i, 10) = 0 THEN 5 ELSE 0 END, 900000,
  CASE WHEN mod(i, 10) = 0 THEN 503 ELSE 202 END, CASE WHEN mod(i, 10) = 0 THEN '503 Service Unavailable' END,
  now() - i * interval '1 second', now() - i * interval '2 seconds', CASE WHEN mod(i, 10) = 0 THEN now() END
FROM generate_series(1, %(domains)s) AS i""",
    "inboxes": """
INSERT INTO fedpush.inbox_health (inbox_url, host, delivered)
SELECT 'https://host-' || i || '.example/users/' || u, 'host-' || i || '.example', u
FROM generate_series(1, %(domains)s) AS i, generate_series(1, 3) AS u""",
    "hours": f"""
INSERT INTO fedpush.domain_hourly (host, hour, delivered, retried, rejected, exhausted, sent_bytes, latency)
SELECT 'host-' || i || '.example', date_trunc('hour', now()) - h * interval '1 hour', {COUNTS}
FROM generate_series(0, 191) AS h, generate_series(1, %(domains)s) AS i WHERE random() < %(active)s""",
    "days": f"""
INSERT INTO fedpush.domain_hourly (host, hour, hours, delivered, retried, rejected, exhausted, sent_bytes, latency)
SELECT 'host-' || i || '.example', date_trunc('day', now()) - d * interval '1 day', 24, {COUNTS}
FROM generate_series(9, %(days)s) AS d, generate_series(1, %(domains)s) AS i""",
    "minutes of the fleet": f"""
INSERT INTO fedpush.fleet_minutely (minute, machine, delivered, retried, rejected, exhausted, sent_bytes, latency)
SELECT date_trunc('minute', now()) - m * interval '1 minute', 'mx' || x, {COUNTS}
FROM generate_series(1, 2880) AS m, generate_series(1, 3) AS x""",
    "hours of the fleet": f"""
INSERT INTO fedpush.fleet_hourly (hour, machine, delivered, retried, rejected, exhausted, sent_bytes, latency)
SELECT date_trunc('hour', now()) - h * interval '1 hour', 'mx' || x, {COUNTS}
FROM generate_series(1, 24 * %(days)s) AS h, generate_series(1, 3) AS x""",
    "accounts": """
INSERT INTO accounts (id, username, domain, inbox_url, shared_inbox_url, created_at, updated_at)
SELECT 1000 + i, 'u' || i, 'host-' || i || '.example', 'https://host-' || i || '.example/inbox',
  'https://host-' || i || '.example/inbox', now(), now() FROM generate_series(1, %(domains)s) AS i""",
    "follows": """
INSERT INTO follows (account_id, target_account_id, created_at, updated_at)
SELECT 1000 + i, t, now(), now() FROM generate_series(1, %(domains)s) AS i, (VALUES (1), (2)) AS l(t)""",
}
FILL = """
for i = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  redis.call('ZADD', KEYS[1], ARGV[4] + i / 1000, (string.gsub(ARGV[1], '@1@', i)))
end
"""


def fill(stage, arguments):
    values = {"domains": arguments.domains, "days": arguments.days, "active": arguments.active}
    with stage.postgres.connect(stage.database) as connection, connection.cursor() as cursor:
        for what, sql in SQL.items():
            began = time.monotonic()
            cursor.execute(sql, values)
            print(f"{cursor.rowcount:9} {what} in {time.monotonic() - began:.1f} s", flush=True)
        connection.commit()
    stage.query("ANALYZE")
    client, now_ms = stage.redis_client, int(time.time() * 1000)
    for i in range(0, arguments.domains, 20):
        host = f"host-{i}.example"
        client.hset("fedpush:circuit", host, f"open {now_ms} {now_ms + 3600000} 3600000")
        client.zadd("fedpush:circuits", {host: now_ms * 1000 + i})
    for i in range(1, arguments.domains, 200):
        client.hset("fedpush:policies", f"host-{i}.example", f"{now_ms * 1000 + i} 1 window=2")
    client.hset("fedpush:policies", ":version", now_ms * 1000 + arguments.domains)
    job = json.dumps({"class": "ActivityPub::DeliveryWorker", "jid": "@1@", "queue": "push", "retry": 16,
                      "args": [activity(1, 2000), 1, "https://host-@1@.example/inbox"]})
    client.register_script(FILL)(["retry"], [job, 1, arguments.jobs, now_ms // 1000 + 86400])


def ask(port, path):
    began = time.monotonic()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1{path}", timeout=120) as answer:
        text = answer.read()
    return time.monotonic() - began, len(text)


def paths(arguments):
    middle = f"/domains/host-{arguments.domains // 2}.example"
    slow = max(2, arguments.rounds // 10)
    return [
        ("/overview", arguments.rounds), ("/machines", arguments.rounds), ("/domains?limit=200", arguments.rounds),
        ("/domains?limit=200&sort=p95_ms&search=9&state=failing", arguments.rounds),
        ("/domains?limit=1000&sort=host&offset=5000", arguments.rounds), ("/series?span=1h", arguments.rounds),
        ("/series?span=24h", arguments.rounds), ("/series?span=7d", arguments.rounds),
        ("/series?span=30d", arguments.rounds), (middle.replace("/domains/", "/series?span=30d&host="), arguments.rounds),
        (middle, slow), (f"{middle}/waiting", slow), ("/jobs", slow), ("/audit", arguments.rounds),
    ]


def measure(arguments, folder):
    stage = Stage(folder)
    stage.query = lambda sql, *values: stage.postgres.query(stage.database, sql, *values)
    machine, port = None, free_port()
    try:
        assert fedpush(stage, "setup").returncode == 0
        fill(stage, arguments)
        machine = Machine(stage, os.path.join(folder, "machine"), FEDPUSH_LOG_LEVEL="warn",
                          FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{port}").start()
        wait_for(lambda: machine.roles("admin"), 30, "the page")
        print(f"{'':52} {'first':>7} {'p50':>7} {'p95':>7} ms {'KB':>6}  RSS MiB")
        for path, rounds in paths(arguments):
            first, _ = ask(port, path)
            taken = []
            for _ in range(rounds):
                seconds, size = ask(port, path)
                taken.append(seconds)
                time.sleep(0.1)  # as pages ask: some answers must be read anew
            p95 = statistics.quantiles(taken, n=20)[-1] if len(taken) > 1 else taken[0]
            print(f"{path:52} {first * 1000:7.0f} {statistics.median(taken) * 1000:7.0f} {p95 * 1000:7.0f}"
                  f" {size / 1024:9.0f} {processes(machine)['admin'][1]:8.1f}", flush=True)
    finally:
        if machine is not None and machine.process is not None:
            machine.stop()
        stage.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--domains", type=int, default=10000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--active", type=float, default=0.5, help="share of the hours in which a domain got something")
    parser.add_argument("--jobs", type=int, default=20000, help="that wait in retry")
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = tempfile.mkdtemp(prefix="fedpush-page-")
    os.chmod(folder, 0o755)  # PostgreSQL runs as a user of its own
    try:
        measure(arguments, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
