#include "worker/delivery.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "worker/classify.h"
#include "worker/knock.h"
#include "worker/redirect.h"
#include "worker/request.h"
#include "worker/retry_after.h"

enum { MAX_OF_FAMILY = 2 };

struct delivery {
    const struct delivery_context *context;
    enum delivery_state state;
    uint64_t id;
    struct ticket ticket; /* its strings, and the body, stand in `memory` */
    struct url url;       /* of the present hop */
    struct str body;
    bool get;
    bool http2;
    unsigned named_proxy; /* its place in FEDPUSH_PROXIES; 0: none was ordered */
    bool low;
    struct knocking knocking;
    unsigned hops;
    unsigned waits; /* for a socket */
    bool reused;    /* the latest request's connection */
    uint32_t retry_after_ms;
    const struct proxy *proxy;
    int64_t started_ms;
    int64_t date_s;
    bool sender_suspended;
    bool sent; /* some request may have reached the other side */
    size_t address_count;
    struct dns_address addresses[2 * MAX_OF_FAMILY];
    struct resolve_wait *wait;
    struct http_transfer *transfer;
    struct curl_slist *headers; /* the transfer's */
    struct failure failure;
    char memory[];
};

enum event_kind {
    EVENT_START,
    EVENT_RESOLVED,
    EVENT_SIGNED,
    EVENT_ANSWERED,
    EVENT_CANCEL,
    EVENT_ABORT,
    EVENT_STALE,
    EVENT_AGAIN,
    EVENT_LIMIT
};

struct event_of_delivery {
    enum event_kind kind;
    const struct dns_result *resolved;
    const struct message_signed *answer;
    const struct http_result *response;
};

static void step(struct delivery *d, const struct event_of_delivery *event);

uint64_t delivery_id(const struct delivery *d)
{
    return d->id;
}

enum delivery_state delivery_state(const struct delivery *d)
{
    return d->state;
}

static void keep(char **at, struct str *s)
{
    if (s->len > 0)
        memcpy(*at, s->ptr, s->len);
    s->ptr = *at;
    *at += s->len;
}

void delivery_destroy(struct delivery *d)
{
    if (d == NULL)
        return;
    if (d->wait != NULL)
        resolver_cancel(d->wait);
    if (d->transfer != NULL)
        http_abort(d->transfer);
    free(d->headers);
    url_clear(&d->url);
    free(d);
}

/* --- ends --- */

static bool asks_for_time(unsigned status)
{
    return status == 429 || status == 503;
}

static void end(struct delivery *d, enum outcome_kind kind, unsigned status)
{
    struct message_outcome outcome = {
        .id = d->id,
        .kind = (uint8_t)kind,
        .failure = kind == OUTCOME_TRANSPORT ? (uint8_t)d->failure.kind : FAILURE_NONE,
        .reused = d->reused,
        .sender_suspended = d->sender_suspended,
        .learnt = (uint8_t)knock_learnt(&d->knocking, status),
        .status = (uint16_t)status,
        .total_ms = (uint32_t)(clock_mono_ms(d->context->clock) - d->started_ms),
        .sent_bytes = d->sent ? (uint32_t)d->body.len : 0,
        .retry_after_ms = kind == OUTCOME_RESPONSE && asks_for_time(status) ? d->retry_after_ms : 0,
    };

    if (kind != OUTCOME_RESPONSE && kind != OUTCOME_NOT_TRIED) {
        outcome.error_class = d->failure.error_class;
        outcome.error_message = str_of(d->failure.message);
    }
    d->state = DELIVERY_DONE;
    d->context->done(d->context->arg, d, &outcome);
    delivery_destroy(d);
}

static void end_failed(struct delivery *d, enum failure_kind failure, const char *error_class,
                       const char *text)
{
    classify_text(&d->failure, failure, str_of(error_class), text, d->url.text);
    end(d, OUTCOME_TRANSPORT, 0);
}

/* --- without a socket --- */

/* It is nobody's fault but this machine's: no retry is burnt, unless a request was sent before. */
static void wait_for_socket(struct delivery *d)
{
    if (d->waits++ < DELIVERY_MAX_WAITS)
        d->state = DELIVERY_WAITING;
    else if (d->sent)
        end_failed(d, FAILURE_OTHER, "HTTP::ConnectionError", "failed to connect: no socket");
    else
        end(d, OUTCOME_NOT_TRIED, 0);
}

/* --- resolving --- */

static void on_resolved(void *arg, const struct dns_result *result)
{
    struct delivery *d = arg;
    d->wait = NULL;
    step(d, &(struct event_of_delivery){.kind = EVENT_RESOLVED, .resolved = result});
}

/* Where the connection goes. */
static const struct url *connected_to(const struct delivery *d)
{
    return d->proxy != NULL ? &d->proxy->url : &d->url;
}

static void ask_signer(struct delivery *d)
{
    struct message_sign request = {.id = d->id,
                                   .ticket = d->ticket,
                                   .method = d->get ? SIGN_GET : SIGN_POST,
                                   .reread =
                                       rereads_take(d->context->rereads, d->ticket.account_id),
                                   .scheme = (uint8_t)d->knocking.scheme,
                                   .low = d->low,
                                   .target = d->url.target};

    d->state = DELIVERY_SIGNING;
    d->date_s = clock_wall_us(d->context->clock) / 1000000; /* floored: never ahead of time */
    request.date_s = d->date_s;
    (void)d->context->ask_signer(d->context->arg,
                                 &request); /* none now: delivery_signer_back asks again */
}

static void begin(struct delivery *d)
{
    if (proxy_host_is_hidden(d->url.host) && !d->context->config->allow_hidden_service) {
        classify_text(&d->failure, FAILURE_OTHER, STR("Mastodon::HostValidationError"),
                      "Instance does not support hidden service connections", d->url.text);
        end(d, OUTCOME_REFUSED, 0);
        return;
    }
    d->state = DELIVERY_RESOLVING;
    d->proxy = d->named_proxy != 0 ? proxy_named(d->context->proxies, d->named_proxy)
                                   : proxy_for(d->context->proxies, d->url.host);
    d->wait = resolver_ask(d->context->resolver, connected_to(d)->host, on_resolved, d);
}

/* At most two IPv6 and then two IPv4 addresses, as Mastodon tries them; refused ones are passed
 * over. A proxy may have any. */
static void choose_addresses(struct delivery *d, const struct dns_result *result, bool *all_refused)
{
    static const int families[] = {AF_INET6, AF_INET};

    *all_refused = result->count > 0;
    d->address_count = 0;
    for (size_t f = 0; f < 2; f++) {
        size_t of_family = 0;
        for (size_t i = 0; i < result->count && of_family < MAX_OF_FAMILY; i++) {
            const struct dns_address *address = &result->addresses[i];
            if (address->family != families[f])
                continue;
            if (d->proxy == NULL && !address_is_allowed(d->context->policy, address))
                continue;
            *all_refused = false;
            if (address->family == AF_INET6 && !d->context->use_ipv6 &&
                !connected_to(d)->ip_literal)
                continue;
            d->addresses[d->address_count++] = *address;
            of_family++;
        }
    }
}

static void resolved(struct delivery *d, const struct dns_result *result)
{
    bool all_refused;

    if (result->status == DNS_NO_SOCKET) {
        wait_for_socket(d);
        return;
    }
    if (result->status != DNS_FOUND && d->proxy != NULL) {
        end_failed(d, FAILURE_RESOLVER, "HTTP::ConnectionError",
                   "failed to connect: the proxy cannot be resolved");
        return;
    }
    if (result->status != DNS_FOUND) {
        classify_dns(&d->failure, result, d->url.text);
        if (d->sent &&
            d->failure.kind == FAILURE_RESOLVER) /* of a redirect's: that was an attempt */
            d->failure.kind = FAILURE_UNSERVED;
        end(d, OUTCOME_TRANSPORT, 0);
        return;
    }
    choose_addresses(d, result, &all_refused);
    if (all_refused) {
        classify_text(&d->failure, FAILURE_OTHER, STR("Mastodon::PrivateNetworkAddressError"),
                      "private address refused", d->url.text);
        end(d, OUTCOME_REFUSED, 0);
    } else if (d->address_count == 0) {
        end_failed(d, FAILURE_UNREACHABLE, "HTTP::ConnectionError",
                   "failed to connect: no usable address");
    } else {
        ask_signer(d);
    }
}

/* --- signing and sending --- */

static void on_answered(void *arg, const struct http_result *result)
{
    struct delivery *d = arg;
    d->sent = d->sent || http_is_on_the_wire(d->transfer);
    d->transfer = NULL;
    step(d, &(struct event_of_delivery){.kind = EVENT_ANSWERED, .response = result});
}

static void send_request(struct delivery *d, const struct message_signed *answer)
{
    const struct delivery_context *context = d->context;
    bool literal = connected_to(d)->ip_literal;
    const struct request_values values = {.user_agent = context->user_agent,
                                          .host = answer->host,
                                          .date = answer->date,
                                          .digest = answer->digest,
                                          .content_type =
                                              d->get ? STR_NULL : d->ticket.content_type,
                                          .synchronization = d->ticket.synchronization,
                                          .signature = answer->signature,
                                          .signature_input = answer->signature_input};
    free(d->headers);
    d->headers = request_headers(&context->config->mastodon, &values);
    const struct http_request request = {.url = &d->url,
                                         .get = d->get,
                                         .headers = d->headers,
                                         .body = d->body,
                                         .addresses = literal ? NULL : d->addresses,
                                         .address_count = literal ? 0 : d->address_count,
                                         .proxy = d->proxy,
                                         .http2 = d->http2};

    d->state = DELIVERY_SENDING;
    d->transfer = http_start(context->http, &request, on_answered, d);
}

static int64_t signature_age_s(const struct delivery *d)
{
    return clock_wall_us(d->context->clock) / 1000000 - d->date_s;
}

static void signed_or_not(struct delivery *d, const struct message_signed *answer)
{
    if (answer->status != SIGN_OK && d->knocking.first_status != 0) {
        end(d, OUTCOME_RESPONSE, knock_give_up(&d->knocking));
        return;
    }
    d->sender_suspended = answer->sender_suspended != 0;
    switch ((enum sign_status)answer->status) {
    case SIGN_OK:
        if (signature_age_s(d) > DELIVERY_SIGNATURE_AGE_S)
            ask_signer(d);
        else
            send_request(d, answer);
        break;
    case SIGN_ACCOUNT_MISSING:
        end(d, OUTCOME_SENDER_MISSING, 0);
        break;
    case SIGN_KEY_UNUSABLE: {
        char reason[256];
        snprintf(reason, sizeof(reason), "%.*s", STR_ARG(answer->reason));
        classify_text(&d->failure, FAILURE_OTHER, STR("OpenSSL::PKey::RSAError"), reason,
                      d->url.text);
        end(d, OUTCOME_KEY_UNUSABLE, 0);
        break;
    }
    case SIGN_REFUSED:
        log_event(LOG_LEVEL_WARN, "signature refused", LOG_STR("host", d->url.authority),
                  LOG_STR("reason", answer->reason));
        end(d, OUTCOME_KEY_WAIT, 0);
        break;
    case SIGN_UNAVAILABLE:
        end(d, OUTCOME_KEY_WAIT, 0);
        break;
    }
}

/* --- answers and redirects --- */

/* Within the origin, as a persistent client of http.rb. */
static void redirect(struct delivery *d, unsigned status, struct str location)
{
    struct url target = {0};

    if (!redirect_is_followed(status, d->get)) {
        end_failed(d, FAILURE_OTHER, "HTTP::StateError", "can't follow redirect of a POST");
        return;
    }
    if (++d->hops > DELIVERY_MAX_HOPS) {
        end_failed(d, FAILURE_OTHER, "HTTP::Redirector::TooManyRedirectsError",
                   "too many redirects");
        return;
    }
    if (!redirect_target(&d->url, location, &target)) {
        end_failed(d, FAILURE_OTHER, "HTTP::StateError", "no usable Location header in redirect");
        return;
    }
    if (!str_equal(target.origin, d->url.origin)) {
        url_clear(&target);
        end_failed(d, FAILURE_OTHER, "HTTP::StateError",
                   "Persistence is enabled: redirect to another origin");
        return;
    }
    url_clear(&d->url);
    d->url = target;
    d->get = d->get || status == 303;
    ask_signer(d);
}

static void answered(struct delivery *d, const struct http_result *result)
{
    bool strict_body = mastodon_version_compare(&d->context->config->mastodon, 4, 4, 0) < 0;

    d->reused = result->reused;
    if (asks_for_time(result->status))
        d->retry_after_ms = retry_after_ms(result->retry_after, result->date,
                                           clock_wall_us(d->context->clock) / 1000000);
    if (result->end == HTTP_ANSWERED && result->status == 401)
        rereads_note(d->context->rereads, d->ticket.account_id);
    if (result->end == HTTP_NO_SOCKET) {
        wait_for_socket(d);
    } else if (result->end != HTTP_ANSWERED || result->status == 0) {
        classify_http(&d->failure, result, d->proxy != NULL, d->url.text);
        end(d, result->end == HTTP_REFUSED_ADDRESS ? OUTCOME_REFUSED : OUTCOME_TRANSPORT, 0);
    } else if (!d->get && knock_again(&d->knocking, result->status)) {
        ask_signer(d);
    } else if (redirect_is(result->status)) {
        redirect(d, result->status, result->location);
    } else if (result->body_cut && strict_body) {
        end_failed(d, FAILURE_OTHER, "Mastodon::LengthValidationError",
                   "Body size exceeds limit of 1048576");
    } else {
        end(d, OUTCOME_RESPONSE, result->status);
    }
}

/* --- the machine --- */

static void end_late(struct delivery *d)
{
    if (d->state == DELIVERY_RESOLVING)
        end_failed(d, FAILURE_RESOLVER, "HTTP::TimeoutError", "name not resolved in time");
    else
        end_failed(d, d->state == DELIVERY_SENDING ? FAILURE_TIMEOUT : FAILURE_OTHER,
                   "HTTP::TimeoutError", "timed out");
}

static void limit(struct delivery *d)
{
    if (d->state == DELIVERY_SIGNING && !d->sent)
        end(d, OUTCOME_KEY_WAIT, 0);
    else if (d->state == DELIVERY_SIGNING && d->knocking.first_status != 0)
        end(d, OUTCOME_RESPONSE, knock_give_up(&d->knocking)); /* it answered: the signer didn't */
    else
        end_late(d);
}

static void cancel(struct delivery *d)
{
    bool wire = d->sent || (d->transfer != NULL && http_is_on_the_wire(d->transfer));
    if (!wire)
        end(d, OUTCOME_NOT_TRIED, 0);
}

static void step(struct delivery *d, const struct event_of_delivery *event)
{
    switch (event->kind) {
    case EVENT_START:
        begin(d);
        break;
    case EVENT_RESOLVED:
        assert(d->state == DELIVERY_RESOLVING);
        resolved(d, event->resolved);
        break;
    case EVENT_SIGNED:
        if (d->state == DELIVERY_SIGNING) /* else an answer to a question that is no longer asked */
            signed_or_not(d, event->answer);
        break;
    case EVENT_ANSWERED:
        assert(d->state == DELIVERY_SENDING);
        answered(d, event->response);
        break;
    case EVENT_CANCEL:
        cancel(d);
        break;
    case EVENT_ABORT:
        end(d, OUTCOME_NOT_TRIED, 0);
        break;
    case EVENT_STALE:
        http_abort(d->transfer);
        d->transfer = NULL;
        ask_signer(d);
        break;
    case EVENT_AGAIN:
        begin(d);
        break;
    case EVENT_LIMIT:
        limit(d);
        break;
    }
}

struct delivery *delivery_start(const struct delivery_context *context,
                                const struct message_job *job)
{
    size_t bytes = job->body.len + job->ticket.origin.len + job->ticket.content_type.len +
                   job->ticket.synchronization.len;
    struct url url;
    struct err err;

    if (job->proxy != 0 && proxy_named(context->proxies, job->proxy) == NULL)
        return NULL;
    if (url_parse(&url, job->url, &err) != FP_OK)
        return NULL;
    struct delivery *d = mem_alloc(sizeof(*d) + bytes);
    char *at = d->memory;
    d->context = context;
    d->id = job->id;
    d->low = job->low != 0;
    knock_begin(&d->knocking, (enum knock)job->knock);
    d->named_proxy = job->proxy;
    d->http2 = job->http2 != 0;
    d->url = url;
    d->ticket = job->ticket;
    keep(&at, &d->ticket.origin);
    keep(&at, &d->ticket.content_type);
    keep(&at, &d->ticket.synchronization);
    d->body = job->body;
    keep(&at, &d->body);
    d->started_ms = clock_mono_ms(context->clock);
    return d;
}

void delivery_begin(struct delivery *d)
{
    step(d, &(struct event_of_delivery){.kind = EVENT_START});
}

void delivery_signed(struct delivery *d, const struct message_signed *answer)
{
    step(d, &(struct event_of_delivery){.kind = EVENT_SIGNED, .answer = answer});
}

void delivery_signer_back(struct delivery *d)
{
    if (d->state == DELIVERY_SIGNING)
        ask_signer(d);
}

void delivery_cancel(struct delivery *d)
{
    step(d, &(struct event_of_delivery){.kind = EVENT_CANCEL});
}

void delivery_abort(struct delivery *d)
{
    step(d, &(struct event_of_delivery){.kind = EVENT_ABORT});
}

void delivery_tick(struct delivery *d)
{
    if (clock_mono_ms(d->context->clock) - d->started_ms > DELIVERY_LIMIT_MS)
        step(d, &(struct event_of_delivery){.kind = EVENT_LIMIT});
    else if (d->transfer != NULL && !http_is_on_the_wire(d->transfer) &&
             signature_age_s(d) >= DELIVERY_WIRE_AGE_S - 1)
        step(d, &(struct event_of_delivery){.kind = EVENT_STALE});
    else if (d->state == DELIVERY_WAITING)
        step(d, &(struct event_of_delivery){.kind = EVENT_AGAIN});
}
