#include "admin/trace_log.h"

#include "admin/trace_log_source.h"
#include "admin/words.h"

/* Clocks differ, and a post's number is given before its jobs are made. */
enum { MARGIN_MS = 10 * 60 * 1000 };

struct progress_of {
    const struct trace_log *log;
    size_t done; /* logs */
    size_t count;
};

static void on_progress(void *arg, double share)
{
    const struct progress_of *p = arg;

    if (p->log->progress != NULL)
        p->log->progress(p->log->arg,
                         ((double)p->done + (share < 1 ? share : 1)) / (double)p->count);
}

static int64_t since_of(const struct trace_log *log)
{
    const struct trace_log_options *options = log->options;
    int64_t born_ms = trace_ids_born_ms(log->ids, log->now_ms);

    if (options->since_s > 0)
        return log->now_ms - options->since_s * 1000;
    if (options->count > 0)
        return 0;
    return born_ms > 0 ? born_ms - MARGIN_MS
                       : log->now_ms - (int64_t)TRACE_LOG_DAYS * 24 * 3600 * 1000;
}

static json_t *told(const struct trace_log_source *source)
{
    const struct trace_log_lines *lines = source->lines;
    struct str name = str_of(source->name != NULL ? source->name : "journal");

    return json_pack("{s:o, s:I, s:I, s:I, s:b, s:o}", "name", words_json(name), "lines",
                     (json_int_t)lines->lines, "outcomes", (json_int_t)lines->outcomes, "left_out",
                     (json_int_t)lines->left_out, "cut", (int)lines->cut, "problem",
                     source->problem[0] != '\0' ? words_json(str_of(source->problem))
                                                : json_null());
}

static bool is_journal(const char *name)
{
    struct str text = str_of(name);
    return name == NULL || str_ends_with(text, STR(".journal")) ||
           str_ends_with(text, STR(".journal~"));
}

json_t *trace_log_read(const struct trace_log *log, struct err *err)
{
    const struct trace_log_options *options = log->options;
    struct progress_of progress = {.log = log, .count = options->count > 0 ? options->count : 1};
    struct trace_log_lines lines;
    json_t *logs = json_array();
    bool good = true;

    trace_log_lines_init(&lines, log->ids, log->found, log->arg);
    lines.since_ms = since_of(log);
    for (size_t i = 0; i < progress.count && good; i++) {
        struct trace_log_source source = {.name = options->count > 0 ? options->names[i] : NULL,
                                          .lines = &lines,
                                          .now_ms = log->now_ms,
                                          .progress = on_progress,
                                          .arg = &progress};
        trace_log_lines_begin(&lines);
        good = is_journal(source.name) ? trace_log_journal(&source, err)
                                       : trace_log_file(&source, err);
        if (good)
            json_array_append_new(logs, told(&source));
        progress.done++;
        on_progress(&progress, 0);
    }
    trace_log_lines_clear(&lines);
    if (good)
        return logs;
    json_decref(logs);
    return NULL;
}
