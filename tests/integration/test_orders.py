"""What orders about a domain and its parents mean together, and what drop and resume do with what waits."""

import hashlib
import json
import re
import time

from jobs import account_for, claimed, delivery, push, unsettled, wait_settled
from machine import fedpush
from servers import wait_for
from test_policy import booked, effective, jobs_for, ledger, policies, posts_to, proxy, redis_now, told  # noqa: F401

LATER_S = 3600  # made so long after an order: it isn't meant
LOOKED_AT = 100000  # entries that a preview looks at


def later_job(world, host, number):
    return delivery(number, world.fediverse.inbox(host), created_at=time.time() + LATER_S)


def test_a_drop_lifts_neither_proxy_nor_pause_of_a_parent(world, machines, proxy):  # noqa: F811
    settings = {"FEDPUSH_PROXIES": f"tor=http://127.0.0.1:{proxy.port}"}
    machine = machines(**settings)
    told(world, "domain", "limit", "*.fedi.test", "--proxy", "tor", **settings)
    assert "dropped: 0" in told(world, "domain", "drop", "ok-1.fedi.test", "--yes", **settings)
    shown = told(world, "domain", "show", "ok-1.fedi.test", **settings)
    assert "tor" in shown and "dropped" in shown, shown
    effective(world, machine)
    push(world.redis, [later_job(world, "ok-1", 1)])
    wait_for(lambda: posts_to(world, "ok-1") == 1, 30, "what is made later is delivered")
    assert [head[0].split()[1].split("/")[2].split(":")[0] for head in proxy.heads] == ["ok-1.fedi.test"]
    told(world, "domain", "pause", "fedi.test")
    told(world, "domain", "drop", "ok-2.fedi.test", "--yes", **settings)
    effective(world, machine)
    push(world.redis, [later_job(world, "ok-2", 2)] + jobs_for(world, "ok-2", 3, first=10, created_at=time.time() - 60))
    wait_for(lambda: booked(world) == 1 and unsettled(world) == 0, 30, "the later one is put off, the others dropped")
    assert posts_to(world, "ok-2") == 0 and ledger(world)["policy"] == 3
    words = policies(world)["ok-2.fedi.test"].split()
    assert len(words) == 2 and words[1].startswith("drop="), "nothing of the parent's is left over"
    told(world, "domain", "resume", "fedi.test")
    wait_for(lambda: posts_to(world, "ok-2") == 1, 30, "it goes on with its parent")


def test_a_resume_says_whether_the_domain_is_still_paused(world):
    told(world, "domain", "pause", "*.fedi.test")
    assert "still paused by *.fedi.test" in told(world, "domain", "resume", "ok-1.fedi.test")
    told(world, "domain", "limit", "ok-1.fedi.test", "--rate", "5/m")
    assert "paused, at most 5 a minute" in told(world, "domain", "show", "ok-1.fedi.test")
    assert "still paused" not in told(world, "domain", "resume", "ok-1.fedi.test")


def account_of(world, number, domain, inbox):
    world.query("INSERT INTO accounts (id, username, domain, inbox_url, shared_inbox_url, created_at, updated_at)"
                f" VALUES ({number}, 'a{number}', %s, %s, '', now(), now())", domain, inbox)


def paused(world):
    return {name for name, words in policies(world).items() if "paused" in words.split("=")[0]}


def ended(world, name):
    """Once this name's pauses with an end are over, the policy that is left to it."""
    text = policies(world)[name]
    last = max(int(word) for word in re.findall(r"\d{10}", text))
    wait_for(lambda: redis_now(world) > last, 30, "an end")
    return {entry["name"]: entry for entry in json.loads(told(world, "domain", "list", "--json"))}.get(name)


def test_no_pause_shortens_or_takes_over_another(world):
    for number, domain in ((60, "one.example"), (61, "two.example")):
        account_of(world, number, domain, "https://inbox.example/inbox")
    told(world, "domain", "pause", "one.example")
    told(world, "domain", "pause", "bad.par.example")
    told(world, "domain", "pause", "two.example", "--for", "3s")
    told(world, "domain", "pause", "par.example", "--for", "3s")
    assert ended(world, "inbox.example")["paused_for"] == ["one.example"] and ended(world, "bad.par.example")["paused"]
    assert ended(world, "two.example") is None and ended(world, "par.example") is None
    told(world, "domain", "pause", "two.example", "--for", "1h")
    told(world, "domain", "pause", "par.example", "--for", "1h")
    said = told(world, "domain", "resume", "two.example")
    assert "inbox.example: still paused by one.example" in said and "resumed: inbox.example" not in said, said
    assert "bad.par.example: still paused by bad.par.example" in told(world, "domain", "resume", "par.example")
    assert paused(world) == {"one.example", "*.one.example", "inbox.example", "bad.par.example", "*.bad.par.example"}
    assert "resumed: inbox.example" in told(world, "domain", "resume", "one.example")
    told(world, "domain", "resume", "bad.par.example")
    assert paused(world) == set()


def test_what_is_resumed_is_what_was_named(world):
    told(world, "domain", "pause", "q.example")
    said = told(world, "domain", "resume", "*.q.example")
    assert "resumed: *.q.example" in said and "resumed: q.example" not in said and paused(world) == {"q.example"}, said
    told(world, "domain", "limit", "c.q.example", "--window", "5")
    told(world, "domain", "pause", "*.q.example")
    said = told(world, "domain", "resume", "c.q.example")
    assert "resumed: c.q.example" in said and "still paused" not in said, said
    assert paused(world) == {"q.example", "*.q.example"}
    told(world, "domain", "resume", "q.example")
    assert paused(world) == {"*.q.example"}


def test_a_resume_leaves_an_order_to_drop_alone(world):
    told(world, "domain", "drop", "d.example", "--now", "--yes")
    dropped = policies(world)["d.example"]
    assert dropped.startswith("1 now drop=")
    assert "nothing of d.example was paused" in told(world, "domain", "resume", "d.example")
    told(world, "domain", "pause", "d.example", "--now")
    assert "resumed: d.example" in told(world, "domain", "resume", "d.example")
    assert policies(world)["d.example"] == dropped


def test_a_child_is_exempt_from_its_parents_limits(world):
    told(world, "domain", "limit", "*.lim.example", "--rate", "10/m")
    child = "a.lim.example"
    exempt = f"{child}: without its parent's limits"
    assert exempt in told(world, "domain", "limit", child, "--rate", "0", "--signature", "auto")
    shown = told(world, "domain", "show", child)
    assert "without its parent's limits (a.lim.example)" in shown and "at most 10" not in shown, shown
    assert f"{child}: at most 10 a minute (*.lim.example)" in told(world, "domain", "limit", child, "--inherit")
    assert "at most 10 a minute (*.lim.example)" in told(world, "domain", "show", child)
    assert f"{child}: at most 2 at once" in told(world, "domain", "limit", child, "--window", "2", "--rate", "0")
    assert exempt in told(world, "domain", "limit", child, "--clear", "--for", "1h")
    assert policies(world)[child].startswith("1 exempt limits_until=")
    told(world, "domain", "limit", child, "--inherit", "--clear", code=64)
    told(world, "domain", "pause", "lim.example")  # with it, as with any order of its own
    assert "paused, without its parent's limits" in told(world, "domain", "show", child)
    told(world, "domain", "resume", "lim.example")
    assert policies(world)[child].startswith("1 exempt limits_until=")
    assert "free.example: no policy" in told(world, "domain", "limit", "free.example", "--clear")


def test_a_first_limit_of_a_paused_child_begins_with_its_parents(world):
    settings = {"FEDPUSH_PROXIES": "eu=http://127.0.0.1:1"}
    told(world, "domain", "limit", "*.lim.example", "--proxy", "eu", **settings)
    for child, limit in (("a.lim.example", ("--window", "2")), ("b.lim.example", ("--rate", "0"))):
        told(world, "domain", "pause", child)
        told(world, "domain", "limit", child, *limit, **settings)
        assert policies(world)[child].startswith("1 paused ") and policies(world)[child].endswith(f" of={child}")
        told(world, "domain", "resume", child)
    assert policies(world)["a.lim.example"] == "1 window=2 proxy=eu"
    assert policies(world)["b.lim.example"] == "1 proxy=eu"


def test_a_host_is_paused_for_so_many_domains_at_most(world):
    for number in range(9):
        account_of(world, 70 + number, f"d{number}.example", "https://inbox.example/inbox")
        told(world, "domain", "pause", f"d{number}.example", code=0 if number < 8 else 69)
    assert "d8.example" not in policies(world), "all of it, or nothing"


def test_drop_now_aborts_what_is_in_flight(world, machine):
    push(world.redis, jobs_for(world, "ok-1", 4, first=100))
    wait_for(lambda: posts_to(world, "ok-1") == 4, 60, "the host is good")
    wait_settled(world)
    world.fediverse.behave("ok-1", "silent")
    push(world.redis, jobs_for(world, "ok-1", 3))
    open_at = lambda: world.fediverse.counts()["now"]["ok-1.fedi.test"]  # noqa: E731
    wait_for(lambda: open_at() >= 2 and claimed(world) == 3, 30, "they are on the wire")
    began = time.monotonic()
    assert "3 by machines" in told(world, "domain", "drop", "ok-1.fedi.test", "--now", "--yes")
    wait_for(lambda: open_at() == 0 and unsettled(world) == 0, 30, "they are aborted")
    assert time.monotonic() - began < 60, "nobody waits for an answer that doesn't come"
    assert ledger(world)["policy"] == 3 and world.redis_client.zcard("retry") + booked(world) == 0


def test_what_fails_after_a_drop_is_not_tried_again(world, machines):
    machine = machines(FEDPUSH_HOST_WINDOW=2)
    client = world.redis_client
    push(world.redis, jobs_for(world, "late503-1", 30))
    wait_for(lambda: posts_to(world, "late503-1") >= 1 and claimed(world) >= 20, 30, "they are held")
    # As the command gives it, which would remove what stands in retry by itself.
    now = int(time.time()) + 1
    client.hset("fedpush:policies", mapping={"late503-1.fedi.test": f"{now}000000 1 drop={now}", ":version": f"{now}000000"})
    effective(world, machine)
    read_at = time.time()
    wait_for(lambda: unsettled(world) == 0, 60, "what was in flight has failed")
    assert [job for job in map(json.loads, client.zrange("retry", 0, -1)) if job["failed_at"] > read_at] == []
    counted = ledger(world)
    assert counted["policy"] >= 20 and booked(world) == 0
    assert counted["claimed"] == sum(count for word, count in counted.items() if word != "claimed"), counted
    told(world, "domain", "drop", "late503-1.fedi.test", "--yes")
    assert client.zcard("retry") == 0


def test_drop_finds_what_stands_behind_a_hundred_thousand_others(world):
    client = world.redis_client
    due = time.time() + 86400
    others = [f'{{"class":"Other","args":[{i}]}}' for i in range(LOOKED_AT + 1000)]
    for i in range(0, len(others), 5000):
        client.zadd("schedule", {job: due for job in others[i:i + 5000]})  # all at the same time
    client.zadd("schedule", {json.dumps(delivery(i, "https://b.example/inbox")): due + 1 for i in range(3)})
    client.lpush("queue:push", *others[:10])
    assert "only 100000 jobs" in told(world, "domain", "pause", "b.example")
    assert "dropped: 3 removed" in told(world, "domain", "drop", "b.example", "--yes")
    assert client.zcard("schedule") == len(others) and client.llen("queue:push") == 10


def test_what_waits_in_a_machines_list_is_counted_and_dropped(world):
    client = world.redis_client
    client.zadd("fedpush:identities", {"gone:1:abcdefabcdef": time.time()})
    inboxes = ["https://b.example/inbox"] * 3 + ["https://c.example/inbox"]
    jobs = [json.dumps(delivery(i, inbox), separators=(",", ":")) for i, inbox in enumerate(inboxes)]
    pair_b, pair_c = (hashlib.sha1(f"1 {inboxes[i]}".encode()).hexdigest()[:16] for i in (0, 3))
    client.lpush("fedpush:wait:gone:1:abcdefabcdef", *jobs)
    client.hset("fedpush:claimed:gone:1:abcdefabcdef", "seq", 7)
    client.hset("fedpush:held:gone:1:abcdefabcdef", mapping={pair_b: "0 3", pair_c: "0 1"})
    shown = told(world, "domain", "show", "b.example").splitlines()
    assert [line.split()[5] for line in shown if line.startswith("b.example")] == ["3"]
    assert "0 removed from queues, retry and schedule, 3 by machines" in told(world, "domain", "drop", "b.example", "--yes")
    assert client.lrange("fedpush:wait:gone:1:abcdefabcdef", 0, -1) == [jobs[3].encode()]
    assert client.hgetall("fedpush:held:gone:1:abcdefabcdef") == {pair_c.encode(): b"0 1"}


def test_resume_keeps_the_order_of_pairs(world, machines):
    machine = machines()
    told(world, "domain", "pause", "ok-1.fedi.test")
    effective(world, machine)
    pairs = 300
    # The first one's bytes come behind the second one's.
    jobs = [delivery(f"{word}-{pair}", world.fediverse.inbox("ok-1", f"/u{pair}")) for word in ("follow", "a-undo")
            for pair in range(pairs)]
    push(world.redis, jobs)
    wait_for(lambda: booked(world) == len(jobs) and unsettled(world) == 0, 60, "all are put off")
    assert f"{len(jobs)} jobs that were put off are due now" in told(world, "domain", "resume", "ok-1.fedi.test")
    wait_for(lambda: posts_to(world, "ok-1") >= len(jobs), 60, lambda: account_for(world, jobs))
    came = world.fediverse.counts()["order"]
    assert len(came) == pairs
    for inbox, activities in came.items():
        words = [activity.rsplit("/", 1)[1].rsplit("-", 1)[0] for activity in activities]
        assert words == ["follow", "a-undo"], inbox


def test_resume_burns_no_retry_that_was_not_put_off(world):
    now = redis_now(world)
    failed = {name: json.dumps({**delivery(name, "https://b.example/inbox"), "retry_count": count, "failed_at": now - 86400,
                                "retried_at": now - ago_s}, separators=(",", ":"))
              for name, count, ago_s in (("own", 8, 60), ("off", 3, 7200))}
    world.redis_client.zadd("retry", {job: now + 3000 for job in failed.values()})
    world.redis_client.zadd("schedule", {json.dumps(delivery("c", "https://c.example/inbox")): now + 3000})
    told(world, "domain", "pause", "b.example")
    assert "1 job that was put off is due now" in told(world, "domain", "resume", "b.example")
    scores = {name: world.redis_client.zscore("retry", job) for name, job in failed.items()}
    assert scores["own"] == now + 3000 and now <= scores["off"] < now + 1000
    assert due_in_s(world)[0] > 1000, "others stay where they are"


def due_in_s(world):
    return [score - redis_now(world) for _, score in world.redis_client.zrange("schedule", 0, -1, withscores=True)]


def test_jobs_of_a_long_pause_are_touched_seldom(world, machine):
    told(world, "domain", "pause", "ok-1.fedi.test")
    told(world, "domain", "pause", "ok-2.fedi.test", "--for", "90m")
    effective(world, machine)
    push(world.redis, jobs_for(world, "ok-1", 20, created_at=time.time() - 3 * 86400))
    wait_for(lambda: booked(world) == 20, 30, "put off")
    assert 3500 < min(due_in_s(world)) and max(due_in_s(world)) < 7201, due_in_s(world)
    world.redis_client.delete("schedule")
    push(world.redis, jobs_for(world, "ok-2", 20, created_at=time.time() - 3 * 86400))
    wait_for(lambda: booked(world) == 20, 30, "put off until it ends")
    assert 5300 < min(due_in_s(world)) and max(due_in_s(world)) < 5461, due_in_s(world)
    told(world, "domain", "pause", "ok-2.fedi.test", "--for", "3s")
    wait_for(lambda: posts_to(world, "ok-2") == 20, 30, "they come when a shorter pause is over")


def test_a_second_limit_ends_with_the_first(world):
    told(world, "domain", "limit", "b.example", "--window", "3", "--for", "24h")
    said = told(world, "domain", "limit", "b.example", "--rate", "30/m")
    assert "at most 3 at once, at most 30 a minute, these limits for 24 h more" in said, said
    assert "these limits for 60 min more" in told(world, "domain", "limit", "b.example", "--window", "4", "--for", "1h")
    told(world, "domain", "limit", "b.example", "--clear", "--window", "2")
    assert "limits_until" not in policies(world)["b.example"]
    told(world, "domain", "limit", "b.example", "--window", "0", "--for", "1h")
    told(world, "domain", "limit", "b.example", "--window", "1")
    assert "limits_until" not in policies(world)["b.example"], "there was nothing left that was to end"


def test_a_limit_names_those_below_that_have_an_order_of_their_own(world):
    told(world, "domain", "limit", "a.b.example", "--window", "3")
    assert "not for a.b.example" in told(world, "domain", "limit", "*.b.example", "--rate", "5/m")
    assert "not for" not in told(world, "domain", "limit", "b.example", "--rate", "5/m")


def test_questions_that_nobody_answers_stay_few(world):
    world.redis_client.sadd("fedpush:questions", *[f"h{i}.example" for i in range(200)])
    told(world, "domain", "show", "b.example")
    assert world.redis_client.scard("fedpush:questions") == 64
    assert world.redis_client.sismember("fedpush:questions", "b.example")
    told(world, "domain", "show", "b.example")
    assert world.redis_client.scard("fedpush:questions") == 64 and world.redis_client.ttl("fedpush:questions") > 0


def test_orders_about_machines_name_what_else_pauses_them(world):
    client = world.redis_client
    client.zadd("fedpush:identities", {"one:1:abcdefabcdef": time.time() + 60, "one:2:abcdefabcdef": time.time() + 60})
    refused = fedpush(world, "resume", "--machine", "nope")
    assert refused.returncode == 69 and "neither a fedpush nor an order of that name" in refused.stderr
    assert "a restart ends this order" in told(world, "pause", "--machine", "one:1:abcdefabcdef")
    assert "restart" not in told(world, "pause", "--machine", "one", "--for", "30m")
    told(world, "pause")
    shown = fedpush(world, "status").stdout
    assert "one:1:abcdefabcdef: fedpush resume --machine one:1:abcdefabcdef" in shown
    assert re.search(r"paused +one, for (30|29) min more: fedpush resume --machine one", shown), shown
    said = told(world, "resume", "--machine", "one")
    assert "one goes on" in said and "the fleet stays paused" in said
    assert "one:1:abcdefabcdef stays paused by an order of its own" in said and "one stays" not in said
    assert "one:1:abcdefabcdef stays paused" in told(world, "resume")
    assert "one:2:abcdefabcdef had no order of its own" in told(world, "resume", "--machine", "one:2:abcdefabcdef")
    # It is started anew: nobody is paused, and nobody is warned.
    client.zrem("fedpush:identities", "one:1:abcdefabcdef")
    assert "one:1:abcdefabcdef" not in fedpush(world, "status").stdout
    told(world, "pause", "--machine", "one")
    assert client.hget("fedpush:policies", "@one:1:abcdefabcdef").split()[1:] == [b"1"]
    told(world, "pause", "--machine", "one:2:abcdefabcdef")
    client.delete("fedpush:identities")  # as when Redis has lost its data: no order is taken back for that
    assert "one goes on" in told(world, "resume", "--machine", "one")
    assert client.hget("fedpush:policies", "@one:2:abcdefabcdef").split()[1:] == [b"1", b"paused"]
    client.zadd("fedpush:identities", {"two:1:abcdefabcdef": time.time() + 60})  # it is gone, and was paused
    assert "one:2:abcdefabcdef goes on" in told(world, "resume", "--machine", "one:2:abcdefabcdef")
