#include "admin/figures_trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/domain_ask.h"
#include "admin/orders.h"
#include "admin/trace_rows.h"
#include "admin/words.h"
#include "base/escape.h"

enum { CIRCUITS_AT_ONCE = 500, MAX_WHY = 600 };

struct trace {
    struct session *session;
    struct trace_ids ids;
    struct trace_rows rows;
    struct orders orders;
    json_t *circuits; /* host -> as Redis has it, of hosts whose circuit is open */
    const struct trace_log_options *log_options; /* NULL: no logs are read */
    json_t *logs;
    void (*progress)(void *arg, double share);
    void *arg;
};

/* --- the ids --- */

static void on_account(void *arg, PGresult *result)
{
    char **account = arg;
    if (PQntuples(result) == 1)
        *account = str_dup(str_of(PQgetvalue(result, 0, 0)));
}

/* Without PostgreSQL the ids that have a number stay unknown. */
static void add_account(struct trace *t, struct str activity)
{
    const struct str parameters[] = {t->ids.username};
    char *account = NULL;
    struct err err;
    struct postgres *postgres;

    if (t->ids.username.len == 0)
        return;
    postgres = session_postgres(t->session, POSTGRES_ROLE_MASTODON, &err);
    if (postgres != NULL &&
        session_query(
            t->session, postgres,
            "SELECT id FROM accounts WHERE lower(username) = lower($1) AND coalesce(uri, '') = ''",
            1, parameters, on_account, &account, &err) &&
        account != NULL)
        trace_ids_add_account(&t->ids, activity, str_of(account));
    free(account);
}

/* --- the machines --- */

static bool ask_machines(struct trace *t, struct err *err)
{
    struct str questions[TRACE_MAX_IDS];
    char *texts[TRACE_MAX_IDS];
    size_t index;
    json_t *answers;
    const char *machine;
    json_t *words;

    for (size_t i = 0; i < t->ids.count; i++) {
        texts[i] = mem_printf("trace %s", t->ids.ids[i]);
        questions[i] = str_of(texts[i]);
    }
    json_t *all = domain_ask_all(t->session, t->ids.count, questions, err);
    for (size_t i = 0; i < t->ids.count; i++)
        free(texts[i]);
    json_array_foreach(all, index, answers)
    {
        json_object_foreach(answers, machine, words)
            trace_rows_add_answer(&t->rows, str_of(machine), str_of(json_string_value(words)));
    }
    json_decref(all);
    return all != NULL;
}

/* --- the logs --- */

/* Reading the logs is the first half of it, when there are any. */
static void on_log_progress(void *arg, double share)
{
    const struct trace *t = arg;
    if (t->progress != NULL)
        t->progress(t->arg, share / 2);
}

static void on_progress(void *arg, double share)
{
    const struct trace *t = arg;
    if (t->progress != NULL)
        t->progress(t->arg, t->log_options != NULL ? (1 + share) / 2 : share);
}

static void on_logged(void *arg, const struct trace_logged *logged)
{
    struct trace *t = arg;
    trace_rows_add_logged(&t->rows, logged);
}

static bool read_logs(struct trace *t, struct err *err)
{
    const struct trace_log log = {.options = t->log_options,
                                  .ids = &t->ids,
                                  .now_ms = t->rows.looked_ms,
                                  .found = on_logged,
                                  .progress = on_log_progress,
                                  .arg = t};

    if (t->log_options == NULL)
        return true;
    t->logs = trace_log_read(&log, err);
    return t->logs != NULL;
}

/* --- why it waits --- */

static bool waits(const struct trace_row *row)
{
    return row->state == TRACE_IN_FLIGHT || row->state == TRACE_WAITING ||
           row->state == TRACE_RETRIED || row->state == TRACE_SCHEDULED;
}

struct circuits {
    json_t *open;
    size_t count;
    struct str hosts[CIRCUITS_AT_ONCE];
};

static void on_circuits(void *arg, const redisReply *reply)
{
    struct circuits *circuits = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        const redisReply *value = reply->element[i];
        if (i < circuits->count && value->type == REDIS_REPLY_STRING &&
            strncmp(value->str, "open ", 5) == 0)
            json_object_set_new(circuits->open, circuits->hosts[i].ptr, json_string(value->str));
    }
}

static bool read_circuits(struct trace *t, struct trace_row **rows, size_t count, struct err *err)
{
    struct redis *redis = session_redis(t->session, REDIS_ROLE_SIDEKIQ, err);
    struct circuits circuits = {.open = t->circuits};
    struct str words[2 + CIRCUITS_AT_ONCE];
    bool good = redis != NULL;

    words[0] = STR("HMGET");
    words[1] = str_of(t->session->keys.circuit);
    for (size_t i = 0; i < count && good; i++) {
        if (waits(rows[i]) && rows[i]->lane[0] != '\0') {
            circuits.hosts[circuits.count] = str_of(rows[i]->lane);
            words[2 + circuits.count++] = str_of(rows[i]->lane);
        }
        if (circuits.count < CIRCUITS_AT_ONCE && (i + 1 < count || circuits.count == 0))
            continue;
        good = session_command(t->session, redis, 2 + circuits.count, words, on_circuits, &circuits,
                               err);
        circuits.count = 0;
    }
    return good;
}

static void put_part(struct buf *why, const char *text)
{
    buf_printf(why, "%s%s", why->len > 0 ? "; " : "", text);
}

static void put_policy(const struct trace *t, const struct trace_row *row, struct buf *why)
{
    struct policy policy;
    const struct policy_entry *entry =
        policy_book_sum(t->orders.book, str_of(row->host), t->orders.now_s, &policy);
    const struct policy fleet = orders_get(&t->orders, POLICY_FLEET);

    if (fleet.paused)
        put_part(why, "the fleet is paused");
    if (entry == NULL)
        return;
    put_part(why, "");
    orders_put_words(why, &policy, t->orders.now_s);
    buf_printf(why, " (%s)", entry->name);
}

static void put_circuit(const struct trace *t, const struct trace_row *row, struct buf *why)
{
    const char *circuit = json_string_value(json_object_get(t->circuits, row->lane));
    long long opened_ms;
    long long probe_ms;

    if (circuit == NULL || sscanf(circuit, "open %lld %lld", &opened_ms, &probe_ms) != 2)
        return;
    double wait_s = (double)probe_ms / 1000 - (double)t->orders.now_s;
    put_part(why, "the host doesn't answer and is asked again ");
    if (wait_s > 0) {
        buf_put_str(why, STR("in "));
        words_put_age(why, wait_s);
    } else {
        buf_put_str(why, STR("by its next job"));
    }
}

static json_t *why_of(const struct trace *t, const struct trace_row *row)
{
    struct buf why;

    buf_init(&why, 16384);
    if (waits(row)) {
        put_policy(t, row, &why);
        put_circuit(t, row, &why);
    }
    if (row->queue != NULL) {
        put_part(&why, "in queue ");
        buf_put_str(&why, str_of(row->queue));
    }
    if (row->state == TRACE_WAITING && row->queue == NULL)
        put_part(&why, "held by a machine");
    if (row->state == TRACE_GONE)
        put_part(&why, "no job of it is left: delivered since then, or dropped");
    if (row->error != NULL) {
        if (row->failures == 1) {
            put_part(&why, "failed once: ");
        } else if (row->failures > 1) {
            put_part(&why, "failed ");
            buf_printf(&why, "%lld times: ", (long long)row->failures);
        } else {
            put_part(&why, "");
        }
        escape_put(&why, str_of(row->error), ESCAPE_JSON, MAX_WHY);
    }
    json_t *value = why.len > 0 ? words_json(buf_str(&why)) : json_null();
    buf_clear(&why);
    return value;
}

/* --- all of it --- */

static json_t *number_or_null(bool known, double value)
{
    return known ? json_real(value) : json_null();
}

static json_t *row_json(const struct trace *t, const struct trace_row *row)
{
    json_t *json = json_pack(
        "{s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o}", "inbox", words_json(str_of(row->inbox)), "host",
        row->host[0] != '\0' ? words_json(str_of(row->host)) : json_null(), "state",
        trace_state_names[row->state], "status",
        row->status > 0 ? json_integer(row->status) : json_null(), "at",
        number_or_null(row->at_ms > 0, (double)row->at_ms / 1000), "due_at",
        number_or_null(row->due_s > 0, row->due_s), "why", why_of(t, row), "machine",
        row->machine != NULL ? words_json(str_of(row->machine)) : json_null());
    if (t->log_options != NULL)
        json_object_set_new(json, "source", json_string(trace_source_names[row->source]));
    return json;
}

static json_t *put_together(struct trace *t, struct str activity, bool cut, struct err *err)
{
    size_t count;
    struct trace_row **rows = trace_rows_sorted(&t->rows, &count);
    json_t *inboxes = json_array();

    t->circuits = json_object();
    bool good = orders_open(&t->orders, t->session, err) && read_circuits(t, rows, count, err);
    for (size_t i = 0; i < count && good; i++)
        json_array_append_new(inboxes, row_json(t, rows[i]));
    orders_close(&t->orders);
    json_decref(t->circuits);
    free(rows);
    if (!good) {
        json_decref(inboxes);
        return NULL;
    }
    json_t *figures = json_pack("{s:o, s:o, s:b}", "activity", words_json(activity), "inboxes",
                                inboxes, "cut", (int)(cut || t->rows.cut));
    if (t->logs != NULL)
        json_object_set(figures, "logs", t->logs);
    return figures;
}

static void on_job(void *arg, const struct trace_job *job)
{
    struct trace *t = arg;
    trace_rows_add_job(&t->rows, job);
}

static bool collect(struct trace *t, struct trace_look *look, struct err *err)
{
    if (!read_logs(t, err))
        return false;
    t->rows.looked_ms = clock_wall_us(&t->session->clock) / 1000;
    return trace_look(look, err) && ask_machines(t, err);
}

json_t *figures_trace(struct session *session, struct str activity,
                      const struct trace_log_options *logs,
                      void (*progress)(void *arg, double share), void *arg, struct err *err)
{
    struct trace t = {.session = session, .log_options = logs, .progress = progress, .arg = arg};
    struct trace_look look = {
        .session = session, .ids = &t.ids, .found = on_job, .progress = on_progress, .arg = &t};
    json_t *figures = NULL;

    trace_rows_init(&t.rows, clock_wall_us(&session->clock) / 1000);
    if (trace_ids_init(&t.ids, activity, err) == FP_OK) {
        add_account(&t, activity);
        if (collect(&t, &look, err))
            figures = put_together(&t, activity, look.cut, err);
    }
    json_decref(t.logs);
    trace_ids_clear(&t.ids);
    trace_rows_clear(&t.rows);
    return figures;
}
