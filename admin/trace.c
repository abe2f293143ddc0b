#include <jansson.h>
#include <string.h>

#include "admin/commands.h"
#include "admin/figures_trace.h"
#include "admin/orders.h"
#include "admin/progress.h"
#include "admin/words.h"

enum {
    STATE_COLUMNS = 10,
    INBOX_COLUMNS = 44,
    MAX_INBOX_COLUMNS = 100,
    TIME_COLUMNS = 10,
    SOURCE_COLUMNS = 8,
    MAX_LOGS = 64,
};

struct options {
    const char *activity;
    const char *names[MAX_LOGS];
    struct trace_log_options logs;
    bool json;
};

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
    words_put_cell(&line, text_of(row, "source"), SOURCE_COLUMNS);
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

static int64_t number_in(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static void print_log(const json_t *log)
{
    const char *problem = json_string_value(json_object_get(log, "problem"));
    const char *separator = ": ";
    struct buf line;

    buf_init(&line, 8192);
    buf_printf(&line, "log %s", json_string_value(json_object_get(log, "name")));
    if (problem == NULL || number_in(log, "lines") > 0) {
        buf_printf(&line, ": %lld lines; deliveries of it: %lld",
                   (long long)number_in(log, "lines"), (long long)number_in(log, "outcomes"));
        separator = "; ";
    }
    if (number_in(log, "left_out") > 0)
        buf_printf(&line, "; others that it left out, since they came too fast: %lld",
                   (long long)number_in(log, "left_out"));
    if (json_is_true(json_object_get(log, "cut")))
        buf_put_str(&line, STR("; there was more than is looked at"));
    if (problem != NULL)
        buf_printf(&line, "%s%s", separator, problem);
    words_line(stdout, buf_str(&line));
    buf_clear(&line);
}

static void print_logs(const json_t *figures)
{
    size_t index;
    const json_t *log;

    json_array_foreach(json_object_get(figures, "logs"), index, log) print_log(log);
}

static void print_people(const json_t *figures, double now_s)
{
    const json_t *rows = json_object_get(figures, "inboxes");
    const size_t columns = inbox_columns(rows);
    size_t index;
    const json_t *row;

    if (json_array_size(rows) == 0) {
        words_print(
            stdout,
            "nobody knows of it: no job of it waits, and neither the machines' memory, which "
            "reaches back tens of thousands of deliveries, nor the log has one");
        print_logs(figures);
        return;
    }
    print_counts(rows);
    words_print(stdout, "%-10s%-*s %6s  %-10s%-10s%-8s%s", "STATE", (int)columns, "INBOX", "STATUS",
                "AGO", "DUE IN", "BY", "WHY");
    json_array_foreach(rows, index, row) print_row(row, columns, now_s);
    if (json_is_true(json_object_get(figures, "cut")))
        words_print(stdout, "at least: there was more than is looked at");
    print_logs(figures);
}

static int show(struct session *session, const struct options *options)
{
    struct progress progress;
    struct err err;

    progress_begin(&progress);
    json_t *figures = figures_trace(session, str_of(options->activity), &options->logs,
                                    progress_tell, &progress, &err);
    progress_end(&progress);
    if (figures == NULL)
        return session_fail(&err, err.code == FP_INVALID ? FP_EXIT_USAGE : FP_EXIT_UNAVAILABLE);
    if (options->json)
        words_print_json(figures);
    else
        print_people(figures, (double)clock_wall_us(&session->clock) / 1e6);
    json_decref(figures);
    return FP_EXIT_OK;
}

/* The first word that isn't understood, or NULL. */
static const char *parse(struct options *options, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        bool more = i + 1 < argc && argv[i + 1][0] != '\0';
        if (strcmp(argv[i], "--json") == 0)
            options->json = true;
        else if (strcmp(argv[i], "--log") == 0 && more && options->logs.count < MAX_LOGS)
            options->names[options->logs.count++] = argv[++i];
        else if (strcmp(argv[i], "--since") == 0 && more &&
                 orders_parse_span(argv[i + 1], &options->logs.since_s))
            i++;
        else if (argv[i][0] == '-' || options->activity != NULL)
            return argv[i];
        else
            options->activity = argv[i];
    }
    return options->activity == NULL ? "without an activity" : NULL;
}

int command_trace(const struct config *config, int argc, char **argv)
{
    struct options options = {.activity = NULL};
    struct session session;
    struct err err;
    const char *wrong = parse(&options, argc, argv);

    if (wrong != NULL)
        return words_unknown("trace", wrong);
    options.logs.names = options.names;
    int code = session_open(&session, config, &err) ? show(&session, &options)
                                                    : session_fail(&err, FP_EXIT_CONFIG);
    session_close(&session);
    return code;
}
