"""A server with thousands of domains: what fedpush would have written about them in weeks of deliveries."""

import json
import threading
import time

from jobs import activity

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



def fill(stage, domains, days, active, jobs, tell=print):
    """`active`: the share of hours in which a domain got something; `jobs` wait in `retry`."""
    values = {"domains": domains, "days": days, "active": active}
    with stage.postgres.connect(stage.database) as connection, connection.cursor() as cursor:
        for what, sql in SQL.items():
            began = time.monotonic()
            cursor.execute(sql, values)
            tell(f"{cursor.rowcount:9} {what} in {time.monotonic() - began:.1f} s")
        cursor.execute("ANALYZE")
    client, now_ms = stage.redis_client, int(time.time() * 1000)
    for i in range(20, domains, 20):
        host = f"host-{i}.example"
        client.hset("fedpush:circuit", host, f"open {now_ms} {now_ms + 3600000} 3600000")
        client.zadd("fedpush:circuits", {host: now_ms * 1000 + i})
    for i in range(1, domains, 200):
        client.hset("fedpush:policies", f"host-{i}.example", f"{now_ms * 1000 + i} 1 window=2")
    client.hset("fedpush:policies", ":version", now_ms * 1000 + domains)
    job = json.dumps({"class": "ActivityPub::DeliveryWorker", "jid": "@1@", "queue": "push", "retry": 16,
                      "args": [activity(1, 2000), 1, "https://host-@1@.example/inbox"]})
    client.register_script(FILL)(["retry"], [job, 1, jobs, now_ms // 1000 + 86400])


SCANS = ("/jobs", "/domains/*/waiting")


def paths(domains):
    """What pages ask for, (name, path of the nth time): a domain is another one each time."""
    def host(n):
        return f"host-{(7919 * n + domains // 2) % domains + 1}.example"

    same = ["/overview", "/machines", "/domains?limit=200", "/domains?limit=200&sort=p95_ms&search=9&state=failing",
            "/domains?limit=1000&sort=host&offset=500", "/series?span=1h", "/series?span=24h", "/series?span=7d",
            "/series?span=30d", "/audit", "/jobs"]
    return [(path, lambda n, path=path: path) for path in same] + [
        ("/series?span=30d&host=*", lambda n: f"/series?span=30d&host={host(n)}"),
        ("/domains/*", lambda n: f"/domains/{host(n)}"),
        ("/domains/*/waiting", lambda n: f"/domains/{host(n)}/waiting"),
    ]


class Company:
    """Other pages that are open meanwhile: the list, and five domains, each asking every three seconds."""

    def __init__(self, ask, domains):
        self.ask, self.domains = ask, domains
        self.done, self.problems = threading.Event(), []
        self.threads = [threading.Thread(target=self.read, args=(n,), daemon=True) for n in range(6)]

    def read(self, n):
        path = "/domains?limit=200" if n == 0 else f"/domains/host-{n * self.domains // 6}.example"
        while not self.done.wait(3):
            try:
                self.ask(path)
            except Exception as problem:  # pylint: disable=broad-except
                self.problems.append(f"{path}: {problem}")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()
