"""The API as it is described: who may what, what each path takes, and what it answers."""

import json
import re
import socket
import subprocess
import urllib.parse

import pytest
from admin_page import API, DESCRIPTION, Page
from machine import fedpush
from servers import HERE, free_port, node, wait_for
from test_admin_http import pages  # noqa: F401
from test_admin_login import password  # noqa: F401

NAMES = {"host": "h1.example", "identity": "nowhere%3A1%3Aabcdefabcdef", "name": "nothing"}
UNKNOWN = "nothing"  # is no parameter and no member anywhere
SESSION_ONLY = {"/tokens", "/tokens/{name}", "/logout"}  # programs make no tokens, and have nothing to leave
NEEDS = {"/series": "span=1h", "/trace": "activity=https://example.com/activities/1"}
STANDING = {"/tokens", "/me", "/openapi.json"}  # say the same each time


def filled(path):
    return API + re.sub(r"\{(\w+)\}", lambda found: NAMES[found[1]], path)


def operations(**wanted):
    """(path, method, what is described) of those that anybody must be let in for. `changes`: only those that do, or don't."""
    for path, method, operation in DESCRIPTION.operations():
        open_to_all = operation.get("security", [{}]) == [] or {} in operation.get("security", [])
        if not open_to_all and wanted.get("changes", method != "get") == (method != "get"):
            yield path, method.upper(), operation


def query_of(operation):
    return {told["name"]: told for told in operation.get("parameters", []) if told["in"] == "query"}


def members_of(operation):
    return operation["requestBody"]["content"]["application/json"]["schema"]["properties"]


def token(world, *arguments):
    made = fedpush(world, "token", "create", *arguments)
    assert made.returncode == 0, made.stderr
    return {"Authorization": "Bearer " + next(word for word in made.stdout.split() if word.startswith("fp_"))}


@pytest.fixture
def page(pages, password):  # noqa: F811
    _, page = pages(**password)
    return page


def assert_rights(page, reader):
    """What nobody, who may only read, and a browser without the page's secret are answered, path by path."""
    stranger, program = Page(page.port), Page(page.port)
    assert len(list(operations(changes=True))) >= 11 and len(list(operations(changes=False))) >= 11
    for path, method, _ in operations():
        body = None if method == "GET" else {}
        assert stranger.ask(filled(path), method, body).status == 401, path
        if path != "/events":
            got = program.ask(f"{filled(path)}?{NEEDS.get(path, '')}", method, body, **reader).status
            assert (got == 403) == (method != "GET" or path in SESSION_ONLY) and got != 401, (path, method, got)
        if method != "GET":
            for secret in (None, "x" * 43):
                assert page.ask(filled(path), method, body, X_Fedpush_CSRF=secret).status == 403, (path, secret)


def known(problem):
    """The names that a problem says are known instead."""
    return set(filter(None, problem["params"].get("known", "").split(", ")))


def assert_parameters(page):
    """Those that are described are known and no others; what isn't as described is refused."""
    for path, _, operation in operations(changes=False):
        if path in ("/events", "/tokens"):
            continue
        described = query_of(operation)
        answer = page.ask(f"{filled(path)}?{UNKNOWN}=1")
        assert answer.status == 400 and known(answer.json()) == set(described), (path, answer.body)
        for name, told in described.items():
            schema = told["schema"]
            others = "&".join(text for text in [NEEDS.get(path)] if text and not text.startswith(f"{name}="))
            for value in schema.get("enum", []) + [schema[end] for end in ("minimum", "maximum") if end in schema]:
                assert page.ask(f"{filled(path)}?{others}&{name}={value}").status == 200, (path, name, value)
            wrong = ["sideways"] if "enum" in schema else []
            wrong += [schema[end] + step for end, step in (("minimum", -1), ("maximum", 1)) if end in schema]
            for value in wrong:
                assert page.ask(f"{filled(path)}?{others}&{name}={value}").status == 400, (path, name, value)


def assert_members(page, full):
    """The same of what orders take."""
    program = Page(page.port)
    for path, method, operation in operations(changes=True):
        if method == "DELETE":
            continue
        who, fields = (page, {}) if path in SESSION_ONLY else (program, full)
        answer = who.ask(filled(path), method, {UNKNOWN: 1}, **fields)
        assert answer.status == 422, (path, answer.body)
        if path in SESSION_ONLY:
            continue
        assert known(answer.json()) == set(members_of(operation)), (path, answer.body)
        for name in members_of(operation):
            assert who.ask(filled(path), method, {name: {}}, **fields).status == 422, (path, name)


def assert_etags(page):
    """What is as it was isn't sent again."""
    for path, _, _ in DESCRIPTION.operations():
        where = f"{filled(path)}?{NEEDS.get(path, '')}"
        if "get" not in DESCRIPTION.document["paths"][path] or path.startswith(("/login", "/events", "/machines/")):
            continue
        answer = page.ask(where)
        tag = answer.fields["ETag"]
        assert answer.status == 200 and re.fullmatch(r'"[0-9a-f]+"', tag), path
        assert page.ask(where, If_None_Match='"another"').status == 200
        if path in STANDING:
            again = page.ask(where, If_None_Match=tag)
            assert again.status == 304 and again.body == b"" and again.fields["ETag"] == tag, path
            assert page.ask(where, If_None_Match=f'"another", {tag}').status == 304


def event_of(page, name):
    """What the first event of that name holds."""
    with socket.create_connection(("127.0.0.1", page.port), timeout=60) as stream:
        stream.sendall(f"GET {API}/events HTTP/1.1\r\nHost: {page.host}\r\nCookie: fedpush={page.cookies['fedpush']}\r\n\r\n".encode())
        received = ""
        while not (found := re.search(rf"event: {name}\r?\ndata: (.*)\n\n", received)):
            more = stream.recv(65536).decode()
            assert more, f"no event {name}: {received}"
            received += more
    return json.loads(found[1])


def schema_of(name):
    return {"$ref": f"#/components/schemas/{name}"}


def test_each_path_is_as_it_is_described(page, world):
    reader, full = token(world, "reader"), token(world, "writer", "--full")
    assert page.login().status == 200
    assert_rights(page, reader)
    assert_parameters(page)
    assert_members(page, full)
    assert_etags(page)
    made = page.ask(f"{API}/tokens", "POST", {"name": NAMES["name"]})
    assert made.status == 200 and page.ask(filled("/tokens/{name}"), "DELETE").status == 200
    assert page.ask(f"{API}/login", "POST", {"password": "x"}, Content_Type="text/plain").status == 415
    assert page.ask(f"{API}/login", "POST", {UNKNOWN: 1}).status == 400
    assert page.ask(f"{API}/login/mastodon").status == page.ask(f"{API}/login/mastodon/callback").status == 403
    assert not DESCRIPTION.faults(event_of(page, "overview"), schema_of("Overview"))
    assert page.ask(f"{API}/logout", "POST", {"everywhere": True}).status == 200


COUNTS = ("delivered", "retried", "rejected", "exhausted")
SHARES = ("p50_ms", "p95_ms", "p99_ms")


def insert_hours(world):
    """Attempts of three hosts, as fast as each: within the 24 hours that are shown, and in the one before them."""
    for n, host in enumerate(("one.example", "two.example", "three.example:8443")):
        world.query("INSERT INTO fedpush.domain_health (host, delivered, last_attempt_at) VALUES (%s, 1, now())", host)
        for hours in (0, 1, 5, 23, 24):
            latency = [hours + n + (i * 7 + n * 3) % 11 for i in range(24)]
            world.query("INSERT INTO fedpush.domain_hourly (host, hour, delivered, retried, rejected, exhausted, latency) VALUES"
                        " (%s, date_trunc('hour', now()) - %s * interval '1 hour', %s, %s, %s, %s, %s)",
                        host, hours, sum(latency) - 9, 4, 3 + n, 2, latency)


def figures_of(item, names):
    return {name: item[name] and round(item[name], 3) for name in names}


def test_commands_lists_and_plots_count_the_same(page, world):
    assert page.login().status == 200
    insert_hours(world)
    shown = {}

    def agree():
        stats = json.loads(fedpush(world, "stats", "--span", "24h", "--json").stdout)
        listed = page.ask(f"{API}/domains").json()["items"]
        shown.update(stats={row["host"]: figures_of(row, COUNTS + SHARES) for row in stats},
                     listed={row["host"]: figures_of(row, COUNTS + SHARES) for row in listed})
        return len(listed) == 3 and shown["stats"] == shown["listed"]

    wait_for(agree, 30, lambda: f"stats and the list agree: {shown}")
    for host, wanted in shown["listed"].items():
        one = page.ask(f"{API}/domains/{host}").json()
        assert figures_of(one, COUNTS + SHARES) == wanted, host
        series = page.ask(f"{API}/series?span=24h&host={host}").json()
        assert {name: sum(series[name]) for name in COUNTS} == {name: wanted[name] for name in COUNTS}, host
        assert wanted["rejected"] in (12, 16, 20) and 0 < wanted["p50_ms"] < wanted["p95_ms"] < wanted["p99_ms"]
    # A plot's percentiles are those of each step, which the table and the command can be asked for, too.
    world.query("DELETE FROM fedpush.domain_hourly WHERE hour < date_trunc('hour', now())")
    hour = {}

    def one_hour():
        hour.update(page.ask(f"{API}/series?span=24h&host=one.example").json())
        rows = {row["host"]: row for row in json.loads(fedpush(world, "stats", "--span", "24h", "--json").stdout)}
        return all([value for value in hour[name] if value is not None] == [rows["one.example"][name]] for name in SHARES)

    wait_for(one_hour, 30, lambda: f"the plot agrees with stats: {hour}")


def known_of(page, host):
    listed = {item["host"]: item for item in page.ask(f"{API}/domains").json()["items"]}
    one = page.ask(f"{API}/domains/{host}").json()
    assert host in listed, listed
    return {"state": one["state"], "listed": listed[host]["state"], "scheme": one["scheme"], **one["mastodon"]}


def test_mastodons_view_and_the_scheme_of_a_host_are_told(page, world):
    assert page.login().status == 200
    hosts = ("away.example", "sick.example:8443", "modern.example", "limited.example", "plain.example")
    for host in hosts:
        world.query("INSERT INTO fedpush.domain_health (host, delivered, last_attempt_at) VALUES (%s, 1, now())", host)
        world.query("INSERT INTO fedpush.domain_hourly (host, hour, delivered) VALUES (%s, date_trunc('hour', now()), 1)", host)
    world.query("INSERT INTO unavailable_domains (domain, created_at, updated_at) VALUES ('away.example', now(), now())")
    world.redis_client.sadd("exhausted_deliveries:sick.example", *(f"202611{day}" for day in range(10, 15)))
    now = world.redis_client.time()[0]
    world.redis_client.zadd("fedpush:schemes", {
        "cavage https://sick.example:8443": now - 60, "rfc9421 https://sick.example:8443": now - 8 * 86400,
        "rfc9421 https://modern.example": now - 6 * 86400, "vain https://plain.example": now - 700,
        "vain https://limited.example": now - 60, "cavage https://limited.example": now - 90})
    assert page.ask(f"{API}/domains/limited.example/limit", "POST", {"window": 2}).status == 200
    wanted = {
        "away.example": ("unavailable", None, True, 0), "sick.example:8443": ("healthy", "cavage", False, 5),
        "modern.example": ("healthy", "rfc9421", False, 0), "limited.example": ("limited", "vain", False, 0),
        "plain.example": ("healthy", None, False, 0)}
    for host, (state, scheme, unavailable, days) in wanted.items():
        told = {"state": state, "listed": state, "scheme": scheme, "unavailable": unavailable, "failing_days": days}
        seen = []
        wait_for(lambda: seen.append(known_of(page, host)) or seen[-1] == told, 30, lambda: f"{host}: {seen[-1]}, not {told}")
    assert page.ask(f"{API}/domains?state=unavailable").json()["matched"] == 1
    assert page.ask(f"{API}/domains?state=limited").json()["matched"] == 1


def test_the_mock_of_the_page_answers_as_fedpush_does():
    """tests/page/mock.mjs, which most tests of the page see in place of fedpush."""
    mock = subprocess.Popen([node(), f"{HERE}/../page/mock.mjs", str(free_port())], stdout=subprocess.PIPE)
    try:
        page = Page(urllib.parse.urlsplit(mock.stdout.readline().decode()).port)
        page.me()
        host = page.ask(f"{API}/domains?limit=1").json()["items"][0]["host"]
        for path, method, operation in DESCRIPTION.operations():
            if path in ("/events", "/openapi.json", "/trace") or path.startswith("/login/"):
                continue  # the page asks none of these with fetch
            where = filled(path).replace(NAMES["host"], host)
            body = None if method == "get" else {"password": "correct horse"} if path == "/login" else {"name": "new"}
            if path != "/logout":
                assert page.ask(f"{where}?{NEEDS.get(path, '')}", method.upper(), body).status == 200, path
        for wrong, status in ((f"{API}/domains/a%20b", 400), (f"{API}/nothing", 404)):
            assert page.ask(wrong).status == status
        assert page.ask(f"{API}/pause", "POST", {}, X_Fedpush_CSRF="x").status == 403
        assert page.ask(f"{API}/logout", "POST", {}).status == 200 and page.ask(f"{API}/overview").status == 401
        assert page.ask(f"{API}/login", "POST", {"password": "x"}).status == 401
    finally:
        mock.kill()
        mock.wait(60)
