"""`fedpush top`: live in a terminal, which it gives back as it was however it ends."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from jobs import delivery, push, wait_settled
from machine import BINARY, environment, fedpush
from servers import free_port, wait_for

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"


class Top:
    """The program at a terminal of its own."""

    def __init__(self, world, runtime_dir, rows=30, columns=110, **settings):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.written, self.mark = b"", 0
        told = {**environment(world, runtime_dir, **settings), "TERM": "xterm"}
        self.process = subprocess.Popen([BINARY, "top"], env=told, stdin=self.slave, stdout=self.slave,
                                        stderr=self.slave, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys):
        os.write(self.master, keys)

    def read(self):
        while select.select([self.master], [], [], 0.05)[0]:
            self.written += os.read(self.master, 65536)
        return self.written

    def screen(self):
        """The lines that stand there now: each was put at its place."""
        lines = {}
        for row, text in re.findall(rb"\x1b\[(\d+);1H\x1b\[(?:2K|J)([^\x1b]*(?:\x1b\[\d*m[^\x1b]*)*)", self.read()[self.mark :]):
            lines[int(row)] = re.sub(rb"\x1b\[\d*m", b"", text).decode()
        return [lines[row] for row in sorted(lines)]

    def forget(self):
        """What was drawn so far no longer stands there."""
        self.mark = len(self.read())

    def shows(self, text, seconds=30):
        wait_for(lambda: any(text in line for line in self.screen()), seconds,
                 lambda: f"{text!r} in:\n" + "\n".join(self.screen()))

    def end(self, seconds=30):
        code = self.process.wait(seconds)
        self.read()
        return code

    def given_back(self):
        return (self.written.endswith(LEAVE) and termios.tcgetattr(self.slave) == self.before
                and self.written.count(ENTER) == self.written.count(LEAVE))

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def top(world, tmp_path):
    made = []

    def start(**settings):
        made.append(Top(world, str(tmp_path), **settings))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_it_is_live_and_follows_keys_and_sizes(machine, world, top):
    push(world.redis, [delivery(i, world.fediverse.inbox("ok-1")) for i in range(3)]
         + [delivery(9, world.fediverse.inbox("status503-1"))])
    wait_settled(world)
    shown = top()
    shown.shows("fedpush 0.")
    shown.shows("ok-1.fedi.test")
    shown.shows("push        0 wait")
    assert ENTER in shown.written and b"\x1b[3" in shown.written  # colours
    push(world.redis, [delivery(10, world.fediverse.inbox("ok-2"))])
    shown.shows("ok-2.fedi.test")
    shown.press(b"/503")
    shown.shows("/503_")
    shown.press(b"\r")
    shown.shows("/ filter: 503")
    wait_for(lambda: not any("ok-1" in line for line in shown.screen()), 30, "only hosts that have it in their name")
    shown.press(b"/\x1b")
    shown.shows("ok-1.fedi.test")
    shown.press(b"s")
    shown.shows("order: by deliveries")
    shown.press(b"p")
    shown.shows("[held: p goes on]")
    shown.forget()
    shown.resize(10, 40)
    wait_for(lambda: len(shown.screen()) >= 5, 30, "drawn again")
    wait_for(lambda: max(map(len, shown.screen())) <= 40 and len(shown.screen()) <= 10, 30, "drawn for the new size")
    shown.press(b"q")
    assert shown.end() == 0 and shown.given_back()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGABRT])
def test_a_signal_gives_the_terminal_back(world, top, number):
    assert fedpush(world, "setup").returncode == 0
    shown = top(NO_COLOR="1")
    shown.shows("q quit")
    if number == signal.SIGINT:
        shown.press(b"\x03")
    else:
        shown.process.send_signal(number)
    assert shown.end() == -number and shown.given_back()
    assert not re.search(rb"\x1b\[3\dm", shown.written)


def test_it_can_be_put_aside(world, top):
    assert fedpush(world, "setup").returncode == 0
    shown = top()
    shown.shows("q quit")
    shown.process.send_signal(signal.SIGTSTP)
    wait_for(lambda: os.waitid(os.P_PID, shown.process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT), 30, "it stands still")
    shown.read()
    assert shown.given_back()
    shown.forget()
    shown.process.send_signal(signal.SIGCONT)
    shown.shows("q quit")
    shown.press(b"q")
    assert shown.end() == 0 and shown.given_back() and shown.written.count(ENTER) == 2


def test_servers_that_are_away_hold_up_nobody(world, top):
    shown = top(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    shown.shows("Redis (sidekiq")
    shown.press(b"q")
    begun = time.monotonic()
    assert shown.end() == 0 and time.monotonic() - begun < 5 and shown.given_back()


def test_without_a_terminal_it_is_one_screen(machine, world):
    push(world.redis, [delivery(1, world.fediverse.inbox("ok-1"))])
    wait_settled(world)

    def printed():
        done = fedpush(world, "top")
        assert done.returncode == 0 and done.stderr == "" and "\x1b" not in done.stdout, done.stderr
        return "machine     " in done.stdout and "ok-1.fedi.test" in done.stdout

    wait_for(printed, 30, "the host is in the statistics")
    told = json.loads(fedpush(world, "top", "--json").stdout)
    assert told["overview"]["machines"] and told["busiest"]["items"][0]["delivered"] == 1 and told["worst"]["items"]
    done = fedpush(world, "top", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert done.returncode == 69 and done.stdout == "" and "Redis" in done.stderr
