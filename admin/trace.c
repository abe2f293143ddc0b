#include <jansson.h>
#include <string.h>

#include "admin/commands.h"
#include "admin/figures_trace.h"
#include "admin/progress.h"
#include "admin/words.h"

enum { STATE_COLUMNS = 10, INBOX_COLUMNS = 44, MAX_INBOX_COLUMNS = 100, TIME_COLUMNS = 10 };

static void put_time(struct buf *line, const json_t *at, double now_s, bool ahead)
{
    struct buf text;
    double apart_s = ahead ? json_number_value(at) - now_s : now_s - json_number_value(at);

    buf_init(&text, 64);
    if (json_is_number(at))
        words_put_age(&text, apart_s);
    else
        buf_put_char(&text, '-');
    words_put_cell(line, buf_str(&text), TIME_COLUMNS);
    buf_clear(&text);
}

static struct str text_of(const json_t *row, const char *name)
{
    return str_of(json_string_value(json_object_get(row, name)));
}

static void print_row(const json_t *row, size_t columns, double now_s)
{
    const json_t *status = json_object_get(row, "status");
    struct buf line;

    buf_init(&line, 8192);
    words_put_cell(&line, text_of(row, "state"), STATE_COLUMNS);
    words_put_cell(&line, text_of(row, "inbox"), columns);
    if (json_is_integer(status))
        buf_printf(&line, " %6" JSON_INTEGER_FORMAT "  ", json_integer_value(status));
    else
        buf_put_str(&line, STR("      -  "));
    put_time(&line, json_object_get(row, "at"), now_s, false);
    put_time(&line, json_object_get(row, "due_at"), now_s, true);
    buf_put_str(&line, text_of(row, "why"));
    words_line(stdout, str_trim(buf_str(&line)));
    buf_clear(&line);
}

static void print_counts(const json_t *rows)
{
    size_t index;
    const json_t *row;
    const char *state;
    const json_t *count;
    json_t *counts = json_object();
    struct buf line;

    json_array_foreach(rows, index, row)
    {
        state = json_string_value(json_object_get(row, "state"));
        json_object_set_new(counts, state,
                            json_integer(json_integer_value(json_object_get(counts, state)) + 1));
    }
    buf_init(&line, 1024);
    buf_printf(&line, "%zu inboxes", json_array_size(rows));
    const char *separator = ": ";
    json_object_foreach(counts, state, count)
    {
        buf_printf(&line, "%s%" JSON_INTEGER_FORMAT " %s", separator, json_integer_value(count),
                   state);
        separator = ", ";
    }
    words_line(stdout, buf_str(&line));
    buf_clear(&line);
    json_decref(counts);
}

/* As wide as the longest: inboxes of one host differ in how they end. */
static size_t inbox_columns(const json_t *rows)
{
    size_t columns = INBOX_COLUMNS;
    size_t index;
    const json_t *row;

    json_array_foreach(rows, index, row)
    {
        size_t length = text_of(row, "inbox").len;
        if (length > columns)
            columns = length < MAX_INBOX_COLUMNS ? length : MAX_INBOX_COLUMNS;
    }
    return columns;
}

static void print_people(const json_t *figures, double now_s)
{
    const json_t *rows = json_object_get(figures, "inboxes");
    const size_t columns = inbox_columns(rows);
    size_t index;
    const json_t *row;

    if (json_array_size(rows) == 0) {
        words_print(stdout,
                    "nobody knows of it: no job of it waits, and the machines' memory, which "
                    "reaches back tens of thousands of deliveries, has none");
        return;
    }
    print_counts(rows);
    words_print(stdout, "%-10s%-*s %6s  %-10s%-10s%s", "STATE", (int)columns, "INBOX", "STATUS",
                "AGO", "DUE IN", "WHY");
    json_array_foreach(rows, index, row) print_row(row, columns, now_s);
    if (json_is_true(json_object_get(figures, "cut")))
        words_print(stdout, "at least: there was more than is looked at");
}

static int show(struct session *session, const char *activity, bool as_json)
{
    struct progress progress;
    struct err err;

    progress_begin(&progress);
    json_t *figures = figures_trace(session, str_of(activity), progress_tell, &progress, &err);
    progress_end(&progress);
    if (figures == NULL)
        return session_fail(&err, err.code == FP_INVALID ? FP_EXIT_USAGE : FP_EXIT_UNAVAILABLE);
    if (as_json)
        words_print_json(figures);
    else
        print_people(figures, (double)clock_wall_us(&session->clock) / 1e6);
    json_decref(figures);
    return FP_EXIT_OK;
}

int command_trace(const struct config *config, int argc, char **argv)
{
    const char *activity = NULL;
    struct session session;
    struct err err;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            continue;
        if (argv[i][0] == '-' || activity != NULL)
            return words_unknown("trace", argv[i]);
        activity = argv[i];
    }
    if (activity == NULL)
        return words_unknown("trace", "without an activity");
    int code = session_open(&session, config, &err)
                   ? show(&session, activity, words_has(argc, argv, "--json"))
                   : session_fail(&err, FP_EXIT_CONFIG);
    session_close(&session);
    return code;
}
