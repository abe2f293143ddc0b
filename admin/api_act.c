#include "admin/api_act.h"

#include <stdlib.h>
#include <string.h>

#include "admin/api_input.h"
#include "admin/give.h"
#include "admin/words.h"

enum { SAID_BYTES = 512 * 1024, LONGEST_S = 366 * 86400 };

/* One action under way. */
struct act {
    json_t *body;
    struct said said;
    struct give give;
    char *name; /* of the path */
    struct domain_hosts hosts;
    struct domain_options options;
};

static bool begin(struct act *act, struct desk *desk, const struct api_request *request,
                  struct str name, const char *const *members, size_t count, struct err *err)
{
    *act = (struct act){.options = {.yes = true, .window = -1, .rate = -1, .scheme = -1}};
    said_init(&act->said, SAID_BYTES);
    act->give = (struct give){&desk->session, request->who, &act->said};
    act->name = str_dup(name);
    act->options.domain = act->name;
    act->body = api_body_parse(request->body, members, count, err);
    return act->body != NULL;
}

/* The answer, or NULL. */
static json_t *end(struct act *act, bool good)
{
    json_t *answer = good ? words_json_done(&act->said) : NULL;

    json_decref(act->body);
    domain_hosts_clear(&act->hosts);
    said_clear(&act->said);
    free(act->name);
    return answer;
}

static bool take_span(struct act *act, struct err *err)
{
    return api_body_number(act->body, "for_s", 1, LONGEST_S, &act->options.span_s, err);
}

static bool find_hosts(struct act *act, struct err *err)
{
    if (domain_hosts_init(&act->hosts, act->name))
        return true;
    err_say(err, FP_INVALID, PHRASE_ORDER_NO_DOMAIN, SAYS_NOTHING);
    return false;
}

/* With those that Mastodon's table knows: without PostgreSQL, the others. */
static void ask_hosts(struct act *act)
{
    domain_hosts_ask(&act->hosts, act->give.session);
    give_left_out(&act->give, &act->hosts);
}

/* The same of an order that means hosts by that table. */
static json_t *end_asked(struct act *act, bool good)
{
    bool complete = domain_hosts_are_all(&act->hosts);
    json_t *answer = end(act, good);

    if (answer != NULL)
        json_object_set_new(answer, "complete", json_boolean(complete));
    return answer;
}

json_t *api_pause_domain(struct desk *desk, const struct api_request *request, struct str name,
                         struct err *err)
{
    static const char *const members[] = {"for_s", "now"};
    struct act act;
    bool good = begin(&act, desk, request, name, members, 2, err) && take_span(&act, err) &&
                api_body_flag(act.body, "now", &act.options.now, err) && find_hosts(&act, err);

    if (good) {
        ask_hosts(&act);
        good = give_domain_pause(&act.give, &act.hosts, &act.options, err);
    }
    return end_asked(&act, good);
}

json_t *api_resume_domain(struct desk *desk, const struct api_request *request, struct str name,
                          struct err *err)
{
    struct act act;
    bool good = begin(&act, desk, request, name, NULL, 0, err) && find_hosts(&act, err) &&
                give_domain_resume(&act.give, &act.hosts, err);

    return end(&act, good);
}

static bool take_words(struct act *act, struct err *err)
{
    struct domain_options *o = &act->options;
    const char *rate = NULL;
    const char *http = NULL;
    const char *scheme = NULL;

    if (!api_body_text(act->body, "rate", &rate, err) ||
        !api_body_text(act->body, "http", &http, err) ||
        !api_body_text(act->body, "signature", &scheme, err) ||
        !api_body_text(act->body, "proxy", &o->proxy, err))
        return false;
    if (rate != NULL && !give_parse_rate(str_of(rate), &o->rate)) {
        err_say(err, FP_INVALID, PHRASE_ORDER_RATE, SAYS_NOTHING);
        return false;
    }
    if (http != NULL && strcmp(http, "1.1") != 0 && strcmp(http, "2") != 0) {
        err_say(err, FP_INVALID, PHRASE_ORDER_HTTP, SAYS_NOTHING);
        return false;
    }
    o->http = http == NULL ? 0 : strcmp(http, "2") == 0 ? 2 : 1;
    if (scheme != NULL && !give_parse_scheme(str_of(scheme), &o->scheme)) {
        err_say(err, FP_INVALID, PHRASE_ORDER_SIGNATURE, SAYS_NOTHING);
        return false;
    }
    return true;
}

static bool take_limits(struct act *act, struct err *err)
{
    struct domain_options *o = &act->options;

    if (!take_span(act, err) || !take_words(act, err) ||
        !api_body_flag(act->body, "clear", &o->clear, err) ||
        !api_body_flag(act->body, "inherit", &o->inherit, err) ||
        !api_body_number(act->body, "window", 0, POLICY_MAX_WINDOW, &o->window, err))
        return false;
    if (o->inherit != domain_has_limit(o))
        return true;
    err_say(err, FP_INVALID, PHRASE_ORDER_NO_LIMIT, SAYS_NOTHING);
    return false;
}

json_t *api_limit_domain(struct desk *desk, const struct api_request *request, struct str name,
                         struct err *err)
{
    static const char *const members[] = {"window",    "rate",  "proxy", "http",
                                          "signature", "clear", "for_s", "inherit"};
    struct act act;
    bool good = begin(&act, desk, request, name, members, 8, err) && take_limits(&act, err) &&
                find_hosts(&act, err) &&
                give_domain_limit(&act.give, &act.hosts, &act.options, err);

    return end(&act, good);
}

json_t *api_try_domain(struct desk *desk, const struct api_request *request, struct str name,
                       struct err *err)
{
    struct act act;
    bool good = begin(&act, desk, request, name, NULL, 0, err) && find_hosts(&act, err);

    if (good && act.hosts.below_only) {
        err_say(err, FP_INVALID, PHRASE_ORDER_ONE_HOST, SAYS_NOTHING);
        good = false;
    }
    good = good && give_domain_try(&act.give, name, err);
    return end(&act, good);
}

/* What is typed again must be what is meant. */
static bool confirmed(const struct act *act, struct err *err)
{
    const char *typed = "";

    if (!api_body_text(act->body, "confirm", &typed, err))
        return false;
    if (strcmp(typed, act->name) == 0)
        return true;
    err_say(err, FP_INVALID, PHRASE_ORDER_CONFIRM, SAYS_NOTHING);
    return false;
}

json_t *api_drop_domain(struct desk *desk, const struct api_request *request, struct str name,
                        struct err *err)
{
    static const char *const members[] = {"confirm", "now"};
    struct act act;
    bool good = begin(&act, desk, request, name, members, 2, err) && confirmed(&act, err) &&
                api_body_flag(act.body, "now", &act.options.now, err) && find_hosts(&act, err);

    if (good) {
        ask_hosts(&act);
        good = give_domain_drop(&act.give, &act.hosts, &act.options, err);
    }
    return end_asked(&act, good);
}

/* --- machines --- */

static bool take_machine(const struct act *act, const char **machine, struct err *err)
{
    if (!api_body_text(act->body, "machine", machine, err))
        return false;
    if (*machine == NULL || give_is_machine(*machine))
        return true;
    err_say(err, FP_INVALID, PHRASE_ORDER_MACHINE, SAYS_NOTHING);
    return false;
}

json_t *api_pause(struct desk *desk, const struct api_request *request, struct str name,
                  struct err *err)
{
    static const char *const members[] = {"machine", "for_s"};
    const char *machine = NULL;
    struct act act;
    bool good = begin(&act, desk, request, name, members, 2, err) && take_span(&act, err) &&
                take_machine(&act, &machine, err) &&
                give_pause(&act.give, machine, act.options.span_s, err);

    return end(&act, good);
}

json_t *api_resume(struct desk *desk, const struct api_request *request, struct str name,
                   struct err *err)
{
    static const char *const members[] = {"machine"};
    const char *machine = NULL;
    struct act act;
    bool good = begin(&act, desk, request, name, members, 1, err) &&
                take_machine(&act, &machine, err) && give_resume(&act.give, machine, err);

    return end(&act, good);
}

json_t *api_drain(struct desk *desk, const struct api_request *request, struct str name,
                  struct err *err)
{
    static const char *const members[] = {"confirm"};
    struct act act;
    bool good = begin(&act, desk, request, name, members, 1, err) && confirmed(&act, err);

    if (good && !give_is_machine(act.name)) {
        err_say(err, FP_INVALID, PHRASE_ORDER_NO_MACHINE, SAYS_NOTHING);
        good = false;
    }
    good = good && give_drain(&act.give, act.name, err);
    return end(&act, good);
}
