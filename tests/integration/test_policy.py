"""What admins order: pauses, limits and drops, on all machines, by Redis first."""

import json
import os
import pty
import subprocess
import tempfile
import time

import pytest
from forward import ForwardProxy
from jobs import account_for, assert_all_delivered_once, claimed, delivered, delivery, push, unsettled, wait_settled
from machine import BINARY, environment, fedpush
from servers import wait_for
from world import ADDRESSES

EFFECTIVE_S = 2  # in so many seconds after an order nothing is sent any more that it forbids


def told(world, *arguments, code=0, **settings):
    done = fedpush(world, *arguments, **settings)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout


def effective(world, *machines):
    """Until each machine has read the latest orders."""
    version = world.redis_client.hget("fedpush:policies", ":version").decode()
    wait_for(lambda: all(f"version={version} " in machine.log() for machine in machines), 30, "the orders are read",
             every=0.1)


def ordered_ms(world):
    """When the latest order was given: Redis' clock is this machine's, and the receiver's."""
    return int(world.redis_client.hget("fedpush:policies", ":version")) / 1000


MOST_SLOWNESS = 3


def slowness():
    """How many seconds a second of work takes here now: others use the processors, too."""
    began, used = time.monotonic(), time.process_time()
    while time.process_time() - used < 0.1:
        pass
    return min(max(1, (time.monotonic() - began) / (time.process_time() - used)), MOST_SLOWNESS)


def posts_to(world, host):
    counted = world.fediverse.counts()["inboxes"]
    return sum(count for inbox, count in counted.items() if inbox.startswith(f"{host}.fedi.test/"))


def jobs_for(world, host, count, first=0, **more):
    return [delivery(first + i, world.fediverse.inbox(host, f"/u{i}"), **more) for i in range(count)]


def booked(world):
    return world.redis_client.zcard("schedule")


def redis_now(world):
    return float(world.redis_client.time()[0])


def policies(world):
    return {name.decode(): value.decode().split(" ", 1)[1]
            for name, value in world.redis_client.hgetall("fedpush:policies").items() if not name.startswith(b":")}


def ledger(world):
    client = world.redis_client
    total = {}
    for key in ["fedpush:ledger", *client.scan_iter("fedpush:ledger:*")]:
        for word, count in client.hgetall(key).items():
            total[word.decode()] = total.get(word.decode(), 0) + int(count)
    return total


def audit(world):
    return world.query("SELECT who, action, domain FROM fedpush.audit ORDER BY at")


def test_a_paused_domain_waits_on_all_machines_and_burns_no_retry(world, machines):
    both = machines(), machines()
    told(world, "domain", "pause", "ok-1.fedi.test")
    effective(world, *both)
    push(world.redis, jobs_for(world, "ok-1", 40) + jobs_for(world, "ok-2", 40, first=100))
    wait_settled(world)
    assert posts_to(world, "ok-2") == 40 and posts_to(world, "ok-1") == 0
    assert booked(world) == 40
    for payload, score in world.redis_client.zrange("schedule", 0, -1, withscores=True):
        assert "retry_count" not in json.loads(payload) and score - redis_now(world) <= 1210
    shown = told(world, "domain", "show", "ok-1.fedi.test")
    assert "not sent: paused" in shown and "next due" in shown
    assert "40 jobs that were put off are due now" in told(world, "domain", "resume", "ok-1.fedi.test")
    wait_for(lambda: posts_to(world, "ok-1") == 40, 30, "what was put off is sent")
    wait_settled(world)
    assert ledger(world)["booked"] == 40
    wait_for(lambda: [row[1:] for row in audit(world)] == [("domain pause", "ok-1.fedi.test"),
                                                           ("domain resume", "ok-1.fedi.test")], 30, "the audit")
    assert all("@" in who for who, _, _ in audit(world))


@pytest.mark.parametrize("order", [("pause",), ("domain", "pause", "ok-1.fedi.test")])
def test_nothing_is_sent_two_seconds_after_an_order(world, machines, order):
    """On two machines, each of which sends a steady stream."""
    both = machines(FEDPUSH_MAX_RATE=60), machines(FEDPUSH_MAX_RATE=60)
    jobs = jobs_for(world, "ok-1", 2000)
    push(world.redis, jobs)
    wait_for(lambda: all(int(world.redis_client.hget(f"fedpush:ledger:{machine.identity()}", "delivered") or 0) >= 30
                         for machine in both), 60, "both send")
    before = slowness()
    told(world, *order)
    at_ms = ordered_ms(world)
    effective(world, *both)
    allowed_ms = 1000 * EFFECTIVE_S * max(before, slowness())
    wait_for(lambda: claimed(world) == 0 and (order == ("pause",) or unsettled(world) == 0), 60,
             "what was held is back, or put off")
    began = [visit["began_ms"] for visit in world.fediverse.visits()]
    assert any(at_ms - 1000 < ms <= at_ms for ms in began), "it was a stream"
    assert max(began) - at_ms <= allowed_ms, f"sent {max(began) - at_ms:.0f} ms after the order, {allowed_ms:.0f} allowed"
    account = account_for(world, jobs)
    assert account.lost == [] and account.duplicates == 0 and world.redis_client.zcard("retry") == 0, account


def test_pause_now_aborts_what_is_in_flight_and_keeps_its_jobs(world, machine):
    for host in ("ok-1", "ok-2"):
        push(world.redis, jobs_for(world, host, 4, first=100))
    wait_for(delivered(world, 8), 60, "both hosts are good")
    wait_settled(world)
    for host in ("ok-1", "ok-2"):
        world.fediverse.behave(host, "silent")
    jobs = jobs_for(world, "ok-1", 3) + jobs_for(world, "ok-2", 1, first=50)
    push(world.redis, jobs)
    open_at = lambda host: world.fediverse.counts()["now"][f"{host}.fedi.test"]  # noqa: E731
    wait_for(lambda: open_at("ok-1") >= 2 and open_at("ok-2") == 1, 30, "they are on the wire")
    before = slowness()
    told(world, "domain", "pause", "ok-1.fedi.test", "--now")
    at_ms = ordered_ms(world)
    wait_for(lambda: open_at("ok-1") == 0, 30, "they are aborted")
    allowed_ms = 1000 * EFFECTIVE_S * max(before, slowness())
    left = [visit["left_ms"] for visit in world.fediverse.visits() if visit["host"] == "ok-1.fedi.test"]
    assert max(left) - at_ms <= allowed_ms, f"aborted {max(left) - at_ms:.0f} ms after the order"
    wait_for(lambda: booked(world) == 3, 30, "their jobs are put off")
    assert open_at("ok-2") == 1, "another host's goes on"
    assert world.redis_client.zcard("retry") == 0 and world.redis_client.hlen("fedpush:circuit") == 0
    assert all("retry_count" not in json.loads(payload) for payload in world.redis_client.zrange("schedule", 0, -1))
    for host in ("ok-1", "ok-2"):
        world.fediverse.behave(host, "ok")
    told(world, "domain", "resume", "ok-1.fedi.test")
    wait_for(lambda: account_for(world, jobs).places["schedule"] == 0, 30, "they are called back")
    wait_for(lambda: posts_to(world, "ok-1") >= 4 + 2 + 3, 60, "all of them are sent, some again")
    assert account_for(world, jobs).lost == []


def test_subdomains_and_inbox_hosts_belong_to_a_domain(world, machine):
    world.query(
        "INSERT INTO accounts (id, username, domain, inbox_url, shared_inbox_url, created_at, updated_at)"
        " VALUES (50, 'carol', 'handle.example', %s, %s, now(), now())",
        world.fediverse.inbox("ok-5", "/users/carol/inbox"), world.fediverse.inbox("ok-6"))
    world.query(  # who names the inbox of a domain that has accounts of its own doesn't speak for that domain
        "INSERT INTO accounts (id, username, domain, inbox_url, shared_inbox_url, created_at, updated_at) VALUES"
        " (51, 'mallory', 'handle.example', 'https://victim.example/inbox', 'https://victim.example/inbox', now(), now()),"
        " (52, 'victor', 'victim.example', 'https://victim.example/inbox', '', now(), now()),"
        " (53, 'mallet', 'handle.example', 'https://port.example:443/inbox', 'https://port.example:8443/inbox', now(), now()),"
        " (54, 'porter', 'port.example', 'https://port.example/inbox', '', now(), now()),"
        " (55, 'malice', 'handle.example', 'https://bücher.example/inbox', 'https://own.example:8443/inbox', now(), now()),"
        " (56, 'reader', 'xn--bcher-kva.example', 'https://xn--bcher-kva.example/inbox', '', now(), now())")
    said = told(world, "domain", "pause", "@carol@handle.example", "--for", "24h")
    for other in ("victim.example", "port.example", "xn--bcher-kva.example"):
        assert said.count(f"{other} is left out, though accounts of handle.example have inboxes there") == 1, said
    assert {line.split()[1] for line in said.splitlines() if line.startswith("paused:")} == {
        "handle.example", "*.handle.example", "ok-5.fedi.test", "ok-6.fedi.test", "own.example"}
    told(world, "domain", "limit", "*.fedi.test", "--window", "2")
    shown = json.loads(told(world, "domain", "list", "--json"))
    assert {entry["name"]: entry["paused"] for entry in shown}["ok-5.fedi.test"]
    told(world, "domain", "resume", "handle.example")
    assert [entry["name"] for entry in json.loads(told(world, "domain", "list", "--json"))] == ["*.fedi.test"]
    assert json.loads(told(world, "domain", "drop", "handle.example", "--yes", "--json"))["complete"] is False
    assert json.loads(told(world, "domain", "drop", "victim.example", "--yes", "--json"))["complete"] is True
    wait_for(lambda: len(audit(world)) == 7, 30, "the audit")
    details = [set(row[0].split()) for row in world.query("SELECT detail FROM fedpush.audit ORDER BY at")]
    hosts = {"handle.example", "*.handle.example", "ok-5.fedi.test", "ok-6.fedi.test", "own.example"}
    assert details[0] == {"--for", "1d", *hosts} and details[2] == details[3] == hosts, details
    # All below a domain, those with a policy of their own included.
    told(world, "domain", "limit", "ok-7.fedi.test", "--window", "3")
    told(world, "domain", "pause", "fedi.test")
    assert "paused, at most 3 a minute" in told(world, "domain", "limit", "ok-9.fedi.test", "--rate", "3/m",
                                                 "--window", "0")
    effective(world, machine)
    push(world.redis, jobs_for(world, "ok-7", 3) + jobs_for(world, "ok-8", 3, first=10))
    wait_settled(world)
    assert world.fediverse.summary()["posts"] == 0 and booked(world) == 6


def test_a_pause_ends_by_itself(world, machine):
    told(world, "domain", "pause", "ok-1.fedi.test", "--for", "8s")
    until = int(policies(world)["ok-1.fedi.test"].split("paused=")[1].split()[0])
    effective(world, machine)
    push(world.redis, jobs_for(world, "ok-1", 5))
    wait_for(delivered(world, 5), 60, "sent when the pause is over")
    assert redis_now(world) >= until
    assert "no policy is in force" in told(world, "domain", "list")


def test_orders_work_without_postgresql_and_are_kept_later(world, machine):
    world.postgres.stop()
    try:
        told(world, "domain", "limit", "ok-1.fedi.test", "--window", "1")
        done = json.loads(told(world, "domain", "pause", "ok-1.fedi.test", "--json"))
        assert done["ok"] and not done["complete"] and "Mastodon's table" in done["text"], done
        effective(world, machine)
        push(world.redis, jobs_for(world, "ok-1", 5))
        wait_for(lambda: booked(world) == 5, 30, "put off")
        assert posts_to(world, "ok-1") == 0
    finally:
        world.postgres.start()
    wait_for(lambda: world.query("SELECT policy FROM fedpush.domain_policy WHERE domain = 'ok-1.fedi.test'")
             == [("1 paused window=1 of=ok-1.fedi.test",)], 60, "kept in PostgreSQL")
    wait_for(lambda: len(audit(world)) == 2, 60, "the audit")


def test_policies_come_back_when_redis_has_lost_them(world, machines):
    first = machines()
    told(world, "domain", "pause", "ok-1.fedi.test")
    wait_for(lambda: len(world.query("SELECT 1 FROM fedpush.domain_policy")) == 2, 30, "kept in PostgreSQL")
    kept = policies(world)
    world.redis_client.delete("fedpush:policies")
    wait_for(lambda: policies(world) == kept, 30, "back from the machine's memory")
    first.stop()
    world.redis_client.flushall()
    machines()
    wait_for(lambda: policies(world) == kept, 30, "back from PostgreSQL")


def test_the_fleet_and_one_machine_pause(world, machines):
    first, second = machines(), machines()
    told(world, "pause")
    effective(world, first, second)
    jobs = jobs_for(world, "ok-1", 20)
    push(world.redis, jobs)
    wait_for(lambda: "paused by an admin" in first.log() + second.log(), 30, "they say so")
    assert "the fleet is paused" in told(world, "domain", "show", "ok-1.fedi.test")
    assert "the fleet: fedpush resume" in fedpush(world, "status").stdout
    wait_for(lambda: world.redis_client.llen("queue:push") == 20 and claimed(world) == 0, 30, "all is back")
    assert world.fediverse.summary()["posts"] == 0
    told(world, "pause", "--machine", second.identity())
    told(world, "resume")
    wait_settled(world)
    assert_all_delivered_once(world, jobs)
    assert world.redis_client.hget(f"fedpush:ledger:{second.identity()}", "delivered") is None
    told(world, "resume", "--machine", second.identity())
    assert told(world, "domain", "list").startswith("no policy")
    assert "no fedpush of that name" in fedpush(world, "pause", "--machine", "nobody").stderr


def test_drop_removes_the_domains_jobs_and_no_others(world, machines):
    now = time.time()
    machine = machines()
    world.fediverse.behave("ok-3", "slow4000")
    push(world.redis, jobs_for(world, "ok-3", 12) + jobs_for(world, "status503-3", 3, first=50))
    wait_for(lambda: world.redis_client.zcard("retry") == 3, 30, "failures wait in retry")
    told(world, "pause", "--machine", machine.identity())
    effective(world, machine)
    others = jobs_for(world, "ok-2", 5, first=200)
    push(world.redis, jobs_for(world, "ok-3", 700, first=300) + others + jobs_for(world, "status503-3", 1, first=60))
    before = fedpush(world, "domain", "drop", "ok-3.fedi.test")
    assert before.returncode == 1 and "nothing is dropped" in before.stderr
    wait_for(lambda: world.redis_client.llen("queue:push") >= 706 and unsettled(world)
             == world.redis_client.llen("queue:push"), 30, "what was held is back")
    said = told(world, "domain", "drop", "ok-3.fedi.test", "--now", "--yes")
    assert "dropped: 7" in said and "status503" not in said, said
    assert world.redis_client.llen("queue:push") == 6
    assert "dropped: 4 removed" in told(world, "domain", "drop", "status503-3.fedi.test", "--yes")
    assert world.redis_client.zcard("retry") == 0 and world.redis_client.llen("queue:push") == 5
    told(world, "resume", "--machine", machine.identity())
    later = jobs_for(world, "ok-3", 2, first=2000, created_at=now + 3600)
    world.fediverse.behave("ok-3", "ok")
    push(world.redis, later)
    wait_for(lambda: posts_to(world, "ok-2") == 5, 30, "others' jobs")
    wait_settled(world)
    counted = ledger(world)
    assert counted["claimed"] == sum(count for word, count in counted.items() if word != "claimed"), counted
    activities = world.fediverse.counts()["activities"]
    assert all(job["args"][0].split('"')[3] in activities for job in others + later)
    wait_for(lambda: [row[1] for row in audit(world) if row[1].startswith("domain")]
             == ["domain drop", "domain dropped"] * 2, 30, "the audit")


def typed(world, words, *arguments):
    """The exit code, and what is shown, of a command in a terminal where somebody types these words when asked."""
    master, slave = pty.openpty()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([BINARY, *arguments], env=environment(world, folder), stdin=slave, stdout=slave,
                                   stderr=slave, start_new_session=True)
        os.close(slave)
        shown = b""
        try:
            while b"for good: " not in shown:
                shown += os.read(master, 4096)
            os.write(master, words.encode() + b"\n")
            while True:
                shown += os.read(master, 4096)
        except OSError:  # as a terminal says that nobody has it open any more
            return process.wait(60), shown.decode()
        finally:
            os.close(master)


def test_a_drop_is_confirmed_by_typing_the_domain(world, machine):
    told(world, "pause")
    effective(world, machine)
    push(world.redis, jobs_for(world, "ok-1", 3) + jobs_for(world, "ok-2", 2, first=10))
    drop = "domain", "drop", "ok-1.fedi.test"
    for wrong in ("", "y", "yes", "ok-2.fedi.test", "ok-1.fedi.test.", "*.fedi.test"):
        code, shown = typed(world, wrong, *drop)
        assert code == 1 and "to be dropped: all jobs for ok-1.fedi.test" in shown and "nothing is dropped" in shown, shown
    wait_for(lambda: world.redis_client.llen("queue:push") == 5, 30, "all are there, one that was waited for included")
    assert policies(world).keys() == {"*"}, "no order was given"
    code, shown = typed(world, " ok-1.fedi.test ", *drop)
    assert code == 0 and "dropped: 3" in shown, shown
    assert unsettled(world) == 2
    told(world, "resume")
    wait_for(lambda: posts_to(world, "ok-2") == 2, 30, "others' jobs")
    wait_settled(world)
    assert posts_to(world, "ok-1") == 0


def test_what_machines_hold_is_dropped_and_counted(world, machines):
    machines(FEDPUSH_HOST_WINDOW=1)
    world.fediverse.behave("ok-3", "slow3000")
    push(world.redis, jobs_for(world, "ok-3", 30))
    wait_for(lambda: posts_to(world, "ok-3") >= 1 and claimed(world) >= 20, 30, "they are held")
    said = told(world, "domain", "drop", "ok-3.fedi.test", "--now", "--yes")
    assert "by machines" in said
    wait_settled(world)
    counted = ledger(world)
    assert counted["policy"] >= 20 and posts_to(world, "ok-3") <= 6
    assert counted["claimed"] == sum(count for word, count in counted.items() if word != "claimed"), counted


def test_limits_are_kept(world, machine):
    world.fediverse.behave("ok-1", "slow100")
    told(world, "domain", "limit", "ok-1.fedi.test", "--window", "1")
    told(world, "domain", "limit", "*.fedi.test", "--rate", "5/s")
    effective(world, machine)
    began = time.monotonic()
    push(world.redis, jobs_for(world, "ok-1", 12) + jobs_for(world, "ok-2", 20, first=100))
    wait_for(lambda: posts_to(world, "ok-1") == 12 and posts_to(world, "ok-2") == 20, 60, "all are sent")
    assert time.monotonic() - began >= 19 / 5, "twenty at five a second take four seconds"
    assert world.fediverse.counts()["busy"]["ok-1.fedi.test"] == 1
    told(world, "domain", "limit", "ok-1.fedi.test", "--inherit")
    assert "at most 300 a minute" in told(world, "domain", "show", "ok-1.fedi.test")
    told(world, "domain", "limit", "*.fedi.test", "--window", "1")  # for each host by itself
    effective(world, machine)
    for host in ("ok-2", "ok-3"):
        world.fediverse.behave(host, "silent")
    push(world.redis, jobs_for(world, "ok-2", 2, first=200) + jobs_for(world, "ok-3", 2, first=300))
    wait_for(lambda: [world.fediverse.counts()["now"].get(f"{host}.fedi.test") for host in ("ok-2", "ok-3")] == [1, 1], 30,
             "one to each")


def test_a_host_with_few_requests_a_minute_gets_them(world, machine):
    """What must be asked before each of them, whether the host is available and who follows, is good for less than
    the time between two: the answers are there when the time is."""
    told(world, "domain", "limit", "ok-4.fedi.test", "--rate", "6/m")
    effective(world, machine)
    push(world.redis, [delivery(i, world.fediverse.inbox("ok-4", f"/u{i}"), options={"synchronize_followers": i != 1})
                       for i in range(3)])
    wait_for(lambda: posts_to(world, "ok-4") == 1, 30, "the first one")
    began = time.monotonic()
    wait_for(lambda: posts_to(world, "ok-4") == 3, 60, "all are sent")
    took_s = time.monotonic() - began
    assert 17 <= took_s <= 20 + 5 * slowness(), "two more at six a minute take twenty seconds"
    sent = [request["inbox"].rpartition("/")[2] for request in world.fediverse.counts()["requests"]]
    assert sent == ["u0", "u1", "u2"]


@pytest.fixture
def proxy():
    server = ForwardProxy(ADDRESSES[0])
    yield server
    server.stop()


def test_proxy_signature_and_http_version_are_as_ordered(world, machines, proxy):
    settings = {"FEDPUSH_PROXIES": f"eu=http://127.0.0.1:{proxy.port}"}
    machine = machines(**settings)
    refused = fedpush(world, "domain", "limit", "ok-1.fedi.test", "--proxy", "us", **settings)
    assert refused.returncode == 64 and "FEDPUSH_PROXIES has no proxy of that name: eu" in refused.stderr
    for host, order in [("ok-1", ["--proxy", "eu"]), ("ok-3", ["--signature", "rfc9421"]),
                        ("rfc-1", ["--signature", "cavage"]), ("ok-5", ["--http", "2"])]:
        told(world, "domain", "limit", f"{host}.fedi.test", *order, **settings)
    effective(world, machine)
    push(world.redis, jobs_for(world, "ok-1", 2) + jobs_for(world, "ok-2", 2, first=10)
         + jobs_for(world, "ok-3", 1, first=20) + jobs_for(world, "rfc-1", 1, first=30)
         + [delivery(i, world.fediverse.inbox(f"ok-{i}", h2=True)) for i in (5, 6)])
    wait_settled(world)
    counts = world.fediverse.counts()
    assert counts["failures"] == [] and counts["posts"] == 8, "rfc-1 gets no second knock"
    assert [head[0].split()[1].split("/")[2] for head in proxy.heads] == [f"ok-1.fedi.test:{world.fediverse.port}"] * 2
    requests = {request["inbox"].split(".")[0]: request for request in counts["requests"]}
    assert "signature-input" in [name.lower() for name in requests["ok-3"]["headers"]]
    assert world.redis_client.zcard("retry") == 1, "rfc-1 knows no cavage"
    assert [requests[f"ok-{i}"]["version"] for i in (2, 5, 6)] == ["1.1", "2.0", "1.1"]


def has_heard_of_proxy(world, listener, owner, proxy):
    """Once the listener has the answer to a pulse that came after the owner had told of its proxy."""
    def said(machine):
        return (world.redis_client.hget("fedpush:pulses", machine.identity()) or b"0").decode().split()

    wait_for(lambda: said(owner)[-1] == proxy, 30, "one tells of its proxy", every=0.1)
    for _ in range(2):  # the second pulse is sent when the first is answered
        before = int(said(listener)[0])
        wait_for(lambda: int(said(listener)[0]) > before, 30, "a pulse", every=0.1)


def test_a_machine_that_lacks_the_proxy_leaves_its_jobs_to_one_that_has_it(world, machines, proxy):
    settings = {"FEDPUSH_PROXIES": f"eu=http://127.0.0.1:{proxy.port}"}
    lacking = machines()
    told(world, "domain", "limit", "ok-1.fedi.test", "--proxy", "eu", **settings)
    wait_for(lambda: "FEDPUSH_PROXIES of this machine lacks" in lacking.log(), 30, "the log says so")
    early = [delivery(i, world.fediverse.inbox("ok-1", f"/early{i}")) for i in range(2)]
    push(world.redis, early)
    wait_settled(world)
    assert world.fediverse.summary()["posts"] == 0 and booked(world) == 2
    scores = [score - redis_now(world) for _, score in world.redis_client.zrange("schedule", 0, -1, withscores=True)]
    assert max(scores) < 62, "not for long: a machine that has it may come"
    shown = told(world, "domain", "show", "ok-1.fedi.test")
    assert "FEDPUSH_PROXIES here lacks" in shown and "nothing holds it back" not in shown, shown
    having = machines(**settings)
    has_heard_of_proxy(world, lacking, having, "eu")
    pushed = len(early)

    def passed():  # either takes what comes
        nonlocal pushed
        push(world.redis, jobs_for(world, "ok-1", 10, first=pushed))
        pushed += 10
        return world.redis_client.hget(f"fedpush:ledger:{lacking.identity()}", "returned")

    wait_for(passed, 30, "what the one lacks is left to the other", every=0.5)
    wait_for(lambda: posts_to(world, "ok-1") >= pushed - len(early), 90, "it delivers them")
    assert {head[0].split()[1].split("/")[2].split(":")[0] for head in proxy.heads} == {"ok-1.fedi.test"}
    having.stop()
    push(world.redis, jobs_for(world, "ok-1", 3, first=pushed))
    wait_for(lambda: unsettled(world) == 0 and booked(world) >= 3, 60, "nobody has it any more")
    assert "jobs that were put off are due now" in told(world, "domain", "limit", "ok-1.fedi.test", "--proxy", "none")
    wait_for(lambda: posts_to(world, "ok-1") == pushed + 3, 30, "what was put off comes when the order changes")
