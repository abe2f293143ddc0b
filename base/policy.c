#include "base/policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"

static const int64_t latest_s = INT64_C(4102444800); /* the year 2100 */

static bool is_over(int64_t until_s, int64_t now_s)
{
    return until_s != 0 && until_s <= now_s;
}

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
    if (policy->exempt)
        buf_put_str(out, STR(" exempt"));
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

/* --- the domains for which it is paused --- */

struct share {
    struct str of;
    int64_t until_s; /* 0: no end */
};

struct shares {
    size_t count;
    struct share all[POLICY_MAX_SHARES];
};

static bool next_share(struct str *rest, struct share *share)
{
    size_t end = str_find(*rest, ',');
    struct str one = {rest->ptr, end};
    size_t slash = str_find(one, '/');

    if (rest->len == 0)
        return false;
    *rest = str_slice(*rest, end + 1);
    *share = (struct share){{one.ptr, slash}, 0};
    if (slash < one.len && !str_to_i64(str_slice(one, slash + 1), 1, latest_s, &share->until_s))
        share->of.len = 0; /* which is no name */
    return true;
}

static bool are_shares(struct str text)
{
    struct str rest = text;
    struct share share;
    size_t count = 0;

    while (next_share(&rest, &share)) {
        if (!policy_name_is_valid(share.of) || ++count > POLICY_MAX_SHARES)
            return false;
    }
    return count > 0 && text.ptr[text.len - 1] != ',';
}

/* Those of this domain are left out, and what is over. Borrows from the policy. */
static void read_shares(const struct policy *p, struct str without, int64_t now_s,
                        struct shares *shares)
{
    struct str rest = str_of(p->of);
    bool alone = str_find(rest, ',') == rest.len;
    struct share share;

    shares->count = 0;
    while (p->paused && shares->count < POLICY_MAX_SHARES && next_share(&rest, &share)) {
        if (alone)
            share.until_s = p->paused_until_s;
        if (!str_equal(share.of, without) && !is_over(share.until_s, now_s))
            shares->all[shares->count++] = share;
    }
}

/* False: too long; nothing has changed. */
static bool write_shares(struct policy *p, const struct shares *shares)
{
    int64_t until_s = 0;
    bool ends = true;
    struct buf of;

    buf_init(&of, POLICY_MAX_OF_BYTES);
    for (size_t i = 0; i < shares->count; i++) {
        const struct share *share = &shares->all[i];
        buf_printf(&of, "%s%.*s", i > 0 ? "," : "", STR_ARG(share->of));
        if (shares->count > 1 && share->until_s != 0)
            buf_printf(&of, "/%" PRId64, share->until_s);
        ends = ends && share->until_s != 0;
        until_s = share->until_s > until_s ? share->until_s : until_s;
    }
    bool fits = !of.overflow;
    if (fits) {
        p->paused = shares->count > 0;
        p->paused_until_s = ends ? until_s : 0;
        snprintf(p->of, sizeof(p->of), "%s", buf_cstr(&of));
    }
    buf_clear(&of);
    return fits;
}

bool policy_pause(struct policy *policy, struct str of, int64_t until_s)
{
    struct shares shares;

    read_shares(policy, of, 0, &shares);
    if (shares.count == POLICY_MAX_SHARES)
        return false;
    shares.all[shares.count++] = (struct share){of, until_s};
    return write_shares(policy, &shares);
}

void policy_resume(struct policy *policy, struct str of)
{
    struct shares shares;

    read_shares(policy, of, 0, &shares);
    (void)!write_shares(policy, &shares); /* it becomes shorter */
}

bool policy_next_of(const struct policy *policy, size_t *at, struct str *of)
{
    struct str rest = str_slice(str_of(policy->of), *at);
    size_t before = rest.len;
    struct share share;

    if (!policy->paused || !next_share(&rest, &share))
        return false;
    *at += before - rest.len;
    *of = share.of;
    return true;
}

/* --- and back --- */

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
        return are_shares(value) && copy_text(p->of, POLICY_MAX_OF_BYTES, value);
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
    else if (str_equal(name, STR("exempt")))
        p->exempt = true;
    else
        return false;
    return true;
}

/* What is in the order above, each word once, comes out as it went in; and its end is that of its
 * domains. */
static bool is_normal(const struct policy *policy, struct str text)
{
    struct policy copy = *policy;
    struct shares shares;
    struct buf again;

    read_shares(policy, STR_NULL, 0, &shares);
    bool same = shares.count == 0 || write_shares(&copy, &shares);
    buf_init(&again, POLICY_MAX_TEXT_BYTES);
    policy_put(&again, &copy);
    same = same && !again.overflow && str_equal(buf_str(&again), text);
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
           p->scheme != POLICY_SCHEME_AUTO || p->exempt;
}

void policy_clear_limits(struct policy *p)
{
    p->window = p->rate = 0;
    p->proxy[0] = '\0';
    p->http2 = p->exempt = false;
    p->scheme = POLICY_SCHEME_AUTO;
    p->limits_until_s = 0;
}

bool policy_decides(const struct policy *policy)
{
    return policy->paused || policy_has_limits(policy);
}

bool policy_is_empty(const struct policy *policy)
{
    return policy->drop_s == 0 && !policy_decides(policy);
}

struct policy policy_at(const struct policy *policy, int64_t now_s)
{
    struct policy p = *policy;
    struct shares shares;

    if (is_over(p.paused_until_s, now_s)) {
        p.paused = false;
        p.paused_until_s = 0;
        p.of[0] = '\0';
    }
    if (str_find(str_of(p.of), ',') < strlen(p.of)) {
        read_shares(policy, STR_NULL, now_s, &shares);
        (void)!write_shares(&p, &shares); /* it becomes shorter */
    }
    if (p.drop_s != 0 && p.drop_s + POLICY_DROP_S <= now_s)
        p.drop_s = 0;
    if (!p.paused && p.drop_s == 0)
        p.now = false;
    if (is_over(p.limits_until_s, now_s))
        policy_clear_limits(&p);
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

static const struct policy_entry *find(const struct policy_book *book, struct str host,
                                       struct str without, int64_t now_s)
{
    struct names names = {.next = host};
    struct str name;

    while (next_name(&names, &name)) {
        const struct policy_entry *entry = table_get(book->by_name, name);
        if (entry == NULL || str_equal(name, without))
            continue;
        const struct policy now = policy_at(&entry->policy, now_s);
        if (policy_decides(&now))
            return entry;
    }
    return NULL;
}

const struct policy_entry *policy_book_find(const struct policy_book *book, struct str host,
                                            int64_t now_s)
{
    return find(book, host, STR_NULL, now_s);
}

const struct policy_entry *policy_book_find_above(const struct policy_book *book, struct str name,
                                                  int64_t now_s)
{
    return find(book, name, name, now_s);
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
