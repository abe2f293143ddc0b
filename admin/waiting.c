#include "admin/waiting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/words.h"
#include "base/json.h"
#include "sched/claim.h"

enum { MAX_ERROR_BYTES = 65536, ERROR_BYTES = 400 };

struct look {
    struct waiting *waiting;
    struct redis *redis;
    struct json *json;
    enum waiting_place place;
    struct waiting_piece *piece;
    int64_t start;  /* entries of the pieces so far, without those that were removed */
    char from[32];  /* of a set: the score up to which it was looked through, */
    int64_t passed; /* and how many entries of that score are behind us, and still there */
    int64_t total;  /* entries that are for the hosts */
    size_t read;    /* entries of the latest answer */
    bool failed;    /* `act` said so */
    struct err *err;
    char cursor[32];
    size_t seen;
    const char *identity; /* whose claims or list these are; else NULL */
};

static struct waiting_host *host_of(struct waiting *waiting, struct str name)
{
    struct waiting_host *host = table_get(waiting->hosts, name);

    if (host == NULL) {
        host = mem_alloc(sizeof(*host));
        host->host = str_dup(name);
        table_put(waiting->hosts, str_of(host->host), host);
    }
    return host;
}

static struct waiting_due *due_of(struct waiting *waiting, const struct url *inbox)
{
    struct waiting_due *due = table_get(waiting->dues, inbox->authority);

    if (due == NULL) {
        due = mem_alloc(sizeof(*due));
        due->authority = str_dup(inbox->authority);
        due->host = (struct str){due->authority, inbox->host.len};
        table_put(waiting->dues, str_of(due->authority), due);
    }
    return due;
}

static char *error_of(struct json *json, struct str payload)
{
    struct json_value root;
    const char *reason;
    struct buf text;
    char *error = NULL;

    buf_init(&text, MAX_ERROR_BYTES);
    if (json_parse(json, payload, &root, &reason) && root.type == JSON_OBJECT &&
        json_to_text(json_member(json, root, STR("error_message")), &text) && text.len > 0)
        error = str_dup((struct str){text.ptr, text.len < ERROR_BYTES ? text.len : ERROR_BYTES});
    buf_clear(&text);
    return error;
}

/* The job is parsed by now: its inbox borrows nothing of look->json. */
static void note_due(struct look *look, const struct url *inbox, struct str payload, double score)
{
    struct waiting_due *due;

    if (look->place == WAITING_DEAD || look->place == WAITING_HANDOFF)
        return;
    due = due_of(look->waiting, inbox);
    if (score <= 0 || (due->due_s > 0 && score >= due->due_s))
        return;
    due->due_s = score;
    free(due->error);
    due->error = error_of(look->json, payload);
}

static void note_holder(struct look *look)
{
    struct waiting_holder *holder;

    if (look->identity == NULL)
        return;
    holder = table_get(look->waiting->holders, str_of(look->identity));
    if (holder == NULL) {
        holder = mem_alloc(sizeof(*holder));
        holder->identity = str_dup(str_of(look->identity));
        table_put(look->waiting->holders, str_of(holder->identity), holder);
    }
    holder->jobs++;
}

/* Of a delivery that is Ruby's, since it asks for more than fedpush does. */
static bool handed_off_to(struct url *url, struct json *json, const struct job *job)
{
    struct json_value root;
    const char *reason;
    struct buf inbox;

    if (job->kind != JOB_HANDOFF || !str_ends_with(job->class_name, STR("DeliveryWorker")) ||
        !json_parse(json, job->payload, &root, &reason))
        return false;
    buf_init(&inbox, URL_MAX_BYTES);
    bool good = json_to_text(json_element(json, json_member(json, root, STR("args")), 2), &inbox) &&
                url_parse(url, buf_str(&inbox), NULL) == FP_OK;
    buf_clear(&inbox);
    return good;
}

/* True when this is a delivery to one of the hosts; it is counted then. */
static bool count(struct look *look, struct str payload, double score)
{
    struct waiting *waiting = look->waiting;
    struct job job;
    struct url url;
    bool wanted = false;

    job_parse(&job, look->json, payload);
    bool delivery = look->place == WAITING_HANDOFF
                        ? handed_off_to(&url, look->json, &job)
                        : job.kind == JOB_DELIVERY && url_parse(&url, job.inbox_url, NULL) == FP_OK;
    if (waiting->seen != NULL)
        waiting->seen(waiting->arg, look->place, job.class_name, delivery ? &url : NULL);
    if (delivery) {
        wanted = waiting->wanted != NULL && waiting->wanted(waiting->arg, &url);
        if (wanted) {
            host_of(waiting, url.host)->count[look->place]++;
            note_due(look, &url, payload, score);
            note_holder(look);
            look->total++;
        }
        url_clear(&url);
    }
    job_clear(&job);
    return wanted;
}

static void add(struct waiting_piece *piece, struct str entry, double score, int64_t index)
{
    if (piece->count == WAITING_PIECE)
        return;
    piece->entries[piece->count] = entry;
    piece->scores[piece->count] = score;
    piece->indexes[piece->count] = index;
    piece->count++;
}

/* The replies' memory ends with this callback, so `act` gets copies. */
static void copy_entries(struct waiting_piece *piece)
{
    for (size_t i = 0; i < piece->count; i++)
        piece->entries[i] = (struct str){str_dup(piece->entries[i]), piece->entries[i].len};
}

static void free_entries(struct waiting_piece *piece)
{
    for (size_t i = 0; i < piece->count; i++) {
        union {
            const char *borrowed;
            char *owned;
        } entry = {.borrowed = piece->entries[i].ptr};
        free(entry.owned);
    }
    piece->count = 0;
}

/* LRANGE from the consuming end: the last element is the oldest. */
static void on_list(void *arg, const redisReply *reply)
{
    struct look *look = arg;

    look->read = reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
    for (size_t i = 0; i < look->read; i++) {
        struct str entry = redis_reply_text(reply->element[i]);
        if (count(look, entry, 0))
            add(look->piece, entry, 0, (int64_t)i - (int64_t)look->read - look->start);
    }
    copy_entries(look->piece);
}

/* By their scores, not by their places: of others some are taken, or come back, meanwhile. What
 * `act` gets leaves its score. */
static void on_set(void *arg, const redisReply *reply)
{
    struct look *look = arg;

    look->read = reply->type == REDIS_REPLY_ARRAY ? reply->elements / 2 : 0;
    for (size_t i = 0; i < look->read; i++) {
        struct str entry = redis_reply_text(reply->element[2 * i]);
        const char *text = reply->element[2 * i + 1]->str;
        double score = strtod(text, NULL);
        if (strcmp(text, look->from) != 0)
            look->passed = 0;
        snprintf(look->from, sizeof(look->from), "%s", text);
        look->passed++;
        if (count(look, entry, score)) {
            add(look->piece, entry, score, 0);
            look->passed -= look->waiting->act != NULL;
        }
    }
    copy_entries(look->piece);
}

static bool read_list(struct look *look)
{
    char *first = mem_printf("%lld", (long long)-(look->start + WAITING_PIECE));
    char *last = mem_printf("%lld", (long long)-(look->start + 1));
    const struct str words[] = {STR("LRANGE"), str_of(look->piece->key), str_of(first),
                                str_of(last)};
    bool good =
        session_command(look->waiting->session, look->redis, 4, words, on_list, look, look->err);

    free(first);
    free(last);
    return good;
}

static bool read_set(struct look *look)
{
    const struct waiting *waiting = look->waiting;
    char *upto = waiting->upto_s > 0 ? mem_printf("%.6f", waiting->upto_s) : str_dup(STR("+inf"));
    char *passed = mem_printf("%lld", (long long)look->passed);
    char *most = mem_printf("%d", WAITING_PIECE);
    char *from = str_dup(str_of(look->from));
    const struct str words[] = {STR("ZRANGEBYSCORE"), str_of(look->piece->key),
                                str_of(from),         str_of(upto),
                                STR("WITHSCORES"),    STR("LIMIT"),
                                str_of(passed),       str_of(most)};
    bool good = session_command(waiting->session, look->redis, 8, words, on_set, look, look->err);

    free(from);
    free(most);
    free(passed);
    free(upto);
    return good;
}

static bool act(struct look *look)
{
    const struct waiting *waiting = look->waiting;
    int64_t removed = 0;

    if (waiting->act != NULL && look->piece->count > 0)
        removed = waiting->act(waiting->arg, look->piece);
    for (size_t i = 0; waiting->act != NULL && removed == 0 && i < look->piece->count; i++)
        look->passed += look->piece->scores[i] >= strtod(look->from, NULL); /* nothing has left */
    look->start += WAITING_PIECE - (removed > 0 ? removed : 0);
    look->failed = removed < 0;
    return !look->failed;
}

static bool look_through(struct look *look, bool list)
{
    bool good = true;

    look->start = look->passed = 0;
    look->read = WAITING_PIECE;
    snprintf(look->from, sizeof(look->from), "%s", "-inf");
    if (look->waiting->after_s > 0)
        snprintf(look->from, sizeof(look->from), "%.6f", look->waiting->after_s);
    while (good && look->read == WAITING_PIECE) {
        if (!look->waiting->all && look->start >= WAITING_MAX) {
            look->waiting->cut = true;
            break;
        }
        good = (list ? read_list(look) : read_set(look)) && act(look);
        free_entries(look->piece);
        if (good && look->waiting->progress != NULL)
            look->waiting->progress(look->waiting->arg, look->place, look->start);
    }
    return good;
}

/* --- claims --- */

static void on_claims(void *arg, const redisReply *reply)
{
    struct look *look = arg;

    snprintf(look->cursor, sizeof(look->cursor), "0");
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
        return;
    snprintf(look->cursor, sizeof(look->cursor), "%s", reply->element[0]->str);
    const redisReply *fields = reply->element[1];
    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        enum claim_origin origin;
        struct str score;
        struct str payload;
        look->seen++;
        if (claim_value_parse(redis_reply_text(fields->element[i + 1]), &origin, &score, &payload))
            (void)count(look, payload, 0);
    }
}

static bool look_at_claims_of(struct look *look, const char *identity)
{
    char *key = keys_claimed(&look->waiting->session->keys, str_of(identity));
    bool good = true;

    snprintf(look->cursor, sizeof(look->cursor), "0");
    look->seen = 0;
    do {
        const struct str words[] = {STR("HSCAN"), str_of(key), str_of(look->cursor), STR("COUNT"),
                                    STR("200")};
        good = session_command(look->waiting->session, look->redis, 5, words, on_claims, look,
                               look->err);
    } while (good && strcmp(look->cursor, "0") != 0 &&
             (look->waiting->all || look->seen < WAITING_MAX));
    if (strcmp(look->cursor, "0") != 0)
        look->waiting->cut = true;
    free(key);
    return good;
}

/* What BLMOVE took for a machine, or others have passed on to it. */
static bool look_at_list_of(struct look *look, const char *identity)
{
    char *key = keys_wait(&look->waiting->session->keys, str_of(identity));

    look->piece->key = key;
    look->piece->identity = identity;
    bool good = look_through(look, true);
    free(key);
    return good;
}

enum { MAX_IDENTITIES = 200 };

struct identities {
    size_t count;
    bool cut;
    char *names[MAX_IDENTITIES];
};

static void on_identities(void *arg, const redisReply *reply)
{
    struct identities *list = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        if (list->count < MAX_IDENTITIES)
            list->names[list->count++] = str_dup(redis_reply_text(reply->element[i]));
        else
            list->cut = true;
    }
}

static bool look_at_claims(struct look *look)
{
    const struct session *session = look->waiting->session;
    const struct str words[] = {STR("ZRANGE"), str_of(session->keys.identities), STR("0"),
                                STR("-1")};
    struct identities list = {.count = 0};
    bool good = session_command(look->waiting->session, look->redis, 4, words, on_identities, &list,
                                look->err);

    for (size_t i = 0; i < list.count; i++) {
        look->identity = list.names[i];
        good =
            good && look_at_list_of(look, list.names[i]) && look_at_claims_of(look, list.names[i]);
        free(list.names[i]);
    }
    look->identity = NULL;
    look->waiting->cut |= list.cut;
    return good;
}

/* --- all --- */

static void free_hosts(struct waiting *waiting)
{
    struct waiting_host *host;
    size_t at = 0;

    while ((host = table_next(waiting->hosts, &at)) != NULL) {
        table_remove(waiting->hosts, str_of(host->host));
        free(host->host);
        free(host);
    }
}

static void free_dues(struct waiting *waiting)
{
    struct waiting_due *due;
    size_t at = 0;

    while ((due = table_next(waiting->dues, &at)) != NULL) {
        table_remove(waiting->dues, str_of(due->authority));
        free(due->authority);
        free(due->error);
        free(due);
    }
}

static void free_holders(struct waiting *waiting)
{
    struct waiting_holder *holder;
    size_t at = 0;

    while ((holder = table_next(waiting->holders, &at)) != NULL) {
        table_remove(waiting->holders, str_of(holder->identity));
        free(holder->identity);
        free(holder);
    }
}

static const char *key_of(const struct keys *keys, enum waiting_place place)
{
    switch (place) {
    case WAITING_PUSH:
        return keys->queue_push;
    case WAITING_PULL:
        return keys->queue_pull;
    case WAITING_RETRY:
        return keys->retry;
    case WAITING_SCHEDULE:
        return keys->schedule;
    case WAITING_DEAD:
        return keys->dead;
    case WAITING_HELD:
    case WAITING_HANDOFF:
    case WAITING_PLACES:
        break;
    }
    return "";
}

static bool look_at_handoff_queue(struct look *look, const char *queue)
{
    char *key = keys_queue(&look->waiting->session->keys, str_of(queue));

    look->piece->key = key;
    bool good = look_through(look, true);
    free(key);
    return good;
}

/* That of `push` and, when it is consumed, that of `pull`; they may be one. */
static bool look_at_handoff(struct look *look)
{
    const struct config *config = look->waiting->session->config;
    bool two = config_takes_pull(config) &&
               !str_equal(str_of(config->handoff_queue), str_of(config->handoff_queue_pull));

    return look_at_handoff_queue(look, config->handoff_queue) &&
           (!two || look_at_handoff_queue(look, config->handoff_queue_pull));
}

static bool look_there(struct look *look)
{
    if (look->place == WAITING_HELD)
        return look_at_claims(look);
    if (look->place == WAITING_HANDOFF)
        return look_at_handoff(look);
    look->piece->key = key_of(&look->waiting->session->keys, look->place);
    return look_through(look, look->place == WAITING_PUSH || look->place == WAITING_PULL);
}

static void create_tables(struct waiting *waiting)
{
    if (waiting->hosts != NULL)
        return;
    waiting->hosts = table_create();
    waiting->dues = table_create();
    waiting->holders = table_create();
}

bool waiting_look_at(struct waiting *waiting, enum waiting_place place, int64_t *total,
                     struct err *err)
{
    struct look look = {.waiting = waiting, .place = place, .err = err};
    struct waiting_host *host;
    size_t at = 0;

    create_tables(waiting);
    if (place == WAITING_HELD)
        free_holders(waiting);
    while ((host = table_next(waiting->hosts, &at)) != NULL)
        host->count[place] = 0;
    look.redis = session_redis(waiting->session, REDIS_ROLE_SIDEKIQ, err);
    if (look.redis == NULL)
        return false;
    look.json = json_create();
    look.piece = mem_alloc(sizeof(*look.piece));
    look.piece->place = place;
    bool good = look_there(&look);
    free(look.piece);
    json_destroy(look.json);
    *total = look.total;
    return good;
}

bool waiting_look(struct waiting *waiting, struct err *err)
{
    bool good = true;
    int64_t total;

    for (int place = 0; place <= WAITING_HELD && good; place++)
        good = waiting_look_at(waiting, (enum waiting_place)place, &total, err);
    if (good && waiting->with_handoff)
        good = waiting_look_at(waiting, WAITING_HANDOFF, &total, err);
    if (good && waiting->with_dead)
        good = waiting_look_at(waiting, WAITING_DEAD, &total, err);
    return good;
}

void waiting_clear(struct waiting *waiting)
{
    if (waiting->hosts == NULL)
        return;
    free_hosts(waiting);
    free_dues(waiting);
    free_holders(waiting);
    table_destroy(waiting->hosts);
    table_destroy(waiting->dues);
    table_destroy(waiting->holders);
    waiting->hosts = waiting->dues = waiting->holders = NULL;
}

int64_t waiting_total(const struct waiting *waiting, enum waiting_place place)
{
    const struct waiting_host *host;
    size_t at = 0;
    int64_t total = 0;

    while ((host = table_next(waiting->hosts, &at)) != NULL)
        total += host->count[place];
    return total;
}

static int by_host(const void *a, const void *b)
{
    return strcmp((*(const struct waiting_host *const *)a)->host,
                  (*(const struct waiting_host *const *)b)->host);
}

static void print_row(const struct waiting *waiting, const struct waiting_host *host)
{
    struct buf row;

    buf_init(&row, 1024);
    buf_printf(&row, "%-34s", host->host);
    for (int place = 0; place <= WAITING_HELD; place++)
        buf_printf(&row, " %8lld", (long long)host->count[place]);
    if (waiting->with_handoff)
        buf_printf(&row, " %8lld", (long long)host->count[WAITING_HANDOFF]);
    if (waiting->with_dead)
        buf_printf(&row, " %8lld", (long long)host->count[WAITING_DEAD]);
    words_line(stdout, buf_str(&row));
    buf_clear(&row);
}

void waiting_print(const struct waiting *waiting)
{
    size_t total = table_count(waiting->hosts);
    const struct waiting_host **sorted =
        mem_alloc((total + 1) * sizeof(const struct waiting_host *));
    size_t at = 0;

    for (size_t i = 0; i < total; i++)
        sorted[i] = table_next(waiting->hosts, &at);
    qsort(sorted, total, sizeof(const struct waiting_host *), by_host);
    if (total == 0)
        puts("no job waits");
    else
        words_print(stdout, "%-34s %8s %8s %8s %8s %8s%s%s", "JOBS FOR", "PUSH", "PULL", "RETRY",
                    "SCHEDULE", "HELD", waiting->with_handoff ? "  HANDOFF" : "",
                    waiting->with_dead ? "     DEAD" : "");
    for (size_t i = 0; i < total; i++)
        print_row(waiting, sorted[i]);
    if (waiting->cut)
        words_print(stdout, "at least: of each queue and set only %d jobs were looked at",
                    WAITING_MAX);
    free(sorted);
}
