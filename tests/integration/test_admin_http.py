"""The admin process: its server's bounds, and how it lives and dies."""

import signal
import socket
import threading
import time

import pytest
from admin_page import Page
from jobs import delivery, push, wait_settled
from servers import free_port, wait_for


@pytest.fixture
def pages(machines):
    """Starts machines with a page."""

    def make(**settings):
        port = free_port()
        machine = machines(FEDPUSH_ADMIN_LISTEN=f"127.0.0.1:{port}", **{"FEDPUSH_WORKERS": 1, **settings})
        page = Page(port)
        wait_for(page.answers, 30, "the page answers")
        return machine, page

    return make


def test_it_serves_pages_and_health(pages):
    machine, page = pages()
    answer = page.ask("/")
    assert answer.status == 200 and answer.fields["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in answer.fields["Content-Security-Policy"] and "unsafe" not in str(answer.fields)
    assert answer.fields["X-Content-Type-Options"] == "nosniff" and answer.fields["Referrer-Policy"] == "no-referrer"
    assert page.ask("/", If_None_Match=answer.fields["ETag"]).status == 304
    head = page.ask("/", "HEAD")
    assert head.status == 200 and head.body == b"" and head.fields["Content-Length"] == answer.fields["Content-Length"]
    wait_for(lambda: page.ask("/readyz").status == 200, 30, "the machine is ready")
    assert page.ask("/nothing").status == 404
    answer = page.ask("/api/v1/nothing")
    assert answer.status == 404 and answer.fields["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == 404 and answer.fields["Cache-Control"] == "no-store"
    assert page.ask("/healthz", "POST", {}).status == 405
    assert machine.roles("admin")


def head(*lines):
    return "\r\n".join([*lines, "", ""]).encode()


HOST = "Host: localhost"


class Drip(threading.Thread):
    """A request that comes a byte at a time, after what comes at once."""

    def __init__(self, port, at_once):
        super().__init__(daemon=True)
        self.port, self.at_once = port, at_once
        self.received, self.seconds = b"", None
        self.start()

    def run(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as slow:
            started = time.monotonic()
            slow.sendall(self.at_once)
            slow.settimeout(0.5)
            while not self.received:
                slow.sendall(b"X")
                try:
                    self.received = slow.recv(100)
                except TimeoutError:
                    pass
            self.seconds = time.monotonic() - started


def local_ports(page):
    """Of connections that the admin process holds, by the port at the other end."""
    held = {}
    with open("/proc/net/tcp") as file:
        for line in file.readlines()[1:]:
            fields = line.split()
            if int(fields[1].split(":")[1], 16) == page.port:
                held[int(fields[2].split(":")[1], 16)] = fields[9] != "0"  # an inode: it isn't closed
    return {port for port, is_held in held.items() if is_held}


class Deaf:
    """A client that asks much and reads nothing."""

    def __init__(self, page):
        self.page = page
        self.client = socket.socket()
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.client.settimeout(60)
        self.client.connect(("127.0.0.1", page.port))
        self.client.setblocking(False)
        self.started = time.monotonic()
        request = head("GET /uPlot.esm.js HTTP/1.1", f"Host: localhost:{page.port}")
        self.client.sendall(request * 100)
        wait_for(self.is_held, 30, "it is accepted")

    def is_held(self):
        return self.client.getsockname()[1] in local_ports(self.page)

    def await_end(self):
        wait_for(lambda: not self.is_held(), 60, "who reads nothing is let go")
        assert time.monotonic() - self.started > 25
        self.client.close()


def check_paths(page):
    for path in ("/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/a/%2E./b", "/%5c..%5cetc", "/%00", "/%zz", "/a%0d%0ab",
                 "/api/v1/../../etc/passwd", "index.html", "http://localhost/"):
        assert page.raw(head(f"GET {path} HTTP/1.1", HOST, "Connection: close")).startswith(b"HTTP/1.1 400 "), path


def check_heads(page):
    wrong = {
        head("GET / HTTP/1.1", HOST, f"X: {'x' * 20000}"): 431,
        head("GET / HTTP/1.1", HOST, *[f"X{i}: x" for i in range(200)]): 431,
        head("POST /api/v1/login HTTP/1.1", HOST, "Content-Length: 70000"): 413,
        head("POST /api/v1/login HTTP/1.1", HOST, "Transfer-Encoding: chunked"): 501,
        head("POST / HTTP/1.1", HOST, "Content-Length: 1", "Content-Length: 2"): 400,
        head("POST / HTTP/1.1", HOST, "Content-Length: -1"): 400,
        head("GET / HTTP/1.1", HOST, "Host: other"): 400,
        head("GET / HTTP/1.1", HOST, " folded: x"): 400,
        head("GET / HTTP/1.1", HOST, "Name : x"): 400,
        head("GET / HTTP/1.1", "Host: a\nX: y"): 400,
        head("GET / HTTP/2.0", HOST): 505,
        head("nonsense"): 400,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n": 400,
    }
    for request, status in wrong.items():
        received = page.raw(request)
        assert received.startswith(f"HTTP/1.1 {status} ".encode()), (request[:80], received[:80])
        assert b"Content-Security-Policy" in received and b"application/problem+json" in received
    both = page.raw(head("GET /healthz HTTP/1.1", HOST) +
                    head("GET /nothing HTTP/1.1", f"Host: localhost:{page.port}", "Connection: close"))
    assert both.startswith(b"HTTP/1.1 200 ") and both.count(b"HTTP/1.1 404 ") == 1  # one after another


def check_streams(page):
    request = head("GET /api/v1/events HTTP/1.1", f"Host: localhost:{page.port}")

    def stream():
        client = socket.create_connection(("127.0.0.1", page.port), timeout=60)
        client.sendall(request)
        if client.recv(100).startswith(b"HTTP/1.1 200 "):
            streams.append(client)
            return True
        client.close()
        return False

    streams = []
    assert all(stream() for _ in range(32)) and not stream()
    streams.pop().close()
    wait_for(stream, 30, "there is room again")
    for client in streams:
        client.close()


def gone(client):
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def check_crowd(page):
    """One address may have 192 connections on loopback; others still get theirs."""
    crowd = []
    for _ in range(1000):
        client = socket.create_connection(("127.0.0.1", page.port), timeout=60, source_address=("127.0.0.2", 0))
        client.setblocking(False)
        crowd.append(client)
    closed = set()

    def refused():
        closed.update(client for client in crowd if client not in closed and gone(client))
        return len(closed) >= 1000 - 192

    wait_for(refused, 30, "all but 192 are refused")
    assert page.answers() and not refused_more(closed, crowd)
    for client in crowd:
        client.close()


def refused_more(closed, crowd):
    return [client for client in crowd if client not in closed and gone(client)]


def test_wrong_huge_slow_and_many_requests_do_no_harm(pages):
    machine, page = pages()
    admin = machine.roles("admin")
    drips = [Drip(page.port, b"GET / HTTP/1.1\r\n"), Drip(page.port, head(
        "POST /api/v1/login HTTP/1.1", f"Host: localhost:{page.port}", "Content-Type: application/json", "Content-Length: 5000"))]
    deaf = Deaf(page)
    check_paths(page)
    check_heads(page)
    check_streams(page)
    check_crowd(page)
    for drip in drips:
        drip.join(60)
        assert drip.received.startswith(b"HTTP/1.1 408 ") and drip.seconds > 9
    deaf.await_end()
    assert machine.roles("admin") == admin and page.answers()


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
        client.sendall(head("GET /api/v1/me HTTP/1.1", HOST, "Connection: close"))
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    machine.stop()
    assert not path.exists()
    without = machines(FEDPUSH_WORKERS=1)
    assert not without.roles("admin")
