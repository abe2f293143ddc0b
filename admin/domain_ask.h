/*
 * Asks each machine (sched/questions.h): a host asks why its deliveries are or aren't being sent
 * right now, "trace ID" what became of an activity.
 */
#ifndef FEDPUSH_ADMIN_DOMAIN_ASK_H
#define FEDPUSH_ADMIN_DOMAIN_ASK_H

#include <jansson.h>

#include "admin/session.h"

/* An object, the caller's: identity -> words, a line for each port of the host; of the machines
 * that answered within three seconds. NULL: Redis can't be asked, err says why. */
json_t *domain_ask(struct session *session, struct str host, struct err *err);
/* The same in two steps, so that other things are read meanwhile: unless it is asked `anew`,
 * answers of the last five seconds are good enough; others are waited for at most `wait_ms` (0:
 * what stands there is all). *all: each machine that lives has answered. */
bool domain_ask_begin(struct session *session, struct str question, bool anew,
                      struct err *err) FP_MUST_CHECK;
json_t *domain_ask_end(struct session *session, struct str question, int64_t wait_ms, bool *all,
                       struct err *err);
/* What machines have said of the host beside these words, an object of the caller's: identity ->
 * list of sentences (base/phrase.h); older machines have none. */
json_t *domain_ask_said(struct session *session, struct str host, struct err *err);
/* Machines that live and aren't among the answers, an object of the caller's: identity -> seconds
 * since the last beat. */
json_t *domain_ask_silent(struct session *session, const json_t *answers, struct err *err);
/* Several questions at once: an array of such objects, in their order. */
json_t *domain_ask_all(struct session *session, size_t count, const struct str *questions,
                       struct err *err);

#endif
