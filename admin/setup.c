#include <stdio.h>
#include <string.h>

#include "admin/commands.h"
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

static int set_up(struct session *session)
{
    struct run run = {
        .session = session, .code = FP_UNAVAILABLE, .message = "PostgreSQL: no answer"};
    struct err err;
    struct postgres *postgres = session_postgres(session, POSTGRES_ROLE_FEDPUSH, &err);

    if (postgres == NULL)
        return session_fail(&err, FP_EXIT_UNAVAILABLE);
    session->done = false;
    schema_setup(postgres, on_done, &run);
    session_wait(session, 60000);
    if (run.code != FP_OK) {
        err_set(&err, run.code, "setup: %s", run.message);
        return session_fail(&err, run.code == FP_DENIED ? FP_EXIT_NO_PERMISSION : FP_EXIT_FAILURE);
    }
    printf("schema fedpush is at version %d\n", run.version);
    return FP_EXIT_OK;
}

int command_setup(const struct config *config, int argc, char **argv)
{
    struct session session;
    struct err err;

    if (argc > 0)
        return words_unknown("setup", argv[0]);
    int code = session_open(&session, config, &err) ? set_up(&session)
                                                    : session_fail(&err, FP_EXIT_CONFIG);
    session_close(&session);
    return code;
}
