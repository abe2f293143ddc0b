"""Who gets into the page, and who doesn't."""

import concurrent.futures
import json
import os
import pwd
import re
import socket
import subprocess
import time

import pytest
from admin_page import PASSWORD, PERMISSIONS, Mastodon, Page, add_admin, come_back, rewrite, sessions, sign_in
from machine import BINARY, fedpush
from servers import Server, free_port, wait_for
from test_admin_http import pages  # noqa: F401

TOKENS = "/api/v1/tokens"


@pytest.fixture(scope="module")
def password():
    """The setting that `fedpush password` prints."""
    done = subprocess.run([BINARY, "password"], input=PASSWORD + "\n", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    name, _, value = done.stdout.strip().partition("=")
    assert name == "FEDPUSH_ADMIN_PASSWORD_HASH" and value[0] == value[-1] == "'"
    return {name: value[1:-1]}


# ---- no login ----


def test_without_a_login_this_machine_may_read_and_nobody_else(pages):  # noqa: F811
    _, page = pages()
    assert page.me() == {"who": "this machine", "right": "read", "login": "none", "csrf": None}
    for name, value in {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "X-Real-IP": "127.0.0.1",
                        "X-Forwarded-Host": "localhost", "x-forwarded-anything": ""}.items():
        answer = page.ask("/api/v1/me", **{name: value})
        assert answer.status == 403 and "fedpush password" in answer.json()["detail"], name
        assert page.ask("/", **{name: value}).status == 403
        assert page.ask("/healthz", **{name: value}).status == 200
    for host, status in {"localhost:{}": 200, "[::1]:{}": 200, "LOCALHOST:{}": 200, "evil.example": 421,
                         "evil.example:{}": 421, "127.0.0.1:1": 421, "localhost": 421, "127.0.0.1.evil.example:{}": 421,
                         "localhost:{}.evil.example": 421, "": 421}.items():
        assert page.ask("/api/v1/me", Host=host.format(page.port)).status == status, host
    assert page.ask(TOKENS, "POST", {"name": "x"}).status == 403
    assert page.ask(TOKENS, "POST", {"name": "x"}, Origin=None).status == 403
    assert page.ask("/api/v1/login", "POST", {"password": PASSWORD}).status == 403
    assert page.ask("/api/v1/me", Authorization="Bearer fp_x").json()["right"] is None
    assert page.ask("/metrics").status == 200


# ---- by password ----


def open_stream(page):
    stream = socket.create_connection(("127.0.0.1", page.port), timeout=60)
    stream.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: {page.host}\r\n"
                   f"Cookie: fedpush={page.cookies['fedpush']}\r\n\r\n".encode())
    received = b""
    while b"\ndata: " not in received:
        received += stream.recv(65536)
    assert b"event: overview\n" in received
    return stream


def test_a_session_from_login_to_logout(pages, password, world):  # noqa: F811
    _, page = pages(**password)
    assert page.me() == {"who": None, "right": None, "login": "password", "csrf": None}
    assert page.ask(TOKENS).status == 401
    assert page.ask("/").status == 200
    assert page.login("wrong").status == 401 and not sessions(world)
    answer = page.login()
    assert answer.status == 200
    value, *attributes = answer.cookie("fedpush")
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=604800"} <= set(attributes)
    assert page.me()["who"] == "admin" and page.csrf
    key, = sessions(world)
    assert value not in key.decode() and 0 < world.redis_client.ttl(key) <= 12 * 3600
    assert page.ask(TOKENS).json() == {"items": []}

    # What another site, or somebody without the page's secret, can make a browser send.
    for fields in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
                   {"Sec-Fetch-Site": "same-site"}, {"Origin": None, "Referer": "https://evil.example/"},
                   {"Origin": None}, {"X-Fedpush-CSRF": None}, {"X-Fedpush-CSRF": "x" * 43},
                   {"Origin": f"http://127.0.0.1:{page.port + 1}"}, {"Origin": "http://127.0.0.1.evil.example"}):
        answer = page.ask(TOKENS, "POST", {"name": "forged"}, **fields)
        assert answer.status == 403, fields
    assert page.ask(TOKENS, "POST", {"name": "forged"}, Host="evil.example").status == 421
    assert page.ask(TOKENS, Host="evil.example").status == 421
    assert page.ask(TOKENS).json() == {"items": []}

    stream = open_stream(page)
    second = Page(page.port)
    second.login()
    assert second.me()["who"] == "admin" and len(sessions(world)) == 2
    page.keep(page.ask("/api/v1/logout", "POST", {"everywhere": False}))
    assert page.cookies == {} and second.ask(TOKENS).status == 200
    page.cookies = {"fedpush": value}  # whoever kept it
    assert page.ask(TOKENS).status == 401
    page.login()
    assert second.ask("/api/v1/logout", "POST", {"everywhere": True}).status == 200
    assert page.ask(TOKENS).status == 401 and second.ask(TOKENS).status == 401
    page.login()
    assert page.ask(TOKENS).status == 200
    while stream.recv(65536):  # what was open ends soon after its session
        pass
    stream.close()


def test_sessions_expire(pages, password, world):  # noqa: F811
    _, page = pages(**password)
    page.login()
    key, = sessions(world)
    world.redis_client.expire(key, 100)
    open_stream(page).close()
    assert page.ask(TOKENS, X_Fedpush_Poll="1").status == 200  # by an open page that nobody may look at
    assert world.redis_client.ttl(key) <= 100
    assert page.ask(TOKENS).status == 200 and world.redis_client.ttl(key) > 40000  # it is in use
    rewrite(world, created_us=lambda us: us - (7 * 24 * 3600 - 50) * 1000000)
    assert page.ask(TOKENS).status == 200 and 0 < world.redis_client.ttl(key) <= 50  # but not for ever
    rewrite(world, created_us=lambda us: us - 60 * 1000000)
    assert page.ask(TOKENS).status == 401
    world.redis_client.delete(key)
    assert page.ask(TOKENS).status == 401
    page.login()
    assert page.ask(TOKENS).status == 200
    rewrite(world, opened_with=lambda key: key[::-1])  # the password is another one now
    assert page.ask(TOKENS).status == 401


def test_passwords_are_not_guessed_at_speed(pages, password):  # noqa: F811
    machine, page = pages(**password)
    answers = [page.login(f"guess {i}") for i in range(9)]
    assert [answer.status for answer in answers[:5]] == [401] * 5
    assert len({answer.body for answer in answers if answer.status == 401}) == 1
    refused = [answer for answer in answers if answer.status == 429]
    assert refused and all(1 <= int(answer.fields["Retry-After"]) <= 16 for answer in refused)
    assert page.login().status == 429  # nor is the right one tried
    assert page.login(X_Forwarded_For="192.0.2.1").status == 429  # whatever it says where it comes from
    wait_for(lambda: page.login().status == 200, 60, "the wait is over")
    assert "guess" not in machine.log() and PASSWORD not in machine.log()


def test_a_second_machine_is_no_more_attempts(pages, password, world):  # noqa: F811
    _, first = pages(**password)
    machine, second = pages(**password)
    answers = [page.login(f"guess {i}") for i in range(10) for page in (first, second)]
    statuses = [answer.status for answer in answers]
    assert statuses[:5] == [401] * 5 and 429 in statuses, statuses
    assert int(world.redis_client.hget("fedpush:attempts:7f000001", "wrong")) == statuses.count(401)
    stranger = Page(second.port, source="127.0.0.2")
    assert stranger.login().status == 200  # which is counted by itself
    # While Redis is away, or refuses to count, each machine counts for itself.
    with world.redis.away():
        assert second.login("guess").status == 401
    wait_for(lambda: stranger.login().status == 200, 60, "Redis is back")
    world.redis_client.delete("fedpush:attempts")
    world.redis_client.hset("fedpush:attempts", "of a", "wrong kind")
    alone = Page(second.port, source="127.0.0.3")
    statuses = [alone.login(f"guess {i}").status for i in range(9)]
    assert statuses[:5] == [401] * 5 and 429 in statuses, statuses
    assert "an attempt to sign in is counted by this machine alone" in machine.log()


def test_the_password_works_without_postgresql(machines, password):
    port = free_port()
    machines(ready=False, setup=False, FEDPUSH_WORKERS=1, FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{port}",
             DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", **password)
    page = Page(port)
    wait_for(page.answers, 30, "the page")
    assert page.login().status == 200 and page.ask(TOKENS).status == 200


def test_the_password_works_while_mastodon_hangs(pages, password, world):  # noqa: F811
    mastodon = Mastodon("https://fedpush.test/api/v1/login/mastodon/callback")
    add_admin(world)
    _, page = pages(FEDPUSH_ADMIN_URL="https://fedpush.test/", FEDPUSH_ADMIN_OAUTH_ID="client",
                    FEDPUSH_ADMIN_OAUTH_SECRET="s3cret", FEDPUSH_ADMIN_OAUTH_URL=mastodon.url,
                    FEDPUSH_ADMIN_TRUSTED_PROXIES="127.0.0.1", **password)
    waiting = [Page(page.port, host="fedpush.test", scheme="https") for _ in range(3)]
    mastodon.goes_on.clear()
    try:
        with concurrent.futures.ThreadPoolExecutor(len(waiting)) as pool:
            asked = [pool.submit(sign_in, one, mastodon) for one in waiting]
            assert mastodon.asked.wait(30)
            mine = Page(page.port, host="fedpush.test", scheme="https")
            assert mine.me()["login"] == "password oauth"
            assert mine.login().status == 200 and mine.ask(TOKENS).status == 200
            assert not all(one.done() for one in asked)  # one after the other waits ten seconds for Mastodon
            mastodon.goes_on.set()
            assert [one.result(60).status for one in asked] == [302] * len(waiting)
    finally:
        mastodon.stop()


# ---- tokens ----


def test_tokens_read_or_act_and_are_revoked_at_once(pages, password, world):  # noqa: F811
    _, page = pages(**password)
    assert "there is no token" in fedpush(world, "token", "list").stdout
    made = fedpush(world, "token", "create", "prometheus")
    text = made.stdout.strip()
    assert made.returncode == 0 and re.fullmatch(r"fp_[\w-]{43}", text)
    assert text not in str(world.redis_client.hgetall("fedpush:tokens"))
    again = fedpush(world, "token", "create", "prometheus")
    assert again.returncode == 1 and "revoke it first" in again.stderr
    page.login()
    full = page.ask(TOKENS, "POST", {"name": "deploy", "full": True}).json()["token"]
    listed = page.ask(TOKENS).json()["items"]
    me = f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"
    assert [(token["name"], token["right"], token["made_by"]) for token in listed] == [
        ("deploy", "act", "admin"), ("prometheus", "read", me)]
    assert json.loads(fedpush(world, "token", "list", "--json").stdout) == listed
    shown = fedpush(world, "token", "list").stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["NAME", "deploy", "prometheus"]
    assert shown[1].endswith(" admin") and shown[2].endswith(f" {me}")
    (key, told), *_ = world.redis_client.hgetall("fedpush:tokens").items()  # one that an older fedpush made
    told = json.loads(told)
    world.redis_client.hset("fedpush:tokens", key, json.dumps({k: v for k, v in told.items() if k != "made_by"}))
    old, = [item for item in page.ask(TOKENS).json()["items"] if item["made_by"] is None]
    assert old["name"] == told["name"] and " ?\n" in fedpush(world, "token", "list").stdout
    assert page.ask(TOKENS, "POST", {"name": "a b"}).status == 422
    assert page.ask(TOKENS, "POST", {"name": "x", "more": 1}).status == 422

    program = Page(page.port, host="10.0.0.5:9999")  # no browser: whatever it calls us
    bearer = {"Authorization": f"Bearer {text}", "Origin": None, "Content-Type": None}
    assert program.ask("/api/v1/me", **bearer).json() == {
        "who": "token prometheus", "right": "read", "login": "password", "csrf": None}
    assert program.ask(TOKENS, **bearer).status == 403  # it may read only
    assert program.ask("/metrics", **bearer).status == 200 and program.ask("/metrics").status == 421
    assert page.ask("/metrics").status == 200 and Page(page.port).ask("/metrics").status == 401
    assert program.ask("/api/v1/me", Authorization=f"Bearer {full}").json()["right"] == "act"
    assert program.ask(TOKENS, Authorization=f"Bearer {full}").status == 403  # tokens make no tokens
    assert program.ask("/api/v1/logout", "POST", {}, Authorization=f"Bearer {full}", Origin=None).status == 403
    assert fedpush(world, "token", "revoke", "prometheus").returncode == 0
    more = json.loads(fedpush(world, "token", "create", "--json", "backup").stdout)
    assert re.fullmatch(r"fp_[\w-]{43}", more.pop("token")) and more == {"name": "backup", "right": "read"}
    assert program.ask("/api/v1/me", **bearer).json()["right"] is None
    assert program.ask("/api/v1/events", **bearer).status == 401
    assert page.ask(f"{TOKENS}/deploy", "DELETE").status == 200
    assert program.ask("/api/v1/me", Authorization=f"Bearer {full}").json()["right"] is None
    assert page.ask(f"{TOKENS}/deploy", "DELETE").status == 422


# ---- with Mastodon ----


def send_each(page, count, path, token):
    """The statuses of requests that are sent at the same time."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        asked = [pool.submit(page.ask, path, Authorization=f"Bearer {token}") for _ in range(count)]
        return sorted(one.result().status for one in asked)


def test_a_token_asks_for_little_at_once_and_does_not_sign_in(pages, password, world):  # noqa: F811
    _, page = pages(**password)
    assert page.login().status == 200
    token = page.ask(TOKENS, "POST", {"name": "reader"}).json()["token"]
    world.redis_client.client_pause(2000)
    assert send_each(page, 7, "/api/v1/jobs", token) == [200] * 4 + [503] * 3
    world.redis_client.client_pause(2000)
    assert send_each(page, 20, "/api/v1/machines", token) == [200] * 16 + [503] * 4
    # A name that was rebound to this machine: a token of no use would have the gate look away.
    stranger = Page(page.port, host="evil.example")
    assert stranger.login(Authorization="Bearer fp_x").status == 403
    assert stranger.login().status == 421


@pytest.fixture
def mastodon(pages, world):  # noqa: F811
    """A machine whose page is at https://fedpush.test, and its Mastodon."""
    mastodon = Mastodon("https://fedpush.test/api/v1/login/mastodon/callback")
    add_admin(world)
    machine, page = pages(FEDPUSH_ADMIN_URL="https://fedpush.test/", FEDPUSH_ADMIN_OAUTH_ID="client",
                          FEDPUSH_ADMIN_OAUTH_SECRET="s3cret", FEDPUSH_ADMIN_OAUTH_URL=mastodon.url,
                          FEDPUSH_ADMIN_TRUSTED_PROXIES="127.0.0.1")
    yield machine, Page(page.port, host="fedpush.test", scheme="https"), mastodon
    mastodon.stop()
    assert not mastodon.tokens


def read_by(page, token):
    return page.ask("/api/v1/machines", Authorization=f"Bearer {token}").status


def make_token_old(world):
    """Mastodon was asked about who made the one token a minute ago."""
    (key, text), = world.redis_client.hgetall("fedpush:tokens").items()
    token = json.loads(text)
    world.redis_client.hset("fedpush:tokens", key, json.dumps({**token, "asked_us": token["asked_us"] - 61 * 1000000}))


def test_admins_sign_in_with_their_account(mastodon, world):
    machine, page, server = mastodon
    assert page.me()["login"] == "oauth"
    answer = sign_in(page, server)
    assert answer.fields["Location"] == "https://fedpush.test/"
    attributes = answer.cookie("__Host-fedpush")
    assert {"HttpOnly", "Secure", "SameSite=Strict", "Path=/"} <= set(attributes)
    assert page.me()["who"] == "@alice" and page.me()["right"] == "act"
    assert page.ask(TOKENS).status == 200
    assert server.tokens == set()  # it was given back

    # Asked again each minute, about tokens, too.
    rewrite(world, asked_us=lambda us: us - 61 * 1000000)
    key, = sessions(world)
    world.redis_client.expire(key, 100)
    assert page.ask(TOKENS, X_Fedpush_Poll="1").status == 200
    assert world.redis_client.ttl(key) <= 100
    assert time.time() - json.loads(world.redis_client.get(key))["asked_us"] / 1000000 < 30
    token = page.ask(TOKENS, "POST", {"name": "first"}).json()["token"]
    make_token_old(world)
    assert read_by(page, token) == 200
    (text,) = world.redis_client.hvals("fedpush:tokens")
    assert time.time() - json.loads(text)["asked_us"] / 1000000 < 30
    assert [item["made_by"] for item in page.ask(TOKENS).json()["items"]] == ["@alice"]
    assert page.ask(f"{TOKENS}/first", "DELETE").status == 200
    world.query("ALTER TABLE users RENAME TO away")  # PostgreSQL can't say
    try:
        rewrite(world, asked_us=lambda us: us - 300 * 1000000)
        assert page.ask(TOKENS).status == 200
        rewrite(world, asked_us=lambda us: us - 301 * 1000000)
        assert page.ask(TOKENS).status == 503 and page.ask("/api/v1/me").status == 503
    finally:
        world.query("ALTER TABLE away RENAME TO users")
    wait_for(lambda: page.ask(TOKENS).status == 200, 30, "PostgreSQL is asked again")
    token = page.ask(TOKENS, "POST", {"name": "alices"}).json()["token"]
    world.query("UPDATE users SET role_id = 4")
    assert page.ask(TOKENS).status == 200
    assert read_by(page, token) == 200
    make_token_old(world)
    assert read_by(page, token) == 401 and not world.redis_client.hgetall("fedpush:tokens")
    rewrite(world, asked_us=lambda us: us + 3600 * 1000000)  # by a machine whose clock is ahead
    assert page.ask(TOKENS).status == 401 and not sessions(world)
    assert "signed out: Mastodon says" in machine.log()
    assert "s3cret" not in machine.log() and "c0de" not in machine.log()


def test_nobody_else_signs_in_with_theirs(mastodon, world):
    machine, page, server = mastodon
    server.permissions = PERMISSIONS["view_dashboard"]
    assert sign_in(page, server).fields["Location"] == "https://fedpush.test/?login=denied"
    server.permissions = PERMISSIONS["view_devops"]
    answer = page.ask("/api/v1/login/mastodon")
    told = server.authorize(answer.fields["Location"])
    # Somebody else's browser, that was made to come back with this code.
    stranger = Page(page.port, host="fedpush.test", scheme="https")
    assert come_back(stranger, told).fields["Location"].endswith("?login=failed")
    page.keep(answer)
    assert come_back(page, {**told, "state": "x" * 43}).fields["Location"].endswith("?login=failed")
    assert not sessions(world)
    page.keep(answer)
    assert come_back(page, {**told, "code": "wrong"}).fields["Location"].endswith("?login=denied")
    page.keep(answer)
    assert come_back(page, {"error": "access_denied", "state": told["state"]}).fields["Location"].endswith("?login=denied")
    page.keep(answer)
    assert come_back(page, told).fields["Location"] == "https://fedpush.test/"
    # Any site can make a browser come back so, which takes no attempts from it.
    assert all(come_back(stranger, told).status == 302 for _ in range(40))
    server.stop()
    assert sign_in_fails(page, server) and "Mastodon's login: no good answer" in machine.log()


def sign_in_fails(page, server):
    return sign_in(page, server).fields["Location"].endswith("?login=failed")


# ---- behind proxies ----


class Nginx(Server):
    """In front of a page, under /fed: as it comes, and with the prefix taken off under /cut; under /bare and
    /silent with nothing said of who asks, the latter as nginx does from 1.30 on."""

    def __init__(self, folder, page_port):
        super().__init__(folder)
        self.port = free_port()
        forward = f"""proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_http_version 1.1;"""
        with open(os.path.join(folder, "nginx.conf"), "w") as file:
            file.write(f"""daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{self.port};
        location /fed {{ proxy_pass http://127.0.0.1:{page_port}; {forward} }}
        location /cut/ {{ proxy_pass http://127.0.0.1:{page_port}/; {forward} }}
        location /bare/ {{ proxy_pass http://127.0.0.1:{page_port}/; }}
        location /silent/ {{ proxy_pass http://127.0.0.1:{page_port}/; proxy_http_version 1.1; }}
    }}
}}
""")
        self.spawn(["/usr/sbin/nginx", "-c", os.path.join(folder, "nginx.conf"), "-e", f"{folder}/start.log"])
        self.await_ready(self.listens)

    def listens(self):
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


def test_behind_nginx_under_a_prefix(pages, password, world, tmp_path):  # noqa: F811
    public = {"FEDPUSH_ADMIN_URL": "http://fedpush.test/fed/", "FEDPUSH_ADMIN_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8"}
    _, direct = pages(**password, **public)
    nginx = Nginx(str(tmp_path / "nginx"), direct.port)
    try:
        page = Page(nginx.port, host="fedpush.test", base="/fed")
        assert page.ask("/").status == 200
        assert page.ask("").fields["Location"] == "/fed/"
        cut = Page(nginx.port, host="fedpush.test", base="/cut")
        assert cut.ask("/").body == page.ask("/").body
        answer = page.login()
        assert answer.status == 200 and "Path=/fed" in answer.cookie("fedpush")
        assert page.ask(TOKENS).status == 200
        cut.cookies = page.cookies
        assert cut.ask(TOKENS).status == 200
        with socket.create_connection(("127.0.0.1", nginx.port), timeout=60) as client:  # events pass unbuffered
            client.sendall((f"GET /fed/api/v1/events HTTP/1.1\r\nHost: fedpush.test\r\n"
                            f"Cookie: fedpush={page.cookies['fedpush']}\r\n\r\n").encode())
            received = b""
            while b"\ndata: " not in received:
                received += client.recv(65536)
        assert b"text/event-stream" in received and b"retry: 2000\n\n" in received

        # The visitor is who came to the proxy, whatever he says himself: wrong passwords are counted as his.
        attacker = Page(nginx.port, host="fedpush.test", base="/fed", source="127.0.0.2")
        statuses = [attacker.login("wrong", X_Forwarded_For=f"192.0.2.{i}").status for i in range(9)]
        assert 429 in statuses
    finally:
        nginx.stop()


def test_no_proxy_makes_a_stranger_local(pages, tmp_path):  # noqa: F811
    _, direct = pages(FEDPUSH_ADMIN_URL="http://fedpush.test/fed", FEDPUSH_ADMIN_TRUSTED_PROXIES="127.0.0.1")
    nginx = Nginx(str(tmp_path / "nginx"), direct.port)
    try:
        page = Page(nginx.port, host="fedpush.test", base="/fed")
        assert page.ask("/api/v1/me").status == 403
        assert page.ask("/api/v1/me", X_Forwarded_For="127.0.0.1").status == 403
        for base in ("/bare", "/silent"):
            for path in ("/api/v1/overview", "/api/v1/me", "/metrics", "/", "/api/v1/events"):
                answer = Page(nginx.port, base=base).ask(path)
                assert answer.status == 403 and "fedpush password" in answer.json()["detail"], (base, path)
        assert page.ask("/healthz").status == 200
        assert direct.ask("/api/v1/me").status == 403  # it looks like what comes through /silent
    finally:
        nginx.stop()


# ---- the command ----


@pytest.mark.parametrize("given, reason", [("", "none was given"), ("short\n", "twelve characters"),
                                           ("x" * 2000 + "\n", "none was given")])
def test_a_bad_password_makes_no_hash(given, reason):
    done = subprocess.run([BINARY, "password"], input=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout == "" and reason in done.stderr
