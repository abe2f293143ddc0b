"""Servers once a run, emptied before each test; machines that end with their test."""

import os
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from machine import BINARY, Machine, fedpush  # noqa: E402
from servers import PgBouncer, WebUi  # noqa: E402
from world import World  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than ten seconds")


TABLES = pytest.StashKey()


@pytest.fixture
def record_tables(request):
    """Called with tables and a path: they are written there, and printed when the run ends."""

    def record(tables, path):
        text = "\n".join(str(table) for table in tables)
        with open(path, "w") as file:
            file.write(text)
        request.config.stash[TABLES] = text

    return record


def pytest_terminal_summary(terminalreporter, config):
    terminalreporter.write(config.stash.get(TABLES, ""))


@pytest.fixture(scope="session")
def folder():
    path = tempfile.mkdtemp(prefix="fedpush-test-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_world(folder):
    assert os.access(BINARY, os.X_OK), f"no program at {BINARY}: cmake --build --preset asan"
    world = World(folder)
    yield world
    world.stop()


@pytest.fixture
def world(shared_world):
    shared_world.reset()
    return shared_world


@pytest.fixture
def pgbouncer(shared_world):
    server = PgBouncer(os.path.join(shared_world.folder, "pgbouncer"), shared_world.postgres)
    yield server
    server.stop()


@pytest.fixture
def machines(world, tmp_path):
    """Starts machines; each is drained when its test is over, and its log is looked through."""
    made = []

    def start(ready=True, setup=True, descriptors=None, **settings):
        if setup and not made:
            done = fedpush(world, "setup", **settings)
            assert done.returncode == 0, done.stderr
        machine = Machine(world, str(tmp_path / f"machine{len(made)}"), descriptors, **settings)
        made.append(machine)
        return machine.start(ready)

    yield start
    try:
        for machine in made:
            if machine.process is not None:
                machine.stop()
            machine.check_log()
    finally:  # whatever is wrong with one, none disturbs the tests that follow
        for machine in made:
            if machine.process is not None:
                machine.kill()


@pytest.fixture
def machine(machines):
    return machines()


@pytest.fixture
def web(world, tmp_path):
    """Sidekiq's Web UI; called with a path, it answers with the page."""
    server = WebUi(str(tmp_path / "web"), world.redis.url)
    yield server
    server.stop()
