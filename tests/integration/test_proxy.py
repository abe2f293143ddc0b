"""Through Mastodon's proxies: everything by http_proxy, hidden services by http_hidden_proxy."""

import base64
import json

import pytest
from forward import ForwardProxy
from jobs import delivery, push, sidekiq, wait_settled
from machine import fedpush
from servers import wait_for
from world import ADDRESSES


@pytest.fixture
def proxy():
    server = ForwardProxy(ADDRESSES[0])
    yield server
    server.stop()


@pytest.fixture
def hidden_proxy():
    server = ForwardProxy(ADDRESSES[1])
    yield server
    server.stop()


def lines(proxy):
    return [head[0] for head in proxy.heads]


def onion(world):
    return f"http://abcdef.onion:{world.fediverse.port}/inbox"


def test_deliveries_go_through_the_proxies(world, machines, proxy, hidden_proxy):
    """The proxy has a name that only our name server knows, and its address needs no permission."""
    machines(
        http_proxy=f"http://me:s%40cret@proxy-1.fedi.test:{proxy.port}",
        http_hidden_proxy=f"http://me@127.0.0.1:{hidden_proxy.port}",
        ALLOW_ACCESS_TO_HIDDEN_SERVICE="true", ALLOWED_PRIVATE_ADDRESSES="",
    )
    push(world.redis, [
        delivery(1, world.fediverse.inbox("ok-1", "/inbox?a=b")),
        delivery(2, world.fediverse.inbox("ok-2", tls=True)),
        delivery(3, onion(world)),
    ])
    wait_settled(world)
    assert sidekiq(world.redis)["retry"] == []
    summary = world.fediverse.summary()
    assert summary["posts"] == 3 and summary["failures"] == []
    assert sorted(lines(proxy)) == [
        f"CONNECT ok-2.fedi.test:{world.fediverse.tls_port} HTTP/1.1",
        f"POST http://ok-1.fedi.test:{world.fediverse.port}/inbox?a=b HTTP/1.1",
    ]
    assert lines(hidden_proxy) == [f"POST {onion(world)} HTTP/1.1"]
    told = "Proxy-Authorization: Basic " + base64.b64encode(b"me:s%40cret").decode()
    assert all(told in head for head in proxy.heads)
    assert not any("Proxy-" in line for head in hidden_proxy.heads for line in head), "a user alone is not sent"
    assert not any("Signature" in line for head in proxy.heads for line in head if head[0].startswith("CONNECT"))


def test_hidden_services_are_refused_where_they_are_off(world, machines, hidden_proxy):
    """As Mastodon: the job is done, the failure is tracked."""
    machines(http_hidden_proxy=f"http://127.0.0.1:{hidden_proxy.port}")
    push(world.redis, [delivery(1, onion(world))])
    wait_settled(world)
    assert hidden_proxy.heads == [] and sidekiq(world.redis)["retry"] == []
    wait_for(lambda: world.redis_client.scard("exhausted_deliveries:abcdef.onion") == 1, 30, "it is tracked")


def test_the_command_goes_through_the_hidden_proxy(world, proxy, hidden_proxy, tmp_path):
    file = tmp_path / "activity.json"
    file.write_text(json.dumps({"id": "https://social.fedi.test/activities/1"}))
    arguments = ["deliver", "--account", "alice", "--inbox", onion(world), "--send", str(file)]
    through = {"http_proxy": f"http://proxy-1.fedi.test:{proxy.port}",
               "http_hidden_proxy": f"http://hidden-1.fedi.test:{hidden_proxy.port}"}
    refused = fedpush(world, *arguments, **through)
    assert refused.returncode == 1 and "ALLOW_ACCESS_TO_HIDDEN_SERVICE" in refused.stderr
    done = fedpush(world, *arguments, ALLOW_ACCESS_TO_HIDDEN_SERVICE="true", **through)
    assert done.returncode == 0, done.stderr
    assert lines(hidden_proxy) == [f"POST {onion(world)} HTTP/1.1"] and proxy.heads == []
    assert world.fediverse.summary()["failures"] == []
