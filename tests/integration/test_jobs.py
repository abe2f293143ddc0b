"""`fedpush jobs`: what is in queues, retry, schedule and dead, by class and host."""

import json
import os
import pty
import re
import subprocess
import tempfile

from jobs import delivery, push
from machine import BINARY, environment, fedpush


def fill(world):
    client = world.redis_client
    push(world.redis, [delivery(i, f"https://a{i % 2}.example/inbox") for i in range(6)])
    push(world.redis, [{"class": "Other\x1bWorker", "args": [1]}])
    job = client.lindex("queue:push", -1)
    client.zadd("retry", {job: 2e9, job + b" ": 2e9})
    client.zadd("dead", {job: 1e9})
    client.zadd("fedpush:identities", {"gone:1:abcdefabcdef": 1})
    client.hset("fedpush:claimed:gone:1:abcdefabcdef", mapping={"seq": 1, "1": b"q\n" + job})


def jobs(world, *arguments):
    done = fedpush(world, "jobs", *arguments)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


def table(text):
    return {line[:40].strip(): [int(number) for number in line[40:].split()]
            for line in text.splitlines() if re.search(r"\d$", line)}


def test_jobs_by_class_and_host(world):
    fill(world)
    text = jobs(world)
    found = table(text)  # PUSH PULL HELD RETRY SCHEDULE DEAD
    assert found["all jobs"] == [7, 0, 1, 2, 0, 1]
    assert found["ActivityPub::DeliveryWorker"] == [6, 0, 1, 2, 0, 1]
    assert found["Other?Worker"] == [1, 0, 0, 0, 0, 0] and "\x1b" not in text
    assert found["a0.example"] == [3, 0, 1, 2, 0, 1] and found["a1.example"] == [3, 0, 0, 0, 0, 0]
    figures = json.loads(jobs(world, "--json"))
    assert figures["places"]["retry"]["total"] == 2 and not figures["cut"]


def test_of_one_domain_and_class(world):
    fill(world)
    found = table(jobs(world, "--domain", "A1.example"))
    assert found["that are meant"] == [3, 0, 0, 0, 0, 0] and "a0.example" not in found
    assert table(jobs(world, "--domain", "example"))["that are meant"] == [6, 0, 1, 2, 0, 1]
    found = table(jobs(world, "--class", "DeliveryWorker", "--domain", "a0.example"))
    assert found["that are meant"] == found["ActivityPub::DeliveryWorker"] == [3, 0, 1, 2, 0, 1]
    assert table(jobs(world, "--class", "yWorker"))["that are meant"] == [0] * 6


def test_a_terminal_gets_a_bar(world):
    fill(world)
    master, slave = pty.openpty()
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([BINARY, "jobs"], env=environment(world, folder), stdout=subprocess.PIPE, stderr=slave,
                              timeout=60)
    os.close(slave)
    shown = os.read(master, 65536)
    os.close(master)
    assert done.returncode == 0 and b"all jobs" in done.stdout
    assert b"%" in shown and shown.endswith(b"\r\x1b[K")
