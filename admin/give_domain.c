/* Pause, resume and limit of domains. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/give.h"
#include "admin/waiting.h"
#include "base/proxy.h"
#include "sched/scripts.h"

enum {
    READ_MS = 1500,     /* the machines have read an order by then */
    LATER_S = 60,       /* what a machine puts off since its host is paused comes no sooner */
    SOON_S = 1,         /* what is due by then comes by itself */
    RELEASE_JOBS = 100, /* of one script */
    MOST_WARNED = 20,
};

void domain_add_ordered(struct domain_hosts *hosts, const struct orders *orders)
{
    const struct policy_entry *entry;
    size_t at = 0;

    while ((entry = policy_book_each(orders->book, &at)) != NULL) {
        const struct policy now = policy_at(&entry->policy, orders->now_s);
        if (policy_decides(&now) && policy_name_is_below(str_of(entry->name), hosts->domain))
            domain_hosts_add(hosts, str_of(entry->name));
    }
}

/* --- what was put off --- */

struct release {
    struct session *session;
    struct domain_hosts *hosts;
    const struct orders *orders; /* as they are now: what another order pauses stays; NULL: all */
    int64_t from_us;             /* the next one is due then, or now */
    int64_t released;
    struct err *err;
};

static bool is_released(void *arg, const struct url *inbox)
{
    const struct release *release = arg;
    const struct orders *orders = release->orders;
    const struct policy_entry *entry = NULL;

    if (!domain_hosts_mean(release->hosts, inbox->host))
        return false;
    if (orders != NULL)
        entry = policy_book_find(orders->book, inbox->host, orders->now_s);
    return entry == NULL || !policy_at(&entry->policy, orders->now_s).paused;
}

struct released {
    int64_t count;
    int64_t next_us;
};

static void on_released(void *arg, const redisReply *reply)
{
    struct released *released = arg;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[1]->type != REDIS_REPLY_STRING)
        return;
    released->count = reply->element[0]->integer;
    released->next_us = strtoll(reply->element[1]->str, NULL, 10);
}

/* At most RELEASE_JOBS of the piece, from *next on. */
static bool release_some(struct release *release, const struct waiting_piece *piece, size_t *next,
                         struct released *released)
{
    enum { FIXED = 6 };
    struct redis *redis = release->session->redis[REDIS_ROLE_SIDEKIQ];
    char *from = mem_printf("%lld", (long long)release->from_us);
    struct str words[FIXED + RELEASE_JOBS] = {STR("EVAL"),
                                              str_of(script_resume),
                                              STR("2"),
                                              str_of(piece->key),
                                              str_of(release->session->keys.pairs),
                                              str_of(from)};
    size_t n = FIXED;

    while (*next < piece->count && n < FIXED + RELEASE_JOBS)
        words[n++] = piece->entries[(*next)++];
    bool good =
        session_command(release->session, redis, n, words, on_released, released, release->err);
    free(from);
    return good;
}

static int64_t release_piece(void *arg, const struct waiting_piece *piece)
{
    struct release *release = arg;
    int64_t total = 0;
    size_t next = 0;

    while (next < piece->count) {
        struct released released = {.next_us = release->from_us};
        if (!release_some(release, piece, &next, &released))
            return -1;
        release->from_us = released.next_us;
        total += released.count;
    }
    release->released += total;
    return total;
}

/* What is due after `after_s`, and until `upto_s`, is due from `from_s` on (0: now), in the order
 * in which it would have come. */
static bool release_jobs(struct release *release, int64_t from_s, int64_t after_s, int64_t upto_s)
{
    struct waiting waiting = {.session = release->session,
                              .wanted = is_released,
                              .act = release_piece,
                              .arg = release,
                              .all = true,
                              .after_s = (double)after_s,
                              .upto_s = (double)upto_s};
    int64_t total;

    release->from_us = from_s * 1000000;
    bool good = waiting_look_at(&waiting, WAITING_SCHEDULE, &total, release->err) &&
                waiting_look_at(&waiting, WAITING_RETRY, &total, release->err);
    waiting_clear(&waiting);
    return good;
}

/* --- pause --- */

static bool order_pause(struct orders *orders, struct domain_hosts *hosts,
                        const struct domain_options *options, struct err *err)
{
    struct buf detail;

    buf_init(&detail, 4096);
    domain_add_ordered(hosts, orders);
    for (size_t i = 0; i < hosts->count; i++) {
        struct policy policy = orders_get(orders, str_of(hosts->names[i]));
        policy.paused = true;
        policy.now = options->now;
        policy.paused_until_s = options->span_s > 0 ? orders->now_s + options->span_s : 0;
        snprintf(policy.of, sizeof(policy.of), "%.*s", STR_ARG(hosts->domain));
        orders_set(orders, str_of(hosts->names[i]), &policy);
        buf_printf(&detail, "%s%s", i > 0 ? " " : "", hosts->names[i]);
    }
    bool good =
        orders_write(orders, "domain pause", str_of(hosts->names[0]), buf_cstr(&detail), err);
    buf_clear(&detail);
    return good;
}

/* What a longer pause has put off comes when this one ends. */
static bool shorten(struct give *give, struct domain_hosts *hosts,
                    const struct domain_options *options, int64_t now_s, struct err *err)
{
    struct release release = {.session = give->session, .hosts = hosts, .err = err};
    int64_t end_s = now_s + options->span_s;

    return options->span_s == 0 || options->span_s >= POLICY_BOOKED_S ||
           release_jobs(&release, end_s, end_s + SOON_S, now_s + POLICY_BOOKED_S);
}

bool give_domain_pause(struct give *give, struct domain_hosts *hosts,
                       const struct domain_options *options, struct err *err)
{
    struct orders orders;
    bool good = orders_open(&orders, give->session, err);

    orders.who = give->who;
    good = good && order_pause(&orders, hosts, options, err) &&
           shorten(give, hosts, options, orders.now_s, err);
    for (size_t i = 0; good && i < hosts->count; i++)
        give_say(give, PHRASE_GIVE_PAUSED, SAYS(SAY_TEXT("host", hosts->names[i])));
    orders_close(&orders);
    return good;
}

/* --- resume --- */

static void add_resumed(struct domain_hosts *hosts, const struct orders *orders)
{
    const struct policy_entry *entry;
    size_t at = 0;

    while ((entry = policy_book_each(orders->book, &at)) != NULL) {
        if (str_equal(str_of(entry->policy.of), hosts->domain))
            domain_hosts_add(hosts, str_of(entry->name));
    }
}

static bool order_resume(struct give *give, struct domain_hosts *hosts, struct err *err)
{
    struct orders orders;
    bool good = orders_open(&orders, give->session, err);

    orders.who = give->who;
    if (good)
        add_resumed(hosts, &orders);
    for (size_t i = 0; good && i < hosts->count; i++) {
        struct policy policy = orders_get(&orders, str_of(hosts->names[i]));
        if (!policy.paused && policy.drop_s == 0)
            continue;
        policy.paused = policy.now = false;
        policy.paused_until_s = policy.drop_s = 0;
        policy.of[0] = '\0';
        orders_set(&orders, str_of(hosts->names[i]), &policy);
        give_say(give, PHRASE_GIVE_RESUMED, SAYS(SAY_TEXT("host", hosts->names[i])));
    }
    if (good && orders.count == 0)
        give_say(give, PHRASE_GIVE_NOT_PAUSED, SAYS(SAY_STR("domain", hosts->domain)));
    else if (good)
        good = orders_write(&orders, "domain resume", str_of(hosts->names[0]), "", err);
    orders_close(&orders);
    return good;
}

/* Says which policy still pauses the domain, if one does. */
static void warn_paused(struct give *give, const struct orders *orders,
                        const struct domain_hosts *hosts)
{
    const struct policy_entry *entry =
        policy_book_find(orders->book, str_of(hosts->names[0]), orders->now_s);

    if (entry != NULL && policy_at(&entry->policy, orders->now_s).paused)
        give_say(give, PHRASE_GIVE_STILL_PAUSED, SAYS(SAY_TEXT("name", entry->name)));
}

/* Twice: machines that hadn't read the order yet have put off what came to them. What they book
 * because it is too much at once is sooner than that. */
static bool call_back(struct give *give, struct domain_hosts *hosts, const struct orders *orders,
                      struct err *err)
{
    struct release release = {
        .session = give->session, .hosts = hosts, .orders = orders, .err = err};

    if (!release_jobs(&release, 0, orders->now_s + SOON_S, orders->now_s + POLICY_BOOKED_S))
        return false;
    int64_t released = release.released;
    give->session->done = false;
    session_wait(give->session, READ_MS);
    if (!release_jobs(&release, 0, orders->now_s + LATER_S, orders->now_s + POLICY_BOOKED_S))
        return false;
    if (released == 1)
        give_say(give, PHRASE_GIVE_DUE_ONE, SAYS_NOTHING);
    else
        give_say(give, PHRASE_GIVE_DUE, SAYS(SAY_NUMBER("jobs", released)));
    return true;
}

bool give_domain_resume(struct give *give, struct domain_hosts *hosts, struct err *err)
{
    struct orders left;

    if (!order_resume(give, hosts, err))
        return false;
    bool good = orders_open(&left, give->session, err);
    if (good)
        warn_paused(give, &left, hosts);
    good = good && call_back(give, hosts, &left, err);
    orders_close(&left);
    return good;
}

/* --- limit --- */

static bool set_proxy(struct policy *policy, const char *proxy, const struct config *config,
                      struct err *err)
{
    if (strcmp(proxy, "none") == 0) {
        policy->proxy[0] = '\0';
        return true;
    }
    if (!policy_proxy_is_valid(str_of(proxy)) ||
        proxy_name_place(str_of(config->proxy_names), str_of(proxy)) == 0) {
        if (config->proxy_names[0] == '\0')
            err_say(err, FP_INVALID, PHRASE_ORDER_NO_PROXY, SAYS_NOTHING);
        else
            err_say(err, FP_INVALID, PHRASE_ORDER_PROXY,
                    SAYS(SAY_TEXT("proxies", config->proxy_names)));
        return false;
    }
    snprintf(policy->proxy, sizeof(policy->proxy), "%s", proxy);
    return true;
}

static bool change(struct policy *policy, const struct domain_options *o,
                   const struct orders *orders, struct err *err)
{
    bool lasting = o->clear || !policy_has_limits(policy);

    if (o->clear) {
        policy->window = policy->rate = 0;
        policy->proxy[0] = '\0';
        policy->http2 = false;
        policy->scheme = POLICY_SCHEME_AUTO;
    }
    if (o->window >= 0)
        policy->window = (unsigned)o->window;
    if (o->rate >= 0)
        policy->rate = (unsigned)o->rate;
    if (o->http != 0)
        policy->http2 = o->http == 2;
    if (o->scheme >= 0)
        policy->scheme = (enum policy_scheme)o->scheme;
    if (o->span_s > 0)
        policy->limits_until_s = orders->now_s + o->span_s;
    else if (lasting) /* else what was to end still does */
        policy->limits_until_s = 0;
    return o->proxy == NULL || set_proxy(policy, o->proxy, orders->session->config, err);
}

/* What counts for it now: a limit must not lift the pause of a parent. A parent's order to drop
 * counts beside it. */
static struct policy policy_so_far(const struct orders *orders, struct str name)
{
    const struct policy_entry *entry = policy_book_find(orders->book, name, orders->now_s);
    struct policy policy = orders_get(orders, name);
    int64_t drop_s = policy.drop_s;

    if (entry != NULL)
        policy = policy_at(&entry->policy, orders->now_s);
    policy.drop_s = drop_s;
    return policy;
}

static bool limit(struct give *give, struct orders *orders, struct str name,
                  const struct domain_options *options, struct err *err)
{
    struct policy policy = policy_so_far(orders, name);
    struct said limits;

    if (!change(&policy, options, orders, err))
        return false;
    orders_set(orders, name, &policy);
    said_init(&limits, ORDERS_WORDS_BYTES);
    orders_say(&limits, &policy, orders->now_s);
    bool good = orders_write(orders, "domain limit", name, buf_cstr(&limits.text), err);
    if (good)
        give_say(give, PHRASE_GIVE_LIMITED,
                 SAYS(SAY_STR("domain", name), SAY_SAID("limits", &limits)));
    said_clear(&limits);
    return good;
}

/* Where the limit doesn't count: an order below it stands alone. */
static void warn_own_orders(struct give *give, const struct orders *orders,
                            const struct domain_hosts *hosts)
{
    const struct policy_entry *entry;
    size_t at = 0;
    int said = 0;

    while (hosts->below_only && said < MOST_WARNED &&
           (entry = policy_book_each(orders->book, &at)) != NULL) {
        const struct policy now = policy_at(&entry->policy, orders->now_s);
        if (!policy_decides(&now) || !policy_name_is_below(str_of(entry->name), hosts->domain))
            continue;
        give_say(give, PHRASE_GIVE_OWN_ORDER, SAYS(SAY_TEXT("name", entry->name)));
        said++;
    }
}

bool give_domain_limit(struct give *give, const struct domain_hosts *hosts,
                       const struct domain_options *options, struct err *err)
{
    struct orders orders;
    bool good = orders_open(&orders, give->session, err);

    orders.who = give->who;
    good = good && limit(give, &orders, str_of(hosts->names[0]), options, err);
    if (good)
        warn_own_orders(give, &orders, hosts);
    orders_close(&orders);
    return good;
}

bool give_parse_rate(struct str text, int64_t *rate)
{
    struct str number = {text.ptr, str_find(text, '/')};
    struct str unit = str_slice(text, number.len + 1);
    int64_t factor = str_equal(unit, STR("s")) ? 60 : 1;

    if (str_equal(text, STR("0"))) {
        *rate = 0;
        return true;
    }
    if (!str_equal(unit, STR("s")) && !str_equal(unit, STR("m")))
        return false;
    if (!str_to_i64(number, 1, POLICY_MAX_RATE / factor, rate))
        return false;
    *rate *= factor;
    return true;
}

bool give_parse_scheme(struct str text, int *scheme)
{
    static const char *const names[] = {"auto", "cavage", "rfc9421"};

    for (int i = 0; i < 3; i++) {
        if (str_equal(text, str_of(names[i]))) {
            *scheme = i;
            return true;
        }
    }
    return false;
}
