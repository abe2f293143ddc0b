#include "admin/domain_hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/url.h"

/* As inbox URLs have them, ports included. Those that look like domains of their own come last. */
static const char inbox_sql[] =
    "SELECT host, EXISTS (SELECT FROM accounts WHERE domain = host) AS other"
    " FROM (SELECT DISTINCT lower(substring(url FROM '^https?://([^/?#]+)')) AS host"
    " FROM (SELECT inbox_url AS url FROM accounts WHERE domain = $1 UNION"
    " SELECT shared_inbox_url FROM accounts WHERE domain = $1) AS inboxes WHERE url <> '') AS hosts"
    " ORDER BY other LIMIT 1000";

static const char domains_sql[] =
    "SELECT DISTINCT domain FROM accounts WHERE domain = ANY($1::text[])";

enum { NAMES_BYTES = 4 * 1024 * 1024 };

/* What the inboxes say. */
struct found {
    size_t count;
    char *names[DOMAIN_HOSTS_MAX]; /* as in base/policy.h; no name twice */
    bool is_other[DOMAIN_HOSTS_MAX];
    struct buf domains; /* a PostgreSQL array: as which domains accounts may have these */
};

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

static void add_other(struct domain_hosts *hosts, struct str name)
{
    if (!domain_hosts_mean(hosts, name) && hosts->other_count < DOMAIN_OTHERS_MAX)
        hosts->others[hosts->other_count++] = str_dup(name);
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

/* Takes the name. */
static void add_found(struct found *found, char *name)
{
    size_t i = 0;

    while (i < found->count && strcmp(found->names[i], name) != 0)
        i++;
    if (i < found->count || found->count == DOMAIN_HOSTS_MAX) {
        free(name);
        return;
    }
    postgres_array_add(&found->domains, str_of(name));
    found->names[found->count++] = name;
}

static void on_inboxes(void *arg, PGresult *result)
{
    struct found *found = arg;

    for (int row = 0; row < PQntuples(result); row++) {
        struct str host = str_of(PQgetvalue(result, row, 0));
        char *name = host_name(host, "");
        if (name == NULL)
            continue;
        postgres_array_add(&found->domains, host);
        add_found(found, name);
    }
}

static void on_domains(void *arg, PGresult *result)
{
    struct found *found = arg;

    for (int row = 0; row < PQntuples(result); row++) {
        char *name = host_name(str_of(PQgetvalue(result, row, 0)), "");
        for (size_t i = 0; name != NULL && i < found->count; i++)
            found->is_other[i] = found->is_other[i] || strcmp(found->names[i], name) == 0;
        free(name);
    }
}

/* Where its inboxes are is the domain's own word: one that names another domain's host, or shares
 * it, must not take that one along when it is paused or dropped. What is asked about is the host as
 * it would be ordered: a port, or another way to write it, must not hide whose it is. */
static bool find_hosts(struct found *found, struct domain_hosts *hosts, struct session *session,
                       struct postgres *postgres)
{
    struct err *err = &hosts->problem;

    if (!session_query(session, postgres, inbox_sql, 1, &hosts->domain, on_inboxes, found, err))
        return false;
    postgres_array_end(&found->domains);
    const struct str domains = buf_str(&found->domains);
    return session_query(session, postgres, domains_sql, 1, &domains, on_domains, found, err);
}

void domain_hosts_ask(struct domain_hosts *hosts, struct session *session)
{
    struct found found = {.count = 0};
    struct postgres *postgres;

    if (hosts->below_only)
        return;
    buf_init(&found.domains, NAMES_BYTES);
    postgres = session_postgres(session, POSTGRES_ROLE_MASTODON, &hosts->problem);
    if (postgres != NULL && find_hosts(&found, hosts, session, postgres)) {
        hosts->problem = (struct err){.code = FP_OK};
        for (size_t i = 0; i < found.count; i++) {
            if (found.is_other[i])
                add_other(hosts, str_of(found.names[i]));
            else
                domain_hosts_add(hosts, str_of(found.names[i]));
        }
    }
    while (found.count > 0)
        free(found.names[--found.count]);
    buf_clear(&found.domains);
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
