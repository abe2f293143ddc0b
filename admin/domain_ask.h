/*
 * Asks each machine why a host's deliveries are or aren't being sent right now (sched/questions.h).
 */
#ifndef FEDPUSH_ADMIN_DOMAIN_ASK_H
#define FEDPUSH_ADMIN_DOMAIN_ASK_H

#include <jansson.h>

#include "admin/session.h"

/* An object, the caller's: identity -> words, a line for each port of the host; of the machines
 * that answered within three seconds. NULL: Redis can't be asked, err says why. */
json_t *domain_ask(struct session *session, struct str host, struct err *err);
/* The same in two steps, so that other things are read meanwhile: answers of the last five seconds
 * are good enough, and others are waited for at most `wait_ms`. */
bool domain_ask_begin(struct session *session, struct str host, struct err *err) FP_MUST_CHECK;
json_t *domain_ask_end(struct session *session, struct str host, int64_t wait_ms, struct err *err);

#endif
