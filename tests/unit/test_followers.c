/* Against a real PostgreSQL, with the columns of Mastodon before and since 4.5. */
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/loop.h"
#include "sched/followers.h"
#include "server.h"

enum { MAX_CLAIMS = 100 };

static struct server server;

struct fixture {
    struct event_base *base;
    int64_t now_ms;
    struct clock clock;
    struct postgres *postgres;
    struct followers *followers;
    bool answered;
    int counts; /* how often it was answered */
    struct claim *released[MAX_CLAIMS];
    size_t released_count;
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

static void on_release(void *arg, struct claim *claim)
{
    struct fixture *f = arg;

    assert_int_equal(claim->state, CLAIM_NEW);
    assert_true(f->released_count < MAX_CLAIMS);
    f->released[f->released_count++] = claim;
}

static void on_answered(void *arg)
{
    struct fixture *f = arg;

    f->answered = true;
    f->counts++;
}

static void start_with(struct fixture *f, const char *user, int page_rows, size_t tally_bytes)
{
    char conninfo[256];

    memset(f, 0, sizeof(*f));
    snprintf(conninfo, sizeof(conninfo), "host=%s dbname=fedpush_test user=%s", server.socket,
             user);
    f->base = loop_create();
    f->now_ms = 1000000;
    f->clock = (struct clock){now_ms, now_us, &f->now_ms};
    f->postgres = postgres_create(
        f->base, NULL,
        &(struct postgres_options){.conninfo = str_of(conninfo), .name = "followers"});
    f->followers =
        followers_create(&(struct followers_options){.base = f->base,
                                                     .clock = &f->clock,
                                                     .postgres = f->postgres,
                                                     .web_domain = STR("social.test"),
                                                     .page_rows = page_rows,
                                                     .tally_bytes = tally_bytes,
                                                     .total_bytes = FOLLOWERS_TOTAL_BYTES,
                                                     .release = on_release,
                                                     .answered = on_answered,
                                                     .arg = f});
}

static void start(struct fixture *f)
{
    start_with(f, "postgres", FOLLOWERS_PAGE_ROWS, FOLLOWERS_TALLY_BYTES);
}

static void finish(struct fixture *f)
{
    postgres_destroy(f->postgres);
    followers_destroy(f->followers);
    event_base_free(f->base);
}

static struct claim *claim_for(int64_t account_id, const char *inbox_url)
{
    struct claim *claim = claim_create(1, ORIGIN_QUEUE, STR_NULL, str_of(inbox_url));

    claim->job.account_id = account_id;
    claim->job.inbox_url = str_of(claim->payload);
    return claim;
}

/* Waits for the end of the pass that is under way, or due. */
static void await_count(struct fixture *f)
{
    f->answered = false;
    server_wait(f->base, &f->answered);
}

static void assert_known(struct fixture *f, struct claim *claim, const char *expected)
{
    while (!followers_lookup(f->followers, claim)) {
        followers_wait(f->followers, claim);
        await_count(f);
    }
    assert_string_equal(claim->synchronization, expected);
}

static void assert_value(struct fixture *f, int64_t account_id, const char *inbox_url,
                         const char *expected)
{
    struct claim *claim = claim_for(account_id, inbox_url);

    assert_known(f, claim, expected);
    claim_destroy(claim);
}

/* --- what PostgreSQL's own functions say --- */

/* The XOR of the SHA-256 of what `condition` selects, as hexadecimal digits. */
static void digest_of(const char *condition, char hex[65])
{
    char *sql = mem_printf("SELECT coalesce(string_agg(encode(sha256(convert_to(accounts.uri, "
                           "'UTF8')), 'hex'), ''), '') FROM accounts JOIN follows ON accounts.id "
                           "= follows.account_id WHERE %s",
                           condition);
    char *all = server_sql_value(&server, sql);
    unsigned char digest[32] = {0};

    for (const char *at = all; *at != '\0'; at += 64) {
        for (size_t i = 0; i < 32; i++) {
            char byte[3] = {at[2 * i], at[2 * i + 1], '\0'};
            digest[i] ^= (unsigned char)strtoul(byte, NULL, 16);
        }
    }
    sodium_bin2hex(hex, 65, digest, sizeof(digest));
    free(all);
    free(sql);
}

static char *expected_value(const char *collection, const char *name, const char *condition)
{
    char hex[65];

    digest_of(condition, hex);
    return mem_printf("collectionId=\"https://social.test/%s/followers\", digest=\"%s\", "
                      "url=\"https://social.test/users/%s/followers_synchronization\"",
                      collection, hex, name);
}

static void assert_counted(struct fixture *f, int64_t account_id, const char *inbox_url,
                           const char *condition)
{
    char *expected = expected_value(account_id == 1 ? "users/Alice" : "ap/users/2",
                                    account_id == 1 ? "Alice" : "bob", condition);

    assert_value(f, account_id, inbox_url, expected);
    free(expected);
}

static void put_follower(struct buf *sql, int64_t account_id, int64_t follower_id, const char *uri)
{
    buf_printf(sql,
               ";INSERT INTO accounts (id, username, uri) VALUES (%lld, 'x', nullif('%s', ''));"
               "INSERT INTO follows VALUES (%lld, %lld)",
               (long long)follower_id, uri, (long long)follower_id, (long long)account_id);
}

/* Alice 1, with followers from 10 to 19; bob 2, numeric; nobody follows him. */
static void make_accounts(const char *more_columns)
{
    static const char *const uris[] = {
        "https://a.example/users/one",
        "https://a.example/users/two",
        "https://a.example",
        "https://a.example.evil/users/one",
        "https://A.example/users/one",
        "https://a_b.example/users/one",
        "https://aXb.example/users/one",
        "http://a.example:3000/users/one",
        "https://b\\b.example/users/\xc3\xbc",
        NULL,
    };
    struct buf sql;

    buf_init(&sql, 1 << 16);
    buf_printf(&sql,
               "DROP TABLE IF EXISTS accounts, follows; DROP OWNED BY reader;"
               "CREATE TABLE accounts (id bigint PRIMARY KEY, username varchar NOT NULL, uri "
               "varchar, private_key text%s);"
               "CREATE TABLE follows (account_id bigint, target_account_id bigint);"
               "INSERT INTO accounts (id, username) VALUES (1, 'Alice'), (2, 'bob'), (3, 'a\"b')",
               more_columns);
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++)
        put_follower(&sql, 1, 10 + (int64_t)i, uris[i]);
    server_sql(&server, buf_cstr(&sql));
    buf_clear(&sql);
}

/* Alice is older than Mastodon 4.5. */
static void with_id_scheme(void)
{
    make_accounts(", id_scheme integer GENERATED ALWAYS AS (CASE WHEN id > 1 THEN 1 END) STORED");
}

static const struct {
    const char *inbox;
    const char *condition;
} inboxes[] = {
    {"https://a.example/inbox", "uri LIKE 'https://a.example/%' OR uri = 'https://a.example'"},
    {"https://A.example/inbox", "uri LIKE 'https://A.example/%'"},
    {"https://a_b.example/inbox", "uri LIKE 'https://a\\_b.example/%'"},
    {"http://a.example:3000/inbox", "uri LIKE 'http://a.example:3000/%'"},
    {"https://b\\b.example/inbox", "uri LIKE 'https://b\\\\b.example/%'"},
    {"https://nobody.example/inbox", "false"},
};

static void each_server_gets_the_digest_of_its_own_followers(void **state)
{
    struct fixture f;
    (void)state;

    with_id_scheme();
    start(&f);
    for (size_t i = 0; i < sizeof(inboxes) / sizeof(inboxes[0]); i++)
        assert_counted(&f, 1, inboxes[i].inbox, inboxes[i].condition);
    assert_counted(&f, 2, "https://a.example/inbox", "false");
    finish(&f);
}

static void few_servers_are_read_alone(void **state)
{
    struct fixture f;
    (void)state;

    /* The first pass of an account is for one server: the patterns select, not the tally. */
    with_id_scheme();
    for (size_t i = 0; i < sizeof(inboxes) / sizeof(inboxes[0]); i++) {
        start(&f);
        assert_counted(&f, 1, inboxes[i].inbox, inboxes[i].condition);
        assert_int_equal(f.counts, 1);
        finish(&f);
    }
}

static void all_servers_are_counted_in_one_pass(void **state)
{
    struct fixture f;
    char inbox[64];
    (void)state;

    with_id_scheme();
    start(&f);
    for (int i = 0; i < 20; i++) {
        snprintf(inbox, sizeof(inbox), "https://h%d.example/inbox", i);
        followers_wait(f.followers, claim_for(1, inbox));
    }
    assert_int_equal(followers_waiting(f.followers), 20);
    await_count(&f);
    assert_int_equal(followers_waiting(f.followers), 0);
    assert_int_equal(f.released_count, 20);
    for (int i = 0; i < 20; i++) { /* the youngest first */
        snprintf(inbox, sizeof(inbox), "https://h%d.example/inbox", 19 - i);
        assert_string_equal(f.released[i]->payload, inbox);
        assert_true(followers_lookup(f.followers, f.released[i]));
        claim_destroy(f.released[i]);
    }
    assert_counted(&f, 1, inboxes[0].inbox, inboxes[0].condition); /* nobody had asked for it */
    assert_int_equal(f.counts, 1);
    finish(&f);
}

static void a_digest_is_kept_for_half_a_minute(void **state)
{
    struct fixture f;
    struct claim *claim = claim_for(1, inboxes[0].inbox);
    char *before;
    (void)state;

    with_id_scheme();
    before = expected_value("users/Alice", "Alice", inboxes[0].condition);
    start(&f);
    assert_known(&f, claim, before);
    server_sql(&server, "INSERT INTO accounts (id, username, uri) VALUES (100, 'x', "
                        "'https://a.example/users/three'); INSERT INTO follows VALUES (100, 1)");
    f.now_ms += FOLLOWERS_FRESH_MS;
    assert_true(followers_lookup(f.followers, claim));
    assert_string_equal(claim->synchronization, before);
    f.now_ms += 1;
    assert_false(followers_lookup(f.followers, claim));
    assert_null(claim->synchronization);
    assert_counted(&f, 1, inboxes[0].inbox, inboxes[0].condition);
    server_sql(&server, "DELETE FROM follows WHERE account_id = 100");
    f.now_ms += FOLLOWERS_FRESH_MS + 1;
    assert_known(&f, claim, before);
    claim_destroy(claim);
    free(before);
    finish(&f);
}

static void pages_add_up(void **state)
{
    struct fixture f;
    (void)state;

    with_id_scheme();
    start_with(&f, "postgres", 2, FOLLOWERS_TALLY_BYTES);
    for (size_t i = 0; i < sizeof(inboxes) / sizeof(inboxes[0]); i++)
        assert_counted(&f, 1, inboxes[i].inbox, inboxes[i].condition);
    finish(&f);
}

/* Asked for later, but with one page. */
static void a_small_account_doesnt_wait_for_a_large_one(void **state)
{
    struct fixture f;
    (void)state;

    with_id_scheme();
    server_sql(&server, "INSERT INTO accounts (id, username, uri) SELECT i, 'x', "
                        "'https://a.example/users/' || i FROM generate_series(1000, 3000) AS i;"
                        "INSERT INTO follows SELECT i, 1 FROM generate_series(1000, 3000) AS i");
    start_with(&f, "postgres", 100, FOLLOWERS_TALLY_BYTES);
    followers_wait(f.followers, claim_for(1, inboxes[0].inbox));
    followers_wait(f.followers, claim_for(2, inboxes[0].inbox));
    await_count(&f);
    assert_int_equal(f.released_count, 1);
    assert_int_equal(f.released[0]->job.account_id, 2);
    await_count(&f);
    assert_int_equal(f.released_count, 2);
    assert_counted(&f, 1, inboxes[0].inbox, inboxes[0].condition);
    claim_destroy(f.released[0]);
    claim_destroy(f.released[1]);
    finish(&f);
}

static void more_servers_than_are_kept_are_counted_when_asked_for(void **state)
{
    struct fixture f;
    (void)state;

    with_id_scheme();
    start_with(&f, "postgres", 100, 1);
    for (size_t i = 0; i < 12; i++) {
        size_t which = i % (sizeof(inboxes) / sizeof(inboxes[0]));
        assert_counted(&f, 1, inboxes[which].inbox, inboxes[which].condition);
    }
    finish(&f);
}

static void an_inbox_without_a_prefix_gets_an_empty_digest(void **state)
{
    struct fixture f;
    (void)state;

    with_id_scheme();
    start(&f);
    assert_value(&f, 2, "HTTPS://a.example/inbox",
                 "collectionId=\"https://social.test/ap/users/2/followers\", digest=\"\", "
                 "url=\"https://social.test/users/bob/followers_synchronization\"");
    finish(&f);
}

static void an_account_that_cannot_be_named_gets_no_value(void **state)
{
    struct fixture f;
    (void)state;

    with_id_scheme();
    start(&f);
    assert_value(&f, 3, inboxes[0].inbox, "");
    assert_value(&f, 999, inboxes[0].inbox, "");
    finish(&f);
}

static void before_mastodon_4_5_no_account_is_numeric(void **state)
{
    struct fixture f;
    char *expected = expected_value("users/bob", "bob", "false");
    (void)state;

    make_accounts("");
    start(&f);
    assert_value(&f, 2, inboxes[0].inbox, expected);
    /* a migration is noticed in a minute, and one that is undone at once */
    server_sql(&server, "ALTER TABLE accounts ADD COLUMN id_scheme integer DEFAULT 1");
    f.now_ms += FOLLOWERS_DETECT_MS;
    assert_counted(&f, 2, inboxes[0].inbox, "false");
    server_sql(&server, "ALTER TABLE accounts DROP COLUMN id_scheme");
    f.now_ms += FOLLOWERS_FRESH_MS + 1;
    assert_value(&f, 2, inboxes[0].inbox, expected);
    free(expected);
    finish(&f);
}

static void a_claim_that_leaves_is_not_released(void **state)
{
    struct fixture f;
    struct claim *one = claim_for(1, inboxes[0].inbox);
    struct claim *two = claim_for(1, inboxes[1].inbox);
    (void)state;

    with_id_scheme();
    start(&f);
    followers_wait(f.followers, one);
    followers_wait(f.followers, two);
    assert_int_equal(one->state, CLAIM_FOLLOWERS);
    followers_remove(f.followers, one);
    assert_int_equal(one->state, CLAIM_NEW);
    await_count(&f);
    assert_int_equal(f.released_count, 1);
    assert_ptr_equal(f.released[0], two);
    claim_destroy(one);
    claim_destroy(two);
    finish(&f);
}

/* --- rights, and servers that are away --- */

static const char grants[] = "GRANT SELECT (account_id, target_account_id) ON follows TO reader; "
                             "GRANT SELECT (id, username, uri, id_scheme) ON accounts TO reader";

struct capture {
    int fd;
    int before;
};

static void capture_log(struct capture *capture)
{
    char path[] = "/tmp/fedpush-log-XXXXXX";

    capture->fd = mkstemp(path);
    assert_true(capture->fd >= 0);
    unlink(path);
    capture->before = dup(STDERR_FILENO);
    dup2(capture->fd, STDERR_FILENO);
}

/* Runs the loop until the text has been logged, then gives standard error back. */
static void await_logged(struct fixture *f, struct capture *capture, const char *text)
{
    char *log = mem_alloc(1 << 16);
    bool found = false;

    for (int i = 0; !found && i < SERVER_WAIT_MS / 20; i++) {
        server_run(f->base, 20);
        assert_true(pread(capture->fd, log, (1 << 16) - 1, 0) >= 0);
        found = strstr(log, text) != NULL;
    }
    dup2(capture->before, STDERR_FILENO);
    close(capture->before);
    close(capture->fd);
    if (!found)
        fail_msg("\"%s\" is not in the log:\n%s", text, log);
    free(log);
}

static void a_missing_right_is_told_at_start_and_waited_for(void **state)
{
    struct fixture f;
    struct capture capture;
    (void)state;

    with_id_scheme();
    capture_log(&capture);
    start_with(&f, "reader", 100, FOLLOWERS_TALLY_BYTES);
    followers_wait(f.followers, claim_for(1, inboxes[0].inbox));
    await_logged(&f, &capture, grants);
    assert_false(f.answered);
    server_sql(&server, grants);
    await_count(&f);
    assert_true(followers_lookup(f.followers, f.released[0]));
    assert_counted(&f, 1, inboxes[0].inbox, inboxes[0].condition);
    claim_destroy(f.released[0]);
    finish(&f);
}

static void a_right_taken_away_is_told_at_once(void **state)
{
    struct fixture f;
    struct capture capture;
    (void)state;

    with_id_scheme();
    server_sql(&server, grants);
    start_with(&f, "reader", 100, FOLLOWERS_TALLY_BYTES);
    assert_counted(&f, 1, inboxes[0].inbox, inboxes[0].condition);
    server_sql(&server, "REVOKE SELECT (target_account_id) ON follows FROM reader");
    capture_log(&capture);
    struct claim *claim = claim_for(2, inboxes[0].inbox);
    followers_wait(f.followers, claim);
    await_logged(&f, &capture, "GRANT SELECT (target_account_id) ON follows TO reader");
    assert_true(postgres_is_ready(f.postgres));
    followers_remove(f.followers, claim);
    claim_destroy(claim);
    finish(&f);
}

static void a_database_that_comes_back_is_asked_again(void **state)
{
    struct fixture f;
    (void)state;

    with_id_scheme();
    start(&f);
    assert_counted(&f, 1, inboxes[0].inbox, inboxes[0].condition);
    server_pause_postgres(&server);
    f.now_ms += FOLLOWERS_FRESH_MS + 1;
    struct claim *claim = claim_for(1, inboxes[0].inbox);
    followers_wait(f.followers, claim);
    server_run(f.base, 100);
    assert_int_equal(followers_waiting(f.followers), 1);
    server_resume_postgres(&server);
    await_count(&f);
    assert_int_equal(followers_waiting(f.followers), 0);
    assert_true(followers_lookup(f.followers, claim));
    assert_counted(&f, 1, inboxes[0].inbox, inboxes[0].condition);
    claim_destroy(claim);
    finish(&f);
}

/* Half of the followers are counted when it fails: they don't count twice. */
static void a_pass_that_fails_begins_anew(void **state)
{
    struct fixture f;
    char *expected;
    char *left;
    (void)state;

    with_id_scheme();
    expected = expected_value("users/Alice", "Alice", inboxes[0].condition);
    server_sql(&server,
               "CREATE SEQUENCE trap; ALTER TABLE accounts RENAME TO all_accounts;"
               "CREATE VIEW accounts AS SELECT id, username, id_scheme, CASE WHEN id = 11 AND "
               "nextval('trap') = 2 THEN (1 / (id - id))::varchar ELSE uri END AS uri FROM "
               "all_accounts");
    start_with(&f, "postgres", 1, FOLLOWERS_TALLY_BYTES);
    assert_value(&f, 1, inboxes[0].inbox, expected);
    assert_int_equal(f.counts, 1);
    left = server_sql_value(&server, "SELECT nextval('trap') > 3");
    assert_string_equal(left, "t");
    free(left);
    free(expected);
    server_sql(&server, "DROP VIEW accounts; DROP SEQUENCE trap;"
                        "ALTER TABLE all_accounts RENAME TO accounts");
    finish(&f);
}

static int set_up(void **state)
{
    (void)state;
    server_start_postgres(&server);
    server_sql(&server, "CREATE ROLE reader LOGIN");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_server_gets_the_digest_of_its_own_followers),
        cmocka_unit_test(few_servers_are_read_alone),
        cmocka_unit_test(all_servers_are_counted_in_one_pass),
        cmocka_unit_test(a_digest_is_kept_for_half_a_minute),
        cmocka_unit_test(pages_add_up),
        cmocka_unit_test(a_small_account_doesnt_wait_for_a_large_one),
        cmocka_unit_test(more_servers_than_are_kept_are_counted_when_asked_for),
        cmocka_unit_test(an_inbox_without_a_prefix_gets_an_empty_digest),
        cmocka_unit_test(an_account_that_cannot_be_named_gets_no_value),
        cmocka_unit_test(before_mastodon_4_5_no_account_is_numeric),
        cmocka_unit_test(a_claim_that_leaves_is_not_released),
        cmocka_unit_test(a_pass_that_fails_begins_anew),
        cmocka_unit_test(a_missing_right_is_told_at_start_and_waited_for),
        cmocka_unit_test(a_right_taken_away_is_told_at_once),
        cmocka_unit_test(a_database_that_comes_back_is_asked_again),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("followers", tests, set_up, tear_down);
}
