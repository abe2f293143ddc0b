#include "worker/worker.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ipc.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/role.h"
#include "base/table.h"
#include "worker/delivery.h"
#include "worker/request.h"
#include "worker/trust.h"

enum { TICK_MS = 1000, DNS_TIMEOUT_MS = 5000 };

struct worker {
    struct role_process process;
    struct delivery_context context;
    struct rereads rereads;
    struct address_policy policy;
    struct proxies proxies;
    struct dns *dns;
    X509_STORE *store;
    struct ipc *scheduler;
    struct ipc *signer;
    int scheduler_fd; /* until start; -1: none yet */
    int signer_fd;
    struct table *deliveries; /* job id -> struct entry */
    struct loop_timer *tick;
    struct buf scratch;
    char *user_agent;
    unsigned credits; /* jobs the scheduler may still send */
};

struct entry {
    uint64_t id;
    struct delivery *delivery;
};

static bool ask_signer(void *arg, const struct message_sign *request)
{
    struct worker *w = arg;

    if (w->signer == NULL)
        return false;
    buf_reset(&w->scratch);
    message_put_sign(&w->scratch, request);
    ipc_send(w->signer, MESSAGE_SIGN, buf_str(&w->scratch));
    return true;
}

static void on_done(void *arg, struct delivery *delivery, const struct message_outcome *outcome)
{
    struct worker *w = arg;
    uint64_t id = delivery_id(delivery);

    free(table_remove(w->deliveries, table_key_u64(&id)));
    buf_reset(&w->scratch);
    message_put_outcome(&w->scratch, outcome);
    ipc_send(w->scheduler, MESSAGE_OUTCOME, buf_str(&w->scratch));
    w->credits++;
}

#ifdef FEDPUSH_FAULTS
/* What integration tests trigger by the path of an inbox; no release has it. */
static void fault(struct str url)
{
    if (str_ends_with(url, STR("/fedpush-fault-crash")))
        abort();
    while (str_ends_with(url, STR("/fedpush-fault-hang")))
        pause();
}
#endif

static bool on_job(struct worker *w, struct str payload)
{
    struct message_job job;
    struct delivery *delivery;
    struct entry *entry;

    if (w->credits == 0 || !message_get_job(payload, &job) ||
        table_get(w->deliveries, table_key_u64(&job.id)) != NULL)
        return false;
#ifdef FEDPUSH_FAULTS
    fault(job.url);
#endif
    delivery = delivery_start(&w->context, &job);
    if (delivery == NULL)
        return false;
    w->credits--;
    entry = mem_alloc(sizeof(*entry));
    *entry = (struct entry){job.id, delivery};
    table_put(w->deliveries, table_key_u64(&entry->id), entry);
    delivery_begin(delivery);
    return true;
}

/* The table changes when a delivery ends, so that its members are collected first; each is looked
 * up again before it is used. */
static void for_each_delivery(struct worker *w, void (*fn)(struct delivery *delivery))
{
    size_t count = table_count(w->deliveries);
    uint64_t *ids = mem_alloc((count + 1) * sizeof(*ids));
    size_t at = 0;
    size_t n = 0;
    struct entry *entry;

    while (n < count && (entry = table_next(w->deliveries, &at)) != NULL)
        ids[n++] = entry->id;
    for (size_t i = 0; i < n; i++) {
        entry = table_get(w->deliveries, table_key_u64(&ids[i]));
        if (entry != NULL)
            fn(entry->delivery);
    }
    free(ids);
}

static bool on_abort(struct worker *w, struct str payload)
{
    struct message_abort abort_of;
    struct entry *entry;

    if (!message_get_abort(payload, &abort_of))
        return false;
    entry = table_get(w->deliveries, table_key_u64(&abort_of.id));
    if (entry != NULL) /* else it has ended meanwhile */
        delivery_abort(entry->delivery);
    return true;
}

/* A name that a proxy will resolve is not asked for here, a literal has none. */
static bool on_foresee(struct worker *w, struct str payload)
{
    struct message_foresee foreseen;
    struct buf text;
    struct url url;
    struct err err;

    if (!message_get_foresee(payload, &foreseen))
        return false;
    buf_init(&text, MESSAGE_MAX_TEXT_BYTES + 16);
    buf_printf(&text, "https://%.*s/", STR_ARG(foreseen.host));
    if (url_parse(&url, buf_str(&text), &err) == FP_OK) {
        if (!url.ip_literal && !proxy_host_is_hidden(url.host) &&
            proxy_for(&w->proxies, url.host) == NULL)
            resolver_foresee(w->context.resolver, url.host);
        url_clear(&url);
    }
    buf_clear(&text);
    return true;
}

static bool scheduler_frame(void *arg, struct ipc *ipc, uint16_t type, struct str payload)
{
    struct worker *w = arg;
    struct message_ping ping;

    switch (type) {
    case MESSAGE_JOB:
        return on_job(w, payload);
    case MESSAGE_CANCEL:
        for_each_delivery(w, delivery_cancel);
        return payload.len == 0;
    case MESSAGE_ABORT:
        return on_abort(w, payload);
    case MESSAGE_FORESEE:
        return on_foresee(w, payload);
    case MESSAGE_PING:
        if (!message_get_ping(payload, &ping))
            return false;
        ipc_send(ipc, MESSAGE_PONG, payload);
        return true;
    default:
        return false;
    }
}

/* Without its scheduler a worker's results go nowhere: what it has is recovered from the claims. */
static void scheduler_closed(void *arg, struct ipc *ipc, const char *reason)
{
    struct worker *w = arg;

    (void)ipc;
    log_event(LOG_LEVEL_WARN, "scheduler is gone", LOG_TEXT("reason", reason));
    role_exit(&w->process, FP_EXIT_UNAVAILABLE);
}

static bool signer_frame(void *arg, struct ipc *ipc, uint16_t type, struct str payload)
{
    struct worker *w = arg;
    struct message_signed answer;
    struct entry *entry;

    (void)ipc;
    if (type != MESSAGE_SIGNED || !message_get_signed(payload, &answer))
        return false;
    entry = table_get(w->deliveries, table_key_u64(&answer.id));
    if (entry != NULL) /* else it was cancelled meanwhile */
        delivery_signed(entry->delivery, &answer);
    return true;
}

static void signer_closed(void *arg, struct ipc *ipc, const char *reason)
{
    struct worker *w = arg;

    log_event(LOG_LEVEL_WARN, "signer is gone, another is awaited", LOG_TEXT("reason", reason));
    ipc_destroy(ipc);
    w->signer = NULL;
}

static void connect_signer(struct worker *w, int fd)
{
    static const struct ipc_handlers handlers = {signer_frame, signer_closed};

    ipc_destroy(w->signer);
    w->signer = ipc_create(w->process.base, fd, &handlers, w);
    for_each_delivery(w, delivery_signer_back);
}

static void connect_scheduler(struct worker *w, int fd)
{
    static const struct ipc_handlers handlers = {scheduler_frame, scheduler_closed};
    struct message_hello hello = {.credits = w->credits};

    w->scheduler = ipc_create(w->process.base, fd, &handlers, w);
    buf_reset(&w->scratch);
    message_put_hello(&w->scratch, &hello);
    ipc_send(w->scheduler, MESSAGE_HELLO, buf_str(&w->scratch));
}

static void on_tick(void *arg)
{
    struct worker *w = arg;

    loop_timer_set(w->tick, TICK_MS);
    for_each_delivery(w, delivery_tick);
}

/* AAAA answers are of use only to a machine that has a global IPv6 address of its own. */
static bool has_global_ipv6(void)
{
    struct ifaddrs *all;
    bool found = false;

    if (getifaddrs(&all) != 0)
        return false;
    for (struct ifaddrs *one = all; one != NULL; one = one->ifa_next) {
        struct sockaddr_in6 in6;
        if (one->ifa_addr == NULL || one->ifa_addr->sa_family != AF_INET6 ||
            (one->ifa_flags & IFF_LOOPBACK) != 0)
            continue;
        memcpy(&in6, one->ifa_addr, sizeof(in6));
        found = found || !IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr);
    }
    freeifaddrs(all);
    return found;
}

static _Noreturn void refuse_start(const struct err *err)
{
    log_event(LOG_LEVEL_ERROR, "cannot start", LOG_TEXT("error", err->message));
    exit(FP_EXIT_CONFIG);
}

/* Names have one question, or two with AAAA, and this worker its share of them. */
static double lookups_per_s(const struct config *config, bool use_ipv6)
{
    return config->dns_rate / (use_ipv6 ? 2.0 : 1.0) / limits_workers(config);
}

static void make_network(struct worker *w)
{
    const struct config *config = &w->process.config;
    struct role_process *p = &w->process;
    struct err err;
    bool use_ipv6 = has_global_ipv6();
    const struct dns_options dns = {.servers = str_of(config->resolvers),
                                    .v4_only = !use_ipv6,
                                    .hosts_file = true,
                                    .timeout_ms = DNS_TIMEOUT_MS};

    if (address_policy_init(&w->policy, str_of(config->allowed_private_addresses), &err) != FP_OK)
        refuse_start(&err);
    if (proxies_init(&w->proxies, config, &err) != FP_OK)
        refuse_start(&err);
    w->store = trust_store_create(str_of(config->ca_file), &err);
    if (w->store == NULL)
        refuse_start(&err);
    w->dns = dns_create(p->base, &dns, &err);
    if (w->dns == NULL)
        refuse_start(&err);
    const struct http_options http = {.base = p->base,
                                      .clock = &p->clock,
                                      .store = w->store,
                                      .policy = &w->policy,
                                      .max_connections = limits_here(config).connections};
    w->context = (struct delivery_context){
        .clock = &p->clock,
        .rereads = &w->rereads,
        .config = config,
        .policy = &w->policy,
        .proxies = &w->proxies,
        .resolver =
            resolver_create(p->base, &p->clock, w->dns,
                            &(struct resolver_options){.per_s = lookups_per_s(config, use_ipv6),
                                                       .own_name = str_of(p->config.web_domain)}),
        .http = http_create(&http),
        .use_ipv6 = use_ipv6,
        .ask_signer = ask_signer,
        .done = on_done,
        .arg = w};
}

/* What depends on Mastodon's version and isn't asked for at each use. */
static void follow_version(struct worker *w)
{
    const struct mastodon_version *version = &w->process.config.mastodon;
    struct buf text;

    w->policy.unwrap_compatible = address_unwraps_compatible(version);
    dns_use_hosts_file(w->dns, mastodon_version_compare(version, 4, 6, 0) >= 0);
    buf_init(&text, 1024);
    request_put_user_agent(&text, version, str_of(w->process.config.web_domain));
    free(w->user_agent);
    w->user_agent = str_dup(buf_str(&text));
    w->context.user_agent = str_of(w->user_agent);
    buf_clear(&text);
}

static void on_start(void *arg)
{
    struct worker *w = arg;
    const struct config *config = &w->process.config;

    if (w->scheduler_fd < 0) {
        log_plain(LOG_LEVEL_ERROR, "started without a scheduler; restart fedpush");
        role_exit(&w->process, FP_EXIT_SOFTWARE);
        return;
    }
    limits_raise_descriptors();
    http_global_init();
    buf_init(&w->scratch, IPC_MAX_FRAME_BYTES);
    w->deliveries = table_create();
    w->credits = limits_here(config).in_flight;
    make_network(w);
    follow_version(w);
    connect_scheduler(w, w->scheduler_fd);
    if (w->signer_fd >= 0)
        connect_signer(w, w->signer_fd);
    w->tick = loop_timer_create(w->process.base, on_tick, w);
    loop_timer_set(w->tick, TICK_MS);
    control_send(w->process.control, CONTROL_READY, STR_NULL, -1);
}

/* A peer that was respawned before START comes twice: its first channel is dead. */
static void keep_until_start(int *kept, int fd)
{
    if (*kept >= 0)
        close(*kept);
    *kept = fd;
}

static void on_peer(void *arg, enum role role, unsigned index, int fd)
{
    struct worker *w = arg;

    (void)index;
    if (role == ROLE_SIGNER && w->deliveries == NULL) {
        keep_until_start(&w->signer_fd, fd);
    } else if (role == ROLE_SIGNER) {
        connect_signer(w, fd);
    } else if (role == ROLE_SCHEDULER && w->scheduler == NULL) {
        keep_until_start(&w->scheduler_fd, fd);
    } else {
        close(fd);
        role_exit(&w->process, FP_EXIT_SOFTWARE); /* another scheduler would not know our jobs */
    }
}

static void on_reload(void *arg)
{
    follow_version(arg);
}

int worker_main(unsigned index)
{
    static const struct role_handlers handlers = {
        .start = on_start, .peer = on_peer, .reload = on_reload};
    struct worker *w = mem_alloc(sizeof(*w));

    w->scheduler_fd = w->signer_fd = -1;
    return role_run(&w->process, ROLE_WORKER, index, &handlers, w);
}
