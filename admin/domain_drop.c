#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/give.h"
#include "admin/waiting.h"
#include "admin/words.h"

enum { SAID_BYTES = 16384 };

static bool is_dropped(void *arg, const struct url *inbox)
{
    const struct domain_hosts *hosts = arg;
    return domain_hosts_mean(hosts, inbox->host);
}

static bool show_waiting(struct session *session, struct domain_hosts *hosts, struct err *err)
{
    struct waiting waiting = {
        .session = session, .wanted = is_dropped, .arg = hosts, .with_handoff = true};
    bool good = waiting_look(&waiting, err);

    if (good)
        waiting_print(&waiting);
    waiting_clear(&waiting);
    return good;
}

/* Before anybody confirms; where nobody is asked it is said with the rest. */
static void show_left_out(struct session *session, const struct domain_hosts *hosts)
{
    struct said said;
    struct give give = {.session = session, .said = &said};

    said_init(&said, SAID_BYTES);
    give_left_out(&give, hosts);
    words_text(stdout, buf_str(&said.text));
    said_clear(&said);
}

/* What is typed must be the domain; without a person to ask, --yes. */
static bool confirmed(const struct domain_hosts *hosts, const struct domain_options *options)
{
    char line[POLICY_MAX_NAME_BYTES + 2] = "";

    if (options->yes)
        return true;
    for (size_t i = 0; i < hosts->count; i++)
        words_print(stdout, "to be dropped: all jobs for %s", hosts->names[i]);
    words_ask("Type %.*s to drop them for good: ", STR_ARG(hosts->domain));
    if (fgets(line, sizeof(line), stdin) == NULL)
        line[0] = '\0';
    if (str_equal(str_trim(str_of(line)), hosts->domain))
        return true;
    puts("");
    words_print(stderr, "fedpush: domain drop: nothing is dropped: type the domain, or give --yes");
    return false;
}

static int carry_out(struct session *session, struct domain_hosts *hosts,
                     const struct domain_options *options)
{
    struct said said;
    struct give give = {.session = session, .said = &said};
    struct err err;

    said_init(&said, SAID_BYTES);
    if (options->yes)
        give_left_out(&give, hosts);
    bool good = give_domain_drop(&give, hosts, options, &err);
    int code = words_result_of(options->json, buf_str(&said.text), domain_hosts_are_all(hosts),
                               good ? NULL : &err);
    said_clear(&said);
    return code;
}

int domain_drop(struct session *session, const struct domain_options *options)
{
    struct domain_hosts hosts;
    struct err err;
    int code = FP_EXIT_USAGE;

    if (options->json && !options->yes)
        return words_unknown_to(true, "domain", "drop --json without --yes");
    if (domain_resolve(&hosts, session, options)) {
        if (!options->yes)
            show_left_out(session, &hosts);
        if (!options->json && !show_waiting(session, &hosts, &err))
            code = session_fail(&err, FP_EXIT_UNAVAILABLE);
        else if (!confirmed(&hosts, options))
            code = FP_EXIT_FAILURE;
        else
            code = carry_out(session, &hosts, options);
    }
    domain_hosts_clear(&hosts);
    return code;
}
