#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/give.h"
#include "admin/waiting.h"

enum { SAID_BYTES = 4096 };

static bool is_dropped(void *arg, const struct url *inbox)
{
    const struct domain_hosts *hosts = arg;
    return domain_hosts_mean(hosts, inbox->host);
}

static bool show_waiting(struct session *session, struct domain_hosts *hosts, struct err *err)
{
    struct waiting waiting = {.session = session, .wanted = is_dropped, .arg = hosts};
    bool good = waiting_look(&waiting, err);

    if (good)
        waiting_print(&waiting);
    waiting_clear(&waiting);
    return good;
}

/* What is typed must be the domain; without a person to ask, --yes. */
static bool confirmed(const struct domain_hosts *hosts, const struct domain_options *options)
{
    char line[POLICY_MAX_NAME_BYTES + 2] = "";

    if (options->yes)
        return true;
    for (size_t i = 0; i < hosts->count; i++)
        printf("to be dropped: all jobs for %s\n", hosts->names[i]);
    printf("Type %.*s to drop them for good: ", STR_ARG(hosts->domain));
    fflush(stdout);
    if (fgets(line, sizeof(line), stdin) == NULL)
        line[0] = '\0';
    if (str_equal(str_trim(str_of(line)), hosts->domain))
        return true;
    fputs("\nfedpush: domain drop: nothing is dropped: type the domain, or give --yes\n", stderr);
    return false;
}

static int carry_out(struct session *session, struct domain_hosts *hosts,
                     const struct domain_options *options)
{
    struct buf said;
    struct give give = {.session = session, .said = &said};
    struct err err;

    buf_init(&said, SAID_BYTES);
    bool good = give_domain_drop(&give, hosts, options, &err);
    fputs(buf_cstr(&said), stdout);
    buf_clear(&said);
    return good ? FP_EXIT_OK : session_fail(&err, FP_EXIT_UNAVAILABLE);
}

int domain_drop(struct session *session, const struct domain_options *options)
{
    struct domain_hosts hosts;
    struct err err;
    int code = FP_EXIT_USAGE;

    if (domain_resolve(&hosts, session, options)) {
        if (!show_waiting(session, &hosts, &err))
            code = session_fail(&err, FP_EXIT_UNAVAILABLE);
        else if (!confirmed(&hosts, options))
            code = FP_EXIT_FAILURE;
        else
            code = carry_out(session, &hosts, options);
    }
    domain_hosts_clear(&hosts);
    return code;
}
