/* Any payload: it is understood, handed off or malformed, and writing a failure or an enqueuing
 * into it never makes a good job bad. */
#include <assert.h>

#include "sched/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_retry(struct json *json, const struct job *job, struct str error)
{
    struct job_failure failure = {STR("push"), STR("HTTP::ConnectionError"), error,
                                  1795419278392170, job->integer_ms_times};
    struct job next;
    struct buf out;
    int64_t count;

    buf_init(&out, SIZE_MAX);
    job_put_retry(&out, json, job, &failure, &count);
    job_parse(&next, json, buf_str(&out));
    if (job->kind == JOB_DELIVERY) {
        assert(next.kind == JOB_DELIVERY);
        assert(count == job->retry_count + 1 && next.retry_count == count);
        assert(next.account_id == job->account_id);
        assert(next.bypass_availability == job->bypass_availability);
        assert(next.max_retries == job->max_retries);
        assert(str_equal(next.body_json, job->body_json));
        assert(str_equal(next.inbox_url, job->inbox_url));
        assert(next.has_failed_at || job->retry_count >= 0);
    }
    if (job->kind == JOB_MALFORMED)
        assert(next.kind == JOB_MALFORMED);
    job_clear(&next);
    buf_clear(&out);
}

static void check_enqueued(struct json *json, const struct job *job)
{
    struct job next;
    struct buf out;
    struct buf queues[2];

    buf_init(&out, SIZE_MAX);
    buf_init(&queues[0], SIZE_MAX);
    buf_init(&queues[1], SIZE_MAX);
    job_put_enqueued(&out, json, job->payload, 1795419278392170, !job->integer_ms_times);
    job_parse(&next, json, buf_str(&out));
    assert(next.kind == job->kind || job->kind == JOB_HANDOFF);
    bool before = job_queue(json, job->payload, &queues[0]);
    bool after = job_queue(json, buf_str(&out), &queues[1]);
    if (job->kind == JOB_DELIVERY)
        assert(before && after && str_equal(buf_str(&queues[0]), buf_str(&queues[1])));
    job_clear(&next);
    buf_clear(&out);
    buf_clear(&queues[0]);
    buf_clear(&queues[1]);
}

static void check_body(const struct job *job)
{
    struct buf body;

    buf_init(&body, job->body_json.len);
    job_put_body(job, &body);
    assert(!body.overflow && (body.len > 0) <= (job->kind == JOB_DELIVERY));
    buf_clear(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str payload = {(const char *)data, size};
    struct json *json = json_create();
    struct job job;
    char jid[64];

    job_parse(&job, json, payload);
    if (job_peek_jid(payload, jid) && job.kind == JOB_DELIVERY && job.jid[0] != '\0')
        assert(str_equal(str_of(jid), str_of(job.jid)));
    check_body(&job);
    check_retry(json, &job, payload);
    check_enqueued(json, &job);
    job_clear(&job);
    json_destroy(json);
    return 0;
}
