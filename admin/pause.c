#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/commands.h"
#include "admin/give.h"
#include "admin/words.h"

enum { SAID_BYTES = 64 * 1024 };

enum order { ORDER_PAUSE = 0, ORDER_RESUME, ORDER_DRAIN };
static const char *const names[] = {"pause", "resume", "drain"};

struct options {
    enum order order;
    const char *machine; /* NULL: the fleet; of a drain: this one */
    int64_t span_s;      /* 0: until it is taken back */
    bool json;
};

static int carry_out(struct session *session, const struct options *options)
{
    struct said said;
    struct give give = {.session = session, .said = &said};
    struct err err;
    char host[256] = "";
    bool good = false;

    said_init(&said, SAID_BYTES);
    (void)gethostname(host, sizeof(host) - 1);
    switch (options->order) {
    case ORDER_PAUSE:
        good = give_pause(&give, options->machine, options->span_s, &err);
        break;
    case ORDER_RESUME:
        good = give_resume(&give, options->machine, &err);
        break;
    case ORDER_DRAIN:
        good = give_drain(&give, options->machine != NULL ? options->machine : host, &err);
        break;
    }
    int code = words_result(options->json, buf_str(&said.text), good ? NULL : &err);
    said_clear(&said);
    return code == FP_EXIT_USAGE ? FP_EXIT_UNAVAILABLE : code; /* such a machine may come back */
}

static int command(const struct config *config, enum order order, int argc, char **argv)
{
    struct options options = {.order = order};
    const char *name = names[order];
    bool as_json = words_has(argc, argv, "--json");
    struct session session;
    struct err err;

    for (int i = 0; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--json") == 0)
            options.json = true;
        else if (strcmp(argv[i], "--machine") == 0 && more)
            options.machine = argv[++i];
        else if (order != ORDER_PAUSE || strcmp(argv[i], "--for") != 0 || !more ||
                 !orders_parse_span(argv[++i], &options.span_s))
            return words_unknown_to(as_json, name, argv[i]);
    }
    if (options.machine != NULL && !give_is_machine(options.machine))
        return words_unknown_to(as_json, name, options.machine);
    int code = session_open(&session, config, &err) ? carry_out(&session, &options)
                                                    : session_fail(&err, FP_EXIT_CONFIG);
    session_close(&session);
    return code;
}

int command_pause(const struct config *config, int argc, char **argv)
{
    return command(config, ORDER_PAUSE, argc, argv);
}

int command_resume(const struct config *config, int argc, char **argv)
{
    return command(config, ORDER_RESUME, argc, argv);
}

int command_drain(const struct config *config, int argc, char **argv)
{
    return command(config, ORDER_DRAIN, argc, argv);
}
