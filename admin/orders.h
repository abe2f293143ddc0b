/*
 * What admins order on the command line: reads all policies from Redis, and writes changed ones in
 * one step, together with the audit's entry. PostgreSQL is the scheduler's to fill
 * (sched/policy_sync.h), so that orders are given while it is away.
 */
#ifndef FEDPUSH_ADMIN_ORDERS_H
#define FEDPUSH_ADMIN_ORDERS_H

#include "admin/session.h"
#include "base/policy.h"

enum { ORDERS_MAX_CHANGES = 2000, ORDERS_WORDS_BYTES = 16384 };

struct orders {
    struct session *session;
    struct redis *redis;
    struct policy_book *book; /* as Redis has it */
    int64_t now_s;            /* Redis' time */
    const char *who;          /* for the audit; NULL: the person at this terminal */
    size_t unknown;           /* entries of Redis that this fedpush doesn't understand */
    size_t count;             /* changes so far */
    char *names[ORDERS_MAX_CHANGES];
    char *texts[ORDERS_MAX_CHANGES];
};

/* Reads. False with err filled. orders_close in any case. */
bool orders_open(struct orders *orders, struct session *session, struct err *err) FP_MUST_CHECK;
void orders_close(struct orders *orders);
/* The policy of this very name as it will be, past ends taken away; an empty one when there is
 * none. */
struct policy orders_get(const struct orders *orders, struct str name);
void orders_set(struct orders *orders, struct str name, const struct policy *policy);
/*
 * Writes the changes; the audit gets the action, what it was about ("*": the fleet) and the detail,
 * one line each. False with err filled when somebody else has written meanwhile: nothing is
 * written, and the command may be given again.
 */
bool orders_write(struct orders *orders, const char *action, struct str name, const char *detail,
                  struct err *err) FP_MUST_CHECK;

/* Who gives an order, as the audit has it; NULL: the person at this terminal. Appends. */
void orders_put_who(struct buf *out, const char *who);
/* "90", "90s", "15m", "24h", "7d": seconds, up to a year. */
bool orders_parse_span(const char *text, int64_t *seconds) FP_MUST_CHECK;
/* What a command was given beside names, as it can be typed: "--for 15m --now". Appends. */
void orders_put_options(struct buf *out, int64_t span_s, bool now);
/* "paused for 5 min more, at most 2 at once, …", or "no policy". */
void orders_say(struct said *said, const struct policy *policy, int64_t now_s);
/* Its text. Appends. */
void orders_put_words(struct buf *out, const struct policy *policy, int64_t now_s);

#endif
