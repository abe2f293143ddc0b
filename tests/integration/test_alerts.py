"""Alerts: what raises one, who is told how, and that it ends."""

import email
import email.policy
import hashlib
import hmac
import json
import os
import signal
import socket
import time

import pytest
from machine import DOMAIN, fedpush
from servers import free_port, wait_for
from sinks import Mailbox, Webhook
from test_admin_api import start  # noqa: F401
from test_admin_login import password  # noqa: F401

HURRY = "/secret-path/fedpush-fault-hurry"  # sixty times as fast
TO = "admin@example.org,ops@example.org"


@pytest.fixture
def mailbox(world):
    made = []

    def make(**options):
        made.append(Mailbox(world.certificate, **options))
        return made[-1]

    yield make
    for box in made:
        box.stop()


@pytest.fixture
def webhook():
    hook = Webhook()
    yield hook
    hook.stop()


def smtp(box, **settings):
    return {"FEDPUSH_ALERT_MAIL": TO, "SMTP_SERVER": "localhost", "SMTP_PORT": box.port,
            "SMTP_FROM_ADDRESS": "Mastodon <notifications@social.test>", **settings}


def parsed(mail):
    return email.message_from_bytes(mail.content, policy=email.policy.SMTP)


def sidekiq_process(world, queues):
    info = {"hostname": "ruby", "pid": 1, "queues": queues, "labels": [], "identity": "ruby:1:aaaaaaaaaaaa",
            "concurrency": 5}
    world.redis_client.sadd("processes", "ruby:1:aaaaaaaaaaaa")
    world.redis_client.hset("ruby:1:aaaaaaaaaaaa",
                            mapping={"info": json.dumps(info), "beat": time.time(), "quiet": "false"})


# ---- fedpush alert --test ----


@pytest.mark.parametrize("method", ["plain", "login", "cram_md5"])
def test_mail_goes_as_mastodon_sends_it(world, mailbox, method):
    box = mailbox(login=("me", "pass word:1"), methods=method.upper().replace("_", "-"))
    done = fedpush(world, "alert", "--test", **smtp(
        box, SMTP_LOGIN="me", SMTP_PASSWORD="pass word:1", SMTP_AUTH_METHOD=method,
        SMTP_CA_FILE=world.certificate.ca, SMTP_ENABLE_STARTTLS="always"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"ok    mail to {TO} by localhost:{box.port}: the test was taken\n"
    mail, = box.mails
    assert mail.tls and mail.login == (method.upper().replace("_", "-"), "me") and mail.ehlo == DOMAIN
    assert mail.sender == "notifications@social.test" and mail.recipients == TO.split(",")
    message = parsed(mail)
    assert message["From"] == "Mastodon <notifications@social.test>" and message["To"] == TO.replace(",", ", ")
    assert message["Subject"] == f"[fedpush {DOMAIN}] test: alerts arrive"
    assert message["Auto-Submitted"] == "auto-generated" and message["Message-ID"] and message["Date"]
    assert "This is a test." in message.get_content()


def refused(world, box, remedy, **settings):
    done = fedpush(world, "alert", "--test", **smtp(box, **settings))
    assert done.returncode == 1 and done.stdout.startswith("FAIL  "), done.stdout + done.stderr
    assert remedy in done.stdout and done.stdout.count("\n") == 1 and "hunter2" not in done.stdout + done.stderr
    assert box.mails == []


def test_mail_keeps_to_mastodons_rules_of_tls(world, mailbox):
    plain, secure = mailbox(starttls=False), mailbox(tls=True)
    box = mailbox(login=("me", "hunter2"))
    login = {"SMTP_LOGIN": "me", "SMTP_PASSWORD": "hunter2"}
    refused(world, box, "SMTP_CA_FILE", **login)  # not a CA of the system's
    refused(world, plain, "SMTP_ENABLE_STARTTLS", SMTP_ENABLE_STARTTLS="always")
    refused(world, box, "SMTP_PASSWORD", SMTP_LOGIN="me", SMTP_PASSWORD="hunter2!", SMTP_OPENSSL_VERIFY_MODE="none")
    for to, settings in [(plain, {}), (box, {"SMTP_OPENSSL_VERIFY_MODE": "none", **login}),
                         (secure, {"SMTP_TLS": "true", "SMTP_CA_FILE": world.certificate.ca})]:
        assert fedpush(world, "alert", "--test", **smtp(to, **settings)).returncode == 0
    assert [to.mails[0].tls for to in (plain, box, secure)] == [False, True, True]
    refused(world, mailbox(), "SMTP_SERVER", SMTP_PORT=free_port())
    refused(world, mailbox(), "SMTP_PORT is not a port", SMTP_PORT="many")
    refused(world, mailbox(), "SMTP_AUTH_METHOD is not", SMTP_AUTH_METHOD="magic", **login)


def test_a_webhook_is_signed_and_its_url_stays_secret(world, webhook):
    settings = {"FEDPUSH_ALERT_WEBHOOK": webhook.url.replace("://", "://user:hunter2@") + "/hunter2?key=hunter2",
                "FEDPUSH_ALERT_WEBHOOK_SECRET": "hunter2"}
    done = fedpush(world, "alert", "--test", **settings)
    assert done.returncode == 0 and done.stdout == f"ok    webhook at {webhook.url}: the test was taken\n", done.stdout
    (path, fields, body), = webhook.posts
    assert path == "/hunter2?key=hunter2" and fields["Content-Type"] == "application/json"
    assert fields["X-Fedpush-Signature"] == "sha256=" + hmac.new(b"hunter2", body, hashlib.sha256).hexdigest()
    told = json.loads(body)
    assert told["source"] == "fedpush" and told["domain"] == DOMAIN and told["alerts"] == []
    assert "This is a test." in told["text"] and abs(told["at"] - time.time()) < 60
    webhook.status = 302  # a redirect isn't followed
    done = fedpush(world, "alert", "--test", "--json", **settings)
    assert done.returncode == 1 and "hunter2" not in done.stdout + done.stderr
    result, = json.loads(done.stdout)
    assert result["sink"] == "webhook" and not result["ok"] and "answered 302" in result["error"]


def test_without_anybody_to_tell(world):
    done = fedpush(world, "alert", "--test")
    assert done.returncode == 78 and "FEDPUSH_ALERT_MAIL" in done.stderr and done.stdout == ""


# ---- fedpush alert ----


def test_nobody_looks_after_alerts(world):
    done = fedpush(world, "alert")
    assert done.returncode == 1 and done.stdout.startswith("nobody looks after alerts"), done.stdout
    done = fedpush(world, "alert", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert done.returncode == 69 and done.stderr.startswith("fedpush: Redis")


# ---- the fleet ----


def firing(world):
    found = json.loads(fedpush(world, "alert", "--json").stdout)
    return {alert["id"]: alert["text"] for alert in found["alerts"]}


def states(webhook):
    """What the webhook was told, (id, state) each, in order."""
    return [(alert["id"], alert["state"]) for _, _, body in webhook.posts for alert in json.loads(body)["alerts"]]


def test_a_queue_without_consumer_raises_an_alert_and_its_end_is_told(world, machines, mailbox, webhook):
    box = mailbox(starttls=False)
    # It has nobody to tell, so that the others take the turn from it.
    mute = machines(FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{free_port()}", FEDPUSH_WORKERS=1)
    wait_for(lambda: (world.redis_client.get("fedpush:alerter") or b"").endswith(b":mute"), 60, "it looks after alerts")
    fleet = [machines(FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{free_port()}", FEDPUSH_WORKERS=1,
                      FEDPUSH_ALERT_WEBHOOK=webhook.url + HURRY, **smtp(box)) for _ in range(2)]
    raised = [("handoff default", "firing")]
    wait_for(lambda: box.mails and webhook.posts, 60, lambda: f"an alert:\n{fleet[0].log()[-3000:]}")
    assert states(webhook) == raised and "-q default" in firing(world)["handoff default"]
    listed = fedpush(world, "alert")
    assert listed.returncode == 1 and "-q default" in listed.stdout
    assert "-q default" in parsed(box.mails[0])["Subject"]
    # Whoever comes after knows what was told.
    owner = world.redis_client.get("fedpush:alerter")
    for machine in fleet:
        machine.signal("admin", signal.SIGKILL)
    wait_for(lambda: world.redis_client.get("fedpush:alerter") not in (None, owner), 60, "another looks after alerts")
    sidekiq_process(world, ["default"])
    wait_for(lambda: len(box.mails) == 2 and len(webhook.posts) == 2, 60, lambda: f"the end: {states(webhook)}")
    assert states(webhook) == raised + [("handoff default", "over")]
    assert "over: " in parsed(box.mails[1])["Subject"] and "Over:" in parsed(box.mails[1]).get_content()
    assert firing(world) == {} and fedpush(world, "alert").returncode == 0
    for machine in fleet + [mute]:
        machine.stop()
    logs = "".join(machine.log() for machine in fleet)
    assert "secret-path" not in logs and logs.count('msg=alert alert="handoff default"') == 1, logs
    assert len(box.mails) == len(webhook.posts) == 2  # of both machines together


def test_what_strangers_wrote_breaks_out_of_no_mail(world, machines, mailbox, webhook):
    box = mailbox(starttls=False)
    sidekiq_process(world, ["default"])
    assert fedpush(world, "setup").returncode == 0
    world.query("INSERT INTO accounts (id, username, domain, inbox_url, created_at, updated_at)"
                " VALUES (7, 'eve', 'evil.test', 'https://evil.test/inbox', now(), now())")
    world.query("INSERT INTO follows (account_id, target_account_id, created_at, updated_at)"
                " VALUES (7, 1, now(), now())")
    world.query("INSERT INTO fedpush.domain_health (host, consecutive_failures, failing_since, last_error)"
                " VALUES ('evil.test', 9, now() - interval '1 hour', %s)",
                "550 no\r\nBcc: victim@example.org\r\n\r\n\x1b[2J\u202e\r\n.\r\nMAIL FROM:<x@y>")
    machine = machines(FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{free_port()}", FEDPUSH_WORKERS=1,
                       FEDPUSH_ALERT_FOLLOWERS=1, FEDPUSH_ALERT_WEBHOOK=webhook.url + HURRY, **smtp(box))
    wait_for(lambda: box.mails, 60, lambda: f"an alert: {machine.log()[-3000:]}")
    mail, = box.mails
    message = parsed(mail)
    assert mail.recipients == TO.split(",") and message["Bcc"] is None
    assert "domain evil.test has failed for" in message["Subject"]
    assert set(message.keys()) == {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version",
                                   "Content-Type", "Content-Transfer-Encoding"}
    text = message.get_content()
    assert "550 no??Bcc: victim@example.org" in text and "\x1b" not in text and "\u202e" not in text
    assert "\x1b" not in fedpush(world, "alert").stdout
    assert os.linesep + "Bcc" not in machine.log()


def test_no_order_waits_for_a_server_of_alerts(start, world):  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        port = silent.getsockname()[1]
        _, api = start(FEDPUSH_ALERT_WEBHOOK=f"http://127.0.0.1:{port}{HURRY}", FEDPUSH_ALERT_FOLLOWERS=0)
        told, _ = silent.accept()  # it is being told, and doesn't answer
        with told:
            began = time.monotonic()
            api.get("/jobs")
            api.get("/domains/a.example/waiting", "/domains/{host}/waiting")
            api.order("/domains/a.example/try", "/domains/{host}/try")
            api.order("/domains/a.example/resume", "/domains/{host}/resume")
            api.order("/domains/a.example/drop", "/domains/{host}/drop", confirm="a.example")
            assert time.monotonic() - began < 15
