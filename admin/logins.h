/*
 * Who is signed in, in Redis, so that all machines know. For a clerk's thread.
 */
#ifndef FEDPUSH_ADMIN_LOGINS_H
#define FEDPUSH_ADMIN_LOGINS_H

#include "admin/desk.h"
#include "admin/pass.h"

enum {
    LOGIN_IDLE_S = 12 * 3600,
    LOGIN_LONGEST_S = 7 * 24 * 3600,
    LOGIN_ASK_S = 60,      /* Mastodon is asked again whether the role still lets in */
    LOGIN_UNASKED_S = 600, /* and for so long the last answer counts when it can't be */
    LOGIN_WHO_BYTES = 128,
};

struct login {
    char who[LOGIN_WHO_BYTES]; /* "admin", "@alice" */
    int64_t account;           /* of Mastodon; 0: signed in by password */
    int64_t created_us;        /* Redis TIME */
    int64_t asked_us;          /* account: when Mastodon said last that it may */
    char csrf[PASS_TEXT_BYTES];
};

/* Fills created_us, asked_us and csrf, and makes the cookie's token. */
bool login_start(struct desk *desk, struct login *login, char token[PASS_TEXT_BYTES],
                 struct err *err) FP_MUST_CHECK;
/* By the token's hash. *found is false when there is none, it has expired or was ended, or another
 * password is configured now. `touch`:
 * it was used, and goes on for LOGIN_IDLE_S. False with err filled: Redis doesn't answer. */
bool login_find(struct desk *desk, struct str hash, bool touch, struct login *login, bool *found,
                struct err *err) FP_MUST_CHECK;
/* Mastodon has said again that it may. */
bool login_asked(struct desk *desk, struct str hash, const struct login *login,
                 struct err *err) FP_MUST_CHECK;
bool login_end(struct desk *desk, struct str hash, struct err *err) FP_MUST_CHECK;
/* All of that one, wherever. */
bool login_end_all(struct desk *desk, const char *who, struct err *err) FP_MUST_CHECK;

#endif
