/*
 * Giving up root, for good. FEDPUSH_USER comes from the environment only: it decides before
 * anything else is parsed.
 */
#ifndef FEDPUSH_WORKER_PRIVILEGES_H
#define FEDPUSH_WORKER_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

#define PRIVILEGES_DEFAULT_USER "fedpush"
enum { PRIVILEGES_NAME_BYTES = 64 };

/* Whom to become. */
struct privileges {
    bool drop; /* false: stay as we are */
    char user[PRIVILEGES_NAME_BYTES];
    uid_t uid;
    gid_t gid;
};

/* What a process of effective user `euid` has to do when FEDPUSH_USER is `user` (NULL or "": not
 * set). A user other than root stays what it is. root becomes FEDPUSH_USER, by default
 * PRIVILEGES_DEFAULT_USER, and stays root only when that is "root" in so many words. FP_INVALID: no
 * such user, or it is root by another name. */
enum fp_err privileges_choose(uid_t euid, const char *user, struct privileges *out,
                              struct err *err) FP_MUST_CHECK;

/* Groups, group and user ids, then proof that there is no way back. */
enum fp_err privileges_drop(const struct privileges *privileges, struct err *err) FP_MUST_CHECK;

#endif
