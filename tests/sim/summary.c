#include "tests/sim/summary.h"

#include <stdio.h>

#include "base/str.h"

static const char *const names[FIGURE_COUNT] = {
    [FIGURE_JOBS] = "jobs",
    [FIGURE_DELIVERED] = "delivered",
    [FIGURE_LOW_DELIVERED] = "low jobs delivered",
    [FIGURE_ATTEMPTS] = "attempts",
    [FIGURE_BUSIEST] = "attempts a second, most in five",
    [FIGURE_LAST_S] = "last delivery, s",
    [FIGURE_FAIRNESS] = "fairness of healthy hosts (Jain)",
    [FIGURE_MISSING] = "healthy jobs not delivered",
    [FIGURE_P50_MS] = "healthy delay p50, ms",
    [FIGURE_P90_MS] = "healthy delay p90, ms",
    [FIGURE_P99_MS] = "healthy delay p99, ms",
    [FIGURE_P999_MS] = "healthy delay p99.9, ms",
    [FIGURE_MOST_MS] = "healthy delay max, ms",
    [FIGURE_PENDING] = "still waiting",
    [FIGURE_EXHAUSTED] = "exhausted",
    [FIGURE_UNTRIED] = "exhausted untried",
    [FIGURE_EARLY] = "exhausted sooner than by Mastodon",
    [FIGURE_UNASKED] = "exhausted, host not asked then",
    [FIGURE_IN_VAIN] = "attempts at one dead host, most",
    [FIGURE_PUSHED_BACK] = "answers of 429",
    [FIGURE_PROBES] = "probes",
    [FIGURE_OPENED] = "circuits opened",
    [FIGURE_BURNT] = "retries burnt",
    [FIGURE_BURNT_HEALTHY] = "retries burnt, healthy hosts",
    [FIGURE_DOUBTS] = "failures that were our own",
    [FIGURE_OVERTAKEN] = "overtaken untried",
    [FIGURE_TOUCHED_MEAN] = "touched, mean",
    [FIGURE_TOUCHED_MOST] = "touched, most",
    [FIGURE_CALLS] = "Redis calls",
    [FIGURE_COMMANDS] = "Redis commands",
};

const char *summary_name(enum figure figure)
{
    return names[figure];
}

static double fairness(const struct hosts *hosts)
{
    double sum = 0;
    double squares = 0;
    double count = 0;

    for (uint32_t i = 0; i < hosts->count; i++) {
        const struct sim_host *host = &hosts->list[i];
        unsigned jobs = host->delivered + host->missing;
        if (!host->watched || jobs == 0)
            continue;
        double speed = host->delivered > 0 ? 1 / (1 + host->waited_ms / jobs / 1000) : 0;
        sum += speed;
        squares += speed * speed;
        count++;
    }
    return squares > 0 ? sum * sum / (count * squares) : 0;
}

static void sum_hosts(struct summary *summary, const struct hosts *hosts)
{
    for (uint32_t i = 0; i < hosts->count; i++) {
        const struct sim_host *host = &hosts->list[i];
        summary->of[FIGURE_PUSHED_BACK] += host->pushed_back;
        summary->of[FIGURE_MISSING] += host->watched ? host->missing : 0;
        if (host->in_vain > summary->of[FIGURE_IN_VAIN])
            summary->of[FIGURE_IN_VAIN] = host->in_vain;
    }
    summary->of[FIGURE_FAIRNESS] = fairness(hosts);
}

static void sum_jobs(struct summary *summary, const struct jobs *jobs)
{
    double touched = 0;

    for (uint32_t i = 0; i < jobs->count; i++) {
        const struct sim_job *job = &jobs->list[i];
        touched += job->touched;
        if (job->touched > summary->of[FIGURE_TOUCHED_MOST])
            summary->of[FIGURE_TOUCHED_MOST] = job->touched;
    }
    summary->of[FIGURE_JOBS] = jobs->count;
    summary->of[FIGURE_TOUCHED_MEAN] = jobs->count > 0 ? touched / jobs->count : 0;
}

static void take_tally(struct summary *summary, const struct tally *tally)
{
    double *of = summary->of;

    of[FIGURE_DELIVERED] = (double)tally->delivered;
    of[FIGURE_EXHAUSTED] = (double)tally->exhausted;
    of[FIGURE_P50_MS] = (double)delays_at(&tally->healthy, 0.5);
    of[FIGURE_P90_MS] = (double)delays_at(&tally->healthy, 0.9);
    of[FIGURE_P99_MS] = (double)delays_at(&tally->healthy, 0.99);
    of[FIGURE_P999_MS] = (double)delays_at(&tally->healthy, 0.999);
    of[FIGURE_MOST_MS] = (double)tally->healthy.most_ms;
    of[FIGURE_LOW_DELIVERED] = (double)tally->low.count;
    of[FIGURE_ATTEMPTS] = (double)tally->attempts;
    of[FIGURE_BUSIEST] = (double)tally->most_in_span / TALLY_SPAN_S;
    of[FIGURE_PROBES] = (double)tally->probes;
    of[FIGURE_OPENED] = (double)tally->opened;
    of[FIGURE_BURNT] = (double)tally->burnt;
    of[FIGURE_BURNT_HEALTHY] = (double)tally->burnt_healthy;
    of[FIGURE_DOUBTS] = (double)tally->doubts;
    of[FIGURE_UNTRIED] = (double)tally->untried;
    of[FIGURE_EARLY] = (double)tally->early;
    of[FIGURE_UNASKED] = (double)tally->unasked;
    of[FIGURE_OVERTAKEN] = (double)tally->overtaken;
    if (tally->delivered > 0)
        of[FIGURE_LAST_S] = (double)(tally->last_ms - world_at_ms(0)) / 1000;
}

void summary_make(struct summary *summary, const struct world *world)
{
    *summary = (struct summary){{0}};
    sum_hosts(summary, &world->hosts);
    sum_jobs(summary, &world->jobs);
    take_tally(summary, &world->tally);
    summary->of[FIGURE_PENDING] = world_pending(world);
    summary->of[FIGURE_CALLS] = (double)world->store.calls;
    summary->of[FIGURE_COMMANDS] = (double)world->store.commands;
}

void summary_worsen(struct summary *worst, const struct summary *summary)
{
    for (int figure = FIGURE_JOBS; figure < FIGURE_COUNT; figure++) {
        bool more = summary->of[figure] > worst->of[figure];
        if (more == (figure >= FIGURE_FIRST_COST))
            worst->of[figure] = summary->of[figure];
    }
}

static void put_number(struct buf *out, double value)
{
    if (value == (double)(int64_t)value)
        buf_printf(out, " %14.0f", value);
    else
        buf_printf(out, " %14.3f", value);
}

void summary_print(const struct summary *summary, const struct summary *other)
{
    struct buf out;

    buf_init(&out, (size_t)16 * 1024);
    buf_printf(&out, "  %-34s %14s %14s\n", "", "fedpush", other != NULL ? "incumbent" : "");
    for (int figure = FIGURE_JOBS; figure < FIGURE_COUNT; figure++) {
        buf_printf(&out, "  %-34s", names[figure]);
        put_number(&out, summary->of[figure]);
        if (other != NULL)
            put_number(&out, other->of[figure]);
        buf_put_char(&out, '\n');
    }
    fputs(buf_cstr(&out), stdout);
    buf_clear(&out);
}
