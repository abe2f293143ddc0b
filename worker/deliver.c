#include "worker/deliver.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/figures_value.h"
#include "admin/session.h"
#include "admin/words.h"
#include "base/digest.h"
#include "base/message.h"
#include "base/secret.h"
#include "base/url.h"
#include "sig/cavage.h"
#include "sig/date.h"
#include "sig/digest.h"
#include "sig/heap.h"
#include "worker/deliver_sender.h"
#include "worker/http.h"
#include "worker/request.h"
#include "worker/trust.h"

enum { SHOWN_BODY_BYTES = 4096, CONTENT_BYTES = 1024 * 1024, ANSWER_MS = 70000, LOOKUP_MS = 20000 };

struct work {
    struct session session;
    const struct config *config;
    const char *account;
    const char *inbox;
    const char *file;
    bool send;
    json_t *shown; /* --json: what is printed at the end; NULL: lines, at once */
    struct url url;
    struct buf body;
    struct heap heap;
    struct account *sender;
    struct curl_slist *headers;
    struct dns_result addresses;
    struct address_policy policy;
    struct proxies proxies;
    const struct proxy *proxy; /* NULL: direct */
    int exit_code;
    struct err err;
};

/* --- input --- */

static enum fp_err read_arguments(struct work *w, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--send") == 0)
            w->send = true;
        else if (strcmp(argv[i], "--json") == 0 && w->shown == NULL)
            w->shown = json_pack("{s:n, s:n}", "request", "answer");
        else if (strcmp(argv[i], "--account") == 0 && has_value)
            w->account = argv[++i];
        else if (strcmp(argv[i], "--inbox") == 0 && has_value)
            w->inbox = argv[++i];
        else if (argv[i][0] != '-' && w->file == NULL)
            w->file = argv[i];
        else
            return err_set(&w->err, FP_INVALID,
                           "deliver: \"%.60s\" isn't understood; see `fedpush deliver --help`",
                           argv[i]);
    }
    if (w->account == NULL || w->inbox == NULL || w->file == NULL)
        return err_set(
            &w->err, FP_INVALID,
            "deliver: --account, --inbox and FILE are needed; see `fedpush deliver --help`");
    if (url_parse(&w->url, str_of(w->inbox), &w->err) != FP_OK)
        return FP_INVALID;
    return FP_OK;
}

static enum fp_err read_body(struct work *w)
{
    int fd = open(w->file, O_RDONLY | O_CLOEXEC);
    char part[16384];
    ssize_t len;

    if (fd < 0)
        return err_set(&w->err, FP_SYSTEM, "%s: %s", w->file, strerror(errno));
    while ((len = read(fd, part, sizeof(part))) > 0)
        buf_put(&w->body, part, (size_t)len);
    int failed = len < 0 ? errno : 0;
    close(fd);
    if (failed != 0)
        return err_set(&w->err, FP_SYSTEM, "%s: %s", w->file, strerror(failed));
    if (w->body.overflow)
        return err_set(&w->err, FP_TOO_LARGE, "%s: larger than %d bytes", w->file, CONTENT_BYTES);
    return FP_OK;
}

/* --- the request --- */

static enum fp_err sign(struct work *w, struct request_values *values, struct buf *signature)
{
    struct cavage_style style = cavage_style_for(&w->config->mastodon, SIGN_POST, false);
    struct cavage_request request = {.method = SIGN_POST,
                                     .target = w->url.target,
                                     .host = values->host,
                                     .date = values->date,
                                     .digest = values->digest,
                                     .content_type = values->content_type};
    unsigned char sha256[DIGEST_SHA256_BYTES];
    unsigned char bytes[KEY_MAX_SIGNATURE_BYTES];
    size_t len;
    struct buf text;

    if (cavage_check(&style, &request, &w->err) != FP_OK)
        return w->err.code;
    buf_init(&text, 64 * 1024);
    cavage_put_signing_string(&text, &style, &request);
    digest_sha256(buf_str(&text), sha256);
    buf_clear(&text);
    if (!key_sign(w->sender->key, 0, sha256, bytes, &len))
        return err_set(&w->err, FP_INVALID, "deliver: the account's key cannot sign");
    cavage_put_header(signature, &style, str_of(w->sender->key_id), bytes, len);
    values->signature = buf_str(signature);
    return FP_OK;
}

static bool build(struct work *w)
{
    unsigned char sha256[DIGEST_SHA256_BYTES];
    char date[DATE_BYTES];
    char digest[DIGEST_HEADER_BYTES];
    struct buf agent;
    struct buf signature;

    digest_sha256(buf_str(&w->body), sha256);
    digest_header(sha256, digest);
    date_format(clock_wall_us(&w->session.clock) / 1000000, date);
    buf_init(&agent, 1024);
    buf_init(&signature, MESSAGE_MAX_TEXT_BYTES);
    request_put_user_agent(&agent, &w->config->mastodon, str_of(w->config->web_domain));
    struct request_values values = {.user_agent = buf_str(&agent),
                                    .host = w->url.authority,
                                    .date = str_of(date),
                                    .digest = str_of(digest),
                                    .content_type = STR("application/activity+json")};
    bool good = sign(w, &values, &signature) == FP_OK;
    if (good)
        w->headers = request_headers(&w->config->mastodon, &values);
    buf_clear(&signature);
    buf_clear(&agent);
    return good;
}

/* Not one that libcurl is told to leave out. */
static bool is_sent(const struct curl_slist *header)
{
    return header->data[strlen(header->data) - 1] != ':';
}

static void show_request_as_json(const struct work *w)
{
    json_t *head = json_array();

    for (const struct curl_slist *header = w->headers; header != NULL; header = header->next) {
        if (is_sent(header))
            json_array_append_new(head, figures_text(str_of(header->data)));
    }
    json_object_set_new(w->shown, "request",
                        json_pack("{s:s, s:o, s:o, s:I}", "method", "POST", "url",
                                  figures_text(w->url.text), "head", head, "body_bytes",
                                  (json_int_t)w->body.len));
}

static void show_request(const struct work *w)
{
    if (w->shown != NULL) {
        show_request_as_json(w);
        return;
    }
    words_print(stdout, "POST %.*s HTTP/1.1", STR_ARG(w->url.target));
    for (const struct curl_slist *header = w->headers; header != NULL; header = header->next) {
        if (is_sent(header))
            words_print(stdout, "%s", header->data);
    }
    words_print(stdout, "Content-Length: %zu", w->body.len);
}

/* --- the answer --- */

static void print_lines(struct str text)
{
    while (text.len > 0) {
        size_t end = str_find(text, '\n');
        words_line(stdout, str_trim((struct str){text.ptr, end}));
        text = str_slice(text, end + 1);
    }
}

static json_t *lines_of(struct str text)
{
    json_t *lines = json_array();

    while (text.len > 0) {
        size_t end = str_find(text, '\n');
        struct str line = str_trim((struct str){text.ptr, end});
        if (line.len > 0)
            json_array_append_new(lines, figures_text(line));
        text = str_slice(text, end + 1);
    }
    return lines;
}

static void show_answer(const struct work *w, const struct http_result *result)
{
    if (w->shown != NULL) {
        json_object_set_new(w->shown, "answer",
                            json_pack("{s:i, s:o, s:o}", "status", result->status, "head",
                                      lines_of(result->header), "body", lines_of(result->body)));
        return;
    }
    puts("");
    print_lines(result->header);
    print_lines(result->body);
}

static void on_answer(void *arg, const struct http_result *result)
{
    struct work *w = arg;

    w->session.done = true;
    if (result->end != HTTP_ANSWERED) {
        const char *why = result->end == HTTP_REFUSED_ADDRESS
                              ? "private address: see ALLOWED_PRIVATE_ADDRESSES"
                              : result->error;
        err_set(&w->err, FP_UNAVAILABLE, "deliver: %s: %s", w->inbox, why);
        return;
    }
    show_answer(w, result);
    w->exit_code = result->status >= 200 && result->status < 300 ? FP_EXIT_OK : FP_EXIT_FAILURE;
}

static void on_addresses(void *arg, const struct dns_result *result)
{
    struct work *w = arg;
    w->addresses = *result;
    w->session.done = true;
}

static bool resolve(struct work *w)
{
    struct str host = w->proxy != NULL ? w->proxy->url.host : w->url.host;
    size_t allowed = 0;

    w->session.done = false;
    dns_lookup(w->session.dns, host, on_addresses, w);
    if (!session_wait(&w->session, LOOKUP_MS) || w->addresses.status != DNS_FOUND) {
        err_set(&w->err, FP_UNAVAILABLE, "deliver: %.*s cannot be resolved", STR_ARG(host));
        return false;
    }
    if (w->proxy != NULL) /* it may be at any address */
        return true;
    for (size_t i = 0; i < w->addresses.count; i++) {
        if (address_is_allowed(&w->policy, &w->addresses.addresses[i]))
            w->addresses.addresses[allowed++] = w->addresses.addresses[i];
    }
    w->addresses.count = allowed;
    if (allowed == 0)
        err_set(&w->err, FP_DENIED,
                "deliver: %.*s has private addresses only: see ALLOWED_PRIVATE_ADDRESSES",
                STR_ARG(w->url.host));
    return allowed > 0;
}

static bool choose_way(struct work *w)
{
    if (address_policy_init(&w->policy, str_of(w->config->allowed_private_addresses), &w->err) !=
            FP_OK ||
        proxies_init(&w->proxies, w->config, &w->err) != FP_OK)
        return false;
    w->policy.unwrap_compatible = address_unwraps_compatible(&w->config->mastodon);
    if (proxy_host_is_hidden(w->url.host) && !w->config->allow_hidden_service) {
        err_set(&w->err, FP_DENIED,
                "deliver: %.*s is a hidden service: see ALLOW_ACCESS_TO_HIDDEN_SERVICE",
                STR_ARG(w->url.host));
        return false;
    }
    w->proxy = proxy_for(&w->proxies, w->url.host);
    return true;
}

static bool exchange(struct work *w)
{
    X509_STORE *store;

    if (!resolve(w))
        return false;
    store = trust_store_create(str_of(w->config->ca_file), &w->err);
    if (store == NULL)
        return false;
    http_global_init();
    const struct http_options options = {.base = w->session.base,
                                         .clock = &w->session.clock,
                                         .store = store,
                                         .policy = &w->policy,
                                         .max_connections = 1};
    struct http *http = http_create(&options);
    bool literal = w->proxy != NULL ? w->proxy->url.ip_literal : w->url.ip_literal;
    const struct http_request request = {.url = &w->url,
                                         .headers = w->headers,
                                         .body = buf_str(&w->body),
                                         .addresses = w->addresses.addresses,
                                         .address_count = literal ? 0 : w->addresses.count,
                                         .proxy = w->proxy,
                                         .keep_body_bytes = SHOWN_BODY_BYTES};
    w->err.message[0] = '\0';
    w->session.done = false;
    http_start(http, &request, on_answer, w);
    bool ended = session_wait(&w->session, ANSWER_MS);
    http_destroy(http);
    if (!ended)
        err_set(&w->err, FP_UNAVAILABLE, "deliver: %s: no answer within %d s", w->inbox,
                ANSWER_MS / 1000);
    trust_store_destroy(store);
    return w->err.message[0] == '\0';
}

static int deliver(struct work *w)
{
    heap_open(&w->heap, 4);
    w->sender = deliver_sender_load(&w->session, &w->heap, w->account, &w->err);
    if (w->sender == NULL)
        return session_fail(&w->err, FP_EXIT_FAILURE);
    bool built = build(w);
    account_unref(w->sender);
    if (!built)
        return session_fail(&w->err, FP_EXIT_FAILURE);
    show_request(w);
    if (w->send && (!choose_way(w) || !exchange(w)))
        return session_fail(&w->err, FP_EXIT_FAILURE);
    if (w->shown != NULL)
        words_print_json(w->shown);
    return w->send ? w->exit_code : FP_EXIT_OK;
}

int command_deliver(const struct config *config, int argc, char **argv)
{
    struct work w = {.config = config, .exit_code = FP_EXIT_FAILURE};
    int code;

    buf_init(&w.body, CONTENT_BYTES);
    if (read_arguments(&w, argc, argv) != FP_OK || read_body(&w) != FP_OK) {
        code = session_fail(&w.err, w.err.code == FP_INVALID ? FP_EXIT_USAGE : FP_EXIT_FAILURE);
    } else {
        process_harden();
        code = session_open(&w.session, config, &w.err) ? deliver(&w)
                                                        : session_fail(&w.err, FP_EXIT_CONFIG);
        session_close(&w.session);
    }
    json_decref(w.shown);
    free(w.headers);
    proxies_clear(&w.proxies);
    url_clear(&w.url);
    buf_clear(&w.body);
    return code;
}
