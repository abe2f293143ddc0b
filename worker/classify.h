/*
 * What an admin would have seen in Sidekiq: the Ruby class and words for a failure below HTTP.
 * Pure.
 */
#ifndef FEDPUSH_WORKER_CLASSIFY_H
#define FEDPUSH_WORKER_CLASSIFY_H

#include "base/dns.h"
#include "base/message.h"
#include "worker/http.h"

struct failure {
    struct str error_class;                /* a constant */
    char message[MESSAGE_MAX_ERROR_BYTES]; /* one printable line */
};

/* `url` ends the message, as Mastodon does it: "… on https://…". */
void classify_dns(struct failure *failure, const struct dns_result *result, struct str url);
void classify_http(struct failure *failure, const struct http_result *result, struct str url);
void classify_text(struct failure *failure, struct str error_class, const char *text,
                   struct str url);

#endif
