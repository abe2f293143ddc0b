/*
 * One request to the API: it passes the gate, is answered in a clerk's thread, and replied to.
 */
#ifndef FEDPUSH_ADMIN_QUESTION_H
#define FEDPUSH_ADMIN_QUESTION_H

#include "admin/entrance.h"

/* What an answer is made of. */
struct asked {
    struct api_request request;
    const struct gate *gate;
    const struct caller *caller;
    const struct entry *entry;
    struct str login_cookie; /* of a login with Mastodon that is under way */
    struct str content_type; /* of the request's body */
};

struct answer {
    struct api_reply reply; /* body NULL: `text` is it */
    struct buf text;
    struct buf fields; /* header fields, each with its CR LF */
    bool signed_in;    /* the attempt was a good one */
};

typedef void answer_fn(struct desk *desk, const struct asked *asked, struct answer *answer);

struct route {
    enum clerk_name clerk;
    enum api_right right;
    bool anonymous; /* answered whoever asks */
    bool limited;   /* an attempt to get in */
    answer_fn *answer;
};

/* `path` is behind /api/v1. Replies to the exchange, at once or later. */
void question_put(struct gate *gate, struct clerk *const *clerks, struct web_exchange *exchange,
                  const struct web_request *request, struct str path, const struct caller *caller,
                  const struct route *route);
/* Fills the answer with problem details (RFC 9457); `why` has no values. */
void answer_problem(struct answer *answer, int status, enum phrase why);
void answer_err(struct answer *answer, int status, const struct err *why);
/* 503, for what there was no room for. */
void question_too_busy(struct web_exchange *exchange);

#endif
