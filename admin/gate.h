/*
 * Who gets in, and with which right: a session (cookie), a token (bearer), or, while no login is
 * configured, anybody on this machine, who may read.
 */
#ifndef FEDPUSH_ADMIN_GATE_H
#define FEDPUSH_ADMIN_GATE_H

#include <sys/queue.h>

#include "admin/api.h"
#include "admin/attempts.h"
#include "admin/logins.h"
#include "admin/oauth.h"
#include "admin/tokens.h"
#include "admin/visitor.h"

enum { GATE_AWAY_MS = 10000 /* after PostgreSQL didn't answer it isn't asked */ };

struct gate {
    const struct config *config;
    struct visit_rules rules;
    struct oauth oauth;
    struct clock clock;
    bool with_password;
    bool with_oauth;
    struct attempts attempts;        /* while Redis doesn't answer; the loop's */
    LIST_HEAD(, question) questions; /* under way; the loop's */
    int64_t away_until_ms;           /* the clerk's that asks */
};

enum caller_kind {
    CALLER_NOBODY = 0,
    CALLER_COOKIE,
    CALLER_BEARER,
};

/* What a request shows. */
struct caller {
    enum caller_kind kind;
    char hash[PASS_HASH_BYTES]; /* of cookie or token */
    char csrf[PASS_TEXT_BYTES]; /* X-Fedpush-CSRF */
    bool changes;               /* its method is none of those that only read */
    bool by_url;                /* by FEDPUSH_ADMIN_URL, not localhost */
    int family;                 /* where from, for the limits of passwords */
    unsigned char address[16];
};

enum gate_verdict {
    GATE_OUT = 0,
    GATE_IN,
    GATE_ASK, /* Mastodon must be asked again first: gate_ask */
};

struct entry {
    enum gate_verdict verdict;
    int status; /* GATE_OUT: what to answer, with a reason and its remedy */
    enum phrase why;
    enum api_right right;
    char who[LOGIN_WHO_BYTES];
    char csrf[PASS_TEXT_BYTES]; /* a session's; else "" */
    struct login login;         /* a session's */
    struct token token;         /* of CALLER_BEARER */
};

void gate_init(struct gate *gate, const struct config *config);
bool gate_has_login(const struct gate *gate);
const char *
gate_ways_in(const struct gate *gate); /* "none", "password", "oauth", "password oauth" */

/* On the loop, before anything waits: what the request shows, and whether connection and header
 * alone shut it out. *status is 0 when they don't; else the reason is returned, one without
 * values. */
enum phrase gate_look(const struct gate *gate, const struct web_request *request,
                      struct caller *caller, int *status);
/* In a clerk's thread. `asked`: gate_ask has been called; `touch`: it counts as use of a session.
 */
void gate_enter(const struct gate *gate, struct desk *desk, const struct caller *caller,
                enum api_right wanted, bool asked, bool touch, struct entry *entry);
/* In the thread of the clerk of records: asks Mastodon's database about who signed in, or made the
 * token, and ends session or token if they may no more. When the database is away the last answer
 * stands for a while. */
void gate_ask(struct gate *gate, struct desk *desk, const struct caller *caller,
              const struct entry *entry);

/* Appends a Set-Cookie field; `value` empty: takes it back. `strict`: not sent when another site
 * links here. */
void gate_put_cookie(const struct gate *gate, bool by_url, const char *suffix, struct str value,
                     int64_t seconds, bool strict, struct buf *out);
/* The value of our cookie; .ptr is NULL when there is none. */
struct str gate_cookie(const struct web_head *head, const char *suffix);

#endif
