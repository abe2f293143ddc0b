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
    DETAIL_BYTES = 4096,
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

void give_left_out(struct give *give, const struct domain_hosts *hosts)
{
    struct said reason;

    if (hosts->problem.code != FP_OK) {
        said_init(&reason, ORDERS_WORDS_BYTES);
        err_add_said(&hosts->problem, &reason);
        give_say(give, PHRASE_GIVE_LEFT_OUT, SAYS(SAY_SAID("reason", &reason)));
        said_clear(&reason);
    }
    for (size_t i = 0; i < hosts->other_count; i++)
        give_say(give, PHRASE_GIVE_OTHERS_HOST,
                 SAYS(SAY_TEXT("host", hosts->others[i]), SAY_STR("domain", hosts->domain)));
}

/* --- what was put off --- */

struct release {
    struct session *session;
    struct domain_hosts *hosts;
    const struct orders *orders; /* as they are now: what these still pause then stays */
    int64_t then_s;
    int64_t from_us; /* the next one is due then, or now */
    int64_t released;
    struct err *err;
};

static bool is_released(void *arg, const struct url *inbox)
{
    const struct release *release = arg;
    const struct policy_entry *entry;

    if (!domain_hosts_mean(release->hosts, inbox->host))
        return false;
    entry = policy_book_find(release->orders->book, inbox->host, release->then_s);
    return entry == NULL || !policy_at(&entry->policy, release->then_s).paused;
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

/* The domain as it was given: a pause is taken back under the same name. */
static struct str given(const struct domain_hosts *hosts)
{
    return str_of(hosts->names[0]);
}

/* A pause that says for no domain is one of the name itself. */
static struct policy policy_of(const struct orders *orders, struct str name)
{
    struct policy policy = orders_get(orders, name);

    if (policy.paused && policy.of[0] == '\0')
        snprintf(policy.of, sizeof(policy.of), "%.*s", STR_ARG(name));
    return policy;
}

static bool pause_all(struct orders *orders, const struct domain_hosts *hosts,
                      const struct domain_options *options, struct buf *detail, struct err *err)
{
    int64_t until_s = options->span_s > 0 ? orders->now_s + options->span_s : 0;

    for (size_t i = 0; i < hosts->count; i++) {
        struct policy policy = policy_of(orders, str_of(hosts->names[i]));
        if (!policy_pause(&policy, given(hosts), until_s)) {
            err_say(err, FP_TOO_LARGE, PHRASE_ORDER_MANY_PAUSES,
                    SAYS(SAY_TEXT("host", hosts->names[i])));
            return false;
        }
        policy.now = options->now;
        orders_set(orders, str_of(hosts->names[i]), &policy);
        buf_printf(detail, "%s%s", detail->len > 0 ? " " : "", hosts->names[i]);
    }
    return true;
}

static bool order_pause(struct orders *orders, struct domain_hosts *hosts,
                        const struct domain_options *options, struct err *err)
{
    struct buf detail;

    buf_init(&detail, DETAIL_BYTES);
    domain_add_ordered(hosts, orders);
    orders_put_options(&detail, options->span_s, options->now);
    bool good = pause_all(orders, hosts, options, &detail, err) &&
                orders_write(orders, "domain pause", given(hosts), buf_cstr(&detail), err);
    buf_clear(&detail);
    return good;
}

/* What a longer pause has put off comes when this one ends, unless another goes on. */
static bool shorten(struct give *give, struct domain_hosts *hosts,
                    const struct domain_options *options, struct err *err)
{
    struct release release = {.session = give->session, .hosts = hosts, .err = err};
    struct orders orders;
    bool good;

    if (options->span_s == 0 || options->span_s >= POLICY_BOOKED_S)
        return true;
    good = orders_open(&orders, give->session, err);
    release.orders = &orders;
    release.then_s = orders.now_s + options->span_s;
    good = good && release_jobs(&release, release.then_s, release.then_s + SOON_S,
                                orders.now_s + POLICY_BOOKED_S);
    orders_close(&orders);
    return good;
}

bool give_domain_pause(struct give *give, struct domain_hosts *hosts,
                       const struct domain_options *options, struct err *err)
{
    struct orders orders;
    bool good = orders_open(&orders, give->session, err);

    orders.who = give->who;
    good = good && order_pause(&orders, hosts, options, err) && shorten(give, hosts, options, err);
    for (size_t i = 0; good && i < hosts->count; i++)
        give_say(give, PHRASE_GIVE_PAUSED, SAYS(SAY_TEXT("host", hosts->names[i])));
    orders_close(&orders);
    return good;
}

/* --- resume --- */

static bool is_paused_for(const struct policy *policy, struct str domain)
{
    struct str of;
    size_t at = 0;

    while (policy_next_of(policy, &at, &of)) {
        if (str_equal(of, domain))
            return true;
    }
    return false;
}

static void add_resumed(struct domain_hosts *hosts, const struct orders *orders)
{
    const struct policy_entry *entry;
    size_t at = 0;

    while ((entry = policy_book_each(orders->book, &at)) != NULL) {
        const struct policy now = policy_at(&entry->policy, orders->now_s);
        if (is_paused_for(&now, given(hosts)))
            domain_hosts_add(hosts, str_of(entry->name));
    }
}

/* Whether the domain has this name in it, as one of others. */
static bool is_around(struct str domain, struct str name)
{
    struct str above = str_slice(domain, str_starts_with(domain, STR("*.")) ? 2 : 0);

    return policy_name_is_below(name, above) ||
           (str_starts_with(name, STR("*.")) && str_equal(str_slice(name, 2), domain));
}

/* Who names a part of what was paused takes that part out of it; what was paused for another domain
 * beside it stays. */
static void resume_part(struct policy *policy, struct str name)
{
    struct str of;
    size_t at = 0;

    while (policy_next_of(policy, &at, &of)) {
        if (is_around(of, name)) {
            policy_resume(policy, of);
            at = 0;
        }
    }
}

/* False: there was nothing. */
static bool resume_one(struct give *give, struct orders *orders, const struct domain_hosts *hosts,
                       struct str name, bool named)
{
    const struct policy before = policy_of(orders, name);
    struct policy policy = before;

    policy_resume(&policy, given(hosts));
    if (named)
        resume_part(&policy, name);
    policy.now = policy.now && (policy.paused || policy.drop_s != 0);
    if (strcmp(policy.of, before.of) == 0)
        return false;
    orders_set(orders, name, &policy);
    if (!policy.paused)
        give_say(give, PHRASE_GIVE_RESUMED, SAYS(SAY_STR("host", name)));
    return true;
}

static bool order_resume(struct give *give, struct domain_hosts *hosts, struct err *err)
{
    size_t named = hosts->count;
    struct orders orders;
    struct buf detail;
    bool good = orders_open(&orders, give->session, err);

    buf_init(&detail, DETAIL_BYTES);
    orders.who = give->who;
    if (good)
        add_resumed(hosts, &orders);
    for (size_t i = 0; good && i < hosts->count; i++) {
        if (resume_one(give, &orders, hosts, str_of(hosts->names[i]), i < named))
            buf_printf(&detail, "%s%s", detail.len > 0 ? " " : "", hosts->names[i]);
    }
    if (good && orders.count == 0)
        give_say(give, PHRASE_GIVE_NOT_PAUSED, SAYS(SAY_STR("domain", hosts->domain)));
    else if (good)
        good = orders_write(&orders, "domain resume", given(hosts), buf_cstr(&detail), err);
    buf_clear(&detail);
    orders_close(&orders);
    return good;
}

/* Says which order still pauses the domain, if one does. */
static void warn_paused(struct give *give, const struct orders *orders,
                        const struct domain_hosts *hosts)
{
    const struct policy_entry *entry = policy_book_find(orders->book, given(hosts), orders->now_s);
    struct policy now;
    struct str of;
    size_t at = 0;

    if (entry == NULL)
        return;
    now = policy_at(&entry->policy, orders->now_s);
    if (now.paused && !str_equal(str_of(entry->name), given(hosts)))
        give_say(give, PHRASE_GIVE_STILL_PAUSED, SAYS(SAY_TEXT("name", entry->name)));
    else
        while (policy_next_of(&now, &at, &of))
            give_say(give, PHRASE_GIVE_STILL_PAUSED, SAYS(SAY_STR("name", of)));
}

/* The same of what else belongs to it. */
static void warn_others(struct give *give, const struct orders *orders,
                        const struct domain_hosts *hosts)
{
    int said = 0;

    for (size_t i = 1; i < hosts->count; i++) {
        const struct policy now = orders_get(orders, str_of(hosts->names[i]));
        struct str of;
        size_t at = 0;
        while (said < MOST_WARNED && policy_next_of(&now, &at, &of)) {
            give_say(give, PHRASE_GIVE_HOST_STILL_PAUSED,
                     SAYS(SAY_TEXT("host", hosts->names[i]), SAY_STR("name", of)));
            said++;
        }
    }
}

/* Twice: machines that hadn't read the order yet have put off what came to them. What they book
 * because it is too much at once is sooner than `later_s`. How many were; -1: err says why not. */
static int64_t call_back(struct give *give, struct domain_hosts *hosts, const struct orders *orders,
                         int64_t later_s, struct err *err)
{
    struct release release = {.session = give->session,
                              .hosts = hosts,
                              .orders = orders,
                              .then_s = orders->now_s,
                              .err = err};

    if (!release_jobs(&release, 0, orders->now_s + SOON_S, orders->now_s + POLICY_BOOKED_S))
        return -1;
    int64_t released = release.released;
    give->session->done = false;
    session_wait(give->session, READ_MS);
    if (!release_jobs(&release, 0, orders->now_s + later_s, orders->now_s + POLICY_BOOKED_S))
        return -1;
    return released;
}

static void say_due(struct give *give, int64_t jobs)
{
    if (jobs == 1)
        give_say(give, PHRASE_GIVE_DUE_ONE, SAYS_NOTHING);
    else
        give_say(give, PHRASE_GIVE_DUE, SAYS(SAY_NUMBER("jobs", jobs)));
}

bool give_domain_resume(struct give *give, struct domain_hosts *hosts, struct err *err)
{
    struct orders left;
    int64_t due = -1;

    if (!order_resume(give, hosts, err))
        return false;
    bool good = orders_open(&left, give->session, err);
    if (good) {
        warn_paused(give, &left, hosts);
        warn_others(give, &left, hosts);
    }
    if (good)
        due = call_back(give, hosts, &left, LATER_S, err);
    if (due >= 0)
        say_due(give, due);
    orders_close(&left);
    return due >= 0;
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

    if (o->clear)
        policy_clear_limits(policy);
    policy->exempt = false;
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

/* What decides about this name when it has no order itself; or an empty one. */
static struct policy policy_above(const struct orders *orders, struct str name, const char **whose)
{
    const struct policy_entry *entry = policy_book_find_above(orders->book, name, orders->now_s);

    *whose = entry != NULL ? entry->name : "";
    return entry != NULL ? policy_at(&entry->policy, orders->now_s)
                         : (struct policy){.paused = false};
}

/* Its own pause stays, and so does its order to drop. */
static void take_limits(struct policy *policy, const struct policy *from)
{
    const struct policy own = *policy;

    *policy = *from;
    policy->paused = own.paused;
    policy->now = own.now;
    policy->paused_until_s = own.paused_until_s;
    policy->drop_s = own.drop_s;
    memcpy(policy->of, own.of, sizeof(policy->of));
}

/* What counts for it now: a limit must not lift the pause of a parent. Its own pause hides the
 * parent's limits only while it lasts. A parent's order to drop counts beside it. */
static struct policy policy_so_far(const struct orders *orders, struct str name)
{
    const char *whose;
    const struct policy above = policy_above(orders, name, &whose);
    struct policy policy = orders_get(orders, name);
    int64_t drop_s = policy.drop_s;

    if (policy.paused && !policy_has_limits(&policy))
        take_limits(&policy, &above);
    else if (!policy_decides(&policy))
        policy = above;
    policy.drop_s = drop_s;
    return policy;
}

/* Without any limit it is exempt from those of a parent, if there are some; else its limits are
 * taken back, and what counts is its own pause, or the parent's order. */
static void settle_empty(struct policy *policy, const struct orders *orders, struct str name,
                         bool inherit)
{
    const char *whose;
    const struct policy above = policy_above(orders, name, &whose);

    if (!inherit && policy_has_limits(policy))
        return;
    if (!inherit && policy_has_limits(&above)) {
        policy->exempt = true;
        return;
    }
    *policy = orders_get(orders, name);
    policy_clear_limits(policy);
}

static void say_limited(struct give *give, const struct orders *orders, struct str name,
                        const struct policy *policy)
{
    const char *whose = "";
    struct policy counts = *policy;
    struct said limits;

    if (!policy_decides(policy)) {
        counts = policy_above(orders, name, &whose);
        counts.drop_s = policy->drop_s;
    }
    said_init(&limits, ORDERS_WORDS_BYTES);
    orders_say(&limits, &counts, orders->now_s);
    if (whose[0] == '\0')
        give_say(give, PHRASE_GIVE_LIMITED,
                 SAYS(SAY_STR("domain", name), SAY_SAID("limits", &limits)));
    else
        give_say(
            give, PHRASE_GIVE_LIMITED_BY,
            SAYS(SAY_STR("domain", name), SAY_SAID("limits", &limits), SAY_TEXT("name", whose)));
    said_clear(&limits);
}

static bool limit(struct give *give, struct orders *orders, struct str name,
                  const struct domain_options *options, struct err *err)
{
    struct policy policy = policy_so_far(orders, name);
    struct buf words;

    if (!change(&policy, options, orders, err))
        return false;
    settle_empty(&policy, orders, name, options->inherit);
    orders_set(orders, name, &policy);
    buf_init(&words, ORDERS_WORDS_BYTES);
    orders_put_words(&words, &policy, orders->now_s);
    bool good = orders_write(orders, "domain limit", name, buf_cstr(&words), err);
    buf_clear(&words);
    if (good)
        say_limited(give, orders, name, &policy);
    return good;
}

/* What machines without the proxy that was ordered before have put off. */
static bool call_back_lacking(struct give *give, const struct domain_hosts *hosts,
                              const struct policy *before, struct err *err)
{
    struct domain_hosts named = *hosts;
    struct str name = str_of(hosts->names[0]);
    struct orders orders;
    bool good = orders_open(&orders, give->session, err);
    const struct policy now = good ? policy_so_far(&orders, name) : *before;

    named.count = 1;
    if (good && before->proxy[0] != '\0' && strcmp(before->proxy, now.proxy) != 0) {
        int64_t due = call_back(give, &named, &orders, SOON_S, err);
        if (due > 0)
            say_due(give, due);
        good = due >= 0;
    }
    orders_close(&orders);
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
    struct str name = str_of(hosts->names[0]);
    struct policy before = {.paused = false};
    struct orders orders;
    bool good = orders_open(&orders, give->session, err);

    orders.who = give->who;
    if (good)
        before = policy_so_far(&orders, name);
    good = good && limit(give, &orders, name, options, err);
    if (good)
        warn_own_orders(give, &orders, hosts);
    orders_close(&orders);
    return good && call_back_lacking(give, hosts, &before, err);
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
