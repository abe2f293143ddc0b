"""What strangers wrote comes out harmless wherever it is shown: no text of a host turns the direction of a line, moves a
cursor, forges a line of the log or becomes a formula."""

import csv
import io
import json
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

from admin_page import API, DESCRIPTION, Page
from browser import Browser
from jobs import delivery, push, wait_settled
from machine import fedpush
from servers import free_port, wait_for
from test_prometheus import Metrics

# A line, colours, a title, an override of direction, zero width, C1, quotes, a formula.
TEXT = "=1+1\r\nforged: 1\x1b[31m\x1b]0;t\x07\u202etxt\u2066\u200b\x9b\"'\\"
HTML = "<img src=x onerror=document.title='owned'>"
HIDDEN = {0x85, 0xAD, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF} | set(range(0x202A, 0x202F)) | set(range(0x2066, 0x206A))


def harmless(data, ends=("\n",)):
    """The text, when it is UTF-8 without anything that isn't seen."""
    text = data.decode("utf-8") if isinstance(data, bytes) else data
    wrong = {character for character in text if character not in ends and
             (ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 or ord(character) in HIDDEN)}
    assert not wrong, (wrong, text)
    return text


def values(found):
    """Every text within an object."""
    if isinstance(found, dict):
        for name, value in found.items():
            yield name
            yield from values(value)
    elif isinstance(found, list):
        for value in found:
            yield from values(value)
    elif isinstance(found, str):
        yield found


def shown(world, *arguments, codes=(0,)):
    done = fedpush(world, *arguments)
    assert done.returncode in codes, done.stdout + done.stderr
    harmless(done.stderr)
    return harmless(done.stdout, ("\n", "\r\n"[0]) if "--csv" in arguments else ("\n",))


def poison(world, host):
    """Hostile words wherever fedpush reads some."""
    client = world.redis_client
    world.query("INSERT INTO fedpush.domain_health (host, delivered, consecutive_failures, last_error, last_attempt_at,"
                " failing_since) VALUES (%s, 1, 1, %s, now(), now()), (%s, 2, 1, %s, now(), now())",
                TEXT, TEXT, host, TEXT)
    world.query("INSERT INTO fedpush.domain_error (host, error, count, first_at, last_at) VALUES (%s, %s, 1, now(), now())",
                host, TEXT)
    world.query("INSERT INTO fedpush.domain_error (host, error, count, first_at, last_at) VALUES (%s, %s, 1, now(), now())",
                host, HTML)
    world.query("INSERT INTO fedpush.domain_hourly (host, hour, delivered, retried) VALUES (%s, now(), 3, 1)", TEXT)
    identity = f"{TEXT}:1:abcdefabcdef".encode() + b"\xff"
    client.zadd("fedpush:identities", {identity: time.time()})
    job = {"jid": "f" * 24, "queue": "push", "retry": 16, "created_at": time.time(), "error_message": TEXT,
           "error_class": TEXT, "retry_count": 0, **delivery(1, f"https://{host}/inbox")}
    client.zadd("retry", {json.dumps(job): time.time() + 3600})
    client.zadd("schedule", {json.dumps({**job, "class": TEXT}): time.time() + 3600})
    return identity


def test_what_the_commands_print(world):
    host = "example.com"
    assert fedpush(world, "setup").returncode == 0
    identity = poison(world, host)
    client = world.redis_client
    for arguments in (["stats"], ["stats", "--span", "24h"], ["stats", "--csv"], ["jobs"], ["top"],
                      ["trace", json.loads(delivery(1, "")["args"][0])["id"]]):
        assert "forged" in shown(world, *arguments), arguments
    for arguments in (["stats", "--json"], ["stats", "--span", "7d", "--json"], ["jobs", "--json"],
                      ["domain", "show", host, "--json"], ["status", "--json"],
                      ["trace", json.loads(delivery(1, "")["args"][0])["id"], "--json"]):
        found = list(values(json.loads(shown(world, *arguments, codes=(0, 1, 2)))))
        assert any("forged" in text for text in found), arguments
        for text in found:
            harmless(text)
    assert "forged" in shown(world, "status", codes=(1, 2))
    assert "forged" in shown(world, "domain", "show", host)
    fields = list(csv.reader(io.StringIO(shown(world, "stats", "--csv"), newline="")))
    assert {len(row) for row in fields} == {16} and all(row[0][0] != "=" and row[-1][:1] != "=" for row in fields)
    client.zadd("fedpush:identities", {identity: 1})
    assert "forged" in shown(world, "handback")


def forged(text):
    return "forged" in text


def test_what_the_page_shows(machines, world, tmp_path):
    """Its API, its metrics, and the page itself in a browser."""
    host, port = "example.com", free_port()
    machine = machines(FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{port}", FEDPUSH_WORKERS=1)
    poison(world, host)
    page = Page(port)
    wait_for(page.answers, 30, "the page answers")
    wait_for(lambda: forged(page.ask(f"{API}/domains").body.decode()), 30, "the list has it")
    activity = urllib.parse.quote(json.loads(delivery(1, "")["args"][0])["id"], safe="")
    names = {"/series": f"?span=24h&host={host}", "/trace": f"?activity={activity}", "/domains/{host}": ""}
    seen = set()
    for path, method, _ in DESCRIPTION.operations():
        if method != "get" or path.startswith(("/login", "/events", "/tokens")):
            continue
        answer = page.ask(API + path.replace("{host}", host) + names.get(path, ""))
        assert answer.status == 200, (path, answer.body)
        found = [harmless(text) for text in values(answer.json())] if path != "/openapi.json" else []
        seen |= {path} if any(map(forged, found)) else set()
    assert seen >= {"/overview", "/machines", "/domains", "/domains/{host}", "/jobs", "/trace"}, seen
    wait_for(lambda: forged(Metrics(page).text), 30, "metrics have it")
    harmless(Metrics(page).text)

    browser = Browser(str(tmp_path / "browser"))
    try:
        for view in ("#/", "#/domains", f"#/domains/{host}", "#/machines", "#/jobs"):
            browser.goto("about:blank")
            browser.goto(f"http://127.0.0.1:{port}/{view}")
            wait_for(lambda: forged(browser.text()), 30, lambda: f"{view} shows it: {browser.text()}")
            harmless(browser.text(), ("\n", "\t"))
            assert browser.evaluate("document.querySelectorAll('main img').length") == 0
            assert "owned" not in browser.evaluate("document.title")
            if host in view:
                wait_for(lambda: HTML in browser.text(), 30, "what is written as HTML is text")
    finally:
        browser.stop()
    harmless(open(machine.log_path, "rb").read())


class Impostor:
    """A server whose certificate our CA has signed, for a name that is a text of its own."""

    ADDRESS = "127.1.255.254"  # that of refused-*

    def __init__(self, folder, certificate, name):
        key, request, cert = (os.path.join(folder, file) for file in ("key.pem", "request.pem", "cert.pem"))
        escaped = "".join(f"\\{c}" if c in "\\+/," else c for c in name)
        authority = os.path.join(os.path.dirname(certificate.ca), "ca.key")
        for command in (["req", "-newkey", "rsa:2048", "-nodes", "-utf8", "-subj", f"/CN={escaped}", "-keyout", key, "-out", request],
                        ["x509", "-req", "-in", request, "-CA", certificate.ca, "-CAkey", authority, "-days", "2", "-out", cert]):
            subprocess.run(["openssl", *command], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.listener = socket.create_server((self.ADDRESS, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.settimeout(30)
            try:
                self.context.wrap_socket(client, server_side=True).close()
            except OSError:  # they have hung up
                client.close()


def test_what_a_certificate_names(machine, world, tmp_path):
    impostor = Impostor(str(tmp_path), world.certificate, TEXT)
    push(world.redis, [delivery(1, f"https://refused-1.fedi.test:{impostor.port}/inbox")])
    wait_settled(world)
    wait_for(lambda: forged(fedpush(world, "domain", "show", f"refused-1.fedi.test:{impostor.port}").stdout), 30, "it is shown")
    impostor.listener.close()
    assert forged(shown(world, "domain", "show", f"refused-1.fedi.test:{impostor.port}"))
    assert forged(shown(world, "stats"))
    log = harmless(open(machine.log_path, "rb").read())
    assert forged(log) and not any(line.startswith("forged") for line in log.splitlines())


def test_what_a_host_answers(machine, world):
    """Its status line and fields reach neither the log nor the commands as they are."""
    inbox = world.fediverse.inbox("hostile-1")
    push(world.redis, [delivery(i, inbox) for i in range(3)])
    wait_settled(world)
    wait_for(lambda: "hostile-1" in fedpush(world, "stats").stdout, 30, "it is in the statistics")
    assert "hostile-1" in shown(world, "domain", "show", "hostile-1.fedi.test")
    harmless(open(machine.log_path, "rb").read())
