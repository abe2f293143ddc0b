#include "admin/follower_counts.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/table.h"

enum {
    PAGE_FOLLOWS = 20000,
    AGAIN_MS = 3600 * 1000,
    FAILED_MS = 60 * 1000,
    DEADLINE_MS = 10000,
    MAX_HOSTS = 200000,
};

/* `$1`: the last id of the page before. Where Mastodon delivers to: the shared inbox, if any. */
static const char page_sql[] =
    "WITH page AS (SELECT id, account_id FROM follows WHERE id > $1 ORDER BY id LIMIT 20000)"
    " SELECT coalesce(CASE WHEN a.domain IS NOT NULL THEN"
    " lower(substring(coalesce(nullif(a.shared_inbox_url, ''), a.inbox_url)"
    " FROM '^https?://([^/?#]+)')) END, ''), count(*), max(page.id)"
    " FROM page LEFT JOIN accounts a ON a.id = page.account_id GROUP BY 1";

struct count {
    char *host;
    int64_t followers;
};

/* IDLE --its time has come--> ASKED --a full page--> BETWEEN --tick--> ASKED --the last page-->
 * IDLE A failure: IDLE, and from the start again after a minute. */
enum counting { COUNTING_IDLE = 0, COUNTING_ASKED, COUNTING_BETWEEN };

struct follower_counts {
    struct session *session;
    struct postgres *postgres; /* while it counts */
    enum counting state;
    int64_t next_ms;     /* COUNTING_IDLE: when to begin */
    int64_t after_id;    /* the page begins behind it */
    struct table *whole; /* of the last count that came to its end; NULL: none did */
    struct table *growing;
};

static void free_counts(struct table *table)
{
    struct count *count;
    size_t at = 0;

    while (table != NULL && (count = table_next(table, &at)) != NULL) {
        table_remove(table, str_of(count->host));
        free(count->host);
        free(count);
    }
    table_destroy(table);
}

struct follower_counts *follower_counts_create(struct session *session)
{
    struct follower_counts *counts = mem_alloc(sizeof(*counts));

    counts->session = session;
    counts->next_ms = clock_mono_ms(&session->clock);
    return counts;
}

void follower_counts_destroy(struct follower_counts *counts)
{
    if (counts == NULL)
        return;
    postgres_destroy(counts->postgres);
    free_counts(counts->whole);
    free_counts(counts->growing);
    free(counts);
}

static void end(struct follower_counts *counts, bool whole)
{
    counts->state = COUNTING_IDLE;
    counts->next_ms = clock_mono_ms(&counts->session->clock) + (whole ? AGAIN_MS : FAILED_MS);
    if (whole) {
        free_counts(counts->whole);
        counts->whole = counts->growing;
    } else {
        free_counts(counts->growing);
    }
    counts->growing = NULL;
}

static void add(struct table *table, struct str host, int64_t followers)
{
    struct count *count = table_get(table, host);

    if (count == NULL && table_count(table) >= MAX_HOSTS)
        return;
    if (count == NULL) {
        count = mem_alloc(sizeof(*count));
        count->host = str_dup(host);
        table_put(table, str_of(count->host), count);
    }
    count->followers += followers;
}

static void on_page(void *arg, enum postgres_status status, PGresult *result, const char *message)
{
    struct follower_counts *counts = arg;
    int64_t seen = 0;

    (void)message;
    if (status != POSTGRES_OK) {
        end(counts, false);
        return;
    }
    for (int row = 0; row < PQntuples(result); row++) {
        struct str host = str_of(PQgetvalue(result, row, 0));
        int64_t followers = strtoll(PQgetvalue(result, row, 1), NULL, 10);
        int64_t last_id = strtoll(PQgetvalue(result, row, 2), NULL, 10);
        if (host.len > 0) /* else a local follower */
            add(counts->growing, host, followers);
        seen += followers;
        counts->after_id = last_id > counts->after_id ? last_id : counts->after_id;
    }
    counts->state = COUNTING_BETWEEN;
    if (seen < PAGE_FOLLOWS)
        end(counts, true);
}

static void ask(struct follower_counts *counts)
{
    char after[24];
    const struct str parameters[] = {
        {after, (size_t)snprintf(after, sizeof(after), "%" PRId64, counts->after_id)}};

    counts->state = COUNTING_ASKED;
    postgres_query(counts->postgres, on_page, counts, DEADLINE_MS, page_sql, 1, parameters);
}

static void begin(struct follower_counts *counts)
{
    const struct postgres_options options = {
        .conninfo = str_of(counts->session->config->postgres_mastodon), .name = "followers"};

    counts->postgres = postgres_create(counts->session->base, counts->session->dns, &options);
    counts->growing = table_create();
    counts->after_id = INT64_MIN;
    ask(counts);
}

void follower_counts_tick(struct follower_counts *counts)
{
    switch (counts->state) {
    case COUNTING_IDLE:
        postgres_destroy(counts->postgres);
        counts->postgres = NULL;
        if (clock_mono_ms(&counts->session->clock) >= counts->next_ms)
            begin(counts);
        return;
    case COUNTING_BETWEEN:
        ask(counts);
        return;
    case COUNTING_ASKED:
        return;
    }
}

int64_t follower_counts_of(const struct follower_counts *counts, struct str host)
{
    if (counts->whole == NULL)
        return -1;
    const struct count *count = table_get(counts->whole, host);
    return count != NULL ? count->followers : 0;
}
