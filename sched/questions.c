#include "sched/questions.h"

#include <stdlib.h>

#include "base/log.h"

struct questions {
    struct questions_options o;
    bool asked; /* a look is under way */
};

struct questions *questions_create(const struct questions_options *options)
{
    struct questions *questions = mem_alloc(sizeof(*questions));
    questions->o = *options;
    return questions;
}

void questions_destroy(struct questions *questions)
{
    free(questions);
}

/* A host's lanes: one for each port. */
static bool is_of_host(struct str authority, struct str host)
{
    return str_starts_with(authority, host) &&
           (authority.len == host.len || authority.ptr[host.len] == ':');
}

static void put_answer(const struct questions *q, struct str host, struct buf *out)
{
    int64_t now_ms = clock_mono_ms(q->o.clock);
    const char *between = "";
    size_t at = 0;
    struct lane *lane;

    while ((lane = lanes_each(q->o.lanes, &at)) != NULL) {
        if (!is_of_host(lane->host, host))
            continue;
        buf_printf(out, "%s%.*s: ", between, STR_ARG(lane->host));
        lanes_explain(q->o.lanes, lane, out, now_ms);
        between = "\n";
    }
    if (between[0] == '\0')
        buf_put_str(out, STR("nothing of it is here, and nothing holds it back"));
}

static void answer(struct questions *q, struct str host)
{
    char *key = keys_answers(q->o.keys, host);
    char *seconds = mem_printf("%d", QUESTIONS_ANSWER_S);
    struct buf words;

    buf_init(&words, 4096);
    put_answer(q, host, &words);
    const struct str set[] = {STR("HSET"), str_of(key), membership_identity(q->o.membership),
                              buf_str(&words)};
    const struct str expire[] = {STR("EXPIRE"), str_of(key), str_of(seconds)};
    redis_send(q->o.redis, NULL, NULL, 4, set);
    redis_send(q->o.redis, NULL, NULL, 3, expire);
    buf_clear(&words);
    free(seconds);
    free(key);
}

static void on_questions(void *arg, enum redis_status status, const redisReply *reply)
{
    struct questions *q = arg;

    q->asked = false;
    if (status == REDIS_LOST || reply->type != REDIS_REPLY_ARRAY ||
        membership_state(q->o.membership) != MEMBER_PRESENT)
        return;
    for (size_t i = 0; i < reply->elements && i < QUESTIONS_AT_ONCE; i++) {
        if (reply->element[i]->type == REDIS_REPLY_STRING)
            answer(q, (struct str){reply->element[i]->str, (size_t)reply->element[i]->len});
    }
}

static void on_drain(void *arg, enum redis_status status, const redisReply *reply)
{
    struct questions *q = arg;

    if (status == REDIS_LOST || reply->type != REDIS_REPLY_STRING)
        return;
    log_plain(LOG_LEVEL_INFO, "order from an admin: drain");
    q->o.drain(q->o.arg);
}

void questions_tick(struct questions *q)
{
    const struct str words[] = {STR("SMEMBERS"), str_of(q->o.keys->questions)};
    char *order;

    if (q->asked || membership_state(q->o.membership) != MEMBER_PRESENT)
        return;
    q->asked = true;
    redis_send(q->o.redis, on_questions, q, 2, words);
    order = keys_drain(q->o.keys, membership_identity(q->o.membership));
    const struct str take[] = {STR("GETDEL"), str_of(order)};
    redis_send(q->o.redis, on_drain, q, 2, take);
    free(order);
}
