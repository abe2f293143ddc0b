/*
 * Tokens of the API, for programs: "fp_…", in Redis by their hash only. For a clerk's thread, or a
 * command.
 */
#ifndef FEDPUSH_ADMIN_TOKENS_H
#define FEDPUSH_ADMIN_TOKENS_H

#include <jansson.h>

#include "admin/api.h"
#include "admin/pass.h"
#include "admin/session.h"

enum {
    TOKENS_MAX = 100,
    TOKEN_NAME_BYTES = 64 + 1,
    TOKEN_MADE_BY_BYTES = 384,
    TOKEN_TEXT_BYTES = sizeof("fp_") - 1 + PASS_TEXT_BYTES,
};

struct token {
    char name[TOKEN_NAME_BYTES];
    enum api_right right;
    int64_t created_s;
    int64_t account;  /* of Mastodon, whose session made it: it ends with the role; 0: nobody's */
    int64_t asked_us; /* account: when Mastodon said last that it may */
    char made_by[TOKEN_MADE_BY_BYTES]; /* "@alice", "admin", "root@host"; "": unknown */
};

/* What a token is to be. */
struct token_wish {
    struct str name;
    enum api_right right;
    int64_t account; /* as in a token */
    const char *who; /* makes it; NULL: the person at this terminal */
};
/* FP_INVALID: a wrong name, one that is taken, or too many. `text`: what its owner shows. */
bool token_create(struct session *session, const struct token_wish *wish,
                  char text[TOKEN_TEXT_BYTES], struct err *err) FP_MUST_CHECK;
/* FP_INVALID: there is none of that name. */
bool token_revoke(struct session *session, struct str name, struct err *err) FP_MUST_CHECK;
/* [{"name", "right": "read" | "act", "created_at", "made_by": text or null}], by name; NULL with
 * err filled. */
json_t *token_list(struct session *session, struct err *err);
/* By the hash of what is shown. False with err filled: Redis doesn't answer. */
bool token_find(struct session *session, struct str hash, struct token *token, bool *found,
                struct err *err) FP_MUST_CHECK;
/* Mastodon has said again that its account may; or that it may no more. */
bool token_asked(struct session *session, struct str hash, const struct token *token,
                 struct err *err) FP_MUST_CHECK;
bool token_end(struct session *session, struct str hash, struct err *err) FP_MUST_CHECK;

#endif
