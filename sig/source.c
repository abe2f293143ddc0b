#include "sig/source.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "sig/columns.h"

enum { MAX_IDS_BYTES = 4096 };

enum source_state {
    SOURCE_UNKNOWN = 0,
    SOURCE_DETECTING,
    SOURCE_READY,
    SOURCE_LOADING,
    SOURCE_DENIED,
};

struct source {
    const struct clock *clock;
    struct postgres *postgres;
    struct keyring *keyring;
    struct loop_timer *refusal; /* answers a batch that can't be read, from the loop */
    enum source_state state;
    struct columns columns;
    bool decrypts;
    int64_t detected_ms;
    int64_t logged_ms;
    bool logged;
    bool tried_again;                      /* the catalogue was read anew for this batch */
    struct buf ids;                        /* the batch as an array literal; empty: none */
    char reason[COLUMNS_MAX_REMEDY_BYTES]; /* why it is denied */
};

static void step(struct source *source);

static void refuse_batch(struct source *source, const char *reason)
{
    source->tried_again = false;
    if (source->ids.len == 0)
        return;
    /* Emptied first: the keyring may hand over the next batch at once. */
    buf_reset(&source->ids);
    keyring_failed(source->keyring, reason);
}

static void complain(struct source *source, const char *what, const char *remedy)
{
    int64_t now_ms = clock_mono_ms(source->clock);

    if (source->logged && now_ms - source->logged_ms < SOURCE_LOG_MS)
        return;
    source->logged = true;
    source->logged_ms = now_ms;
    log_event(LOG_LEVEL_ERROR, what, LOG_TEXT("remedy", remedy));
}

static void be_ready(struct source *source)
{
    source->state = SOURCE_READY;
    if (source->columns.keypairs && !source->decrypts) {
        complain(source, "private keys in keypairs cannot be read: their deliveries wait",
                 "set ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY and "
                 "ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT as Mastodon has them, and restart");
    } else if (source->logged) {
        log_plain(LOG_LEVEL_INFO, "private keys can be read again");
        source->logged = false;
    }
}

static void take_schema(struct source *source, const PGresult *result)
{
    struct buf remedy;

    buf_init(&remedy, COLUMNS_MAX_REMEDY_BYTES - 1);
    columns_read(&source->columns, result);
    source->detected_ms = clock_mono_ms(source->clock);
    if (columns_usable(&source->columns, result, &remedy)) {
        be_ready(source);
    } else {
        complain(source, "private keys cannot be read: deliveries wait", buf_cstr(&remedy));
        memcpy(source->reason, buf_cstr(&remedy), remedy.len + 1);
        source->state = SOURCE_DENIED;
    }
    buf_clear(&remedy);
}

static void on_schema(void *arg, enum postgres_status status, PGresult *result, const char *message)
{
    struct source *source = arg;

    if (status == POSTGRES_OK) {
        take_schema(source, result);
    } else {
        source->state = SOURCE_UNKNOWN;
        refuse_batch(source, message);
    }
    step(source);
}

/* A local account without a key, as far as the catalogue was known: maybe its key has just moved to
 * a table that was not there when the catalogue was read. */
static bool misses_a_key(const struct source *source, const PGresult *result)
{
    for (int i = 0; !source->columns.keypairs && i < PQntuples(result); i++) {
        struct account_row row;
        if (columns_row(result, i, &row) && row.local && row.pem.len == 0)
            return true;
    }
    return false;
}

static void take_rows(struct source *source, const PGresult *result)
{
    for (int i = 0; i < PQntuples(result); i++) {
        struct account_row row;
        if (columns_row(result, i, &row))
            keyring_row(source->keyring, &row);
    }
    source->tried_again = false;
    buf_reset(&source->ids);
    keyring_done(source->keyring);
}

static void on_rows(void *arg, enum postgres_status status, PGresult *result, const char *message)
{
    struct source *source = arg;

    switch (status) {
    case POSTGRES_OK:
        source->state = SOURCE_READY;
        if (!source->tried_again && misses_a_key(source, result)) {
            source->state = SOURCE_UNKNOWN;
            source->tried_again = true;
        } else {
            take_rows(source, result);
        }
        break;
    case POSTGRES_ERROR:
        /* A migration or a REVOKE since the catalogue was read: look again, but once. */
        source->state = SOURCE_UNKNOWN;
        if (source->tried_again)
            refuse_batch(source, message);
        else
            source->tried_again = true;
        break;
    case POSTGRES_LOST:
        source->state = SOURCE_READY;
        refuse_batch(source, message);
        break;
    }
    step(source);
}

static void detect(struct source *source)
{
    struct buf sql;

    source->state = SOURCE_DETECTING;
    buf_init(&sql, COLUMNS_MAX_SQL_BYTES);
    columns_put_detect_sql(&sql);
    postgres_query(source->postgres, on_schema, source, KEYRING_WAIT_MS, buf_cstr(&sql), 0, NULL);
    buf_clear(&sql);
}

static void load(struct source *source)
{
    struct buf sql;
    struct str ids = buf_str(&source->ids);

    source->state = SOURCE_LOADING;
    buf_init(&sql, COLUMNS_MAX_SQL_BYTES);
    columns_put_select_sql(&source->columns, &sql);
    buf_put_str(&sql, STR(" WHERE a.id = ANY($1::bigint[])"));
    postgres_query(source->postgres, on_rows, source, KEYRING_WAIT_MS, buf_cstr(&sql), 1, &ids);
    buf_clear(&sql);
}

static void step(struct source *source)
{
    int64_t age_ms = clock_mono_ms(source->clock) - source->detected_ms;

    if (source->ids.len == 0)
        return;
    switch (source->state) {
    case SOURCE_UNKNOWN:
        detect(source);
        break;
    case SOURCE_READY:
        if (age_ms >= SOURCE_DETECT_MS)
            detect(source);
        else
            load(source);
        break;
    case SOURCE_DENIED:
        if (age_ms >= SOURCE_DENIED_MS)
            detect(source);
        else
            loop_timer_set(source->refusal, 0);
        break;
    case SOURCE_DETECTING:
    case SOURCE_LOADING:
        break; /* its answer steps on */
    }
}

static void on_refusal(void *arg)
{
    struct source *source = arg;

    refuse_batch(source, source->reason);
}

static void on_load(void *arg, const int64_t *ids, size_t count)
{
    struct source *source = arg;
    char text[24];

    assert(source->ids.len == 0);
    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "%" PRId64, ids[i]);
        postgres_array_add(&source->ids, str_of(text));
    }
    postgres_array_end(&source->ids);
    step(source);
}

struct source *source_create(struct event_base *base, const struct clock *clock,
                             struct postgres *postgres, struct keyring *keyring, bool decrypts)
{
    struct source *source = mem_alloc(sizeof(*source));

    source->clock = clock;
    source->postgres = postgres;
    source->keyring = keyring;
    source->decrypts = decrypts;
    source->refusal = loop_timer_create(base, on_refusal, source);
    buf_init(&source->ids, MAX_IDS_BYTES);
    keyring_set_loader(keyring, on_load, source);
    detect(source); /* so that a missing right is told at start, not at the first delivery */
    return source;
}

void source_destroy(struct source *source)
{
    if (source == NULL)
        return;
    keyring_set_loader(source->keyring, NULL, NULL);
    loop_timer_destroy(source->refusal);
    buf_clear(&source->ids);
    free(source);
}
