/* A try at once of a host that isn't tried for now. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/domain_ask.h"
#include "admin/give.h"
#include "admin/waiting.h"
#include "sched/scripts.h"

struct attempt {
    struct give *give;
    struct str host; /* as it was asked for: with or without a port */
    char *authority; /* of the job that was found, else the host */
    char *job;       /* the one that comes first; NULL: none waits */
    size_t job_bytes;
    double score;
    enum waiting_place place;
    bool open, probing, due;
    json_t *said; /* by the machines, before the try; NULL: they couldn't be asked */
    size_t live;  /* machines */
};

static bool is_meant(void *arg, const struct url *inbox)
{
    struct attempt *attempt = arg;
    bool meant =
        str_equal(attempt->host, inbox->host) || str_equal(attempt->host, inbox->authority);

    if (meant && attempt->authority == NULL) /* the first of its place is the one that is taken */
        attempt->authority = str_dup(inbox->authority);
    return meant;
}

static void forget_job(struct attempt *attempt)
{
    free(attempt->job);
    free(attempt->authority);
    attempt->job = attempt->authority = NULL;
}

/* Sets are read in the order of their scores: the first one found is the one. */
static int64_t take_first(void *arg, const struct waiting_piece *piece)
{
    struct attempt *attempt = arg;

    attempt->job = str_dup(piece->entries[0]);
    attempt->job_bytes = piece->entries[0].len;
    attempt->score = piece->scores[0];
    attempt->place = piece->place;
    return -1; /* enough */
}

/* The first of both sets. */
static bool find_job(struct attempt *attempt, struct err *err)
{
    static const enum waiting_place places[] = {WAITING_RETRY, WAITING_SCHEDULE};
    struct attempt found[2];
    bool good = true;

    for (int i = 0; i < 2; i++) {
        found[i] = (struct attempt){.host = attempt->host};
        struct waiting waiting = {.session = attempt->give->session,
                                  .wanted = is_meant,
                                  .act = take_first,
                                  .all = true,
                                  .arg = &found[i]};
        int64_t total;
        good = good && (waiting_look_at(&waiting, places[i], &total, err) || found[i].job != NULL);
        waiting_clear(&waiting);
    }
    bool second = found[1].job != NULL && (found[0].job == NULL || found[1].score < found[0].score);
    forget_job(&found[second ? 0 : 1]);
    attempt->job = found[second].job;
    attempt->job_bytes = found[second].job_bytes;
    attempt->place = found[second].place;
    attempt->authority =
        found[second].authority != NULL ? found[second].authority : str_dup(attempt->host);
    return good;
}

static void on_tried(void *arg, const redisReply *reply)
{
    struct attempt *attempt = arg;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
        return;
    attempt->open = reply->element[0]->integer == 1;
    attempt->probing = reply->element[1]->integer == 1;
    attempt->due = reply->element[2]->integer == 1;
}

static bool send_try(struct attempt *attempt, struct redis *redis, struct err *err)
{
    const struct keys *keys = &attempt->give->session->keys;
    bool retry = attempt->place == WAITING_RETRY;
    char *probe = keys_probe(keys, str_of(attempt->authority));
    char *booked = keys_booked(keys, str_of(attempt->authority));
    const struct str words[] = {
        STR("EVAL"),
        str_of(script_try),
        STR("6"),
        str_of(keys->circuits),
        str_of(keys->circuit),
        str_of(probe),
        str_of(booked),
        str_of(retry ? keys->retry : keys->schedule),
        str_of(keys->pairs),
        str_of(attempt->authority),
        retry ? STR("r") : STR("s"),
        attempt->job != NULL ? (struct str){attempt->job, attempt->job_bytes} : STR("")};
    bool good = session_command(attempt->give->session, redis, sizeof(words) / sizeof(words[0]),
                                words, on_tried, attempt, err);

    free(probe);
    free(booked);
    return good;
}

/* --- what the machines make of it --- */

/* They say so before the try: what holds a host back is not its due job's time alone. */
static void ask_machines(struct attempt *attempt, struct str host)
{
    struct session *session = attempt->give->session;
    struct err ignored;
    json_t *answers = domain_ask(session, host, &ignored);
    json_t *silent = answers != NULL ? domain_ask_silent(session, answers, &ignored) : NULL;

    if (silent != NULL) {
        attempt->said = domain_ask_said(session, host, &ignored);
        attempt->live = json_object_size(answers) + json_object_size(silent);
    }
    json_decref(silent);
    json_decref(answers);
}

static const char *member(const json_t *sentence, const char *name)
{
    const char *text = json_string_value(json_object_get(sentence, name));
    return text != NULL ? text : "";
}

static bool is_hold(const char *code)
{
    static const char *const holds[] = {"lane.retry_after", "lane.unresolved", "lane.proxy",
                                        "lane.rate"};

    for (size_t i = 0; i < sizeof(holds) / sizeof(holds[0]); i++) {
        if (strcmp(code, holds[i]) == 0)
            return true;
    }
    return strncmp(code, "machine.", strlen("machine.")) == 0 &&
           strcmp(code, "machine.handoff") != 0;
}

/* The first of a machine's sentences that says why it sends nothing there for now, or NULL. */
static const json_t *hold_of(const json_t *sentences)
{
    const json_t *sentence;
    size_t i;

    json_array_foreach(sentences, i, sentence)
    {
        const json_t *reasons = json_object_get(json_object_get(sentence, "params"), "reason");
        const json_t *reason = json_array_get(reasons, 0);
        if (is_hold(member(sentence, "code")))
            return sentence;
        if (is_hold(member(reason, "code")))
            return reason;
    }
    return NULL;
}

static size_t count_holds(const struct attempt *attempt)
{
    const char *identity;
    json_t *sentences;
    size_t count = 0;

    json_object_foreach(attempt->said, identity, sentences) count += hold_of(sentences) != NULL;
    return count;
}

static void say_hold(struct give *give, const char *identity, const json_t *hold)
{
    const char *text = member(hold, "text");
    bool of_machine = strncmp(member(hold, "code"), "machine.", strlen("machine.")) == 0;
    struct said reason;

    said_init(&reason, PHRASE_TEXT_BYTES);
    if (said_read(&reason, "", of_machine ? "machine" : "lane", str_of(text)))
        give_say(give, PHRASE_GIVE_TRY_HELD,
                 SAYS(SAY_TEXT("machine", identity), SAY_SAID("reason", &reason)));
    else
        give_say(give, PHRASE_GIVE_TRY_HELD,
                 SAYS(SAY_TEXT("machine", identity), SAY_TEXT("reason", text)));
    said_clear(&reason);
}

static void say_holds(const struct attempt *attempt)
{
    const char *identity;
    json_t *sentences;

    if (attempt->said != NULL && attempt->live == 0)
        give_say(attempt->give, PHRASE_VERDICT_NO_MACHINE, SAYS_NOTHING);
    json_object_foreach(attempt->said, identity, sentences)
    {
        const json_t *hold = hold_of(sentences);
        if (hold != NULL)
            say_hold(attempt->give, identity, hold);
    }
}

/* --- the try --- */

static void say(const struct attempt *attempt)
{
    struct says host = SAYS(SAY_TEXT("host", attempt->authority));
    bool held = attempt->said != NULL && count_holds(attempt) >= attempt->live;

    if (attempt->probing)
        give_say(attempt->give, PHRASE_GIVE_TRY_PROBING, host);
    else if (attempt->due)
        give_say(attempt->give, attempt->open ? PHRASE_GIVE_TRY_PROBE : PHRASE_GIVE_TRY_DUE, host);
    else if (attempt->open)
        give_say(attempt->give, PHRASE_GIVE_TRY_NEXT, host);
    else
        give_say(attempt->give, held ? PHRASE_GIVE_TRY_NONE : PHRASE_GIVE_TRY_NOTHING, host);
    say_holds(attempt);
}

static void on_row(void *arg, PGresult *result)
{
    bool *found = arg;
    *found = PQntuples(result) > 0;
}

/* Where PostgreSQL can't be asked, the machines know no better. */
static bool is_unavailable(struct session *session, struct str host)
{
    struct err ignored;
    bool found = false;
    struct postgres *postgres = session_postgres(session, POSTGRES_ROLE_MASTODON, &ignored);

    return postgres != NULL &&
           session_query(session, postgres, "SELECT 1 FROM unavailable_domains WHERE domain = $1",
                         1, &host, on_row, &found, &ignored) &&
           found;
}

/* A try would not be made while it is paused, or Mastodon holds the host for unavailable. */
static bool may_try(const struct orders *orders, struct str host, struct err *err)
{
    const struct policy_entry *entry = policy_book_find(orders->book, host, orders->now_s);
    const struct policy fleet = orders_get(orders, POLICY_FLEET);

    if (fleet.paused)
        err_say(err, FP_INVALID, PHRASE_ORDER_FLEET_PAUSED, SAYS_NOTHING);
    else if (entry != NULL && policy_at(&entry->policy, orders->now_s).paused)
        err_say(err, FP_INVALID, PHRASE_ORDER_PAUSED, SAYS(SAY_TEXT("name", entry->name)));
    else if (is_unavailable(orders->session, host))
        err_say(err, FP_INVALID, PHRASE_ORDER_UNAVAILABLE, SAYS(SAY_STR("host", host)));
    else
        return true;
    return false;
}

static struct str without_port(struct str host)
{
    struct domain_hosts hosts;
    char *text = str_dup(host);
    size_t length = domain_hosts_init(&hosts, text) ? hosts.domain.len : host.len;

    domain_hosts_clear(&hosts);
    free(text);
    return (struct str){host.ptr, length < host.len ? length : host.len};
}

bool give_domain_try(struct give *give, struct str host, struct err *err)
{
    struct attempt attempt = {.give = give, .host = host};
    struct orders orders;
    bool good = orders_open(&orders, give->session, err);

    orders.who = give->who;
    good = good && may_try(&orders, without_port(host), err);
    if (good)
        ask_machines(&attempt, without_port(host));
    good = good && find_job(&attempt, err) && send_try(&attempt, orders.redis, err) &&
           orders_write(&orders, "domain try", without_port(host), "", err);
    if (good)
        say(&attempt);
    orders_close(&orders);
    json_decref(attempt.said);
    forget_job(&attempt);
    return good;
}
