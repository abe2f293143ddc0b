/*
 * What a clerk works with: connections of its own.
 */
#ifndef FEDPUSH_ADMIN_DESK_H
#define FEDPUSH_ADMIN_DESK_H

#include "admin/session.h"

struct desk {
    struct session session;
};

/* Connects nothing yet, and doesn't wait. False with err filled: the configuration is unusable. */
bool desk_open(struct desk *desk, const struct config *config, struct err *err) FP_MUST_CHECK;
void desk_close(struct desk *desk);

#endif
