"""`fedpush trace` knows from the log what nobody remembers any more."""

import gzip
import json
import re
import subprocess
import time

import pytest
from jobs import delivery, push, wait_settled
from machine import BINARY, DOMAIN, environment, fedpush
from servers import wait_for

ID = f"https://{DOMAIN}/users/alice/statuses/7"
REMOTE = "/lib/systemd/systemd-journal-remote"


def post(inbox, identity=f"{ID}/activity", number=7):
    job = delivery(number, inbox)
    job["args"][0] = json.dumps({"id": identity, "type": "Create", "object": {"id": ID}})
    return job


def told(done):
    """Inbox -> row, and the logs."""
    assert done.returncode == 0 and done.stderr == "", done.stderr
    found = json.loads(done.stdout)
    return {row["inbox"]: row for row in found["inboxes"]}, found["logs"]


def trace(world, *arguments, activity=ID):
    return told(fedpush(world, "trace", activity, "--json", *arguments))


def line(inbox, outcome="delivered", identity=f"{ID}/activity", at=None, **more):
    """As sched/outcome_log.h has it."""
    fields = {"outcome": outcome, "at_ms": int((at or time.time()) * 1000), "machine": "old:1:x", **more,
              "activity": identity, "inbox": inbox}
    return "level=info role=scheduler msg=delivered " + " ".join(f"{key}={value}" for key, value in fields.items()) + "\n"


@pytest.fixture
def log(tmp_path):
    """Writes a log of these lines; its path."""
    def write(*lines, name="log", opener=open):
        with opener(tmp_path / name, "wt") as file:
            file.write("".join(lines))
        return str(tmp_path / name)

    return write


def test_the_log_outlives_its_machine(world, machines):
    good = [world.fediverse.inbox(f"ok-{i}") for i in range(30)]
    failing, refusing = world.fediverse.inbox("status503-1"), world.fediverse.inbox("status410-1")
    first = machines(FEDPUSH_LOG_DELIVERIES="all")
    push(world.redis, [post(inbox) for inbox in [*good, failing, refusing]])
    wait_settled(world)
    wait_for(lambda: first.log().count(" inbox=") == 32, 30, "all outcomes are in the log")
    assert first.log().count("msg=delivered") < 15, "those of one activity stand together"
    first.kill()
    identity = re.search("machine=(\\S+)", first.log()).group(1)
    rows, _ = trace(world)
    assert [inbox for inbox in rows if inbox != failing] == [], "nobody else knows"

    machines()  # another one remembers nothing of it
    rows, logs = trace(world, "--log", first.log_path)
    assert len(rows) == 32
    for inbox in good:
        row = rows[inbox]
        assert (row["state"], row["status"], row["source"], row["machine"]) == ("delivered", 202, "log", identity)
        assert abs(row["at"] - time.time()) < 300 and row["why"] is None
    assert (rows[refusing]["state"], rows[refusing]["status"], rows[refusing]["source"]) == ("rejected", 410, "log")
    assert (rows[failing]["state"], rows[failing]["source"]) == ("retry", "queue")
    assert (logs[0]["outcomes"], logs[0]["left_out"], logs[0]["cut"], logs[0]["problem"]) == (32, 0, False, None)
    world.redis_client.delete("retry")
    rows, _ = trace(world, "--log", first.log_path)
    assert (rows[failing]["state"], rows[failing]["status"], rows[failing]["source"]) == ("gone", 503, "log")
    assert rows[failing]["why"].startswith("no job of it is left") and "503" in rows[failing]["why"]


def test_what_failed_is_logged_by_default(world, machines):
    machine = machines()
    push(world.redis, [post(world.fediverse.inbox("status503-1")), post(world.fediverse.inbox("ok-1"))])
    wait_settled(world)
    found = wait_for(lambda: re.search('msg="delivery failed" (.*)', machine.log()), 30, "the failed one")
    fields = dict(re.findall("(\\w+)=(\\S+)", found.group(1)))
    assert fields["outcome"] == "retried" and fields["status"] == "503" and fields["attempt"] == "1"
    assert fields["inbox"] == world.fediverse.inbox("status503-1") and fields["activity"] == f"{ID}/activity"
    assert machine.stop() == 0 and "ok-1" not in machine.log()


def test_hosts_are_named_without_a_restart(world, machines, tmp_path):
    def configure(*lines):
        (tmp_path / ".env.production").write_text("".join(line + "\n" for line in lines))

    configure()
    machine = machines(FEDPUSH_MASTODON_DIR=str(tmp_path))
    configure("FEDPUSH_LOG_DELIVERIES=ok-1.fedi.test")
    machine.process.send_signal(1)
    wait_for(lambda: "msg=reloaded" in machine.log(), 30, "reloaded")

    def deliver():
        push(world.redis, [post(world.fediverse.inbox(f"ok-{i}"), f"{ID}#{time.time()}") for i in (1, 2)])
        wait_settled(world)
        return "http://ok-1.fedi.test" in machine.log()

    wait_for(deliver, 60, "the roles have heard of it")
    assert machine.stop() == 0, "which writes what waits"
    assert "msg=delivered" in machine.log() and "ok-2.fedi.test" not in machine.log()


def test_the_latest_statement_counts(world, log):
    now = time.time()
    one, other, third = (f"https://{name}.example/inbox" for name in ("a", "b", "c"))
    world.redis_client.zadd("retry", {json.dumps({"queue": "push", "jid": "0" * 24, "retry": 16, "created_at": now - 90000,
                                                  "retry_count": 0, "error_message": "no answer", **post(other)}): now + 60})
    path = log(
        line(one, at=now - 5000, status=202), line(one, "retried", at=now - 9000, status=503),
        line(other, "retried", at=now - 80000, status=502, attempt=1),
        line(third, "exhausted", at=now - 10, status=0, attempt=17, err='"no \\"answer\\"\\x1b[31m"'),
        line("https://d.example/inbox", identity=f"{ID}1/activity"),
    )
    rows, _ = trace(world, "--log", path)
    assert rows.keys() == {one, other, third}
    assert (rows[one]["state"], rows[one]["status"], rows[one]["source"]) == ("delivered", 202, "log")
    assert (rows[other]["state"], rows[other]["status"], rows[other]["source"]) == ("retry", 502, "queue")
    assert rows[third]["state"] == "exhausted" and rows[third]["why"] == 'failed 17 times: no "answer"?[31m'
    rows, _ = trace(world, "--log", path, "--since", "1h")
    assert rows.keys() == {other, third} and rows[other]["status"] is None
    rows, _ = trace(world, "--log", path, activity=f"https://{DOMAIN}/@alice/7")
    assert rows.keys() == {one, other, third}


def test_each_form_of_a_log_is_read(world, log, tmp_path):
    inboxes = [f"https://{name}.example/inbox" for name in "abcde"]
    header = "Nov 29 10:00:00 web fedpush[12]: "
    noise = "Nov 29 10:00:00 web nginx[3]: " + line("https://forged.example/inbox")
    plain = log(noise, header + line(inboxes[0]), "x" * 600000 + "\n", line(inboxes[1]).rstrip("\n"))
    packed = log(noise * 50000, line(inboxes[2]), name="log.1.gz", opener=gzip.open)
    done = subprocess.run(
        [BINARY, "trace", ID, "--json", "--log", "-", "--log", plain, "--log", packed],
        env=environment(world, str(tmp_path / "run")), input="<6>" + line(inboxes[3]), capture_output=True,
        text=True, timeout=120,
    )
    rows, logs = told(done)
    assert sorted(rows) == inboxes[:4]
    assert [entry["name"] for entry in logs] == ["-", plain, packed] and logs[2]["lines"] == 50001

    with open(packed, "rb") as file:
        whole = file.read()
    with open(packed, "wb") as file:
        file.write(whole[: len(whole) // 2])
    rows, logs = trace(world, "--log", packed, "--log", plain)
    assert inboxes[0] in rows and "couldn't be read to its end" in logs[0]["problem"] and logs[0]["lines"] > 0


def journal(path, *entries):
    """Of (text, seconds ago, more fields)."""
    text = ""
    for message, seconds_ago, fields in entries:
        at = int((time.time() - seconds_ago) * 1e6)
        every = {"__REALTIME_TIMESTAMP": at, "__MONOTONIC_TIMESTAMP": at % 10**9, "_BOOT_ID": "1" * 32, "MESSAGE": message}
        text += "".join(f"{key}={value}\n" for key, value in {**every, **fields}.items()) + "\n"
    subprocess.run([REMOTE, "-o", str(path), "-"], input=text, text=True, check=True, capture_output=True, timeout=60)
    return str(path)


OURS = {"SYSLOG_IDENTIFIER": "fedpush"}


def test_systemds_journal_is_read(world, tmp_path):
    inbox = "https://a.example/inbox"
    path = journal(
        tmp_path / "system.journal",
        (line(inbox, "retried", at=time.time() - 8000, status=503).strip(), 8000, {"_SYSTEMD_UNIT": "fedpush.service"}),
        (line(inbox, at=time.time() - 6000, status=202).strip(), 6000, OURS),
        (line("https://b.example/inbox").strip(), 4000, {"SYSLOG_IDENTIFIER": "nginx"}),
        ('level=warn role=scheduler msg="log lines suppressed" lines=3', 2000, OURS),
        ('level=info role=scheduler msg="deliveries not logged" deliveries=4', 10, OURS),
    )
    rows, logs = trace(world, "--log", path)
    assert rows.keys() == {inbox} and rows[inbox]["state"] == "delivered" and rows[inbox]["status"] == 202
    assert (logs[0]["lines"], logs[0]["outcomes"], logs[0]["left_out"], logs[0]["problem"]) == (4, 2, 7, None)
    assert trace(world, "--log", path, "--since", "1000s")[1][0]["lines"] == 1


def trace_beside(world, tmp_path, prepare, *arguments):
    """Where no other journal can be seen than what `prepare`, a command of the shell, makes."""
    hidden = f"mount -t tmpfs none /var/log && mount -t tmpfs none /run && {prepare} && exec \"$@\""
    command = ["unshare", "--mount", "sh", "-c", hidden, "sh", BINARY, "trace", *arguments]
    done = subprocess.run(command, env=environment(world, str(tmp_path / "run")), capture_output=True, text=True, timeout=120)
    if done.returncode != 0 and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip(done.stderr)
    return done


def test_the_journal_of_this_machine_is_read_since_the_post_was_made(world, tmp_path):
    born = time.time() - 7200
    identity = f"https://{DOMAIN}/users/alice/statuses/{int(born * 1000) << 16}"
    about = [("https://a.example/inbox", 9000), ("https://b.example/inbox", 7000), ("https://c.example/inbox", 60)]
    path = journal(tmp_path / "one.journal", *[(line(inbox, identity=identity, at=time.time() - ago).strip(), ago, OURS)
                                       for inbox, ago in about])
    prepare = f"mkdir -p /var/log/journal/{'1' * 32} && cp {path} /var/log/journal/{'1' * 32}/system.journal"
    rows, logs = told(trace_beside(world, tmp_path, prepare, identity, "--json"))
    assert rows.keys() == {inbox for inbox, _ in about[1:]}
    assert logs == [{"name": "journal", "lines": 2, "outcomes": 2, "left_out": 0, "cut": False, "problem": None}]
    rows, _ = told(trace_beside(world, tmp_path, prepare, identity, "--json", "--since", "4h"))
    assert rows.keys() == {inbox for inbox, _ in about}
    done = trace_beside(world, tmp_path, prepare, identity, "--since", "10s")
    assert "log journal: nothing of fedpush is in it since then: look further back with --since" in done.stdout


def test_without_a_journal_one_line_says_so(world, tmp_path):
    done = trace_beside(world, tmp_path, "true", ID)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    nobody, problem = done.stdout.splitlines()
    assert nobody.startswith("nobody knows of it")
    assert problem.startswith("log journal: no journal can be read here: run it as root") and "--log FILE" in problem


def test_people_see_where_it_is_known_from(world, log):
    push(world.redis, [post("https://a.example/inbox")])
    path = log(line("https://b.example/inbox", status=202), 'level=warn role=worker msg="log lines suppressed" lines=3\n')
    done = fedpush(world, "trace", ID, "--log", path)
    head, *rows, told_of = done.stdout.splitlines()[1:]
    assert head.split() == ["STATE", "INBOX", "STATUS", "AGO", "DUE", "IN", "BY", "WHY"]
    assert [row.split()[0] for row in rows] == ["waiting", "delivered"]
    assert " queue " in rows[0] and rows[1].endswith(" log")
    assert told_of == (
        f"log {path}: 2 lines; deliveries of it: 1; others that it left out, since they came too fast: 3")


@pytest.mark.parametrize("arguments, said", [
    (["--log", "/nowhere/log"], "trace: /nowhere/log: No such file or directory"),
    (["--log", "/nowhere/system.journal"], "trace: /nowhere/system.journal: No such file or directory"),
    (["--log", "/tmp"], "trace: /tmp is a directory: name its files"),
    (["--log"], 'trace: "--log"'),
    (["--since", "soon"], 'trace: "--since"'),
])
def test_what_cannot_be_read_is_named(world, arguments, said):
    done = fedpush(world, "trace", ID, *arguments)
    assert done.returncode == 64 and done.stdout == "" and said in done.stderr, done.stderr
