"""What stands around fedpush in tests and in the demonstration: one Mastodon's stores, and the hosts
that it delivers to."""

import os
import subprocess

from machine import DOMAIN
from servers import HERE, Certificate, Fediverse, Hole, Names, Postgres, Redis

VERSIONS = {"4.2": "4.2.29", "4.3": "4.3.23", "4.4": "4.4.22", "4.5": "4.5.15", "4.6": "4.6.5", "4.7": "4.7.0"}
ADDRESSES = [f"127.1.{i // 100}.{i % 100 + 1}" for i in range(200)]
# id, username, id_scheme (4.5 and later), path of the actor before and since numeric URIs
ACCOUNTS = [
    (1, "alice", 0, "users/alice", "users/alice"),
    (2, "bob", 1, "users/bob", "ap/users/2"),
    (-99, "mastodon.internal", 0, "actor", "actor"),
]


def schema_of(release):
    """The SQL that makes a release's tables."""
    later = [name for name in ("4.5", "4.6", "4.7") if name <= release]
    text = ""
    for name in ["schema-4.3.sql"] + [f"migrate-{name}.sql" for name in later]:
        with open(os.path.join(HERE, name)) as file:
            text += file.read()
    return text


class Keys:
    """RSA keys in Mastodon's form, one an account, and what verifiers know of them."""

    def __init__(self):
        self.private, self.public = {}, {}
        for account, _, _, old, new in ACCOUNTS:
            made = subprocess.run(["openssl", "genrsa", "-traditional", "2048"], capture_output=True, check=True)
            shown = subprocess.run(["openssl", "rsa", "-pubout"], input=made.stdout, capture_output=True, check=True)
            self.private[account] = made.stdout.decode()
            for path in (old, new):
                self.public[f"https://{DOMAIN}/{path}#main-key"] = shown.stdout.decode()


def insert_accounts(query, keys, with_scheme=True):
    for account, username, scheme, _, _ in ACCOUNTS:
        column, value = (", id_scheme", f", {scheme}") if with_scheme else ("", "")
        query(
            f"INSERT INTO accounts (id, username, private_key, created_at, updated_at{column})"
            f" VALUES (%s, %s, %s, now(), now(){value})",
            account, username, keys.private[account],
        )


class World:
    """Started when made; `stop` ends it all. What fails or is interrupted meanwhile leaves nothing."""

    def __init__(self, folder, verify=1):
        self.folder = folder
        self.started = []
        try:
            self.start(verify)
        except BaseException:
            self.stop()
            raise

    def start(self, verify):
        folder = self.folder
        self.certificate = Certificate(os.path.join(folder, "tls"))
        self.keys = Keys()
        self.redis = self.add(Redis(os.path.join(folder, "redis")))
        self.postgres = self.add(Postgres(os.path.join(folder, "postgres")))
        self.fediverse = self.add(
            Fediverse(os.path.join(folder, "fediverse"), ADDRESSES, self.keys.public, self.certificate, verify)
        )
        hole = "127.1.255.253"
        self.add(Hole(hole, self.fediverse.port))
        self.names = self.add(Names(os.path.join(folder, "names"), ADDRESSES, hole))
        self.redis_client = self.redis.client()
        self.made = set()  # releases that have a database
        self.use("4.6")

    def add(self, server):
        self.started.append(server)
        return server

    def use(self, release):
        """From now on it is a Mastodon of this release. Its database is made when it is first used."""
        self.version = VERSIONS[release]
        self.database = f"mastodon_{release}"
        if release not in self.made:
            self.postgres.create_database(self.database, schema_of(release))
            insert_accounts(self.query, self.keys, with_scheme=release >= "4.5")
            self.made.add(release)

    def query(self, sql, *values):
        return self.postgres.query(self.database, sql, *values)

    def reset(self):
        self.redis.reset()
        self.fediverse.reset()
        for release in self.made:
            self.use(release)
            self.query("DROP SCHEMA IF EXISTS fedpush CASCADE")
            self.query("TRUNCATE accounts, follows, unavailable_domains, account_deletion_requests")
            insert_accounts(self.query, self.keys, with_scheme=release >= "4.5")
        self.use("4.6")

    def stop(self):
        for server in reversed(self.started):
            server.stop()
