/*
 * "Sign in with your Mastodon account": OAuth 2 with an authorization code, against the instance
 * itself. Its token is used for one question and given back at once.
 */
#ifndef FEDPUSH_ADMIN_OAUTH_H
#define FEDPUSH_ADMIN_OAUTH_H

#include "admin/pass.h"
#include "base/config.h"

struct oauth {
    const struct config *config; /* borrowed */
    char *instance;              /* "https://social.example" */
    char *redirect_uri;          /* of the configuration, never of a request */
};

/* What was found out about who signed in. */
struct oauth_account {
    int64_t id;
    char name[128]; /* "alice" */
    int64_t permissions;
};

enum oauth_result {
    OAUTH_GOOD = 0,
    OAUTH_REFUSED, /* Mastodon doesn't take the code */
    OAUTH_AWAY,    /* it doesn't answer as Mastodon does */
};

bool oauth_is_configured(const struct config *config);
void oauth_init(struct oauth *oauth, const struct config *config, struct str page_url);
void oauth_clear(struct oauth *oauth);
/* Where to send the browser. Appends. */
void oauth_put_authorize_url(const struct oauth *oauth, struct str state, struct str verifier,
                             struct buf *out);
/* Waits, at most half a minute: for a clerk's thread. */
enum oauth_result oauth_account(const struct oauth *oauth, struct str code, struct str verifier,
                                struct oauth_account *account);

#endif
