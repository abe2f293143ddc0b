"""What fedpush says has a code and values beside its words, and what other versions say is still shown."""

import json
import time

from servers import wait_for
from test_admin_api import jobs_for, start  # noqa: F401
from test_admin_login import password  # noqa: F401
from jobs import push, wait_settled

HOST = "ok-1.fedi.test"


def said(sentence):
    return sentence["code"], sentence["params"]


def test_orders_and_refusals_have_codes(start, world):  # noqa: F811
    machine, api = start()
    refusals = [
        ("/series?span=2h", None, "ask.span", {}),
        ("/domains?sort=size", None, "ask.sort", {}),
        ("/audit?limit=0", None, "ask.number", {"name": "limit", "least": 1, "most": 500}),
        ("/overview?since=1", None, "ask.no_parameter", {"name": "since"}),
        (f"/domains/{HOST}/limit", {}, "order.no_limit", {}),
        (f"/domains/{HOST}/limit", {"proxy": "tor"}, "order.no_proxy", {}),
        (f"/domains/{HOST}/drop", {"confirm": "x"}, "order.confirm", {}),
        ("/pause", {"machine": "nobody"}, "order.unknown_machine", {}),
        ("/pause", {"for": 3}, "ask.member", {"name": "for", "known": "machine, for_s"}),
        ("/tokens", {"name": "x"}, "door.session", {}),
        ("/nothing", None, "ask.nothing_here", {}),
    ]
    for path, body, *expected in refusals:
        status, answer = api.ask(path, body)
        assert status >= 400 and said(answer) == tuple(expected), (path, answer)
        assert not api.description.faults(answer, {"$ref": "#/components/schemas/Problem"}), path

    def order(path, **body):
        status, answer = api.ask(path, body)
        assert status == 200 and answer["text"] == "\n".join(one["text"] for one in answer["says"]), answer
        return [said(one) for one in answer["says"]]

    assert ("give.paused", {"host": HOST}) in order(f"/domains/{HOST}/pause", for_s=600)
    status, answer = api.ask(f"/domains/{HOST}/try", {})
    assert status == 422 and said(answer) == ("order.paused", {"name": HOST})
    assert ("give.due", {"jobs": 0}) in order(f"/domains/{HOST}/resume")
    (code, params), = order(f"/domains/{HOST}/limit", window=3, http="2")
    limits = [("policy.window", {"deliveries": 3}), ("policy.http2", {})]
    assert code == "give.limited" and params["domain"] == HOST and [said(one) for one in params["limits"]] == limits
    item = next(item for item in api.get("/audit")["items"] if item["action"] == "domain limit")
    assert [said(one) for one in item["says"]] == limits and item["detail"] == "at most 3 at once, HTTP/2"
    assert order("/pause", machine=None) == [("give.fleet_pauses", {}), ("give.pausing", {})]
    assert machine.process.poll() is None


def test_what_other_versions_say_is_shown(start, world):  # noqa: F811
    machine, api = start()
    push(world.redis, jobs_for(world, "ok-1", 1, 0))
    wait_settled(world)
    path = f"/domains/{HOST}"

    def words_of(identity):
        return [one for one in api.get(path, "/domains/{host}")["words"] if one["machine"] == identity]

    def own_words_are_shown():
        own = words_of(machine.identity())
        return [one["code"] in ("lane.none", "lane.words") and one["text"] != "" for one in own] == [True]

    wait_for(own_words_are_shown, 30, "the machine's own words")

    # An older machine writes words alone; a newer one knows sentences that this one doesn't.
    def others_are_shown():
        now = time.time()
        world.redis_client.zadd("fedpush:identities", {"old:1:abc": now, "new:1:abc": now})  # only who lives is heard
        world.redis_client.hset(f"fedpush:answers:{HOST}", mapping={"old:1:abc": "it rests\nat ease", "new:1:abc": "words"})
        sentence = {"text": "it dreams", "code": "lane.dreams", "params": {"sheep": 3}}
        world.redis_client.hset(f"fedpush:said:{HOST}", "new:1:abc", json.dumps([sentence]))
        return words_of("new:1:abc") == [{"machine": "new:1:abc", **sentence}] and words_of("old:1:abc") == [
            {"machine": "old:1:abc", "text": "it rests"}, {"machine": "old:1:abc", "text": "at ease"}]

    wait_for(others_are_shown, 60, "words of other versions")

    def alert_is_shown():
        value = {"v": 1, "firing": True, "since": time.time(), "turned": time.time(), "again": False, "text": "of old"}
        world.redis_client.hset("fedpush:alerts", "ledger", json.dumps(value))
        found = [one for one in api.get("/overview")["alerts"] if one["id"] == "ledger"]
        return found and found[0]["text"] == "of old" and found[0].get("code", "") == ""

    wait_for(alert_is_shown, 60, "an alert of an older machine")
