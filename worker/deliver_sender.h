/*
 * The account that `fedpush deliver` signs for, read as the signer reads it.
 */
#ifndef FEDPUSH_WORKER_DELIVER_SENDER_H
#define FEDPUSH_WORKER_DELIVER_SENDER_H

#include "admin/session.h"
#include "sig/account.h"

/* By user name, in any case; waits. With one reference; NULL: err says why. `heap` is open. */
struct account *deliver_sender_load(struct session *session, const struct heap *heap,
                                    const char *username, struct err *err);

#endif
