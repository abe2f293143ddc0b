#include "database.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/loop.h"
#include "sched/schema.h"

void database_start(struct database *database)
{
    assert_true(sodium_init() >= 0);
    log_open("test", LOG_LEVEL_ERROR);
    database->base = loop_create();
    server_start_postgres(&database->server);
}

void database_stop(struct database *database)
{
    server_stop(&database->server);
    event_base_free(database->base);
}

struct postgres *database_connect(const struct database *database, const char *user)
{
    char conninfo[256];

    snprintf(conninfo, sizeof(conninfo), "host=%s dbname=fedpush_test user='%s'",
             database->server.socket, user);
    return postgres_create(
        database->base, NULL,
        &(struct postgres_options){.conninfo = str_of(conninfo), .name = "test", .writes = true});
}

static void on_schema(void *arg, enum fp_err code, const char *message, int version)
{
    (void)version;
    if (code != FP_OK)
        fail_msg("%s", message);
    *(bool *)arg = true;
}

void database_set_up(const struct database *database, struct postgres *postgres)
{
    bool done = false;

    schema_setup(postgres, on_schema, &done);
    server_wait(database->base, &done);
}

void database_expect(const struct database *database, const char *sql, const char *expected)
{
    char *value = server_sql_value(&database->server, sql);

    assert_string_equal(value, expected);
    free(value);
}
