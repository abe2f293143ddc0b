#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "admin/commands.h"
#include "admin/rights.h"
#include "admin/session.h"
#include "admin/words.h"
#include "sched/schema.h"

struct run {
    struct session *session;
    enum fp_err code;
    char message[512];
    int version;
};

static void on_done(void *arg, enum fp_err code, const char *message, int version)
{
    struct run *run = arg;
    run->code = code;
    snprintf(run->message, sizeof(run->message), "%s", message);
    run->version = version;
    run->session->done = true;
}

static int set_up(struct session *session, bool as_json)
{
    struct run run = {
        .session = session, .code = FP_UNAVAILABLE, .message = "PostgreSQL: no answer"};
    struct err err;
    struct postgres *postgres = session_postgres(session, POSTGRES_ROLE_FEDPUSH, &err);

    if (postgres == NULL)
        return session_fail(&err, FP_EXIT_UNAVAILABLE);
    session->done = false;
    schema_setup(postgres, on_done, &run);
    session_wait(session, 90000); /* the statements' own limits end it sooner */
    if (run.code != FP_OK) {
        err_set(&err, run.code, "setup: %s", run.message);
        return session_fail(&err, run.code == FP_DENIED ? FP_EXIT_NO_PERMISSION : FP_EXIT_FAILURE);
    }
    if (as_json) {
        json_t *result = json_pack("{s:i}", "schema_version", run.version);
        words_print_json(result);
        json_decref(result);
    } else {
        words_print(stdout, "schema fedpush is at version %d", run.version);
    }
    return FP_EXIT_OK;
}

static int set_up_schema(const struct config *config, bool as_json)
{
    struct session session;
    struct err err;
    int code = session_open(&session, config, &err) ? set_up(&session, as_json)
                                                    : session_fail(&err, FP_EXIT_CONFIG);
    session_close(&session);
    return code;
}

/* ---- what is only written ---- */

static int print_sql(void)
{
    struct buf text;

    buf_init(&text, RIGHTS_MAX_BYTES);
    rights_put_sql(&text);
    words_text(stdout, buf_str(&text));
    buf_clear(&text);
    return FP_EXIT_OK;
}

static int print_redis_acl(const struct config *config)
{
    struct buf text;
    struct err err;
    int code = FP_EXIT_OK;

    buf_init(&text, RIGHTS_MAX_BYTES);
    if (rights_put_redis_acl(config, &text, &err) == FP_OK)
        words_text(stdout, buf_str(&text));
    else
        code = session_fail(&err, FP_EXIT_CONFIG);
    buf_clear(&text);
    return code;
}

int command_setup(const struct config *config, int argc, char **argv)
{
    if (argc == 0)
        return set_up_schema(config, false);
    if (argc == 1 && strcmp(argv[0], "--json") == 0)
        return set_up_schema(config, true);
    if (argc == 2 && strcmp(argv[0], "--roles") == 0 && strcmp(argv[1], "--print") == 0)
        return print_sql();
    if (argc == 1 && strcmp(argv[0], "--print-redis-acl") == 0)
        return print_redis_acl(config);
    if (strcmp(argv[0], "--roles") == 0 && argc == 1)
        return words_unknown("setup", "--roles without --print");
    return words_unknown("setup", argv[argc - 1]);
}
