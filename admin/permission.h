/*
 * Whether an account of Mastodon may see the page: what Mastodon asks for Sidekiq's Web UI, a role
 * with the permission `administrator` or `view_devops`, of a user who can sign in there.
 */
#ifndef FEDPUSH_ADMIN_PERMISSION_H
#define FEDPUSH_ADMIN_PERMISSION_H

#include "admin/desk.h"

/* Whether a role's permissions, Mastodon's bit mask, let in. */
bool permission_suffices(int64_t permissions);
/* Asks Mastodon's database. False with err filled: it doesn't answer. */
bool permission_ask(struct desk *desk, int64_t account, bool *held, struct err *err) FP_MUST_CHECK;

#endif
