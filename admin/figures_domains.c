#include "admin/figures_domains.h"

#include <stdlib.h>
#include <string.h>

#include "admin/figures.h"
#include "admin/figures_value.h"
#include "admin/follower_counts.h"
#include "admin/orders.h"
#include "admin/words.h"

/* --- one item --- */

void figures_set_policy(json_t *item, const struct policy *policy, int64_t now_s)
{
    struct said said;

    if (policy_is_empty(policy)) {
        json_object_set_new(item, "policy", json_null());
        json_object_set_new(item, "policy_says", json_null());
        return;
    }
    said_init(&said, ORDERS_WORDS_BYTES);
    orders_say(&said, policy, now_s);
    json_object_set_new(item, "policy", figures_text(buf_str(&said.text)));
    json_object_set_new(item, "policy_says", words_json_said(&said));
    said_clear(&said);
}

static struct domain_counts day_of(const struct domain_row *row)
{
    struct domain_counts day = row->past;

    day.delivered += row->fresh.delivered;
    day.retried += row->fresh.retried;
    day.rejected += row->fresh.rejected;
    day.exhausted += row->fresh.exhausted;
    latency_add(&day.latency, &row->fresh.latency);
    return day;
}

static int64_t failed_of(const struct domain_counts *day)
{
    return day->retried + day->rejected + day->exhausted;
}

json_t *figures_domain_item(const struct desk *desk, const struct domain_table *table,
                            const struct domain_row *row)
{
    const struct domain_counts day = day_of(row);
    struct str host = str_of(row->host);
    const struct policy policy = domain_table_policy(table, host, NULL);
    json_t *item = json_pack(
        "{s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "host",
        figures_text(host), "state", domain_state_names[row->state], "delivered",
        (json_int_t)day.delivered, "retried", (json_int_t)day.retried, "rejected",
        (json_int_t)day.rejected, "exhausted", (json_int_t)day.exhausted, "total_delivered",
        (json_int_t)row->total_delivered, "success_rate",
        figures_share(day.delivered, day.delivered + failed_of(&day)), "consecutive_failures",
        (json_int_t)row->streak, "last_success_at", figures_time(row->last_success_s),
        "failing_since", figures_time(row->failing_since_s), "last_status",
        figures_count_or_null(row->last_status), "last_error",
        figures_text_or_null(row->last_error), "followers",
        figures_count_or_null(follower_counts_of(desk->followers, host)));

    figures_set_policy(item, &policy, domain_table_now_s(table));
    figures_set_percentiles(item, &day.latency);
    return item;
}

json_t *figures_domain_unknown(struct str host)
{
    static const char *const members[] = {
        "state",           "delivered",       "retried",      "rejected",
        "exhausted",       "total_delivered", "success_rate", "consecutive_failures",
        "last_success_at", "failing_since",   "last_status",  "last_error",
        "followers",       "p50_ms",          "p95_ms",       "p99_ms"};
    json_t *item = json_pack("{s:o}", "host", figures_text(host));

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        json_object_set_new(item, members[i], json_null());
    return item;
}

/* --- the list --- */

struct entry {
    const struct domain_row *row;
    bool known; /* what isn't comes last, whatever the order */
    double key;
};

static double key_state(const struct desk *desk, const struct domain_row *row)
{
    static const double worst_first[DOMAIN_STATES] = {
        [DOMAIN_UNAVAILABLE] = 0, [DOMAIN_OPEN] = 1,    [DOMAIN_FAILING] = 2, [DOMAIN_PAUSED] = 3,
        [DOMAIN_LIMITED] = 4,     [DOMAIN_HEALTHY] = 5, [DOMAIN_IDLE] = 6};

    (void)desk;
    return worst_first[row->state];
}

static double key_delivered(const struct desk *desk, const struct domain_row *row)
{
    (void)desk;
    return (double)(row->past.delivered + row->fresh.delivered);
}

static double key_failed(const struct desk *desk, const struct domain_row *row)
{
    (void)desk;
    return (double)(failed_of(&row->past) + failed_of(&row->fresh));
}

static double key_success_rate(const struct desk *desk, const struct domain_row *row)
{
    double delivered = key_delivered(desk, row);
    double total = delivered + key_failed(desk, row);
    return total > 0 ? delivered / total : -1;
}

static double key_p95(const struct desk *desk, const struct domain_row *row)
{
    const struct domain_counts day = day_of(row);

    (void)desk;
    return latency_percentile_ms(&day.latency, 0.95);
}

static double key_last_success(const struct desk *desk, const struct domain_row *row)
{
    (void)desk;
    return row->last_success_s > 0 ? row->last_success_s : -1;
}

static double key_failing_since(const struct desk *desk, const struct domain_row *row)
{
    (void)desk;
    return row->failing_since_s > 0 ? row->failing_since_s : -1;
}

static double key_followers(const struct desk *desk, const struct domain_row *row)
{
    return (double)follower_counts_of(desk->followers, str_of(row->host));
}

static const struct column {
    const char *name;
    double (*key)(const struct desk *desk, const struct domain_row *row); /* negative: unknown */
    bool descends; /* where no order is asked for */
} columns[] = {
    {"delivered", key_delivered, true},
    {"host", NULL, false},
    {"state", key_state, false},
    {"failed", key_failed, true},
    {"success_rate", key_success_rate, false},
    {"p95_ms", key_p95, true},
    {"last_success_at", key_last_success, true},
    {"failing_since", key_failing_since, false},
    {"followers", key_followers, true},
};

static const struct column *column_of(struct str name)
{
    if (name.len == 0)
        return &columns[0];
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        if (str_equal(name, str_of(columns[i].name)))
            return &columns[i];
    }
    return NULL;
}

static int ascending(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;

    if (x->known != y->known)
        return x->known ? -1 : 1;
    if (x->known && x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return strcmp(x->row->host, y->row->host);
}

static int descending(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;

    if (x->known != y->known)
        return x->known ? -1 : 1;
    if (x->known && x->key != y->key)
        return x->key > y->key ? -1 : 1;
    return strcmp(x->row->host, y->row->host);
}

static int descending_hosts(const void *a, const void *b)
{
    return strcmp(((const struct entry *)b)->row->host, ((const struct entry *)a)->row->host);
}

static bool contains(const char *host, struct str part)
{
    return part.len == 0 || memmem(host, strlen(host), part.ptr, part.len) != NULL;
}

static bool is_state(struct str state)
{
    for (int i = 0; i < DOMAIN_STATES; i++) {
        if (str_equal(state, str_of(domain_state_names[i])))
            return true;
    }
    return false;
}

static bool matches(const struct domain_row *row, struct str search, struct str state)
{
    return contains(row->host, search) &&
           (state.len == 0 || str_equal(state, str_of(domain_state_names[row->state])));
}

static size_t select_rows(struct entry *entries, const struct desk *desk,
                          const struct domain_table *table, const struct figures_filter *filter,
                          const struct column *column)
{
    char *search = str_dup(filter->search);
    const struct domain_row *row;
    size_t count = 0;
    size_t at = 0;

    for (char *c = search; *c != '\0'; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    while ((row = domain_table_each(table, &at)) != NULL) {
        if (!matches(row, str_of(search), filter->state))
            continue;
        double key = column->key != NULL ? column->key(desk, row) : 0;
        entries[count++] = (struct entry){row, key >= 0, key};
    }
    free(search);
    return count;
}

static bool check_filter(const struct figures_filter *filter, const struct column *column,
                         struct err *err)
{
    if (column == NULL)
        err_say(err, FP_INVALID, PHRASE_ASK_SORT, SAYS_NOTHING);
    else if (filter->order.len > 0 && !str_equal(filter->order, STR("asc")) &&
             !str_equal(filter->order, STR("desc")))
        err_say(err, FP_INVALID, PHRASE_ASK_ORDER, SAYS_NOTHING);
    else if (filter->state.len > 0 && !is_state(filter->state))
        err_say(err, FP_INVALID, PHRASE_ASK_STATE, SAYS_NOTHING);
    else if (filter->limit < 1 || filter->limit > FIGURES_MAX_LIMIT || filter->offset < 0)
        err_say(err, FP_INVALID, PHRASE_ASK_LIMIT, SAYS(SAY_NUMBER("most", FIGURES_MAX_LIMIT)));
    else
        return true;
    return false;
}

static void sort(struct entry *entries, size_t count, const struct column *column, struct str order)
{
    bool down = order.len > 0 ? str_equal(order, STR("desc")) : column->descends;
    int (*compare)(const void *, const void *) = down ? descending : ascending;

    if (column->key == NULL && down)
        compare = descending_hosts;
    qsort(entries, count, sizeof(struct entry), compare);
}

json_t *figures_domains(struct desk *desk, const struct figures_filter *filter, struct err *err)
{
    const struct column *column = column_of(filter->sort);
    const struct domain_table *table;
    json_t *items = json_array();

    if (!check_filter(filter, column, err) || (table = domain_table_take(desk, err)) == NULL) {
        json_decref(items);
        return NULL;
    }
    size_t total = domain_table_count(table);
    struct entry *entries = mem_alloc((total + 1) * sizeof(struct entry));
    size_t count = select_rows(entries, desk, table, filter, column);
    size_t first = (size_t)filter->offset < count ? (size_t)filter->offset : count;
    size_t last = count - first < (size_t)filter->limit ? count : first + (size_t)filter->limit;
    sort(entries, count, column, filter->order);
    for (size_t i = first; i < last; i++)
        json_array_append_new(items, figures_domain_item(desk, table, entries[i].row));
    free(entries);
    return json_pack("{s:f, s:I, s:I, s:I, s:b, s:o}", "at", domain_table_at_s(table), "total",
                     (json_int_t)total, "matched", (json_int_t)count, "offset",
                     (json_int_t)filter->offset, "cut", domain_table_is_cut(table), "items", items);
}
