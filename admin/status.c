#include <stdio.h>
#include <stdlib.h>

#include "admin/commands.h"
#include "admin/report.h"
#include "admin/survey.h"
#include "admin/words.h"

enum { OLD_S = 60 };

static void show_redis(struct report *report, const struct redis *redis)
{
    struct buf where;

    buf_init(&where, 512);
    redis_describe(redis, &where);
    report_line(report, GRADE_OK, "Redis", "%s", buf_cstr(&where));
    buf_clear(&where);
}

static void show_machines(struct report *report, const struct survey *s)
{
    for (size_t i = 0; i < s->identity_count; i++) {
        const struct survey_identity *identity = &s->identities[i];
        struct buf name;
        buf_init(&name, 512);
        words_put_safe(&name, str_of(identity->name), 80);
        if (identity->beat_age_s <= 60)
            report_line(report, identity->beat_age_s <= 30 ? GRADE_OK : GRADE_WARN, "machine",
                        "%s beat %.0f s ago, holds %lld jobs", buf_cstr(&name),
                        identity->beat_age_s, (long long)identity->claims);
        else
            report_line(report, GRADE_WARN, "machine",
                        "%s is dead and holds %lld jobs: fedpush handback", buf_cstr(&name),
                        (long long)identity->claims);
        buf_clear(&name);
    }
    if (s->live == 0)
        report_line(report, s->push_consumers > 0 ? GRADE_WARN : GRADE_FAIL, "machines",
                    "no fedpush is running: %s",
                    s->push_consumers > 0 ? "Ruby's workers serve push; systemctl start fedpush"
                                          : "nobody serves push; systemctl start fedpush");
}

static void show_queues(struct report *report, const struct survey *s, const struct config *config)
{
    struct buf age;

    buf_init(&age, 64);
    words_put_age(&age, s->push_age_s);
    report_line(report, s->push_age_s > OLD_S ? GRADE_WARN : GRADE_OK, "push",
                "%lld jobs wait, the oldest for %s%s", (long long)s->push_length, buf_cstr(&age),
                s->push_age_s > OLD_S ? ": fedpush stats" : "");
    report_line(report, GRADE_OK, "later", "%lld in retry, %lld scheduled, %lld dead",
                (long long)s->retry_count, (long long)s->schedule_count, (long long)s->dead_count);
    if (s->handoff_consumers > 0)
        report_line(report, GRADE_OK, "hand-off",
                    "queue %s: %lld jobs, served by %lld Sidekiq processes", config->handoff_queue,
                    (long long)s->handoff_length, (long long)s->handoff_consumers);
    else
        report_line(report, GRADE_FAIL, "hand-off",
                    "no live Sidekiq process serves queue %s (%lld jobs wait): start one with -q "
                    "%s, or set "
                    "FEDPUSH_HANDOFF_QUEUE",
                    config->handoff_queue, (long long)s->handoff_length, config->handoff_queue);
    buf_clear(&age);
}

struct health_age {
    bool known;
    double seconds;
};

static void on_age(void *arg, PGresult *result)
{
    struct health_age *age = arg;
    if (PQntuples(result) == 1 && !PQgetisnull(result, 0, 0)) {
        age->known = true;
        age->seconds = strtod(PQgetvalue(result, 0, 0), NULL);
    }
}

static void show_database(struct report *report, struct session *session)
{
    struct health_age age = {false, 0};
    struct buf text;
    struct err err;
    struct postgres *postgres = session_postgres(session, POSTGRES_ROLE_FEDPUSH, &err);

    if (postgres == NULL) {
        report_line(report, GRADE_FAIL, "PostgreSQL", "%s: fedpush check", err.message);
        return;
    }
    if (!session_query(
            session, postgres,
            "SELECT extract(epoch FROM now() - max(updated_at)) FROM fedpush.domain_health", 0,
            NULL, on_age, &age, &err)) {
        report_line(report, GRADE_FAIL, "health", "%s: fedpush setup", err.message);
        return;
    }
    buf_init(&text, 64);
    words_put_age(&text, age.seconds);
    if (age.known)
        report_line(report, GRADE_OK, "health", "last written %s ago", buf_cstr(&text));
    else
        report_line(report, GRADE_OK, "health", "nothing written yet");
    buf_clear(&text);
}

static int show(struct session *session)
{
    struct survey *survey = mem_alloc(sizeof(*survey));
    struct report report = {GRADE_OK};
    struct err err;

    if (survey_take(survey, session, &err)) {
        show_redis(&report, session->redis[REDIS_ROLE_SIDEKIQ]);
        show_machines(&report, survey);
        show_queues(&report, survey, session->config);
    } else {
        report_line(&report, GRADE_FAIL, "Redis", "%s: fedpush check", err.message);
    }
    show_database(&report, session);
    free(survey);
    return (int)report.worst;
}

int command_status(const struct config *config, int argc, char **argv)
{
    struct session session;
    struct err err;

    if (argc > 0)
        return words_unknown("status", argv[0]);
    int code =
        session_open(&session, config, &err) ? show(&session) : session_fail(&err, FP_EXIT_CONFIG);
    session_close(&session);
    return code;
}
