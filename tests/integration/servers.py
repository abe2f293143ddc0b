"""Private servers on loopback: Redis, PostgreSQL, PgBouncer, the name server, the simulated
fediverse. Each keeps its files in a folder of its own and dies with the process that started it."""

import contextlib
import ctypes
import glob
import json
import os
import pwd
import random
import signal
import socket
import subprocess
import time
import urllib.request

import psycopg2
import redis

HERE = os.path.dirname(os.path.abspath(__file__))
FEDIVERSE = os.path.join(HERE, "..", "fediverse")
MODULES = os.path.join(HERE, "..", "node_modules")
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Ports:
    """Ports on loopback that are this process's until it ends. A name in the abstract namespace of Unix
    sockets keeps each from the tests that run beside it, and below the ephemeral range no connection
    takes it, also while its server is stopped."""

    def __init__(self):
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            ephemeral = int(file.read().split()[0])
        self.range = range(10000, ephemeral) if ephemeral > 12000 else range(10000, 65536)
        self.names = []

    def take(self):
        while True:
            port = random.choice(self.range)
            name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                name.bind(f"\0fedpush-test-port-{port}")
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    with socket.socket(socket.AF_INET, kind) as probe:
                        probe.bind(("", port))  # at any address
            except OSError:
                name.close()
                continue
            self.names.append(name)
            return port


_ports = Ports()


def free_port():
    """A port that nobody uses, nor will use while this process lives."""
    return _ports.take()


def wait_for(condition, seconds=30, what="condition", every=0.05):
    """The first true value of condition(); it fails the test when none comes in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(every)


def node():
    """Node 22 out of tests/node_modules: Fedify finds every signature wrong on an older one."""
    found = glob.glob(os.path.join(MODULES, "node-linux-*", "bin", "node"))
    assert found, "no tests/node_modules: run deploy/dependencies"
    return found[0]


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def unprivileged():
    """A command prefix for programs that refuse to run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=KILL"]


def give_away(folder):
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)


class Server:
    """A child process with its log in a file."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.process = None

    def spawn(self, command, connect=None, **options):
        """`connect` runs in the child, before the program."""
        log = open(os.path.join(self.folder, "log"), "ab")

        def prepare():
            _die_with_parent()
            if connect:
                connect()

        self.process = subprocess.Popen(
            command, stdout=options.pop("stdout", log), stderr=log, preexec_fn=prepare,
            start_new_session=True, **options
        )
        log.close()

    def log(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as file:
            return file.read()

    def await_ready(self, ready, seconds=60):
        """Ends it when it isn't, or the wait is interrupted: nobody else knows of it yet."""
        def check():
            assert self.process.poll() is None, f"{self.folder}: ended at its start:\n{self.log()}"
            return ready()

        try:
            wait_for(check, seconds, f"{self.folder} is up")
        except BaseException:
            self.stop()
            raise

    def stop(self, how=signal.SIGTERM, seconds=60):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    @contextlib.contextmanager
    def away(self):
        """It is stopped, and runs again afterwards."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def standing_still(self):
        """What has been asked of it waits: it accepts connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


class Redis(Server):
    """With `tls`, a password and an ACL user `fedpush`, or plain. Data survive a restart. `options`
    are lines of its configuration."""

    def __init__(self, folder, certificate=None, options=None, address="127.0.0.1", port=None):
        super().__init__(folder)
        self.port = port or free_port()
        self.certificate = certificate
        self.options = options or {}
        self.address = address
        self.start()

    def start(self):
        options = {
            "bind": self.address, "dir": self.folder, "save": "", "appendonly": "yes",
            "appendfsync": "no", "maxmemory-policy": "noeviction", "enable-debug-command": "yes",
            "port": self.port,
        }
        command = ["redis-server"]
        if self.certificate:
            options.update({
                "port": 0, "tls-port": self.port, "tls-auth-clients": "no",
                "tls-cert-file": self.certificate.cert, "tls-key-file": self.certificate.key,
                "tls-ca-cert-file": self.certificate.ca,
            })
        options.update(self.options)
        for name, value in options.items():
            command += [f"--{name}", *str(value).split()]
        if self.certificate:
            command += ["--user", "default", "off", "--user", "fedpush", "on", ">sec:ret/42", "~*", "&*", "+@all"]
        self.spawn(command)
        self.await_ready(self.is_up)

    @property
    def url(self):
        if self.certificate:
            return f"rediss://fedpush:sec%3Aret%2F42@localhost:{self.port}/0"
        password = self.options.get("requirepass")
        return f"redis://{f':{password}@' if password else ''}{self.address}:{self.port}/0"

    def client(self, **options):
        if self.certificate:
            options.update(ssl_ca_certs=self.certificate.ca, ssl_certfile=self.certificate.cert,
                           ssl_keyfile=self.certificate.key)
        return redis.Redis.from_url(self.url, **options)

    def is_up(self):
        try:
            with self.client() as client:
                return client.ping()
        except redis.exceptions.RedisError:
            return False

    def reset(self):
        with self.client() as client:
            client.config_set("maxmemory", 0)
            client.flushall()


class Sentinel(Server):
    """Watches `master` under the name `main`; clients need the password `password`."""

    def __init__(self, folder, master, password):
        super().__init__(folder)
        self.port = free_port()
        self.password = password
        settings = os.path.join(folder, "sentinel.conf")
        with open(settings, "w") as file:
            file.write(
                f"bind 127.0.0.1\nport {self.port}\ndir {folder}\nrequirepass {password}\n"
                f"sentinel monitor main {master.address} {master.port} 1\n"
                f"sentinel auth-pass main {master.options['requirepass']}\n"
                "sentinel down-after-milliseconds main 3000\nsentinel failover-timeout main 5000\n"
            )
        self.spawn(["redis-server", settings, "--sentinel"])
        self.await_ready(lambda: self.replicas() == 1)

    def client(self):
        return redis.Redis(port=self.port, password=self.password, decode_responses=True)

    def replicas(self):
        try:
            told = self.client().execute_command("SENTINEL", "MASTER", "main")
            return int(told[told.index("num-slaves") + 1])
        except redis.exceptions.RedisError:
            return None

    def master_port(self):
        return int(self.client().execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")[1])


class Postgres(Server):
    def __init__(self, folder):
        super().__init__(folder)
        os.chmod(folder, 0o755)
        give_away(folder)
        self.port = free_port()
        self.bin = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.data = os.path.join(folder, "data")
        subprocess.run(
            unprivileged() + [f"{self.bin}/initdb", "-D", self.data, "-U", "mastodon", "-A", "trust", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd="/",
        )
        self.start()

    def start(self):
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}",
                   "-c", "fsync=off", "-c", "max_connections=100"]
        self.spawn(unprivileged() + [f"{self.bin}/postgres", "-D", self.data, "-p", str(self.port)] + options,
                   cwd="/")
        self.await_ready(self.is_up)

    def stop(self, how=signal.SIGINT, seconds=60):  # SIGINT: fast shutdown
        super().stop(how, seconds)

    def standby(self, folder):
        """A new server that follows this one."""
        other = object.__new__(Postgres)
        Server.__init__(other, folder)
        os.chmod(folder, 0o755)
        give_away(folder)
        other.port, other.bin, other.data = free_port(), self.bin, os.path.join(folder, "data")
        subprocess.run(
            unprivileged() + [f"{self.bin}/pg_basebackup", "-h", "127.0.0.1", "-p", str(self.port), "-U", "mastodon",
                              "-D", other.data, "-R", "--no-sync", "--checkpoint=fast", "-X", "stream"],
            check=True, cwd="/",
        )
        other.start()
        return other

    def set(self, name, value):
        """A setting from now on; None: its default. Sessions follow when they get to it."""
        connection = self.connect("postgres")
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            cursor.execute(f"ALTER SYSTEM SET {name} = '{value}'" if value else f"ALTER SYSTEM RESET {name}")
            cursor.execute("SELECT pg_reload_conf()")
        connection.close()
        wait_for(lambda: not value or self.query("postgres", f"SHOW {name}")[0][0] == value, 30, f"{name} is set")

    def url(self, database, port=None):
        return f"postgresql://mastodon@127.0.0.1:{port or self.port}/{database}"

    def connect(self, database):
        connection = psycopg2.connect(self.url(database))
        connection.autocommit = True
        return connection

    def is_up(self):
        try:
            self.connect("postgres").close()
            return True
        except psycopg2.OperationalError:
            return False

    def query(self, database, sql, *values):
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def create_database(self, database, tables):
        """`tables` is the SQL that makes them."""
        self.query("postgres", f'CREATE DATABASE "{database}"')
        self.query(database, tables)


class PgBouncer(Server):
    """Transaction pooling in front of a Postgres."""

    def __init__(self, folder, postgres):
        super().__init__(folder)
        os.chmod(folder, 0o755)
        give_away(folder)
        self.port = free_port()
        self.postgres = postgres
        users = os.path.join(folder, "users.txt")
        with open(users, "w") as file:
            file.write('"mastodon" ""\n')
        settings = os.path.join(folder, "pgbouncer.ini")
        with open(settings, "w") as file:
            file.write(
                "[databases]\n"
                f"* = host=127.0.0.1 port={postgres.port}\n"
                "[pgbouncer]\n"
                f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
                f"auth_type = trust\nauth_file = {users}\npool_mode = transaction\n"
                "ignore_startup_parameters = extra_float_digits\nserver_reset_query =\n"
                "default_pool_size = 4\n"
            )
        self.spawn(unprivileged() + ["pgbouncer", settings], cwd="/")
        self.await_ready(self.is_up)

    def is_up(self):
        try:
            psycopg2.connect(self.postgres.url("postgres", self.port)).close()
            return True
        except psycopg2.OperationalError:
            return False


class WebUi(Server):
    """Sidekiq's Web UI, as Mastodon mounts it."""

    def __init__(self, folder, redis_url):
        super().__init__(folder)
        self.url = f"http://127.0.0.1:{free_port()}/sidekiq"
        self.spawn(["ruby", os.path.join(FEDIVERSE, "webui.rb"), redis_url, self.url.split(":")[2].split("/")[0]])
        self.await_ready(self.is_up)

    def __call__(self, path):
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return answer.read().decode()

    def is_up(self):
        try:
            return self("/")
        except OSError:
            return None


class Names(Server):
    def __init__(self, folder, addresses, hole, refused="127.1.255.254", ttl_seconds=1):
        super().__init__(folder)
        self.port = free_port()
        self.environment = {**os.environ, "TTL_SECONDS": str(ttl_seconds)}
        self.command = [os.path.join(FEDIVERSE, "names.py"), str(self.port), hole, refused] + addresses
        self.start()

    def start(self):
        self.spawn(["/usr/bin/python3", "-B"] + self.command, stdout=subprocess.PIPE, env=self.environment)
        assert self.process.stdout.readline() == b"ready\n", self.log()

    @property
    def resolver(self):
        return f"127.0.0.1:{self.port}"


class Hole:
    """An address that never answers a connection: its queue of connections is full."""

    def __init__(self, address, port):
        self.listener = socket.socket()
        self.listener.bind((address, port))
        self.listener.listen(0)
        self.waiting = []
        for _ in range(4):
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex((address, port))
            self.waiting.append(caller)

    def stop(self):
        for one in self.waiting + [self.listener]:
            one.close()


class Certificate:
    """A CA of our own and a certificate for *.fedi.test and localhost."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.ca = os.path.join(folder, "ca.pem")
        self.cert = os.path.join(folder, "cert.pem")
        self.key = os.path.join(folder, "key.pem")
        ca_key, request = os.path.join(folder, "ca.key"), os.path.join(folder, "request.pem")
        names = os.path.join(folder, "names")
        with open(names, "w") as file:
            file.write("subjectAltName=DNS:*.fedi.test,DNS:localhost,IP:127.0.0.1\n")
        new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes"]
        self._run(new + ["-x509", "-days", "2", "-subj", "/CN=tests", "-keyout", ca_key, "-out", self.ca])
        self._run(new + ["-subj", "/CN=fedi.test", "-keyout", self.key, "-out", request])
        self._run(["openssl", "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key,
                   "-CAcreateserial", "-days", "2", "-extfile", names, "-out", self.cert])

    @staticmethod
    def _run(command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Fediverse(Server):
    """The simulated hosts (tests/fediverse/receiver.js)."""

    def __init__(self, folder, addresses, keys, certificate=None, verify=1):
        super().__init__(folder)
        self.addresses = addresses
        self.port = free_port()
        self.control_port = free_port()
        self.tls_port = free_port() if certificate else 0
        self.h2_port = free_port() if certificate else 0
        settings = os.path.join(folder, "settings.json")
        with open(settings, "w") as file:
            json.dump({
                "addresses": addresses, "port": self.port, "control_port": self.control_port,
                "tls_port": self.tls_port, "h2_port": self.h2_port, "keys": keys, "verify": verify,
                "tls_cert": certificate and certificate.cert, "tls_key": certificate and certificate.key,
            }, file)
        self.spawn([node(), os.path.join(FEDIVERSE, "receiver.js"), settings], stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n", self.log()

    def inbox(self, host, path="/inbox", tls=False, h2=False):
        if h2:
            return f"https://{host}.fedi.test:{self.h2_port}{path}"
        if tls:
            return f"https://{host}.fedi.test:{self.tls_port}{path}"
        return f"http://{host}.fedi.test:{self.port}{path}"

    def _call(self, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.control_port}{path}",
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def counts(self):
        return self._call("/counts")

    def summary(self):
        return self._call("/summary")

    def visits(self):
        """When each request began and left, the first 20,000 of them."""
        return self._call("/visits")

    def reset(self):
        self._call("/reset", {})

    def behave(self, host, name):
        self._call("/behaviour", {"host": f"{host}.fedi.test", "name": name})

    def verify(self, every):
        """Verifies every nth delivery of a host only: many at once would wait for the verifiers."""
        self._call("/verify", {"every": every})

    def keep(self, requests):
        """Shows the heads of so many requests, until the next reset."""
        self._call("/keep", {"requests": requests})

    def learn(self, keys):
        """What these key ids' keys are from now on, until the next reset."""
        self._call("/keys", keys)
