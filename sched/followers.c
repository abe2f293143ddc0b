#include "sched/followers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "sched/sender.h"

enum {
    DEADLINE_MS = 10 * 1000,
    MAX_PATTERNS_BYTES = 256 * 1024, /* FOLLOWERS_NARROW_SERVERS of the longest URLs */
};

enum state {
    STATE_UNKNOWN = 0, /* the catalogue hasn't been read, or no longer counts */
    STATE_DETECTING,
    STATE_IDLE,
    STATE_NAMING,
    STATE_COUNTING,
    STATE_PAUSED,
};

struct followers {
    struct followers_options o;
    enum state state;
    struct senders *senders;
    struct sender_list queue; /* the first one has its turn */
    unsigned waiting;
    bool has_id_scheme;
    bool refused; /* a statement was, since the last count: it was tried again at once, but once */
    int64_t detected_ms;
    bool logged;
    int64_t logged_ms;
    char *detect_sql;
    struct loop_timer *turn;
    struct loop_timer *sweep;
};

/* to_regclass follows the search path, as Rails does. */
const char followers_rights[] =
    "SELECT format('GRANT SELECT (%s) ON %s TO %I', string_agg(quote_ident(attname), ', ' ORDER BY "
    "attnum), attrelid::regclass, current_user) FROM pg_catalog.pg_attribute WHERE NOT "
    "attisdropped AND ((attrelid = to_regclass('accounts') AND attname IN ('id', 'username', "
    "'uri', 'id_scheme')) OR (attrelid = to_regclass('follows') AND attname IN ('account_id', "
    "'target_account_id'))) AND NOT has_column_privilege(attrelid, attnum, 'SELECT') GROUP BY "
    "attrelid";

/* What is missing, or NULL; whether accounts has id_scheme (Mastodon 4.5). */
static const char detect_format[] =
    "SELECT CASE WHEN to_regclass('accounts') IS NULL OR to_regclass('follows') IS NULL THEN "
    "'no tables accounts and follows in sight: use Mastodon''s database, and GRANT USAGE ON its "
    "SCHEMA (public) to this role' ELSE (SELECT string_agg(missing, '; ' ORDER BY missing) FROM "
    "(%s) AS "
    "rights (missing)) END, EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE NOT attisdropped AND "
    "attrelid = to_regclass('accounts') AND attname = 'id_scheme')";

/* Rails' own query, with more rows a page; local followers have no URI. */
static const char count_sql[] =
    "SELECT accounts.id, accounts.uri FROM accounts JOIN follows ON follows.account_id = "
    "accounts.id WHERE follows.target_account_id = $1::bigint AND accounts.id > $2::bigint AND "
    "accounts.uri LIKE ANY ($3::text[]) ORDER BY accounts.id LIMIT $4::bigint";

static void set_state(struct followers *f, enum state state)
{
    static const char *const names[] = {"unknown", "detecting", "idle",
                                        "naming",  "counting",  "paused"};

    log_event(LOG_LEVEL_DEBUG, "followers", LOG_TEXT("from", names[f->state]),
              LOG_TEXT("to", names[state]));
    f->state = state;
}

/* --- claims --- */

bool followers_lookup(struct followers *f, struct claim *claim)
{
    free(claim->synchronization);
    claim->synchronization = senders_value(f->senders, claim->job.account_id, claim->job.inbox_url);
    return claim->synchronization != NULL;
}

void followers_wait(struct followers *f, struct claim *claim)
{
    struct sender *sender = senders_get(f->senders, claim->job.account_id);

    claim->state = CLAIM_FOLLOWERS;
    claim->sender = sender;
    TAILQ_INSERT_TAIL(&sender->waiting, claim, entry);
    f->waiting++;
    if (sender->state == SENDER_IDLE) {
        sender->state = SENDER_QUEUED;
        TAILQ_INSERT_TAIL(&f->queue, sender, entry);
    }
    if ((f->state == STATE_UNKNOWN || f->state == STATE_IDLE) && !loop_timer_pending(f->turn))
        loop_timer_set(f->turn, FOLLOWERS_GATHER_MS);
}

void followers_remove(struct followers *f, struct claim *claim)
{
    TAILQ_REMOVE(&claim->sender->waiting, claim, entry);
    f->waiting--;
    claim->sender = NULL;
    claim->state = CLAIM_NEW;
}

unsigned followers_waiting(const struct followers *f)
{
    return f->waiting;
}

bool followers_refused(const struct followers *f)
{
    return f->logged;
}

/* From the last to the first, so that each can go to the head of its lane and all stand there as
 * they came. */
static void release_all(struct followers *f, struct sender *sender)
{
    struct claim *claim;

    while ((claim = TAILQ_LAST(&sender->waiting, claim_list)) != NULL) {
        followers_remove(f, claim);
        f->o.release(f->o.arg, claim);
    }
    f->o.answered(f->o.arg);
}

/* --- the conversation --- */

static void step(struct followers *f);

static void pause_for(struct followers *f, int64_t ms)
{
    set_state(f, STATE_PAUSED);
    loop_timer_set(f->turn, ms);
}

static void complain(struct followers *f, const char *key, const char *text)
{
    int64_t now_ms = clock_mono_ms(f->o.clock);

    if (f->logged && now_ms - f->logged_ms < FOLLOWERS_LOG_MS)
        return;
    f->logged = true;
    f->logged_ms = now_ms;
    log_event(LOG_LEVEL_ERROR, "followers cannot be read: followers-only posts wait",
              LOG_TEXT(key, text));
}

/* The one whose turn it was begins again when its turn comes. After a migration or a REVOKE the
 * catalogue tells at once what is wrong. */
static void fail(struct followers *f, enum postgres_status status, const char *message)
{
    struct sender *sender = TAILQ_FIRST(&f->queue);

    if (sender != NULL) {
        if (sender->state == SENDER_COUNTING)
            sender_discard(sender);
        TAILQ_REMOVE(&f->queue, sender, entry);
        TAILQ_INSERT_TAIL(&f->queue, sender, entry);
    }
    if (status == POSTGRES_LOST) {
        pause_for(f, FOLLOWERS_LOST_MS);
    } else if (f->refused) {
        complain(f, "error", message);
        pause_for(f, FOLLOWERS_REFUSED_MS);
    } else {
        f->refused = true;
        set_state(f, STATE_UNKNOWN);
        step(f);
    }
}

static void on_detected(void *arg, enum postgres_status status, PGresult *result,
                        const char *message)
{
    struct followers *f = arg;

    if (status != POSTGRES_OK) {
        fail(f, status, message);
        return;
    }
    f->detected_ms = clock_mono_ms(f->o.clock);
    f->has_id_scheme = strcmp(PQgetvalue(result, 0, 1), "t") == 0;
    if (!PQgetisnull(result, 0, 0)) {
        complain(f, "remedy", PQgetvalue(result, 0, 0));
        pause_for(f, FOLLOWERS_REFUSED_MS);
        return;
    }
    set_state(f, STATE_IDLE);
    step(f);
}

static void detect(struct followers *f)
{
    set_state(f, STATE_DETECTING);
    postgres_query(f->o.postgres, on_detected, f, DEADLINE_MS, f->detect_sql, 0, NULL);
}

static void finish(struct followers *f, struct sender *sender)
{
    if (f->logged)
        log_plain(LOG_LEVEL_INFO, "followers can be read again");
    f->logged = f->refused = false;
    TAILQ_REMOVE(&f->queue, sender, entry);
    senders_counted(f->senders, sender);
    release_all(f, sender);
}

/* All servers are counted at once, unless so few are asked for that it is likely a retry. */
static void begin_count(struct sender *sender)
{
    const struct claim *claim;

    tally_reset(sender->tally);
    TAILQ_FOREACH(claim, &sender->waiting, entry)
    {
        tally_want(sender->tally, synchronization_prefix(claim->job.inbox_url));
    }
    if (!sender->counted && tally_servers(sender->tally) <= FOLLOWERS_NARROW_SERVERS)
        tally_narrow(sender->tally);
    sender->last_id = INT64_MIN;
    sender->state = SENDER_COUNTING;
}

static void take_name(struct followers *f, struct sender *sender, const PGresult *result)
{
    struct str username = STR_NULL;

    free(sender->username);
    sender->username = NULL;
    if (PQntuples(result) == 1)
        username = str_of(PQgetvalue(result, 0, 0));
    if (!synchronization_is_username(username) ||
        !str_to_i64(str_of(PQgetvalue(result, 0, 1)), INT32_MIN, INT32_MAX, &sender->id_scheme)) {
        finish(f, sender);
        return;
    }
    sender->username = str_dup(username);
    begin_count(sender);
}

static void on_named(void *arg, enum postgres_status status, PGresult *result, const char *message)
{
    struct followers *f = arg;

    if (status != POSTGRES_OK) {
        fail(f, status, message);
        return;
    }
    set_state(f, STATE_IDLE);
    take_name(f, TAILQ_FIRST(&f->queue), result);
    step(f);
}

static void name(struct followers *f, const struct sender *sender)
{
    char id[24];

    snprintf(id, sizeof(id), "%" PRId64, sender->account_id);
    const struct str parameters[] = {str_of(id)};
    set_state(f, STATE_NAMING);
    postgres_query(
        f->o.postgres, on_named, f, DEADLINE_MS,
        f->has_id_scheme
            ? "SELECT username, coalesce(id_scheme, 0) FROM accounts WHERE id = $1::bigint"
            : "SELECT username, 0 FROM accounts WHERE id = $1::bigint",
        1, parameters);
}

static void on_row(void *arg, const PGresult *row)
{
    struct followers *f = arg;
    struct sender *sender = TAILQ_FIRST(&f->queue);
    struct str uri = {PQgetvalue(row, 0, 1), (size_t)PQgetlength(row, 0, 1)};

    sender->last_id = strtoll(PQgetvalue(row, 0, 0), NULL, 10);
    sender->rows++;
    tally_add(sender->tally, uri);
}

/* A few places back only, so that few tallies are under way. */
static void pass_turn(struct followers *f, struct sender *sender)
{
    struct sender *before = sender;

    for (int i = 1; i < FOLLOWERS_TURNS && TAILQ_NEXT(before, entry) != NULL; i++)
        before = TAILQ_NEXT(before, entry);
    if (before == sender)
        return;
    TAILQ_REMOVE(&f->queue, sender, entry);
    TAILQ_INSERT_AFTER(&f->queue, before, sender, entry);
}

static void on_page(void *arg, enum postgres_status status, PGresult *result, const char *message)
{
    struct followers *f = arg;
    struct sender *sender = TAILQ_FIRST(&f->queue);

    (void)result;
    if (status != POSTGRES_OK) {
        fail(f, status, message);
        return;
    }
    set_state(f, STATE_IDLE);
    if (sender->rows < f->o.page_rows)
        finish(f, sender);
    else
        pass_turn(f, sender);
    step(f);
}

static void count(struct followers *f, struct sender *sender)
{
    char numbers[3][24];
    struct buf patterns;

    sender->rows = 0;
    snprintf(numbers[0], sizeof(numbers[0]), "%" PRId64, sender->account_id);
    snprintf(numbers[1], sizeof(numbers[1]), "%" PRId64, sender->last_id);
    snprintf(numbers[2], sizeof(numbers[2]), "%d", f->o.page_rows);
    buf_init(&patterns, MAX_PATTERNS_BYTES);
    tally_put_patterns(sender->tally, &patterns);
    const struct str parameters[] = {str_of(numbers[0]), str_of(numbers[1]), buf_str(&patterns),
                                     str_of(numbers[2])};
    set_state(f, STATE_COUNTING);
    postgres_stream(f->o.postgres, on_row, on_page, f, DEADLINE_MS, count_sql, 4, parameters);
    buf_clear(&patterns);
}

static void step(struct followers *f)
{
    struct sender *first = TAILQ_FIRST(&f->queue);

    if (first == NULL)
        return;
    switch (f->state) {
    case STATE_UNKNOWN:
        detect(f);
        break;
    case STATE_IDLE:
        if (clock_mono_ms(f->o.clock) - f->detected_ms >= FOLLOWERS_DETECT_MS)
            detect(f);
        else if (first->state == SENDER_COUNTING)
            count(f, first);
        else
            name(f, first);
        break;
    case STATE_DETECTING:
    case STATE_NAMING:
    case STATE_COUNTING:
    case STATE_PAUSED:
        break; /* their answer, or the timer, steps on */
    }
}

static void on_turn(void *arg)
{
    struct followers *f = arg;

    if (f->state == STATE_PAUSED)
        set_state(f, STATE_UNKNOWN);
    step(f);
}

/* --- life --- */

static void on_sweep(void *arg)
{
    struct followers *f = arg;

    loop_timer_set(f->sweep, FOLLOWERS_FRESH_MS);
    senders_sweep(f->senders);
}

struct followers *followers_create(const struct followers_options *options)
{
    struct followers *f = mem_alloc(sizeof(*f));

    f->o = *options;
    const struct senders_options senders = {.clock = options->clock,
                                            .web_domain = options->web_domain,
                                            .fresh_ms = FOLLOWERS_FRESH_MS,
                                            .tally_bytes = options->tally_bytes,
                                            .total_bytes = options->total_bytes};
    f->senders = senders_create(&senders);
    TAILQ_INIT(&f->queue);
    f->detect_sql = mem_printf(detect_format, followers_rights);
    f->turn = loop_timer_create(options->base, on_turn, f);
    f->sweep = loop_timer_create(options->base, on_sweep, f);
    loop_timer_set(f->sweep, FOLLOWERS_FRESH_MS);
    detect(f); /* so that a missing right is told at start, not at the first post */
    return f;
}

void followers_destroy(struct followers *f)
{
    if (f == NULL)
        return;
    senders_destroy(f->senders);
    loop_timer_destroy(f->turn);
    loop_timer_destroy(f->sweep);
    free(f->detect_sql);
    free(f);
}
