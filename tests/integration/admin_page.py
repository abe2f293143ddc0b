"""A client of one machine's page, and the Mastodon that its admins sign in with."""

import base64
import hashlib
import http.client
import http.server
import json
import re
import socket
import threading
import urllib.parse

from openapi import Description

API = "/api/v1"
DESCRIPTION = Description()
PASSWORD = "three words will do"
PERMISSIONS = {"administrator": 1, "view_devops": 2, "view_dashboard": 8}


class Answer:
    def __init__(self, answer):
        self.status = answer.status
        self.fields = answer.headers
        self.body = answer.read()

    def json(self):
        return json.loads(self.body)

    def cookie(self, name):
        """The attributes of a cookie that is set, its value first."""
        for text in self.fields.get_all("Set-Cookie") or []:
            if text.startswith(f"{name}="):
                return text[len(name) + 1 :].split("; ")
        return None


class Page:
    """`host` is what the browser shows, `base` its path; what isn't said goes as from there. `source`: the
    address that it comes from. Whatever the API answers must be described."""

    def __init__(self, port, host=None, base="", scheme="http", source="127.0.0.1"):
        self.port = port
        self.base = base
        self.source = source
        self.host = host or f"127.0.0.1:{port}"
        self.origin = f"{scheme}://{self.host}"
        self.cookies = {}
        self.csrf = None

    def ask(self, path, method="GET", body=None, **fields):
        told = {"Host": self.host}
        if self.cookies:
            told["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if method not in ("GET", "HEAD"):
            told["Origin"] = self.origin
            told["Content-Type"] = "application/json"
            if self.csrf:
                told["X-Fedpush-CSRF"] = self.csrf
        told.update({name.replace("_", "-"): value for name, value in fields.items()})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60, source_address=(self.source, 0))
        try:
            connection.request(method, self.base + path, body=None if body is None else json.dumps(body),
                               headers={name: value for name, value in told.items() if value is not None})
            answer = Answer(connection.getresponse())
        finally:
            connection.close()
        if path.startswith(API):
            type_told = answer.fields.get("Content-Type")
            faults = DESCRIPTION.faults_of_answer(path.removeprefix(API).partition("?")[0], method, answer.status, type_told,
                                                  answer.body)
            assert not faults, faults
        return answer

    def keep(self, answer):
        """Keeps the cookies of an answer, as a browser does."""
        for text in answer.fields.get_all("Set-Cookie") or []:
            name, _, value = text.split("; ")[0].partition("=")
            self.cookies[name] = value
            if "Max-Age=0" in text:
                del self.cookies[name]

    def me(self):
        me = self.ask("/api/v1/me").json()
        self.csrf = me["csrf"]
        return me

    def login(self, password=PASSWORD, **fields):
        answer = self.ask("/api/v1/login", "POST", {"password": password}, **fields)
        if answer.status == 200:
            self.keep(answer)
            self.me()
        return answer

    def answers(self):
        try:
            return self.ask("/healthz").status == 200
        except OSError:
            return False

    def raw(self, sent, seconds=30):
        """All that comes back for these bytes until the other side closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as client:
            received = b""
            try:
                client.sendall(sent)
                while data := client.recv(65536):
                    received += data
            except (ConnectionResetError, BrokenPipeError):
                pass
            return received


class Mastodon:
    """Its OAuth endpoints, strict where Mastodon is."""

    CLIENT = {"client_id": "client", "client_secret": "s3cret"}

    def __init__(self, redirect_uri):
        self.redirect_uri = redirect_uri
        self.permissions = PERMISSIONS["administrator"]
        self.account = "1"
        self.codes, self.tokens, self.problems = {}, set(), []
        self.asked, self.goes_on = threading.Event(), threading.Event()
        self.goes_on.set()  # until it is to hang
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def send(self, status, body):
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self):
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                if self.path != "/api/v1/accounts/verify_credentials" or token not in outer.tokens:
                    self.send(401, {"error": "The access token is invalid"})
                    return
                self.send(200, {"id": outer.account, "username": "alice",
                                "role": {"id": "3", "permissions": str(outer.permissions)}})

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                form = dict(urllib.parse.parse_qsl(self.rfile.read(length).decode()))
                self.send(*outer.post(self.path, form))

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def post(self, path, form):
        self.asked.set()
        self.goes_on.wait(60)
        if {name: form.get(name) for name in self.CLIENT} != self.CLIENT:
            return 401, {"error": "invalid_client"}
        if path == "/oauth/revoke":
            self.tokens.discard(form["token"])
            return 200, {}
        asked = self.codes.pop(form.get("code"), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (path != "/oauth/token" or asked is None or form.get("redirect_uri") != self.redirect_uri
                or form.get("grant_type") != "authorization_code"
                or challenge.decode().rstrip("=") != asked["code_challenge"]):
            return 400, {"error": "invalid_grant"}
        token = f"token{len(form['code'])}"
        self.tokens.add(token)
        return 200, {"access_token": token, "token_type": "Bearer", "scope": asked["scope"]}

    def authorize(self, location):
        """What a browser comes back with once its user has agreed: code and state."""
        target, _, query = location.partition("?")
        asked = dict(urllib.parse.parse_qsl(query))
        assert target == f"{self.url}/oauth/authorize" and asked["client_id"] == "client"
        assert asked["redirect_uri"] == self.redirect_uri and asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256" and re.fullmatch(r"[\w-]{43}", asked["state"])
        self.codes["c0de"] = asked
        return {"code": "c0de", "state": asked["state"]}

    def stop(self):
        self.goes_on.set()
        self.server.shutdown()
        self.server.server_close()


def add_admin(world):
    """Account 1 administers the server by role 3; role 4 may not see Sidekiq's Web UI."""
    world.query("DELETE FROM users")
    world.query("DELETE FROM user_roles")
    world.query("INSERT INTO user_roles (id, permissions) VALUES (3, 1), (4, 8)")
    world.query("INSERT INTO users (account_id, role_id, confirmed_at) VALUES (1, 3, now())")


def come_back(page, told):
    query = "&".join(f"{name}={value}" for name, value in told.items())
    return page.ask(f"/api/v1/login/mastodon/callback?{query}", Sec_Fetch_Site="cross-site")


def sign_in(page, mastodon):
    answer = page.ask("/api/v1/login/mastodon")
    assert answer.status == 302
    page.keep(answer)
    answer = come_back(page, mastodon.authorize(answer.fields["Location"]))
    page.keep(answer)
    return answer


def sessions(world):
    return world.redis_client.keys("fedpush:session:*")


def rewrite(world, **values):
    """Changes what the one session says."""
    key, = sessions(world)
    login = json.loads(world.redis_client.get(key))
    login.update({name: value(login[name]) for name, value in values.items()})
    world.redis_client.set(key, json.dumps(login), keepttl=True)
