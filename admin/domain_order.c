#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/give.h"
#include "admin/waiting.h"
#include "admin/words.h"
#include "base/escape.h"

enum { SAID_BYTES = 512 * 1024 };

static int not_a_domain(const char *text)
{
    struct buf safe;

    buf_init(&safe, 512);
    escape_put(&safe, str_of(text), ESCAPE_TERMINAL, 100);
    fprintf(stderr, "fedpush: domain: \"%s\" is not a domain like example.org or *.example.org\n",
            buf_cstr(&safe));
    buf_clear(&safe);
    return FP_EXIT_USAGE;
}

bool domain_resolve(struct domain_hosts *hosts, struct session *session,
                    const struct domain_options *options)
{
    if (!domain_hosts_init(hosts, options->domain)) {
        not_a_domain(options->domain);
        return false;
    }
    domain_hosts_ask(hosts, session);
    if (hosts->problem[0] != '\0')
        fprintf(stderr,
                "fedpush: domain: hosts that only Mastodon's table knows are left out: %s\n",
                hosts->problem);
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

/* Prints what was done; returns the exit code. */
static int report(struct buf *said, bool good, const struct err *err)
{
    fputs(buf_cstr(said), stdout);
    buf_clear(said);
    if (good)
        return FP_EXIT_OK;
    return session_fail(err, err->code == FP_INVALID ? FP_EXIT_USAGE : FP_EXIT_UNAVAILABLE);
}

int domain_pause(struct session *session, const struct domain_options *options)
{
    struct domain_hosts hosts;
    struct buf said;
    struct give give = {.session = session, .said = &said};
    struct err err;
    int code = FP_EXIT_USAGE;

    buf_init(&said, SAID_BYTES);
    if (domain_resolve(&hosts, session, options)) {
        code = report(&said, give_domain_pause(&give, &hosts, options, &err), &err);
        if (code == FP_EXIT_OK)
            code = show_waiting(session, &hosts);
    }
    domain_hosts_clear(&hosts);
    return code;
}

int domain_resume(struct session *session, const struct domain_options *options)
{
    struct domain_hosts hosts;
    struct buf said;
    struct give give = {.session = session, .said = &said};
    struct err err;

    if (!domain_hosts_init(&hosts, options->domain))
        return not_a_domain(options->domain);
    buf_init(&said, SAID_BYTES);
    int code = report(&said, give_domain_resume(&give, &hosts, &err), &err);
    domain_hosts_clear(&hosts);
    return code;
}

int domain_limit(struct session *session, const struct domain_options *o)
{
    struct domain_hosts hosts;
    struct buf said;
    struct give give = {.session = session, .said = &said};
    struct err err;

    if (!o->clear && o->window < 0 && o->rate < 0 && o->proxy == NULL && o->http == 0 &&
        o->scheme < 0)
        return words_unknown("domain", "limit without a limit");
    if (!domain_hosts_init(&hosts, o->domain))
        return not_a_domain(o->domain);
    buf_init(&said, SAID_BYTES);
    int code = report(&said, give_domain_limit(&give, &hosts, o, &err), &err);
    domain_hosts_clear(&hosts);
    return code;
}

int domain_try(struct session *session, const struct domain_options *options)
{
    struct domain_hosts hosts;
    struct buf said;
    struct give give = {.session = session, .said = &said};
    struct err err;

    if (!domain_hosts_init(&hosts, options->domain) || hosts.below_only) {
        domain_hosts_clear(&hosts);
        return not_a_domain(options->domain);
    }
    buf_init(&said, SAID_BYTES);
    int code = report(&said, give_domain_try(&give, hosts.domain, &err), &err);
    domain_hosts_clear(&hosts);
    return code;
}
