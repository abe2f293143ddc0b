#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/give.h"
#include "admin/waiting.h"
#include "admin/words.h"

enum { SAID_BYTES = 512 * 1024 };

static int not_a_domain(const struct domain_options *options)
{
    char *message = mem_printf(
        "domain: \"%.100s\" is not a domain like example.org or *.example.org", options->domain);
    int code = words_usage(options->json, message);

    free(message);
    return code;
}

bool domain_resolve(struct domain_hosts *hosts, struct session *session,
                    const struct domain_options *options)
{
    if (!domain_hosts_init(hosts, options->domain)) {
        not_a_domain(options);
        return false;
    }
    domain_hosts_ask(hosts, session);
    return true;
}

static bool is_wanted(void *arg, const struct url *inbox)
{
    const struct domain_hosts *hosts = arg;
    return domain_hosts_mean(hosts, inbox->host);
}

static int show_waiting(struct session *session, struct domain_hosts *hosts)
{
    struct waiting waiting = {.session = session, .wanted = is_wanted, .arg = hosts};
    struct err err;
    bool good = waiting_look(&waiting, &err);

    if (good)
        waiting_print(&waiting);
    waiting_clear(&waiting);
    return good ? FP_EXIT_OK : session_fail(&err, FP_EXIT_UNAVAILABLE);
}

int domain_pause(struct session *session, const struct domain_options *options)
{
    struct domain_hosts hosts;
    struct said said;
    struct give give = {.session = session, .said = &said};
    struct err err;
    int code = FP_EXIT_USAGE;

    said_init(&said, SAID_BYTES);
    if (domain_resolve(&hosts, session, options)) {
        give_left_out(&give, &hosts);
        bool good = give_domain_pause(&give, &hosts, options, &err);
        code = words_result_of(options->json, buf_str(&said.text), domain_hosts_are_all(&hosts),
                               good ? NULL : &err);
        if (good && !options->json)
            code = show_waiting(session, &hosts);
    }
    said_clear(&said);
    domain_hosts_clear(&hosts);
    return code;
}

int domain_resume(struct session *session, const struct domain_options *options)
{
    struct domain_hosts hosts;
    struct said said;
    struct give give = {.session = session, .said = &said};
    struct err err;

    if (!domain_hosts_init(&hosts, options->domain))
        return not_a_domain(options);
    said_init(&said, SAID_BYTES);
    bool good = give_domain_resume(&give, &hosts, &err);
    int code = words_result(options->json, buf_str(&said.text), good ? NULL : &err);
    said_clear(&said);
    domain_hosts_clear(&hosts);
    return code;
}

bool domain_has_limit(const struct domain_options *o)
{
    return o->clear || o->window >= 0 || o->rate >= 0 || o->proxy != NULL || o->http != 0 ||
           o->scheme >= 0 || (o->inherit && o->span_s > 0);
}

int domain_limit(struct session *session, const struct domain_options *o)
{
    struct domain_hosts hosts;
    struct said said;
    struct give give = {.session = session, .said = &said};
    struct err err;

    if (!o->inherit && !domain_has_limit(o))
        return words_unknown_to(o->json, "domain", "limit without a limit");
    if (o->inherit && domain_has_limit(o))
        return words_unknown_to(o->json, "domain", "limit with --inherit and a limit");
    if (!domain_hosts_init(&hosts, o->domain))
        return not_a_domain(o);
    said_init(&said, SAID_BYTES);
    bool good = give_domain_limit(&give, &hosts, o, &err);
    int code = words_result(o->json, buf_str(&said.text), good ? NULL : &err);
    said_clear(&said);
    domain_hosts_clear(&hosts);
    return code;
}

int domain_try(struct session *session, const struct domain_options *options)
{
    struct domain_hosts hosts;
    struct said said;
    struct give give = {.session = session, .said = &said};
    struct err err;

    if (!domain_hosts_init(&hosts, options->domain) || hosts.below_only) {
        domain_hosts_clear(&hosts);
        return not_a_domain(options);
    }
    said_init(&said, SAID_BYTES);
    bool good = give_domain_try(&give, hosts.domain, &err);
    int code = words_result(options->json, buf_str(&said.text), good ? NULL : &err);
    said_clear(&said);
    domain_hosts_clear(&hosts);
    return code;
}
