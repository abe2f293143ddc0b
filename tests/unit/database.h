/*
 * A private PostgreSQL with a loop and connections of ours, for tests of what stands in it.
 * Functions fail the test (cmocka) instead of returning errors.
 */
#ifndef FEDPUSH_TESTS_UNIT_DATABASE_H
#define FEDPUSH_TESTS_UNIT_DATABASE_H

#include "base/postgres.h"
#include "server.h"

struct database {
    struct server server;
    struct event_base *base;
};

/* The log is quiet but for errors from then on. */
void database_start(struct database *database);
void database_stop(struct database *database);
/* For `postgres_destroy`; it need not be there yet. */
struct postgres *database_connect(const struct database *database, const char *user);
/* Makes fedpush's schema. */
void database_set_up(const struct database *database, struct postgres *postgres);

/* The first value of the first row, which must be `expected`. */
void database_expect(const struct database *database, const char *sql, const char *expected);

#endif
