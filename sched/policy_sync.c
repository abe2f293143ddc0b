#include "sched/policy_sync.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

enum {
    COMPARE_MS = 30000,
    DEADLINE_MS = 5000,
    PARAMETER_BYTES = 16 * 1024 * 1024,
    AUDIT_LINES = 5,
    AUDIT_ENTRIES = 500, /* a statement */
};

static const char read_sql[] =
    "SELECT domain, version, policy FROM fedpush.domain_policy ORDER BY version DESC LIMIT 20000";
static const char write_sql[] =
    "INSERT INTO fedpush.domain_policy AS d (domain, version, policy)"
    " SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])"
    " ON CONFLICT (domain) DO UPDATE SET version = excluded.version, policy = excluded.policy,"
    " updated_at = now() WHERE d.version < excluded.version";
static const char audit_sql[] =
    "INSERT INTO fedpush.audit (id, at, who, action, domain, detail)"
    " SELECT i, to_timestamp(v / 1000000.0), w, a, d, t FROM unnest($1::text[], $2::bigint[],"
    " $3::text[], $4::text[], $5::text[], $6::text[]) AS u(i, v, w, a, d, t)"
    " ON CONFLICT (id) DO NOTHING";

/* IDLE --30 s, or wanted--> READING --rows--> COMPARED --tick--> WRITING (what PostgreSQL lacks)
 * --> IDLE. A failure: IDLE, and again after 30 s. */
enum sync_state { SYNC_IDLE = 0, SYNC_READING, SYNC_COMPARED, SYNC_WRITING };

/* Entries on their way. */
struct audit {
    struct str words[AUDIT_ENTRIES + 2]; /* HDEL of them */
    size_t count;
    struct buf arrays[AUDIT_LINES + 1];
    char *ids[AUDIT_ENTRIES];
};

struct policy_sync {
    struct policy_sync_options o;
    enum sync_state state;
    struct policy_book *kept; /* COMPARED: what PostgreSQL has */
    struct audit *audit;      /* being written, or NULL */
    bool troubled;            /* the log has said so */
    bool reachable;           /* PostgreSQL, a second ago */
    int64_t next_ms;          /* of the comparison */
    int64_t audit_next_ms;    /* after a failure: not before */
    struct script_call *call; /* of what is being gathered, or NULL */
    char **texts;             /* its words */
    size_t text_count;
};

struct policy_sync *policy_sync_create(const struct policy_sync_options *options)
{
    struct policy_sync *sync = mem_alloc(sizeof(*sync));
    sync->o = *options;
    return sync;
}

static void end_audit(struct policy_sync *sync)
{
    struct audit *audit = sync->audit;

    sync->audit = NULL;
    if (audit == NULL)
        return;
    for (size_t i = 0; i < AUDIT_LINES + 1; i++)
        buf_clear(&audit->arrays[i]);
    for (size_t i = 0; i < audit->count; i++)
        free(audit->ids[i]);
    free(audit);
}

void policy_sync_destroy(struct policy_sync *sync)
{
    if (sync == NULL)
        return;
    end_audit(sync);
    policy_book_destroy(sync->kept);
    free(sync);
}

void policy_sync_wanted(struct policy_sync *sync)
{
    sync->next_ms = 0;
}

/* --- to Redis --- */

static void gather(struct policy_sync *sync, const char *what, const struct policy_entry *entry)
{
    if (sync->call == NULL) {
        sync->call = script_begin(SCRIPT_POLICIES_MERGE);
        script_key(sync->call, sync->o.keys->policies);
    }
    sync->texts = mem_realloc(sync->texts, (sync->text_count + 2) * sizeof(char *));
    char *name = sync->texts[sync->text_count++] = str_dup(str_of(entry->name));
    char *value = sync->texts[sync->text_count++] =
        mem_printf("%" PRId64 " %s", entry->version, entry->text);
    script_arg(sync->call, str_of(what));
    script_arg(sync->call, str_of(name));
    script_arg(sync->call, str_of(value));
}

void policy_sync_bring_back(struct policy_sync *sync, const struct policy_entry *entry)
{
    gather(sync, "set", entry);
}

void policy_sync_send(struct policy_sync *sync)
{
    if (sync->call == NULL)
        return;
    script_send(sync->call, sync->o.redis, NULL, NULL);
    sync->call = NULL;
    while (sync->text_count > 0)
        free(sync->texts[--sync->text_count]);
    free(sync->texts);
    sync->texts = NULL;
}

/* --- the comparison --- */

static void end(struct policy_sync *sync)
{
    sync->state = SYNC_IDLE;
    policy_book_destroy(sync->kept);
    sync->kept = NULL;
}

static bool failed(struct policy_sync *sync, enum postgres_status status, const char *message)
{
    if (status == POSTGRES_OK) {
        sync->troubled = false;
        return false;
    }
    if (status == POSTGRES_ERROR && !sync->troubled) {
        log_event(LOG_LEVEL_WARN,
                  "policies are in Redis alone: run `fedpush setup`, and `fedpush setup --roles "
                  "--print` for the rights",
                  LOG_TEXT("error", message));
        sync->troubled = true;
    }
    return true;
}

static void on_rows(void *arg, enum postgres_status status, PGresult *result, const char *message)
{
    struct policy_sync *sync = arg;

    if (failed(sync, status, message)) {
        end(sync);
        return;
    }
    sync->kept = policy_book_create();
    for (int row = 0; row < PQntuples(result); row++) {
        int64_t version = strtoll(PQgetvalue(result, row, 1), NULL, 10);
        /* What isn't understood was written by a newer fedpush: it stays as it is. */
        (void)!policy_book_put(sync->kept, str_of(PQgetvalue(result, row, 0)), version,
                               str_of(PQgetvalue(result, row, 2)));
    }
    sync->state = SYNC_COMPARED;
}

static void on_written(void *arg, enum postgres_status status, PGresult *result,
                       const char *message)
{
    struct policy_sync *sync = arg;

    (void)result;
    (void)failed(sync, status, message);
    end(sync);
}

static void to_redis(struct policy_sync *sync, const struct policy_book *book)
{
    int64_t now_us = clock_wall_us(sync->o.clock);
    int64_t long_ago = now_us - (int64_t)POLICY_SYNC_FORGET_S * 1000000;
    const struct policy_entry *kept;
    size_t at = 0;

    while ((kept = policy_book_each(sync->kept, &at)) != NULL) {
        const struct policy_entry *ours = policy_book_get(book, str_of(kept->name));
        const struct policy now = policy_at(&kept->policy, now_us / 1000000);
        bool taken_back = policy_is_empty(&now); /* or over */
        if (ours == NULL ? !taken_back : kept->version > ours->version)
            gather(sync, "set", kept);
        else if (ours != NULL && taken_back && kept->version == ours->version &&
                 kept->version < long_ago)
            gather(sync, "forget", kept);
    }
    policy_sync_send(sync);
}

static void put_row(struct buf arrays[3], const struct policy_entry *entry)
{
    char *version = mem_printf("%" PRId64, entry->version);

    postgres_array_add(&arrays[0], str_of(entry->name));
    postgres_array_add(&arrays[1], str_of(version));
    postgres_array_add(&arrays[2], str_of(entry->text));
    free(version);
}

/* False: it has everything. */
static bool to_postgres(struct policy_sync *sync, const struct policy_book *book)
{
    struct buf arrays[3];
    struct str parameters[3];
    const struct policy_entry *ours;
    size_t at = 0;
    bool any = false;

    for (size_t i = 0; i < 3; i++)
        buf_init(&arrays[i], PARAMETER_BYTES);
    while ((ours = policy_book_each(book, &at)) != NULL) {
        const struct policy_entry *kept = policy_book_get(sync->kept, str_of(ours->name));
        if (kept != NULL && kept->version >= ours->version)
            continue;
        any = true;
        put_row(arrays, ours);
    }
    for (size_t i = 0; i < 3; i++) {
        postgres_array_end(&arrays[i]);
        parameters[i] = buf_str(&arrays[i]);
    }
    if (any)
        postgres_query(sync->o.postgres, on_written, sync, DEADLINE_MS, write_sql, 3, parameters);
    for (size_t i = 0; i < 3; i++)
        buf_clear(&arrays[i]);
    return any;
}

void policy_sync_tick(struct policy_sync *sync, const struct policy_book *book)
{
    int64_t now_ms = clock_mono_ms(sync->o.clock);
    bool ready = postgres_is_ready(sync->o.postgres);

    if (ready && !sync->reachable) /* it is back: at once */
        sync->next_ms = sync->audit_next_ms = 0;
    sync->reachable = ready;
    switch (sync->state) {
    case SYNC_IDLE:
        if (now_ms < sync->next_ms || !ready)
            break;
        sync->next_ms = now_ms + COMPARE_MS;
        sync->state = SYNC_READING;
        postgres_query(sync->o.postgres, on_rows, sync, DEADLINE_MS, read_sql, 0, NULL);
        break;
    case SYNC_COMPARED:
        to_redis(sync, book);
        sync->state = SYNC_WRITING;
        if (!to_postgres(sync, book))
            end(sync);
        break;
    case SYNC_READING:
    case SYNC_WRITING:
        break;
    }
}

/* --- the audit --- */

static void on_audited(void *arg, enum postgres_status status, PGresult *result,
                       const char *message)
{
    struct policy_sync *sync = arg;
    struct audit *audit = sync->audit;

    (void)result;
    if (failed(sync, status, message)) {
        sync->audit_next_ms = clock_mono_ms(sync->o.clock) + COMPARE_MS;
    } else {
        audit->words[0] = STR("HDEL");
        audit->words[1] = str_of(sync->o.keys->audit);
        redis_send(sync->o.redis, NULL, NULL, audit->count + 2, audit->words);
    }
    end_audit(sync);
}

/* VERSION, who, action, name, detail: a line each. What is of another form stays where it is. */
static bool add_entry(struct audit *audit, struct str id, struct str value)
{
    struct str lines[AUDIT_LINES];
    int64_t version;

    for (size_t i = 0; i < AUDIT_LINES; i++) {
        size_t end = i + 1 < AUDIT_LINES ? str_find(value, '\n') : value.len;
        lines[i] = (struct str){value.ptr, end};
        value = str_slice(value, end + 1);
    }
    if (!str_to_i64(lines[0], 1, INT64_MAX, &version) || lines[3].len == 0)
        return false;
    postgres_array_add(&audit->arrays[0], id);
    for (size_t i = 0; i < AUDIT_LINES; i++)
        postgres_array_add(&audit->arrays[i + 1], lines[i]);
    audit->ids[audit->count] = str_dup(id);
    audit->words[2 + audit->count] = (struct str){audit->ids[audit->count], id.len};
    audit->count++;
    return true;
}

static void on_audit(void *arg, enum redis_status status, const redisReply *reply)
{
    struct policy_sync *sync = arg;
    struct audit *audit = sync->audit;
    struct str parameters[AUDIT_LINES + 1];

    if (status == REDIS_LOST || reply->type != REDIS_REPLY_ARRAY) {
        end_audit(sync);
        return;
    }
    for (size_t i = 0; i + 1 < reply->elements && audit->count < AUDIT_ENTRIES; i += 2)
        (void)add_entry(
            audit, (struct str){reply->element[i]->str, (size_t)reply->element[i]->len},
            (struct str){reply->element[i + 1]->str, (size_t)reply->element[i + 1]->len});
    if (audit->count == 0) {
        end_audit(sync);
        return;
    }
    for (size_t i = 0; i < AUDIT_LINES + 1; i++) {
        postgres_array_end(&audit->arrays[i]);
        parameters[i] = buf_str(&audit->arrays[i]);
    }
    postgres_query(sync->o.postgres, on_audited, sync, DEADLINE_MS, audit_sql, AUDIT_LINES + 1,
                   parameters);
}

void policy_sync_audit(struct policy_sync *sync)
{
    const struct str words[] = {STR("HGETALL"), str_of(sync->o.keys->audit)};

    if (sync->audit != NULL || !postgres_is_ready(sync->o.postgres) ||
        clock_mono_ms(sync->o.clock) < sync->audit_next_ms)
        return;
    sync->audit = mem_alloc(sizeof(*sync->audit));
    for (size_t i = 0; i < AUDIT_LINES + 1; i++)
        buf_init(&sync->audit->arrays[i], PARAMETER_BYTES);
    redis_send(sync->o.redis, on_audit, sync, 2, words);
}
