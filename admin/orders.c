#include "admin/orders.h"

#include <inttypes.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/words.h"
#include "base/escape.h"
#include "sched/scripts.h"

enum { ID_BYTES = 16, AUDIT_BYTES = 8192, FIXED_WORDS = 7 };

/* --- reading --- */

static void on_time(void *arg, const redisReply *reply)
{
    struct orders *orders = arg;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2)
        orders->now_s = strtoll(reply->element[0]->str, NULL, 10);
}

static void on_fields(void *arg, const redisReply *reply)
{
    struct orders *orders = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        struct str name = {reply->element[i]->str, (size_t)reply->element[i]->len};
        struct str value = {reply->element[i + 1]->str, (size_t)reply->element[i + 1]->len};
        struct str text;
        int64_t version;
        if (name.len > 0 && name.ptr[0] == ':')
            continue;
        if (!policy_value_parse(value, &version, &text) ||
            !policy_book_put(orders->book, name, version, text))
            orders->unknown++;
    }
}

bool orders_open(struct orders *orders, struct session *session, struct err *err)
{
    const struct str time[] = {STR("TIME")};
    const struct str all[] = {STR("HGETALL"), str_of(session->keys.policies)};

    *orders = (struct orders){.session = session, .book = policy_book_create()};
    orders->redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);
    return orders->redis != NULL &&
           session_command(session, orders->redis, 1, time, on_time, orders, err) &&
           session_command(session, orders->redis, 2, all, on_fields, orders, err);
}

void orders_close(struct orders *orders)
{
    policy_book_destroy(orders->book);
    for (size_t i = 0; i < orders->count; i++) {
        free(orders->names[i]);
        free(orders->texts[i]);
    }
    *orders = (struct orders){.session = NULL};
}

struct policy orders_get(const struct orders *orders, struct str name)
{
    const struct policy_entry *entry = policy_book_get(orders->book, name);
    struct policy policy = {.paused = false};

    for (size_t i = 0; i < orders->count; i++) {
        if (str_equal(str_of(orders->names[i]), name) &&
            policy_parse(&policy, str_of(orders->texts[i])))
            return policy;
    }
    return entry != NULL ? policy_at(&entry->policy, orders->now_s) : policy;
}

/* --- writing --- */

void orders_set(struct orders *orders, struct str name, const struct policy *policy)
{
    struct buf text;
    size_t i = 0;

    while (i < orders->count && !str_equal(str_of(orders->names[i]), name))
        i++;
    if (i == ORDERS_MAX_CHANGES)
        return;
    buf_init(&text, POLICY_MAX_TEXT_BYTES);
    policy_put(&text, policy);
    if (i == orders->count) {
        orders->names[orders->count++] = str_dup(name);
    } else {
        free(orders->texts[i]);
    }
    orders->texts[i] = str_dup(buf_str(&text));
    buf_clear(&text);
}

/* The person behind sudo, if there is one. */
static void put_person(struct buf *out)
{
    const struct passwd *user = getpwuid(getuid());
    const char *name = getenv("SUDO_USER");
    char host[256] = "";

    if (name == NULL || name[0] == '\0')
        name = user != NULL ? user->pw_name : "?";
    (void)gethostname(host, sizeof(host) - 1);
    escape_put(out, str_of(name), ESCAPE_TERMINAL, 64);
    buf_put_char(out, '@');
    escape_put(out, str_of(host), ESCAPE_TERMINAL, 255);
}

void orders_put_who(struct buf *out, const char *who)
{
    if (who != NULL)
        escape_put(out, str_of(who), ESCAPE_TERMINAL, 200);
    else
        put_person(out);
}

static void put_audit(struct buf *out, const char *who, const char *action, struct str name,
                      const char *detail)
{
    orders_put_who(out, who);
    buf_printf(out, "\n%s\n%.*s\n", action, STR_ARG(name));
    escape_put(out, str_of(detail), ESCAPE_TERMINAL, 4000);
}

static void on_written(void *arg, const redisReply *reply)
{
    bool *written = arg;
    *written = reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
}

static bool send_changes(struct orders *orders, struct str id, struct str audit, bool *written,
                         struct err *err)
{
    const struct keys *keys = &orders->session->keys;
    struct str *words = mem_alloc((FIXED_WORDS + 3 * orders->count) * sizeof(struct str));
    char **seen = mem_alloc((orders->count + 1) * sizeof(char *));
    size_t n = 0;

    words[n++] = STR("EVAL");
    words[n++] = str_of(script_policies_write);
    words[n++] = STR("2");
    words[n++] = str_of(keys->policies);
    words[n++] = str_of(keys->audit);
    words[n++] = id;
    words[n++] = audit;
    for (size_t i = 0; i < orders->count; i++) {
        const struct policy_entry *entry = policy_book_get(orders->book, str_of(orders->names[i]));
        seen[i] = entry != NULL ? mem_printf("%" PRId64 " %s", entry->version, entry->text)
                                : str_dup(STR_NULL);
        words[n++] = str_of(orders->names[i]);
        words[n++] = str_of(seen[i]);
        words[n++] = str_of(orders->texts[i]);
    }
    bool good = session_command(orders->session, orders->redis, n, words, on_written, written, err);
    for (size_t i = 0; i < orders->count; i++)
        free(seen[i]);
    free(seen);
    free(words);
    return good;
}

bool orders_write(struct orders *orders, const char *action, struct str name, const char *detail,
                  struct err *err)
{
    unsigned char random[ID_BYTES];
    char id[2 * ID_BYTES + 1];
    struct buf audit;
    bool written = false;

    if (policy_book_count(orders->book) + orders->count > POLICIES_MAX) {
        err_say(err, FP_TOO_LARGE, PHRASE_ORDER_TOO_MANY,
                SAYS(SAY_NUMBER("policies", POLICIES_MAX)));
        return false;
    }
    randombytes_buf(random, sizeof(random));
    sodium_bin2hex(id, sizeof(id), random, sizeof(random));
    buf_init(&audit, AUDIT_BYTES);
    put_audit(&audit, orders->who, action, name, detail);
    bool good = send_changes(orders, str_of(id), buf_str(&audit), &written, err);
    buf_clear(&audit);
    if (good && !written)
        err_say(err, FP_UNAVAILABLE,
                orders->unknown > 0 ? PHRASE_ORDER_CONFLICT_NEWER : PHRASE_ORDER_CONFLICT,
                SAYS_NOTHING);
    return good && written;
}

/* --- words --- */

static const struct {
    char unit;
    int64_t seconds;
} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
enum { UNITS = sizeof(units) / sizeof(units[0]) };

bool orders_parse_span(const char *text, int64_t *seconds)
{
    struct str number = str_of(text);
    int64_t factor = 1;

    for (size_t i = 0; number.len > 0 && i < UNITS; i++) {
        if (text[strlen(text) - 1] == units[i].unit) {
            factor = units[i].seconds;
            number.len = strlen(text) - 1;
        }
    }
    if (!str_to_i64(number, 1, 366 * 86400 / factor, seconds))
        return false;
    *seconds *= factor;
    return true;
}

void orders_put_options(struct buf *out, int64_t span_s, bool now)
{
    size_t unit = 0;

    while (unit + 1 < UNITS && span_s % units[unit + 1].seconds == 0)
        unit++;
    if (span_s > 0)
        buf_printf(out, "--for %" PRId64 "%c", span_s / units[unit].seconds, units[unit].unit);
    if (now)
        buf_put_str(out, out->len > 0 ? STR(" --now") : STR("--now"));
}

static void say(struct said *said, enum phrase phrase, struct says says)
{
    said_add(said, ", ", phrase, says);
}

static void say_limits(struct said *said, const struct policy *policy, int64_t now_s)
{
    if (policy->window != 0)
        say(said, PHRASE_POLICY_WINDOW, SAYS(SAY_NUMBER("deliveries", policy->window)));
    if (policy->rate != 0)
        say(said, PHRASE_POLICY_RATE, SAYS(SAY_NUMBER("deliveries", policy->rate)));
    if (policy->proxy[0] != '\0')
        say(said, PHRASE_POLICY_PROXY, SAYS(SAY_TEXT("proxy", policy->proxy)));
    if (policy->http2)
        say(said, PHRASE_POLICY_HTTP2, SAYS_NOTHING);
    if (policy->scheme == POLICY_SCHEME_CAVAGE)
        say(said, PHRASE_POLICY_CAVAGE, SAYS_NOTHING);
    else if (policy->scheme != POLICY_SCHEME_AUTO)
        say(said, PHRASE_POLICY_RFC9421, SAYS_NOTHING);
    if (policy->exempt)
        say(said, PHRASE_POLICY_EXEMPT, SAYS_NOTHING);
    if (policy->limits_until_s != 0)
        say(said, PHRASE_POLICY_LIMITS_FOR,
            SAYS(SAY_NUMBER("left_s", policy->limits_until_s - now_s)));
}

void orders_say(struct said *said, const struct policy *policy, int64_t now_s)
{
    const struct policy now = policy_at(policy, now_s);

    if (policy_is_empty(&now)) {
        say(said, PHRASE_POLICY_NONE, SAYS_NOTHING);
        return;
    }
    if (now.paused && now.paused_until_s == 0)
        say(said, PHRASE_POLICY_PAUSED, SAYS_NOTHING);
    else if (now.paused)
        say(said, PHRASE_POLICY_PAUSED_FOR, SAYS(SAY_NUMBER("left_s", now.paused_until_s - now_s)));
    if (now.drop_s != 0)
        say(said, PHRASE_POLICY_DROP,
            SAYS(SAY_NUMBER("left_s", now.drop_s + POLICY_DROP_S - now_s)));
    say_limits(said, &now, now_s);
}

void orders_put_words(struct buf *out, const struct policy *policy, int64_t now_s)
{
    struct said said;

    said_init(&said, ORDERS_WORDS_BYTES);
    orders_say(&said, policy, now_s);
    buf_put_str(out, buf_str(&said.text));
    said_clear(&said);
}
