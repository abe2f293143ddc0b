#include "sched/fleet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/proxy.h"
#include "base/table.h"
#include "base/url.h"
#include "sched/pair.h"
#include "sched/share.h"

enum {
    SEND_HOSTS = 128,
    READ_HOSTS = 1000,
    TOKEN_BYTES = 33,
    VALUE_BYTES = 80,
    PLACE_BYTES = 40, /* of a score, or a cursor */
    SHARE_BYTES = 32,
    HEAD_ELEMENTS = 10,
    MAX_MACHINES = 10000,
    LONGEST_HOLD_MS = 6 * 3600 * 1000,
    FARTHEST_PROBE_MS = 86400 * 1000, /* Retry-After counts for six hours at most */
};

enum news_state { NEWS_HELD = 0, NEWS_UNSENT, NEWS_SENT, NEWS_STALE, NEWS_TOLD };

struct news {
    TAILQ_ENTRY(news) link; /* of the list of `state` */
    enum news_state state;
    char *host;
    char *probe_key;
    char token[TOKEN_BYTES]; /* "": none */
    char value[VALUE_BYTES]; /* as fedpush:circuit has it; "": a probe that wasn't made */
};
TAILQ_HEAD(news_list, news);

/* A question of one host that is under way. */
struct ask {
    TAILQ_ENTRY(ask) link;
    struct fleet *fleet;
    char *host;
    char token[TOKEN_BYTES];
    fleet_probe_fn *probe_fn;
    fleet_release_fn *release_fn;
    void *arg;
};

struct fleet {
    struct fleet_options o;
    struct table *by_host;
    struct news_list lists[NEWS_TOLD + 1];
    TAILQ_HEAD(, ask) asks;
    bool pulsing; /* an answer is awaited */
    char *named;  /* as whom we have sent it; NULL: as no member yet */
    bool more;    /* the last page of the log was full */
    int64_t sent_ms;
    char since[PLACE_BYTES]; /* where the last reading of the log ended, as fleet.lua says it */
    char swept[PLACE_BYTES];
    char scanned[PLACE_BYTES];
    unsigned machines;
    unsigned healthy_others;
    char *takers; /* with blanks between, "=" and their proxies behind those that have some */
    int64_t takers_ms;
    struct fleet_word word;
    int64_t shared_ms; /* when the pulse was sent that gave us a share; 0: none did */
    double share;      /* for SHARE_LEASE_MS from then */
    double later;
    double wants[SHARE_MACHINES]; /* the others */
    size_t want_count;
    bool offset_known;
    int64_t offset_ms;
};

/* 0 would be no limit. */
static const double least_rate = 0.01;

static void keep_place(char place[PLACE_BYTES], struct str text)
{
    if (text.len > 0 && text.len < PLACE_BYTES)
        snprintf(place, PLACE_BYTES, "%.*s", STR_ARG(text));
}

struct fleet *fleet_create(const struct fleet_options *options)
{
    struct fleet *f = mem_alloc(sizeof(*f));

    f->o = *options;
    f->by_host = table_create();
    for (unsigned i = 0; i <= NEWS_TOLD; i++)
        TAILQ_INIT(&f->lists[i]);
    TAILQ_INIT(&f->asks);
    f->machines = 1;
    keep_place(f->since, STR("-inf"));
    keep_place(f->swept, STR("-inf"));
    keep_place(f->scanned, STR("0"));
    return f;
}

/* --- news --- */

static void news_free(struct fleet *f, struct news *news)
{
    TAILQ_REMOVE(&f->lists[news->state], news, link);
    table_remove(f->by_host, str_of(news->host));
    free(news->host);
    free(news->probe_key);
    free(news);
}

static void ask_free(struct ask *ask)
{
    TAILQ_REMOVE(&ask->fleet->asks, ask, link);
    free(ask->host);
    free(ask);
}

void fleet_destroy(struct fleet *f)
{
    struct news *news;
    struct ask *ask;
    size_t at = 0;

    if (f == NULL)
        return;
    while ((news = table_next(f->by_host, &at)) != NULL)
        news_free(f, news);
    while ((ask = TAILQ_FIRST(&f->asks)) != NULL)
        ask_free(ask);
    table_destroy(f->by_host);
    free(f->takers);
    free(f->named);
    free(f);
}

static void set_state(struct fleet *f, struct news *news, enum news_state state)
{
    TAILQ_REMOVE(&f->lists[news->state], news, link);
    news->state = state;
    TAILQ_INSERT_TAIL(&f->lists[state], news, link);
}

/* NULL when there are too many. */
static struct news *news_of(struct fleet *f, struct str host)
{
    struct news *news = table_get(f->by_host, host);

    if (news != NULL || table_count(f->by_host) >= FLEET_MAX_HOSTS)
        return news;
    news = mem_alloc(sizeof(*news));
    news->host = str_dup(host);
    news->probe_key = keys_probe(f->o.keys, host);
    news->state = NEWS_HELD;
    table_put(f->by_host, str_of(news->host), news);
    TAILQ_INSERT_TAIL(&f->lists[NEWS_HELD], news, link);
    return news;
}

static void tell(struct fleet *f, struct str host, const char *value)
{
    struct news *news = news_of(f, host);

    if (news == NULL)
        return;
    snprintf(news->value, sizeof(news->value), "%s", value);
    set_state(f, news,
              news->state == NEWS_SENT || news->state == NEWS_STALE ? NEWS_STALE : NEWS_UNSENT);
}

void fleet_tell_open(struct fleet *f, struct str host, int64_t opened_ms, int64_t probe_ms,
                     uint32_t backoff_ms)
{
    char value[VALUE_BYTES];

    snprintf(value, sizeof(value), "open %" PRId64 " %" PRId64 " %" PRIu32, opened_ms, probe_ms,
             backoff_ms);
    tell(f, host, value);
}

void fleet_tell_closed(struct fleet *f, struct str host)
{
    tell(f, host, "closed");
}

/* Under a name that no host has: older machines take no notice of it. */
void fleet_tell_held(struct fleet *f, struct str host, int64_t until_ms)
{
    char value[VALUE_BYTES];
    char *name = mem_printf("~%.*s", STR_ARG(host));

    snprintf(value, sizeof(value), "held %" PRId64, until_ms);
    tell(f, str_of(name), value);
    free(name);
}

void fleet_tell_unprobed(struct fleet *f, struct str host)
{
    const struct news *news = table_get(f->by_host, host);

    /* News that are to be sent are worth more, and take the token with them. */
    if (news != NULL && (news->state == NEWS_HELD || news->state == NEWS_TOLD) &&
        news->token[0] != '\0')
        tell(f, host, "");
}

/* What was sent has arrived, or must be sent again. */
static void settle_sent(struct fleet *f, bool arrived)
{
    struct news *news;

    while ((news = TAILQ_FIRST(&f->lists[NEWS_SENT])) != NULL) {
        if (arrived)
            news->token[0] = '\0';
        set_state(f, news, arrived ? NEWS_TOLD : NEWS_UNSENT);
    }
    while ((news = TAILQ_FIRST(&f->lists[NEWS_STALE])) != NULL) {
        if (arrived)
            news->token[0] = '\0';
        set_state(f, news, NEWS_UNSENT);
    }
}

/* The log is read up to where ours stand. */
static void forget_told(struct fleet *f)
{
    struct news *news;

    while ((news = TAILQ_FIRST(&f->lists[NEWS_TOLD])) != NULL) {
        if (news->token[0] != '\0') /* of a probe that was won meanwhile */
            set_state(f, news, NEWS_HELD);
        else
            news_free(f, news);
    }
}

/* --- what others have found out --- */

static struct str word_of(struct str *rest)
{
    size_t space = str_find(*rest, ' ');
    struct str word = {rest->ptr, space};

    *rest = str_slice(*rest, space + 1);
    return word;
}

static void report_held(struct fleet *f, struct str host, struct str value, int64_t redis_ms)
{
    int64_t until_ms;

    if (!str_equal(word_of(&value), STR("held")) || !str_to_i64(value, 0, INT64_MAX, &until_ms))
        return;
    if (until_ms > redis_ms + LONGEST_HOLD_MS)
        until_ms = redis_ms + LONGEST_HOLD_MS;
    if (until_ms > redis_ms && f->o.held != NULL)
        f->o.held(f->o.arg, host, until_ms);
}

/* What isn't of the form that keys.h describes was written by somebody else. */
static void report(struct fleet *f, struct str host, struct str value, int64_t redis_ms)
{
    int64_t opened_ms;
    int64_t probe_ms;
    int64_t backoff_ms;

    if (host.ptr[0] == '~') {
        report_held(f, str_slice(host, 1), value, redis_ms);
        return;
    }
    if (str_equal(value, STR("closed"))) {
        f->o.closed(f->o.arg, host);
        return;
    }
    if (!str_equal(word_of(&value), STR("open")) ||
        !str_to_i64(word_of(&value), 0, INT64_MAX, &opened_ms) ||
        !str_to_i64(word_of(&value), 0, INT64_MAX, &probe_ms) ||
        !str_to_i64(value, 0, UINT32_MAX, &backoff_ms))
        return;
    if (opened_ms > redis_ms)
        opened_ms = redis_ms;
    if (probe_ms > redis_ms + FARTHEST_PROBE_MS)
        probe_ms = redis_ms + FARTHEST_PROBE_MS;
    f->o.opened(f->o.arg, host, opened_ms, probe_ms, (uint32_t)backoff_ms);
}

static void take_change(struct fleet *f, struct str host, struct str value, int64_t redis_ms)
{
    struct news *news = table_get(f->by_host, host);

    if (host.len == 0 || host.len > URL_MAX_BYTES)
        return;
    if (news != NULL) {
        switch (news->state) {
        case NEWS_UNSENT:
        case NEWS_SENT:
        case NEWS_STALE:
            return; /* ours are newer */
        case NEWS_TOLD:
            if (str_equal(value, str_of(news->value)))
                return; /* our own */
            break;
        case NEWS_HELD:
            break;
        }
        if (news->state == NEWS_HELD && str_equal(value, STR("closed")))
            news_free(f, news); /* no result of our probe will follow */
    }
    report(f, host, value, redis_ms);
}

/* --- the pulse --- */

static struct str text_at(const redisReply *reply, size_t index)
{
    const redisReply *element = reply->element[index];

    if (element->type != REDIS_REPLY_STRING)
        return STR_NULL;
    return (struct str){element->str, (size_t)element->len};
}

/* Redis' clock was read somewhere between sending and receiving. */
static void take_time(struct fleet *f, int64_t redis_ms)
{
    int64_t now_ms = clock_mono_ms(f->o.clock);
    int64_t doubt_ms = (now_ms - f->sent_ms) / 2 + 1;
    int64_t offset_ms = redis_ms - f->sent_ms - (now_ms - f->sent_ms) / 2;

    if (f->offset_known && offset_ms - f->offset_ms <= doubt_ms &&
        f->offset_ms - offset_ms <= doubt_ms)
        return;
    f->offset_known = true;
    f->offset_ms = offset_ms;
}

static double number_of(struct str text)
{
    char copy[32];

    if (text.len == 0 || text.len >= sizeof(copy))
        return -1;
    snprintf(copy, sizeof(copy), "%.*s", STR_ARG(text));
    return strtod(copy, NULL);
}

static bool is_present(const struct fleet *f)
{
    return membership_state(f->o.membership) == MEMBER_PRESENT;
}

/* Redis has noted what it gave us under the name that we have. */
static bool was_named(const struct fleet *f)
{
    return f->named != NULL && is_present(f) &&
           str_equal(str_of(f->named), membership_identity(f->o.membership));
}

static void take_shares(struct fleet *f, struct str shares, struct str wants)
{
    double share = number_of(word_of(&shares));
    double later = number_of(shares);

    f->want_count = 0;
    while (wants.len > 0 && f->want_count < SHARE_MACHINES) {
        double wanted = number_of(word_of(&wants));
        f->wants[f->want_count++] = wanted >= 0 ? wanted : share_all;
    }
    if (share < 0 || later < 0 || !was_named(f))
        return;
    f->share = share;
    f->later = later;
    f->shared_ms = f->sent_ms;
    if (f->o.shared != NULL)
        f->o.shared(f->o.arg);
}

/* This machine's own place among them changes with its word. */
static void take_takers(struct fleet *f, struct str others)
{
    struct str self = f->word.unfit ? STR_NULL : membership_identity(f->o.membership);
    struct str proxies = self.len > 0 ? f->word.proxies : STR_NULL;
    char *takers = mem_printf("%.*s%s%.*s %.*s", STR_ARG(self), proxies.len > 0 ? "=" : "",
                              STR_ARG(proxies), STR_ARG(others));

    if (f->takers == NULL || strcmp(f->takers, takers) != 0)
        f->takers_ms = clock_mono_ms(f->o.clock);
    free(f->takers);
    f->takers = takers;
}

static void take_pulse(struct fleet *f, const redisReply *reply)
{
    int64_t redis_us;

    if (!str_to_i64(text_at(reply, 0), 0, INT64_MAX, &redis_us))
        return;
    take_time(f, redis_us / 1000);
    long long machines = reply->element[1]->integer;
    f->machines = machines < 1 ? 1 : machines > MAX_MACHINES ? MAX_MACHINES : (unsigned)machines;
    f->healthy_others = (unsigned)reply->element[6]->integer;
    take_takers(f, text_at(reply, 9));
    take_shares(f, text_at(reply, 7), text_at(reply, 8));
    keep_place(f->since, text_at(reply, 2));
    keep_place(f->swept, text_at(reply, 4));
    keep_place(f->scanned, text_at(reply, 5));
    for (size_t i = HEAD_ELEMENTS; i + 1 < reply->elements; i += 2)
        take_change(f, text_at(reply, i), text_at(reply, i + 1), redis_us / 1000);
    f->more = reply->element[3]->integer == 1;
    if (!f->more)
        forget_told(f);
}

static bool may_tell(const struct fleet *f)
{
    return is_present(f) && !TAILQ_EMPTY(&f->lists[NEWS_UNSENT]);
}

static void on_pulse(void *arg, enum redis_status status, const redisReply *reply)
{
    struct fleet *f = arg;
    bool good = status == REDIS_REPLIED && reply->type == REDIS_REPLY_ARRAY &&
                reply->elements >= HEAD_ELEMENTS;

    f->pulsing = false;
    settle_sent(f, good);
    if (good) {
        take_pulse(f, reply);
        if (f->more || may_tell(f) || (is_present(f) && !was_named(f)))
            fleet_tick(f); /* who has joined meanwhile asks for its share */
    } else if (status == REDIS_REPLIED) {
        log_event(LOG_LEVEL_DEBUG, "circuits not exchanged",
                  LOG_STR("error", reply_error(status, reply)));
    }
}

static unsigned take_unsent(struct fleet *f, struct news *sending[SEND_HOSTS])
{
    unsigned count = 0;

    while (count < SEND_HOSTS && may_tell(f)) {
        sending[count] = TAILQ_FIRST(&f->lists[NEWS_UNSENT]);
        set_state(f, sending[count++], NEWS_SENT);
    }
    return count;
}

/* What is asked for is less than what we hold when others want it: then it counts from now on, even
 * if the answer is lost. */
static void ask_share(struct fleet *f, char asked[SHARE_BYTES])
{
    double share = share_of(f->word.rate, f->word.wanted, f->wants, f->want_count);

    snprintf(asked, SHARE_BYTES, "%.3f", share);
    if (f->share > share)
        f->share = share;
}

static void pulse(struct fleet *f)
{
    struct script_call *call = script_begin(SCRIPT_FLEET);
    struct news *sending[SEND_HOSTS];
    unsigned count = take_unsent(f, sending);
    char asked[SHARE_BYTES];

    free(f->named);
    f->named = is_present(f) ? str_dup(membership_identity(f->o.membership)) : NULL;
    ask_share(f, asked);
    script_key(call, f->o.keys->circuits);
    script_key(call, f->o.keys->circuit);
    script_key(call, f->o.keys->identities);
    script_key(call, f->o.keys->reserved);
    script_key(call, f->o.keys->pulses);
    for (unsigned i = 0; i < count; i++)
        script_key(call, sending[i]->probe_key);
    script_arg(call, str_of(f->since));
    script_arg_number(call, READ_HOSTS);
    script_arg(call, str_of(f->swept));
    script_arg(call, str_of(f->scanned));
    script_arg(call, str_of(f->named));
    script_arg(call, f->word.unfit ? STR("1") : STR("0"));
    script_arg_number(call, (int64_t)f->word.rate);
    script_arg_number(call, (int64_t)f->word.wanted);
    script_arg(call, str_of(asked));
    script_arg(call, f->word.proxies);
    for (unsigned i = 0; i < count; i++) {
        script_arg(call, str_of(sending[i]->host));
        script_arg(call, str_of(sending[i]->value));
        script_arg(call, str_of(sending[i]->token));
    }
    f->pulsing = true;
    f->sent_ms = clock_mono_ms(f->o.clock);
    script_send(call, f->o.redis, on_pulse, f);
}

void fleet_redis_ready(struct fleet *f)
{
    keep_place(f->since, STR("-inf"));
    if (!f->pulsing)
        pulse(f);
}

void fleet_tick(struct fleet *f)
{
    if (!f->pulsing && redis_is_ready(f->o.redis))
        pulse(f);
}

unsigned fleet_machines(const struct fleet *f)
{
    return f->machines;
}

void fleet_say(struct fleet *f, const struct fleet_word *word)
{
    f->word = *word;
}

double fleet_rate(const struct fleet *f)
{
    double share = f->word.rate / f->machines;

    if (f->word.rate <= 0)
        return 0;
    if (f->shared_ms != 0)
        share = clock_mono_ms(f->o.clock) < f->shared_ms + SHARE_LEASE_MS ? f->share : f->later;
    return share > least_rate ? share : least_rate;
}

unsigned fleet_healthy_others(const struct fleet *f)
{
    return f->healthy_others;
}

size_t fleet_takers(const struct fleet *f, struct str proxy, struct str takers[FLEET_TAKERS],
                    int64_t *since_ms)
{
    struct str rest = str_of(f->takers != NULL ? f->takers : "");
    size_t count = 0;

    *since_ms = f->takers_ms;
    while (rest.len > 0 && count < FLEET_TAKERS) {
        struct str word = word_of(&rest);
        size_t equals = str_find(word, '=');
        takers[count] = (struct str){word.ptr, equals};
        count += equals > 0 &&
                 (proxy.len == 0 || proxy_name_place(str_slice(word, equals + 1), proxy) != 0);
    }
    return count;
}

int64_t fleet_unix_offset_ms(const struct fleet *f)
{
    if (f->offset_known)
        return f->offset_ms;
    return clock_wall_us(f->o.clock) / 1000 - clock_mono_ms(f->o.clock);
}

/* --- questions of one host --- */

static struct ask *ask_create(struct fleet *f, struct str host, void *arg)
{
    struct ask *ask = mem_alloc(sizeof(*ask));

    ask->fleet = f;
    ask->host = str_dup(host);
    ask->arg = arg;
    TAILQ_INSERT_TAIL(&f->asks, ask, link);
    return ask;
}

static void on_probe(void *arg, enum redis_status status, const redisReply *reply)
{
    struct ask *ask = arg;
    struct fleet *f = ask->fleet;
    bool won = status == REDIS_REPLIED && reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
    struct news *news = won ? news_of(f, str_of(ask->host)) : NULL;

    if (news != NULL)
        memcpy(news->token, ask->token, sizeof(news->token));
    if (status == REDIS_REPLIED && reply->type == REDIS_REPLY_ERROR)
        log_event(LOG_LEVEL_DEBUG, "probe not asked for", LOG_TEXT("host", ask->host),
                  LOG_STR("error", reply_error(status, reply)));
    ask->probe_fn(ask->arg, str_of(ask->host), news != NULL);
    ask_free(ask);
}

void fleet_ask_probe(struct fleet *f, struct str host, const struct fleet_prober *prober,
                     fleet_probe_fn *fn, void *arg)
{
    struct script_call *call = script_begin(SCRIPT_PROBE);
    struct ask *ask = ask_create(f, host, arg);
    char *key = keys_probe(f->o.keys, host);
    char pair[PAIR_TEXT] = "0";

    ask->probe_fn = fn;
    if (prober->pair != 0)
        pair_text(pair, prober->pair);
    snprintf(ask->token, sizeof(ask->token), "%016" PRIx64 "%016" PRIx64,
             f->o.rng->next(f->o.rng->arg), f->o.rng->next(f->o.rng->arg));
    script_key(call, f->o.keys->circuit);
    script_key(call, key);
    script_key(call, f->o.keys->pairs);
    script_arg(call, host);
    script_arg(call, str_of(ask->token));
    script_arg_number(call, FLEET_PROBE_MS);
    script_arg(call, str_of(pair));
    script_arg_number(call, prober->created_us);
    script_send(call, f->o.redis, on_probe, ask);
    free(key);
}

void fleet_probe_now(struct fleet *f, struct str host)
{
    struct script_call *call = script_begin(SCRIPT_TRY);
    char *probe = keys_probe(f->o.keys, host);
    char *booked = keys_booked(f->o.keys, host);

    script_key(call, f->o.keys->circuits);
    script_key(call, f->o.keys->circuit);
    script_key(call, probe);
    script_key(call, booked);
    script_key(call, f->o.keys->retry);
    script_arg(call, host);
    script_arg(call, STR("r"));
    script_arg(call, STR("")); /* no job: whichever comes */
    script_send(call, f->o.redis, NULL, NULL);
    free(probe);
    free(booked);
}

static bool two_numbers(enum redis_status status, const redisReply *reply)
{
    return status == REDIS_REPLIED && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
           reply->element[0]->type == REDIS_REPLY_INTEGER &&
           reply->element[1]->type == REDIS_REPLY_INTEGER;
}

static void on_released(void *arg, enum redis_status status, const redisReply *reply)
{
    struct ask *ask = arg;
    bool good = two_numbers(status, reply);

    if (!good && status == REDIS_REPLIED)
        log_event(LOG_LEVEL_DEBUG, "booked jobs not called back", LOG_TEXT("host", ask->host),
                  LOG_STR("error", reply_error(status, reply)));
    if (ask->release_fn != NULL)
        ask->release_fn(ask->arg, str_of(ask->host),
                        good ? (unsigned)reply->element[0]->integer : 0,
                        good ? (unsigned)reply->element[1]->integer : 1);
    ask_free(ask);
}

void fleet_release(struct fleet *f, struct str host, unsigned count, uint32_t gap_ms,
                   fleet_release_fn *fn, void *arg)
{
    struct script_call *call = script_begin(SCRIPT_RELEASE);
    struct ask *ask = ask_create(f, host, arg);
    char *booked = keys_booked(f->o.keys, host);

    ask->release_fn = fn;
    script_key(call, booked);
    script_key(call, f->o.keys->pairs);
    script_key(call, f->o.keys->reserved);
    script_key(call, f->o.keys->retry);
    script_key(call, f->o.keys->schedule);
    script_arg(call, host);
    script_arg_number(call, count < FLEET_RELEASE_MAX ? count : FLEET_RELEASE_MAX);
    script_arg_number(call, gap_ms);
    script_send(call, f->o.redis, on_released, ask);
    free(booked);
}
