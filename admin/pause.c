#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/commands.h"
#include "admin/orders.h"
#include "admin/words.h"

struct pause {
    bool paused;
    const char *machine; /* NULL: the fleet */
    int64_t span_s;      /* 0: until it is taken back */
};

/* Whether an identity ("HOST:PID:NONCE") of Redis is meant. */
struct search {
    struct str name;
    bool found;
};

static void on_identities(void *arg, const redisReply *reply)
{
    struct search *search = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        struct str identity = {reply->element[i]->str, (size_t)reply->element[i]->len};
        struct str host = {identity.ptr, str_find(identity, ':')};
        search->found =
            search->found || str_equal(identity, search->name) || str_equal(host, search->name);
    }
}

static bool machine_exists(struct orders *orders, const char *machine, struct err *err)
{
    struct search search = {str_of(machine), false};
    const struct str words[] = {STR("ZRANGE"), str_of(orders->session->keys.identities), STR("0"),
                                STR("-1")};

    if (!session_command(orders->session, orders->redis, 4, words, on_identities, &search, err))
        return false;
    if (!search.found)
        err_set(err, FP_INVALID, "--machine: no fedpush of that name: `fedpush status` lists them");
    return search.found;
}

static int give(struct session *session, const struct pause *pause)
{
    char *name = pause->machine != NULL ? mem_printf("@%s", pause->machine) : str_dup(POLICY_FLEET);
    struct orders orders;
    struct policy policy = {.paused = pause->paused};
    struct err err;
    bool good = orders_open(&orders, session, &err);

    if (good && pause->paused && pause->machine != NULL)
        good = machine_exists(&orders, pause->machine, &err);
    if (good) {
        if (pause->span_s > 0)
            policy.paused_until_s = orders.now_s + pause->span_s;
        orders_set(&orders, str_of(name), &policy);
        good = orders_write(&orders, pause->paused ? "pause" : "resume", str_of(name), "", &err);
    }
    if (good)
        printf("%s %s: within two seconds\n", pause->machine != NULL ? pause->machine : "the fleet",
               pause->paused ? "is paused" : "goes on");
    if (good && pause->paused)
        printf("what is in flight ends, what is held goes back to its queue after ten seconds\n");
    orders_close(&orders);
    free(name);
    return good ? FP_EXIT_OK : session_fail(&err, FP_EXIT_UNAVAILABLE);
}

static bool is_machine(const char *machine)
{
    char *name = mem_printf("@%s", machine);
    bool valid = policy_name_is_valid(str_of(name));

    free(name);
    return valid;
}

static int command(const struct config *config, const char *name, bool paused, int argc,
                   char **argv)
{
    struct pause pause = {.paused = paused};
    struct session session;
    struct err err;

    for (int i = 0; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--machine") == 0 && more)
            pause.machine = argv[++i];
        else if (!paused || strcmp(argv[i], "--for") != 0 || !more ||
                 !orders_parse_span(argv[++i], &pause.span_s))
            return words_unknown(name, argv[i]);
    }
    if (pause.machine != NULL && !is_machine(pause.machine))
        return words_unknown(name, pause.machine);
    int code = session_open(&session, config, &err) ? give(&session, &pause)
                                                    : session_fail(&err, FP_EXIT_CONFIG);
    session_close(&session);
    return code;
}

int command_pause(const struct config *config, int argc, char **argv)
{
    return command(config, "pause", true, argc, argv);
}

int command_resume(const struct config *config, int argc, char **argv)
{
    return command(config, "resume", false, argc, argv);
}
