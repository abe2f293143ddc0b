#include "worker/rehearse.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/report.h"
#include "admin/survey.h"
#include "admin/words.h"
#include "base/secret.h"
#include "worker/rehearsal.h"
#include "worker/trial_show.h"

enum { DEFAULT_SAMPLE = 20, MAX_WATCH_S = 3600 };

struct wishes {
    int64_t sample;
    int64_t watch_s; /* 0: don't */
    bool json;
};

static bool read_arguments(struct wishes *wishes, int argc, char **argv)
{
    *wishes = (struct wishes){.sample = DEFAULT_SAMPLE};
    for (int i = 0; i < argc; i++) {
        struct str value = str_of(i + 1 < argc ? argv[i + 1] : NULL);
        bool good = false;
        if (strcmp(argv[i], "--json") == 0) {
            wishes->json = good = true;
        } else if (strcmp(argv[i], "--sample") == 0) {
            good = str_to_i64(value, 1, SAMPLE_MAX, &wishes->sample);
            i++;
        } else if (strcmp(argv[i], "--watch") == 0) {
            good = str_to_i64(value, 1, MAX_WATCH_S, &wishes->watch_s);
            i++;
        }
        if (!good) {
            words_unknown("rehearse", argv[i < argc ? i : argc - 1]);
            return false;
        }
    }
    return true;
}

/* --- before: what is looked at --- */

static bool take_sample(struct rehearsal *r, const struct wishes *wishes, struct err *err)
{
    if (!sample_waiting(r->sample, r->session, err) ||
        (wishes->watch_s > 0 &&
         !sample_passing(r->sample, r->session, (unsigned)wishes->watch_s, err)))
        return false;
    r->postgres = session_postgres(r->session, POSTGRES_ROLE_MASTODON, err);
    if (r->postgres == NULL)
        rehearsal_problem(r, "PostgreSQL", "%s: fedpush check", err->message);
    else if (!sample_pairs(r->sample, r->session, r->postgres, err))
        rehearsal_problem(r, "pairs",
                          "%s: no senders and inboxes were drawn (it needs SELECT on users and "
                          "accounts)",
                          err->message);
    return true;
}

/* What is handed off must find somebody. */
static void need_consumers(struct rehearsal *r, int64_t consumers, const char *queue,
                           const char *setting)
{
    if (consumers == 0)
        rehearsal_problem(r, "hand-off",
                          "no live Sidekiq process serves queue %s: start one with -q %s, or set "
                          "%s",
                          queue, queue, setting);
}

static void look_at_consumers(struct rehearsal *r)
{
    const struct config *config = r->session->config;
    struct survey *survey = mem_alloc(sizeof(*survey));
    struct err err;

    if (!survey_take(survey, r->session, &err)) {
        rehearsal_problem(r, "Redis", "%s: fedpush check", err.message);
    } else {
        need_consumers(r, survey->handoff_consumers, config->handoff_queue,
                       "FEDPUSH_HANDOFF_QUEUE");
        if (config_takes_pull(config))
            need_consumers(r, survey->handoff_pull_consumers, config->handoff_queue_pull,
                           "FEDPUSH_HANDOFF_QUEUE_PULL");
    }
    free(survey);
}

/* --- after: for people --- */

static void print_classes(const struct sample *s)
{
    if (s->seen == 0) {
        words_print(
            stdout,
            "No job waited or passed: with --watch SECONDS you see what share must be handed off.");
        return;
    }
    words_print(stdout, "Of %" PRIu64 " jobs seen:", s->seen);
    for (size_t i = 0; i < s->class_count; i++) {
        const struct sample_class *class = &s->classes[i];
        double share = 100.0 * (double)(class->native + class->handed_off) / (double)s->seen;
        if (class->handed_off == 0)
            words_print(stdout, "  %5.1f %%  %.60s: native", share, class->name);
        else if (class->native == 0)
            words_print(stdout, "  %5.1f %%  %.60s: handed off (%s)", share, class->name,
                        class->reason);
        else
            words_print(stdout,
                        "  %5.1f %%  %.60s: %" PRIu64 " native, %" PRIu64 " handed off (%s)", share,
                        class->name, class->native, class->handed_off, class->reason);
    }
}

static void print_summary(const struct rehearsal *r)
{
    struct report report = {.worst = GRADE_OK};

    puts("");
    words_print(stdout,
                "%zu looked at: %zu would be delivered, %zu handed off, %zu skipped (unavailable), "
                "%zu retried, %zu dropped, %zu dead, %zu broken",
                r->sample->count, rehearsal_count(r, FATE_DELIVER),
                rehearsal_count(r, FATE_HANDOFF), rehearsal_count(r, FATE_SKIP),
                rehearsal_count(r, FATE_RETRY), rehearsal_count(r, FATE_DROP),
                rehearsal_count(r, FATE_DEAD), rehearsal_count(r, FATE_BROKEN));
    print_classes(r->sample);
    for (size_t i = 0; i < r->problem_count; i++)
        report_line(&report, GRADE_FAIL, r->problems[i].subject, "%s", r->problems[i].text);
    if (r->problem_count == 0)
        puts("Nothing is wrong. Nothing was taken, sent or written.");
}

/* --- after: for programs --- */

static void put_classes(struct buf *out, const struct sample *s)
{
    for (size_t i = 0; i < s->class_count; i++) {
        const struct sample_class *class = &s->classes[i];
        buf_put_str(out, i > 0 ? STR(",\n  {\"class\":") : STR("\n  {\"class\":"));
        json_put_string(out, str_of(class->name));
        buf_printf(out,
                   ",\"native\":%" PRIu64 ",\"handed_off\":%" PRIu64 ",\"reason\":", class->native,
                   class->handed_off);
        if (class->reason != NULL)
            json_put_string(out, str_of(class->reason));
        else
            buf_put_str(out, STR("null"));
        buf_put_char(out, '}');
    }
}

static void put_summary(struct buf *out, const struct rehearsal *r)
{
    buf_printf(out, "\"looked_at\":%zu,\"seen\":%" PRIu64, r->sample->count, r->sample->seen);
    for (int fate = 0; fate < FATES; fate++)
        buf_printf(out, ",\"%s\":%zu", trial_fate_name((enum trial_fate)fate),
                   rehearsal_count(r, (enum trial_fate)fate));
}

static void put_problems(struct buf *out, const struct rehearsal *r)
{
    for (size_t i = 0; i < r->problem_count; i++) {
        buf_printf(out, "%s\n  {\"subject\":\"%s\",\"text\":", i > 0 ? "," : "",
                   r->problems[i].subject);
        json_put_string(out, str_of(r->problems[i].text));
        buf_put_char(out, '}');
    }
}

static void print_json(const struct rehearsal *r)
{
    struct buf out;

    buf_init(&out, SIZE_MAX);
    buf_put_str(&out, STR("{\"jobs\":["));
    for (size_t i = 0; i < r->sample->count; i++) {
        buf_put_str(&out, i > 0 ? STR(",\n  ") : STR("\n  "));
        trial_put_json(&out, &r->sample->trials[i], r->session->config);
    }
    buf_put_str(&out, STR("],\n \"classes\":["));
    put_classes(&out, r->sample);
    buf_put_str(&out, STR("],\n \"summary\":{"));
    put_summary(&out, r);
    buf_put_str(&out, STR("},\n \"problems\":["));
    put_problems(&out, r);
    buf_put_str(&out, STR("]}"));
    buf_put_char(&out, '\n');
    words_made(buf_str(&out));
    buf_clear(&out);
}

/* --- the command --- */

static int rehearse(struct session *session, const struct wishes *wishes)
{
    struct sample *sample = mem_alloc(sizeof(*sample));
    struct rehearsal *r = mem_alloc(sizeof(*r));
    int code = FP_EXIT_UNAVAILABLE;
    struct err err;

    *r = (struct rehearsal){.session = session, .sample = sample};
    sample_init(sample, (size_t)wishes->sample);
    if (!take_sample(r, wishes, &err)) {
        session_fail(&err, code);
    } else {
        look_at_consumers(r);
        rehearsal_run(r);
        for (size_t i = 0; i < sample->count && !wishes->json; i++)
            trial_print(&sample->trials[i], session->config);
        if (wishes->json)
            print_json(r);
        else
            print_summary(r);
        code = r->problem_count == 0 ? FP_EXIT_OK : FP_EXIT_FAILURE;
    }
    sample_clear(sample);
    free(sample);
    free(r);
    return code;
}

int command_rehearse(const struct config *config, int argc, char **argv)
{
    struct wishes wishes;
    struct session session;
    struct err err;

    if (!read_arguments(&wishes, argc, argv))
        return FP_EXIT_USAGE;
    process_harden();
    int code = session_open(&session, config, &err) ? rehearse(&session, &wishes)
                                                    : session_fail(&err, FP_EXIT_CONFIG);
    session_close(&session);
    return code;
}
