#include "worker/resolve.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "base/loop.h"
#include "base/table.h"
#include "sched/rate.h"

enum {
    MIN_TTL_S = 5,
    MAX_TTL_S = 3600,
    NO_NAME_TTL_S = 60,
    NO_ANSWER_TTL_S = 5,
    NO_SOCKET_TTL_MS = 500,
    MAX_PARALLEL = 256, /* names whose servers are silent keep their places for 5 s */
    MAX_ENTRIES = 20000,
    MAX_STALE_MS = 24 * 3600 * 1000,
    FRESH_WAIT_MS = 200,
    PACE_MS = 20,
    VOUCHED_MS = 1000, /* for so long after an answer the resolver is known to work */
    WITNESS_LOOK = 64,
};

/* CACHED --expired and asked--> QUEUED --a place is free--> ASKING --answer--> CACHED
 * ASKING --no answer--> DOUBTED --another's answer, or the witness gets none, either--> CACHED */
enum entry_state { ENTRY_QUEUED = 0, ENTRY_ASKING, ENTRY_DOUBTED, ENTRY_CACHED };

struct resolve_wait {
    TAILQ_ENTRY(resolve_wait) entry;
    struct entry *of;
    resolve_fn *fn;
    void *arg;
};

struct entry {
    TAILQ_ENTRY(entry) link; /* in the list of its state */
    enum entry_state state;
    struct resolver *resolver;
    char *host;
    int64_t expires_ms;
    struct dns_query *query;
    struct dns_result result;
    int64_t found_until_ms; /* as long may its addresses be used when no fresher ones come */
    int64_t patience_ms;    /* ageing: until then fresher ones are waited for */
    TAILQ_ENTRY(entry) age;
    bool ageing;
    TAILQ_ENTRY(entry) trust;
    bool trusted; /* in the list of that name */
    bool stale;   /* not CACHED, but its old addresses are given */
    bool no_name; /* the latest answer of any use was "no such name" */
    TAILQ_HEAD(, resolve_wait) waits;
    TAILQ_ENTRY(entry) due; /* while delivering */
    bool delivering;        /* its waits are answered in the next turn */
};

TAILQ_HEAD(entry_list, entry);

struct resolver {
    const struct clock *clock;
    struct dns *dns;
    struct table *by_host;
    struct entry_list queued;
    struct entry_list cached; /* oldest first */
    struct entry_list asking;
    struct entry_list doubted;
    struct entry_list trusted; /* CACHED; name servers found them when they were asked last; oldest
                                  first. There may be few among many that are missing */
    struct entry *own;         /* of our own name, for its witness alone; of no table; or NULL */
    struct entry *witness;     /* asked again while others are doubted; NULL: none is */
    int64_t answered_ms;       /* when any name last got an answer */
    struct entry_list due;
    struct entry_list ageing; /* by patience_ms */
    unsigned parallel;
    struct rate rate; /* of look-ups that begin */
    struct loop_timer *pace;
    struct loop_timer *patience;
    struct loop_timer *deliver;
};

static struct entry_list *list_of(struct resolver *r, enum entry_state state)
{
    switch (state) {
    case ENTRY_QUEUED:
        return &r->queued;
    case ENTRY_ASKING:
        return &r->asking;
    case ENTRY_DOUBTED:
        return &r->doubted;
    case ENTRY_CACHED:
        return &r->cached;
    }
    abort();
}

static void distrust(struct entry *entry)
{
    if (entry->trusted)
        TAILQ_REMOVE(&entry->resolver->trusted, entry, trust);
    entry->trusted = false;
}

static void set_state(struct entry *entry, enum entry_state state)
{
    struct resolver *r = entry->resolver;

    distrust(entry);
    TAILQ_REMOVE(list_of(r, entry->state), entry, link);
    entry->state = state;
    TAILQ_INSERT_TAIL(list_of(r, state), entry, link);
}

static void end_ageing(struct entry *entry)
{
    if (entry->ageing)
        TAILQ_REMOVE(&entry->resolver->ageing, entry, age);
    entry->ageing = false;
}

static void entry_free(struct entry *entry)
{
    struct resolver *r = entry->resolver;
    struct resolve_wait *wait;

    TAILQ_REMOVE(list_of(r, entry->state), entry, link);
    if (entry->delivering)
        TAILQ_REMOVE(&r->due, entry, due);
    end_ageing(entry);
    distrust(entry);
    if (entry != r->own)
        table_remove(r->by_host, str_of(entry->host));
    while ((wait = TAILQ_FIRST(&entry->waits)) != NULL) {
        TAILQ_REMOVE(&entry->waits, wait, entry);
        free(wait);
    }
    free(entry->host);
    free(entry);
}

static int64_t lifetime_ms(const struct dns_result *result)
{
    uint32_t ttl_s = result->ttl_s;

    if (result->status == DNS_NO_SOCKET)
        return NO_SOCKET_TTL_MS;
    if (result->status == DNS_NO_ANSWER || result->status == DNS_UNSERVED ||
        result->status == DNS_CANCELLED)
        return NO_ANSWER_TTL_S * 1000;
    if (result->status != DNS_FOUND)
        return NO_NAME_TTL_S * 1000;
    if (ttl_s < MIN_TTL_S)
        ttl_s = MIN_TTL_S;
    return (int64_t)(ttl_s > MAX_TTL_S ? MAX_TTL_S : ttl_s) * 1000;
}

/* Callbacks may ask again or cancel: entries and waits are taken one at a time, from the head. */
static void on_deliver(void *arg)
{
    struct resolver *r = arg;
    struct entry *entry;
    struct resolve_wait *wait;

    while ((entry = TAILQ_FIRST(&r->due)) != NULL) {
        wait = TAILQ_FIRST(&entry->waits);
        if (wait == NULL || (entry->state != ENTRY_CACHED && !entry->stale)) {
            TAILQ_REMOVE(&r->due, entry, due);
            entry->delivering = false;
            continue;
        }
        TAILQ_REMOVE(&entry->waits, wait, entry);
        const struct dns_result result = entry->result; /* who asks again may evict the entry */
        resolve_fn *fn = wait->fn;
        void *fn_arg = wait->arg;
        free(wait);
        fn(fn_arg, &result);
    }
}

static void deliver_later(struct entry *entry)
{
    if (!entry->delivering)
        TAILQ_INSERT_TAIL(&entry->resolver->due, entry, due);
    entry->delivering = true;
    if (!loop_timer_pending(entry->resolver->deliver))
        loop_timer_set(entry->resolver->deliver, 0);
}

/* --- old addresses --- */

/* Whoever asks has waited long enough for fresher ones. */
static void on_patience(void *arg)
{
    struct resolver *r = arg;
    int64_t now_ms = clock_mono_ms(r->clock);
    struct entry *entry;

    while ((entry = TAILQ_FIRST(&r->ageing)) != NULL && entry->patience_ms <= now_ms) {
        end_ageing(entry);
        entry->stale = true;
        deliver_later(entry);
    }
    if (entry != NULL)
        loop_timer_set(r->patience, entry->patience_ms - now_ms);
}

static bool has_old_addresses(const struct entry *entry, int64_t now_ms)
{
    return entry->result.status == DNS_FOUND && now_ms < entry->found_until_ms;
}

static void expire(struct entry *entry, int64_t now_ms)
{
    struct resolver *r = entry->resolver;

    set_state(entry, ENTRY_QUEUED);
    if (!has_old_addresses(entry, now_ms))
        return;
    entry->patience_ms = now_ms + FRESH_WAIT_MS;
    entry->ageing = true;
    TAILQ_INSERT_TAIL(&r->ageing, entry, age);
    if (!loop_timer_pending(r->patience))
        loop_timer_set(r->patience, FRESH_WAIT_MS);
}

/* Room for one more: the oldest answers nobody waits for go first. */
static void evict(struct resolver *r)
{
    struct entry *entry = TAILQ_FIRST(&r->cached);

    while (entry != NULL && table_count(r->by_host) >= MAX_ENTRIES) {
        struct entry *next = TAILQ_NEXT(entry, link);
        if (TAILQ_EMPTY(&entry->waits) && entry != r->own)
            entry_free(entry);
        entry = next;
    }
}

static struct entry *entry_create(struct resolver *r, struct str host, enum entry_state state)
{
    struct entry *entry = mem_alloc(sizeof(*entry));

    entry->resolver = r;
    entry->host = str_dup(host);
    entry->state = state;
    TAILQ_INIT(&entry->waits);
    TAILQ_INSERT_TAIL(list_of(r, state), entry, link);
    return entry;
}

static struct entry *entry_for(struct resolver *r, struct str host)
{
    struct entry *entry = table_get(r->by_host, host);
    int64_t now_ms = clock_mono_ms(r->clock);

    if (entry == NULL) {
        evict(r);
        entry = entry_create(r, host, ENTRY_QUEUED);
        table_put(r->by_host, str_of(entry->host), entry);
    } else if (entry->state == ENTRY_CACHED && !entry->delivering && now_ms >= entry->expires_ms) {
        expire(entry, now_ms);
    }
    return entry;
}

/* --- answers --- */

static void start_queued(struct resolver *r);

/* A resolver that answers wrongly for a moment must not make a host look given up. */
static bool must_ask_again(struct entry *entry, enum dns_status status)
{
    bool first = status == DNS_NO_NAME && !entry->no_name;

    if (status == DNS_NO_NAME || status == DNS_FOUND)
        entry->no_name = status == DNS_NO_NAME;
    return first;
}

/* A resolver that fails says nothing about the addresses that are known. */
static void take_answer(struct entry *entry, const struct dns_result *result)
{
    int64_t now_ms = clock_mono_ms(entry->resolver->clock);

    end_ageing(entry);
    entry->stale = false;
    entry->expires_ms = now_ms + lifetime_ms(result);
    bool failed = result->status == DNS_NO_ANSWER || result->status == DNS_UNSERVED ||
                  result->status == DNS_NO_SOCKET;
    if (failed && has_old_addresses(entry, now_ms))
        return;
    entry->result = *result;
    entry->found_until_ms = entry->expires_ms + MAX_STALE_MS;
}

/* An address, or a line of /etc/hosts, needs no resolver. */
static bool was_asked(const struct dns_result *result)
{
    return result->status == DNS_NO_NAME || (result->status == DNS_FOUND && result->ttl_s > 0);
}

static void finish(struct entry *entry, const struct dns_result *result)
{
    struct resolver *r = entry->resolver;

    take_answer(entry, result);
    set_state(entry, ENTRY_CACHED);
    entry->trusted = entry != r->own && result->status == DNS_FOUND && was_asked(result);
    if (entry->trusted)
        TAILQ_INSERT_TAIL(&r->trusted, entry, trust);
    deliver_later(entry);
}

static void end_doubts(struct resolver *r, enum dns_status status)
{
    const struct dns_result result = {.status = status};
    struct entry *entry;

    while ((entry = TAILQ_FIRST(&r->doubted)) != NULL)
        finish(entry, &result);
}

/* One whose time is over, if there is one: the resolver can't have it from its own cache. Our own
 * name when none is known that was found. */
static struct entry *choose_witness(struct resolver *r, int64_t now_ms)
{
    struct entry *entry;
    struct entry *next;
    struct entry *any = NULL;
    unsigned looked = 0;

    for (entry = TAILQ_FIRST(&r->trusted); entry != NULL && looked < WITNESS_LOOK; entry = next) {
        next = TAILQ_NEXT(entry, trust);
        if (!has_old_addresses(entry, now_ms)) {
            distrust(entry); /* and never looked at again: only the others count */
            continue;
        }
        looked++;
        if (entry->delivering)
            continue;
        if (now_ms >= entry->expires_ms)
            return entry;
        any = any != NULL ? any : entry;
    }
    return any != NULL ? any : r->own;
}

/* Returns whether an answer of somebody's is awaited now, which tells whose fault it is. */
static bool call_witness(struct resolver *r, int64_t now_ms)
{
    struct entry *witness = r->witness;

    if (witness != NULL)
        return true;
    witness = choose_witness(r, now_ms);
    if (witness == NULL)
        return false;
    if (witness->state == ENTRY_CACHED)
        expire(witness, now_ms);
    if (witness->state == ENTRY_QUEUED) {
        TAILQ_REMOVE(&r->queued, witness, link);
        TAILQ_INSERT_HEAD(&r->queued, witness, link);
    }
    r->witness = witness;
    return true;
}

static void unanswered(struct entry *entry, const struct dns_result *result, bool was_witness)
{
    struct resolver *r = entry->resolver;
    int64_t now_ms = clock_mono_ms(r->clock);

    if (r->answered_ms != 0 && now_ms - r->answered_ms < VOUCHED_MS) {
        finish(entry, &(struct dns_result){.status = DNS_UNSERVED});
        return;
    }
    bool may_doubt = !was_witness && entry != r->own && !has_old_addresses(entry, now_ms);
    if (may_doubt && call_witness(r, now_ms))
        set_state(entry, ENTRY_DOUBTED);
    else
        finish(entry, result);
}

static void on_answer(void *arg, const struct dns_result *result)
{
    struct entry *entry = arg;
    struct resolver *r = entry->resolver;
    bool was_witness = r->witness == entry;

    entry->query = NULL;
    r->parallel--;
    if (was_witness)
        r->witness = NULL;
    if (was_asked(result)) {
        r->answered_ms = clock_mono_ms(r->clock);
        end_doubts(r, DNS_UNSERVED);
    } else if (was_witness) {
        end_doubts(r, DNS_NO_ANSWER);
    }
    if (must_ask_again(entry, result->status))
        set_state(entry, ENTRY_QUEUED);
    else if (result->status == DNS_NO_ANSWER)
        unanswered(entry, result, was_witness);
    else
        finish(entry, result);
    start_queued(r);
}

static void start_queued(struct resolver *r)
{
    int64_t now_ms = clock_mono_ms(r->clock);
    struct entry *entry;

    while (r->parallel < MAX_PARALLEL && (entry = TAILQ_FIRST(&r->queued)) != NULL &&
           rate_take(&r->rate, now_ms)) {
        set_state(entry, ENTRY_ASKING);
        r->parallel++;
        entry->query = entry == r->own
                           ? dns_lookup_served(r->dns, str_of(entry->host), on_answer, entry)
                           : dns_lookup(r->dns, str_of(entry->host), on_answer, entry);
    }
    if (!TAILQ_EMPTY(&r->queued) && !loop_timer_pending(r->pace))
        loop_timer_set(r->pace, PACE_MS);
}

static void on_pace(void *arg)
{
    start_queued(arg);
}

struct resolver *resolver_create(struct event_base *base, const struct clock *clock,
                                 struct dns *dns, const struct resolver_options *options)
{
    struct resolver *r = mem_alloc(sizeof(*r));

    r->clock = clock;
    r->dns = dns;
    r->by_host = table_create();
    rate_set(&r->rate, options->per_s, clock_mono_ms(clock) - 1000); /* with its burst at hand */
    TAILQ_INIT(&r->queued);
    TAILQ_INIT(&r->cached);
    TAILQ_INIT(&r->asking);
    TAILQ_INIT(&r->doubted);
    TAILQ_INIT(&r->trusted);
    TAILQ_INIT(&r->due);
    TAILQ_INIT(&r->ageing);
    r->pace = loop_timer_create(base, on_pace, r);
    r->patience = loop_timer_create(base, on_patience, r);
    r->deliver = loop_timer_create(base, on_deliver, r);
    if (options->own_name.len > 0)
        r->own = entry_create(r, options->own_name, ENTRY_CACHED);
    return r;
}

void resolver_destroy(struct resolver *r)
{
    size_t at = 0;
    struct entry *entry;

    if (r == NULL)
        return;
    while ((entry = table_next(r->by_host, &at)) != NULL) {
        if (entry->query != NULL)
            dns_cancel(entry->query);
        entry_free(entry);
    }
    if (r->own != NULL && r->own->query != NULL)
        dns_cancel(r->own->query);
    if (r->own != NULL)
        entry_free(r->own);
    table_destroy(r->by_host);
    loop_timer_destroy(r->pace);
    loop_timer_destroy(r->patience);
    loop_timer_destroy(r->deliver);
    free(r);
}

struct resolve_wait *resolver_ask(struct resolver *r, struct str host, resolve_fn *fn, void *arg)
{
    struct entry *entry = entry_for(r, host);
    struct resolve_wait *wait = mem_alloc(sizeof(*wait));

    *wait = (struct resolve_wait){.of = entry, .fn = fn, .arg = arg};
    TAILQ_INSERT_TAIL(&entry->waits, wait, entry);
    if (entry->state == ENTRY_CACHED || entry->stale)
        deliver_later(entry);
    if (entry->state != ENTRY_CACHED)
        start_queued(r);
    return wait;
}

void resolver_foresee(struct resolver *r, struct str host)
{
    if (table_get(r->by_host, host) != NULL || table_count(r->by_host) >= MAX_ENTRIES / 2)
        return;
    entry_for(r, host);
    start_queued(r);
}

void resolver_cancel(struct resolve_wait *wait)
{
    TAILQ_REMOVE(&wait->of->waits, wait, entry);
    free(wait);
}

size_t resolver_cached(const struct resolver *r)
{
    return table_count(r->by_host);
}
