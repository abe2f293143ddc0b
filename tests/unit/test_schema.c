/* Against a real PostgreSQL: what `fedpush setup` makes, and with which rights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "database.h"
#include "sched/schema.h"

static struct database db;

struct answer {
    bool done;
    int calls;
    enum fp_err code;
    int version;
    char message[512];
};

static void on_answer(void *arg, enum fp_err code, const char *message, int version)
{
    struct answer *answer = arg;

    answer->done = true;
    answer->calls++;
    answer->code = code;
    answer->version = version;
    snprintf(answer->message, sizeof(answer->message), "%s", message);
}

static struct answer run_as(const char *user,
                            void (*function)(struct postgres *, schema_fn *, void *))
{
    struct postgres *postgres = database_connect(&db, user);
    struct answer answer = {.done = false};

    function(postgres, on_answer, &answer);
    assert_false(answer.done);
    server_wait(db.base, &answer.done);
    postgres_destroy(postgres);
    assert_int_equal(answer.calls, 1);
    return answer;
}

/* Does what the message tells the database's owner to do. */
static void obey(const char *message)
{
    const char *grant = strstr(message, "GRANT");
    assert_non_null(grant);
    server_sql(&db.server, grant);
}

static int forget_schema(void **state)
{
    (void)state;
    server_sql(&db.server, "DROP SCHEMA IF EXISTS fedpush CASCADE;"
                           "REVOKE CREATE ON DATABASE fedpush_test FROM \"Maker one\"");
    return 0;
}

static void a_missing_schema_is_reported_with_the_command(void **state)
{
    struct answer answer = run_as("Maker one", schema_check);
    (void)state;

    assert_int_equal(answer.code, FP_UNAVAILABLE);
    assert_int_equal(answer.version, 0);
    assert_non_null(strstr(answer.message, "fedpush setup"));
}

static void create_on_the_database_is_all_that_setup_needs(void **state)
{
    struct answer answer = run_as("Maker one", schema_setup);
    (void)state;

    assert_int_equal(answer.code, FP_DENIED);
    assert_non_null(strstr(answer.message, "CREATE ON DATABASE fedpush_test TO \"Maker one\""));
    obey(answer.message);
    for (int i = 0; i < 2; i++) {
        answer = run_as("Maker one", schema_setup);
        assert_int_equal(answer.code, FP_OK);
        assert_int_equal(answer.version, SCHEMA_VERSION);
    }
    answer = run_as("Maker one", schema_check);
    assert_int_equal(answer.code, FP_OK);
    assert_int_equal(answer.version, SCHEMA_VERSION);
    char *tables = server_sql_value(
        &db.server, "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables"
                    " WHERE schemaname = 'fedpush' AND tableowner = 'Maker one'");
    assert_string_equal(tables, "audit domain_error domain_health domain_hourly domain_policy "
                                "fleet_hourly fleet_minutely inbox_health schema_version");
    free(tables);
    char *versions =
        server_sql_value(&db.server, "SELECT count(*) = max(version) FROM fedpush.schema_version");
    assert_string_equal(versions, "t");
    free(versions);
}

static void the_owner_of_the_schema_needs_no_right_on_the_database(void **state)
{
    (void)state;

    server_sql(&db.server, "CREATE SCHEMA fedpush AUTHORIZATION \"Maker one\"");
    assert_int_equal(run_as("Maker one", schema_setup).code, FP_OK);
}

static void a_schema_of_somebody_else_is_named_as_such(void **state)
{
    (void)state;

    server_sql(&db.server, "CREATE SCHEMA fedpush");
    struct answer answer = run_as("Maker one", schema_setup);
    assert_int_equal(answer.code, FP_DENIED);
    assert_non_null(strstr(answer.message, "CREATE ON SCHEMA fedpush TO \"Maker one\""));
    obey(answer.message);
    assert_int_equal(run_as("Maker one", schema_setup).code, FP_OK);
}

static void the_grants_of_a_check_are_enough(void **state)
{
    static const char *const missing[] = {
        "REVOKE USAGE ON SCHEMA fedpush FROM runner",
        "REVOKE SELECT ON fedpush.schema_version FROM runner",
        "REVOKE UPDATE ON fedpush.domain_health FROM runner",
        "REVOKE INSERT ON fedpush.inbox_health FROM runner",
        "REVOKE UPDATE ON fedpush.domain_policy FROM runner",
        "REVOKE INSERT ON fedpush.audit FROM runner",
        "REVOKE UPDATE ON fedpush.domain_hourly FROM runner",
        "REVOKE DELETE ON fedpush.fleet_minutely FROM runner",
        "REVOKE DELETE ON fedpush.domain_error FROM runner",
        "REVOKE DELETE ON fedpush.audit FROM runner",
    };
    (void)state;

    assert_int_equal(run_as("postgres", schema_setup).code, FP_OK);
    struct answer answer = run_as("runner", schema_check);
    assert_int_equal(answer.code, FP_DENIED);
    obey(answer.message);
    assert_int_equal(run_as("runner", schema_check).code, FP_OK);
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        server_sql(&db.server, missing[i]);
        answer = run_as("runner", schema_check);
        assert_int_equal(answer.code, FP_DENIED);
        assert_non_null(strstr(answer.message, "TO runner"));
        obey(answer.message);
        assert_int_equal(run_as("runner", schema_check).code, FP_OK);
    }
}

/* As fedpush 0.1 of version 2 left it, with a row in it. */
static void an_older_schema_is_upgraded_and_keeps_what_it_has(void **state)
{
    (void)state;

    assert_int_equal(run_as("postgres", schema_setup).code, FP_OK);
    server_sql(&db.server,
               "DROP TABLE fedpush.domain_hourly, fedpush.fleet_minutely,"
               " fedpush.fleet_hourly, fedpush.domain_error;"
               "DELETE FROM fedpush.schema_version WHERE version > 2;"
               "INSERT INTO fedpush.domain_health (host, delivered) VALUES ('a.test', 7)");
    struct answer answer = run_as("postgres", schema_check);
    assert_int_equal(answer.code, FP_UNAVAILABLE);
    assert_int_equal(answer.version, 2);
    assert_int_equal(run_as("postgres", schema_setup).code, FP_OK);
    assert_int_equal(run_as("postgres", schema_check).version, SCHEMA_VERSION);
    char *rows = server_sql_value(
        &db.server, "SELECT delivered || ' ' || (SELECT count(*) FROM fedpush.domain_hourly) FROM "
                    "fedpush.domain_health");
    assert_string_equal(rows, "7 0");
    free(rows);
}

static void a_newer_schema_is_left_alone(void **state)
{
    (void)state;

    assert_int_equal(run_as("postgres", schema_setup).code, FP_OK);
    server_sql(&db.server, "INSERT INTO fedpush.schema_version (version) VALUES (1000)");
    struct answer answer = run_as("postgres", schema_setup);
    assert_int_equal(answer.code, FP_INVALID);
    assert_int_equal(answer.version, 1000);
    assert_int_equal(run_as("postgres", schema_check).code, FP_INVALID);
}

static void two_machines_may_set_up_at_once(void **state)
{
    struct postgres *postgres[2];
    struct answer answers[2] = {{.done = false}};
    (void)state;

    for (int i = 0; i < 2; i++) {
        postgres[i] = database_connect(&db, "postgres");
        schema_setup(postgres[i], on_answer, &answers[i]);
    }
    for (int i = 0; i < 2; i++) {
        server_wait(db.base, &answers[i].done);
        assert_int_equal(answers[i].code, FP_OK);
        postgres_destroy(postgres[i]);
    }
}

static void a_failed_setup_leaves_nothing(void **state)
{
    (void)state;

    /* A view can have no index. */
    server_sql(&db.server, "CREATE SCHEMA fedpush; CREATE TABLE fedpush.domain_health (wrong int);"
                           "CREATE VIEW fedpush.inbox_health AS SELECT 1 AS one");
    struct answer answer = run_as("postgres", schema_setup);
    assert_int_equal(answer.code, FP_SYSTEM);
    char *exists = server_sql_value(&db.server, "SELECT to_regclass('fedpush.schema_version')");
    assert_string_equal(exists, "");
    free(exists);
}

static int start(void **state)
{
    (void)state;
    database_start(&db);
    server_sql(&db.server, "CREATE ROLE \"Maker one\" LOGIN; CREATE ROLE runner LOGIN");
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
        cmocka_unit_test_setup(a_missing_schema_is_reported_with_the_command, forget_schema),
        cmocka_unit_test_setup(create_on_the_database_is_all_that_setup_needs, forget_schema),
        cmocka_unit_test_setup(the_owner_of_the_schema_needs_no_right_on_the_database,
                               forget_schema),
        cmocka_unit_test_setup(a_schema_of_somebody_else_is_named_as_such, forget_schema),
        cmocka_unit_test_setup(the_grants_of_a_check_are_enough, forget_schema),
        cmocka_unit_test_setup(an_older_schema_is_upgraded_and_keeps_what_it_has, forget_schema),
        cmocka_unit_test_setup(a_newer_schema_is_left_alone, forget_schema),
        cmocka_unit_test_setup(two_machines_may_set_up_at_once, forget_schema),
        cmocka_unit_test_setup(a_failed_setup_leaves_nothing, forget_schema),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
