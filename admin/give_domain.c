/* Pause, resume and limit of domains. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/give.h"
#include "admin/waiting.h"
#include "base/proxy.h"

/* So far ahead a paused host's jobs are booked at most (sched/limits.c). */
enum { BOOKED_S = 660 };

void domain_add_ordered(struct domain_hosts *hosts, const struct orders *orders)
{
    const struct policy_entry *entry;
    size_t at = 0;

    while ((entry = policy_book_each(orders->book, &at)) != NULL) {
        const struct policy now = policy_at(&entry->policy, orders->now_s);
        if (!policy_is_empty(&now) && policy_name_is_below(str_of(entry->name), hosts->domain))
            domain_hosts_add(hosts, str_of(entry->name));
    }
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

bool give_domain_pause(struct give *give, struct domain_hosts *hosts,
                       const struct domain_options *options, struct err *err)
{
    struct orders orders;
    bool good = orders_open(&orders, give->session, err);

    orders.who = give->who;
    good = good && order_pause(&orders, hosts, options, err);
    for (size_t i = 0; good && i < hosts->count; i++)
        give_say(give, PHRASE_GIVE_PAUSED, SAYS(SAY_TEXT("host", hosts->names[i])));
    orders_close(&orders);
    return good;
}

/* --- resume --- */

struct release {
    struct session *session;
    struct domain_hosts *hosts;
    int64_t now_s;
    int64_t released;
    struct err *err;
};

static bool is_released(void *arg, const struct url *inbox)
{
    const struct release *release = arg;
    return domain_hosts_mean(release->hosts, inbox->host);
}

static void on_count(void *arg, const redisReply *reply)
{
    struct release *release = arg;
    release->released += reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
}

/* What was booked while the host was paused is due now; one that is gone stays gone. */
static const char release_script[] =
    "redis.call('ZREM', KEYS[1], '') local n = 0 for i = 2, #ARGV do"
    " if redis.call('ZSCORE', KEYS[1], ARGV[i]) then"
    " redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i]) n = n + 1 end end return n";

static int64_t release_piece(void *arg, const struct waiting_piece *piece)
{
    enum { FIXED = 5 };
    struct release *release = arg;
    struct str words[FIXED + WAITING_PIECE];
    char *now = mem_printf("%lld.000000", (long long)release->now_s);
    struct redis *redis = release->session->redis[REDIS_ROLE_SIDEKIQ];
    size_t n = FIXED;
    bool good = true;

    words[0] = STR("EVAL");
    words[1] = str_of(release_script);
    words[2] = STR("1");
    words[3] = str_of(piece->key);
    words[4] = str_of(now);
    for (size_t i = 0; i < piece->count; i++) {
        if (piece->scores[i] > (double)release->now_s &&
            piece->scores[i] <= (double)(release->now_s + BOOKED_S))
            words[n++] = piece->entries[i];
    }
    if (n > FIXED)
        good = session_command(release->session, redis, n, words, on_count, release, release->err);
    free(now);
    return good ? 0 : -1; /* none has left the set */
}

static bool release_jobs(struct give *give, struct domain_hosts *hosts, int64_t now_s,
                         struct err *err)
{
    struct release release = {give->session, hosts, now_s, 0, err};
    struct waiting waiting = {
        .session = give->session, .wanted = is_released, .act = release_piece, .arg = &release};
    int64_t total;
    bool good = waiting_look_at(&waiting, WAITING_SCHEDULE, &total, err) &&
                waiting_look_at(&waiting, WAITING_RETRY, &total, err);

    if (good && release.released == 1)
        give_say(give, PHRASE_GIVE_DUE_ONE, SAYS_NOTHING);
    else if (good)
        give_say(give, PHRASE_GIVE_DUE, SAYS(SAY_NUMBER("jobs", release.released)));
    waiting_clear(&waiting);
    return good;
}

static void add_resumed(struct domain_hosts *hosts, const struct orders *orders)
{
    const struct policy_entry *entry;
    size_t at = 0;

    while ((entry = policy_book_each(orders->book, &at)) != NULL) {
        if (str_equal(str_of(entry->policy.of), hosts->domain))
            domain_hosts_add(hosts, str_of(entry->name));
    }
}

/* Says which policy still pauses the domain, if one does. */
static void warn_paused(struct give *give, const struct orders *orders,
                        const struct domain_hosts *hosts)
{
    const struct policy_entry *entry;
    size_t at = 0;

    while ((entry = policy_book_each(orders->book, &at)) != NULL) {
        const struct policy now = orders_get(orders, str_of(entry->name));
        if (now.paused && str_starts_with(str_of(entry->name), STR("*.")) &&
            policy_name_is_below(hosts->domain, str_slice(str_of(entry->name), 2)))
            give_say(give, PHRASE_GIVE_STILL_PAUSED, SAYS(SAY_TEXT("name", entry->name)));
    }
}

static bool order_resume(struct give *give, struct orders *orders, struct domain_hosts *hosts,
                         struct err *err)
{
    add_resumed(hosts, orders);
    for (size_t i = 0; i < hosts->count; i++) {
        struct policy policy = orders_get(orders, str_of(hosts->names[i]));
        if (!policy.paused && policy.drop_s == 0)
            continue;
        policy.paused = policy.now = false;
        policy.paused_until_s = policy.drop_s = 0;
        policy.of[0] = '\0';
        orders_set(orders, str_of(hosts->names[i]), &policy);
        give_say(give, PHRASE_GIVE_RESUMED, SAYS(SAY_TEXT("host", hosts->names[i])));
    }
    if (orders->count == 0)
        give_say(give, PHRASE_GIVE_NOT_PAUSED, SAYS(SAY_STR("domain", hosts->domain)));
    else if (!orders_write(orders, "domain resume", str_of(hosts->names[0]), "", err))
        return false;
    warn_paused(give, orders, hosts);
    return true;
}

bool give_domain_resume(struct give *give, struct domain_hosts *hosts, struct err *err)
{
    struct orders orders;
    bool good = orders_open(&orders, give->session, err);

    orders.who = give->who;
    good = good && order_resume(give, &orders, hosts, err) &&
           release_jobs(give, hosts, orders.now_s, err);
    orders_close(&orders);
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
    policy->limits_until_s = o->span_s > 0 ? orders->now_s + o->span_s : 0;
    return o->proxy == NULL || set_proxy(policy, o->proxy, orders->session->config, err);
}

/* What counts for it now: a limit must not lift the pause of a parent. */
static struct policy policy_so_far(const struct orders *orders, struct str name)
{
    const struct policy_entry *entry = policy_book_find(orders->book, name, orders->now_s);
    struct policy none = {.paused = false};

    return entry != NULL ? policy_at(&entry->policy, orders->now_s) : none;
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

bool give_domain_limit(struct give *give, const struct domain_hosts *hosts,
                       const struct domain_options *options, struct err *err)
{
    struct orders orders;
    bool good = orders_open(&orders, give->session, err);

    orders.who = give->who;
    good = good && limit(give, &orders, str_of(hosts->names[0]), options, err);
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
