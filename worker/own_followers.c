#include "worker/own_followers.h"

#include <stdlib.h>

#include "sched/followers.h"

enum { COUNT_MS = 30000, LOOK_MS = 50 };

struct counting {
    struct session *session;
    struct followers *followers;
    struct sample *sample;
    size_t count;
    struct claim *claims[SAMPLE_MAX];
};

static bool is_counted_for(const struct trial *trial)
{
    return trial_is_sent(trial) && trial->job.synchronize_followers;
}

static void look_up(struct counting *c, struct claim *claim)
{
    if (followers_lookup(c->followers, claim))
        c->sample->trials[claim->seq].synchronization = str_dup(str_of(claim->synchronization));
}

static void on_release(void *arg, struct claim *claim)
{
    look_up(arg, claim);
}

/* A count may have had no room for a server: its posts wait for another one. */
static void on_answered(void *arg)
{
    struct counting *c = arg;

    for (size_t i = 0; i < c->count; i++) {
        if (c->claims[i]->state == CLAIM_NEW && c->claims[i]->synchronization == NULL)
            followers_wait(c->followers, c->claims[i]);
    }
    c->session->done = followers_waiting(c->followers) == 0;
}

static bool count_all(struct counting *c)
{
    for (size_t i = 0; i < c->sample->count; i++) {
        const struct trial *trial = &c->sample->trials[i];
        if (!is_counted_for(trial))
            continue;
        struct claim *claim = claim_create(i, ORIGIN_QUEUE, STR_NULL, STR_NULL);
        claim->job.account_id = trial->job.account_id;
        claim->job.inbox_url = trial->job.inbox_url; /* borrowed: not `parsed`, so never freed */
        c->claims[c->count++] = claim;
    }
    on_answered(c);
    for (int64_t waited_ms = 0; waited_ms < COUNT_MS; waited_ms += LOOK_MS) {
        if (session_wait(c->session, LOOK_MS))
            return true;
        if (followers_refused(c->followers))
            return false;
    }
    return false;
}

bool own_followers_count(struct session *session, struct sample *sample, struct err *err)
{
    const struct config *config = session->config;
    struct counting *c = mem_alloc(sizeof(*c));
    struct postgres *postgres =
        postgres_create(session->base, session->dns,
                        &(struct postgres_options){.conninfo = str_of(config->postgres_mastodon),
                                                   .name = "followers"});
    const struct followers_options options = {.base = session->base,
                                              .clock = &session->clock,
                                              .postgres = postgres,
                                              .web_domain = str_of(config->web_domain),
                                              .page_rows = FOLLOWERS_PAGE_ROWS,
                                              .tally_bytes = FOLLOWERS_TALLY_BYTES,
                                              .total_bytes = FOLLOWERS_TOTAL_BYTES,
                                              .release = on_release,
                                              .answered = on_answered,
                                              .arg = c};

    c->session = session;
    c->sample = sample;
    c->followers = followers_create(&options);
    bool good = count_all(c);
    if (!good) {
        const char *problem = postgres_problem(postgres);
        if (followers_refused(c->followers))
            problem = "the database refused, as was logged";
        err_set(err, FP_UNAVAILABLE, "not counted: %s",
                problem[0] != '\0' ? problem : "it takes more than 30 s");
    }
    postgres_destroy(postgres);
    followers_destroy(c->followers);
    for (size_t i = 0; i < c->count; i++)
        claim_destroy(c->claims[i]);
    free(c);
    return good;
}
