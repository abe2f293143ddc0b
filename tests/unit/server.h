/*
 * Private servers for tests: PostgreSQL and Redis on Unix sockets in a temporary folder. They end
 * with the test, however it ends. Functions fail the test (cmocka) instead of returning errors.
 */
#ifndef FEDPUSH_TESTS_UNIT_SERVER_H
#define FEDPUSH_TESTS_UNIT_SERVER_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

enum { SERVER_WAIT_MS = 30 * 1000 };

struct server {
    char dir[64];
    char socket[108]; /* PostgreSQL: the socket's folder (its `host`); Redis: the socket */
    pid_t pid;        /* 0: not running */
};

/* A new cluster with the superuser "postgres" and the database "fedpush_test". Every role is
 * trusted, but for "locked", which needs its password. Returns when it accepts connections. */
void server_start_postgres(struct server *server);
void server_start_redis(struct server *server);
void server_stop(struct server *server); /* and removes the folder */
/* Ends PostgreSQL at once (SIGQUIT) and keeps its data; resume starts it again on them. */
void server_pause_postgres(struct server *server);
void server_resume_postgres(struct server *server);

/* Runs SQL (several statements are fine) as superuser in fedpush_test. */
void server_sql(const struct server *server, const char *sql);
/* The first value of the first row, "" without one; free() it. */
char *server_sql_value(const struct server *server, const char *sql);

/* Runs the loop until *condition; fails the test after SERVER_WAIT_MS. */
void server_wait(struct event_base *base, const bool *condition);
/* As a loop_fn: sets the condition that server_wait waits for. */
void server_done(void *condition);
/* Runs the loop for so long, for what must not happen. */
void server_run(struct event_base *base, int ms);

#endif
