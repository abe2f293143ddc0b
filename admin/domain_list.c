#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/domain.h"
#include "admin/figures_value.h"
#include "admin/words.h"

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct policy_entry *const *)a)->name,
                  (*(const struct policy_entry *const *)b)->name);
}

static json_t *json_of(const struct policy_entry *entry, const struct policy *p)
{
    static const char *const schemes[] = {"auto", "cavage", "rfc9421"};

    return json_pack("{s:s, s:b, s:o, s:I, s:I, s:i, s:i, s:s, s:s, s:s, s:b, s:I}", "name",
                     entry->name, "paused", (int)p->paused, "paused_for", figures_paused_for(p),
                     "paused_until", (json_int_t)p->paused_until_s, "drop_before",
                     (json_int_t)p->drop_s, "window", (int)p->window, "rate", (int)p->rate, "proxy",
                     p->proxy, "http", p->http2 ? "2" : "1.1", "signature", schemes[p->scheme],
                     "exempt", (int)p->exempt, "limits_until", (json_int_t)p->limits_until_s);
}

static void print_entry(const struct policy_entry *entry, const struct policy *now, int64_t now_s)
{
    struct buf words;

    buf_init(&words, 1024);
    orders_put_words(&words, now, now_s);
    words_print(stdout, "%-34s %s", strcmp(entry->name, "*") == 0 ? "(the fleet)" : entry->name,
                buf_cstr(&words));
    buf_clear(&words);
}

static void print_all(const struct orders *orders, bool as_json)
{
    size_t total = policy_book_count(orders->book);
    const struct policy_entry **sorted =
        mem_alloc((total + 1) * sizeof(const struct policy_entry *));
    json_t *list = json_array();
    size_t at = 0;
    size_t shown = 0;

    for (size_t i = 0; i < total; i++)
        sorted[i] = policy_book_each(orders->book, &at);
    qsort(sorted, total, sizeof(const struct policy_entry *), by_name);
    for (size_t i = 0; i < total; i++) {
        const struct policy now = policy_at(&sorted[i]->policy, orders->now_s);
        if (policy_is_empty(&now))
            continue;
        shown++;
        if (as_json)
            json_array_append_new(list, json_of(sorted[i], &now));
        else
            print_entry(sorted[i], &now, orders->now_s);
    }
    if (as_json) {
        words_print_json(list);
    } else if (shown == 0) {
        puts("no policy is in force");
    }
    if (orders->unknown > 0)
        words_print(stderr,
                    "fedpush: domain list: %zu policies are not understood: is there a newer "
                    "fedpush?",
                    orders->unknown);
    json_decref(list);
    free(sorted);
}

int domain_list(struct session *session, const struct domain_options *options)
{
    struct orders orders;
    struct err err;
    bool good = orders_open(&orders, session, &err);

    if (good)
        print_all(&orders, options->json);
    orders_close(&orders);
    return good ? FP_EXIT_OK : session_fail(&err, FP_EXIT_UNAVAILABLE);
}
