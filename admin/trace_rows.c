#include "admin/trace_rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/url.h"

const char *const trace_state_names[TRACE_STATES] = {"in_flight", "waiting",   "scheduled",
                                                     "retry",     "exhausted", "rejected",
                                                     "dead",      "gone",      "delivered"};
const char *const trace_source_names[TRACE_SOURCES] = {"queue", "memory", "log"};

void trace_rows_init(struct trace_rows *rows, int64_t looked_ms)
{
    *rows = (struct trace_rows){.rows = table_create(), .looked_ms = looked_ms};
}

void trace_rows_clear(struct trace_rows *rows)
{
    struct trace_row *row;
    size_t at = 0;

    while ((row = table_next(rows->rows, &at)) != NULL) {
        table_remove(rows->rows, str_of(row->inbox));
        free(row->inbox);
        free(row->host);
        free(row->lane);
        free(row->error);
        free(row->machine);
        free(row);
    }
    table_destroy(rows->rows);
}

/* NULL: there are too many already. */
static struct trace_row *row_of(struct trace_rows *rows, struct str given)
{
    struct str inbox = {given.ptr, strnlen(given.ptr, given.len)}; /* as str_of will see it */
    struct trace_row *row = table_get(rows->rows, inbox);
    struct url url;

    if (row != NULL)
        return row;
    if (table_count(rows->rows) >= TRACE_MAX_ROWS) {
        rows->cut = true;
        return NULL;
    }
    row = mem_alloc(sizeof(*row));
    row->inbox = str_dup(inbox);
    bool has_url = url_parse(&url, inbox, NULL) == FP_OK;
    row->host = str_dup(has_url ? url.host : STR_NULL);
    row->lane = str_dup(has_url ? url.authority : STR_NULL);
    if (has_url)
        url_clear(&url);
    row->state = TRACE_STATES;
    table_put(rows->rows, str_of(row->inbox), row);
    return row;
}

static void set_text(char **text, struct str value)
{
    free(*text);
    *text = value.len > 0 ? str_dup(value) : NULL;
}

void trace_rows_add_job(struct trace_rows *rows, const struct trace_job *job)
{
    static const enum trace_state states[TRACE_PLACES] = {
        [TRACE_PUSH] = TRACE_WAITING,       [TRACE_PULL] = TRACE_WAITING,
        [TRACE_HELD] = TRACE_WAITING,       [TRACE_RETRY] = TRACE_RETRIED,
        [TRACE_SCHEDULE] = TRACE_SCHEDULED, [TRACE_DEAD] = TRACE_IN_DEAD};
    struct trace_row *row = row_of(rows, job->inbox);

    if (row == NULL)
        return;
    row->has_job = true;
    row->state = states[job->place];
    row->source = TRACE_BY_JOB;
    row->due_s = job->place == TRACE_RETRY || job->place == TRACE_SCHEDULE ? job->due_s : 0;
    if (job->place == TRACE_DEAD)
        row->at_ms = (int64_t)(job->due_s * 1000);
    row->queue = job->place == TRACE_PUSH ? "push" : job->place == TRACE_PULL ? "pull" : NULL;
    row->failures = job->failures;
    set_text(&row->error, job->error);
    set_text(&row->machine, job->machine);
}

/* --- what machines remember, and what logs say --- */

struct outcome {
    enum trace_source source;
    enum trace_state state;
    int64_t status;
    int64_t at_ms;
    int64_t failures;
    struct str inbox;
    struct str machine;
    struct str error;
};

static struct str word(struct str *rest)
{
    size_t end = str_find(*rest, ' ');
    struct str found = {rest->ptr, end};

    *rest = str_slice(*rest, end + 1);
    return found;
}

static bool parse_state(struct str name, enum trace_state *state)
{
    static const struct {
        const char *name;
        enum trace_state state;
    } names[] = {{"delivered", TRACE_DELIVERED}, {"retried", TRACE_RETRIED},
                 {"rejected", TRACE_REJECTED},   {"exhausted", TRACE_EXHAUSTED},
                 {"waiting", TRACE_WAITING},     {"in_flight", TRACE_IN_FLIGHT}};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (str_equal(name, str_of(names[i].name))) {
            *state = names[i].state;
            return true;
        }
    }
    return false;
}

static bool parse_line(struct str line, struct outcome *outcome)
{
    bool good = parse_state(word(&line), &outcome->state) &&
                str_to_i64(word(&line), 0, 999, &outcome->status) &&
                str_to_i64(word(&line), 0, INT64_MAX, &outcome->at_ms);

    outcome->inbox = line;
    return good && line.len > 0;
}

/* Failed, and nothing ended it. */
static bool is_open_end(enum trace_state state)
{
    return state == TRACE_RETRIED || state == TRACE_GONE;
}

static void take_state(struct trace_row *row, const struct outcome *outcome)
{
    /* A memory has no words: those of a log stay true while it comes to the same. */
    bool same =
        outcome->state == row->state || (is_open_end(outcome->state) && is_open_end(row->state));

    if (!same || outcome->error.len > 0) {
        row->failures = outcome->failures;
        set_text(&row->error, outcome->error);
    }
    row->has_job = false;
    row->state = outcome->state;
    row->source = outcome->source;
    row->due_s = 0;
    row->queue = NULL;
    set_text(&row->machine, outcome->machine);
}

/* Held or on its way is newer than any outcome. An outcome ends what was seen of a job when it came
 * after the look began; of two outcomes the later one counts. */
static void take_outcome(struct trace_rows *rows, const struct outcome *outcome)
{
    struct trace_row *row = row_of(rows, outcome->inbox);

    if (row == NULL)
        return;
    bool present = outcome->state == TRACE_WAITING || outcome->state == TRACE_IN_FLIGHT;
    bool ends = !is_open_end(outcome->state);
    if (present) {
        row->has_job = true;
        row->state = outcome->state;
        row->source = outcome->source;
        row->queue = NULL;
        set_text(&row->machine, outcome->machine);
        return;
    }
    if (outcome->at_ms < row->at_ms)
        return;
    row->at_ms = outcome->at_ms;
    row->status = outcome->status;
    if (!row->has_job || (ends && outcome->at_ms >= rows->looked_ms))
        take_state(row, outcome);
}

void trace_rows_add_logged(struct trace_rows *rows, const struct trace_logged *logged)
{
    static const enum trace_state states[HEALTH_RESULTS] = {[HEALTH_DELIVERED] = TRACE_DELIVERED,
                                                            [HEALTH_RETRIED] = TRACE_GONE,
                                                            [HEALTH_REJECTED] = TRACE_REJECTED,
                                                            [HEALTH_EXHAUSTED] = TRACE_EXHAUSTED};
    const struct outcome outcome = {.source = TRACE_BY_LOG,
                                    .state = states[logged->result],
                                    .status = logged->status,
                                    .at_ms = logged->at_ms,
                                    .failures =
                                        logged->result != HEALTH_DELIVERED ? logged->attempt : 0,
                                    .inbox = logged->inbox,
                                    .machine = logged->machine,
                                    .error = logged->error};
    take_outcome(rows, &outcome);
}

void trace_rows_add_answer(struct trace_rows *rows, struct str machine, struct str words)
{
    while (words.len > 0) {
        size_t end = str_find(words, '\n');
        struct str line = {words.ptr, end};
        struct outcome outcome = {.source = TRACE_BY_MEMORY, .machine = machine};
        if (str_starts_with(line, STR("more ")))
            rows->cut = true;
        else if (parse_line(line, &outcome))
            take_outcome(rows, &outcome);
        words = str_slice(words, end + 1);
    }
}

static int by_trouble(const void *a, const void *b)
{
    const struct trace_row *one = *(const struct trace_row *const *)a;
    const struct trace_row *other = *(const struct trace_row *const *)b;

    if (one->state != other->state)
        return one->state < other->state ? -1 : 1;
    return strcmp(one->inbox, other->inbox);
}

struct trace_row **trace_rows_sorted(const struct trace_rows *rows, size_t *count)
{
    struct trace_row **sorted;
    size_t at = 0;

    *count = table_count(rows->rows);
    sorted = mem_alloc((*count + 1) * sizeof(struct trace_row *));
    for (size_t i = 0; i < *count; i++)
        sorted[i] = table_next(rows->rows, &at);
    qsort(sorted, *count, sizeof(struct trace_row *), by_trouble);
    return sorted;
}
