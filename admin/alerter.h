/*
 * The admin process's part that looks after alerts. Its rounds:
 *
 *   RESTING --timer--> ASKING --answer--> LOOKING --news--> TELLING
 *      ^  |              (records)         (state)          (errands)
 *      |  +-- domains aren't due --------->  | |                |
 *      +-------------------------------------+ nothing new      |
 *      +--------------------------------------------------------+
 *
 * While it doesn't rest, what it knows is the clerk's that has its errand.
 */
#ifndef FEDPUSH_ADMIN_ALERTER_H
#define FEDPUSH_ADMIN_ALERTER_H

#include "admin/clerk.h"

struct alerter;
/* `config` and the clerks (CLERKS of them) are borrowed. Never NULL. It lives as long as the
 * process. */
struct alerter *alerter_create(struct event_base *base, const struct config *config,
                               struct clerk *const *clerks);

#endif
