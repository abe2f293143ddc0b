/*
 * Alerts in Redis, so that they outlive a process: whose turn it is to look after them, what fires,
 * and what is over.
 *
 * fedpush:alerter      string: the token of the one machine that does
 * fedpush:alerts       hash: id -> JSON (alert_book.h) of what fires
 * fedpush:alerts:over  hash: the same of what fired within the last hours
 */
#ifndef FEDPUSH_ADMIN_ALERT_STORE_H
#define FEDPUSH_ADMIN_ALERT_STORE_H

#include "admin/alert_book.h"
#include "admin/session.h"

enum { ALERT_TOKEN_BYTES = 300 };
/* Ends the token of a machine that has nobody to tell: every other one takes the turn from it. */
#define ALERT_MUTE ":mute"

enum alert_turn {
    ALERT_TURN_OTHERS = 0,
    ALERT_TURN_NEW, /* from now on it is ours */
    ALERT_TURN_OURS,
};

/* Takes the turn where it is free, or goes on with it, for lease_ms. False with err filled. */
bool alert_store_turn(struct session *session, const char *token, int64_t lease_ms,
                      enum alert_turn *turn, struct err *err) FP_MUST_CHECK;
/* Empties the book and fills it. False with err filled. */
bool alert_store_load(struct session *session, struct alert_book *book,
                      struct err *err) FP_MUST_CHECK;
/* Replaces what stands in Redis, unless it is another's turn by now. False with err filled. */
bool alert_store_save(struct session *session, const char *token, const struct alert_book *book,
                      struct err *err) FP_MUST_CHECK;
/* Whose turn it is, "" for nobody's. False with err filled. */
bool alert_store_owner(struct session *session, char token[ALERT_TOKEN_BYTES],
                       struct err *err) FP_MUST_CHECK;

#endif
