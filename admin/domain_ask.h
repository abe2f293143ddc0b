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

#endif
