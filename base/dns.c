#include "base/dns.h"

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/hosts.h"
#include "base/log.h"
#include "base/loop.h"

enum { MAX_NAME_BYTES = 253, MAX_LABEL_BYTES = 63, RECEIVE_BYTES = 1024 * 1024 };

/* What one of the two questions brought. */
enum answer { ANSWER_NONE = 0, ANSWER_ADDRESSES, ANSWER_FAILED };

struct question {
    struct dns_query *query;
    enum answer answer;
    size_t count;
    struct dns_address addresses[DNS_MAX_ADDRESSES];
};

struct dns_query {
    TAILQ_ENTRY(dns_query) link; /* dns->done */
    struct dns *dns;
    dns_fn *fn; /* NULL: cancelled; it lives on until c-ares is done with it */
    void *arg;
    int unanswered;           /* of the two questions */
    uint64_t sockets_refused; /* before */
    struct question v4, v6;
    struct dns_result result;
};
TAILQ_HEAD(query_list, dns_query);

struct dns_socket {
    LIST_ENTRY(dns_socket) link;
    struct dns *dns;
    int fd;
    struct event *event;
};

struct dns {
    struct event_base *base;
    ares_channel channel;
    struct hosts *hosts;      /* without a file */
    struct hosts *file_hosts; /* with it; NULL: it was never wanted */
    bool use_file;
    LIST_HEAD(, dns_socket) sockets;
    struct query_list done; /* answered; their callbacks are called from `deliver` */
    struct loop_timer *deliver;
    struct loop_timer *tick; /* c-ares' time-outs, while a question is unanswered */
    int tick_ms;
    size_t unanswered;
    uint64_t queries_sent;
    uint64_t sockets_refused; /* by the system, for want of descriptors or memory */
    bool complained;          /* about that, and none was had since */
    bool v4_only;
    bool closing;
    bool delivering; /* a callback is running: freeing waits for its return */
};

/* ---- c-ares' sockets: our own functions, so that every packet is counted ---- */

static void note_refused(struct dns *dns, int code)
{
    dns->sockets_refused++;
    if (!dns->complained)
        log_event(LOG_LEVEL_WARN, "no socket for a question to a name server: raise LimitNOFILE=",
                  LOG_TEXT("error", strerror(code)));
    dns->complained = true;
}

static ares_socket_t open_socket(int domain, int type, int protocol, void *arg)
{
    struct dns *dns = arg;
    int fd = socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);

    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
        note_refused(dns, errno);
    else
        dns->complained = false;
    if (fd >= 0 && type == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (fd >= 0 && type == SOCK_DGRAM) /* answers wait there while the loop is busy */
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){RECEIVE_BYTES}, sizeof(int));
    return fd;
}

static int close_socket(ares_socket_t fd, void *arg)
{
    (void)arg;
    return close(fd);
}

static int connect_socket(ares_socket_t fd, const struct sockaddr *address, ares_socklen_t len,
                          void *arg)
{
    (void)arg;
    return connect(fd, address, len);
}

static ares_ssize_t receive(ares_socket_t fd, void *bytes, size_t len, int flags,
                            struct sockaddr *from, ares_socklen_t *from_len, void *arg)
{
    (void)arg;
    return recvfrom(fd, bytes, len, flags, from, from_len);
}

static ares_ssize_t transmit(ares_socket_t fd, const struct iovec *parts, int part_count, void *arg)
{
    struct dns *dns = arg;

    dns->queries_sent++;
    return writev(fd, parts, part_count);
}

static const struct ares_socket_functions socket_functions = {open_socket, close_socket,
                                                              connect_socket, receive, transmit};

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    const struct dns_socket *socket = arg;
    ares_process_fd(socket->dns->channel, what & EV_READ ? fd : ARES_SOCKET_BAD,
                    what & EV_WRITE ? fd : ARES_SOCKET_BAD);
}

static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct dns *dns = arg;
    struct dns_socket *socket;
    short what = (short)((readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));

    LIST_FOREACH(socket, &dns->sockets, link)
    {
        if (socket->fd == fd)
            break;
    }
    if (socket != NULL)
        event_free(socket->event);
    if (what == 0) {
        if (socket != NULL) {
            LIST_REMOVE(socket, link);
            free(socket);
        }
        return;
    }
    if (socket == NULL) {
        socket = mem_alloc(sizeof(*socket));
        socket->dns = dns;
        socket->fd = fd;
        LIST_INSERT_HEAD(&dns->sockets, socket, link);
    }
    socket->event = event_new(dns->base, fd, (short)(what | EV_PERSIST), on_socket, socket);
    if (socket->event == NULL || event_add(socket->event, NULL) != 0)
        abort();
}

/* A steady tick instead of ares_timeout(), which walks all questions at each call. */
static void on_tick(void *arg)
{
    struct dns *dns = arg;

    ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    if (dns->unanswered > 0)
        loop_timer_set(dns->tick, dns->tick_ms);
}

/* ---- answers ---- */

static void finish(struct dns_query *query)
{
    struct dns *dns = query->dns;

    TAILQ_INSERT_TAIL(&dns->done, query, link);
    if (!dns->closing && !loop_timer_pending(dns->deliver))
        loop_timer_set(dns->deliver, 0);
}

static void deliver_all(struct dns *dns)
{
    struct dns_query *query;

    while ((query = TAILQ_FIRST(&dns->done)) != NULL) {
        TAILQ_REMOVE(&dns->done, query, link);
        if (dns->closing)
            query->result = (struct dns_result){.status = DNS_CANCELLED};
        if (query->fn != NULL)
            query->fn(query->arg, &query->result);
        free(query);
    }
}

static void dns_free(struct dns *dns)
{
    loop_timer_destroy(dns->deliver);
    loop_timer_destroy(dns->tick);
    hosts_destroy(dns->hosts);
    hosts_destroy(dns->file_hosts);
    ares_library_cleanup();
    free(dns);
}

static void on_deliver(void *arg)
{
    struct dns *dns = arg;

    dns->delivering = true;
    deliver_all(dns);
    dns->delivering = false;
    if (dns->closing)
        dns_free(dns);
}

/* Both families get their share of a result's places, whatever the other brings. */
static void collect(struct dns_result *result, const struct question *v4, const struct question *v6)
{
    size_t v6_share = v6->count < DNS_MAX_ADDRESSES / 2 ? v6->count : DNS_MAX_ADDRESSES / 2;
    size_t v4_room = DNS_MAX_ADDRESSES - v6_share;

    for (size_t i = 0; i < v4->count && i < v4_room; i++)
        result->addresses[result->count++] = v4->addresses[i];
    for (size_t i = 0; i < v6->count && result->count < DNS_MAX_ADDRESSES; i++)
        result->addresses[result->count++] = v6->addresses[i];
}

static void conclude(struct dns_query *query)
{
    struct dns_result *result = &query->result;

    collect(result, &query->v4, &query->v6);
    if (result->count > 0)
        result->status = DNS_FOUND;
    else if (query->v4.answer == ANSWER_FAILED || query->v6.answer == ANSWER_FAILED)
        result->status =
            query->dns->sockets_refused > query->sockets_refused ? DNS_NO_SOCKET : DNS_NO_ANSWER;
    else
        result->status = DNS_NO_NAME;
    finish(query);
}

static void add_address(struct question *question, const struct dns_address *address, int ttl_s)
{
    struct dns_result *result = &question->query->result;
    uint32_t ttl = ttl_s > 0 ? (uint32_t)ttl_s : 0;
    bool first = question->query->v4.count + question->query->v6.count == 0;

    if (first || ttl < result->ttl_s)
        result->ttl_s = ttl;
    question->addresses[question->count++] = *address;
}

static enum answer answer_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return ANSWER_ADDRESSES;
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
        return ANSWER_NONE;
    default: /* c-ares' codes are open-ended: whatever it is, nobody answered usefully */
        return ANSWER_FAILED;
    }
}

static void answered(struct question *question, int status)
{
    struct dns_query *query = question->query;

    question->answer = answer_of(status);
    query->dns->unanswered--;
    if (--query->unanswered == 0)
        conclude(query);
}

static void on_answer_v4(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
    struct question *question = arg;
    struct ares_addrttl found[DNS_MAX_ADDRESSES];
    int count = DNS_MAX_ADDRESSES;
    (void)timeouts;

    if (status == ARES_SUCCESS)
        status = ares_parse_a_reply(bytes, len, NULL, found, &count);
    for (int i = 0; status == ARES_SUCCESS && i < count; i++)
        add_address(question, &(struct dns_address){AF_INET, {.v4 = found[i].ipaddr}},
                    found[i].ttl);
    answered(question, status);
}

static void on_answer_v6(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
    struct question *question = arg;
    struct ares_addr6ttl found[DNS_MAX_ADDRESSES];
    int count = DNS_MAX_ADDRESSES;
    (void)timeouts;

    if (status == ARES_SUCCESS)
        status = ares_parse_aaaa_reply(bytes, len, NULL, found, &count);
    for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
        struct dns_address address = {.family = AF_INET6};
        memcpy(&address.ip.v6, &found[i].ip6addr, sizeof(address.ip.v6));
        add_address(question, &address, found[i].ttl);
    }
    answered(question, status);
}

/* ---- questions ---- */

static bool is_literal(struct str host, struct dns_address *address)
{
    char text[INET6_ADDRSTRLEN];

    if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
        host = (struct str){host.ptr + 1, host.len - 2};
    if (host.len >= sizeof(text))
        return false;
    if (host.len > 0)
        memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    *address = (struct dns_address){.family = AF_INET};
    if (inet_pton(AF_INET, text, &address->ip.v4) == 1)
        return true;
    address->family = AF_INET6;
    return inet_pton(AF_INET6, text, &address->ip.v6) == 1;
}

static bool is_askable(struct str name)
{
    size_t label = 0;

    if (name.len == 0 || name.len > MAX_NAME_BYTES)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        if (c == '.' && label == 0)
            return false;
        label = c == '.' ? 0 : label + 1;
        if (label > MAX_LABEL_BYTES || (!isalnum(c) && c != '-' && c != '_' && c != '.'))
            return false;
    }
    return label > 0;
}

static void ask(struct dns_query *query, struct str host)
{
    struct dns *dns = query->dns;
    char name[MAX_NAME_BYTES + 1] = {0};

    memcpy(name, host.ptr, host.len);
    query->unanswered = dns->v4_only ? 1 : 2;
    query->sockets_refused = dns->sockets_refused;
    query->v4.query = query;
    query->v6.query = query;
    query->v6.answer = ANSWER_NONE;
    dns->unanswered += (size_t)query->unanswered;
    if (!loop_timer_pending(dns->tick))
        loop_timer_set(dns->tick, dns->tick_ms);
    ares_query(dns->channel, name, ns_c_in, ns_t_a, on_answer_v4, &query->v4);
    if (!dns->v4_only)
        ares_query(dns->channel, name, ns_c_in, ns_t_aaaa, on_answer_v6, &query->v6);
}

static struct dns_query *look_up(struct dns *dns, const struct hosts *known, struct str host,
                                 dns_fn *fn, void *arg)
{
    struct dns_query *query = mem_alloc(sizeof(*query));
    struct dns_result *result = &query->result;

    assert(!dns->closing);
    query->dns = dns;
    query->fn = fn;
    query->arg = arg;
    if (is_literal(host, &result->addresses[0])) {
        result->count = 1;
        finish(query);
        return query;
    }
    if (host.len > 1 && host.ptr[host.len - 1] == '.')
        host.len--;
    if (!is_askable(host)) {
        result->status = DNS_BAD_NAME;
        finish(query);
    } else if (known != NULL && hosts_find(known, host, result)) {
        finish(query);
    } else {
        ask(query, host);
    }
    return query;
}

struct dns_query *dns_lookup(struct dns *dns, struct str host, dns_fn *fn, void *arg)
{
    return look_up(dns, dns->use_file ? dns->file_hosts : dns->hosts, host, fn, arg);
}

struct dns_query *dns_lookup_served(struct dns *dns, struct str host, dns_fn *fn, void *arg)
{
    return look_up(dns, NULL, host, fn, arg);
}

void dns_cancel(struct dns_query *query)
{
    query->fn = NULL;
}

uint64_t dns_queries_sent(const struct dns *dns)
{
    return dns->queries_sent;
}

/* ---- life ---- */

static enum fp_err open_channel(struct dns *dns, const struct dns_options *options, struct err *err)
{
    struct ares_options ares = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
                                .timeout = options->timeout_ms,
                                .tries = 1,
                                .sock_state_cb = on_socket_state,
                                .sock_state_cb_data = dns};
    int status = ares_init_options(&dns->channel, &ares,
                                   ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                                       ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS)
        return err_set(err, FP_SYSTEM, "DNS: %s; check /etc/resolv.conf", ares_strerror(status));
    ares_set_socket_functions(dns->channel, &socket_functions, dns);
    if (options->servers.len == 0)
        return FP_OK;
    char *servers = str_dup(options->servers);
    status = ares_set_servers_ports_csv(dns->channel, servers);
    free(servers);
    if (status == ARES_SUCCESS)
        return FP_OK;
    ares_destroy(dns->channel);
    return err_set(err, FP_INVALID, "resolvers \"%.*s\": expected ADDRESS[:PORT],… with IPv6 in []",
                   STR_ARG(options->servers));
}

struct dns *dns_create(struct event_base *base, const struct dns_options *options, struct err *err)
{
    struct dns *dns = mem_alloc(sizeof(*dns));

    assert(options->timeout_ms > 0);
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
        abort();
    dns->base = base;
    TAILQ_INIT(&dns->done);
    LIST_INIT(&dns->sockets);
    dns->v4_only = options->v4_only;
    dns->tick_ms = options->timeout_ms < 1000 ? 10 + options->timeout_ms / 10 : 100;
    if (open_channel(dns, options, err) != FP_OK) {
        ares_library_cleanup();
        free(dns);
        return NULL;
    }
    dns->hosts = hosts_create();
    dns->use_file = options->hosts_file;
    if (options->hosts_file) {
        dns->file_hosts = hosts_create();
        hosts_read_file(dns->file_hosts, "/etc/hosts");
    }
    dns->deliver = loop_timer_create(base, on_deliver, dns);
    dns->tick = loop_timer_create(base, on_tick, dns);
    return dns;
}

void dns_use_hosts_file(struct dns *dns, bool use)
{
    dns->use_file = use && dns->file_hosts != NULL;
}

void dns_destroy(struct dns *dns)
{
    if (dns == NULL)
        return;
    dns->closing = true;
    ares_destroy(dns->channel); /* ends every question, each by its callback */
    deliver_all(dns);
    if (!dns->delivering)
        dns_free(dns);
}
