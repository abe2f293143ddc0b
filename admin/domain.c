#include "admin/give.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/commands.h"
#include "admin/desk.h"
#include "admin/words.h"

enum option {
    OPTION_NOW = 1 << 0,
    OPTION_YES = 1 << 1,
    OPTION_JSON = 1 << 2,
    OPTION_FOR = 1 << 3,
    OPTION_LIMITS = 1 << 4,
};

static const struct action {
    const char *name;
    unsigned options;
    bool takes_domain;
    int (*fn)(struct session *session, const struct domain_options *options);
} actions[] = {
    {"pause", OPTION_JSON | OPTION_NOW | OPTION_FOR, true, domain_pause},
    {"resume", OPTION_JSON, true, domain_resume},
    {"limit", OPTION_JSON | OPTION_FOR | OPTION_LIMITS, true, domain_limit},
    {"drop", OPTION_JSON | OPTION_NOW | OPTION_YES, true, domain_drop},
    {"try", OPTION_JSON, true, domain_try},
    {"list", OPTION_JSON, false, domain_list},
    {"show", OPTION_JSON, true, domain_show},
};

static bool take_limit(struct domain_options *o, const char *name, const char *value)
{
    if (strcmp(name, "--window") == 0)
        return str_to_i64(str_of(value), 0, POLICY_MAX_WINDOW, &o->window);
    if (strcmp(name, "--rate") == 0)
        return give_parse_rate(str_of(value), &o->rate);
    if (strcmp(name, "--http") == 0) {
        o->http = strcmp(value, "2") == 0 ? 2 : 1;
        return o->http == 2 || strcmp(value, "1.1") == 0;
    }
    if (strcmp(name, "--signature") == 0)
        return give_parse_scheme(str_of(value), &o->scheme);
    o->proxy = value;
    return strcmp(name, "--proxy") == 0;
}

/* How many words it took; 0: not understood. */
static int take_option(struct domain_options *o, unsigned allowed, int argc, char **argv)
{
    const struct {
        const char *name;
        enum option option;
        bool *flag;
    } flags[] = {{"--now", OPTION_NOW, &o->now},
                 {"--yes", OPTION_YES, &o->yes},
                 {"--json", OPTION_JSON, &o->json},
                 {"--clear", OPTION_LIMITS, &o->clear},
                 {"--inherit", OPTION_LIMITS, &o->inherit}};

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (strcmp(argv[0], flags[i].name) == 0 && (allowed & flags[i].option) != 0) {
            *flags[i].flag = true;
            return 1;
        }
    }
    if (argc < 2)
        return 0;
    if (strcmp(argv[0], "--for") == 0 && (allowed & OPTION_FOR) != 0)
        return orders_parse_span(argv[1], &o->span_s) ? 2 : 0;
    if ((allowed & OPTION_LIMITS) != 0)
        return take_limit(o, argv[0], argv[1]) ? 2 : 0;
    return 0;
}

static int usage(bool as_json, const char *text)
{
    char *message = mem_printf("domain: %s; see `fedpush domain --help`", text);
    int code = words_usage(as_json, message);

    free(message);
    return code;
}

static int carry_out(const struct config *config, const struct action *action,
                     const struct domain_options *options)
{
    struct desk desk;
    struct err err;
    int code;

    if (!desk_open(&desk, config, &err))
        code = session_fail(&err, FP_EXIT_CONFIG);
    else if (action->fn == domain_show && options->json)
        code = domain_show_json(&desk, options);
    else
        code = action->fn(&desk.session, options);
    desk_close(&desk);
    return code;
}

int command_domain(const struct config *config, int argc, char **argv)
{
    struct domain_options options = {.window = -1, .rate = -1, .scheme = -1};
    const struct action *action = NULL;
    bool as_json = words_has(argc, argv, "--json");

    for (size_t i = 0; argc > 0 && i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(argv[0], actions[i].name) == 0)
            action = &actions[i];
    }
    if (action == NULL)
        return argc > 0 ? words_unknown_to(as_json, "domain", argv[0])
                        : usage(as_json, "pause, resume, limit, drop, try, list or show?");
    for (int i = 1; i < argc;) {
        bool option = argv[i][0] == '-';
        int taken = option ? take_option(&options, action->options, argc - i, argv + i) : 1;
        if (taken == 0 || (!option && (!action->takes_domain || options.domain != NULL)))
            return words_unknown_to(as_json, "domain", argv[i]);
        if (!option)
            options.domain = argv[i];
        i += taken;
    }
    if (action->takes_domain && options.domain == NULL)
        return usage(as_json, "which domain?");
    return carry_out(config, action, &options);
}
