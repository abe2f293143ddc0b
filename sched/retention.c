#include "sched/retention.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "sched/history_sql.h"

enum {
    EACH_MS = 3600000,
    FIRST_MS = 300000, /* machines that start together don't do it together */
    PAUSE_MS = 50,     /* between two statements: health and orders go first */
    DEADLINE_MS = 5000,
};

struct retention {
    const struct clock *clock;
    const struct rng *rng;
    struct postgres *postgres;
    int days;
    unsigned step; /* of steps */
    bool running;
    int64_t next_ms;
    struct loop_timer *timer;
    loop_fn *done;
    void *arg;
};

/* The lock ends with the statement; who doesn't get it finds nothing to do. */
#define TURN "turn AS (SELECT pg_try_advisory_xact_lock(8316293742) AS mine)"
#define REMOVE(table, time, age)                                                                   \
    "WITH " TURN ", old AS (SELECT ctid FROM fedpush." table " WHERE " time " < now() - " age      \
    " AND (SELECT mine FROM turn) ORDER BY " time " LIMIT $2 FOR UPDATE SKIP LOCKED),"             \
    " gone AS (DELETE FROM fedpush." table " WHERE ctid IN (SELECT ctid FROM old) AND"             \
    " $1::integer > 0 RETURNING 1) SELECT count(*) FROM gone"
/* Past the latest RETENTION_AUDIT_ROWS. */
#define REMOVE_SURPLUS_AUDIT                                                                       \
    "WITH " TURN ", old AS (SELECT ctid FROM fedpush.audit WHERE at < (SELECT at FROM"             \
    " fedpush.audit ORDER BY at DESC OFFSET 99999 LIMIT 1) AND (SELECT mine FROM turn)"            \
    " ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED),"                                               \
    " gone AS (DELETE FROM fedpush.audit WHERE ctid IN (SELECT ctid FROM old) AND"                 \
    " $1::integer > 0 RETURNING 1) SELECT count(*) FROM gone"
_Static_assert(RETENTION_AUDIT_ROWS == 100000, "the statement has one less");
#define DAYS "make_interval(days => $1)"
#define SUM(i) "sum(latency[" #i "])"
#define SUM_LATENCY HISTORY_LATENCY(SUM)

/* The hours of a host that are older than eight days become one row, or join what is there. The
 * first hour has the key that the day's row gets: it comes first, so that it is gone by then. */
#define ROLL_UP                                                                                    \
    "WITH " TURN ", old AS (SELECT ctid FROM fedpush.domain_hourly WHERE hours = 1"                \
    " AND hour < (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '8 days')"                \
    " AT TIME ZONE 'UTC' AND (SELECT mine FROM turn) ORDER BY hour LIMIT $2"                       \
    " FOR UPDATE SKIP LOCKED),"                                                                    \
    " gone AS (DELETE FROM fedpush.domain_hourly WHERE ctid IN (SELECT ctid FROM old) AND"         \
    " $1::integer > 0 RETURNING *),"                                                               \
    " days AS (INSERT INTO fedpush.domain_hourly AS t"                                             \
    " (host, hour, hours, delivered, retried, rejected, exhausted, sent_bytes, latency)"           \
    " SELECT host, date_trunc('day', hour AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', 24,"             \
    " sum(delivered), sum(retried), sum(rejected), sum(exhausted), sum(sent_bytes),"               \
    " " SUM_LATENCY "::bigint[] FROM gone GROUP BY 1, 2 ORDER BY 1, 2"                             \
    " ON CONFLICT (host, hour) DO UPDATE SET hours = 24, " HISTORY_ADD_SUMS                        \
    ") SELECT count(*) FROM gone"

static const char *const steps[] = {
    REMOVE("fleet_minutely", "minute", "interval '48 hours'"),
    REMOVE("domain_hourly", "hour", DAYS),
    ROLL_UP,
    REMOVE("fleet_hourly", "hour", DAYS),
    REMOVE("domain_error", "last_at", "interval '30 days'"),
    REMOVE("audit", "at", "interval '2 years'"),
    REMOVE_SURPLUS_AUDIT,
};
enum { STEPS = sizeof(steps) / sizeof(steps[0]) };

static void end(struct retention *r, int64_t pause_ms)
{
    loop_fn *done = r->done;

    r->running = false;
    r->done = NULL;
    r->next_ms = clock_mono_ms(r->clock) + pause_ms + (int64_t)rng_below(r->rng, FIRST_MS);
    if (done != NULL)
        done(r->arg);
}

static void on_done(void *arg, enum postgres_status status, PGresult *result, const char *message)
{
    struct retention *r = arg;

    if (status == POSTGRES_LOST) {
        end(r, 0);
        return;
    }
    if (status == POSTGRES_ERROR) {
        log_event(LOG_LEVEL_WARN, "old history can't be removed, tried again in an hour",
                  LOG_TEXT("error", message),
                  LOG_TEXT("remedy", "run `fedpush setup`, then `fedpush check`"));
        end(r, EACH_MS);
        return;
    }
    if (atoll(PQgetvalue(result, 0, 0)) < RETENTION_ROWS)
        r->step++;
    loop_timer_set(r->timer, PAUSE_MS);
}

static void on_timer(void *arg)
{
    struct retention *r = arg;
    char days[16];
    char rows[16];

    if (r->step == STEPS) {
        end(r, EACH_MS);
        return;
    }
    snprintf(days, sizeof(days), "%d", r->days);
    snprintf(rows, sizeof(rows), "%d", RETENTION_ROWS);
    const struct str parameters[] = {str_of(days), str_of(rows)};
    postgres_query(r->postgres, on_done, r, DEADLINE_MS, steps[r->step], 2, parameters);
}

void retention_run(struct retention *r, loop_fn *done, void *arg)
{
    r->running = true;
    r->step = 0;
    r->done = done;
    r->arg = arg;
    loop_timer_set(r->timer, 0);
}

void retention_tick(struct retention *r)
{
    if (!r->running && clock_mono_ms(r->clock) >= r->next_ms && postgres_is_ready(r->postgres))
        retention_run(r, NULL, NULL);
}

struct retention *retention_create(struct event_base *base, const struct clock *clock,
                                   const struct rng *rng, struct postgres *postgres, int days)
{
    struct retention *r = mem_alloc(sizeof(*r));

    r->clock = clock;
    r->rng = rng;
    r->postgres = postgres;
    r->days = days;
    r->next_ms = clock_mono_ms(clock) + (int64_t)rng_below(rng, FIRST_MS);
    r->timer = loop_timer_create(base, on_timer, r);
    return r;
}

void retention_destroy(struct retention *r)
{
    if (r == NULL)
        return;
    loop_timer_destroy(r->timer);
    free(r);
}
