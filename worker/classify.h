/*
 * What a failure below HTTP says about the host, and what an admin would have seen of it in
 * Sidekiq: the Ruby class and words. Pure.
 */
#ifndef FEDPUSH_WORKER_CLASSIFY_H
#define FEDPUSH_WORKER_CLASSIFY_H

#include "base/dns.h"
#include "base/message.h"
#include "worker/http.h"

struct failure {
    enum failure_kind kind;
    struct str error_class;                /* a constant */
    char message[MESSAGE_MAX_ERROR_BYTES]; /* one printable line */
};

/* `url` ends the message, as Mastodon does it: "… on https://…". */
void classify_dns(struct failure *failure, const struct dns_result *result, struct str url);
/* `by_proxy`: the connection that failed was one to the proxy. */
void classify_http(struct failure *failure, const struct http_result *result, bool by_proxy,
                   struct str url);
void classify_text(struct failure *failure, enum failure_kind kind, struct str error_class,
                   const char *text, struct str url);

#endif
