#include "sig/keyring.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/table.h"
#include "sig/actor.h"

enum { TRIM_SHARE = 8, EVICTIONS_WHEN_TIGHT = 16 };

struct waiter {
    keyring_fn *fn;
    void *arg;
    int64_t since_ms;
    struct lookup *lookup;
    TAILQ_ENTRY(waiter) in_lookup;
    TAILQ_ENTRY(waiter) in_order;
};
TAILQ_HEAD(waiter_list, waiter);

/* An account to be read: in the list `wanted`, then, while the loader is at it, in `asked`. */
struct lookup {
    uint64_t id;
    bool asked;
    struct waiter_list waiters; /* empty: a refresh in the background */
    TAILQ_ENTRY(lookup) link;
};
TAILQ_HEAD(lookup_list, lookup);

struct keyring {
    const struct clock *clock;
    struct account_maker maker;
    char *web_domain;
    size_t capacity;
    keyring_load_fn *load;
    void *load_arg;
    struct table *accounts; /* id -> struct account, with one reference each */
    struct account *newest, *oldest;
    struct table *lookups;
    struct lookup_list wanted;
    struct lookup_list asked;
    struct waiter_list waiters; /* all, oldest first */
    size_t waiting;
    int64_t logged_ms; /* 0: never */
};

/* ---- accounts ---- */

static struct str account_table_key(const struct account *account)
{
    return (struct str){(const char *)&account->id, sizeof(account->id)};
}

static struct account *find_account(const struct keyring *keyring, int64_t id)
{
    return table_get(keyring->accounts, (struct str){(const char *)&id, sizeof(id)});
}

static void unlink_account(struct keyring *keyring, struct account *account)
{
    *(account->newer != NULL ? &account->newer->older : &keyring->newest) = account->older;
    *(account->older != NULL ? &account->older->newer : &keyring->oldest) = account->newer;
    account->newer = NULL;
    account->older = NULL;
}

static void link_newest(struct keyring *keyring, struct account *account)
{
    account->older = keyring->newest;
    *(keyring->newest != NULL ? &keyring->newest->newer : &keyring->oldest) = account;
    keyring->newest = account;
}

static void drop_account(struct keyring *keyring, struct account *account)
{
    unlink_account(keyring, account);
    table_remove(keyring->accounts, account_table_key(account));
    account_unref(account);
}

static void drop_oldest(struct keyring *keyring, size_t count)
{
    struct account *account = keyring->oldest;

    while (count-- > 0 && account != NULL) {
        struct account *newer = account->newer;
        drop_account(keyring, account);
        account = newer;
    }
}

static void make_room(struct keyring *keyring)
{
    size_t count = table_count(keyring->accounts);

    if (count >= keyring->capacity)
        drop_oldest(keyring, count - keyring->capacity + 1);
    /* One still in use gives its memory back later: no use in dropping everybody for it. */
    if (heap_is_tight(keyring->maker.heap))
        drop_oldest(keyring, EVICTIONS_WHEN_TIGHT);
}

static void add_account(struct keyring *keyring, struct account *account)
{
    make_room(keyring);
    table_put(keyring->accounts, account_table_key(account), account);
    link_newest(keyring, account);
}

void keyring_trim(struct keyring *keyring)
{
    drop_oldest(keyring, table_count(keyring->accounts) / TRIM_SHARE + 1);
}

/* ---- look-ups and who waits for them ---- */

static struct str lookup_key(const struct lookup *lookup)
{
    return table_key_u64(&lookup->id);
}

static struct lookup *want(struct keyring *keyring, int64_t account_id)
{
    uint64_t id = (uint64_t)account_id;
    struct lookup *lookup = table_get(keyring->lookups, table_key_u64(&id));

    if (lookup != NULL)
        return lookup;
    lookup = mem_alloc(sizeof(*lookup));
    lookup->id = id;
    TAILQ_INIT(&lookup->waiters);
    TAILQ_INSERT_TAIL(&keyring->wanted, lookup, link);
    table_put(keyring->lookups, lookup_key(lookup), lookup);
    return lookup;
}

static void forget_waiter(struct keyring *keyring, struct waiter *waiter)
{
    TAILQ_REMOVE(&waiter->lookup->waiters, waiter, in_lookup);
    TAILQ_REMOVE(&keyring->waiters, waiter, in_order);
    keyring->waiting--;
    free(waiter);
}

static void answer_waiter(struct keyring *keyring, struct waiter *waiter, enum sign_status status,
                          struct account *account, const char *reason)
{
    keyring_fn *fn = waiter->fn;
    void *arg = waiter->arg;

    forget_waiter(keyring, waiter);
    fn(arg, status, account, reason);
}

static void free_lookup(struct keyring *keyring, struct lookup *lookup)
{
    TAILQ_REMOVE(lookup->asked ? &keyring->asked : &keyring->wanted, lookup, link);
    table_remove(keyring->lookups, lookup_key(lookup));
    free(lookup);
}

static void finish_lookup(struct keyring *keyring, struct lookup *lookup, enum sign_status status,
                          struct account *account, const char *reason)
{
    struct waiter *next;

    for (struct waiter *waiter = TAILQ_FIRST(&lookup->waiters); waiter != NULL; waiter = next) {
        next = TAILQ_NEXT(waiter, in_lookup);
        answer_waiter(keyring, waiter, status, account, reason);
    }
    free_lookup(keyring, lookup);
}

static void start_batch(struct keyring *keyring)
{
    int64_t ids[KEYRING_BATCH];
    size_t count = 0;
    struct lookup *lookup;

    if (!TAILQ_EMPTY(&keyring->asked) || keyring->load == NULL)
        return;
    while (count < KEYRING_BATCH && (lookup = TAILQ_FIRST(&keyring->wanted)) != NULL) {
        TAILQ_REMOVE(&keyring->wanted, lookup, link);
        TAILQ_INSERT_TAIL(&keyring->asked, lookup, link);
        lookup->asked = true;
        ids[count++] = (int64_t)lookup->id;
    }
    if (count > 0)
        keyring->load(keyring->load_arg, ids, count);
}

static void add_waiter(struct keyring *keyring, struct lookup *lookup, keyring_fn *fn, void *arg)
{
    struct waiter *waiter = mem_alloc(sizeof(*waiter));

    *waiter = (struct waiter){
        .fn = fn, .arg = arg, .since_ms = clock_mono_ms(keyring->clock), .lookup = lookup};
    TAILQ_INSERT_TAIL(&lookup->waiters, waiter, in_lookup);
    TAILQ_INSERT_TAIL(&keyring->waiters, waiter, in_order);
    keyring->waiting++;
}

void keyring_ask(struct keyring *keyring, int64_t account_id, bool reread, keyring_fn *fn,
                 void *arg)
{
    struct account *account = find_account(keyring, account_id);
    int64_t now_ms = clock_mono_ms(keyring->clock);

    if (account != NULL) {
        unlink_account(keyring, account);
        link_newest(keyring, account);
        int64_t age_ms = now_ms - account->read_ms;
        bool may_ask = now_ms >= account->retry_ms;
        bool doubted = age_ms >= (reread ? KEYRING_REREAD_MS : KEYRING_STALE_MS);
        if (age_ms >= KEYRING_REFRESH_MS && may_ask)
            want(keyring, account_id);
        if (!doubted || !may_ask) {
            fn(arg, SIGN_OK, account, NULL);
            start_batch(keyring);
            return;
        }
    }
    if (keyring->waiting >= KEYRING_MAX_WAITING) {
        fn(arg, SIGN_UNAVAILABLE, NULL, "too many requests wait for keys");
        return;
    }
    add_waiter(keyring, want(keyring, account_id), fn, arg);
    start_batch(keyring);
}

/* The loader can't help: what is known goes on being used. */
static void answer_without_loader(struct keyring *keyring, struct waiter *waiter,
                                  const char *reason)
{
    struct account *account = find_account(keyring, (int64_t)waiter->lookup->id);

    if (account != NULL)
        account->retry_ms = clock_mono_ms(keyring->clock) + KEYRING_RETRY_MS;
    answer_waiter(keyring, waiter, account != NULL ? SIGN_OK : SIGN_UNAVAILABLE, account, reason);
}

void keyring_tick(struct keyring *keyring)
{
    int64_t now_ms = clock_mono_ms(keyring->clock);
    struct waiter *waiter;

    while ((waiter = TAILQ_FIRST(&keyring->waiters)) != NULL &&
           now_ms - waiter->since_ms >= KEYRING_WAIT_MS)
        answer_without_loader(keyring, waiter, "the database did not answer in time");
}

/* ---- what the loader found ---- */

/* The known account when nothing but the suspension changed, so that a refresh parses nothing. */
static struct account *refresh_account(struct keyring *keyring, const struct account_row *row,
                                       struct err *err)
{
    struct account *known = find_account(keyring, row->id);
    unsigned char fingerprint[ACCOUNT_FINGERPRINT_BYTES];

    if (account_fingerprint(&keyring->maker, row, fingerprint, err) != FP_OK)
        return NULL;
    if (known != NULL && memcmp(known->fingerprint, fingerprint, sizeof(fingerprint)) == 0)
        return known;
    if (known != NULL)
        drop_account(keyring, known);
    make_room(keyring);
    struct account *account = account_create(&keyring->maker, row, fingerprint, err);
    if (account != NULL)
        add_account(keyring, account);
    return account;
}

/* What an admin can mend, and deliveries wait for. */
static void log_waiting(struct keyring *keyring, const char *reason)
{
    int64_t now_ms = clock_mono_ms(keyring->clock);

    if (keyring->logged_ms != 0 && now_ms - keyring->logged_ms < KEYRING_LOG_MS)
        return;
    keyring->logged_ms = now_ms;
    log_event(LOG_LEVEL_ERROR, "a private key cannot be used: its deliveries wait",
              LOG_TEXT("reason", reason));
}

static struct lookup *find_asked(const struct keyring *keyring, int64_t account_id)
{
    uint64_t id = (uint64_t)account_id;
    struct lookup *lookup = table_get(keyring->lookups, table_key_u64(&id));

    return lookup != NULL && lookup->asked ? lookup : NULL;
}

static void forget_account(struct keyring *keyring, int64_t id)
{
    struct account *known = find_account(keyring, id);

    if (known != NULL)
        drop_account(keyring, known);
}

void keyring_row(struct keyring *keyring, const struct account_row *row)
{
    struct lookup *lookup = find_asked(keyring, row->id);
    struct err err = {0};

    if (lookup == NULL)
        return;
    struct account *account = refresh_account(keyring, row, &err);
    if (account == NULL) {
        forget_account(keyring, row->id);
        if (err.code == FP_UNAVAILABLE)
            log_waiting(keyring, err.message);
        finish_lookup(keyring, lookup,
                      err.code == FP_UNAVAILABLE ? SIGN_UNAVAILABLE : SIGN_KEY_UNUSABLE, NULL,
                      err.message);
        return;
    }
    account->suspended = row->suspended && row->id != ACTOR_INSTANCE_ID;
    account->read_ms = clock_mono_ms(keyring->clock);
    account->retry_ms = 0;
    finish_lookup(keyring, lookup, SIGN_OK, account, NULL);
}

void keyring_done(struct keyring *keyring)
{
    struct lookup *next;
    char reason[64];

    for (struct lookup *lookup = TAILQ_FIRST(&keyring->asked); lookup != NULL; lookup = next) {
        next = TAILQ_NEXT(lookup, link);
        long long id = (long long)lookup->id;
        snprintf(reason, sizeof(reason), "there is no account %lld", id);
        forget_account(keyring, id);
        finish_lookup(keyring, lookup, SIGN_ACCOUNT_MISSING, NULL, reason);
    }
    start_batch(keyring);
}

static void fail_lookup(struct keyring *keyring, struct lookup *lookup, const char *reason)
{
    struct account *account = find_account(keyring, (int64_t)lookup->id);
    struct waiter *next;

    if (account != NULL)
        account->retry_ms = clock_mono_ms(keyring->clock) + KEYRING_RETRY_MS;
    for (struct waiter *waiter = TAILQ_FIRST(&lookup->waiters); waiter != NULL; waiter = next) {
        next = TAILQ_NEXT(waiter, in_lookup);
        answer_without_loader(keyring, waiter, reason);
    }
    free_lookup(keyring, lookup);
}

void keyring_failed(struct keyring *keyring, const char *reason)
{
    struct lookup *next;

    for (struct lookup *lookup = TAILQ_FIRST(&keyring->asked); lookup != NULL; lookup = next) {
        next = TAILQ_NEXT(lookup, link);
        fail_lookup(keyring, lookup, reason);
    }
    start_batch(keyring);
}

/* ---- life ---- */

struct keyring *keyring_create(const struct keyring_options *options)
{
    struct keyring *keyring = mem_alloc(sizeof(*keyring));

    assert(options->capacity > 0 && options->copies > 0);
    keyring->clock = options->clock;
    keyring->web_domain = str_dup(options->web_domain);
    keyring->maker = (struct account_maker){.web_domain = str_of(keyring->web_domain),
                                            .copies = options->copies,
                                            .heap = options->heap,
                                            .encryption = options->encryption};
    crypto_generichash_keygen(keyring->maker.fingerprint_key);
    keyring->capacity = options->capacity;
    keyring->accounts = table_create();
    keyring->lookups = table_create();
    TAILQ_INIT(&keyring->wanted);
    TAILQ_INIT(&keyring->asked);
    TAILQ_INIT(&keyring->waiters);
    return keyring;
}

void keyring_set_loader(struct keyring *keyring, keyring_load_fn *load, void *arg)
{
    keyring->load = load;
    keyring->load_arg = arg;
}

static void forget_lookups(struct keyring *keyring, struct lookup_list *list)
{
    struct lookup *next;

    for (struct lookup *lookup = TAILQ_FIRST(list); lookup != NULL; lookup = next) {
        next = TAILQ_NEXT(lookup, link);
        free_lookup(keyring, lookup);
    }
}

void keyring_destroy(struct keyring *keyring)
{
    struct waiter *next;

    if (keyring == NULL)
        return;
    for (struct waiter *waiter = TAILQ_FIRST(&keyring->waiters); waiter != NULL; waiter = next) {
        next = TAILQ_NEXT(waiter, in_order);
        forget_waiter(keyring, waiter);
    }
    forget_lookups(keyring, &keyring->wanted);
    forget_lookups(keyring, &keyring->asked);
    drop_oldest(keyring, table_count(keyring->accounts));
    table_destroy(keyring->accounts);
    table_destroy(keyring->lookups);
    free(keyring->web_domain);
    free(keyring);
}

size_t keyring_waiting(const struct keyring *keyring)
{
    return keyring->waiting;
}

size_t keyring_count(const struct keyring *keyring)
{
    return table_count(keyring->accounts);
}
