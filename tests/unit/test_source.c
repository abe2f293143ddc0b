/* Against a real PostgreSQL, with the columns of several Mastodon releases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/loop.h"
#include "seal.h"
#include "server.h"
#include "sig/source.h"

static struct server server;
static char *pem;
static struct encryption *encryption;

struct fixture {
    struct event_base *base;
    int64_t now_ms;
    struct clock clock;
    struct heap heap;
    struct dns *dns;
    struct postgres *postgres;
    struct keyring *keyring;
    struct source *source;
};

static int64_t now_ms(void *arg)
{
    return *(int64_t *)arg;
}

static int64_t now_us(void *arg)
{
    (void)arg;
    return 0;
}

static void start_with(struct fixture *f, const char *user, struct encryption *opener)
{
    const struct dns_options dns = {.hosts_file = true, .timeout_ms = 1000};
    char conninfo[256];

    snprintf(conninfo, sizeof(conninfo), "host=%s dbname=fedpush_test user=%s", server.socket,
             user);
    memset(f, 0, sizeof(*f));
    f->base = loop_create();
    f->now_ms = 1000000;
    f->clock = (struct clock){now_ms, now_us, &f->now_ms};
    f->dns = dns_create(f->base, &dns, NULL);
    const struct postgres_options postgres = {
        .conninfo = str_of(conninfo), .name = "keys", .secret_results = true};
    f->postgres = postgres_create(f->base, f->dns, &postgres);
    const struct keyring_options keyring = {.clock = &f->clock,
                                            .heap = &f->heap,
                                            .web_domain = STR("social.test"),
                                            .capacity = 10,
                                            .copies = 1,
                                            .encryption = opener};
    f->keyring = keyring_create(&keyring);
    f->source = source_create(f->base, &f->clock, f->postgres, f->keyring, opener != NULL);
}

static void start(struct fixture *f, const char *user)
{
    start_with(f, user, encryption);
}

static void finish(struct fixture *f)
{
    source_destroy(f->source);
    keyring_destroy(f->keyring);
    postgres_destroy(f->postgres);
    dns_destroy(f->dns);
    event_base_free(f->base);
}

struct answer {
    bool given;
    enum sign_status status;
    char text[600]; /* key id, or reason */
    bool suspended;
};

static void on_answer(void *arg, enum sign_status status, struct account *account,
                      const char *reason)
{
    struct answer *answer = arg;

    answer->given = true;
    answer->status = status;
    answer->suspended = account != NULL && account->suspended;
    snprintf(answer->text, sizeof(answer->text), "%s", account != NULL ? account->key_id : reason);
}

static struct answer ask(struct fixture *f, int64_t id)
{
    struct answer answer = {0};

    keyring_ask(f->keyring, id, false, on_answer, &answer);
    server_wait(f->base, &answer.given);
    return answer;
}

static void assert_found(struct fixture *f, int64_t id, const char *key_id, bool suspended)
{
    struct answer answer = ask(f, id);

    assert_string_equal(answer.text, key_id);
    assert_int_equal(answer.status, SIGN_OK);
    assert_int_equal(answer.suspended, suspended);
}

/* Alice 1, Bob 2 suspended, Carol 3 without a key, Dan 4 remote, the instance actor. */
static void make_accounts(const char *more_columns)
{
    char *sql = mem_printf(
        "DROP TABLE IF EXISTS accounts, keypairs; DROP OWNED BY reader; "
        "CREATE TABLE accounts (id bigint PRIMARY KEY, username varchar NOT NULL, domain varchar, "
        "private_key text, public_key text NOT NULL DEFAULT '', suspended_at timestamp%s);"
        "INSERT INTO accounts (id, username, domain, private_key, suspended_at) VALUES "
        "(1, 'Alice', NULL, '%s', NULL), (2, 'bob', NULL, '%s', now()), "
        "(3, 'carol', NULL, NULL, NULL), (4, 'dan', 'remote.test', NULL, NULL), "
        "(-99, 'mastodon.internal', NULL, '%s', now())",
        more_columns, pem, pem, pem);

    server_sql(&server, sql);
    free(sql);
}

struct capture {
    char path[64];
    int fd;
    int before;
};

static void capture_log(struct capture *capture)
{
    strcpy(capture->path, "/tmp/fedpush-log-XXXXXX");
    capture->fd = mkstemp(capture->path);
    assert_true(capture->fd >= 0);
    unlink(capture->path);
    capture->before = dup(STDERR_FILENO);
    dup2(capture->fd, STDERR_FILENO);
}

/* How many lines have this text; gives standard error back. */
static size_t end_capture(struct capture *capture, const char *text)
{
    char *log = mem_alloc(1 << 16);
    size_t count = 0;

    dup2(capture->before, STDERR_FILENO);
    close(capture->before);
    assert_true(pread(capture->fd, log, (1 << 16) - 1, 0) >= 0);
    close(capture->fd);
    for (const char *at = log; (at = strstr(at, text)) != NULL; at++)
        count++;
    free(log);
    return count;
}

static void accounts_of_mastodon_4_3_are_read(void **state)
{
    struct fixture f;
    (void)state;

    make_accounts("");
    start(&f, "postgres");
    assert_found(&f, 1, "https://social.test/users/Alice#main-key", false);
    assert_found(&f, 2, "https://social.test/users/bob#main-key", true);
    assert_found(&f, -99, "https://social.test/actor#main-key", false);
    assert_int_equal(ask(&f, 3).status, SIGN_KEY_UNUSABLE);
    assert_string_equal(ask(&f, 3).text, "account 3 has no private key");
    assert_int_equal(ask(&f, 4).status, SIGN_KEY_UNUSABLE);
    assert_int_equal(ask(&f, 5).status, SIGN_ACCOUNT_MISSING);
    finish(&f);
}

static void numeric_actors_of_mastodon_4_5_are_read(void **state)
{
    struct fixture f;
    (void)state;

    make_accounts(", id_scheme integer DEFAULT 1");
    server_sql(&server, "UPDATE accounts SET id_scheme = NULL WHERE id = 2");
    start(&f, "postgres");
    assert_found(&f, 1, "https://social.test/ap/users/1#main-key", false);
    assert_found(&f, 2, "https://social.test/users/bob#main-key", true);
    finish(&f);
}

/* The table as Mastodon 4.6 and, with local_fragment, 4.7 have it. */
static void make_keypairs(bool of_4_7)
{
    server_sql(
        &server,
        "CREATE TABLE keypairs (id bigserial PRIMARY KEY, account_id bigint NOT NULL, uri "
        "varchar, type integer NOT NULL, public_key varchar NOT NULL DEFAULT '', "
        "private_key varchar, expires_at timestamp, revoked boolean NOT NULL DEFAULT false)");
    if (of_4_7)
        server_sql(&server, "ALTER TABLE keypairs ADD COLUMN local_fragment varchar");
}

/* A row for account 1; `values`: type, revoked, expires_at, local_fragment, uri. */
static void add_keypair(int id, const char *key, const char *values)
{
    char *sealed = seal_pem(key);
    char *sql = mem_printf("INSERT INTO keypairs (id, account_id, private_key, type, revoked, "
                           "expires_at, local_fragment, uri) VALUES (%d, 1, '%s', %s)",
                           id, sealed, values);
    server_sql(&server, sql);
    free(sql);
    free(sealed);
}

static void keypairs_of_mastodon_4_6_are_ignored(void **state)
{
    struct fixture f;
    (void)state;

    make_accounts(", id_scheme integer DEFAULT 0");
    make_keypairs(false);
    server_sql(&server, "INSERT INTO keypairs (account_id, uri, type, private_key) VALUES "
                        "(1, 'https://social.test/other#key', 0, 'rubbish')");
    start(&f, "postgres");
    assert_found(&f, 1, "https://social.test/users/Alice#main-key", false);
    assert_string_equal(ask(&f, 3).text, "account 3 has no private key");
    finish(&f);
}

static void keypairs_of_mastodon_4_7_go_before_accounts(void **state)
{
    struct fixture f;
    (void)state;

    make_accounts(", id_scheme integer DEFAULT 1, requested_deletion_at timestamp");
    make_keypairs(true);
    server_sql(&server, "UPDATE accounts SET requested_deletion_at = now() WHERE id = 1");
    add_keypair(1, "an Ed25519 key", "1, false, NULL, '#ed', NULL");
    add_keypair(2, "a revoked key", "0, true, NULL, '#revoked', NULL");
    add_keypair(3, "an expired key",
                "0, false, now() AT TIME ZONE 'utc' - interval '1 s', '#old', NULL");
    add_keypair(9, "a later key", "0, false, NULL, '#later', NULL");
    add_keypair(4, pem,
                "0, false, now() AT TIME ZONE 'utc' + interval '1 h', '#rsa-1', 'https://x.test/'");
    start(&f, "postgres");
    assert_found(&f, 1, "https://social.test/ap/users/1#rsa-1", true);
    assert_found(&f, 2, "https://social.test/ap/users/2#main-key", true); /* not moved yet */
    server_sql(&server, "UPDATE keypairs SET local_fragment = NULL WHERE id = 4");
    f.now_ms += KEYRING_STALE_MS;
    assert_found(&f, 1, "https://x.test/", true);
    server_sql(&server, "UPDATE keypairs SET uri = '' WHERE id = 4");
    f.now_ms += KEYRING_STALE_MS;
    assert_found(&f, 1, "https://social.test/ap/users/1#main-key", true);
    finish(&f);
}

static void keys_that_move_are_followed_at_once(void **state)
{
    struct fixture f;
    (void)state;

    make_accounts(", id_scheme integer DEFAULT 0");
    start(&f, "postgres");
    assert_found(&f, 2, "https://social.test/users/bob#main-key", true);
    make_keypairs(true);
    add_keypair(1, pem, "0, false, NULL, '#main-key', NULL");
    server_sql(&server, "UPDATE accounts SET private_key = NULL WHERE id = 1");
    assert_found(&f, 1, "https://social.test/users/Alice#main-key", false);
    finish(&f);
}

static void keypairs_without_the_encryption_keys_wait(void **state)
{
    struct capture capture;
    struct fixture f;
    (void)state;

    make_accounts("");
    make_keypairs(true);
    add_keypair(1, pem, "0, false, NULL, '#main-key', NULL");
    capture_log(&capture);
    start_with(&f, "postgres", NULL);
    assert_int_equal(ask(&f, 1).status, SIGN_UNAVAILABLE);
    assert_found(&f, 2, "https://social.test/users/bob#main-key", true);
    assert_true(end_capture(&capture, "set ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY") > 0);
    finish(&f);
}

static void keypairs_of_other_encryption_keys_wait(void **state)
{
    struct encryption *other = encryption_create(STR("another"), STR("salt"));
    struct fixture f;
    (void)state;

    make_accounts("");
    make_keypairs(true);
    add_keypair(1, pem, "0, false, NULL, '#main-key', NULL");
    start_with(&f, "postgres", other);
    struct answer answer = ask(&f, 1);
    assert_int_equal(answer.status, SIGN_UNAVAILABLE);
    assert_non_null(strstr(answer.text, "encrypted with another key"));
    finish(&f);
    encryption_destroy(other);
}

static void keypairs_that_are_not_encrypted_are_refused(void **state)
{
    struct fixture f;
    (void)state;

    make_accounts("");
    make_keypairs(true);
    add_keypair(1, pem, "0, false, NULL, '#main-key', NULL");
    char *sql = mem_printf("UPDATE keypairs SET private_key = '%s'", pem);
    server_sql(&server, sql);
    free(sql);
    start(&f, "postgres");
    assert_int_equal(ask(&f, 1).status, SIGN_KEY_UNUSABLE);
    assert_string_equal(ask(&f, 1).text, "account 1: it is not encrypted, as Mastodon demands");
    server_sql(&server, "UPDATE keypairs SET private_key = NULL");
    assert_string_equal(ask(&f, 1).text, "account 1: its row in keypairs has no private key");
    finish(&f);
}

static void a_changed_schema_is_looked_up_at_once(void **state)
{
    struct fixture f;
    (void)state;

    make_accounts(", id_scheme integer DEFAULT 1");
    start(&f, "postgres");
    assert_found(&f, 1, "https://social.test/ap/users/1#main-key", false);
    server_sql(&server, "ALTER TABLE accounts DROP COLUMN id_scheme");
    assert_found(&f, 2, "https://social.test/users/bob#main-key", true);
    finish(&f);
}

static void a_changed_schema_is_noticed_within_a_minute(void **state)
{
    struct fixture f;
    (void)state;

    make_accounts("");
    start(&f, "postgres");
    assert_found(&f, 1, "https://social.test/users/Alice#main-key", false);
    server_sql(&server, "ALTER TABLE accounts ADD COLUMN id_scheme integer DEFAULT 1");
    assert_found(&f, 2, "https://social.test/users/bob#main-key", true);
    f.now_ms += SOURCE_DETECT_MS;
    assert_found(&f, 1, "https://social.test/ap/users/1#main-key", false);
    finish(&f);
}

/* ---- rights ---- */

static const char grant[] = "GRANT SELECT (id, username, domain, private_key, suspended_at, "
                            "id_scheme) ON accounts TO reader;";

static void a_missing_right_names_the_grant_that_helps(void **state)
{
    struct capture capture;
    struct fixture f;
    (void)state;

    make_accounts(", id_scheme integer DEFAULT 0");
    server_sql(&server, "GRANT SELECT (id, username) ON accounts TO reader");
    start(&f, "reader");
    capture_log(&capture);
    for (int i = 0; i < 5; i++) {
        struct answer answer = ask(&f, 1);
        assert_int_equal(answer.status, SIGN_UNAVAILABLE);
        assert_string_equal(answer.text, grant);
    }
    f.now_ms += SOURCE_DENIED_MS; /* looked up again, but not told again */
    assert_int_equal(ask(&f, 1).status, SIGN_UNAVAILABLE);
    assert_int_equal(end_capture(&capture, grant), 1);
    capture_log(&capture);
    f.now_ms += SOURCE_LOG_MS;
    assert_int_equal(ask(&f, 1).status, SIGN_UNAVAILABLE);
    assert_int_equal(end_capture(&capture, grant), 1);
    server_sql(&server, grant);
    assert_int_equal(ask(&f, 1).status, SIGN_UNAVAILABLE);
    f.now_ms += SOURCE_DENIED_MS;
    assert_found(&f, 1, "https://social.test/users/Alice#main-key", false);
    finish(&f);
}

static void a_missing_right_to_keypairs_is_named_too(void **state)
{
    static const char both[] =
        "GRANT SELECT (id, username, domain, private_key, suspended_at) ON accounts TO reader; "
        "GRANT SELECT (local_fragment, id, account_id, type, revoked, expires_at, uri, "
        "private_key) ON keypairs TO reader;";
    struct fixture f;
    (void)state;

    make_accounts("");
    make_keypairs(true);
    add_keypair(1, pem, "0, false, NULL, '#main-key', NULL");
    start(&f, "reader");
    assert_string_equal(ask(&f, 1).text, both);
    server_sql(&server, both);
    f.now_ms += SOURCE_DENIED_MS;
    assert_found(&f, 1, "https://social.test/users/Alice#main-key", false);
    server_sql(&server, "REVOKE SELECT (private_key) ON keypairs FROM reader");
    assert_string_equal(ask(&f, 2).text, strstr(both, "GRANT SELECT (local_fragment"));
    finish(&f);
}

static void a_right_taken_away_leaves_known_keys_in_use(void **state)
{
    struct fixture f;
    (void)state;

    make_accounts(", id_scheme integer DEFAULT 0");
    server_sql(&server, grant);
    start(&f, "reader");
    assert_found(&f, 1, "https://social.test/users/Alice#main-key", false);
    server_sql(&server, "REVOKE SELECT (private_key) ON accounts FROM reader");
    assert_int_equal(ask(&f, 2).status, SIGN_UNAVAILABLE);
    assert_string_equal(ask(&f, 2).text, grant);
    f.now_ms += 10 * KEYRING_STALE_MS;
    assert_found(&f, 1, "https://social.test/users/Alice#main-key", false);
    finish(&f);
}

static void another_database_is_told_from_mastodons(void **state)
{
    struct answer answer;
    struct fixture f;
    (void)state;

    server_sql(&server, "DROP TABLE accounts");
    start(&f, "postgres");
    answer = ask(&f, 1);
    assert_int_equal(answer.status, SIGN_UNAVAILABLE);
    assert_non_null(strstr(answer.text, "no column accounts.id in sight"));
    finish(&f);
}

/* ---- the server is away ---- */

static void a_database_that_comes_back_is_used_again(void **state)
{
    struct fixture f;
    struct answer answer;
    (void)state;

    make_accounts("");
    start(&f, "postgres");
    assert_found(&f, 1, "https://social.test/users/Alice#main-key", false);
    server_pause_postgres(&server);
    assert_int_equal(ask(&f, 2).status, SIGN_UNAVAILABLE);
    f.now_ms += KEYRING_STALE_MS;
    assert_found(&f, 1, "https://social.test/users/Alice#main-key", false);
    server_resume_postgres(&server);
    do
        answer = ask(&f, 2); /* each waits for the connection for up to two seconds */
    while (answer.status == SIGN_UNAVAILABLE);
    assert_string_equal(answer.text, "https://social.test/users/bob#main-key");
    finish(&f);
}

static int set_up(void **state)
{
    EVP_PKEY *pkey = EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    (void)state;

    if (PEM_write_bio_PrivateKey_traditional(bio, pkey, NULL, NULL, 0, NULL, NULL) != 1)
        return -1;
    long len = BIO_get_mem_data(bio, &data);
    pem = str_dup((struct str){data, (size_t)len});
    BIO_free(bio);
    EVP_PKEY_free(pkey);
    encryption = encryption_create(STR(SEAL_PRIMARY_KEY), STR(SEAL_SALT));
    server_start_postgres(&server);
    server_sql(&server, "CREATE ROLE reader LOGIN");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    server_stop(&server);
    encryption_destroy(encryption);
    free(pem);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accounts_of_mastodon_4_3_are_read),
        cmocka_unit_test(numeric_actors_of_mastodon_4_5_are_read),
        cmocka_unit_test(keypairs_of_mastodon_4_6_are_ignored),
        cmocka_unit_test(keypairs_of_mastodon_4_7_go_before_accounts),
        cmocka_unit_test(keys_that_move_are_followed_at_once),
        cmocka_unit_test(keypairs_without_the_encryption_keys_wait),
        cmocka_unit_test(keypairs_of_other_encryption_keys_wait),
        cmocka_unit_test(keypairs_that_are_not_encrypted_are_refused),
        cmocka_unit_test(a_changed_schema_is_looked_up_at_once),
        cmocka_unit_test(a_changed_schema_is_noticed_within_a_minute),
        cmocka_unit_test(a_missing_right_names_the_grant_that_helps),
        cmocka_unit_test(a_missing_right_to_keypairs_is_named_too),
        cmocka_unit_test(a_right_taken_away_leaves_known_keys_in_use),
        cmocka_unit_test(another_database_is_told_from_mastodons),
        cmocka_unit_test(a_database_that_comes_back_is_used_again),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("source", tests, set_up, tear_down);
}
