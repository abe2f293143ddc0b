#include "sched/vet.h"

#include <stdlib.h>

enum { CHUNK = 256 };

/* Claims whose jids are being looked up. */
struct look {
    TAILQ_ENTRY(look) entry;
    struct vet *vet; /* NULL: it is gone */
    bool asked;      /* an answer is under way: asking twice would free it twice */
    size_t count;
    uint64_t seqs[CHUNK];
};

struct vet {
    struct vet_options o;
    TAILQ_HEAD(, look) looks;
};

struct vet *vet_create(const struct vet_options *options)
{
    struct vet *vet = mem_alloc(sizeof(*vet));

    vet->o = *options;
    TAILQ_INIT(&vet->looks);
    return vet;
}

void vet_destroy(struct vet *vet)
{
    struct look *look;

    if (vet == NULL)
        return;
    while ((look = TAILQ_FIRST(&vet->looks)) != NULL) {
        TAILQ_REMOVE(&vet->looks, look, entry);
        look->vet = NULL; /* freed with its answer */
        if (!look->asked)
            free(look);
    }
    free(vet);
}

static void accept_each(struct vet *vet, const struct look *look, const redisReply *reply)
{
    for (size_t i = 0; i < look->count; i++) {
        struct claim *claim = holdings_find(vet->o.holdings, look->seqs[i]);
        if (claim == NULL || claim->state != CLAIM_NEW)
            continue;
        if (reply != NULL && i < reply->elements && reply->element[i]->type == REDIS_REPLY_STRING)
            claim->recoveries = (unsigned)strtoul(reply->element[i]->str, NULL, 10);
        vet->o.accept(vet->o.accept_arg, claim);
    }
}

static void on_recoveries(void *arg, enum redis_status status, const redisReply *reply)
{
    struct look *look = arg;
    struct vet *vet = look->vet;

    look->asked = false;
    if (vet == NULL) {
        free(look);
        return;
    }
    if (status == REDIS_LOST && look->count > 0)
        return; /* stays listed: vet_again asks */
    TAILQ_REMOVE(&vet->looks, look, entry);
    if (status == REDIS_REPLIED)
        accept_each(vet, look, reply->type == REDIS_REPLY_ARRAY ? reply : NULL);
    free(look);
    vet->o.answered(vet->o.answered_arg);
}

static void ask(struct look *look)
{
    const struct vet *vet = look->vet;
    struct str words[CHUNK + 2] = {STR("HMGET"), str_of(vet->o.keys->recoveries)};
    char(*jids)[64] = mem_alloc(look->count * sizeof(*jids));

    for (size_t i = 0; i < look->count; i++) {
        const struct claim *claim = holdings_find(vet->o.holdings, look->seqs[i]);
        if (claim != NULL)
            (void)job_peek_jid((struct str){claim->payload, claim->payload_bytes}, jids[i]);
        words[i + 2] = str_of(jids[i]);
    }
    look->asked = true;
    redis_send(vet->o.redis, on_recoveries, look, look->count + 2, words);
    free(jids);
}

void vet_claims(struct vet *vet, struct claim **claims, size_t count, bool suspicious)
{
    struct look *look;

    for (size_t i = 0; !suspicious && i < count; i++)
        vet->o.accept(vet->o.accept_arg, claims[i]);
    while (suspicious && count > 0) {
        look = mem_alloc(sizeof(*look));
        look->vet = vet;
        for (; count > 0 && look->count < CHUNK; count--)
            look->seqs[look->count++] = (*claims++)->seq;
        TAILQ_INSERT_TAIL(&vet->looks, look, entry);
        ask(look);
    }
}

void vet_again(struct vet *vet)
{
    struct look *look;

    TAILQ_FOREACH(look, &vet->looks, entry)
    {
        if (!look->asked)
            ask(look);
    }
}

void vet_forget(struct vet *vet)
{
    struct look *look;

    TAILQ_FOREACH(look, &vet->looks, entry)
    {
        look->count = 0;
    }
}

bool vet_is_idle(const struct vet *vet)
{
    return TAILQ_EMPTY(&vet->looks);
}
