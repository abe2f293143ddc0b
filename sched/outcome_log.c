#include "sched/outcome_log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/log_line.h"
#include "base/network.h"
#include "base/table.h"
#include "sched/recent.h"

enum {
    WAIT_MS = 1000,
    GROUP_BYTES = 2600, /* of inboxes: the whole line has 4,096 */
    GROUP_FIELDS = 5,   /* beside inboxes */
    FIELD_BYTES = 9,    /* ` inbox=""` */
    KEY_BYTES = 16,     /* a status and a blank */
    MAX_INBOXES = 100,
};

const char *const outcome_names[HEALTH_RESULTS] = {[HEALTH_DELIVERED] = "delivered",
                                                   [HEALTH_RETRIED] = "retried",
                                                   [HEALTH_REJECTED] = "rejected",
                                                   [HEALTH_EXHAUSTED] = "exhausted"};

struct group {
    TAILQ_ENTRY(group) entry;
    char *key;            /* status and activity */
    const char *activity; /* in it */
    char *machine;
    unsigned status;
    int64_t since_ms; /* monotonic: its first one */
    int64_t at_ms;    /* Unix: its latest one */
    size_t count;
    size_t bytes; /* that its inboxes take in the line */
    char *inboxes[MAX_INBOXES];
};
TAILQ_HEAD(group_list, group);

struct outcome_log {
    char *which;
    struct table *groups;     /* by their keys */
    struct group_list oldest; /* first */
    int64_t second;           /* monotonic: that `lines` were written in */
    unsigned lines;
    uint64_t left_out; /* deliveries */
};

struct outcome_log *outcome_log_create(const char *which)
{
    struct outcome_log *log = mem_alloc(sizeof(*log));

    log->which = str_dup(str_of(which));
    log->groups = table_create();
    TAILQ_INIT(&log->oldest);
    return log;
}

void outcome_log_configure(struct outcome_log *log, const char *which)
{
    free(log->which);
    log->which = str_dup(str_of(which));
}

static void remove_group(struct outcome_log *log, struct group *group)
{
    table_remove(log->groups, str_of(group->key));
    TAILQ_REMOVE(&log->oldest, group, entry);
    while (group->count > 0)
        free(group->inboxes[--group->count]);
    free(group->key);
    free(group->machine);
    free(group);
}

void outcome_log_destroy(struct outcome_log *log)
{
    struct group *group;

    if (log == NULL)
        return;
    while ((group = TAILQ_FIRST(&log->oldest)) != NULL)
        remove_group(log, group);
    table_destroy(log->groups);
    free(log->which);
    free(log);
}

/* --- the bound --- */

static void tell_gap(struct outcome_log *log)
{
    if (log->left_out > 0)
        log_event(LOG_LEVEL_INFO, OUTCOME_LOG_GAP, LOG_INT("deliveries", log->left_out));
    log->left_out = 0;
}

static void begin_second(struct outcome_log *log, int64_t now_ms)
{
    if (now_ms / 1000 == log->second)
        return;
    log->second = now_ms / 1000;
    log->lines = 0;
    tell_gap(log);
}

/* Whether a line about so many deliveries may be written. */
static bool may_write(struct outcome_log *log, unsigned limit, size_t deliveries, int64_t now_ms)
{
    begin_second(log, now_ms);
    if (log->lines < limit) {
        log->lines++;
        return true;
    }
    log->left_out += deliveries;
    return false;
}

/* --- names --- */

/* Empty when the log would cut it. */
static struct str name_that_fits(struct str name)
{
    struct buf line;

    if (name.len > OUTCOME_LOG_NAME_BYTES)
        return STR_NULL;
    buf_init(&line, OUTCOME_LOG_NAME_BYTES);
    log_line_put_value(&line, name);
    bool fits = !line.overflow;
    buf_clear(&line);
    return fits ? name : STR_NULL;
}

static struct str inbox_of(const struct claim *claim)
{
    return name_that_fits(claim->has_url ? claim->url.text : claim->job.inbox_url);
}

static bool is_asked_for(const struct outcome_log *log, struct str host)
{
    struct str rest = str_of(log->which);
    struct str word;

    while ((word = network_next_word(&rest)).len > 0) {
        bool below = str_starts_with(word, STR("*.")) && str_ends_with(host, str_slice(word, 1));
        if (below || str_equal(word, host) || str_equal(word, STR("all")))
            return true;
    }
    return false;
}

/* --- lines of their own --- */

static void write_alone(struct outcome_log *log, const struct logged_outcome *outcome,
                        int64_t now_ms)
{
    const struct claim *claim = outcome->claim;
    bool delivered = outcome->result == HEALTH_DELIVERED;
    enum log_level level = delivered ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
    unsigned limit = delivered ? OUTCOME_LOG_LINES / 2 : OUTCOME_LOG_LINES;
    char text[RECENT_MAX_ID_BYTES];

    if (!log_wants(level) || !may_write(log, limit, 1, now_ms))
        return;
    char *error = health_clean_error(outcome->error);
    log_event(level, delivered ? "delivered" : "delivery failed",
              LOG_TEXT("outcome", outcome_names[outcome->result]),
              LOG_INT("at_ms", outcome->wall_us / 1000), LOG_STR("machine", outcome->machine),
              LOG_TEXT("job", claim->job.jid), LOG_INT("attempt", claim->job.retry_count + 2),
              LOG_INT("status", outcome->status), LOG_INT("ms", outcome->total_ms),
              LOG_STR("activity", name_that_fits(recent_id_of_job(&claim->job, text))),
              LOG_STR("inbox", inbox_of(claim)), LOG_TEXT("err", error));
    free(error);
}

/* --- those of one activity together --- */

static void write_group(struct outcome_log *log, struct group *group, unsigned limit,
                        int64_t now_ms)
{
    struct log_field fields[GROUP_FIELDS + MAX_INBOXES] = {
        LOG_TEXT("outcome", outcome_names[HEALTH_DELIVERED]), LOG_INT("at_ms", group->at_ms),
        LOG_TEXT("machine", group->machine), LOG_INT("status", group->status),
        LOG_TEXT("activity", group->activity)};

    for (size_t i = 0; i < group->count; i++)
        fields[GROUP_FIELDS + i] = LOG_TEXT("inbox", group->inboxes[i]);
    if (may_write(log, limit, group->count, now_ms))
        log_write(LOG_LEVEL_INFO, "delivered", fields, GROUP_FIELDS + group->count);
    remove_group(log, group);
}

/* One that has room for this inbox; when there are too many, the oldest one goes. */
static struct group *group_for(struct outcome_log *log, const struct logged_outcome *outcome,
                               struct str activity, size_t inbox_bytes, int64_t now_ms)
{
    char *key = mem_printf("%-*u%.*s", KEY_BYTES, outcome->status, STR_ARG(activity));
    struct group *group = table_get(log->groups, str_of(key));

    if (group != NULL &&
        (group->count == MAX_INBOXES || group->bytes + inbox_bytes > GROUP_BYTES)) {
        write_group(log, group, OUTCOME_LOG_LINES, now_ms);
        group = NULL;
    }
    if (group != NULL) {
        free(key);
        return group;
    }
    if (table_count(log->groups) == OUTCOME_LOG_GROUPS)
        write_group(log, TAILQ_FIRST(&log->oldest), OUTCOME_LOG_LINES, now_ms);
    group = mem_alloc(sizeof(*group));
    group->key = key;
    group->activity = key + KEY_BYTES;
    group->machine = str_dup(outcome->machine);
    group->status = outcome->status;
    group->since_ms = now_ms;
    table_put(log->groups, str_of(key), group);
    TAILQ_INSERT_TAIL(&log->oldest, group, entry);
    return group;
}

static void collect(struct outcome_log *log, const struct logged_outcome *outcome, int64_t now_ms)
{
    char text[RECENT_MAX_ID_BYTES];
    struct str activity = name_that_fits(recent_id_of_job(&outcome->claim->job, text));
    struct str inbox = inbox_of(outcome->claim);

    if (activity.len == 0 || inbox.len == 0)
        return;
    struct group *group = group_for(log, outcome, activity, inbox.len + FIELD_BYTES, now_ms);
    group->at_ms = outcome->wall_us / 1000;
    group->inboxes[group->count++] = str_dup(inbox);
    group->bytes += inbox.len + FIELD_BYTES;
}

void outcome_log_add(struct outcome_log *log, const struct logged_outcome *outcome, int64_t now_ms)
{
    bool together = outcome->result == HEALTH_DELIVERED && log_wants(LOG_LEVEL_INFO) &&
                    is_asked_for(log, outcome->claim->url.host);

    if (together)
        collect(log, outcome, now_ms);
    else
        write_alone(log, outcome, now_ms);
}

/* Beyond the bound they go on waiting, and on collecting. */
void outcome_log_tick(struct outcome_log *log, int64_t now_ms)
{
    struct group *group;

    begin_second(log, now_ms);
    while ((group = TAILQ_FIRST(&log->oldest)) != NULL && now_ms - group->since_ms >= WAIT_MS &&
           log->lines < OUTCOME_LOG_LINES)
        write_group(log, group, OUTCOME_LOG_LINES, now_ms);
}

void outcome_log_flush(struct outcome_log *log, int64_t now_ms)
{
    struct group *group;

    while ((group = TAILQ_FIRST(&log->oldest)) != NULL)
        write_group(log, group, OUTCOME_LOG_LINES + OUTCOME_LOG_GROUPS, now_ms);
    tell_gap(log);
}
