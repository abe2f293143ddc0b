"""What the processes are, what they hold and whom they obey."""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest
from jobs import account_at_rest, account_for, delivery, push, wait_settled
from machine import alive, fedpush, title
from servers import wait_for

PASSWORD = "hunter-two"

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="looks into other users' processes")


def read_proc(pid, name):
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def status(pid):
    """The fields of /proc/PID/status."""
    text = read_proc(pid, "status").decode()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def everyone(machine):
    return [machine.process.pid] + machine.children()


def with_password(world):
    return world.postgres.url(world.database).replace("mastodon@", f"mastodon:{PASSWORD}@")


def deliver_some(world, count=20):
    jobs = [delivery(i, world.fediverse.inbox(f"ok-{i}", tls=i % 2 == 0)) for i in range(count)]
    push(world.redis, jobs)
    wait_settled(world)
    assert account_at_rest(world, jobs).places == {"delivered": count}


def held(world, machine):
    return max(0, world.redis_client.hlen(f"fedpush:claimed:{machine.identity()}") - 1)


# ---- what ps and /proc show ----


def test_ps_names_the_roles(machine):
    assert title(machine.process.pid) == "fedpush: supervisor"
    names = sorted(title(pid) for pid in machine.children())
    assert names == ["fedpush: scheduler", "fedpush: signer", "fedpush: worker 0", "fedpush: worker 1"]
    assert {status(pid)["Name"] for pid in everyone(machine)} == {"fedpush"}


@only_root
def test_proc_shows_no_secret(machines, world):
    machine = machines(DATABASE_URL=with_password(world))
    deliver_some(world)
    assert len(everyone(machine)) == 5
    for pid in everyone(machine):
        shown = read_proc(pid, "environ") + read_proc(pid, "cmdline")
        for secret in (PASSWORD, "://", "DATABASE", "REDIS", "PRIVATE KEY", str(world.redis.port)):
            assert secret.encode() not in shown, title(pid)
    assert PASSWORD not in machine.log() and "PRIVATE KEY" not in machine.log()


def memory_holds(pid, texts):
    """Which of the texts stand in the writable memory of a process; shadow memory is left out."""
    found = set()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            start, end = (int(part, 16) for part in span.split("-"))
            if "rw" not in rights or end - start > 1 << 28 or "[v" in line:
                continue
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except (OSError, ValueError):
                continue
            found.update(text for text in texts if text.encode() in content)
    return found


@only_root
def test_only_those_who_need_secrets_hold_them(machines, world):
    machine = machines(DATABASE_URL=with_password(world))
    deliver_some(world)
    key_line = world.keys.private[1].splitlines()[3]
    scheduler, signer = machine.roles("scheduler")[0], machine.roles("signer")[0]
    assert memory_holds(scheduler, [PASSWORD, key_line]) == {PASSWORD}
    assert PASSWORD in memory_holds(signer, [PASSWORD])
    for worker in machine.roles("worker"):
        assert memory_holds(worker, [PASSWORD, key_line, "BEGIN RSA PRIVATE KEY"]) == set()


@only_root
def test_who_is_connected_to_what(machine, world):
    deliver_some(world)

    def opened(pid, fd):
        try:
            return os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            return None  # closed meanwhile

    def remote_ports(pid):
        inodes = {opened(pid, fd) for fd in os.listdir(f"/proc/{pid}/fd")}
        ports = set()
        for table in ("net/tcp", "net/tcp6"):
            for line in read_proc(pid, table).decode().splitlines()[1:]:
                words = line.split()
                if f"socket:[{words[9]}]" in inodes:
                    ports.add(int(words[2].split(":")[1], 16))
        return ports & {world.redis.port, world.postgres.port, world.fediverse.port, world.fediverse.tls_port}

    fediverse = {world.fediverse.port, world.fediverse.tls_port}
    assert remote_ports(machine.process.pid) == set()
    wait_for(lambda: remote_ports(machine.roles("scheduler")[0]) == {world.redis.port, world.postgres.port}, 30,
             "the scheduler is connected to both")
    assert remote_ports(machine.roles("signer")[0]) == {world.postgres.port}
    workers = [remote_ports(pid) for pid in machine.roles("worker")]
    assert all(ports <= fediverse for ports in workers) and set().union(*workers) == fediverse


def test_no_role_may_gain_rights_or_dump_core(machine):
    for pid in everyone(machine):
        assert status(pid)["NoNewPrivs"] == "1", title(pid)
        limits = read_proc(pid, "limits").decode()
        assert re.search(r"Max core file size\s+0\s+0", limits), title(pid)


# ---- the user ----


@pytest.fixture
def owned(world):
    """Makes directories that belong to a user."""
    made = []

    def make(user):
        made.append(tempfile.mkdtemp(dir=world.folder))
        entry = pwd.getpwnam(user)
        os.chown(made[-1], entry.pw_uid, entry.pw_gid)
        return made[-1]

    yield make
    for path in made:
        shutil.rmtree(path)


@only_root
def test_root_becomes_the_user(machines, world, owned):
    machine = machines(FEDPUSH_USER="nobody", FEDPUSH_RUNTIME_DIR=owned("nobody"))
    deliver_some(world)
    nobody = pwd.getpwnam("nobody")
    for pid in everyone(machine):
        shown = status(pid)
        assert set(shown["Uid"].split()) == {str(nobody.pw_uid)}, title(pid)
        assert set(shown["Gid"].split()) == {str(nobody.pw_gid)}
        assert "0" not in shown["Groups"].split()
        assert all(int(shown[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
    assert machine.stop() == 0


@only_root
def test_its_own_user_cannot_look_into_it(machines, owned):
    machine = machines(FEDPUSH_USER="nobody", FEDPUSH_RUNTIME_DIR=owned("nobody"))
    as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]

    def may_read(pid, name):
        command = as_nobody + ["head", "-c1", f"/proc/{pid}/{name}"]
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE).returncode == 0

    ordinary = subprocess.Popen(as_nobody + ["sleep", "60"])
    try:
        wait_for(lambda: title(ordinary.pid) == "sleep", 30, "sleep runs")
        assert may_read(ordinary.pid, "environ"), "what is tried below works with others"
    finally:
        ordinary.kill()
        ordinary.wait()
    for pid in everyone(machine):
        assert os.stat(f"/proc/{pid}/environ").st_uid == 0, title(pid)
        assert not may_read(pid, "environ") and not may_read(pid, "mem"), title(pid)


@only_root
@pytest.mark.parametrize("user", ["no-such-user", None])
def test_root_without_a_user_to_become_exits_78(world, user):
    name = user or "fedpush"
    if name in [entry.pw_name for entry in pwd.getpwall()]:
        pytest.skip(f"there is a user {name} here")
    done = fedpush(world, "run", FEDPUSH_USER=user)
    assert done.returncode == 78
    assert f'no user "{name}"' in done.stderr and done.stderr.count("\n") == 1


@only_root
def test_a_directory_of_somebody_else_is_refused(world, owned):
    done = fedpush(world, "run", FEDPUSH_USER="nobody", FEDPUSH_RUNTIME_DIR=owned("root"))
    assert done.returncode == 78 and "runtime directory" in done.stderr


def test_a_second_one_on_the_same_directory_is_refused(machine, world):
    done = fedpush(world, "run", runtime_dir=machine.runtime_dir)
    assert done.returncode == 78 and "another fedpush runs here" in done.stderr
    assert len(machine.children()) == 4
    deliver_some(world)


# ---- ends ----


def test_the_roles_die_with_their_supervisor(machine):
    children = machine.children()
    assert len(children) == 4 and all(alive(pid) for pid in children)
    machine.kill()
    assert not any(alive(pid) for pid in children)


def test_sigterm_finishes_what_is_on_the_wire_and_returns_the_rest(machine, world):
    jobs = [delivery(i, world.fediverse.inbox("slow1500-1")) for i in range(20)]
    push(world.redis, jobs)
    wait_for(lambda: world.fediverse.summary()["posts"] > 0, 30, "a delivery is on the wire")
    assert machine.stop() == 0
    account = account_for(world, jobs)
    assert account.lost == [] and account.duplicates == 0
    assert account.places["delivered"] > 0 and account.places["queue:push"] > 0, account
    assert account.places["delivered"] + account.places["queue:push"] == 20, account
    assert leftovers(world, machine) == []


def leftovers(world, machine):
    """What a machine that ended in order leaves nowhere."""
    client = world.redis_client
    left = [key.decode() for pattern in ("fedpush:claimed:*", "fedpush:wait:*") for key in client.scan_iter(pattern)]
    left += [name.decode() for name in client.zrange("fedpush:identities", 0, -1)]
    left += [name.decode() for name in client.smembers("processes")]
    with open(os.path.join(machine.runtime_dir, "identities")) as file:
        return left + file.read().splitlines()


def test_sigint_is_the_same(machine, world):
    machine.process.send_signal(signal.SIGINT)
    assert machine.process.wait(60) == 0
    assert leftovers(world, machine) == []


def test_what_outlasts_the_drain_goes_back(machines, world):
    machine = machines(FEDPUSH_DRAIN_SECONDS="1")
    jobs = [delivery(1, world.fediverse.inbox("slow9000-1"))]
    push(world.redis, jobs)
    wait_for(lambda: world.fediverse.summary()["posts"] > 0, 30, "it is on the wire")
    assert machine.stop() == 0
    assert world.redis_client.llen("queue:push") == 1 and leftovers(world, machine) == []


def test_a_second_sigterm_ends_at_once(machines, world):
    machine = machines(FEDPUSH_DRAIN_SECONDS="60")
    push(world.redis, [delivery(1, world.fediverse.inbox("silent-1"))])
    wait_for(lambda: world.fediverse.summary()["posts"] > 0 or held(world, machine) == 1, 30, "it is on the wire")
    children = machine.children()
    machine.process.terminate()
    wait_for(lambda: "is=draining" in machine.log(), 30, "draining")
    started = time.monotonic()
    machine.process.terminate()
    assert machine.process.wait(60) == 1
    assert time.monotonic() - started < 50, "not after the drain"
    wait_for(lambda: not any(alive(pid) for pid in children), 30, "its roles are gone")
    assert world.redis_client.hlen(f"fedpush:claimed:{machine.identity()}") == 2, "the job is still claimed"


# ---- orders ----


@pytest.fixture
def mastodon(tmp_path):
    """A directory with an .env.production; call it with the lines."""
    def write(*lines):
        (tmp_path / ".env.production").write_text("".join(line + "\n" for line in lines))
        return str(tmp_path)

    return write


def reload(machine):
    before = machine.log().count("reloaded")
    machine.process.send_signal(signal.SIGHUP)
    wait_for(lambda: machine.log().count("reloaded") > before, 30, "reloaded")


def test_sighup_changes_the_log_level(machines, mastodon):
    machine = machines(FEDPUSH_MASTODON_DIR=mastodon("FEDPUSH_LOG_LEVEL=info"), FEDPUSH_LOG_LEVEL=None)
    assert "level=debug" not in machine.log()
    mastodon("FEDPUSH_LOG_LEVEL=debug")
    reload(machine)
    assert machine.stop() == 0  # the scheduler says more about it now
    assert "level=debug role=scheduler" in machine.log()


def test_sighup_changes_the_claim_rate(machines, mastodon, world):
    machine = machines(FEDPUSH_MASTODON_DIR=mastodon("FEDPUSH_CLAIM_RATE=1"))
    push(world.redis, [delivery(i, world.fediverse.inbox(f"ok-{i}")) for i in range(100)])
    wait_for(lambda: world.fediverse.summary()["posts"] >= 3, 30, "some are delivered")
    assert world.fediverse.summary()["posts"] < 60
    mastodon("FEDPUSH_CLAIM_RATE=0")
    reload(machine)
    wait_for(lambda: world.fediverse.summary()["posts"] == 100, 30, "all are delivered")


def test_a_broken_file_changes_nothing(machines, mastodon, world):
    machine = machines(FEDPUSH_MASTODON_DIR=mastodon("FEDPUSH_CLAIM_RATE=0"))
    mastodon("FEDPUSH_CLAIM_RATE=fast")
    reload(machine)
    assert "not reloaded: the configuration is invalid" in machine.log()
    assert "FEDPUSH_CLAIM_RATE" in machine.log()
    deliver_some(world)


def test_sighup_names_what_needs_a_restart(machines, mastodon):
    machine = machines(FEDPUSH_MASTODON_DIR=mastodon("FEDPUSH_HOST_WINDOW=2"))
    mastodon("FEDPUSH_HOST_WINDOW=3")
    reload(machine)
    assert re.search(r"needs a restart.*FEDPUSH_HOST_WINDOW", machine.log())


class NotifySocket:
    """systemd's end of sd_notify."""

    def __init__(self, path):
        self.path = path
        self.seen = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.setblocking(False)

    def messages(self):
        while True:
            try:
                self.seen += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self.seen

    def wait(self, line, seconds=30):
        wait_for(lambda: line in self.messages(), seconds, lambda: f"{line} in {self.seen}")


@pytest.fixture
def systemd(tmp_path):
    server = NotifySocket(str(tmp_path / "notify"))
    yield server
    server.socket.close()


def test_systemd_is_told(machines, systemd):
    machine = machines(NOTIFY_SOCKET=systemd.path, WATCHDOG_USEC="1000000")
    systemd.wait("READY=1")
    systemd.wait("STATUS=running; workers: 2")
    assert "STOPPING=1" not in systemd.messages()
    systemd.wait("WATCHDOG=1")
    del systemd.seen[:]
    reload(machine)
    systemd.wait("READY=1")
    names = [line.split("=")[0] for line in systemd.messages()]
    assert [name for name in names if name != "WATCHDOG"] == ["RELOADING", "MONOTONIC_USEC", "READY"]
    assert machine.stop() == 0
    systemd.wait("STOPPING=1")


def test_systemd_is_told_nothing_by_one_that_refuses_to_start(machines, systemd):
    machine = machines(ready=False, setup=False, NOTIFY_SOCKET=systemd.path, FEDPUSH_WORKERS="many")
    assert machine.process.wait(60) == 78
    assert systemd.messages() == []


def web_order(world, machine, name):
    """As the buttons of Sidekiq's Web UI (Sidekiq::Process#quiet!, #stop!)."""
    world.redis_client.lpush(f"{machine.identity()}-signals", name)
    world.redis_client.expire(f"{machine.identity()}-signals", 60)


def shown_quiet(world, machine):
    return world.redis_client.hget(machine.identity(), "quiet") == b"true"


def test_quiet_and_stop_from_sidekiqs_web_ui(machine, world):
    deliver_some(world)
    wait_for(lambda: world.redis_client.sismember("processes", machine.identity()), 30, "it is shown")
    assert not shown_quiet(world, machine)
    web_order(world, machine, "TSTP")
    wait_for(lambda: shown_quiet(world, machine), 60, "it is shown as quiet")
    wait_for(lambda: held(world, machine) == 0, 30, "it holds nothing")
    posts = world.fediverse.summary()["posts"]
    push(world.redis, [delivery(1000, world.fediverse.inbox("ok-1"))])
    web_order(world, machine, "TERM")
    assert machine.process.wait(60) == 0
    assert world.fediverse.summary()["posts"] == posts and world.redis_client.llen("queue:push") == 1
    assert leftovers(world, machine) == []
