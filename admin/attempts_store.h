/*
 * The fleet's count of attempts to get in, in Redis, so that more machines are no more attempts
 * (attempts.lua, by the rules of attempts.h). For a clerk's thread.
 *
 * fedpush:attempts          string: Redis TIME in milliseconds at which all attempts of strangers
 *                           are spare again; expires then
 * fedpush:attempts:ADDRESS  hash: "wrong", how many; "last" and "until", Redis TIME in milliseconds
 *                           of the last one and from which the next one is let; "known", 1: got in.
 *                           For an hour, or of who got in for 30 days. Only attempts that were let
 *                           make one, so that in an hour strangers make 1,220 at most.
 */
#ifndef FEDPUSH_ADMIN_ATTEMPTS_STORE_H
#define FEDPUSH_ADMIN_ATTEMPTS_STORE_H

#include "admin/session.h"

/* As attempts_begin. False with err filled: Redis doesn't answer, and nobody knows. */
bool attempts_store_begin(struct session *session, int family, const unsigned char address[16],
                          int64_t *wait_ms, struct err *err) FP_MUST_CHECK;
bool attempts_store_right(struct session *session, int family, const unsigned char address[16],
                          struct err *err) FP_MUST_CHECK;

#endif
