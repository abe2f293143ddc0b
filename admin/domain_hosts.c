#include "admin/domain_hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/url.h"

/* Where its inboxes are is the domain's own word: one that names another domain's host, or shares
 * it, must not take that one along when it is paused or dropped. */
static const char inbox_sql[] =
    "SELECT host, host = $1 OR NOT EXISTS (SELECT FROM accounts WHERE domain = host) AS own"
    " FROM (SELECT DISTINCT lower(substring(url FROM '^https?://([^/?#]+)')) AS host"
    " FROM (SELECT inbox_url AS url FROM accounts WHERE domain = $1 UNION"
    " SELECT shared_inbox_url FROM accounts WHERE domain = $1) AS inboxes WHERE url <> '') AS hosts"
    " ORDER BY own DESC LIMIT 1000";

void domain_hosts_add(struct domain_hosts *hosts, struct str name)
{
    for (size_t i = 0; i < hosts->count; i++) {
        if (str_equal(str_of(hosts->names[i]), name))
            return;
    }
    if (hosts->count < DOMAIN_HOSTS_MAX && policy_name_is_valid(name))
        hosts->names[hosts->count++] = str_dup(name);
}

/* As an inbox's URL has it: without its port. NULL: it isn't one. */
static char *host_name(struct str host, const char *prefix)
{
    char *text = mem_printf("https://%.*s/", STR_ARG(host));
    char *name = NULL;
    struct url url;

    if (host.len > 0 && url_parse(&url, str_of(text), NULL) == FP_OK) {
        name = mem_printf("%s%.*s", prefix, STR_ARG(url.host));
        if (!str_equal(url.target, STR("/")) || !policy_name_is_valid(str_of(name))) {
            free(name);
            name = NULL;
        }
        url_clear(&url);
    }
    free(text);
    return name;
}

static bool add_host(struct domain_hosts *hosts, struct str host, const char *prefix)
{
    char *name = host_name(host, prefix);

    if (name == NULL)
        return false;
    domain_hosts_add(hosts, str_of(name));
    free(name);
    return true;
}

static void add_other(struct domain_hosts *hosts, struct str host)
{
    char *name = host_name(host, "");

    if (name == NULL || domain_hosts_mean(hosts, str_of(name)) ||
        hosts->other_count == DOMAIN_OTHERS_MAX)
        free(name);
    else
        hosts->others[hosts->other_count++] = name;
}

bool domain_hosts_init(struct domain_hosts *hosts, const char *text)
{
    struct str domain = str_of(strrchr(text, '@') != NULL ? strrchr(text, '@') + 1 : text);

    *hosts = (struct domain_hosts){.below_only = str_starts_with(domain, STR("*."))};
    if (hosts->below_only)
        domain = str_slice(domain, 2);
    if (!add_host(hosts, domain, hosts->below_only ? "*." : ""))
        return false;
    hosts->domain = str_slice(str_of(hosts->names[0]), hosts->below_only ? 2 : 0);
    if (!hosts->below_only)
        (void)add_host(hosts, domain, "*.");
    return true;
}

void domain_hosts_clear(struct domain_hosts *hosts)
{
    while (hosts->count > 0)
        free(hosts->names[--hosts->count]);
    while (hosts->other_count > 0)
        free(hosts->others[--hosts->other_count]);
}

/* Those that are meant come first. */
static void on_rows(void *arg, PGresult *result)
{
    struct domain_hosts *hosts = arg;

    for (int row = 0; row < PQntuples(result); row++) {
        struct str host = str_of(PQgetvalue(result, row, 0));
        if (strcmp(PQgetvalue(result, row, 1), "t") == 0)
            (void)add_host(hosts, host, "");
        else
            add_other(hosts, host);
    }
}

void domain_hosts_ask(struct domain_hosts *hosts, struct session *session)
{
    const struct str parameters[] = {hosts->domain};
    struct err *err = &hosts->problem;
    struct postgres *postgres;

    if (hosts->below_only)
        return;
    postgres = session_postgres(session, POSTGRES_ROLE_MASTODON, err);
    if (postgres != NULL &&
        session_query(session, postgres, inbox_sql, 1, parameters, on_rows, hosts, err))
        *err = (struct err){.code = FP_OK};
}

bool domain_hosts_are_all(const struct domain_hosts *hosts)
{
    return hosts->problem.code == FP_OK && hosts->other_count == 0;
}

bool domain_hosts_mean(const struct domain_hosts *hosts, struct str host)
{
    for (size_t i = 0; i < hosts->count; i++) {
        struct str name = str_of(hosts->names[i]);
        if (str_equal(name, host) ||
            (str_starts_with(name, STR("*.")) && policy_name_is_below(host, str_slice(name, 2))))
            return true;
    }
    return false;
}
