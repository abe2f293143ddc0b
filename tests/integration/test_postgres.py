"""PostgreSQL over TLS, and through fail-overs."""

import os
import shutil

import pytest
from jobs import account_for, delivery, push, push_fanout, wait_settled
from machine import fedpush
from servers import Certificate, give_away, wait_for
from test_cli import lines, sidekiq_process


def health(query):
    return query("SELECT coalesce(sum(delivered), 0)::int FROM fedpush.inbox_health")[0][0]


def deliver(world, numbers):
    jobs = [delivery(i, world.fediverse.inbox(f"ok-{i % 10}"), account=[1, 2][i % 2]) for i in numbers]
    push_fanout(world.redis, jobs)
    wait_settled(world)
    assert account_for(world, jobs).lost == []


# ---- TLS ----


@pytest.fixture
def sealed(world, tmp_path):
    """The world's PostgreSQL speaks TLS, too, with a certificate of the world's CA."""
    server = world.postgres
    files = {}
    for name in ("cert", "key"):
        files[name] = os.path.join(server.folder, f"{name}.pem")
        shutil.copy(getattr(world.certificate, name), files[name])
        os.chmod(files[name], 0o600)
        give_away(files[name])
    server.set("ssl_cert_file", files["cert"])
    server.set("ssl_key_file", files["key"])
    server.set("ssl", "on")
    yield world
    for name in ("ssl", "ssl_cert_file", "ssl_key_file"):
        server.set(name, None)


def test_everything_of_postgresql_goes_over_verified_tls(sealed, machines):
    settings = {"DATABASE_URL": None, "DB_HOST": "localhost", "DB_PORT": sealed.postgres.port, "DB_USER": "mastodon",
                "DB_NAME": sealed.database, "DB_SSLMODE": "verify-full", "PGSSLROOTCERT": sealed.certificate.ca}
    machines(**settings)
    deliver(sealed, range(20))
    wait_for(lambda: health(sealed.query) == 20, 30, "health")

    def sessions():
        return sealed.query("SELECT s.ssl FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)"
                            " WHERE a.application_name = 'fedpush'")

    wait_for(lambda: len(sessions()) == 4, 30, lambda: f"Mastodon's tables, followers, health, keys: {sessions()}")
    assert all(ssl for (ssl,) in sessions())


def test_check_refuses_what_a_wrong_ca_signed(sealed, tmp_path):
    url = f"postgresql://mastodon@localhost:{sealed.postgres.port}/{sealed.database}?sslmode=verify-full&sslrootcert="
    stranger = Certificate(str(tmp_path / "stranger"))
    for root, reason in ((stranger.ca, "certificate verify failed"), (str(tmp_path / "none"), "does not exist")):
        done = fedpush(sealed, "check", DATABASE_URL=url + root)
        failed = lines(done, "FAIL")
        assert done.returncode == 1 and {"PostgreSQL", "signer", "schema"} <= set(failed), done.stdout
        for subject in ("PostgreSQL", "signer", "schema"):
            assert reason in failed[subject] and failed[subject].endswith("check sslmode and sslrootcert"), done.stdout
    sidekiq_process(sealed, ["default"])
    assert fedpush(sealed, "setup", DATABASE_URL=url + sealed.certificate.ca).returncode == 0
    assert fedpush(sealed, "check", DATABASE_URL=url + sealed.certificate.ca).returncode == 0


# ---- fail-over ----


def test_sessions_that_became_read_only_are_left(world, machines, pgbouncer):
    """As after a fail-over of RDS: the connections stand, through the pooler as well, and write no
    more. What they should have written is written when a primary is there."""
    machine = machines(DATABASE_URL=world.postgres.url(world.database, pgbouncer.port))
    deliver(world, range(10))
    wait_for(lambda: health(world.query) == 10, 30, "health")
    world.postgres.set("default_transaction_read_only", "on")
    try:
        deliver(world, range(10, 30))  # keys are read, and cached
        wait_for(lambda: "the server accepts no writes" in machine.log(), 60, "it looks for a primary")
        assert health(world.query) == 10
    finally:
        world.postgres.set("default_transaction_read_only", None)
    wait_for(lambda: health(world.query) == 30, 60, lambda: f"health of 30; {health(world.query)}")


def test_the_standby_of_the_list_becomes_the_primary(world, machines):
    """DATABASE_URL names both; the standby stands first and is passed over until it is promoted."""
    standby = world.postgres.standby(os.path.join(world.folder, "standby"))
    primary = world.postgres
    url = (f"postgresql://mastodon@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/{world.database}"
           "?target_session_attrs=read-write")
    try:
        machine = machines(DATABASE_URL=url)
        alone = url.replace(f",127.0.0.1:{primary.port}", "")
        for wrong in (alone, alone.split("?")[0]):
            failed = lines(fedpush(world, "check", DATABASE_URL=wrong), "FAIL")
            assert "connect to the primary" in failed["PostgreSQL"] and "connect to the primary" in failed["schema"]
        deliver(world, range(10))
        wait_for(lambda: health(world.query) == 10, 30, "health at the primary")
        primary.stop()
        standby.query("postgres", "SELECT pg_promote()")
        push(world.redis, [delivery(99, world.fediverse.inbox("ok-1"), account=-99)])  # a key not read yet
        wait_settled(world)
        wait_for(lambda: health(lambda sql: standby.query(world.database, sql)) == 11, 60, "health at the new primary")
        machine.stop()
    finally:
        if primary.process is None:
            primary.start()
        standby.stop()
        shutil.rmtree(standby.folder)
