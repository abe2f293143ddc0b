"""The admin process: its server, and who gets in."""

import json
import signal
import socket
import urllib.error
import urllib.request

import pytest
from jobs import delivery, push, wait_settled
from servers import free_port, wait_for


class Page:
    """A client of one machine's page."""

    def __init__(self, port):
        self.port = port

    def ask(self, path, method="GET", body=None, **fields):
        """(status, header fields, body)"""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method, data=body)
        for name, value in fields.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def answers(self):
        try:
            return self.ask("/healthz")[0] == 200
        except OSError:
            return False

    def raw(self, sent, seconds=30):
        """All that comes back for these bytes until the other side closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as client:
            client.sendall(sent)
            received = b""
            while True:
                try:
                    data = client.recv(65536)
                except ConnectionResetError:
                    return received
                if not data:
                    return received
                received += data


@pytest.fixture
def pages(machines):
    """Starts machines with a page."""

    def make(**settings):
        port = free_port()
        machine = machines(FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{port}", **settings)
        page = Page(port)
        wait_for(page.answers, 30, "the page answers")
        return machine, page

    return make


def test_it_serves_pages_and_health(pages):
    machine, page = pages()
    status, fields, body = page.ask("/")
    assert status == 200 and fields["Content-Type"] == "text/html; charset=utf-8" and b"fedpush" in body
    assert "default-src 'none'" in fields["Content-Security-Policy"] and "unsafe" not in str(fields)
    assert page.ask("/", If_None_Match=fields["ETag"])[0] == 304
    status, heads, body = page.ask("/", method="HEAD")
    assert status == 200 and body == b"" and heads["Content-Length"] == fields["Content-Length"]
    wait_for(lambda: page.ask("/readyz")[0] == 200, 30, "the machine is ready")
    assert page.ask("/nothing")[0] == 404
    status, fields, body = page.ask("/api/v1/nothing")
    assert status == 404 and fields["Content-Type"] == "application/problem+json"
    assert json.loads(body)["status"] == 404 and fields["Cache-Control"] == "no-store"
    assert machine.roles("admin")


def test_its_death_and_a_taken_address_touch_no_delivery(pages, machines, world):
    machine, page = pages()
    others = [machine.roles(role) for role in ("scheduler", "signer", "worker")]
    admin, = machine.signal("admin", signal.SIGKILL)
    wait_for(lambda: machine.roles("admin") not in ([], [admin]) and page.answers(), 30, "it is replaced")
    assert [machine.roles(role) for role in ("scheduler", "signer", "worker")] == others
    second = machines(FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{page.port}", FEDPUSH_WORKERS=1)
    wait_for(lambda: "the page has no address" in second.log(), 30, "it says so")
    push(world.redis, [delivery(1, world.fediverse.inbox("ok-1"))])
    wait_settled(world)
    machine.stop()
    wait_for(page.answers, 30, "the second one has the address")
    assert second.roles("admin")


def test_the_page_answers_until_the_end(pages, world):
    machine, page = pages(FEDPUSH_DRAIN_SECONDS="3")
    push(world.redis, [delivery(1, world.fediverse.inbox("hole-1"))])
    identity = machine.identity()
    wait_for(lambda: world.redis_client.hlen(f"fedpush:claimed:{identity}") > 1, 30, "it is under way")
    machine.process.terminate()
    wait_for(lambda: "is=draining" in machine.log(), 30, "it drains")
    assert page.answers() and machine.roles("scheduler")
    assert machine.process.wait(60) == 0
    assert not page.answers()


def test_a_unix_socket_and_no_page_at_all(machines, tmp_path):
    path = tmp_path / "admin.sock"
    machine = machines(FEDPUSH_ADMIN_LISTEN=f"unix:{path}", FEDPUSH_WORKERS=1)
    wait_for(path.exists, 30, "the socket")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    machine.stop()
    assert not path.exists()
    without = machines(FEDPUSH_WORKERS=1)
    assert not without.roles("admin")
