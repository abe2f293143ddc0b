#include "sched/membership.h"

#include <stdlib.h>

#include "base/log.h"

struct membership {
    const struct clock *clock;
    struct redis *redis;
    const struct keys *keys;
    struct membership_handlers handlers;
    struct loop_timer *timer;
    enum membership_state state;
    char *identity;
    char *claimed_key;
    char *wait_key;
    char *ledger_key;
    char *held_key;
    bool joined_once;    /* under this identity: from then on an absent identity is a lost one */
    int64_t acked_ms;    /* monotonic time at which the last acknowledged beat was *sent* */
    uint64_t generation; /* of the identity: answers to another one's beats are stale */
};

struct beat {
    struct membership *membership;
    uint64_t generation;
    int64_t sent_ms;
};

static void set_state(struct membership *m, enum membership_state state)
{
    static const char *const names[] = {"absent", "joining", "present", "fenced", "left"};

    if (m->state == state)
        return;
    log_event(LOG_LEVEL_DEBUG, "membership", LOG_TEXT("from", names[m->state]),
              LOG_TEXT("to", names[state]));
    m->state = state;
}

void membership_fence(struct membership *m)
{
    if (m->state == MEMBER_FENCED || m->state == MEMBER_LEFT)
        return;
    set_state(m, MEMBER_FENCED);
    loop_timer_clear(m->timer);
    log_event(LOG_LEVEL_WARN, "fenced: this identity was recovered by another machine",
              LOG_TEXT("identity", m->identity));
    m->handlers.fenced(m->handlers.arg);
}

static void on_beat(void *arg, enum redis_status status, const redisReply *reply)
{
    struct beat beat = *(struct beat *)arg;
    struct membership *m = beat.membership;

    free(arg);
    if (beat.generation != m->generation || m->state == MEMBER_FENCED || m->state == MEMBER_LEFT)
        return;
    if (status == REDIS_LOST)
        return; /* the next connection beats first */
    if (reply_is(reply, STR("FENCED"))) {
        membership_fence(m);
        return;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        log_event(LOG_LEVEL_WARN, "beat refused", LOG_STR("error", reply_error(status, reply)));
        return;
    }
    m->acked_ms = beat.sent_ms;
    m->joined_once = true;
    if (m->state == MEMBER_JOINING) {
        set_state(m, MEMBER_PRESENT);
        m->handlers.joined(m->handlers.arg);
    }
}

static void send_beat(struct membership *m)
{
    struct beat *beat = mem_alloc(sizeof(*beat));
    struct script_call *call = script_begin(SCRIPT_BEAT);

    *beat = (struct beat){m, m->generation, clock_mono_ms(m->clock)};
    script_key(call, m->keys->identities);
    script_key(call, m->held_key);
    script_arg(call, str_of(m->identity));
    script_arg(call, m->joined_once ? STR("beat") : STR("join"));
    script_send(call, m->redis, on_beat, beat);
}

static void on_timer(void *arg)
{
    struct membership *m = arg;

    loop_timer_set(m->timer, MEMBER_BEAT_MS);
    if (m->state == MEMBER_PRESENT || m->state == MEMBER_JOINING) {
        if (redis_is_ready(m->redis))
            send_beat(m);
    }
}

struct membership *membership_create(struct event_base *base, const struct clock *clock,
                                     struct redis *redis, const struct keys *keys,
                                     const struct membership_handlers *handlers)
{
    struct membership *m = mem_alloc(sizeof(*m));

    m->clock = clock;
    m->redis = redis;
    m->keys = keys;
    m->handlers = *handlers;
    m->timer = loop_timer_create(base, on_timer, m);
    return m;
}

void membership_destroy(struct membership *m)
{
    if (m == NULL)
        return;
    loop_timer_destroy(m->timer);
    free(m->identity);
    free(m->claimed_key);
    free(m->wait_key);
    free(m->ledger_key);
    free(m->held_key);
    free(m);
}

static void join(struct membership *m)
{
    set_state(m, MEMBER_JOINING);
    loop_timer_set(m->timer, MEMBER_BEAT_MS);
    send_beat(m);
}

void membership_adopt(struct membership *m, struct str identity)
{
    free(m->identity);
    free(m->claimed_key);
    free(m->wait_key);
    free(m->ledger_key);
    free(m->held_key);
    m->identity = str_dup(identity);
    m->claimed_key = keys_claimed(m->keys, identity);
    m->wait_key = keys_wait(m->keys, identity);
    m->ledger_key = keys_ledger(m->keys, identity);
    m->held_key = keys_held(m->keys, identity);
    m->generation++;
    m->joined_once = false;
    m->acked_ms = 0;
    set_state(m, MEMBER_ABSENT);
    if (redis_is_ready(m->redis))
        join(m);
}

void membership_redis_ready(struct membership *m)
{
    if (m->identity != NULL && m->state != MEMBER_FENCED && m->state != MEMBER_LEFT)
        join(m);
}

void membership_redis_lost(struct membership *m)
{
    if (m->state == MEMBER_PRESENT || m->state == MEMBER_JOINING)
        set_state(m, MEMBER_ABSENT);
}

void membership_left(struct membership *m)
{
    set_state(m, MEMBER_LEFT);
    loop_timer_clear(m->timer);
}

enum membership_state membership_state(const struct membership *m)
{
    return m->state;
}

struct str membership_identity(const struct membership *m)
{
    return str_of(m->identity);
}

int64_t membership_beat_age_ms(const struct membership *m)
{
    return m->joined_once ? clock_mono_ms(m->clock) - m->acked_ms : INT64_MAX;
}

bool membership_is_fresh(const struct membership *m)
{
    return m->state == MEMBER_PRESENT && membership_beat_age_ms(m) <= MEMBER_FRESH_MS;
}

const char *membership_claimed_key(const struct membership *m)
{
    return m->claimed_key;
}

const char *membership_wait_key(const struct membership *m)
{
    return m->wait_key;
}

const char *membership_ledger_key(const struct membership *m)
{
    return m->ledger_key;
}

const char *membership_held_key(const struct membership *m)
{
    return m->held_key;
}
