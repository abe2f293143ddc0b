#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/postgres.h"
#include "database.h"

enum { DEADLINE_MS = 10 * 1000 };

static struct database db;

struct answer {
    bool done;
    int calls;
    enum postgres_status status;
    char value[256];
    char message[512];
};

static void on_answer(void *arg, enum postgres_status status, PGresult *result, const char *message)
{
    struct answer *answer = arg;

    answer->done = true;
    answer->calls++;
    answer->status = status;
    snprintf(answer->message, sizeof(answer->message), "%s", message);
    if (status == POSTGRES_OK && PQntuples(result) > 0)
        snprintf(answer->value, sizeof(answer->value), "%s", PQgetvalue(result, 0, 0));
    if (status == POSTGRES_LOST)
        assert_null(result);
}

static struct postgres *connect_to(const char *host, const char *rest, bool writes, bool secret)
{
    char conninfo[256];
    snprintf(conninfo, sizeof(conninfo), "host=%s %s", host, rest);
    return postgres_create(db.base, NULL,
                           &(struct postgres_options){.conninfo = str_of(conninfo),
                                                      .name = "test",
                                                      .writes = writes,
                                                      .secret_results = secret});
}

#define SUPERUSER "user=postgres dbname=fedpush_test"

static struct postgres *connect_plainly(void)
{
    return connect_to(db.server.socket, SUPERUSER, true, false);
}

static struct answer ask(struct postgres *pg, const char *sql, size_t count,
                         const struct str *params)
{
    struct answer answer = {.done = false};
    postgres_query(pg, on_answer, &answer, DEADLINE_MS, sql, count, params);
    assert_false(answer.done);
    server_wait(db.base, &answer.done);
    assert_int_equal(answer.calls, 1);
    return answer;
}

/* Until the problem is `text`; fails after the helper's limit. */
static void wait_for_problem(struct postgres *pg, const char *text)
{
    for (int i = 0; i < SERVER_WAIT_MS / 20; i++) {
        if (strstr(postgres_problem(pg), text) != NULL)
            return;
        server_run(db.base, 20);
    }
    fail_msg("\"%s\" is not about \"%s\"", postgres_problem(pg), text);
}

static void parameters_and_values_pass_unchanged(void **state)
{
    struct postgres *pg = connect_plainly();
    const struct str params[] = {STR("it's \"quoted\" \\ \xc3\xbc"), STR_NULL};
    (void)state;

    struct answer answer = ask(pg, "SELECT $1::text || coalesce($2::text, ' null')", 2, params);
    assert_int_equal(answer.status, POSTGRES_OK);
    assert_string_equal(answer.value, "it's \"quoted\" \\ \xc3\xbc null");
    assert_true(postgres_is_ready(pg));
    assert_string_equal(postgres_problem(pg), "");
    answer = ask(pg, "SELECT current_setting('application_name')", 0, NULL);
    assert_string_equal(answer.value, "fedpush");
    postgres_destroy(pg);
}

static void a_string_may_hold_several_statements(void **state)
{
    struct postgres *pg = connect_plainly();
    (void)state;

    struct answer answer =
        ask(pg, "CREATE TEMP TABLE two (n int); INSERT INTO two VALUES (7); SELECT n FROM two", 0,
            NULL);
    assert_int_equal(answer.status, POSTGRES_OK);
    assert_string_equal(answer.value, "7");
    answer = ask(pg, "SELECT 1; SELECT * FROM nowhere; SELECT 2", 0, NULL);
    assert_int_equal(answer.status, POSTGRES_ERROR);
    assert_non_null(strstr(answer.message, "42P01"));
    postgres_destroy(pg);
}

static void arrays_carry_any_bytes(void **state)
{
    static const char nul[] = {'a', '\0', 'b'};
    struct postgres *pg = connect_plainly();
    struct buf array;
    (void)state;

    buf_init(&array, 4096);
    postgres_array_add(&array, STR("x,\"y\"\\{}"));
    postgres_array_add(&array, STR(""));
    postgres_array_add(&array, STR("NULL"));
    postgres_array_add(&array, (struct str){nul, sizeof(nul)});
    postgres_array_add(&array, STR("\xff\xed\xa0\x80"));
    postgres_array_end(&array);
    struct str params[] = {buf_str(&array)};
    struct answer answer = ask(pg,
                               "SELECT string_agg('<' || coalesce(v, 'null') || '>', '' ORDER BY n)"
                               " FROM unnest($1::text[]) WITH ORDINALITY AS t(v, n)",
                               1, params);
    assert_string_equal(answer.value, "<x,\"y\"\\{}><><NULL><a\xef\xbf\xbd"
                                      "b><\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd>");
    buf_reset(&array);
    postgres_array_end(&array);
    params[0] = buf_str(&array);
    answer = ask(pg, "SELECT cardinality($1::text[])", 1, params);
    assert_string_equal(answer.value, "0");
    buf_clear(&array);
    postgres_destroy(pg);
}

static void errors_name_the_sqlstate_and_no_value(void **state)
{
    struct postgres *pg = connect_plainly();
    const struct str params[] = {STR("hunter2")};
    (void)state;

    struct answer answer = ask(pg, "SELECT $1::text::int", 1, params);
    assert_int_equal(answer.status, POSTGRES_ERROR);
    assert_non_null(strstr(answer.message, "22P02"));
    assert_null(strstr(answer.message, "hunter2"));
    answer = ask(pg, "SELECT 'still here'", 0, NULL);
    assert_string_equal(answer.value, "still here");
    postgres_destroy(pg);
}

static void large_results_arrive_whole(void **state)
{
    struct postgres *pg = connect_plainly();
    struct answer answer;
    (void)state;

    answer =
        ask(pg, "SELECT length(string_agg(repeat('x', 1000), '')) FROM generate_series(1,5000)", 0,
            NULL);
    assert_string_equal(answer.value, "5000000");
    answer = ask(pg, "SELECT n, repeat('x', 100000) FROM generate_series(42, 92) AS n", 0, NULL);
    assert_int_equal(answer.status, POSTGRES_OK);
    assert_string_equal(answer.value, "42");
    postgres_destroy(pg);
}

struct rows {
    struct answer answer;
    int count;
    long long sum;
};

static void on_row(void *arg, const PGresult *row)
{
    struct rows *rows = arg;

    assert_false(rows->answer.done);
    assert_int_equal(PQntuples(row), 1);
    rows->count++;
    rows->sum += strtoll(PQgetvalue(row, 0, 0), NULL, 10);
}

static void on_rows_done(void *arg, enum postgres_status status, PGresult *result,
                         const char *message)
{
    struct rows *rows = arg;

    if (status == POSTGRES_OK)
        assert_int_equal(PQntuples(result), 0);
    on_answer(&rows->answer, status, result, message);
}

static struct rows stream(struct postgres *pg, const char *sql)
{
    struct rows rows = {.count = 0};

    postgres_stream(pg, on_row, on_rows_done, &rows, DEADLINE_MS, sql, 0, NULL);
    server_wait(db.base, &rows.answer.done);
    assert_int_equal(rows.answer.calls, 1);
    return rows;
}

static void rows_are_handed_over_one_by_one(void **state)
{
    struct postgres *pg = connect_plainly();
    (void)state;

    struct rows rows = stream(pg, "SELECT generate_series(1, 20000), repeat('x', 100)");
    assert_int_equal(rows.answer.status, POSTGRES_OK);
    assert_int_equal(rows.count, 20000);
    assert_int_equal(rows.sum, 20000LL * 20001 / 2);
    rows = stream(pg, "SELECT 10 / (3 - n) FROM generate_series(1, 4) AS n");
    assert_int_equal(rows.answer.status, POSTGRES_ERROR);
    assert_non_null(strstr(rows.answer.message, "22012"));
    assert_int_equal(rows.count, 2);
    rows = stream(pg, "SELECT pg_terminate_backend(pg_backend_pid())");
    assert_int_equal(rows.answer.status, POSTGRES_LOST);
    struct answer answer = ask(pg, "SELECT 1 UNION ALL SELECT 2", 0, NULL);
    assert_int_equal(answer.status, POSTGRES_OK);
    postgres_destroy(pg);
}

static void a_full_queue_refuses_from_the_loop(void **state)
{
    enum { FITS = 256, ASKED = FITS + 1 };
    struct postgres *pg = connect_to("/nowhere", SUPERUSER, true, false);
    struct answer answers[ASKED] = {{.done = false}};
    (void)state;

    for (int i = 0; i < ASKED; i++)
        postgres_query(pg, on_answer, &answers[i], 500, "SELECT 1", 0, NULL);
    assert_false(answers[FITS].done);
    server_wait(db.base, &answers[FITS].done);
    assert_int_equal(answers[FITS].status, POSTGRES_LOST);
    assert_false(answers[0].done);
    server_wait(db.base, &answers[FITS - 1].done);
    for (int i = 0; i < ASKED; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].status, POSTGRES_LOST);
    }
    assert_false(postgres_is_ready(pg));
    postgres_destroy(pg);
}

static void statements_run_in_the_order_they_came(void **state)
{
    struct postgres *pg = connect_plainly();
    struct answer answers[3] = {{.done = false}};
    (void)state;

    postgres_query(pg, on_answer, &answers[0], DEADLINE_MS, "CREATE TEMP TABLE seen (n int)", 0,
                   NULL);
    postgres_query(pg, NULL, NULL, DEADLINE_MS, "INSERT INTO seen VALUES (1)", 0, NULL);
    postgres_query(pg, on_answer, &answers[1], DEADLINE_MS, "SELECT sum(n) FROM seen", 0, NULL);
    server_wait(db.base, &answers[1].done);
    assert_string_equal(answers[1].value, "1");
    assert_true(answers[0].done);
    postgres_destroy(pg);
}

static void a_terminated_session_is_lost_and_replaced(void **state)
{
    struct postgres *pg = connect_plainly();
    (void)state;

    struct answer answer = ask(pg, "SELECT pg_terminate_backend(pg_backend_pid())", 0, NULL);
    assert_int_equal(answer.status, POSTGRES_LOST);
    assert_false(postgres_is_ready(pg));
    answer = ask(pg, "SELECT 'again'", 0, NULL);
    assert_string_equal(answer.value, "again");
    /* and while no statement runs */
    server_sql(&db.server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                           " WHERE application_name = 'fedpush'");
    wait_for_problem(pg, "closed");
    answer = ask(pg, "SELECT 'again'", 0, NULL);
    assert_string_equal(answer.value, "again");
    postgres_destroy(pg);
}

static void a_crashed_server_is_waited_for(void **state)
{
    struct postgres *pg = connect_plainly();
    struct answer running = {.done = false};
    struct answer waiting = {.done = false};
    (void)state;

    ask(pg, "SELECT 1", 0, NULL);
    postgres_query(pg, on_answer, &running, DEADLINE_MS, "SELECT pg_sleep(60)", 0, NULL);
    postgres_query(pg, on_answer, &waiting, DEADLINE_MS, "SELECT 'back'", 0, NULL);
    server_run(db.base, 50);
    server_pause_postgres(&db.server);
    server_wait(db.base, &running.done);
    assert_int_equal(running.status, POSTGRES_LOST);
    wait_for_problem(pg, "No such file");
    assert_false(waiting.done);
    server_resume_postgres(&db.server);
    server_wait(db.base, &waiting.done);
    assert_string_equal(waiting.value, "back");
    postgres_destroy(pg);
}

static void an_open_transaction_does_not_survive_its_statement(void **state)
{
    struct postgres *pg = connect_plainly();
    (void)state;

    struct answer answer = ask(pg, "BEGIN; SELECT * FROM nowhere; COMMIT", 0, NULL);
    assert_int_equal(answer.status, POSTGRES_ERROR);
    answer = ask(pg, "SELECT 'clean'", 0, NULL);
    assert_string_equal(answer.value, "clean");
    postgres_destroy(pg);
}

static void problems_name_the_remedy_and_no_secret(void **state)
{
    static const struct {
        const char *conninfo;
        const char *expected;
    } cases[] = {
        {"user=locked password=hunter2 dbname=fedpush_test", "DB_PASS"},
        {"user=locked dbname=fedpush_test", "set the password"},
        {"user=postgres dbname=missing password=hunter2", "DB_NAME"},
        {"port=1 user=postgres password=hunter2", "check host and port"},
        {"user=nobody_like_this dbname=fedpush_test", "DB_USER"},
        {"password='hunter2", "malformed"},
    };
    (void)state;

    server_sql(&db.server, "CREATE ROLE locked LOGIN PASSWORD 'open sesame'");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct postgres *pg = connect_to(db.server.socket, cases[i].conninfo, false, false);
        wait_for_problem(pg, cases[i].expected);
        assert_null(strstr(postgres_problem(pg), "hunter2"));
        assert_false(postgres_is_ready(pg));
        postgres_destroy(pg);
    }
}

static void a_read_only_session_is_refused_until_it_writes(void **state)
{
    struct postgres *pg;
    (void)state;

    server_sql(&db.server, "ALTER DATABASE fedpush_test SET default_transaction_read_only = on");
    pg = connect_plainly();
    wait_for_problem(pg, "primary");
    assert_false(postgres_is_ready(pg));
    struct postgres *reader = connect_to(db.server.socket, SUPERUSER, false, false);
    assert_int_equal(ask(reader, "SELECT 1", 0, NULL).status, POSTGRES_OK);
    postgres_destroy(reader);
    server_sql(&db.server, "SET TRANSACTION READ WRITE;"
                           "ALTER DATABASE fedpush_test RESET default_transaction_read_only");
    assert_int_equal(ask(pg, "CREATE TABLE written ()", 0, NULL).status, POSTGRES_OK);
    /* SQLSTATE 25006: the server became a standby under this session */
    struct answer answer = ask(pg, "SET TRANSACTION READ ONLY; CREATE TABLE written2 ()", 0, NULL);
    assert_int_equal(answer.status, POSTGRES_LOST);
    assert_non_null(strstr(answer.message, "25006"));
    assert_int_equal(ask(pg, "DROP TABLE written", 0, NULL).status, POSTGRES_OK);
    postgres_destroy(pg);
}

static void hosts_are_tried_in_order(void **state)
{
    char hosts[160];
    snprintf(hosts, sizeof(hosts), "/nonexistent,%s", db.server.socket);
    struct postgres *pg = connect_to(hosts, SUPERUSER, true, false);
    (void)state;

    assert_int_equal(ask(pg, "SELECT 1", 0, NULL).status, POSTGRES_OK);
    postgres_destroy(pg);
}

static void names_are_resolved_without_blocking(void **state)
{
    struct err err;
    /* No resolver listens there: what isn't in /etc/hosts has no answer. */
    struct dns *dns = dns_create(
        db.base,
        &(struct dns_options){.servers = STR("127.0.0.1:1"), .hosts_file = true, .timeout_ms = 500},
        &err);
    char conninfo[256];
    (void)state;

    assert_non_null(dns);
    snprintf(conninfo, sizeof(conninfo), "host=nowhere.invalid,localhost,%s port=1,1,5432 %s",
             db.server.socket, SUPERUSER);
    struct postgres_options options = {.conninfo = str_of(conninfo), .name = "test"};
    struct postgres *pg = postgres_create(db.base, dns, &options);
    assert_int_equal(ask(pg, "SELECT 1", 0, NULL).status, POSTGRES_OK);
    postgres_destroy(pg);
    options.conninfo = STR("host=nowhere.invalid user=postgres");
    pg = postgres_create(db.base, dns, &options);
    wait_for_problem(pg, "\"nowhere.invalid\" can't be resolved");
    postgres_destroy(pg);
    options.conninfo = STR("host=localhost port=1 user=postgres");
    pg = postgres_create(db.base, dns, &options);
    wait_for_problem(pg, "port 1 failed");
    postgres_destroy(pg);
    pg = postgres_create(db.base, dns, &options); /* and one that goes while it asks */
    server_run(db.base, 1);
    postgres_destroy(pg);
    dns_destroy(dns);
}

/* --- secrets --- */

enum { SECRET_BYTES = 40, MASK = 0x5a };

/* What the server makes of "md5 of n" never stands in our memory by our own doing: kept masked. */
static unsigned char masked_secret[SECRET_BYTES];

static void keep_masked(void *arg, enum postgres_status status, PGresult *result,
                        const char *message)
{
    (void)message;
    assert_int_equal(status, POSTGRES_OK);
    const char *value = PQgetvalue(result, 0, 1);
    for (size_t i = 0; i < SECRET_BYTES; i++)
        masked_secret[i] = (unsigned char)value[1000 + i] ^ MASK;
    *(bool *)arg = true;
}

__attribute__((no_sanitize("address"))) static size_t count_secret(const unsigned char *from,
                                                                   const unsigned char *to)
{
    const unsigned char first = masked_secret[0] ^ MASK;
    size_t found = 0;

    for (const unsigned char *at = from; at + SECRET_BYTES <= to; at++) {
        size_t i = 0;
        if (*at != first)
            continue;
        while (i < SECRET_BYTES && (at[i] ^ masked_secret[i]) == MASK)
            i++;
        found += i == SECRET_BYTES;
    }
    return found;
}

/* In [heap] and in anonymous writable mappings (the sanitizer's shadow is too large to be one). */
static size_t secrets_in_memory(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    size_t found = 0;

    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long from;
        unsigned long to;
        char rights[5];
        char path[300] = "";
        if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %299s", &from, &to, rights, path) < 3)
            continue;
        if (rights[0] != 'r' || rights[1] != 'w' || to - from > (256UL << 20) ||
            (path[0] != '\0' && strcmp(path, "[heap]") != 0))
            continue;
        found += count_secret((const unsigned char *)from, (const unsigned char *)to);
    }
    fclose(maps);
    return found;
}

static void fetch_secret(struct postgres *pg)
{
    bool done = false;

    postgres_query(pg, keep_masked, &done, DEADLINE_MS,
                   "SELECT 17, (SELECT string_agg(md5(n::text || clock_timestamp()::text), '')"
                   " FROM generate_series(1, 60) AS n)",
                   0, NULL);
    server_wait(db.base, &done);
    for (int i = 0; i < 100 && !postgres_is_ready(pg); i++)
        server_run(db.base, 10);
    server_run(db.base, 200); /* the statement behind it overwrites the buffer */
}

static void secret_results_leave_no_copy(void **state)
{
    struct postgres *plain = connect_plainly();
    (void)state;

    fetch_secret(plain);
    assert_int_not_equal(secrets_in_memory(), 0); /* the search does find what is not wiped */
    postgres_destroy(plain);
    struct postgres *pg = connect_to(db.server.socket, SUPERUSER, false, true);
    for (int i = 0; i < 3; i++) {
        fetch_secret(pg);
        assert_int_equal(secrets_in_memory(), 0);
    }
    postgres_destroy(pg);
    assert_int_equal(secrets_in_memory(), 0);
}

static int start(void **state)
{
    (void)state;
    database_start(&db);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    database_stop(&db);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_and_values_pass_unchanged),
        cmocka_unit_test(a_string_may_hold_several_statements),
        cmocka_unit_test(arrays_carry_any_bytes),
        cmocka_unit_test(errors_name_the_sqlstate_and_no_value),
        cmocka_unit_test(large_results_arrive_whole),
        cmocka_unit_test(rows_are_handed_over_one_by_one),
        cmocka_unit_test(a_full_queue_refuses_from_the_loop),
        cmocka_unit_test(statements_run_in_the_order_they_came),
        cmocka_unit_test(a_terminated_session_is_lost_and_replaced),
        cmocka_unit_test(a_crashed_server_is_waited_for),
        cmocka_unit_test(an_open_transaction_does_not_survive_its_statement),
        cmocka_unit_test(problems_name_the_remedy_and_no_secret),
        cmocka_unit_test(a_read_only_session_is_refused_until_it_writes),
        cmocka_unit_test(hosts_are_tried_in_order),
        cmocka_unit_test(names_are_resolved_without_blocking),
        cmocka_unit_test(secret_results_leave_no_copy),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
