"""What the processes are to the system: their names, users, secrets and ends."""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest
from jobs import delivery, push, wait_settled
from machine import Machine, alive, fedpush, title
from servers import wait_for
from test_keys import ENCRYPTION, mastodon, move_key, seal  # noqa: F401

ROOT = os.geteuid() == 0
ROLES = ["scheduler", "signer", "worker"]


def read(pid, name):
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def status(pid, field):
    return re.search(rf"^{field}:\s*(.*)$", read(pid, "status").decode(), re.M).group(1).split()


def test_roles_have_their_names_in_ps(world, machine):
    pids = ",".join(str(pid) for pid in machine.children())
    shown = subprocess.run(["ps", "-o", "args=", "-p", pids], capture_output=True, text=True, check=True)
    names = sorted(line.strip() for line in shown.stdout.splitlines())
    assert names == ["fedpush: scheduler", "fedpush: signer", "fedpush: worker 0", "fedpush: worker 1"]


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


def test_roles_gain_no_privileges_and_dump_no_core(world, machine):
    for pid in machine.children():
        assert status(pid, "NoNewPrivs") == ["1"]
        assert re.search(r"Max core file size\s+0\s+0", read(pid, "limits").decode())


def test_no_role_outlives_its_supervisor(world, machine):
    machine.kill()  # fails when one does


def test_children_end_with_a_stop(world, machine):
    children = machine.children()
    assert machine.stop() == 0
    assert not any(alive(pid) for pid in children)


def test_one_machine_a_runtime_folder(world, machine):
    second = fedpush(world, "run", runtime_dir=machine.runtime_dir)
    assert second.returncode == 78
    assert len(second.stderr.strip().splitlines()[-1]) > 20 and machine.process.poll() is None


@pytest.fixture
def dropped(world):
    """A machine that gives up root for the user `postgres`, in folders that this user can reach."""
    folder = tempfile.mkdtemp(prefix="fedpush-dropped-")
    os.chmod(folder, 0o755)
    assert fedpush(world, "setup").returncode == 0
    machine = Machine(world, folder, FEDPUSH_USER="postgres")
    user = pwd.getpwnam("postgres")
    os.chown(machine.runtime_dir, user.pw_uid, user.pw_gid)
    yield machine.start()
    machine.stop()
    shutil.rmtree(folder)


@pytest.mark.skipif(not ROOT, reason="only root can give up root")
def test_root_is_given_up_for_good(world, dropped):
    user = pwd.getpwnam("postgres")
    for pid in [dropped.process.pid] + dropped.children():
        assert status(pid, "Uid") == [str(user.pw_uid)] * 4
        assert status(pid, "Gid") == [str(user.pw_gid)] * 4
        assert status(pid, "CapEff") == status(pid, "CapPrm") == ["0000000000000000"]
    push(world.redis, [delivery(1, world.fediverse.inbox("ok-1"))])
    wait_settled(world)
    assert world.fediverse.summary()["posts"] == 1


@pytest.mark.skipif(not ROOT, reason="only root can give up root")
def test_its_own_user_cannot_look_into_a_role(world, dropped):
    for pid in dropped.children():
        look = subprocess.run(
            ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "cat", f"/proc/{pid}/environ"],
            capture_output=True)
        assert look.returncode != 0 and look.stdout == b"", title(pid)


@pytest.mark.skipif(not ROOT, reason="only root can give up root")
@pytest.mark.parametrize("user", ["nosuchuser", None])
def test_a_user_that_does_not_exist_is_said_and_ends_it(world, user):
    if user is None and "fedpush" in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("there is a user fedpush")
    ended = fedpush(world, "run", FEDPUSH_USER=user)
    assert ended.returncode == 78 and (user or "fedpush") in ended.stderr


def test_systemd_is_told(world, machines, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(30)
        machine = machines(NOTIFY_SOCKET=path)

        def until(word):
            while word not in (said := listener.recv(4096).decode()):
                pass
            return said

        assert "READY=1" in until("READY=1")
        machine.process.terminate()
        assert "STOPPING=1" in until("STOPPING=1")
        assert machine.process.wait(60) == 0


def test_sighup_reloads_and_keeps_running(world, machine):
    before = machine.children()
    machine.process.send_signal(signal.SIGHUP)
    wait_for(lambda: re.search("reload|configuration", machine.log()), 10, "it says so")
    push(world.redis, [delivery(1, world.fediverse.inbox("ok-1"))])
    wait_settled(world)
    assert machine.children() == before


def test_logs_at_debug_hold_no_secret(world, machines):
    machine = machines(FEDPUSH_LOG_LEVEL="debug")
    push(world.redis, [delivery(1, world.fediverse.inbox("ok-1")), delivery(2, world.fediverse.inbox("status500-1"))])
    wait_settled(world)
    log = machine.log()
    assert "PRIVATE KEY" not in log and "Grüße" not in log and "signature=" not in log.lower()
    assert world.keys.private[1].splitlines()[3] not in log
