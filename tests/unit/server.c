#include "server.h"

#include <ftw.h>
#include <grp.h>
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#ifndef TEST_POSTGRES_BIN
#define TEST_POSTGRES_BIN "/usr/lib/postgresql/15/bin"
#endif

enum { POLL_US = 10 * 1000 };

static int64_t mono_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void make_dir(struct server *server)
{
    const struct passwd *nobody = getpwnam("nobody");

    *server = (struct server){.pid = 0};
    snprintf(server->dir, sizeof(server->dir), "/tmp/fedpush-test-XXXXXX");
    assert_non_null(mkdtemp(server->dir));
    if (geteuid() == 0) { /* PostgreSQL refuses to run as root */
        assert_non_null(nobody);
        assert_int_equal(chown(server->dir, nobody->pw_uid, nobody->pw_gid), 0);
    }
}

/* In the child: an ordinary user, a quiet log, and the same end as the test's. */
static void become_server(const struct server *server)
{
    const struct passwd *nobody = getpwnam("nobody");
    char path[128];

    if (geteuid() == 0 && (nobody == NULL || setgroups(0, NULL) != 0 ||
                           setgid(nobody->pw_gid) != 0 || setuid(nobody->pw_uid) != 0))
        _exit(126);
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    snprintf(path, sizeof(path), "%s/log", server->dir);
    if (chdir(server->dir) != 0 || freopen(path, "a", stdout) == NULL ||
        dup2(STDOUT_FILENO, STDERR_FILENO) == -1)
        _exit(126);
}

static pid_t spawn(const struct server *server, char *const argv[])
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        become_server(server);
        execv(argv[0], argv);
        _exit(127);
    }
    return pid;
}

static char *word(const char *text)
{
    char *copy = strdup(text);
    assert_non_null(copy);
    return copy;
}

static void free_words(char **words)
{
    for (; *words != NULL; words++)
        free(*words);
}

static void write_hba(const struct server *server)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/data/pg_hba.conf", server->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("local all locked scram-sha-256\nlocal all all trust\n", file);
    assert_int_equal(fclose(file), 0);
}

static PGconn *superuser(const struct server *server, const char *database)
{
    char conninfo[256];
    snprintf(conninfo, sizeof(conninfo),
             "host=%s user=postgres dbname=%s options='-c client_min_messages=warning'",
             server->socket, database);
    return PQconnectdb(conninfo);
}

static void wait_for_postgres(struct server *server, const char *database)
{
    int64_t deadline = mono_ms() + SERVER_WAIT_MS;

    for (;;) {
        PGconn *conn = superuser(server, database);
        bool ok = PQstatus(conn) == CONNECTION_OK;
        PQfinish(conn);
        if (ok)
            return;
        assert_int_equal(waitpid(server->pid, NULL, WNOHANG), 0); /* see its log in server->dir */
        assert_true(mono_ms() < deadline);
        usleep(POLL_US);
    }
}

static void run_postgres(struct server *server)
{
    char *argv[] = {word(TEST_POSTGRES_BIN "/postgres"),
                    word("-D"),
                    word("data"),
                    word("-k"),
                    word(server->dir),
                    word("-c"),
                    word("listen_addresses="),
                    word("-c"),
                    word("fsync=off"),
                    word("-c"),
                    word("max_connections=20"),
                    NULL};
    server->pid = spawn(server, argv);
    free_words(argv);
}

void server_start_postgres(struct server *server)
{
    int status = -1;

    make_dir(server);
    snprintf(server->socket, sizeof(server->socket), "%s", server->dir);
    char *argv[] = {word(TEST_POSTGRES_BIN "/initdb"),
                    word("--pgdata=data"),
                    word("--username=postgres"),
                    word("--auth=trust"),
                    word("--encoding=UTF8"),
                    word("--locale=C"),
                    word("--no-sync"),
                    NULL};
    pid_t pid = spawn(server, argv);
    free_words(argv);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    write_hba(server);
    run_postgres(server);
    wait_for_postgres(server, "postgres");
    PGconn *conn = superuser(server, "postgres");
    PGresult *result = PQexec(conn, "CREATE DATABASE fedpush_test");
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    PQfinish(conn);
}

static void end_process(struct server *server, int signal_number)
{
    int64_t deadline = mono_ms() + SERVER_WAIT_MS;

    if (server->pid == 0)
        return;
    kill(server->pid, signal_number);
    while (waitpid(server->pid, NULL, WNOHANG) == 0) {
        if (mono_ms() >= deadline)
            kill(server->pid, SIGKILL);
        usleep(POLL_US);
    }
    server->pid = 0;
}

void server_pause_postgres(struct server *server)
{
    end_process(server, SIGQUIT);
}

void server_resume_postgres(struct server *server)
{
    run_postgres(server);
    wait_for_postgres(server, "fedpush_test");
}

static bool redis_answers(const struct server *server)
{
    redisContext *context = redisConnectUnix(server->socket);
    redisReply *reply = context != NULL && context->err == 0 ? redisCommand(context, "PING") : NULL;
    bool ok = reply != NULL && reply->type == REDIS_REPLY_STATUS;

    freeReplyObject(reply);
    if (context != NULL)
        redisFree(context);
    return ok;
}

void server_start_redis(struct server *server)
{
    int64_t deadline = mono_ms() + SERVER_WAIT_MS;

    make_dir(server);
    snprintf(server->socket, sizeof(server->socket), "%s/redis.sock", server->dir);
    char *argv[] = {word("/usr/bin/redis-server"),
                    word("--port"),
                    word("0"),
                    word("--unixsocket"),
                    word(server->socket),
                    word("--unixsocketperm"),
                    word("777"),
                    word("--save"),
                    word(""),
                    NULL};
    server->pid = spawn(server, argv);
    free_words(argv);
    while (!redis_answers(server)) {
        assert_int_equal(waitpid(server->pid, NULL, WNOHANG), 0);
        assert_true(mono_ms() < deadline);
        usleep(POLL_US);
    }
}

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

void server_stop(struct server *server)
{
    end_process(server, SIGQUIT);
    if (server->dir[0] != '\0')
        nftw(server->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    *server = (struct server){.pid = 0};
}

static PGresult *run_sql(const struct server *server, const char *sql)
{
    PGconn *conn = superuser(server, "fedpush_test");
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        print_error("%s\n", PQresultErrorMessage(result));
    assert_true(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK);
    PQfinish(conn);
    return result;
}

void server_sql(const struct server *server, const char *sql)
{
    PQclear(run_sql(server, sql));
}

char *server_sql_value(const struct server *server, const char *sql)
{
    PGresult *result = run_sql(server, sql);
    char *value = word(PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");

    PQclear(result);
    return value;
}

static void on_overdue(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    *(bool *)arg = true;
}

void server_wait(struct event_base *base, const bool *condition)
{
    const struct timeval limit = {SERVER_WAIT_MS / 1000, 0};
    bool overdue = false;
    struct event *timer = evtimer_new(base, on_overdue, &overdue);

    evtimer_add(timer, &limit);
    while (!*condition && !overdue)
        event_base_loop(base, EVLOOP_ONCE);
    event_free(timer);
    if (!*condition)
        fail_msg("waited %d ms for nothing", SERVER_WAIT_MS);
}

void server_done(void *condition)
{
    *(bool *)condition = true;
}

void server_run(struct event_base *base, int ms)
{
    const struct timeval limit = {ms / 1000, ms % 1000 * 1000};
    bool over = false;
    struct event *timer = evtimer_new(base, on_overdue, &over);

    evtimer_add(timer, &limit);
    while (!over)
        event_base_loop(base, EVLOOP_ONCE);
    event_free(timer);
}
