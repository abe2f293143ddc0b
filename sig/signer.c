#include "sig/signer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/ipc.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/message.h"
#include "base/role.h"
#include "base/secret.h"
#include "sig/date.h"
#include "sig/digest.h"
#include "sig/encryption.h"
#include "sig/heap.h"
#include "sig/keyring.h"
#include "sig/pool.h"
#include "sig/scheme.h"
#include "sig/source.h"
#include "sig/uses.h"

enum {
    MAX_WORKERS = CONTROL_QUARANTINE_INDEX + 1,
    MAX_OPEN = 65536, /* requests: a worker has one for each of its jobs */
    /* Of answers that a worker does not read: it is stuck or hostile, and its channel is closed. */
    MAX_UNREAD_BYTES = 64 * 1024 * 1024,
    MAX_DATE_AGE_S = 30,
    MAX_SIGNING_STRING_BYTES = 64 * 1024,
    KEYRING_TICK_MS = 100,
};

struct signer;
struct request;

struct channel {
    struct signer *signer;
    struct ipc *ipc;
    uint64_t generation; /* answers to a channel that was replaced are dropped */
};

struct signer {
    struct role_process process;
    struct heap heap;
    struct encryption *encryption; /* NULL: not configured */
    struct dns *dns;
    struct postgres *postgres;
    struct keyring *keyring;
    struct source *source;
    struct pool *pool;
    struct uses *uses;
    struct loop_timer *tick;
    LIST_HEAD(, request) open;
    size_t open_count;
    struct channel channels[MAX_WORKERS];
    int fds[MAX_WORKERS]; /* until start: a descriptor, or -1 */
    bool started;
    struct buf scratch;
};

/*
 * One question of a worker: ASKED_KEY --account--> SIGNING --signature--> answered and freed. It
 * owns copies of the values that are signed.
 */
struct request {
    struct signer *signer;
    struct channel *channel;
    uint64_t generation;
    uint64_t id;
    enum sign_method method;
    enum sign_scheme scheme;
    struct str target;
    struct str origin;
    struct str content_type;
    struct str synchronization;
    int64_t date_s;
    char date[DATE_BYTES];
    char digest[DIGEST_HEADER_BYTES];
    struct account *account;
    struct pool_job job;
    char *memory;
    LIST_ENTRY(request) link;
};

static void request_free(struct request *r)
{
    LIST_REMOVE(r, link);
    r->signer->open_count--;
    if (r->account != NULL)
        account_unref(r->account);
    free(r->memory);
    free(r);
}

static void answer(struct signer *s, struct channel *channel, uint64_t generation,
                   const struct message_signed *message)
{
    if (channel->ipc == NULL || channel->generation != generation)
        return;
    buf_reset(&s->scratch);
    message_put_signed(&s->scratch, message);
    ipc_send(channel->ipc, MESSAGE_SIGNED, buf_str(&s->scratch));
}

static void refuse(struct channel *channel, uint64_t id, enum sign_status status,
                   const char *reason)
{
    const struct message_signed message = {
        .id = id, .status = (uint8_t)status, .reason = str_of(reason)};

    if (status == SIGN_REFUSED)
        log_event(LOG_LEVEL_WARN, "signature refused",
                  LOG_INT("worker", channel - channel->signer->channels),
                  LOG_TEXT("reason", reason));
    answer(channel->signer, channel, channel->generation, &message);
}

/* --- what a ticket allows --- */

static const char *unfit_target(struct str target)
{
    if (target.len == 0 || target.ptr[0] != '/')
        return "the target does not begin with a slash";
    for (size_t i = 0; i < target.len; i++) {
        if (target.ptr[i] < 0x21 || target.ptr[i] > 0x7e)
            return "the target has bytes that no request line may have";
    }
    return NULL;
}

static const char *unfit_use(enum use use)
{
    switch (use) {
    case USE_ALLOWED:
        return NULL;
    case USE_EXHAUSTED:
        return "the ticket was used up";
    case USE_FULL:
        return "too many tickets are in use";
    }
    return "unknown";
}

/* NULL when this may be signed, else why not. The use is counted last: what is refused costs none.
 */
static const char *unfit(struct signer *s, const struct message_sign *m, enum sign_status *status,
                         struct err *err)
{
    int64_t now_s = clock_wall_us(&s->process.clock) / 1000000;
    const char *reason;

    *status = SIGN_REFUSED;
    if (ticket_check(&m->ticket, s->process.ticket_key, now_s, err) != FP_OK)
        return err->message;
    if (m->method != SIGN_POST && m->method != SIGN_GET)
        return "unknown method";
    if (m->date_s > now_s || m->date_s < now_s - MAX_DATE_AGE_S)
        return "the date is ahead of time or too old";
    reason = unfit_target(m->target);
    if (reason != NULL)
        return reason;
    enum use use = uses_count(s->uses, &m->ticket, now_s);
    if (use == USE_FULL)
        *status = SIGN_UNAVAILABLE;
    return unfit_use(use);
}

/* --- a request's way --- */

static struct str copy_to(char **at, struct str s)
{
    struct str copy = {*at, s.len};
    if (s.len > 0)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return copy;
}

/* The Host field's value is what follows the scheme in the origin: one derivation for both. */
static struct str host_of(struct str origin)
{
    size_t colon = str_find(origin, ':');
    return str_slice(origin, colon + 3);
}

static struct request *request_create(struct channel *channel, const struct message_sign *m)
{
    struct signer *s = channel->signer;
    struct request *r = mem_alloc(sizeof(*r));
    char *at;

    r->signer = s;
    r->channel = channel;
    r->generation = channel->generation;
    r->id = m->id;
    r->job.low = m->low != 0;
    r->method = (enum sign_method)m->method;
    r->scheme = (enum sign_scheme)m->scheme;
    at = r->memory = mem_alloc(m->target.len + m->ticket.origin.len + m->ticket.content_type.len +
                               m->ticket.synchronization.len + 1);
    r->target = copy_to(&at, m->target);
    r->origin = copy_to(&at, m->ticket.origin);
    r->content_type = copy_to(&at, m->ticket.content_type);
    r->synchronization = copy_to(&at, m->ticket.synchronization);
    r->date_s = m->date_s;
    date_format(m->date_s, r->date);
    if (r->method == SIGN_POST && r->scheme == SCHEME_RFC9421)
        digest_content_header(m->ticket.body_sha256, r->digest);
    else if (r->method == SIGN_POST)
        digest_header(m->ticket.body_sha256, r->digest);
    LIST_INSERT_HEAD(&s->open, r, link);
    s->open_count++;
    return r;
}

static struct scheme_request values_of(const struct request *r)
{
    const struct mastodon_version *version = &r->signer->process.config.mastodon;

    return (struct scheme_request){
        .scheme = r->scheme,
        .style = cavage_style_for(version, r->method, r->synchronization.len > 0),
        .plain = {.method = r->method,
                  .target = r->target,
                  .host = host_of(r->origin),
                  .date = str_of(r->date),
                  .digest = str_of(r->digest),
                  .content_type = r->content_type,
                  .synchronization = r->synchronization},
        .origin = r->origin,
        .date_s = r->date_s,
        .key_id = str_of(r->account->key_id),
        .key_bits = key_bits(r->account->key)};
}

static void fail(struct request *r, enum sign_status status, const char *reason)
{
    if (r->channel->generation == r->generation)
        refuse(r->channel, r->id, status, reason);
    request_free(r);
}

static void on_key(void *arg, enum sign_status status, struct account *account, const char *reason)
{
    struct request *r = arg;
    struct buf text;
    struct err err;

    if (status != SIGN_OK) {
        fail(r, status, reason);
        return;
    }
    r->account = account_ref(account);
    struct scheme_request values = values_of(r);
    buf_init(&text, MAX_SIGNING_STRING_BYTES);
    enum fp_err code = scheme_put_text(&text, &values, &err);
    digest_sha256(buf_str(&text), r->job.sha256);
    buf_clear(&text);
    if (code != FP_OK) {
        fail(r, SIGN_REFUSED, err.message);
        return;
    }
    r->job.key = account->key;
    if (!pool_submit(r->signer->pool, &r->job))
        fail(r, SIGN_UNAVAILABLE, "too many signatures are waiting");
}

/* There was no room for this thread's copy of the key, or the key is none. */
static void on_failed(struct request *r)
{
    struct signer *s = r->signer;

    if (heap_is_tight(&s->heap)) {
        keyring_trim(s->keyring);
        fail(r, SIGN_UNAVAILABLE, "no memory for a private key");
    } else {
        fail(r, SIGN_KEY_UNUSABLE, "the private key cannot sign");
    }
}

static void on_signed(void *arg, struct pool_job *job)
{
    struct signer *s = arg;
    struct request *r = (struct request *)(void *)((char *)job - offsetof(struct request, job));
    struct buf header;
    struct buf input;

    if (!job->good) {
        on_failed(r);
        return;
    }
    buf_init(&header, MESSAGE_MAX_TEXT_BYTES);
    buf_init(&input, MESSAGE_MAX_TEXT_BYTES);
    struct scheme_request values = values_of(r);
    scheme_put_fields(&header, &input, &values, job->signature, job->signature_len);
    const struct message_signed message = {.id = r->id,
                                           .status = SIGN_OK,
                                           .sender_suspended = r->account->suspended,
                                           .host = host_of(r->origin),
                                           .date = str_of(r->date),
                                           .digest = str_of(r->digest),
                                           .signature = buf_str(&header),
                                           .signature_input = buf_str(&input)};
    answer(s, r->channel, r->generation, &message);
    buf_clear(&header);
    buf_clear(&input);
    request_free(r);
}

/* --- channels --- */

static bool on_frame(void *arg, struct ipc *ipc, uint16_t type, struct str payload)
{
    struct channel *channel = arg;
    struct signer *s = channel->signer;
    struct message_sign m;
    enum sign_status status;
    const char *reason;
    struct err err;

    if (ipc_pending_bytes(ipc) > MAX_UNREAD_BYTES)
        return false;
    if (type != MESSAGE_SIGN || !message_get_sign(payload, &m))
        return false;
    if (s->open_count >= MAX_OPEN) {
        refuse(channel, m.id, SIGN_UNAVAILABLE, "too many signatures are waiting");
        return true;
    }
    reason = unfit(s, &m, &status, &err);
    if (reason != NULL) {
        refuse(channel, m.id, status, reason);
        return true;
    }
    keyring_ask(s->keyring, m.ticket.account_id, m.reread != 0, on_key,
                request_create(channel, &m));
    if (keyring_waiting(s->keyring) > 0 && !loop_timer_pending(s->tick))
        loop_timer_set(s->tick, KEYRING_TICK_MS);
    return true;
}

static void on_closed(void *arg, struct ipc *ipc, const char *reason)
{
    struct channel *channel = arg;

    log_event(LOG_LEVEL_DEBUG, "worker is gone",
              LOG_INT("worker", channel - channel->signer->channels), LOG_TEXT("reason", reason));
    ipc_destroy(ipc);
    channel->ipc = NULL;
    channel->generation++;
}

static void connect_worker(struct signer *s, unsigned index, int fd)
{
    static const struct ipc_handlers handlers = {on_frame, on_closed};
    struct channel *channel = &s->channels[index];

    ipc_destroy(channel->ipc);
    channel->generation++;
    channel->ipc = ipc_create(s->process.base, fd, &handlers, channel);
}

static void on_tick(void *arg)
{
    struct signer *s = arg;

    keyring_tick(s->keyring);
    if (keyring_waiting(s->keyring) > 0)
        loop_timer_set(s->tick, KEYRING_TICK_MS);
}

/* --- start --- */

static unsigned threads_of(const struct config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return (unsigned)(config->signing_threads > 0 ? config->signing_threads
                      : cores > 0                 ? cores
                                                  : 1);
}

/* The texts have done their duty then: only what is derived of them stays. */
static void derive_encryption(struct signer *s)
{
    struct config *config = &s->process.config;

    if (config_encryption_is_set(config)) {
        s->encryption = encryption_create(str_of(config->encryption_primary_key),
                                          str_of(config->encryption_salt));
        if (s->encryption == NULL) {
            log_plain(LOG_LEVEL_ERROR, "cannot start: no memory for the encryption keys");
            exit(FP_EXIT_OS);
        }
    }
    secret_wipe(config->encryption_primary_key, strlen(config->encryption_primary_key));
    secret_wipe(config->encryption_salt, strlen(config->encryption_salt));
}

static void make_keys(struct signer *s, unsigned threads)
{
    const struct config *config = &s->process.config;
    struct role_process *p = &s->process;
    const struct dns_options dns = {
        .servers = str_of(config->resolvers), .hosts_file = true, .timeout_ms = 5000};
    const struct postgres_options postgres = {
        .conninfo = str_of(config->postgres_keys), .name = "keys", .secret_results = true};
    struct err err;

    heap_open(&s->heap, (size_t)config->key_cache * threads);
    if (!process_lock_memory())
        log_plain(LOG_LEVEL_WARN, "memory is not locked: raise the limit (LimitMEMLOCK=infinity) "
                                  "so that no key reaches swap");
    derive_encryption(s);
    const struct keyring_options keyring = {.clock = &p->clock,
                                            .heap = &s->heap,
                                            .web_domain = str_of(config->web_domain),
                                            .capacity = (size_t)config->key_cache,
                                            .copies = threads,
                                            .encryption = s->encryption};
    s->keyring = keyring_create(&keyring);
    s->dns = dns_create(p->base, &dns, &err);
    if (s->dns == NULL) {
        log_event(LOG_LEVEL_ERROR, "cannot start", LOG_TEXT("error", err.message));
        exit(FP_EXIT_CONFIG);
    }
    s->postgres = postgres_create(p->base, s->dns, &postgres);
    s->source = source_create(p->base, &p->clock, s->postgres, s->keyring, s->encryption != NULL);
}

static void on_start(void *arg)
{
    struct signer *s = arg;
    unsigned threads = threads_of(&s->process.config);

    buf_init(&s->scratch, IPC_MAX_FRAME_BYTES);
    s->uses = uses_create(USES_MAX_TICKETS);
    make_keys(s, threads);
    s->pool = pool_create(s->process.base, threads, MAX_OPEN, on_signed, s);
    if (s->pool == NULL) {
        log_plain(LOG_LEVEL_ERROR, "cannot start the threads that sign");
        exit(FP_EXIT_OS);
    }
    s->tick = loop_timer_create(s->process.base, on_tick, s);
    s->started = true;
    for (unsigned i = 0; i < MAX_WORKERS; i++) {
        s->channels[i].signer = s;
        if (s->fds[i] >= 0)
            connect_worker(s, i, s->fds[i]);
    }
    control_send(s->process.control, CONTROL_READY, STR_NULL, -1);
}

static void on_peer(void *arg, enum role role, unsigned index, int fd)
{
    struct signer *s = arg;

    if (role != ROLE_WORKER || index >= MAX_WORKERS)
        role_exit(&s->process, FP_EXIT_SOFTWARE);
    else if (s->started)
        connect_worker(s, index, fd);
    else
        s->fds[index] = fd;
}

/* The threads end before the process does: exit() takes OpenSSL away from under them. */
static void finish(struct signer *s)
{
    struct request *next;

    pool_destroy(s->pool);
    source_destroy(s->source);
    postgres_destroy(s->postgres);
    dns_destroy(s->dns);
    for (struct request *r = LIST_FIRST(&s->open); r != NULL; r = next) {
        next = LIST_NEXT(r, link);
        request_free(r);
    }
    keyring_destroy(s->keyring);
    encryption_destroy(s->encryption);
    uses_destroy(s->uses);
    loop_timer_destroy(s->tick);
    for (unsigned i = 0; i < MAX_WORKERS; i++)
        ipc_destroy(s->channels[i].ipc);
    buf_clear(&s->scratch);
    control_destroy(s->process.control);
    event_base_free(s->process.base);
    config_clear(&s->process.config);
    secret_wipe(s->process.ticket_key, sizeof(s->process.ticket_key));
    free(s);
}

int signer_main(void)
{
    static const struct role_handlers handlers = {.start = on_start, .peer = on_peer};
    struct signer *s = mem_alloc(sizeof(*s));

    for (unsigned i = 0; i < MAX_WORKERS; i++)
        s->fds[i] = -1;
    LIST_INIT(&s->open);
    int exit_code = role_run(&s->process, ROLE_SIGNER, 0, &handlers, s);
    finish(s);
    return exit_code;
}
