"""What is signed is what stands on the wire: request line and Host, for every form of URL, in both
schemes. Verifiers rebuild the signed text from what they received."""

from jobs import delivery, push, sidekiq, wait_settled

# Of the inbox behind the authority: as given, and as received.
TARGETS = [
    ("/Inbox", "/Inbox"),
    ("", "/"),
    ("?x=1", "/?x=1"),
    ("/inbox?u=1&b=%20x", "/inbox?u=1&b=%20x"),
    ("/inbox?", "/inbox?"),
    ("/inbox#frag", "/inbox"),
    ("/a/../b/./c", "/b/c"),
    ("/users/\u3042/inbox", "/users/%E3%81%82/inbox"),
    ("/%7euser/%E3%81%82%2Fx", "/%7euser/%E3%81%82%2Fx"),
    ("/a b?c d='", "/a%20b?c%20d=%27"),
    ("//a;b=c,d/inbox", "//a;b=c,d/inbox"),
    ('/"<>^`{|}', "/%22%3C%3E%5E%60%7B%7C%7D"),
]
HOSTS = [("OK-1", "ok-1"), ("b\u00fccher", "xn--bcher-kva"), ("fa\u00df", "xn--fa-hia")]


def inboxes(world):
    """Pairs of an inbox's URL and the Host and target that its server sees."""
    for i, (given, received) in enumerate(TARGETS):
        for label in (f"ok-{i}", f"rfc-{i}"):
            tls = i % 2 == 0
            port = world.fediverse.tls_port if tls else world.fediverse.port
            yield world.fediverse.inbox(label, given, tls), (f"{label}.fedi.test:{port}", received)
    for given, received in HOSTS:
        yield world.fediverse.inbox(given, "/inbox", True), (f"{received}.fedi.test:{world.fediverse.tls_port}", "/inbox")
    literal = f"127.1.0.1:{world.fediverse.port}"
    yield f"http://{literal}/inbox", (literal, "/inbox")


def test_each_url_is_received_as_it_was_signed(world, machine):
    pairs = list(inboxes(world))
    push(world.redis, [delivery(i, url) for i, (url, _) in enumerate(pairs)])
    wait_settled(world)
    assert sidekiq(world.redis)["retry"] == []
    counts = world.fediverse.counts()
    assert counts["failures"] == []
    assert counts["verified"]["fedify"] >= len(TARGETS)
    received = set()
    for request in counts["requests"]:
        headers = dict(zip(request["headers"][::2], request["headers"][1::2]))
        received.add((headers["Host"], request["url"]))
    assert received == {wanted for _, wanted in pairs}


def test_what_no_url_may_be_reaches_nobody(world, machine):
    port = world.fediverse.port
    refused = [f"http://{host}:{port}/inbox" for host in (
        "ok-1.fedi.test.", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "127.1", "127.1.0.1.",
        "me:secret@ok-1.fedi.test", "[::ffff:127.1.0.1%25lo]")]
    push(world.redis, [delivery(i, url) for i, url in enumerate(refused)])
    wait_settled(world)
    assert world.fediverse.summary()["posts"] == 0
    assert {entry["item"]["error_class"] for entry in sidekiq(world.redis)["retry"]} == {
        "Addressable::URI::InvalidURIError"}
    assert len(sidekiq(world.redis)["retry"]) == len(refused)
