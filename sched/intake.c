#include "sched/intake.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sched/retry.h"

enum { WAIT_SILENT_MS = 6000, VET_CHUNK = INTAKE_MAX_JOBS };

enum intake_state { INTAKE_OFF = 0, INTAKE_ON, INTAKE_STOPPING, INTAKE_STOPPED };

/* Claims whose jids are being looked up in fedpush:recoveries. */
struct vetting {
    TAILQ_ENTRY(vetting) entry;
    struct intake *intake; /* NULL: forgotten */
    bool asked;            /* an answer is under way: asking twice would free it twice */
    size_t count;
    uint64_t seqs[VET_CHUNK];
};

struct intake {
    struct intake_options o;
    enum intake_state state;
    bool claiming; /* a claim script is under way */
    bool idle; /* the last answer was short: nothing to claim until the wait list or the tick says
                  so */
    bool waiting;  /* BLMOVE is under way */
    unsigned due;  /* due scripts under way */
    double tokens; /* of claim_rate */
    int64_t tokens_ms;
    uint64_t calls;
    uint64_t generation; /* answers from before a fence are another identity's */
    TAILQ_HEAD(, vetting) vettings;
    loop_fn *stopped;
    void *stopped_arg;
};

struct request {
    struct intake *intake;
    uint64_t generation;
    enum claim_origin origin;
    unsigned max_jobs;
    size_t max_bytes;
};

struct intake *intake_create(const struct intake_options *options)
{
    struct intake *intake = mem_alloc(sizeof(*intake));
    intake->o = *options;
    intake->tokens_ms = clock_mono_ms(options->clock);
    TAILQ_INIT(&intake->vettings);
    return intake;
}

void intake_forget(struct intake *intake)
{
    struct vetting *vetting;

    intake->generation++;
    intake->claiming = false;
    intake->due = 0;
    if (intake->state == INTAKE_ON)
        intake->state = INTAKE_OFF;
    TAILQ_FOREACH(vetting, &intake->vettings, entry)
    {
        vetting->count = 0;
    }
}

void intake_destroy(struct intake *intake)
{
    struct vetting *vetting;

    if (intake == NULL)
        return;
    while ((vetting = TAILQ_FIRST(&intake->vettings)) != NULL) {
        TAILQ_REMOVE(&intake->vettings, vetting, entry);
        vetting->intake = NULL; /* freed with its answer */
        if (!vetting->asked)
            free(vetting);
    }
    free(intake);
}

void intake_set_rate(struct intake *intake, int claim_rate)
{
    intake->o.claim_rate = claim_rate;
}

uint64_t intake_calls(const struct intake *intake)
{
    return intake->calls;
}

static void try_stop(struct intake *intake)
{
    if (intake->state != INTAKE_STOPPING || intake->claiming || intake->waiting ||
        intake->due > 0 || !TAILQ_EMPTY(&intake->vettings))
        return;
    intake->state = INTAKE_STOPPED;
    loop_defer(intake->o.base, intake->stopped, intake->stopped_arg);
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

static void on_recoveries(void *arg, enum redis_status status, const redisReply *reply);

static void look_up(struct intake *intake, struct vetting *vetting)
{
    struct str *words = mem_alloc((vetting->count + 2) * sizeof(*words));
    char(*jids)[64] = mem_alloc(vetting->count * sizeof(*jids));

    words[0] = STR("HMGET");
    words[1] = str_of(intake->o.keys->recoveries);
    for (size_t i = 0; i < vetting->count; i++) {
        struct claim *claim = holdings_find(intake->o.holdings, vetting->seqs[i]);
        if (claim != NULL)
            (void)job_peek_jid((struct str){claim->payload, claim->payload_bytes}, jids[i]);
        words[i + 2] = str_of(jids[i]);
    }
    vetting->asked = true;
    redis_send(intake->o.redis, on_recoveries, vetting, vetting->count + 2, words);
    free(jids);
    free(words);
}

static void accept_vetted(struct intake *intake, struct vetting *vetting, const redisReply *reply)
{
    for (size_t i = 0; i < vetting->count; i++) {
        struct claim *claim = holdings_find(intake->o.holdings, vetting->seqs[i]);
        if (claim == NULL || claim->state != CLAIM_NEW)
            continue;
        if (reply != NULL && i < reply->elements && reply->element[i]->type == REDIS_REPLY_STRING)
            claim->recoveries = (unsigned)strtoul(reply->element[i]->str, NULL, 10);
        intake->o.accept(intake->o.arg, claim);
    }
}

static void on_recoveries(void *arg, enum redis_status status, const redisReply *reply)
{
    struct vetting *vetting = arg;
    struct intake *intake = vetting->intake;

    vetting->asked = false;
    if (intake == NULL) {
        free(vetting);
        return;
    }
    if (status == REDIS_LOST && vetting->count > 0)
        return; /* stays listed: asked again by intake_start */
    TAILQ_REMOVE(&intake->vettings, vetting, entry);
    if (status == REDIS_REPLIED)
        accept_vetted(intake, vetting, reply->type == REDIS_REPLY_ARRAY ? reply : NULL);
    free(vetting);
    try_stop(intake);
}

/* `suspicious`: fedpush:recoveries isn't empty, so each jid has to be asked for. */
static void take_in(struct intake *intake, struct claim **claims, size_t count, bool suspicious)
{
    struct vetting *vetting;

    if (!suspicious) {
        for (size_t i = 0; i < count; i++)
            intake->o.accept(intake->o.arg, claims[i]);
        return;
    }
    while (count > 0) {
        vetting = mem_alloc(sizeof(*vetting));
        vetting->intake = intake;
        for (; count > 0 && vetting->count < VET_CHUNK; count--)
            vetting->seqs[vetting->count++] = (*claims++)->seq;
        TAILQ_INSERT_TAIL(&intake->vettings, vetting, entry);
        look_up(intake, vetting);
    }
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
        take_in(intake, &claim, 1, true);
}

/* The answer of claim.lua (step 2) or due.lua (step 3): jobs under suspicion, then seq[, score],
 * bytes. */
static size_t read_answer(struct intake *intake, const redisReply *reply, enum claim_origin origin,
                          size_t *bytes)
{
    size_t step = origin == ORIGIN_QUEUE ? 2 : 3;
    size_t count = 0;
    bool suspicious = reply->elements > 0 && reply->element[0]->integer > 0;
    struct claim **claims = mem_alloc((reply->elements / step + 1) * sizeof(struct claim *));

    *bytes = 0;
    for (size_t i = 1; i + step <= reply->elements; i += step) {
        struct str seq_text;
        struct str score = STR_NULL;
        struct str payload;
        int64_t seq;
        struct claim *claim;
        if (!reply_text(reply->element[i], &seq_text) ||
            !str_to_i64(seq_text, 1, INT64_MAX, &seq) ||
            !reply_text(reply->element[i + step - 1], &payload) ||
            (step == 3 && !reply_text(reply->element[i + 1], &score)))
            continue; /* not ours to understand: reconciling will find it */
        claim = hold(intake, (uint64_t)seq, origin, score, payload);
        if (claim != NULL)
            claims[count++] = claim;
        *bytes += payload.len;
    }
    take_in(intake, claims, count, suspicious);
    free(claims);
    return count;
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

static void wait_for_job(struct intake *intake);
static void claim_now(struct intake *intake);

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
    size_t count = read_answer(intake, reply, ORIGIN_QUEUE, &bytes);
    intake->tokens -= (double)count;
    intake->idle = count < request.max_jobs && bytes < request.max_bytes;
    if (intake->idle)
        wait_for_job(intake);
    else
        claim_now(intake);
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

static struct room room_now(struct intake *intake)
{
    struct room room = intake->o.room(intake->o.arg);

    if (room.jobs > INTAKE_MAX_JOBS)
        room.jobs = INTAKE_MAX_JOBS;
    if (room.bytes > INTAKE_MAX_BYTES)
        room.bytes = INTAKE_MAX_BYTES;
    if (intake->o.claim_rate > 0) {
        refill_tokens(intake);
        if (room.jobs > intake->tokens)
            room.jobs = intake->tokens >= 1 ? (unsigned)intake->tokens : 0;
    }
    if (room.bytes == 0)
        room.jobs = 0;
    return room;
}

static struct request *make_request(struct intake *intake, enum claim_origin origin,
                                    struct room room)
{
    struct request *request = mem_alloc(sizeof(*request));
    *request = (struct request){intake, intake->generation, origin, room.jobs, room.bytes};
    return request;
}

static void claim_now(struct intake *intake)
{
    struct room room;

    if (intake->state != INTAKE_ON || intake->claiming ||
        membership_state(intake->o.membership) != MEMBER_PRESENT)
        return;
    room = room_now(intake);
    if (room.jobs == 0)
        return;
    struct script_call *call = script_begin(SCRIPT_CLAIM);
    script_key(call, intake->o.keys->identities);
    script_key(call, membership_claimed_key(intake->o.membership));
    script_key(call, membership_wait_key(intake->o.membership));
    script_key(call, intake->o.keys->queue_push);
    script_key(call, intake->o.keys->recoveries);
    script_key(call, membership_ledger_key(intake->o.membership));
    script_arg(call, membership_identity(intake->o.membership));
    script_arg_number(call, room.jobs);
    script_arg_number(call, (int64_t)room.bytes);
    intake->claiming = true;
    intake->calls++;
    script_send(call, intake->o.redis, on_claim, make_request(intake, ORIGIN_QUEUE, room));
}

/* --- waiting for the empty queue --- */

static void on_waited(void *arg, enum redis_status status, const redisReply *reply)
{
    struct intake *intake = arg;

    intake->waiting = false;
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
    struct vetting *vetting;

    if (intake->state == INTAKE_OFF)
        intake->state = INTAKE_ON;
    intake->claiming = false;
    intake->idle = false;
    TAILQ_FOREACH(vetting, &intake->vettings, entry)
    {
        if (!vetting->asked)
            look_up(intake, vetting);
    }
    claim_now(intake);
}

void intake_room(struct intake *intake)
{
    if (!intake->idle)
        claim_now(intake);
}

void intake_tick(struct intake *intake)
{
    if (intake->waiting && redis_oldest_ms(intake->o.redis_wait) > WAIT_SILENT_MS)
        redis_reconnect(intake->o.redis_wait, "no answer to BLMOVE");
    claim_now(intake);
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
    if (request.generation != intake->generation)
        return;
    intake->due--;
    if (status == REDIS_REPLIED && !refused(intake, reply)) {
        size_t count = read_answer(intake, reply, request.origin, &bytes);
        if (count >= request.max_jobs || bytes >= request.max_bytes) /* there are more */
            intake_due(intake, request.origin, half(intake->o.room(intake->o.arg)));
    }
    try_stop(intake);
}

void intake_due(struct intake *intake, enum claim_origin origin, struct room room)
{
    enum { LOOK_FURTHER = 200 };
    char now[32];

    if (intake->state != INTAKE_ON || membership_state(intake->o.membership) != MEMBER_PRESENT ||
        room.jobs == 0 || intake->due >= 2)
        return;
    if (room.jobs > INTAKE_MAX_JOBS)
        room.jobs = INTAKE_MAX_JOBS;
    if (room.bytes > INTAKE_MAX_BYTES)
        room.bytes = INTAKE_MAX_BYTES;
    struct script_call *call = script_begin(SCRIPT_DUE);
    script_key(call, intake->o.keys->identities);
    script_key(call, membership_claimed_key(intake->o.membership));
    script_key(call, origin == ORIGIN_RETRY ? intake->o.keys->retry : intake->o.keys->schedule);
    script_key(call, intake->o.keys->recoveries);
    script_key(call, membership_ledger_key(intake->o.membership));
    script_arg(call, membership_identity(intake->o.membership));
    retry_score(now, clock_wall_us(intake->o.clock));
    script_arg(call, str_of(now));
    script_arg_number(call, room.jobs);
    script_arg_number(call, (int64_t)room.bytes);
    script_arg_number(call, room.jobs + LOOK_FURTHER);
    script_arg(call, origin == ORIGIN_RETRY ? STR("r") : STR("s"));
    intake->due++;
    script_send(call, intake->o.redis, on_due, make_request(intake, origin, room));
}

void intake_stop(struct intake *intake, loop_fn *done, void *arg)
{
    intake->state = INTAKE_STOPPING;
    intake->stopped = done;
    intake->stopped_arg = arg;
    try_stop(intake);
}
