#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sched/judge.h"
#include "sched/parking.h"
#include "sched/retry.h"
#include "sched/state.h"

enum { ASK_MS = 2000 };

char *conclude_queue(struct scheduler *s, const struct claim *claim)
{
    struct buf name;
    char *copy;

    if (claim_is_queued(claim->origin))
        return str_dup(claim->origin == ORIGIN_PULL ? STR("pull") : STR("push"));
    buf_init(&name, 256);
    bool found = job_queue(s->json, (struct str){claim->payload, claim->payload_bytes}, &name);
    copy = str_dup(found && !name.overflow ? buf_str(&name) : STR("push"));
    buf_clear(&name);
    return copy;
}

void conclude_simple(struct scheduler *s, struct claim *claim, enum settle_verb verb)
{
    struct settlement what = {.verb = verb};
    settle_add(s->settle, claim, &what);
}

/* `attempt`: NULL when none was made. */
static void log_outcome(struct scheduler *s, const struct claim *claim,
                        const struct message_outcome *attempt, enum health_result result,
                        struct str error)
{
    const struct logged_outcome outcome = {
        .claim = claim,
        .machine = membership_identity(s->membership),
        .result = result,
        .status = attempt != NULL && attempt->kind == OUTCOME_RESPONSE ? attempt->status : 0,
        .total_ms = attempt != NULL ? attempt->total_ms : 0,
        .error = error,
        .wall_us = clock_wall_us(&s->process.clock),
    };
    outcome_log_add(s->outcome_log, &outcome, clock_mono_ms(&s->process.clock));
}

void conclude_dead(struct scheduler *s, struct claim *claim, const char *reason)
{
    struct settlement what = {.verb = SETTLE_DEAD};
    struct str payload = {claim->payload, claim->payload_bytes};
    struct json_value root;
    const char *why;

    buf_init(&what.bytes, claim->payload_bytes + 512);
    if (claim->alone)
        job_put_dead(&what.bytes, payload, STR("Fedpush::PoisonJob"), str_of(reason));
    else if (json_parse(s->json, payload, &root, &why) && root.type == JSON_OBJECT)
        job_put_dead(&what.bytes, payload, STR("Fedpush::MalformedJob"), str_of(reason));
    else
        buf_put_str(&what.bytes, payload);
    log_event(LOG_LEVEL_WARN, "job put into the dead set", LOG_TEXT("job", claim->job.jid),
              LOG_TEXT("reason", reason));
    if (claim->parsed && claim->job.kind == JOB_DELIVERY)
        log_outcome(s, claim, NULL, HEALTH_EXHAUSTED, str_of(reason));
    settle_add(s->settle, claim, &what);
}

static int64_t mono_of(const struct scheduler *s)
{
    return clock_mono_ms(&s->process.clock);
}

static void book(struct scheduler *s, struct claim *claim, struct str host, int64_t delay_ms,
                 uint32_t share_ms, bool uncalled)
{
    int64_t now_ms = lanes_unix_ms(s->lanes, clock_mono_ms(&s->process.clock));
    bool failed_before = claim->job.retry_count >= 0;
    struct settlement what = {.verb = failed_before ? SETTLE_RETRY : SETTLE_SCHEDULE,
                              .entry = LEDGER_BOOKED,
                              .host = host,
                              .share_ms = share_ms,
                              .pair = claim->pair,
                              .uncalled = uncalled};

    retry_score(what.score, (now_ms + delay_ms) * 1000);
    if (uncalled)
        lanes_left_uncalled(s->lanes, claim, mono_of(s) + delay_ms, mono_of(s));
    else
        lanes_left(s->lanes, claim, mono_of(s) + delay_ms, mono_of(s));
    settle_add(s->settle, claim, &what);
}

void conclude_book(struct scheduler *s, struct claim *claim, int64_t delay_ms)
{
    book(s, claim, claim->pair != 0 ? claim->url.authority : STR_NULL, delay_ms, 0, true);
}

void conclude_book_at_host(struct scheduler *s, struct claim *claim, const struct lane *lane,
                           int64_t delay_ms, uint32_t share_ms)
{
    book(s, claim, lane->host, delay_ms, share_ms, false);
}

struct failing {
    struct str error_class;
    struct str message;
    enum track track;
    uint32_t retry_after_ms;               /* no sooner than that from now */
    bool for_good;                         /* however many retries are left */
    const struct message_outcome *attempt; /* NULL: none was made */
};

/* Ruby's process_retry: the next attempt, or the end, which an order to drop is, too: by the time
 * of the next attempt it could be over. Returns true when it was the last one. */
static bool fail(struct scheduler *s, struct claim *claim, const struct failing *failing)
{
    struct settlement what = {.verb = SETTLE_RETRY, .track = failing->track};
    const struct job *job = &claim->job;
    const struct incumbent_version *sidekiq = incumbent_version(s->incumbent);
    char *queue = conclude_queue(s, claim);
    struct job_failure failure = {.queue = str_of(queue),
                                  .error_class = failing->error_class,
                                  .error_message = failing->message,
                                  .now_us = clock_wall_us(&s->due_clock),
                                  .integer_ms = sidekiq->major >= 8};
    int64_t count = 0;
    bool dropped = limits_drops(s, claim);
    bool last;

    buf_init(&what.bytes, claim->payload_bytes + (size_t)64 * 1024);
    job_put_retry(&what.bytes, s->json, job, &failure, &count);
    last = dropped || failing->for_good || retry_exhausted(count, job->max_retries);
    if (last)
        what.entry = dropped ? LEDGER_POLICY : LEDGER_EXHAUSTED;
    if (last && (dropped || job->max_retries < 0 || !job->dead)) {
        what.verb = SETTLE_DONE;
        buf_clear(&what.bytes);
    } else if (last) {
        what.verb = SETTLE_DEAD;
    } else {
        int64_t delay_ms = retry_delay_s(count, sidekiq->major, &s->process.rng) * 1000;
        if (delay_ms < failing->retry_after_ms)
            delay_ms = failing->retry_after_ms;
        retry_score(what.score, failure.now_us + delay_ms * 1000);
    }
    register_count(s->registration, job->class_name, true, 0);
    log_outcome(s, claim, failing->attempt, last ? HEALTH_EXHAUSTED : HEALTH_RETRIED,
                failing->message);
    settle_add(s->settle, claim, &what);
    free(queue);
    return last;
}

/* It has waited behind an open circuit for as long as Mastodon would have gone on trying, and a
 * probe, which is a real attempt at its host, has failed since. */
static void give_up(struct scheduler *s, struct claim *claim)
{
    const struct failing failing = {.error_class = STR("Fedpush::CircuitOpen"),
                                    .message = STR("no answer for as long as its retries last"),
                                    .for_good = true};
    fail(s, claim, &failing);
}

void conclude_park(struct scheduler *s, struct claim *claim, struct lane *lane)
{
    const struct parking_job parked = parking_job_of(&claim->job);
    int64_t now_ms = lanes_unix_ms(s->lanes, clock_mono_ms(&s->process.clock));
    int64_t wait_ms = parking_wait_ms(&parked, &lane->circuit, now_ms, &s->process.rng);

    if (wait_ms < 0)
        wait_ms = parking_last_ms(&parked, &lane->circuit, now_ms, &s->process.rng, &lane->last_ms);
    if (wait_ms < 0) {
        give_up(s, claim);
        return;
    }
    conclude_book_at_host(s, claim, lane, wait_ms, 0);
    releases_want(s->releases, lane->host);
}

void conclude_failed(struct scheduler *s, struct claim *claim, struct str error_class,
                     struct str message)
{
    const struct failing failing = {.error_class = error_class, .message = message};
    fail(s, claim, &failing);
}

static void record(struct scheduler *s, const struct claim *claim,
                   const struct message_outcome *outcome, const struct judgement *judgement,
                   enum health_result result)
{
    struct health_event event = {
        .host = claim->url.authority,
        .inbox = claim->url.text,
        .result = result,
        .transport_failure = judgement->transport_failure,
        .unresolved = judgement->transport_failure && judgement->failure == FAILURE_UNSERVED,
        .status = outcome->kind == OUTCOME_RESPONSE ? outcome->status : 0,
        .total_ms = outcome->total_ms,
        .sent_bytes = outcome->sent_bytes,
        .error = str_of(judgement->error_message),
        .wall_us = clock_wall_us(&s->process.clock),
    };
    counts_add(&s->counts, &event, clock_mono_ms(&s->process.clock));
    health_record(s->health, &event);
    host_log_add(s->host_log, &event);
    history_record(s->history, &event);
    recent_add(s->recent, recent_activity(s->recent, &claim->job), &event);
}

static bool will_exhaust(const struct scheduler *s, const struct claim *claim)
{
    return limits_drops(s, claim) ||
           retry_exhausted(claim->job.retry_count + 1, claim->job.max_retries);
}

/* No attempt was made, since the key can't be read or no name be resolved now: the claim leaves its
 * lane and waits, so that others pass. */
static void hold(struct scheduler *s, struct claim *claim)
{
    int64_t wait_ms = claim_hold_ms(claim);

    if (s->held_count >= admit_lookahead(s) / (claim->low ? 8 : 2)) {
        conclude_book(s, claim, CONCLUDE_LONGEST_HOLD_MS);
        return;
    }
    claim->state = CLAIM_HELD;
    claim->due_ms = mono_of(s) + wait_ms;
    lanes_left(s->lanes, claim, claim->due_ms, mono_of(s));
    TAILQ_INSERT_TAIL(&s->held, claim, entry);
    s->held_count++;
}

static void log_untried(const struct claim *claim, const struct judgement *j)
{
    log_event(LOG_LEVEL_DEBUG, "not attempted", LOG_TEXT("job", claim->job.jid),
              LOG_STR("host", claim->url.authority), LOG_TEXT("err", j->error_message));
}

/* A question about a suspended sender is under way; the outcome's texts aren't needed for a 401. */
struct question {
    struct scheduler *s;
    uint64_t generation;
    uint64_t seq;
    struct message_outcome outcome;
};

static void act(struct scheduler *s, struct claim *claim, const struct message_outcome *outcome,
                int sender_gone);

static void on_deletion_request(void *arg, enum postgres_status status, PGresult *result,
                                const char *message)
{
    struct question question = *(struct question *)arg;
    struct scheduler *s = question.s;
    struct claim *claim;

    (void)message;
    free(arg);
    if (question.generation != s->asked_generation ||
        (claim = holdings_find(&s->holdings, question.seq)) == NULL || claim->state != CLAIM_NEW)
        return;
    /* A row means that the account can still come back; unknown is not gone. */
    bool gone = status == POSTGRES_OK && PQntuples(result) == 0;
    act(s, claim, &question.outcome, gone);
    drain_step(s);
}

static void ask(struct scheduler *s, const struct claim *claim,
                const struct message_outcome *outcome)
{
    struct question *question = mem_alloc(sizeof(*question));
    char account[24];
    struct str parameters[1];

    *question = (struct question){s, s->asked_generation, claim->seq, *outcome};
    question->outcome.error_class = question->outcome.error_message = STR_NULL;
    snprintf(account, sizeof(account), "%" PRId64, claim->job.account_id);
    parameters[0] = str_of(account);
    postgres_query(s->postgres, on_deletion_request, question, ASK_MS,
                   "SELECT 1 FROM account_deletion_requests WHERE account_id = $1::bigint LIMIT 1",
                   1, parameters);
}

static enum ledger_entry entry_of(const struct message_outcome *outcome, enum health_result result)
{
    if (outcome->kind == OUTCOME_REFUSED)
        return LEDGER_REFUSED;
    return result == HEALTH_DELIVERED ? LEDGER_DELIVERED : LEDGER_REJECTED;
}

/* `claim` is CLAIM_NEW and off every list. */
static void act(struct scheduler *s, struct claim *claim, const struct message_outcome *outcome,
                int sender_gone)
{
    struct judgement j;

    judge(&j, outcome, &s->process.config.mastodon, &claim->job, sender_gone);
    switch (j.sentence) {
    case SENTENCE_DONE: {
        struct settlement what = {
            .verb = SETTLE_DONE, .track = j.track, .entry = entry_of(outcome, j.result)};
        register_count(s->registration, claim->job.class_name, false, outcome->total_ms);
        record(s, claim, outcome, &j, j.result);
        log_outcome(s, claim, outcome, j.result, str_of(j.error_message));
        settle_add(s->settle, claim, &what);
        break;
    }
    case SENTENCE_RETRY:
        if (j.recorded)
            record(s, claim, outcome, &j,
                   will_exhaust(s, claim) ? HEALTH_EXHAUSTED : HEALTH_RETRIED);
        fail(s, claim,
             &(struct failing){.error_class = j.error_class,
                               .message = str_of(j.error_message),
                               .track = j.track,
                               .retry_after_ms = j.retry_after_ms,
                               .attempt = outcome});
        break;
    case SENTENCE_AGAIN:
        log_untried(claim, &j);
        if (s->state == SCHEDULER_RUNNING)
            admit_again(s, claim);
        else
            conclude_simple(s, claim, SETTLE_RETURN);
        break;
    case SENTENCE_WAIT:
        log_untried(claim, &j);
        s->counts.unresolved += outcome->kind == OUTCOME_TRANSPORT;
        if (s->state == SCHEDULER_RUNNING && !s->standby.active)
            hold(s, claim);
        else
            conclude_simple(s, claim, SETTLE_RETURN);
        break;
    case SENTENCE_ASK:
        ask(s, claim, outcome);
        break;
    }
}

static enum lane_answer answer_of(const struct message_outcome *outcome)
{
    switch ((enum outcome_kind)outcome->kind) {
    case OUTCOME_RESPONSE:
        if (outcome->status == 429)
            return LANE_PUSHED_BACK;
        if (outcome->status == 503)
            return LANE_UNAVAILABLE;
        return outcome->status >= 500 && outcome->status != 501 ? LANE_ERROR : LANE_ANSWERED;
    case OUTCOME_TRANSPORT:
        if (outcome->failure == FAILURE_UNSERVED)
            return LANE_UNSERVED;
        return outcome->failure == FAILURE_RESOLVER ? LANE_UNRESOLVED : LANE_TRANSPORT;
    case OUTCOME_REFUSED:
    case OUTCOME_SENDER_MISSING:
    case OUTCOME_KEY_UNUSABLE:
    case OUTCOME_KEY_WAIT:
    case OUTCOME_NOT_TRIED:
        break;
    }
    return LANE_UNTRIED;
}

/* No better luck is to be had from trying once more. */
static bool is_certain(enum failure_kind failure)
{
    return failure == FAILURE_REFUSED || failure == FAILURE_NO_NAME ||
           failure == FAILURE_CERTIFICATE;
}

/* Returns whether its host was blameless until now: then a failure in transport may be our own. */
static bool take_from_worker(struct scheduler *s, struct claim *claim,
                             const struct message_outcome *outcome)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);
    struct lane *lane = claim->lane;
    struct lane_result result = {.answer = LANE_UNTRIED};

    if (lane == NULL) { /* it ran alone, outside the lanes */
        claim->state = CLAIM_NEW;
        return false;
    }
    if (outcome != NULL) {
        result.answer = answer_of(outcome);
        result.total_ms = outcome->total_ms;
        result.hold_ms = outcome->retry_after_ms;
        result.certain = is_certain((enum failure_kind)outcome->failure);
    }
    bool was_blameless = lanes_is_blameless(s->lanes, lane, now_ms);
    circuits_happened(s, lane, lanes_landed(s->lanes, claim, &result, now_ms));
    circuits_held(s, lane, result.hold_ms);
    admit_shed(s, lane);
    return was_blameless;
}

static bool is_dark(const struct message_outcome *outcome)
{
    enum lane_answer answer = answer_of(outcome);
    return answer == LANE_TRANSPORT || answer == LANE_UNRESOLVED || answer == LANE_UNSERVED;
}

static bool was_tried(const struct message_outcome *outcome)
{
    return outcome->kind != OUTCOME_NOT_TRIED && outcome->kind != OUTCOME_KEY_WAIT &&
           outcome->failure != FAILURE_RESOLVER;
}

/* Nothing is held against the job: it is tried again, here or by another machine. */
static void spare(struct scheduler *s, struct claim *claim)
{
    if (s->state == SCHEDULER_RUNNING && !s->standby.active)
        admit_again(s, claim);
    else
        conclude_simple(s, claim, SETTLE_RETURN);
}

/* No answer came. Returns false when that is the host's fault. */
static bool doubt(struct scheduler *s, struct claim *claim, const struct message_outcome *outcome,
                  bool was_blameless)
{
    int64_t now_ms = mono_of(s);

    switch (lanes_blame(s->lanes, was_blameless, claim->started_ms, now_ms)) {
    case DOUBT_THEIRS:
        return false;
    case DOUBT_WAIT:
        if (s->state == SCHEDULER_RUNNING && doubts_add(s->doubts, claim, outcome, now_ms)) {
            lanes_left(s->lanes, claim, now_ms + SUSPICION_DOUBT_MS, now_ms);
            return true;
        }
        break;
    case DOUBT_OURS:
        break;
    }
    spare(s, claim);
    return true;
}

void conclude_outcome(struct scheduler *s, struct claim *claim,
                      const struct message_outcome *outcome)
{
    bool was_blameless = take_from_worker(s, claim, outcome);

    if (s->schemes != NULL)
        schemes_learn(s->schemes, claim->url.origin, (enum learnt)outcome->learnt);
    if (claim->orphan) {
        claim_destroy(claim);
        return;
    }
    bool ran_alone = claim->alone;
    if (ran_alone && quarantine_landed(s, claim, was_tried(outcome)))
        return;
    bool doubtful = !ran_alone && was_tried(outcome) && is_dark(outcome);
    if (!doubtful || !doubt(s, claim, outcome, was_blameless))
        act(s, claim, outcome, -1);
}

void conclude_doubts(struct scheduler *s)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);
    struct message_outcome outcome;
    enum doubt verdict;
    struct claim *claim;

    while ((claim = doubts_next(s->doubts, s->lanes, now_ms, &verdict, &outcome)) != NULL) {
        if (verdict == DOUBT_THEIRS)
            act(s, claim, &outcome, -1);
        else
            spare(s, claim);
    }
}

/* So that whoever gets the job next, here or elsewhere, knows what it was part of. */
static void count_recovery(struct scheduler *s, struct claim *claim)
{
    char value[64];

    claim->recoveries++;
    if (claim->job.jid[0] == '\0')
        return;
    snprintf(value, sizeof(value), "%u %" PRId64, claim->recoveries,
             clock_wall_us(&s->process.clock) / 1000000);
    const struct str words[] = {STR("HSET"), str_of(s->keys.recoveries), str_of(claim->job.jid),
                                str_of(value)};
    redis_send(s->redis, NULL, NULL, 4, words);
}

void conclude_lost(struct scheduler *s, unsigned worker, struct claim *claim)
{
    (void)worker;
    take_from_worker(s, claim, NULL);
    if (claim->orphan) {
        claim_destroy(claim);
        return;
    }
    if (claim->alone) {
        conclude_dead(s, claim, "it ran alone when its process died");
        return;
    }
    count_recovery(s, claim);
    if (s->state != SCHEDULER_RUNNING)
        conclude_simple(s, claim, SETTLE_RETURN);
    else if (claim->recoveries >= QUARANTINE_RECOVERIES)
        quarantine_add(s, claim);
    else
        admit_again(s, claim);
}
