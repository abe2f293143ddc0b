#include "admin/top_view.h"

#include <stdio.h>
#include <string.h>

#include "admin/figures_value.h"
#include "admin/words.h"
#include "base/escape.h"

enum {
    MAX_LINE_BYTES = 8192,
    LABEL_COLUMNS = 12,
    MAX_MACHINES = 8, /* lines of them */
    MAX_ALERTS = 4,
    MIN_HOST_COLUMNS = 16,
    NUMBERS_COLUMNS = 63, /* of a host's line, behind its name */
};

enum style { PLAIN = 0, BOLD, GOOD, WARN, BAD, FAINT };

static const struct {
    const char *sort, *direction, *name;
} orders[TOP_ORDERS] = {
    [TOP_BOTH] = {"delivered", "desc", "busiest and worst"},
    [TOP_DELIVERED] = {"delivered", "desc", "by deliveries"},
    [TOP_FAILED] = {"failed", "desc", "by failures"},
    [TOP_SUCCESS_RATE] = {"success_rate", "asc", "by success, worst first"},
    [TOP_P95] = {"p95_ms", "desc", "by time, slowest first"},
    [TOP_FAILING_SINCE] = {"failing_since", "asc", "by time of failing, longest first"},
    [TOP_HOST] = {"host", "asc", "by name"},
};

const char *top_order_sort(enum top_order order)
{
    return orders[order].sort;
}

const char *top_order_direction(enum top_order order)
{
    return orders[order].direction;
}

/* --- a screen of lines --- */

struct screen {
    struct buf *out;
    const struct top_view *view;
    size_t lines;
    double now_s;
};

/* Cut to the screen; whatever its parts hold, it is one harmless line. */
static void put_line(struct screen *s, enum style style, struct str text)
{
    static const char *const codes[] = {"",         "\x1b[1m",  "\x1b[32m",
                                        "\x1b[33m", "\x1b[31m", "\x1b[2m"};
    bool styled = s->view->colour && style != PLAIN;

    if (s->lines >= s->view->rows)
        return;
    s->lines++;
    if (styled)
        buf_put_str(s->out, str_of(codes[style]));
    escape_put(s->out, text, ESCAPE_TERMINAL, s->view->columns);
    if (styled)
        buf_put_str(s->out, STR("\x1b[0m"));
    buf_put_char(s->out, '\n');
}

static void print_line(struct screen *s, enum style style, const char *format, ...) FP_PRINTF(3, 4);
static void print_line(struct screen *s, enum style style, const char *format, ...)
{
    char text[MAX_LINE_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    put_line(s, style, str_of(text));
}

/* --- values --- */

static double number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static bool is_number(const json_t *object, const char *name)
{
    return json_is_number(json_object_get(object, name));
}

static void put_count(struct buf *out, const json_t *value)
{
    double n = json_number_value(value);

    if (!json_is_number(value))
        buf_put_char(out, '-');
    else if (n < 100000)
        buf_printf(out, "%.0f", n);
    else if (n < 1e8)
        buf_printf(out, "%.0fk", n / 1000);
    else
        buf_printf(out, "%.0fM", n / 1e6);
}

static void put_bytes(struct buf *out, const json_t *value)
{
    if (json_is_number(value))
        buf_printf(out, "%.0f MiB", json_number_value(value) / 1048576);
    else
        buf_put_char(out, '-');
}

static void put_percent(struct buf *out, const json_t *share)
{
    if (json_is_number(share))
        buf_printf(out, "%.1f%%", json_number_value(share) * 100);
    else
        buf_put_char(out, '-');
}

static void put_right(struct buf *out, struct buf *text, size_t columns)
{
    for (size_t i = text->len; i < columns; i++)
        buf_put_char(out, ' ');
    buf_put_str(out, buf_str(text));
    buf_reset(text);
}

/* --- the overview --- */

static void put_head(struct screen *s, const json_t *overview)
{
    struct buf line;

    buf_init(&line, MAX_LINE_BYTES);
    buf_printf(&line, "%s  fedpush", s->view->clock);
    if (overview != NULL)
        buf_printf(&line, " %s  %s  Mastodon %s  Sidekiq %s", figures_text_of(overview, "version"),
                   figures_text_of(overview, "domain"), figures_text_of(overview, "mastodon"),
                   figures_text_of(overview, "sidekiq"));
    if (s->view->held)
        buf_put_str(&line, STR("  [held: p goes on]"));
    put_line(s, BOLD, buf_str(&line));
    buf_clear(&line);
    if (s->view->problem != NULL)
        print_line(s, BAD, "%s", s->view->problem);
}

static void put_warnings(struct screen *s, const json_t *overview)
{
    const json_t *paused = json_object_get(overview, "paused");
    const json_t *ledger = json_object_get(overview, "ledger");
    const json_t *alerts = json_object_get(overview, "alerts");
    struct buf until;
    size_t index;
    const json_t *value;

    buf_init(&until, 100);
    if (is_number(paused, "until")) {
        buf_put_str(&until, STR(" for "));
        words_put_age(&until, number(paused, "until") - s->now_s);
    }
    if (json_is_object(paused))
        print_line(s, BAD, "%-*sthe fleet is paused%s: fedpush resume", LABEL_COLUMNS, "PAUSED",
                   buf_cstr(&until));
    buf_clear(&until);
    json_array_foreach(json_object_get(overview, "suspicious"), index, value)
        print_line(s, BAD, "%-*s%s suspects itself: its network, resolver, clock or CA store",
                   LABEL_COLUMNS, "SUSPICIOUS", json_string_value(value));
    if (number(ledger, "missing") != 0)
        print_line(s, BAD, "%-*s%+.0f jobs don't add up: fedpush status", LABEL_COLUMNS, "LEDGER",
                   number(ledger, "missing"));
    json_array_foreach(alerts, index, value)
    {
        if (index < MAX_ALERTS)
            print_line(s, WARN, "%-*s%s", LABEL_COLUMNS, "ALERT", figures_text_of(value, "text"));
    }
    if (json_array_size(alerts) > MAX_ALERTS)
        print_line(s, WARN, "%-*s%zu more: fedpush alert", LABEL_COLUMNS, "",
                   json_array_size(alerts) - MAX_ALERTS);
}

static void put_flow(struct screen *s, const json_t *overview)
{
    const json_t *recent = json_object_get(overview, "recent");
    struct buf line;

    buf_init(&line, MAX_LINE_BYTES);
    buf_printf(&line, "%-*s%.1f a second, ", LABEL_COLUMNS, "deliveries",
               number(recent, "per_second"));
    put_percent(&line, json_object_get(recent, "success_rate"));
    buf_printf(&line, " of the last %.0f s good, %.0f in flight, %.0f held",
               number(recent, "seconds"), number(overview, "in_flight"), number(overview, "held"));
    if (number(overview, "held_by_dead") > 0)
        buf_printf(&line, ", %.0f by dead machines", number(overview, "held_by_dead"));
    buf_printf(&line, ", %.0f circuits open", number(overview, "open_circuits"));
    put_line(s, PLAIN, buf_str(&line));
    buf_clear(&line);
}

static void put_queue(struct screen *s, const json_t *queue, const char *label, bool is_ours)
{
    enum { OLD_S = 60 };
    bool old = is_ours && strcmp(label, "push") == 0 && number(queue, "oldest_age_s") > OLD_S;
    bool alone = !is_ours && number(queue, "consumers") <= 0;
    struct buf line;

    buf_init(&line, MAX_LINE_BYTES);
    buf_printf(&line, "%-*s", LABEL_COLUMNS, label);
    put_count(&line, json_object_get(queue, "length"));
    buf_put_str(&line, STR(" wait"));
    if (is_ours) {
        buf_put_str(&line, STR(", the oldest for "));
        words_put_age(&line, number(queue, "oldest_age_s"));
    } else {
        buf_printf(&line, " in queue %s, ", figures_text_of(queue, "queue"));
        if (alone)
            buf_put_str(&line, STR("which nobody serves"));
        else
            buf_printf(&line, "served by %.0f Sidekiq processes", number(queue, "consumers"));
    }
    put_line(s, alone ? BAD : old ? WARN : PLAIN, buf_str(&line));
    buf_clear(&line);
}

static void put_later(struct screen *s, const json_t *overview)
{
    const json_t *later = json_object_get(overview, "later");
    const json_t *redis = json_object_get(overview, "redis");
    struct buf line;

    buf_init(&line, MAX_LINE_BYTES);
    buf_printf(&line, "%-*s", LABEL_COLUMNS, "later");
    put_count(&line, json_object_get(later, "retry"));
    buf_put_str(&line, STR(" in retry, "));
    put_count(&line, json_object_get(later, "schedule"));
    buf_put_str(&line, STR(" scheduled, "));
    put_count(&line, json_object_get(later, "dead"));
    buf_put_str(&line, STR(" dead; Redis uses "));
    put_bytes(&line, json_object_get(redis, "used_bytes"));
    if (number(redis, "max_bytes") > 0) {
        buf_put_str(&line, STR(" of "));
        put_bytes(&line, json_object_get(redis, "max_bytes"));
    }
    put_line(s, PLAIN, buf_str(&line));
    buf_clear(&line);
}

static void put_report(struct buf *line, const json_t *report)
{
    buf_printf(line, " %s, %.0f of %.0f in flight, %.0f held, lag %.0f ms",
               figures_text_of(report, "state"), number(report, "in_flight"),
               number(report, "slots"), number(report, "held"), number(report, "lag_ms"));
    if (is_number(report, "cpu"))
        buf_printf(line, ", %.2f cores", number(report, "cpu"));
    if (is_number(report, "rss_bytes")) {
        buf_put_str(line, STR(", "));
        put_bytes(line, json_object_get(report, "rss_bytes"));
    }
    if (number(report, "keys_waiting") > 0)
        buf_printf(line, ", %.0f wait for keys", number(report, "keys_waiting"));
    if (json_is_string(json_object_get(report, "postgres")))
        buf_printf(line, "; PostgreSQL: %s", figures_text_of(report, "postgres"));
}

static void put_machine(struct screen *s, const json_t *machine)
{
    const json_t *report = json_object_get(machine, "report");
    bool alive = json_is_true(json_object_get(machine, "alive"));
    bool troubled = !alive || json_is_true(json_object_get(report, "suspicious")) ||
                    json_is_string(json_object_get(report, "postgres"));
    struct buf line;

    buf_init(&line, MAX_LINE_BYTES);
    buf_printf(&line, "%-*s", LABEL_COLUMNS, "machine");
    buf_put_str(&line, str_of(json_is_object(report) ? figures_text_of(report, "host")
                                                     : figures_text_of(machine, "identity")));
    if (!alive)
        buf_printf(&line, " is dead and holds %.0f jobs: fedpush handback",
                   number(machine, "held"));
    else if (json_is_object(report))
        put_report(&line, report);
    else
        buf_printf(&line, " beat %.0f s ago, holds %.0f jobs", number(machine, "beat_age_s"),
                   number(machine, "held"));
    put_line(s, troubled ? WARN : PLAIN, buf_str(&line));
    buf_clear(&line);
}

static void put_overview(struct screen *s, const json_t *overview)
{
    const json_t *machines = json_object_get(overview, "machines");
    size_t index;
    const json_t *value;

    put_warnings(s, overview);
    put_flow(s, overview);
    json_array_foreach(json_object_get(overview, "queues"), index, value)
        put_queue(s, value, figures_text_of(value, "name"), true);
    json_array_foreach(json_object_get(overview, "handoff"), index, value)
        put_queue(s, value, "hand-off", false);
    put_later(s, overview);
    json_array_foreach(machines, index, value)
    {
        if (index < MAX_MACHINES)
            put_machine(s, value);
    }
    if (json_array_size(machines) > MAX_MACHINES)
        print_line(s, PLAIN, "%-*s%zu more: fedpush status", LABEL_COLUMNS, "",
                   json_array_size(machines) - MAX_MACHINES);
    if (json_array_size(machines) == 0)
        print_line(s, BAD, "%-*sno fedpush is running", LABEL_COLUMNS, "machine");
}

/* --- hosts --- */

static size_t host_columns(const struct top_view *view)
{
    size_t left = view->columns > NUMBERS_COLUMNS ? view->columns - NUMBERS_COLUMNS : 0;

    if (left < MIN_HOST_COLUMNS)
        return MIN_HOST_COLUMNS;
    return left > 40 ? 40 : left;
}

static enum style style_of(const char *state)
{
    static const struct {
        const char *state;
        enum style style;
    } styles[] = {{"healthy", GOOD},  {"failing", WARN},      {"open", BAD},  {"paused", WARN},
                  {"limited", PLAIN}, {"unavailable", FAINT}, {"idle", FAINT}};

    for (size_t i = 0; i < sizeof(styles) / sizeof(styles[0]); i++) {
        if (strcmp(styles[i].state, state) == 0)
            return styles[i].style;
    }
    return PLAIN;
}

static void put_host(struct screen *s, const json_t *item)
{
    static const char *const counts[] = {"delivered", "retried", "rejected", "exhausted"};
    const json_t *error = json_object_get(item, "last_error");
    struct buf line;
    struct buf cell;

    buf_init(&line, MAX_LINE_BYTES);
    buf_init(&cell, 64);
    words_put_cell(&line, str_of(figures_text_of(item, "host")), host_columns(s->view));
    buf_put_char(&line, ' ');
    words_put_cell(&line, str_of(figures_text_of(item, "state")), 11);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        put_count(&cell, json_object_get(item, counts[i]));
        put_right(&line, &cell, 9);
    }
    put_percent(&cell, json_object_get(item, "success_rate"));
    put_right(&line, &cell, 8);
    put_count(&cell, json_object_get(item, "p95_ms"));
    put_right(&line, &cell, 7);
    if (number(item, "consecutive_failures") > 0 && json_is_string(error))
        buf_printf(&line, "  %s", json_string_value(error));
    put_line(s, style_of(figures_text_of(item, "state")), buf_str(&line));
    buf_clear(&cell);
    buf_clear(&line);
}

static bool failed(const json_t *item)
{
    return number(item, "retried") + number(item, "rejected") + number(item, "exhausted") > 0;
}

static void put_hosts(struct screen *s, const char *title, const json_t *domains, size_t most)
{
    bool worst = strcmp(title, "WORST") == 0;
    size_t shown = 0;
    const json_t *items = json_object_get(domains, "items");
    struct buf line;
    size_t index;
    const json_t *item;

    buf_init(&line, MAX_LINE_BYTES);
    words_put_cell(&line, str_of(title), host_columns(s->view));
    buf_printf(&line, " %-11s%9s%9s%9s%9s%8s%7s", "24 HOURS", "DELIVERED", "RETRIED", "REJECTED",
               "GAVE UP", "SUCCESS", "P95 MS");
    put_line(s, BOLD, buf_str(&line));
    buf_clear(&line);
    json_array_foreach(items, index, item)
    {
        if (shown == most || (worst && !failed(item)))
            continue;
        put_host(s, item);
        shown++;
    }
    if (items == NULL)
        print_line(s, FAINT, "%s", "reading...");
    else if (json_array_size(items) == 0)
        print_line(s, FAINT, "%s",
                   s->view->filter.len > 0 ? "no host has that in its name"
                                           : "nothing was delivered yet");
    else if (shown == 0)
        print_line(s, FAINT, "%s", "none of them fails");
}

/* --- all --- */

static void put_foot(struct screen *s, const json_t *domains)
{
    const struct top_view *view = s->view;

    if (view->typing)
        print_line(s, BOLD, "/%.*s_  (Enter: keep, Esc: all hosts)", STR_ARG(view->filter));
    else
        print_line(s, FAINT,
                   "q quit  p hold  s order: %s  arrows scroll  / filter%s%.*s  %.0f of %.0f hosts",
                   orders[view->order].name, view->filter.len > 0 ? ": " : "",
                   STR_ARG(view->filter), number(domains, "matched"), number(domains, "total"));
}

static size_t lines_of_overview(const struct top_view *view, const json_t *overview)
{
    struct top_view all = *view;
    struct buf out;
    struct screen s = {.out = &out, .view = &all};

    all.rows = 1000;
    buf_init(&out, 1024 * 1024);
    put_head(&s, overview);
    if (overview != NULL)
        put_overview(&s, overview);
    buf_clear(&out);
    return s.lines;
}

size_t top_view_hosts(const struct top_view *view, const json_t *overview)
{
    size_t used = lines_of_overview(view, overview) + 3; /* a blank line, titles, the foot */

    return view->rows > used ? view->rows - used : 1;
}

void top_view_put(struct buf *out, const struct top_view *view, const json_t *overview,
                  const json_t *busiest, const json_t *worst)
{
    struct top_view body = *view;
    struct screen s = {.out = out, .view = &body};
    size_t hosts = top_view_hosts(view, overview);

    body.rows = view->rows > 1 ? view->rows - 1 : 1; /* the last line is the foot's */
    s.now_s = number(overview, "at");
    put_head(&s, overview);
    if (overview != NULL)
        put_overview(&s, overview);
    put_line(&s, PLAIN, STR(""));
    if (view->domains_problem != NULL) {
        print_line(&s, BAD, "%s", view->domains_problem);
    } else if (view->order == TOP_BOTH) {
        size_t half = hosts > 3 ? (hosts - 1) / 2 : hosts;
        put_hosts(&s, "BUSIEST", busiest, half);
        put_hosts(&s, "WORST", worst, hosts);
    } else {
        put_hosts(&s, "HOST", busiest, hosts);
    }
    body.rows = view->rows;
    put_foot(&s, busiest);
}
