"""What strangers wrote comes out harmless wherever it is shown: no text of a host turns the direction of a line, moves a
cursor, forges a line of the log or becomes a formula."""

import csv
import io
import json
import time

from jobs import delivery, push, wait_settled
from machine import fedpush
from servers import wait_for

# A line, colours, a title, an override of direction, zero width, C1, quotes, a formula.
TEXT = "=1+1\r\nforged: 1\x1b[31m\x1b]0;t\x07\u202etxt\u2066\u200b\x9b\"'\\"
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


def test_what_a_host_answers(machine, world):
    """Its status line and fields reach neither the log nor the commands as they are."""
    inbox = world.fediverse.inbox("hostile-1")
    push(world.redis, [delivery(i, inbox) for i in range(3)])
    wait_settled(world)
    wait_for(lambda: "hostile-1" in fedpush(world, "stats").stdout, 30, "it is in the statistics")
    assert "hostile-1" in shown(world, "domain", "show", "hostile-1.fedi.test")
    harmless(open(machine.log_path, "rb").read())
