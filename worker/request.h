/*
 * The header fields of a delivery in Mastodon's order, by version. Pure.
 */
#ifndef FEDPUSH_WORKER_REQUEST_H
#define FEDPUSH_WORKER_REQUEST_H

#include <curl/curl.h>

#include "base/config.h"
#include "base/message.h"

/* "Mastodon/4.5.15 (http.rb/5.3.1; +https://social.example/)"; 4.2 names http.rb first. Appends. */
void request_put_user_agent(struct buf *out, const struct mastodon_version *version,
                            struct str web_domain);

struct request_values {
    struct str user_agent;
    struct str host;
    struct str date;
    struct str digest;       /* Digest, or Content-Digest beside a signature_input; empty for GET */
    struct str content_type; /* empty for GET */
    struct str synchronization; /* or empty */
    struct str signature;
    struct str signature_input; /* RFC 9421 alone */
};
/* All fields but Content-Length, which libcurl adds: one block of memory, free(). */
struct curl_slist *request_headers(const struct mastodon_version *version,
                                   const struct request_values *values);

#endif
