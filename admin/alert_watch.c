#include "admin/alert_watch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin/alert_pace.h"
#include "admin/alert_send.h"
#include "admin/alert_store.h"
#include "admin/figures.h"
#include "base/log.h"

enum {
    REST_MS = 5000,
    /* Longer than a round with two mail servers that don't answer. */
    LEASE_MS = 120000,
    DOMAINS_EVERY_MS = 60000,
    SAVE_EVERY_S = 300, /* texts have numbers that change, and the keys expire */
};

struct alert_watch {
    const struct config *config;
    char host[256];
    char token[ALERT_TOKEN_BYTES];
    double factor;      /* of all times; 1 but in tests */
    bool ours;          /* the turn, when it was last looked */
    bool troubled;      /* Redis doesn't answer: that was logged */
    int64_t domains_ms; /* monotonic: when they were last asked for; 0: never */
    double now_s;       /* Redis' time of the latest look */
    double saved_s;
    struct alert_looks looks;
    struct alert_book book;
    struct alert_pace paces[ALERT_SINKS];
};

static double factor_of(const struct config *config)
{
#ifdef FEDPUSH_FAULTS
    /* What integration tests trigger by the path of the webhook; no release has it. */
    if (str_ends_with(str_of(config->alert_webhook), STR("/fedpush-fault-hurry")))
        return 1.0 / 60;
#endif
    (void)config;
    return 1;
}

struct alert_watch *alert_watch_create(const struct config *config)
{
    struct alert_watch *watch = mem_alloc(sizeof(*watch));
    const struct rng rng = rng_system();

    watch->config = config;
    watch->factor = factor_of(config);
    if (gethostname(watch->host, sizeof(watch->host) - 1) == -1 || watch->host[0] == '\0')
        snprintf(watch->host, sizeof(watch->host), "localhost");
    bool mute = !alert_sink_is_set(config, ALERT_MAIL) && !alert_sink_is_set(config, ALERT_WEBHOOK);
    snprintf(watch->token, sizeof(watch->token), "%s:%016" PRIx64 "%s", watch->host,
             rng.next(rng.arg), mute ? ALERT_MUTE : "");
    alert_book_init(&watch->book);
    watch->book.factor = watch->factor;
    return watch;
}

static int64_t scaled(const struct alert_watch *watch, int64_t ms)
{
    return (int64_t)((double)ms * watch->factor);
}

int64_t alert_watch_rest_ms(const struct alert_watch *watch)
{
    return scaled(watch, REST_MS);
}

static int64_t mono_ms(void)
{
    const struct clock clock = clock_system();
    return clock_mono_ms(&clock);
}

/* ---- domains ---- */

bool alert_watch_wants_domains(const struct alert_watch *watch)
{
    bool due =
        watch->domains_ms == 0 || mono_ms() - watch->domains_ms >= scaled(watch, DOMAINS_EVERY_MS);
    return watch->ours && watch->config->alert_followers > 0 && due;
}

void alert_watch_ask_domains(struct alert_watch *watch, struct desk *desk)
{
    const struct str states[] = {STR("failing"), STR("open")};
    const struct alert_limits limits = {.followers = watch->config->alert_followers};
    struct err err;
    bool good = true;

    watch->domains_ms = mono_ms();
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]) && good; i++) {
        const struct figures_filter filter = {.state = states[i],
                                              .sort = STR("followers"),
                                              .order = STR("desc"),
                                              .limit = FIGURES_MAX_LIMIT};
        json_t *page = figures_domains(desk, &filter, &err);
        good = page != NULL;
        alert_rules_domains(&watch->looks, page, &limits, watch->now_s);
        json_decref(page);
    }
    if (good)
        watch->looks.looked |= 1U << ALERT_DOMAIN_DOWN;
}

/* ---- the fleet ---- */

static void trouble(struct alert_watch *watch, const struct err *err)
{
    if (!watch->troubled)
        log_event(LOG_LEVEL_WARN, "nobody can be alerted", LOG_TEXT("reason", err->message));
    watch->troubled = true;
}

static bool take_turn(struct alert_watch *watch, struct desk *desk, struct err *err)
{
    enum alert_turn turn;

    if (!alert_store_turn(&desk->session, watch->token, scaled(watch, LEASE_MS), &turn, err)) {
        trouble(watch, err);
        return false;
    }
    /* What this process knows may be older than what another one has written since. */
    bool fresh = turn == ALERT_TURN_NEW || (turn == ALERT_TURN_OURS && !watch->ours);
    watch->ours = turn != ALERT_TURN_OTHERS;
    if (!fresh || alert_store_load(&desk->session, &watch->book, err))
        return watch->ours;
    watch->ours = false;
    trouble(watch, err);
    return false;
}

static void save(struct alert_watch *watch, struct desk *desk)
{
    struct err err;

    if (!watch->book.changed && watch->now_s - watch->saved_s < SAVE_EVERY_S * watch->factor)
        return;
    if (alert_store_save(&desk->session, watch->token, &watch->book, &err)) {
        watch->book.changed = false;
        watch->saved_s = watch->now_s;
    } else {
        watch->ours = false; /* then it is read again before anything is done with it */
        trouble(watch, &err);
    }
}

static void log_turns(const struct alert_watch *watch)
{
    for (size_t i = 0; i < watch->book.count; i++) {
        const struct alert *alert = watch->book.alerts[i];
        if (alert->state == ALERT_PENDING || alert->turned_s < watch->now_s)
            continue;
        bool firing = alert->state == ALERT_FIRING;
        log_event(firing ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, firing ? "alert" : "alert is over",
                  LOG_TEXT("alert", alert->id), LOG_TEXT("text", alert->words.text));
    }
}

static void update(struct alert_watch *watch, const json_t *overview)
{
    const struct alert_limits limits = {.queue_age_s = watch->config->alert_queue_age_s,
                                        .followers = watch->config->alert_followers,
                                        .memory_percent = watch->config->alert_memory_percent};

    watch->troubled = false;
    watch->now_s = json_number_value(json_object_get(overview, "at"));
    if (limits.followers == 0) /* what was told of domains before is over */
        watch->looks.looked |= 1U << ALERT_DOMAIN_DOWN;
    alert_rules_overview(&watch->looks, overview, &limits);
    alert_book_look(&watch->book, &watch->looks, watch->now_s);
    log_turns(watch);
}

void alert_watch_look(struct alert_watch *watch, struct desk *desk)
{
    struct err err;

    if (take_turn(watch, desk, &err)) {
        json_t *overview = figures_overview(desk, &err);
        if (overview != NULL)
            update(watch, overview);
        else
            trouble(watch, &err);
        json_decref(overview);
        save(watch, desk);
    }
    alert_looks_forget(&watch->looks);
}

/* ---- telling ---- */

static size_t news_for(const struct alert_watch *watch, enum alert_sink sink,
                       struct alert_news news[ALERT_MAX])
{
    if (!watch->ours || !alert_sink_is_set(watch->config, sink) ||
        !alert_pace_allows(&watch->paces[sink], watch->now_s))
        return 0;
    return alert_book_news(&watch->book, sink, watch->now_s, news);
}

bool alert_watch_has_news(const struct alert_watch *watch)
{
    struct alert_news news[ALERT_MAX];
    bool any = false;

    for (int sink = 0; sink < ALERT_SINKS; sink++)
        any = any || news_for(watch, (enum alert_sink)sink, news) > 0;
    return any;
}

static void tell_sink(struct alert_watch *watch, enum alert_sink sink)
{
    struct alert_news news[ALERT_MAX];
    size_t count = news_for(watch, sink, news);
    const struct alert_message message = {.domain = watch->config->web_domain,
                                          .machine = watch->host,
                                          .page = watch->config->admin_url,
                                          .now_s = watch->now_s,
                                          .news = news,
                                          .count = count};
    struct err err;

    if (count == 0)
        return;
    if (alert_send(watch->config, sink, &message, &err)) {
        alert_book_told(&watch->book, sink, news, count, watch->now_s);
        alert_pace_sent(&watch->paces[sink], watch->now_s);
        log_event(LOG_LEVEL_INFO, "told of alerts", LOG_TEXT("sink", alert_sink_names[sink]),
                  LOG_INT("alerts", count));
    } else {
        alert_pace_failed(&watch->paces[sink], watch->now_s);
        log_event(LOG_LEVEL_WARN, "an alert was not taken",
                  LOG_TEXT("sink", alert_sink_names[sink]), LOG_TEXT("reason", err.message));
    }
}

void alert_watch_tell(struct alert_watch *watch, struct desk *desk)
{
    struct err err;

    /* The errand may have waited for so long that another machine has told it. */
    if (!take_turn(watch, desk, &err))
        return;
    for (int sink = 0; sink < ALERT_SINKS; sink++)
        tell_sink(watch, (enum alert_sink)sink);
    save(watch, desk);
}
