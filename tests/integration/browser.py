"""A real browser, Chromium without a screen, over the pipe of its DevTools protocol."""

import fcntl
import json
import os
import select
import time

from servers import Server, wait_for

PROGRAM = "chromium-headless-shell"


def _high(fd):
    """The same file behind a number that no child expects anything of."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(fd)
    return moved


class Browser(Server):
    """One tab. `goto` and `click` return when the page that follows has loaded."""

    def __init__(self, folder):
        super().__init__(folder)
        self.number = 0
        self.buffer = b""
        self.events = []
        self.session = None
        (theirs_in, self.out), (self.back, theirs_out) = ([_high(fd) for fd in os.pipe()] for _ in range(2))

        def connect():  # it reads 3 and writes 4
            os.dup2(theirs_in, 3)
            os.dup2(theirs_out, 4)

        self.spawn([PROGRAM, "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
                    f"--user-data-dir={folder}/profile", "about:blank"], connect=connect, pass_fds=(3, 4))
        os.close(theirs_in)
        os.close(theirs_out)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def stop(self, *how):
        super().stop(*how)
        os.close(self.out)
        os.close(self.back)

    def _receive(self, seconds):
        deadline = time.monotonic() + seconds
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.back], [], [], left)[0], f"no word of the browser:\n{self.log()}"
            bytes_read = os.read(self.back, 1 << 20)
            assert bytes_read, f"the browser ended:\n{self.log()}"
            self.buffer += bytes_read
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive(60)
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer.get("method"))

    def _await_load(self):
        while "Page.loadEventFired" not in self.events:
            self.events.append(self._receive(60).get("method"))

    def goto(self, url):
        self.events.clear()
        assert "errorText" not in self.call("Page.navigate", url=url), url
        self._await_load()

    def evaluate(self, expression):
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, (expression, found["exceptionDetails"])
        return found["result"].get("value")

    def click(self, expression):
        """Presses what the JavaScript expression names."""
        self.events.clear()
        self.evaluate(f"({expression}).click()")
        self._await_load()

    def text(self):
        return self.evaluate("document.body.innerText")

    def rows(self, table):
        """What stands in each row of a table's body, cell by cell."""
        return self.evaluate(
            f"[...document.querySelectorAll('{table} tr')].map(row => "
            "[...row.querySelectorAll('td')].map(cell => cell.innerText.trim())).filter(row => row.length)")

    def wait_for_rows(self, url, table, wanted, seconds=60):
        """Reloads the page until `wanted` is true of its rows; returns them."""
        found = []

        def look():
            self.goto(url)
            found[:] = self.rows(table)
            return wanted(found)

        wait_for(look, seconds, lambda: f"{url} shows it: {found}", every=0.5)
        return found
