"""One machine's fedpush: the supervisor and its roles, as `fedpush run` starts them."""

import os
import re
import signal
import subprocess
import tempfile

from servers import HERE, _die_with_parent, wait_for

BINARY = os.environ.get("FEDPUSH_BINARY", os.path.join(HERE, "..", "..", "build", "asan", "fedpush"))
DOMAIN = "social.fedi.test"
READY = re.compile(r"\bevent=state\b.*\bis=running\b|\bstate\b.*\bis=running\b")
BROKEN = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|Assertion .* failed")


def environment(world, runtime_dir, **settings):
    """What a machine is told; `settings` add to it, None takes a variable out."""
    user = "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody")
    told = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "REDIS_URL": world.redis.url,
        "DATABASE_URL": world.postgres.url(world.database),
        "LOCAL_DOMAIN": DOMAIN,
        "ALLOWED_PRIVATE_ADDRESSES": "127.0.0.0/8",
        "FEDPUSH_MASTODON_VERSION": world.version,
        "FEDPUSH_RESOLVERS": world.names.resolver,
        "FEDPUSH_CA_FILE": world.certificate.ca,
        "FEDPUSH_USER": user,
        "FEDPUSH_RUNTIME_DIR": runtime_dir,
        "FEDPUSH_WORKERS": "2",
        "FEDPUSH_SIGNING_THREADS": "1",
        "FEDPUSH_DRAIN_SECONDS": "5",
        "FEDPUSH_LOG_LEVEL": "info",
        "FEDPUSH_ADMIN_LISTEN": "",  # tests may run side by side
    }
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
        if name in os.environ:
            told[name] = os.environ[name]
    told.update(settings)
    return {name: str(value) for name, value in told.items() if value is not None}


def fedpush(world, *arguments, runtime_dir=None, timeout=120, **settings):
    """Runs one command to its end; the result has returncode, stdout, stderr."""
    with tempfile.TemporaryDirectory(prefix="fedpush-") as fresh:
        return subprocess.run(
            [BINARY, *arguments], env=environment(world, runtime_dir or fresh, **settings),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
        )


def _stat(pid):
    """Parent and state of a process, or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            state, parent = file.read().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(parent), state


def alive(pid):
    found = _stat(pid)
    return found is not None and found[1] not in "ZX"


def title(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")[0].decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Machine:
    def __init__(self, world, folder, descriptors=None, **settings):
        """`descriptors`: how many each of its processes may have."""
        self.command = [BINARY, "run"]
        if descriptors is not None:
            self.command = ["prlimit", f"--nofile={descriptors}", *self.command]
        self.world = world
        self.folder = folder
        self.settings = settings
        self.runtime_dir = os.path.join(folder, "run")
        os.makedirs(self.runtime_dir, mode=0o700, exist_ok=True)
        self.log_path = os.path.join(folder, "log")
        self.process = None

    def start(self, ready=True):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command, env=environment(self.world, self.runtime_dir, **self.settings),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=60):
        """Until it is registered and each role has become what it is."""
        workers = int(environment(self.world, self.runtime_dir, **self.settings)["FEDPUSH_WORKERS"])

        def check():
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log()}"
            found = [len(self.roles(role)) for role in ("scheduler", "signer", "worker")]
            return found == [1, 1, workers] and self.identity()

        wait_for(check, seconds, lambda: f"machine is running:\n{self.log()[-4000:]}")

    def identity(self):
        """Its registered identity: its own processes' prefix is `host:pid:`."""
        marker = f":{self.process.pid}:"
        space = self.settings.get("REDIS_NAMESPACE")
        key = f"{space}:fedpush:identities" if space else "fedpush:identities"
        for name in self.world.redis_client.zrange(key, 0, -1):
            if marker in name.decode():
                return name.decode()
        return None

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def children(self):
        pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
        return [pid for pid in pids if (_stat(pid) or (0, ""))[0] == self.process.pid and alive(pid)]

    def roles(self, role):
        """pids of `scheduler`, `signer`, `worker`, as `ps` names them."""
        named = {pid: title(pid) for pid in self.children()}
        return sorted(pid for pid, name in named.items() if re.fullmatch(f"fedpush: {role}( \\d+)?", name))

    def signal(self, role, number):
        pids = self.roles(role)
        assert pids, f"no {role} runs:\n{self.log()[-2000:]}"
        for pid in pids:
            os.kill(pid, number)
        return pids

    def pause(self):
        """Stops every process of it, as a stalled machine does."""
        self.stopped = [self.process.pid] + self.children()
        for pid in self.stopped:
            os.kill(pid, signal.SIGSTOP)

    def resume(self):
        for pid in reversed(self.stopped):
            if alive(pid):
                os.kill(pid, signal.SIGCONT)

    def fence(self):
        """As if others had recovered it while it stood still. Returns the identity that it had."""
        former = self.identity()
        self.world.redis_client.zrem("fedpush:identities", former)
        wait_for(self.identity, 30, lambda: f"it has another identity:\n{self.log()[-2000:]}")
        return former

    def stop(self, seconds=60):
        """Drains it; returns the exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(seconds)
        self.process = None
        self.check_log()
        return code

    def kill(self):
        """The whole machine, at once."""
        children = self.children()
        self.process.kill()
        self.process.wait()
        wait_for(lambda: not any(alive(pid) for pid in children), 30, "the roles died with their supervisor")
        self.process = None

    def check_log(self):
        found = BROKEN.search(self.log())
        assert found is None, self.log()[max(0, found.start() - 500) : found.start() + 6000]
