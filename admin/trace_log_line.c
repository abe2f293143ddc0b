#include "admin/trace_log_line.h"

#include <stdlib.h>
#include <string.h>

#include "base/escape.h"
#include "base/log.h"
#include "base/log_line.h"
#include "sched/outcome_log.h"

enum { MAX_VALUE_BYTES = 8192 };

void trace_log_lines_init(struct trace_log_lines *lines, const struct trace_ids *ids,
                          void (*found)(void *arg, const struct trace_logged *logged), void *arg)
{
    *lines = (struct trace_log_lines){.ids = ids,
                                      .max_lines = TRACE_LOG_MAX_LINES,
                                      .max_bytes = TRACE_LOG_MAX_BYTES,
                                      .found = found,
                                      .arg = arg};
    buf_init(&lines->value, MAX_VALUE_BYTES);
    buf_init(&lines->machine, MAX_VALUE_BYTES);
    buf_init(&lines->error, MAX_VALUE_BYTES);
    for (size_t i = 0; i < ids->count; i++) {
        struct buf mark;
        buf_init(&mark, (size_t)16 * LOG_LINE_VALUE_COLUMNS);
        escape_put(&mark, str_of(ids->ids[i]), ESCAPE_LOG, LOG_LINE_VALUE_COLUMNS);
        lines->marks[i] = str_dup(buf_str(&mark));
        buf_clear(&mark);
    }
}

void trace_log_lines_clear(struct trace_log_lines *lines)
{
    for (size_t i = 0; i < lines->ids->count; i++)
        free(lines->marks[i]);
    buf_clear(&lines->value);
    buf_clear(&lines->machine);
    buf_clear(&lines->error);
}

void trace_log_lines_begin(struct trace_log_lines *lines)
{
    lines->lines = lines->bytes = lines->outcomes = lines->left_out = 0;
    lines->cut = false;
}

static bool has(struct str line, const char *part)
{
    return memmem(line.ptr, line.len, part, strlen(part)) != NULL;
}

/* --- deliveries --- */

static bool is_one_of(const struct trace_ids *ids, struct str id)
{
    for (size_t i = 0; i < ids->count; i++) {
        if (str_equal(str_of(ids->ids[i]), id))
            return true;
    }
    return false;
}

static bool parse_result(struct str word, enum health_result *result)
{
    for (int i = 0; i < HEALTH_RESULTS; i++) {
        if (str_equal(word, str_of(outcome_names[i]))) {
            *result = (enum health_result)i;
            return true;
        }
    }
    return false;
}

struct parsed {
    struct trace_logged logged; /* but for the inbox */
    bool meant;                 /* it is about our activity */
    bool has_result;
    bool has_time;
};

static void keep(struct buf *copy, struct str value)
{
    buf_reset(copy);
    buf_put_str(copy, value);
}

static void take_field(struct trace_log_lines *lines, struct str key, struct str value,
                       struct parsed *parsed)
{
    struct trace_logged *logged = &parsed->logged;

    if (str_equal(key, STR("activity")))
        parsed->meant = is_one_of(lines->ids, value);
    else if (str_equal(key, STR("outcome")))
        parsed->has_result = parse_result(value, &logged->result);
    else if (str_equal(key, STR("at_ms")))
        parsed->has_time = str_to_i64(value, 1, INT64_MAX / 1000, &logged->at_ms);
    else if (str_equal(key, STR("status")) && !str_to_i64(value, 0, 999, &logged->status))
        logged->status = 0;
    else if (str_equal(key, STR("attempt")) && !str_to_i64(value, 1, INT64_MAX, &logged->attempt))
        logged->attempt = 0;
    else if (str_equal(key, STR("machine")))
        keep(&lines->machine, value);
    else if (str_equal(key, STR("err")))
        keep(&lines->error, value);
}

/* All that a line says of its inboxes, and then each of them. A line that was cut counts as far as
 * it goes. */
static void take_outcome(struct trace_log_lines *lines, struct log_line line)
{
    struct log_line again = line;
    struct parsed parsed = {.meant = false};
    struct str key;

    buf_reset(&lines->machine);
    buf_reset(&lines->error);
    while (log_line_next(&line, &key, &lines->value))
        take_field(lines, key, buf_str(&lines->value), &parsed);
    if (!parsed.meant || !parsed.has_result || !parsed.has_time ||
        parsed.logged.at_ms < lines->since_ms)
        return;
    parsed.logged.machine = buf_str(&lines->machine);
    parsed.logged.error = buf_str(&lines->error);
    while (log_line_next(&again, &key, &lines->value)) {
        if (!str_equal(key, STR("inbox")) || lines->value.len == 0)
            continue;
        parsed.logged.inbox = buf_str(&lines->value);
        lines->outcomes++;
        lines->found(lines->arg, &parsed.logged);
    }
}

/* --- gaps --- */

static void take_gap(struct trace_log_lines *lines, struct log_line line)
{
    bool is_gap = false;
    int64_t count = 0;
    struct str key;

    while (log_line_next(&line, &key, &lines->value)) {
        struct str value = buf_str(&lines->value);
        if (str_equal(key, STR("msg")))
            is_gap = str_equal(value, STR(OUTCOME_LOG_GAP)) || str_equal(value, STR(LOG_GAP));
        else if ((str_equal(key, STR("deliveries")) || str_equal(key, STR("lines"))) &&
                 !str_to_i64(value, 0, INT32_MAX, &count))
            count = 0;
    }
    if (is_gap)
        lines->left_out += count;
}

bool trace_log_lines_take(struct trace_log_lines *lines, struct str line)
{
    struct log_line ours;
    bool has_id = false;

    if (lines->lines >= lines->max_lines || lines->bytes >= lines->max_bytes) {
        lines->cut = true;
        return false;
    }
    lines->lines++;
    lines->bytes += (int64_t)line.len + 1;
    if (line.len == 0)
        return true;
    for (size_t i = 0; i < lines->ids->count && !has_id; i++)
        has_id = has(line, lines->marks[i]);
    bool may_be_gap = !has_id && (has(line, OUTCOME_LOG_GAP) || has(line, LOG_GAP));
    if ((has_id || may_be_gap) && log_line_open(&ours, line)) {
        if (has_id)
            take_outcome(lines, ours);
        else
            take_gap(lines, ours);
    }
    return true;
}
