"""deploy/demo cleans up after itself, and deploy/dependencies doesn't touch a machine in production."""

import os
import shutil
import signal
import stat
import subprocess
import tempfile

import pytest
from machine import BINARY, _stat, alive
from servers import HERE, wait_for

ROOT = os.path.dirname(os.path.dirname(HERE))
SIDEKIQ = "sidekiq 7.3.9 mastodon [0 of 25 busy]"
GONE = 2**22 + 1  # more than any process has

# What deploy/dependencies asks the system, answered; what it would do to it as root, noted.
STUBS = {
    "id": "echo 1000",
    "sudo": 'echo "$*" >>"$STUBS/asked"; cat >/dev/null',
    "dpkg-query": '[ ! -e "$STUBS/all-installed" ] || printf "installed %s\\n" "${@:4}"',
    "ps": 'cat "$STUBS/titles" 2>/dev/null || true',
    "systemctl": 'cat "$STUBS/units" 2>/dev/null || true',
}


@pytest.fixture
def system(tmp_path):
    """A folder that stands before the system's programs, and what is in it is true."""
    folder = tmp_path / "stubs"
    folder.mkdir()
    for name, text in STUBS.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def told(system, **settings):
    return {**os.environ, "PATH": f"{system}:{os.environ['PATH']}", "STUBS": str(system), **settings}


def asked(system):
    path = system / "asked"
    return path.read_text() if path.exists() else ""


# ---- what is not to be disturbed ----


@pytest.fixture
def dependencies(tmp_path, system):
    """A copy of deploy/dependencies that looks into a /run of its own."""
    tree = tmp_path / "tree"
    (tree / "deploy").mkdir(parents=True)
    (tree / "run" / "redis").mkdir(parents=True)
    (tree / "run" / "postgresql").mkdir()
    for folder in (tree / "tests", tree / "admin" / "page"):
        (folder / "node_modules").mkdir(parents=True)
        for path in ("package-lock.json", "node_modules/.installed"):
            (folder / path).write_text("{}")
    with open(os.path.join(ROOT, "deploy", "dependencies")) as file:
        text = file.read()
    assert "/run/" in text
    script = tree / "deploy" / "dependencies"
    script.write_text(text.replace("/run/", f"{tree}/run/"))
    script.chmod(stat.S_IRWXU)

    def call(*arguments):
        return subprocess.run([str(script), *arguments], env=told(system), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)

    call.run = tree / "run"
    return call


def sidekiq_runs(system, run):
    (system / "titles").write_text(f"bash\n{SIDEKIQ}\n")
    return SIDEKIQ.split(" [")[0]


def redis_runs(system, run):
    (run / "redis" / "redis-server.pid").write_text(f"{os.getpid()}\n")
    return "redis-server.pid"


def postgresql_runs(system, run):
    (run / "postgresql" / "15-main.pid").write_text(f"{os.getpid()}\n/var/lib/postgresql/15/main\n")
    return "15-main.pid"


def mastodon_is_active(system, run):
    (run / "systemd" / "system").mkdir(parents=True)
    (system / "units").write_text("mastodon-web.service loaded active running Mastodon\n")
    return "mastodon-web.service"


RUNNING = [sidekiq_runs, redis_runs, postgresql_runs, mastodon_is_active]


@pytest.mark.parametrize("make", RUNNING)
def test_nothing_is_installed_beside_what_runs(system, dependencies, make):
    named = make(system, dependencies.run)
    done = dependencies()
    assert done.returncode == 78 and named in done.stderr and "--here" in done.stderr, done.stderr
    assert asked(system) == ""
    done = dependencies("--here")
    assert done.returncode == 0 and " install " in asked(system), done.stderr


def test_a_machine_where_nothing_runs_gets_what_is_missing(system, dependencies):
    (dependencies.run / "redis" / "redis-server.pid").write_text(f"{GONE}\n")
    done = dependencies()
    assert done.returncode == 0, done.stderr
    assert "apt-get" in asked(system) and "redis-server" in asked(system)


def test_where_nothing_is_missing_it_only_looks(system, dependencies):
    sidekiq_runs(system, dependencies.run)
    (system / "all-installed").touch()
    assert dependencies().returncode == 0 and asked(system) == ""


# ---- the demonstration ----


class Demo:
    """deploy/demo as the foreground of a terminal: a process group of its own."""

    def __init__(self, folder, system, *arguments):
        self.output = os.path.join(folder, "output")
        self.folder = os.path.join(folder, "tmp")
        os.mkdir(self.folder)
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [os.path.join(ROOT, "deploy", "demo"), *arguments], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True,
                env=told(system, TMPDIR=self.folder, FEDPUSH_BINARY=os.path.abspath(BINARY)),
            )

    def says(self):
        with open(self.output, errors="replace") as file:
            return file.read()

    def wait_for(self, condition, what):
        def check():
            assert self.process.poll() is None, self.says()
            return condition()

        return wait_for(check, 300, lambda: f"{what}:\n{self.says()}")

    def descendants(self):
        parents = {int(pid): (_stat(pid) or (0, ""))[0] for pid in os.listdir("/proc") if pid.isdigit()}
        found, left = set(), [self.process.pid]
        while left:
            pid = left.pop()
            found.add(pid)
            left += [child for child, parent in parents.items() if parent == pid and child not in found]
        return found - {self.process.pid}

    def interrupt(self):
        """Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def left(self, processes):
        """Processes, shared memory of theirs, and files that are still there."""
        with open("/proc/sysvipc/shm") as file:
            segments = [line for line in file.readlines()[1:] if int(line.split()[4]) in processes]
        return [pid for pid in processes if alive(pid)] + segments + os.listdir(self.folder)


@pytest.fixture
def demo(system):
    folder = tempfile.mkdtemp(prefix="fedpush-")  # short: sockets live below it
    os.chmod(folder, 0o755)
    started = []

    def start(*arguments):
        started.append(Demo(folder, system, *arguments))
        os.chmod(started[-1].folder, 0o755)
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def test_it_refuses_beside_a_mastodon(system, demo):
    sidekiq_runs(system, None)
    refused = demo("--keep")
    assert refused.process.wait(60) == 78
    assert "not installing" in refused.says() and asked(system) == "" and os.listdir(refused.folder) == []


def test_interrupted_while_it_delivers_it_leaves_nothing(system, demo):
    sidekiq_runs(system, None)  # what --here overrides
    running = demo("--here", "--keep")
    running.wait_for(lambda: "delivered to healthy hosts" in running.says(), "it delivers")
    processes = running.descendants()
    assert len(processes) > 10, processes
    assert " install " in asked(system)
    running.interrupt()
    assert running.process.wait(120) == 130, running.says()
    assert running.left(processes) == [], running.says()


def test_interrupted_at_its_start_and_again_it_leaves_nothing(system, demo):
    (system / "all-installed").touch()
    starting = demo()
    starting.wait_for(lambda: os.listdir(starting.folder) and starting.descendants(), "its first server")
    processes = starting.wait_for(lambda: len(found := starting.descendants()) > 3 and found, "PostgreSQL starts")

    def interrupted():
        if starting.process.poll() is None:
            starting.interrupt()
        return starting.process.returncode is not None

    wait_for(interrupted, 120, "it ends for an impatient one")
    assert starting.process.returncode == 130, starting.says()
    wait_for(lambda: starting.left(processes) == [], 30, lambda: f"nothing is left: {starting.left(processes)}")
