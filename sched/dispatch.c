#include "sched/dispatch.h"

#include <stdlib.h>
#include <string.h>

#include "base/control.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/table.h"
#include "sched/lane.h"

enum {
    SLOT_COUNT = DISPATCH_MAX_WORKERS + 1,
    QUARANTINE_SLOT = DISPATCH_MAX_WORKERS,
    AGED_MS = 5000,
    ASK_MS = 250,
    KNOWN_BODIES = 4,
    KNOWN_BODY_BYTES = 64 * 1024, /* longer ones are not remembered, nor is their memory kept */
};

/* A post to thousands of hosts is one body: comparing it costs far less than decoding and hashing
 * it. */
struct known_body {
    struct buf json; /* as it stood in its job */
    struct buf text;
    unsigned char sha256[BODY_DIGEST_BYTES];
};

struct flight {
    uint64_t id;
    struct claim *claim;
};

struct channel {
    struct dispatch *dispatch;
    unsigned worker;
    struct ipc *ipc;
    uint32_t credits;
    unsigned in_flight;
    struct claim_list flight; /* oldest first */
    int64_t pinged_ms;        /* for an overdue job; 0: no such ping is under way */
    struct lag lag;
};

struct dispatch {
    struct dispatch_options o;
    struct channel channels[SLOT_COUNT];
    struct table *by_id; /* job id -> struct flight */
    uint64_t next_id;
    unsigned in_flight;
    unsigned aged;          /* of these, at the latest tick: waiting for hosts that fail */
    struct loop_timer *ask; /* how late workers are */
    struct buf scratch;
    struct known_body bodies[KNOWN_BODIES];
    unsigned next_body;      /* to be overwritten */
    struct known_body large; /* only while it is being sent */
};

static struct channel *channel_of(struct dispatch *d, unsigned worker)
{
    return &d->channels[worker == CONTROL_QUARANTINE_INDEX ? QUARANTINE_SLOT : worker];
}

static void on_ask(void *arg);

struct dispatch *dispatch_create(const struct dispatch_options *options)
{
    struct dispatch *d = mem_alloc(sizeof(*d));

    d->o = *options;
    d->by_id = table_create();
    d->next_id = 1;
    buf_init(&d->scratch, IPC_MAX_FRAME_BYTES);
    d->ask = loop_timer_create(options->base, on_ask, d);
    loop_timer_set(d->ask, ASK_MS);
    for (unsigned i = 0; i < KNOWN_BODIES; i++) {
        buf_init(&d->bodies[i].json, KNOWN_BODY_BYTES);
        buf_init(&d->bodies[i].text, KNOWN_BODY_BYTES);
    }
    buf_init(&d->large.text, MESSAGE_MAX_BODY_BYTES);
    for (unsigned i = 0; i < SLOT_COUNT; i++) {
        d->channels[i].dispatch = d;
        d->channels[i].worker = i == QUARANTINE_SLOT ? CONTROL_QUARANTINE_INDEX : i;
        TAILQ_INIT(&d->channels[i].flight);
    }
    return d;
}

/* Takes the claim out of the books of its channel. */
static void land(struct channel *channel, struct claim *claim)
{
    struct dispatch *d = channel->dispatch;
    struct flight *flight = table_remove(d->by_id, table_key_u64(&claim->flight_id));

    free(flight);
    TAILQ_REMOVE(&channel->flight, claim, entry);
    channel->in_flight--;
    d->in_flight--;
}

static void lose_all(struct channel *channel)
{
    struct claim *claim;

    while ((claim = TAILQ_FIRST(&channel->flight)) != NULL) {
        land(channel, claim);
        channel->dispatch->o.lost(channel->dispatch->o.arg, channel->worker, claim);
    }
    channel->credits = 0;
    channel->pinged_ms = 0;
}

static bool on_outcome(struct channel *channel, struct str payload)
{
    struct dispatch *d = channel->dispatch;
    struct message_outcome outcome;
    struct flight *flight;

    if (!message_get_outcome(payload, &outcome))
        return false;
    flight = table_get(d->by_id, table_key_u64(&outcome.id));
    if (flight == NULL || flight->claim->worker != channel->worker)
        return false; /* it speaks of a job it doesn't have: not to be trusted any further */
    struct claim *claim = flight->claim;
    land(channel, claim);
    channel->credits++;
    d->o.outcome(d->o.arg, channel->worker, claim, &outcome);
    d->o.credit(d->o.arg, channel->worker);
    return true;
}

static void take_pong(struct channel *channel, int64_t nonce_ms)
{
    if (nonce_ms == channel->pinged_ms)
        channel->pinged_ms = 0;
    lag_answered(&channel->lag, nonce_ms, clock_mono_ms(channel->dispatch->o.clock));
}

static bool on_frame(void *arg, struct ipc *ipc, uint16_t type, struct str payload)
{
    struct channel *channel = arg;
    struct message_hello hello;
    struct message_ping pong;

    (void)ipc;
    switch (type) {
    case MESSAGE_HELLO:
        if (!message_get_hello(payload, &hello) || channel->in_flight > 0)
            return false;
        channel->credits = hello.credits;
        channel->dispatch->o.credit(channel->dispatch->o.arg, channel->worker);
        return true;
    case MESSAGE_OUTCOME:
        return on_outcome(channel, payload);
    case MESSAGE_PONG:
        if (!message_get_ping(payload, &pong))
            return false;
        take_pong(channel, (int64_t)pong.nonce);
        return true;
    default:
        return false;
    }
}

static void on_closed(void *arg, struct ipc *ipc, const char *reason)
{
    struct channel *channel = arg;

    log_event(LOG_LEVEL_WARN, "worker is gone", LOG_INT("worker", channel->worker),
              LOG_TEXT("reason", reason), LOG_INT("jobs", channel->in_flight));
    ipc_destroy(ipc);
    channel->ipc = NULL;
    lose_all(channel);
}

void dispatch_connect(struct dispatch *d, unsigned worker, int fd)
{
    static const struct ipc_handlers handlers = {on_frame, on_closed};
    struct channel *channel = channel_of(d, worker);

    ipc_destroy(channel->ipc);
    lose_all(channel);
    channel->lag = (struct lag){0};
    channel->ipc = ipc_create(d->o.base, fd, &handlers, channel);
}

bool dispatch_has_credit(const struct dispatch *d, unsigned worker)
{
    unsigned slot = worker == CONTROL_QUARANTINE_INDEX ? QUARANTINE_SLOT : worker;
    return d->channels[slot].ipc != NULL && d->channels[slot].credits > 0;
}

bool dispatch_is_idle(const struct dispatch *d, unsigned worker)
{
    unsigned slot = worker == CONTROL_QUARANTINE_INDEX ? QUARANTINE_SLOT : worker;
    return dispatch_has_credit(d, worker) && d->channels[slot].in_flight == 0;
}

static struct known_body *slot_for(struct dispatch *d, struct str json)
{
    if (json.len > KNOWN_BODY_BYTES)
        return &d->large;
    struct known_body *body = &d->bodies[d->next_body++ % KNOWN_BODIES];
    buf_reset(&body->json);
    buf_put_str(&body->json, json);
    return body;
}

/* Valid until the next call. */
static struct known_body *body_of(struct dispatch *d, const struct job *job)
{
    for (unsigned i = 0; i < KNOWN_BODIES; i++) {
        if (str_equal(buf_str(&d->bodies[i].json), job->body_json))
            return &d->bodies[i];
    }
    struct known_body *body = slot_for(d, job->body_json);
    buf_reset(&body->text);
    job_put_body(job, &body->text);
    digest_sha256(buf_str(&body->text), body->sha256);
    return body;
}

static void make_ticket(struct dispatch *d, const struct claim *claim,
                        const struct known_body *body, struct ticket *ticket)
{
    *ticket = (struct ticket){
        .serial = d->next_id,
        .account_id = claim->job.account_id,
        .expires_s =
            claim->dispatched_us / 1000000 + (DISPATCH_DEADLINE_MS + DISPATCH_PONG_MS) / 1000,
        .origin = claim->url.origin,
        .content_type = STR("application/activity+json"),
        .synchronization = str_of(claim->synchronization),
    };
    memcpy(ticket->body_sha256, body->sha256, BODY_DIGEST_BYTES);
    ticket_seal(ticket, d->o.ticket_key);
}

/* How an admin has ordered that this host be delivered to. */
static void follow_policy(const struct dispatch *d, const struct claim *claim,
                          struct message_job *job)
{
    static const uint8_t knocks[] = {
        [POLICY_SCHEME_CAVAGE] = KNOCK_CAVAGE, [POLICY_SCHEME_RFC9421] = KNOCK_RFC9421};
    struct policy policy;

    if (d->o.policies == NULL || !policies_look(d->o.policies, claim->url.host, &policy))
        return;
    job->http2 = policy.http2;
    job->proxy = (uint8_t)policies_proxy(d->o.policies, str_of(policy.proxy));
    if (policy.scheme != POLICY_SCHEME_AUTO)
        job->knock = knocks[policy.scheme];
}

void dispatch_send(struct dispatch *d, unsigned worker, struct claim *claim)
{
    struct channel *channel = channel_of(d, worker);
    struct flight *flight = mem_alloc(sizeof(*flight));
    struct known_body *body = body_of(d, &claim->job);
    struct message_job job = {.knock = KNOCK_CAVAGE,
                              .low = claim->low,
                              .url = claim->url.text,
                              .body = buf_str(&body->text)};

    claim->dispatched_us = clock_wall_us(d->o.clock);
    claim->due_ms = clock_mono_ms(d->o.clock) + DISPATCH_DEADLINE_MS;
    claim->worker = worker;
    if (d->o.schemes != NULL)
        job.knock = (uint8_t)schemes_knock(d->o.schemes, claim->url.origin);
    follow_policy(d, claim, &job);
    make_ticket(d, claim, body, &job.ticket);
    job.id = claim->flight_id = d->next_id++;
    *flight = (struct flight){claim->flight_id, claim};
    table_put(d->by_id, table_key_u64(&claim->flight_id), flight);
    TAILQ_INSERT_TAIL(&channel->flight, claim, entry);
    channel->in_flight++;
    channel->credits--;
    d->in_flight++;
    buf_reset(&d->scratch);
    message_put_job(&d->scratch, &job);
    if (body == &d->large)
        buf_clear(&body->text);
    ipc_send(channel->ipc, MESSAGE_JOB, buf_str(&d->scratch));
    if (body == &d->large)
        buf_clear(&d->scratch);
}

void dispatch_cancel(struct dispatch *d)
{
    for (unsigned i = 0; i < SLOT_COUNT; i++) {
        if (d->channels[i].ipc != NULL)
            ipc_send(d->channels[i].ipc, MESSAGE_CANCEL, STR_NULL);
    }
}

void dispatch_foresee(struct dispatch *d, unsigned worker, struct str host)
{
    struct channel *channel = channel_of(d, worker);
    const struct message_foresee foreseen = {.host = host};

    if (channel->ipc == NULL)
        return;
    buf_reset(&d->scratch);
    message_put_foresee(&d->scratch, &foreseen);
    ipc_send(channel->ipc, MESSAGE_FORESEE, buf_str(&d->scratch));
}

void dispatch_abort(struct dispatch *d, const struct claim *claim)
{
    struct channel *channel = channel_of(d, claim->worker);
    const struct message_abort order = {.id = claim->flight_id};

    if (channel->ipc == NULL)
        return;
    buf_reset(&d->scratch);
    message_put_abort(&d->scratch, &order);
    ipc_send(channel->ipc, MESSAGE_ABORT, buf_str(&d->scratch));
}

static void ping(struct channel *channel, int64_t now_ms)
{
    struct dispatch *d = channel->dispatch;
    const struct message_ping message = {.nonce = (uint64_t)now_ms};

    buf_reset(&d->scratch);
    message_put_ping(&d->scratch, &message);
    ipc_send(channel->ipc, MESSAGE_PING, buf_str(&d->scratch));
}

static void look_at(struct channel *channel, int64_t now_ms)
{
    struct dispatch *d = channel->dispatch;
    struct claim *oldest = TAILQ_FIRST(&channel->flight);

    if (channel->ipc == NULL)
        return;
    if (channel->pinged_ms > 0 && now_ms - channel->pinged_ms > DISPATCH_PONG_MS) {
        log_event(LOG_LEVEL_ERROR, "worker is stuck: killed", LOG_INT("worker", channel->worker),
                  LOG_INT("jobs", channel->in_flight));
        channel->pinged_ms = now_ms; /* its death arrives as a closed channel */
        d->o.kill(d->o.arg, channel->worker);
        return;
    }
    if (oldest == NULL || now_ms < oldest->due_ms || channel->pinged_ms > 0)
        return;
    if (oldest->overdue) {
        log_event(LOG_LEVEL_ERROR, "worker forgot a job: killed",
                  LOG_INT("worker", channel->worker));
        oldest->due_ms = now_ms + DISPATCH_DEADLINE_MS;
        d->o.kill(d->o.arg, channel->worker);
        return;
    }
    oldest->overdue = true;
    oldest->due_ms = now_ms + DISPATCH_DEADLINE_MS / 2;
    channel->pinged_ms = now_ms;
    ping(channel, now_ms);
}

/* What waits for a host that is known not to answer is no work for its worker. */
static unsigned count_aged(const struct channel *channel, int64_t now_ms)
{
    const struct claim *claim;
    unsigned count = 0;

    TAILQ_FOREACH(claim, &channel->flight, entry)
    {
        if (!claim->overdue && claim->due_ms - now_ms > DISPATCH_DEADLINE_MS - AGED_MS)
            break;
        if (claim->lane != NULL && claim->lane->suspect && claim->lane->tried)
            count++;
    }
    return count;
}

void dispatch_tick(struct dispatch *d)
{
    int64_t now_ms = clock_mono_ms(d->o.clock);

    d->aged = 0;
    for (unsigned i = 0; i < SLOT_COUNT; i++) {
        struct channel *channel = &d->channels[i];
        look_at(channel, now_ms);
        d->aged += count_aged(channel, now_ms);
    }
}

/* Often: how long a worker stands still shows only in questions asked soon after its last turn. */
static void on_ask(void *arg)
{
    struct dispatch *d = arg;
    int64_t now_ms = clock_mono_ms(d->o.clock);

    loop_timer_set(d->ask, ASK_MS);
    for (unsigned i = 0; i < SLOT_COUNT; i++) {
        struct channel *channel = &d->channels[i];
        if (channel->ipc != NULL && lag_ask(&channel->lag, now_ms))
            ping(channel, now_ms);
    }
}

unsigned dispatch_free_slots(const struct dispatch *d, unsigned workers, unsigned slots)
{
    int64_t now_ms = clock_mono_ms(d->o.clock);
    unsigned busy = d->in_flight > d->aged ? d->in_flight - d->aged : 0;
    unsigned allowed = 0;

    for (unsigned i = 0; i < workers; i++)
        allowed += lag_share(lag_ms(&d->channels[i].lag, now_ms), slots / workers);
    return allowed > busy ? allowed - busy : 0;
}

uint32_t dispatch_lag_ms(const struct dispatch *d, unsigned workers)
{
    int64_t now_ms = clock_mono_ms(d->o.clock);
    uint32_t worst_ms = 0;

    for (unsigned i = 0; i < workers; i++) {
        uint32_t late_ms = lag_ms(&d->channels[i].lag, now_ms);
        if (late_ms > worst_ms)
            worst_ms = late_ms;
    }
    return worst_ms;
}

bool dispatch_is_late(const struct dispatch *d, unsigned workers)
{
    return dispatch_lag_ms(d, workers) > LAG_TOLERATED_MS;
}

unsigned dispatch_in_flight(const struct dispatch *d)
{
    return d->in_flight;
}

void dispatch_each(struct dispatch *d, void (*fn)(void *arg, struct claim *claim), void *arg)
{
    for (unsigned i = 0; i < SLOT_COUNT; i++) {
        struct claim *claim;
        TAILQ_FOREACH(claim, &d->channels[i].flight, entry)
        {
            fn(arg, claim);
        }
    }
}
