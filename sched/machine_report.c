#include "sched/machine_report.h"

#include <inttypes.h>

#include "base/json.h"

static void put_text(struct buf *out, const char *name, struct str text)
{
    buf_printf(out, ",\"%s\":", name);
    json_put_string(out, text);
}

static void put_results(struct buf *out, const uint64_t results[HEALTH_RESULTS])
{
    buf_printf(out,
               "\"delivered\":%" PRIu64 ",\"retried\":%" PRIu64 ",\"rejected\":%" PRIu64
               ",\"exhausted\":%" PRIu64,
               results[HEALTH_DELIVERED], results[HEALTH_RETRIED], results[HEALTH_REJECTED],
               results[HEALTH_EXHAUSTED]);
}

static void put_load(struct buf *out, const struct machine_report *r)
{
    buf_printf(out,
               ",\"workers\":%u,\"in_flight\":%u,\"slots\":%u,\"held\":%zu,\"waiting\":%u,"
               "\"lookahead\":%u,\"lanes\":%u,\"open_circuits\":%u,\"keys_waiting\":%u,"
               "\"lag_ms\":%" PRIu32,
               r->workers, r->in_flight, r->slots, r->held, r->waiting, r->lookahead, r->lanes,
               r->open_circuits, r->keys_waiting, r->lag_ms);
    if (r->cores < 0)
        buf_put_str(out, STR(",\"cpu\":null"));
    else
        buf_printf(out, ",\"cpu\":%.3f", r->cores);
    if (r->rss_bytes < 0)
        buf_put_str(out, STR(",\"rss_bytes\":null"));
    else
        buf_printf(out, ",\"rss_bytes\":%" PRId64, r->rss_bytes);
}

static void put_counts(struct buf *out, const struct machine_report *r)
{
    buf_printf(out, ",\"dns_failures\":%" PRIu64 ",\"recent\":{\"seconds\":%d,",
               r->counts->unresolved, COUNTS_RECENT_S);
    put_results(out, r->recent);
    buf_put_str(out, STR("},\"totals\":{"));
    put_results(out, r->counts->results);
    buf_printf(out, ",\"handed_off\":%" PRIu64 ",\"sent_bytes\":%" PRIu64 "},\"latency\":[",
               r->handed_off, r->counts->sent_bytes);
    for (unsigned i = 0; i < COUNTS_BUCKETS; i++)
        buf_printf(out, i == 0 ? "%" PRIu64 : ",%" PRIu64, r->counts->latency[i]);
    buf_put_char(out, ']');
}

void machine_report_put(struct buf *out, const struct machine_report *r)
{
    buf_printf(out, "{\"v\":1,\"at\":%" PRId64 ".%03d", r->at_ms / 1000, (int)(r->at_ms % 1000));
    put_text(out, "host", r->host);
    put_text(out, "version", STR(FEDPUSH_VERSION));
    put_text(out, "mastodon", str_of(r->mastodon));
    put_text(out, "sidekiq", r->sidekiq);
    put_text(out, "state", str_of(r->state));
    buf_printf(out, ",\"suspicious\":%s,\"started_at\":%" PRId64 ".%03d",
               r->suspicious ? "true" : "false", r->started_ms / 1000, (int)(r->started_ms % 1000));
    put_load(out, r);
    put_counts(out, r);
    if (r->postgres[0] == '\0')
        buf_put_str(out, STR(",\"postgres\":null"));
    else
        put_text(out, "postgres", str_of(r->postgres));
    buf_put_char(out, '}');
}
