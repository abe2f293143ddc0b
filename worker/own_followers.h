/*
 * The followers that Collection-Synchronization speaks of, counted by a command for itself: the
 * scheduler's own counting, over a connection that is opened for it and closed.
 */
#ifndef FEDPUSH_WORKER_OWN_FOLLOWERS_H
#define FEDPUSH_WORKER_OWN_FOLLOWERS_H

#include "admin/session.h"
#include "worker/sample.h"

/* Sets `synchronization` of each trial that is sent and asks for it; waits. False with err filled
 * when not all could be counted: those posts would wait. */
bool own_followers_count(struct session *session, struct sample *sample,
                         struct err *err) FP_MUST_CHECK;

#endif
