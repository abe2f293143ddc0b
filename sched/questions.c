#include "sched/questions.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sched/outcome_log.h"
#include "sched/script.h"

enum { ANSWER_BYTES = 64 * 1024 };

struct questions {
    struct questions_options o;
    bool asked;      /* a look is under way */
    size_t answered; /* so far: where the next ones begin */
};

struct questions *questions_create(const struct questions_options *options)
{
    struct questions *questions = mem_alloc(sizeof(*questions));
    questions->o = *options;
    return questions;
}

/* A host's lanes: one for each port. */
static bool is_of_host(struct str authority, struct str host)
{
    return str_starts_with(authority, host) &&
           (authority.len == host.len || authority.ptr[host.len] == ':');
}

static bool say_lanes(const struct questions *q, struct str host, struct lane_outside *outside,
                      struct said *out)
{
    int64_t now_ms = clock_mono_ms(q->o.clock);
    bool said = false;
    size_t at = 0;
    struct lane *lane;

    while ((lane = lanes_each(q->o.lanes, &at)) != NULL) {
        if (!is_of_host(lane->host, host))
            continue;
        outside->busy = q->o.is_busy(q->o.arg, lane->worker);
        lanes_explain(q->o.lanes, lane, outside, out, now_ms);
        said = true;
    }
    return said;
}

/* Of a host without a lane: what it would be told when a job came. */
static bool say_order(bool paused, const struct lane_outside *outside, struct said *out)
{
    if (outside->proxy != NULL)
        said_add(out, "\n", PHRASE_LANE_PROXY, SAYS(SAY_TEXT("proxy", outside->proxy)));
    else if (paused)
        said_add(out, "\n", PHRASE_LANE_PAUSED, SAYS_NOTHING);
    else if (outside->passes > 0)
        said_add(out, "\n", PHRASE_LANE_PASSES, SAYS(SAY_NUMBER("deliveries", outside->passes)));
    return paused || outside->passes > 0;
}

/* What an admin's order for the host, or the lack of one, means on this machine. `policy` outlives
 * *outside. */
static void look_at_order(const struct questions *q, struct str host, struct policy *policy,
                          struct lane_outside *outside)
{
    (void)policies_look(q->o.policies, host, policy);
    if (policy->proxy[0] != '\0' && policies_proxy(q->o.policies, str_of(policy->proxy)) == 0)
        outside->proxy = policy->proxy;
    outside->passes = q->o.passes_on(q->o.arg, host, policy);
}

static bool say_jobs(struct said *out, unsigned jobs, enum phrase phrase, struct says says)
{
    if (jobs > 0)
        said_add(out, "\n", phrase, says);
    return jobs > 0;
}

/* What is held of the host outside of its lanes. */
static bool say_elsewhere(const struct questions *q, struct str host, struct said *out)
{
    unsigned of[CLAIM_STATES] = {0};
    const struct claim *claim;
    bool said = false;
    size_t at = 0;

    while ((claim = table_next(q->o.holdings->by_seq, &at)) != NULL)
        of[claim->state] += claim->has_url && str_equal(claim->url.host, host);
    said |=
        say_jobs(out, of[CLAIM_HELD], PHRASE_HOST_KEYS, SAYS(SAY_NUMBER("jobs", of[CLAIM_HELD])));
    said |= say_jobs(out, of[CLAIM_FOLLOWERS], PHRASE_HOST_FOLLOWERS,
                     SAYS(SAY_NUMBER("jobs", of[CLAIM_FOLLOWERS])));
    said |= say_jobs(out, of[CLAIM_SUSPICIOUS], PHRASE_HOST_ALONE,
                     SAYS(SAY_NUMBER("jobs", of[CLAIM_SUSPICIOUS])));
    said |= say_jobs(out, of[CLAIM_DOUBT], PHRASE_HOST_DOUBT,
                     SAYS(SAY_NUMBER("jobs", of[CLAIM_DOUBT])));
    return said;
}

/* The machine first: while it sends nothing, no host's own words say why. */
static void explain(const struct questions *q, struct str host, bool probed, struct said *out)
{
    struct standing standing;
    struct policy policy = {.paused = false};
    struct lane_outside outside = {.probed = probed};

    q->o.stands(q->o.arg, &standing);
    outside.still = standing_is_still(&standing);
    look_at_order(q, host, &policy, &outside);
    bool said = standing_say(&standing, out);
    said |= say_lanes(q, host, &outside, out) || say_order(policy.paused, &outside, out);
    said |= say_elsewhere(q, host, out);
    if (!said)
        said_add(out, "", PHRASE_LANE_NONE, SAYS_NOTHING);
    standing_say_handoff(&standing, out);
}

/* --- where an activity is --- */

struct trace {
    struct questions *q;
    uint64_t activity;
    struct buf *out;
    unsigned lines;
    unsigned more;
};

static void put_line(struct trace *trace, const char *outcome, unsigned status, int64_t at_ms,
                     struct str inbox)
{
    if (trace->lines == QUESTIONS_LINES || trace->out->len + inbox.len > ANSWER_BYTES - 128) {
        trace->more++;
        return;
    }
    buf_printf(trace->out, "%s%s %u %" PRId64 " %.*s", trace->lines++ > 0 ? "\n" : "", outcome,
               status, at_ms, STR_ARG(inbox));
}

static void put_outcome(void *arg, const struct recent_outcome *outcome)
{
    put_line(arg, outcome_names[outcome->result], outcome->status, outcome->at_ms, outcome->inbox);
}

static void put_held(struct trace *trace, const struct claim *claim)
{
    if (!claim->parsed || !claim->has_url || claim->state == CLAIM_SETTLING ||
        recent_activity(trace->q->o.recent, &claim->job) != trace->activity)
        return;
    if (claim->state == CLAIM_FLIGHT)
        put_line(trace, "in_flight", 0, claim->dispatched_us / 1000, claim->url.text);
    else
        put_line(trace, "waiting", 0, (int64_t)(claim->job.created_at_s * 1000), claim->url.text);
}

static void put_trace(struct questions *q, struct str id, struct buf *out)
{
    struct trace trace = {.q = q, .activity = recent_activity_of_id(q->o.recent, id), .out = out};
    const struct claim *claim;
    size_t at = 0;

    if (trace.activity == 0)
        return;
    while ((claim = table_next(q->o.holdings->by_seq, &at)) != NULL)
        put_held(&trace, claim);
    recent_each(q->o.recent, trace.activity, put_outcome, &trace);
    if (trace.more > 0)
        buf_printf(out, "\nmore %u", trace.more);
}

/* --- questions and orders --- */

/* Takes the key. */
static void write_answer(struct questions *q, char *key, struct str words)
{
    struct script_call *call = script_begin(SCRIPT_ANSWER);

    script_key(call, key);
    script_arg(call, membership_identity(q->o.membership));
    script_arg(call, words);
    script_arg_number(call, QUESTIONS_ANSWER_S);
    script_send(call, q->o.redis, NULL, NULL);
    free(key);
}

/* The sentences first: who sees the words finds them, too. */
static void answer_host(struct questions *q, struct str host, bool probed)
{
    struct said said;
    struct buf list;

    said_init(&said, ANSWER_BYTES);
    buf_init(&list, ANSWER_BYTES + 2);
    explain(q, host, probed, &said);
    said_put_list(&said, &list);
    write_answer(q, keys_said(q->o.keys, host), buf_str(&list));
    write_answer(q, keys_answers(q->o.keys, host), buf_str(&said.text));
    buf_clear(&list);
    said_clear(&said);
}

/* One lane of the host whose circuit is open, and isn't probed by this machine; or NULL. */
static const struct lane *open_lane(const struct questions *q, struct str host)
{
    const struct lane *lane;
    size_t at = 0;

    while ((lane = lanes_each(q->o.lanes, &at)) != NULL) {
        if (is_of_host(lane->host, host) && lane->circuit.state == CIRCUIT_OPEN &&
            lane->probe == LANE_PROBE_NONE)
            return lane;
    }
    return NULL;
}

struct probe_ask {
    struct questions *q;
    char *host;
};

static void on_probe(void *arg, enum redis_status status, const redisReply *reply)
{
    struct probe_ask *ask = arg;

    if (status != REDIS_LOST && membership_state(ask->q->o.membership) == MEMBER_PRESENT)
        answer_host(ask->q, str_of(ask->host),
                    reply->type == REDIS_REPLY_INTEGER && reply->integer == 1);
    free(ask->host);
    free(ask);
}

/* Whether another machine probes an open circuit stands in Redis. */
static void look_at_host(struct questions *q, struct str host)
{
    const struct lane *lane = open_lane(q, host);
    struct probe_ask *ask;

    if (lane == NULL) {
        answer_host(q, host, false);
        return;
    }
    char *key = keys_probe(q->o.keys, lane->host);
    const struct str exists[] = {STR("EXISTS"), str_of(key)};
    ask = mem_alloc(sizeof(*ask));
    ask->q = q;
    ask->host = str_dup(host);
    redis_send(q->o.redis, on_probe, ask, 2, exists);
    free(key);
}

static void answer(struct questions *q, struct str question)
{
    struct buf words;

    if (!str_starts_with(question, STR("trace "))) {
        look_at_host(q, question);
        return;
    }
    buf_init(&words, ANSWER_BYTES);
    put_trace(q, str_slice(question, strlen("trace ")), &words);
    write_answer(q, keys_answers(q->o.keys, question), buf_str(&words));
    buf_clear(&words);
}

static void on_questions(void *arg, enum redis_status status, const redisReply *reply)
{
    struct questions *q = arg;

    q->asked = false;
    if (status == REDIS_LOST || reply->type != REDIS_REPLY_ARRAY ||
        membership_state(q->o.membership) != MEMBER_PRESENT)
        return;
    /* When there are more than are answered at once, each has its turn. */
    for (size_t i = 0; i < reply->elements && i < QUESTIONS_AT_ONCE; i++) {
        const redisReply *question = reply->element[q->answered++ % reply->elements];
        if (question->type == REDIS_REPLY_STRING)
            answer(q, (struct str){question->str, (size_t)question->len});
    }
}

static void on_drain(void *arg, enum redis_status status, const redisReply *reply)
{
    struct questions *q = arg;

    if (status == REDIS_LOST || reply->type != REDIS_REPLY_STRING)
        return;
    log_plain(LOG_LEVEL_INFO, "order from an admin: drain");
    q->o.drain(q->o.arg);
}

void questions_tick(struct questions *q)
{
    const struct str words[] = {STR("SMEMBERS"), str_of(q->o.keys->questions)};
    char *order;

    if (q->asked || membership_state(q->o.membership) != MEMBER_PRESENT)
        return;
    q->asked = true;
    redis_send(q->o.redis, on_questions, q, 2, words);
    order = keys_drain(q->o.keys, membership_identity(q->o.membership));
    const struct str take[] = {STR("GETDEL"), str_of(order)};
    redis_send(q->o.redis, on_drain, q, 2, take);
    free(order);
}
