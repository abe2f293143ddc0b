"""What environment, memory and log of each process tell of secrets."""

import os

import pytest
from jobs import delivery, push, wait_settled
from machine import title
from test_keys import ENCRYPTION, mastodon, move_key, seal  # noqa: F401

ROOT = os.geteuid() == 0
ROLES = ["scheduler", "signer", "worker"]


def read(pid, name):
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def test_a_roles_environment_and_command_line_tell_nothing(world, machine):
    for role in ROLES:
        for pid in machine.roles(role):
            names = {entry.split(b"=")[0] for entry in read(pid, "environ").split(b"\0") if entry}
            assert names <= {b"PATH", b"LANG", b"JOURNAL_STREAM", b"ASAN_OPTIONS", b"UBSAN_OPTIONS", b"LSAN_OPTIONS"}
            assert b"://" not in read(pid, "cmdline") and b"PRIVATE" not in read(pid, "environ")


def writable_areas(pid):
    """(begin, end) of a process's own memory, without what was never touched."""
    area = None
    with open(f"/proc/{pid}/smaps") as smaps:
        for line in smaps:
            words = line.split()
            if not words[0].endswith(":"):
                begin, end = (int(part, 16) for part in words[0].split("-"))
                own = words[1].startswith("rw") and words[4] == "0" and end - begin <= 256 << 20
                area = (begin, end) if own else None
            elif words[0] == "Rss:" and area and words[1] != "0":
                yield area


def writable_memory(pid):
    """The contents of a process's own memory, in pieces; what can't be read is left out."""
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for begin, end in writable_areas(pid):
            try:
                memory.seek(begin)
                yield memory.read(end - begin)
            except (OSError, ValueError):
                continue


def in_memory(pid, secrets):
    """Which of these a process has in its memory."""
    found = set()
    for piece in writable_memory(pid):
        found |= {name for name, secret in secrets.items() if secret.encode() in piece}
    return found


@pytest.mark.skipif(not ROOT, reason="only root reads another process's memory")
def test_each_roles_memory_holds_its_own_secrets_only(world, machines, mastodon):  # noqa: F811
    mastodon("4.7.0")
    move_key(world, 1, seal([world.keys.private[1]])[0])
    machine = machines(**ENCRYPTION)
    push(world.redis, [delivery(i, world.fediverse.inbox(f"ok-{i}"), account=1 + i % 2) for i in range(50)])
    wait_settled(world)
    assert world.fediverse.summary()["posts"] == 50
    secrets = {
        "encrypted key": world.keys.private[1].splitlines()[5],
        "key": world.keys.private[2].splitlines()[5],
        "primary key": ENCRYPTION["ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY"],
        "salt": ENCRYPTION["ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT"],
        "Redis": world.redis.url,
        "database": f":{world.postgres.port}/",
    }
    found = {title(pid): in_memory(pid, secrets) for role in ROLES for pid in machine.roles(role)}
    assert found["fedpush: worker 0"] == found["fedpush: worker 1"] == set()
    assert "Redis" in found["fedpush: scheduler"], "the search finds what is there"
    # No key's text stays anywhere, nor what opens keys once it was derived from.
    assert found["fedpush: scheduler"] | found["fedpush: signer"] <= {"Redis", "database"}


def test_logs_at_debug_hold_no_secret(world, machines):
    machine = machines(FEDPUSH_LOG_LEVEL="debug")
    push(world.redis, [delivery(1, world.fediverse.inbox("ok-1")), delivery(2, world.fediverse.inbox("status500-1"))])
    wait_settled(world)
    log = machine.log()
    assert "PRIVATE KEY" not in log and "Grüße" not in log and "signature=" not in log.lower()
    assert world.keys.private[1].splitlines()[3] not in log
