#include "base/policy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"

static const int64_t latest_s = INT64_C(4102444800); /* the year 2100 */

/* --- the text --- */

static void put_number(struct buf *out, const char *name, int64_t number)
{
    if (number != 0)
        buf_printf(out, " %s=%" PRId64, name, number);
}

static void put_text(struct buf *out, const char *name, const char *text)
{
    if (text[0] != '\0')
        buf_printf(out, " %s=%s", name, text);
}

void policy_put(struct buf *out, const struct policy *policy)
{
    static const char *const schemes[] = {"", "cavage", "rfc9421"};

    buf_put_char(out, '1');
    if (policy->paused && policy->paused_until_s == 0)
        buf_put_str(out, STR(" paused"));
    else if (policy->paused)
        put_number(out, "paused", policy->paused_until_s);
    if (policy->now)
        buf_put_str(out, STR(" now"));
    put_number(out, "drop", policy->drop_s);
    put_number(out, "window", policy->window);
    put_number(out, "rate", policy->rate);
    put_text(out, "proxy", policy->proxy);
    if (policy->http2)
        buf_put_str(out, STR(" http=2"));
    put_text(out, "scheme", schemes[policy->scheme]);
    put_number(out, "limits_until", policy->limits_until_s);
    put_text(out, "of", policy->of);
}

static bool copy_text(char *out, size_t max_bytes, struct str text)
{
    if (text.len == 0 || text.len > max_bytes)
        return false;
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return true;
}

static bool take_count(struct str value, int64_t max, unsigned *out)
{
    int64_t number;

    if (!str_to_i64(value, 1, max, &number))
        return false;
    *out = (unsigned)number;
    return true;
}

static bool take_scheme(struct str value, enum policy_scheme *scheme)
{
    if (str_equal(value, STR("cavage")))
        *scheme = POLICY_SCHEME_CAVAGE;
    else if (str_equal(value, STR("rfc9421")))
        *scheme = POLICY_SCHEME_RFC9421;
    else
        return false;
    return true;
}

static bool take_value(struct policy *p, struct str name, struct str value)
{
    if (str_equal(name, STR("paused"))) {
        p->paused = true;
        return str_to_i64(value, 1, latest_s, &p->paused_until_s);
    }
    if (str_equal(name, STR("drop")))
        return str_to_i64(value, 1, latest_s, &p->drop_s);
    if (str_equal(name, STR("window")))
        return take_count(value, POLICY_MAX_WINDOW, &p->window);
    if (str_equal(name, STR("rate")))
        return take_count(value, POLICY_MAX_RATE, &p->rate);
    if (str_equal(name, STR("proxy")))
        return policy_proxy_is_valid(value) && copy_text(p->proxy, POLICY_MAX_PROXY_BYTES, value);
    if (str_equal(name, STR("http"))) {
        p->http2 = true;
        return str_equal(value, STR("2"));
    }
    if (str_equal(name, STR("scheme")))
        return take_scheme(value, &p->scheme);
    if (str_equal(name, STR("limits_until")))
        return str_to_i64(value, 1, latest_s, &p->limits_until_s);
    if (str_equal(name, STR("of")))
        return policy_name_is_valid(value) && copy_text(p->of, POLICY_MAX_NAME_BYTES, value);
    return false;
}

static bool take_word(struct policy *p, struct str word)
{
    size_t equals = str_find(word, '=');
    struct str name = {word.ptr, equals};

    if (equals < word.len)
        return take_value(p, name, str_slice(word, equals + 1));
    if (str_equal(name, STR("paused")))
        p->paused = true;
    else if (str_equal(name, STR("now")))
        p->now = true;
    else
        return false;
    return true;
}

/* What is in the order above, each word once, comes out as it went in. */
static bool is_normal(const struct policy *policy, struct str text)
{
    struct buf again;

    buf_init(&again, POLICY_MAX_TEXT_BYTES);
    policy_put(&again, policy);
    bool same = !again.overflow && str_equal(buf_str(&again), text);
    buf_clear(&again);
    return same;
}

bool policy_parse(struct policy *policy, struct str text)
{
    struct str rest = text;
    bool good = text.len > 0 && text.len <= POLICY_MAX_TEXT_BYTES && text.ptr[0] == '1';

    *policy = (struct policy){.paused = false};
    rest = str_slice(rest, 1);
    while (good && rest.len > 0) {
        good = rest.ptr[0] == ' ';
        rest = str_slice(rest, 1);
        size_t end = str_find(rest, ' ');
        good = good && take_word(policy, (struct str){rest.ptr, end});
        rest = str_slice(rest, end);
    }
    good = good && is_normal(policy, text);
    if (!good)
        *policy = (struct policy){.paused = false};
    return good;
}

bool policy_has_limits(const struct policy *p)
{
    return p->window != 0 || p->rate != 0 || p->proxy[0] != '\0' || p->http2 ||
           p->scheme != POLICY_SCHEME_AUTO;
}

bool policy_decides(const struct policy *policy)
{
    return policy->paused || policy_has_limits(policy);
}

bool policy_is_empty(const struct policy *policy)
{
    return policy->drop_s == 0 && !policy_decides(policy);
}

static bool is_over(int64_t until_s, int64_t now_s)
{
    return until_s != 0 && until_s <= now_s;
}

struct policy policy_at(const struct policy *policy, int64_t now_s)
{
    struct policy p = *policy;

    if (is_over(p.paused_until_s, now_s)) {
        p.paused = false;
        p.paused_until_s = 0;
    }
    if (p.drop_s != 0 && p.drop_s + POLICY_DROP_S <= now_s)
        p.drop_s = 0;
    if (!p.paused && p.drop_s == 0)
        p.now = false;
    if (is_over(p.limits_until_s, now_s)) {
        p.window = p.rate = 0;
        p.proxy[0] = '\0';
        p.http2 = false;
        p.scheme = POLICY_SCHEME_AUTO;
        p.limits_until_s = 0;
    }
    return p;
}

static int64_t sooner(int64_t next_s, int64_t at_s, int64_t now_s)
{
    return at_s > now_s && (next_s == 0 || at_s < next_s) ? at_s : next_s;
}

int64_t policy_next_change_s(const struct policy *policy, int64_t now_s)
{
    int64_t next_s = sooner(0, policy->paused_until_s, now_s);

    next_s = sooner(next_s, policy->limits_until_s, now_s);
    return sooner(next_s, policy->drop_s != 0 ? policy->drop_s + POLICY_DROP_S : 0, now_s);
}

/* --- names --- */

static bool is_in(char c, const char *others)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr(others, c) != NULL);
}

static bool is_made_of(struct str text, const char *others)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_in(text.ptr[i], others))
            return false;
    }
    return text.len > 0;
}

/* A host name, an IPv4 address, or an IPv6 one in brackets. */
static bool is_host(struct str host)
{
    if (host.len > 0 && (host.ptr[0] == '.' || host.ptr[host.len - 1] == '.'))
        return false;
    return is_made_of(host, host.len > 0 && host.ptr[0] == '[' ? "[]:." : "-_.");
}

static bool is_machine(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] <= ' ' || name.ptr[i] > '~')
            return false;
    }
    return name.len > 0;
}

bool policy_name_is_valid(struct str name)
{
    if (name.len == 0 || name.len > POLICY_MAX_NAME_BYTES)
        return false;
    if (name.ptr[0] == '@')
        return is_machine(str_slice(name, 1));
    if (str_equal(name, POLICY_FLEET))
        return true;
    return is_host(str_starts_with(name, STR("*.")) ? str_slice(name, 2) : name);
}

bool policy_proxy_is_valid(struct str name)
{
    return name.len <= POLICY_MAX_PROXY_BYTES && is_made_of(name, "-_");
}

bool policy_name_is_below(struct str name, struct str domain)
{
    struct str host = str_starts_with(name, STR("*.")) ? str_slice(name, 2) : name;

    return host.len > domain.len && str_ends_with(host, domain) &&
           host.ptr[host.len - domain.len - 1] == '.';
}

bool policy_value_parse(struct str value, int64_t *version, struct str *text)
{
    size_t space = str_find(value, ' ');

    *text = str_slice(value, space + 1);
    return space < value.len && str_to_i64((struct str){value.ptr, space}, 1, INT64_MAX, version);
}

/* --- the book --- */

struct policy_book {
    struct table *by_name;
};

struct policy_book *policy_book_create(void)
{
    struct policy_book *book = mem_alloc(sizeof(*book));
    book->by_name = table_create();
    return book;
}

static void entry_free(struct policy_entry *entry)
{
    if (entry == NULL)
        return;
    free(entry->name);
    free(entry->text);
    free(entry);
}

void policy_book_destroy(struct policy_book *book)
{
    struct policy_entry *entry;
    size_t at = 0;

    if (book == NULL)
        return;
    while ((entry = table_next(book->by_name, &at)) != NULL) {
        table_remove(book->by_name, str_of(entry->name));
        entry_free(entry);
    }
    table_destroy(book->by_name);
    free(book);
}

bool policy_book_put(struct policy_book *book, struct str name, int64_t version, struct str text)
{
    struct policy policy;

    if (!policy_name_is_valid(name) || !policy_parse(&policy, text) ||
        (table_count(book->by_name) >= POLICIES_MAX && table_get(book->by_name, name) == NULL))
        return false;
    struct policy_entry *entry = mem_alloc(sizeof(*entry));
    *entry = (struct policy_entry){str_dup(name), version, str_dup(text), policy};
    entry_free(table_put(book->by_name, str_of(entry->name), entry));
    return true;
}

const struct policy_entry *policy_book_get(const struct policy_book *book, struct str name)
{
    return table_get(book->by_name, name);
}

/* The names whose orders count for a host, the most specific one first. */
struct names {
    struct str next; /* of the host, what is left to look at */
    bool parents;    /* the host's own is behind us */
    char text[POLICY_MAX_NAME_BYTES + 1];
};

static bool next_name(struct names *names, struct str *name)
{
    struct str host = names->next;

    if (!names->parents) {
        names->parents = true;
        *name = host;
        return true;
    }
    do {
        host = str_slice(host, str_find(host, '.'));
        names->next = str_slice(host, 1);
        if (host.len > 0 && host.len + 1 < sizeof(names->text)) {
            names->text[0] = '*';
            memcpy(names->text + 1, host.ptr, host.len);
            *name = (struct str){names->text, host.len + 1};
            return true;
        }
        host = names->next;
    } while (host.len > 0);
    return false;
}

const struct policy_entry *policy_book_find(const struct policy_book *book, struct str host,
                                            int64_t now_s)
{
    struct names names = {.next = host};
    struct str name;

    while (next_name(&names, &name)) {
        const struct policy_entry *entry = table_get(book->by_name, name);
        if (entry == NULL)
            continue;
        const struct policy now = policy_at(&entry->policy, now_s);
        if (policy_decides(&now))
            return entry;
    }
    return NULL;
}

const struct policy_entry *policy_book_find_drop(const struct policy_book *book, struct str host,
                                                 int64_t now_s)
{
    struct names names = {.next = host};
    const struct policy_entry *found = NULL;
    struct str name;

    while (next_name(&names, &name)) {
        const struct policy_entry *entry = table_get(book->by_name, name);
        if (entry != NULL && policy_at(&entry->policy, now_s).drop_s != 0 &&
            (found == NULL || entry->policy.drop_s > found->policy.drop_s))
            found = entry;
    }
    return found;
}

const struct policy_entry *policy_book_sum(const struct policy_book *book, struct str host,
                                           int64_t now_s, struct policy *policy)
{
    const struct policy_entry *entry = policy_book_find(book, host, now_s);
    const struct policy_entry *drop = policy_book_find_drop(book, host, now_s);

    *policy = (struct policy){.paused = false};
    if (entry != NULL)
        *policy = policy_at(&entry->policy, now_s);
    policy->drop_s = drop != NULL ? drop->policy.drop_s : 0;
    return entry != NULL ? entry : drop;
}

size_t policy_book_count(const struct policy_book *book)
{
    return table_count(book->by_name);
}

const struct policy_entry *policy_book_each(const struct policy_book *book, size_t *at)
{
    return table_next(book->by_name, at);
}
