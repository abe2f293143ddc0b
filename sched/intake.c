#include "sched/intake.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sched/ahead.h"
#include "sched/retry.h"
#include "sched/vet.h"

enum { WAIT_SILENT_MS = 6000, RATE_PART = 4, MAX_OTHERS = 16, YIELD_JOBS = 100 };

enum intake_state { INTAKE_OFF = 0, INTAKE_ON, INTAKE_STOPPING, INTAKE_STOPPED };

struct intake {
    struct intake_options o;
    enum intake_state state;
    bool claiming; /* a claim script is under way */
    bool idle; /* the last answer was short: nothing to claim until the wait list or the tick says
                  so */
    bool pulling;          /* a claim of `pull` is under way */
    bool pull_idle;        /* the last answer was short: the tick looks again */
    bool waiting;          /* BLMOVE is under way */
    bool wait_lost;        /* what became of the latest one is unknown */
    unsigned stale_waits;  /* of identities before this one, whose answers come first */
    unsigned due;          /* due scripts under way */
    unsigned due_turns[2]; /* of `schedule`, of `retry` */
    double tokens;         /* of claim_rate */
    int64_t tokens_ms;
    uint64_t calls;
    uint64_t generation; /* answers from before a fence are another identity's */
    struct other {       /* machines, as claim.lua said last */
        char *identity;
        char *wait_key;
        char *held_key;
    } others[MAX_OTHERS];
    unsigned other_count;
    struct vet *vet;
    loop_fn *stopped;
    void *stopped_arg;
};

struct request {
    struct intake *intake;
    uint64_t generation;
    enum claim_origin origin;
    unsigned max_jobs;
    size_t max_bytes;
    struct ahead_call *ahead; /* of due.lua */
};

static void on_vetted(void *arg);

static void forget_others(struct intake *intake)
{
    while (intake->other_count > 0) {
        struct other *other = &intake->others[--intake->other_count];
        free(other->identity);
        free(other->wait_key);
        free(other->held_key);
    }
}

struct intake *intake_create(const struct intake_options *options)
{
    struct intake *intake = mem_alloc(sizeof(*intake));
    intake->o = *options;
    intake->tokens_ms = clock_mono_ms(options->clock);
    const struct vet_options vet = {.redis = options->redis,
                                    .keys = options->keys,
                                    .holdings = options->holdings,
                                    .accept = options->accept,
                                    .accept_arg = options->arg,
                                    .answered = on_vetted,
                                    .answered_arg = intake};
    intake->vet = vet_create(&vet);
    return intake;
}

void intake_destroy(struct intake *intake)
{
    if (intake == NULL)
        return;
    vet_destroy(intake->vet);
    forget_others(intake);
    free(intake);
}

void intake_set_rate(struct intake *intake, int claim_rate)
{
    if (claim_rate == intake->o.claim_rate)
        return;
    intake->o.claim_rate = claim_rate;
    intake->tokens = 0; /* while there was no limit, they were only spent */
    intake->tokens_ms = clock_mono_ms(intake->o.clock);
}

uint64_t intake_calls(const struct intake *intake)
{
    return intake->calls;
}

static void try_stop(struct intake *intake)
{
    if (intake->state != INTAKE_STOPPING || intake->claiming || intake->pulling ||
        intake->waiting || intake->due > 0 || !vet_is_idle(intake->vet))
        return;
    intake->state = INTAKE_STOPPED;
    loop_defer(intake->o.base, intake->stopped, intake->stopped_arg);
}

/* BLMOVE would go on moving a job into the list of an identity that is no more. Redis may do so
 * before it sees the end of the connection: whoever recovers that identity looks again. */
static void forget_wait(struct intake *intake)
{
    intake->wait_lost = false;
    if (!intake->waiting)
        return;
    intake->waiting = false;
    intake->stale_waits++;
    redis_reconnect(intake->o.redis_wait, "its identity was fenced");
}

void intake_forget(struct intake *intake)
{
    intake->generation++;
    intake->claiming = false;
    intake->pulling = false;
    intake->due = 0;
    forget_wait(intake);
    if (intake->state == INTAKE_ON)
        intake->state = INTAKE_OFF;
    vet_forget(intake->vet);
    try_stop(intake);
}

static void on_vetted(void *arg)
{
    try_stop(arg);
}

/* --- jobs that come in --- */

static bool reply_text(const redisReply *reply, struct str *out)
{
    if (reply->type != REDIS_REPLY_STRING)
        return false;
    *out = (struct str){reply->str, (size_t)reply->len};
    return true;
}

static struct claim *hold(struct intake *intake, uint64_t seq, enum claim_origin origin,
                          struct str score, struct str payload)
{
    struct claim *claim = claim_create(seq, origin, score, payload);
    if (holdings_add(intake->o.holdings, claim) == NULL) {
        claim_destroy(claim);
        return NULL;
    }
    return claim;
}

void intake_adopt(struct intake *intake, uint64_t seq, struct str value)
{
    enum claim_origin origin;
    struct str score;
    struct str payload;
    struct claim *claim;

    if (!claim_value_parse(value, &origin, &score, &payload)) {
        log_event(LOG_LEVEL_ERROR, "claim of unknown form left alone", LOG_INT("seq", seq));
        return;
    }
    claim = hold(intake, seq, origin, score, payload);
    if (claim != NULL)
        vet_claims(intake->vet, &claim, 1, true);
}

/* The answer of claim.lua (step 3) or due.lua (step 4): jobs under suspicion, then seq[, score],
 * bytes, what is booked of its pair; behind that, what isn't claimed (ahead.h). */
static size_t read_answer(struct intake *intake, const redisReply *reply, enum claim_origin origin,
                          size_t *bytes)
{
    size_t step = claim_is_queued(origin) ? 3 : 4;
    size_t count = 0;
    bool suspicious = reply->elements > 0 && reply->element[0]->integer > 0;
    struct claim **claims = mem_alloc((reply->elements / step + 1) * sizeof(struct claim *));

    *bytes = 0;
    for (size_t i = 1; i + step <= reply->elements; i += step) {
        struct str seq_text;
        struct str score = STR_NULL;
        struct str payload;
        struct str booked;
        int64_t seq;
        struct claim *claim;
        if (!reply_text(reply->element[i], &seq_text) ||
            !str_to_i64(seq_text, 1, INT64_MAX, &seq) ||
            !reply_text(reply->element[i + step - 2], &payload) ||
            !reply_text(reply->element[i + step - 1], &booked) ||
            (step == 4 && !reply_text(reply->element[i + 1], &score)))
            continue; /* not ours to understand: reconciling will find it */
        claim = hold(intake, (uint64_t)seq, origin, score, payload);
        if (claim != NULL) {
            claim_hear(claim, booked);
            claims[count++] = claim;
        }
        *bytes += payload.len;
    }
    vet_claims(intake->vet, claims, count, suspicious);
    free(claims);
    return count;
}

/* Jobs in an answer of claim.lua that has not been read yet. */
static size_t measure_answer(const redisReply *reply, size_t *bytes)
{
    *bytes = 0;
    for (size_t i = 2; i < reply->elements; i += 3)
        *bytes += (size_t)reply->element[i]->len;
    return reply->elements / 3;
}

/* --- claiming --- */

static bool refused(struct intake *intake, const redisReply *reply)
{
    if (reply_is(reply, STR("FENCED"))) {
        membership_fence(intake->o.membership);
        return true;
    }
    if (reply->type == REDIS_REPLY_ARRAY)
        return false;
    log_event(LOG_LEVEL_WARN, "claim refused", LOG_STR("error", reply_error(REDIS_REPLIED, reply)));
    return true;
}

/* The machines are others than those that the call named. */
static bool learn_others(struct intake *intake, const redisReply *reply)
{
    struct str self = membership_identity(intake->o.membership);
    struct str name;

    if (reply->elements == 0 || !reply_text(reply->element[0], &name) ||
        !str_equal(name, STR("FLEET")))
        return false;
    forget_others(intake);
    for (size_t i = 1; i < reply->elements && intake->other_count < MAX_OTHERS; i++) {
        if (!reply_text(reply->element[i], &name) || str_equal(name, self))
            continue;
        intake->others[intake->other_count++] = (struct other){
            str_dup(name), keys_wait(intake->o.keys, name), keys_held(intake->o.keys, name)};
    }
    return true;
}

static void wait_for_job(struct intake *intake);
static void claim_now(struct intake *intake);
static void claim_beside(struct intake *intake, size_t jobs, size_t bytes);
static void claim_pull(struct intake *intake, bool tick);

static void on_claim(void *arg, enum redis_status status, const redisReply *reply)
{
    struct request request = *(struct request *)arg;
    struct intake *intake = request.intake;
    size_t bytes;

    free(arg);
    if (request.generation != intake->generation)
        return;
    intake->claiming = false;
    if (status == REDIS_LOST || refused(intake, reply)) {
        intake->idle = true; /* the tick tries again */
        try_stop(intake);
        return;
    }
    if (learn_others(intake, reply)) {
        claim_now(intake);
        try_stop(intake);
        return;
    }
    size_t count = measure_answer(reply, &bytes);
    intake->tokens -= (double)count;
    intake->idle = count < request.max_jobs && bytes < request.max_bytes;
    if (!intake->idle)
        claim_beside(intake, count, bytes);
    read_answer(intake, reply, ORIGIN_QUEUE, &bytes);
    if (intake->idle) {
        wait_for_job(intake);
        claim_pull(intake, false);
    } else {
        claim_now(intake);
    }
    try_stop(intake);
}

static void on_pull(void *arg, enum redis_status status, const redisReply *reply)
{
    struct request request = *(struct request *)arg;
    struct intake *intake = request.intake;
    size_t bytes;

    free(arg);
    if (request.generation != intake->generation)
        return;
    intake->pulling = false;
    intake->pull_idle = true;
    if (status == REDIS_REPLIED && !refused(intake, reply)) {
        size_t count = read_answer(intake, reply, ORIGIN_PULL, &bytes);
        intake->tokens -= (double)count;
        intake->pull_idle = count < request.max_jobs && bytes < request.max_bytes;
        claim_pull(intake, false);
    }
    try_stop(intake);
}

static void refill_tokens(struct intake *intake)
{
    int64_t now_ms = clock_mono_ms(intake->o.clock);
    double rate = intake->o.claim_rate;

    intake->tokens += rate * (double)(now_ms - intake->tokens_ms) / 1000.0;
    if (intake->tokens > rate)
        intake->tokens = rate; /* a second's worth, no burst after a pause */
    intake->tokens_ms = now_ms;
}

bool intake_has_spent(const struct intake *intake)
{
    double rate = intake->o.claim_rate;
    int64_t since_ms = clock_mono_ms(intake->o.clock) - intake->tokens_ms;

    return rate > 0 && intake->tokens + rate * (double)since_ms / 1000.0 < 1;
}

/* What one script may claim of it; what isn't fresh in `push` gets a part of the rate. Tokens are
 * spent by what is found: scripts under way at once may spend the same ones, so that the lowest
 * rate starves nobody, and the debt delays what follows. */
static struct room bounded(struct intake *intake, struct room room, unsigned part)
{
    if (room.jobs > INTAKE_MAX_JOBS)
        room.jobs = INTAKE_MAX_JOBS;
    if (room.bytes > INTAKE_MAX_BYTES)
        room.bytes = INTAKE_MAX_BYTES;
    if (intake->o.claim_rate > 0) {
        refill_tokens(intake);
        unsigned most = intake->tokens >= 1 ? (unsigned)intake->tokens : 0;
        if (most > part)
            most /= part;
        else if (most > 0)
            most = 1;
        if (room.jobs > most)
            room.jobs = most;
    }
    if (room.bytes == 0)
        room.jobs = 0;
    return room;
}

static struct room room_now(struct intake *intake)
{
    return bounded(intake, intake->o.room(intake->o.arg), 1);
}

static struct request *make_request(struct intake *intake, enum claim_origin origin,
                                    struct room room)
{
    struct request *request = mem_alloc(sizeof(*request));
    *request = (struct request){.intake = intake,
                                .generation = intake->generation,
                                .origin = origin,
                                .max_jobs = room.jobs,
                                .max_bytes = room.bytes};
    return request;
}

static void send_claim(struct intake *intake, enum claim_origin origin, struct room room,
                       redis_fn *fn)
{
    const struct keys *keys = intake->o.keys;
    struct script_call *call = script_begin(SCRIPT_CLAIM);

    script_key(call, keys->identities);
    script_key(call, membership_claimed_key(intake->o.membership));
    script_key(call, membership_wait_key(intake->o.membership));
    script_key(call, origin == ORIGIN_PULL ? keys->queue_pull : keys->queue_push);
    script_key(call, keys->recoveries);
    script_key(call, membership_ledger_key(intake->o.membership));
    script_key(call, membership_held_key(intake->o.membership));
    script_key(call, keys->pairs);
    script_key(call, keys->retry);
    script_key(call, keys->schedule);
    for (unsigned i = 0; i < intake->other_count; i++) {
        script_key(call, intake->others[i].wait_key);
        script_key(call, intake->others[i].held_key);
    }
    script_arg(call, membership_identity(intake->o.membership));
    script_arg_number(call, room.jobs);
    script_arg_number(call, (int64_t)room.bytes);
    script_arg(call, origin == ORIGIN_PULL ? STR("p") : STR("q"));
    for (unsigned i = 0; i < intake->other_count; i++)
        script_arg(call, str_of(intake->others[i].identity));
    intake->calls++;
    script_send(call, intake->o.redis, fn, make_request(intake, origin, room));
}

/* What there is room for besides these, which are not counted yet: Redis takes the next ones out
 * while we look at them. */
static void claim_beside(struct intake *intake, size_t jobs, size_t bytes)
{
    struct room room;

    if (intake->state != INTAKE_ON || intake->claiming ||
        membership_state(intake->o.membership) != MEMBER_PRESENT)
        return;
    room = intake->o.room(intake->o.arg);
    room.jobs = room.jobs > jobs ? room.jobs - (unsigned)jobs : 0;
    room.bytes = room.bytes > bytes ? room.bytes - bytes : 0;
    room = bounded(intake, room, 1);
    if (room.jobs == 0)
        return;
    intake->claiming = true;
    send_claim(intake, ORIGIN_QUEUE, room, on_claim);
}

static void claim_now(struct intake *intake)
{
    claim_beside(intake, 0, 0);
}

/* `push` first: while it has jobs that wait for room, `pull` gets its share of the tick. */
static void claim_pull(struct intake *intake, bool tick)
{
    struct room room;

    if (intake->o.pull_room == NULL || intake->state != INTAKE_ON || intake->pulling ||
        (!tick && (intake->pull_idle || !intake->idle)) ||
        membership_state(intake->o.membership) != MEMBER_PRESENT)
        return;
    room = bounded(intake, intake->o.pull_room(intake->o.arg), RATE_PART);
    if (!intake->idle && room.jobs > INTAKE_PULL_SHARE)
        room.jobs = INTAKE_PULL_SHARE;
    if (room.jobs == 0)
        return;
    intake->pulling = true;
    send_claim(intake, ORIGIN_PULL, room, on_pull);
}

/* --- waiting for the empty queue --- */

static void on_waited(void *arg, enum redis_status status, const redisReply *reply)
{
    struct intake *intake = arg;

    if (intake->stale_waits > 0) {
        intake->stale_waits--;
        return;
    }
    intake->waiting = false;
    intake->wait_lost = status == REDIS_LOST;
    if (status == REDIS_REPLIED && reply->type == REDIS_REPLY_STRING) {
        intake->idle = false;
        claim_now(intake);
    } else if (status == REDIS_REPLIED && reply->type == REDIS_REPLY_NIL) {
        wait_for_job(intake);
    } /* lost or refused (OOM): the tick goes on claiming and waits again */
    try_stop(intake);
}

static void wait_for_job(struct intake *intake)
{
    if (intake->state != INTAKE_ON || intake->waiting || !intake->idle ||
        intake->o.claim_rate > 0 || !redis_is_ready(intake->o.redis_wait) ||
        !membership_is_fresh(intake->o.membership) || room_now(intake).jobs == 0)
        return;
    const struct str words[] = {STR("BLMOVE"),
                                str_of(intake->o.keys->queue_push),
                                str_of(membership_wait_key(intake->o.membership)),
                                STR("RIGHT"),
                                STR("LEFT"),
                                STR("2")};
    intake->waiting = true;
    redis_send(intake->o.redis_wait, on_waited, intake, 6, words);
}

void intake_start(struct intake *intake)
{
    if (intake->state == INTAKE_OFF)
        intake->state = INTAKE_ON;
    intake->claiming = false;
    intake->pulling = false;
    intake->idle = false;
    vet_again(intake->vet);
    claim_now(intake);
}

void intake_room(struct intake *intake)
{
    if (!intake->idle)
        claim_now(intake);
    claim_pull(intake, false);
}

void intake_listed(struct intake *intake)
{
    intake->idle = false;
    claim_now(intake);
}

void intake_tick(struct intake *intake)
{
    claim_now(intake);
    claim_pull(intake, true);
}

void intake_watch(struct intake *intake)
{
    if (redis_oldest_ms(intake->o.redis_wait) > WAIT_SILENT_MS)
        redis_reconnect(intake->o.redis_wait, "no answer to BLMOVE");
}

bool intake_may_receive(const struct intake *intake)
{
    return intake->waiting || intake->wait_lost;
}

/* We may be paused, or full, and what is there may be anybody's by now. */
void intake_yield(struct intake *intake)
{
    bool full = intake->state == INTAKE_ON && intake->o.room(intake->o.arg).jobs == 0;
    struct script_call *call;

    if ((!full && intake->state != INTAKE_STOPPED) ||
        membership_state(intake->o.membership) != MEMBER_PRESENT)
        return;
    call = script_begin(SCRIPT_YIELD);
    script_key(call, intake->o.keys->identities);
    script_key(call, membership_wait_key(intake->o.membership));
    script_key(call, intake->o.keys->queue_push);
    script_key(call, membership_held_key(intake->o.membership));
    script_key(call, membership_claimed_key(intake->o.membership));
    script_arg_number(call, YIELD_JOBS);
    script_send(call, intake->o.redis, NULL, NULL);
}

/* --- due entries --- */

/* Due entries take at most half of the room: a wave of retries never stands before fresh posts. */
static struct room half(struct room room)
{
    room.jobs /= 2;
    return room;
}

static void on_due(void *arg, enum redis_status status, const redisReply *reply)
{
    struct request request = *(struct request *)arg;
    struct intake *intake = request.intake;
    size_t bytes;

    free(arg);
    if (request.generation != intake->generation) {
        ahead_answered(request.ahead, NULL);
        return;
    }
    intake->due--;
    bool good = status == REDIS_REPLIED && !refused(intake, reply);
    unsigned stayed = ahead_answered(request.ahead, good ? reply : NULL);
    if (good) {
        size_t count = read_answer(intake, reply, request.origin, &bytes);
        intake->tokens -= (double)count;
        bool more = count + stayed >= request.max_jobs || bytes >= request.max_bytes;
        if (more && intake->o.claim_rate == 0) /* else the tick goes on */
            intake_due(intake, request.origin, half(intake->o.room(intake->o.arg)));
    }
    try_stop(intake);
}

void intake_due(struct intake *intake, enum claim_origin origin, struct room room)
{
    enum { LOOK_FURTHER = 200, WINDOW = 200, DUE_KEYS = 9 };
    char now[32];

    if (intake->state != INTAKE_ON || membership_state(intake->o.membership) != MEMBER_PRESENT ||
        intake->due >= 2)
        return;
    room = bounded(intake, room, RATE_PART);
    if (room.jobs == 0)
        return;
    struct request *request = make_request(intake, origin, room);
    if (intake->o.ahead != NULL)
        request->ahead = ahead_begin(intake->o.ahead, origin, DUE_KEYS + intake->other_count);
    struct script_call *call = script_begin(SCRIPT_DUE);
    script_key(call, intake->o.keys->identities);
    script_key(call, membership_claimed_key(intake->o.membership));
    script_key(call, origin == ORIGIN_RETRY ? intake->o.keys->retry : intake->o.keys->schedule);
    script_key(call, intake->o.keys->recoveries);
    script_key(call, membership_ledger_key(intake->o.membership));
    script_key(call, membership_held_key(intake->o.membership));
    script_key(call, intake->o.keys->pairs);
    script_key(call, intake->o.keys->retry);
    script_key(call, intake->o.keys->schedule);
    for (unsigned i = 0; i < intake->other_count; i++)
        script_key(call, intake->others[i].held_key);
    ahead_put_keys(request->ahead, call);
    script_arg(call, membership_identity(intake->o.membership));
    retry_score(now, clock_wall_us(intake->o.clock));
    script_arg(call, str_of(now));
    script_arg_number(call, room.jobs);
    script_arg_number(call, (int64_t)room.bytes);
    script_arg_number(call, room.jobs + LOOK_FURTHER);
    script_arg(call, origin == ORIGIN_RETRY ? STR("r") : STR("s"));
    script_arg_number(call, intake->due_turns[origin == ORIGIN_RETRY]++);
    script_arg_number(call, WINDOW);
    ahead_put_args(request->ahead, call);
    intake->due++;
    script_send(call, intake->o.redis, on_due, request);
}

void intake_stop(struct intake *intake, loop_fn *done, void *arg)
{
    intake->state = INTAKE_STOPPING;
    intake->stopped = done;
    intake->stopped_arg = arg;
    try_stop(intake);
}
