/*
 * The accounts whose keys were needed lately, parsed: least recently used ones go first. Pure: time
 * comes in, and a loader (source.h) fetches rows; so it is tested without a database.
 *
 * An account that isn't there is asked for once, however many requests wait for it; all accounts
 * that wait go into one batch; one batch is out at a time. Half a minute after it was read an
 * account in use is read again in the background, so that a new key or a suspension is followed
 * within KEYRING_STALE_MS; or at once, when its signature was refused. When the loader fails, known
 * accounts go on being used.
 */
#ifndef FEDPUSH_SIG_KEYRING_H
#define FEDPUSH_SIG_KEYRING_H

#include "base/clock.h"
#include "base/message.h"
#include "base/str.h"
#include "sig/account.h"

enum {
    KEYRING_REFRESH_MS = 30 * 1000,
    KEYRING_STALE_MS = 60 * 1000, /* older: read before it is used, while the loader can */
    KEYRING_RETRY_MS = 5 * 1000,  /* a known account after a failure: used without asking */
    KEYRING_REREAD_MS = 5 * 1000, /* read again before its use at most so often, when told to */
    KEYRING_LOG_MS = 60 * 1000,   /* for an account that waits for the configuration */
    KEYRING_WAIT_MS = 2 * 1000,   /* the longest a request waits */
    KEYRING_BATCH = 128,          /* accounts; parsing that many takes about 10 ms */
    KEYRING_MAX_WAITING = 64 * 1024,
};

/* SIGN_OK: `account` is set and borrowed for the call. Else `reason` is, one line, borrowed. It may
 * not call the keyring. */
typedef void keyring_fn(void *arg, enum sign_status status, struct account *account,
                        const char *reason);
/* Fetches the rows of these accounts (borrowed for the call) and answers from the loop, never from
 * within: keyring_row for each row there is, then keyring_done; or keyring_failed. */
typedef void keyring_load_fn(void *arg, const int64_t *ids, size_t count);

struct keyring_options {
    const struct clock *clock;
    const struct heap *heap;
    struct str web_domain;         /* copied */
    size_t capacity;               /* accounts */
    unsigned copies;               /* threads that sign */
    struct encryption *encryption; /* NULL: not configured */
};

struct keyring;
struct keyring *keyring_create(const struct keyring_options *options);
void keyring_destroy(struct keyring *keyring); /* calls nobody back; NULL is fine */
void keyring_set_loader(struct keyring *keyring, keyring_load_fn *load, void *arg);

/* `fn` is called once, maybe before this returns, at the latest at the first keyring_tick after
 * KEYRING_WAIT_MS. `reread`: the account's latest signature was not believed, so that the key may
 * have been replaced: it is read again first (bounded by KEYRING_REREAD_MS). */
void keyring_ask(struct keyring *keyring, int64_t account_id, bool reread, keyring_fn *fn,
                 void *arg);
/* Ends what has waited too long. To be called ten times a second while keyring_waiting() > 0. */
void keyring_tick(struct keyring *keyring);
size_t keyring_waiting(const struct keyring *keyring);
size_t keyring_count(const struct keyring *keyring); /* accounts known */
/* Drops an eighth of the accounts: there is no memory for another copy of a key. */
void keyring_trim(struct keyring *keyring);

void keyring_row(struct keyring *keyring, const struct account_row *row);
void keyring_done(struct keyring *keyring);
void keyring_failed(struct keyring *keyring, const char *reason);

#endif
