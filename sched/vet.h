/*
 * The look into fedpush:recoveries before a job is accepted: how often it was in the hands of
 * something that died. Nothing is asked while that hash is empty.
 */
#ifndef FEDPUSH_SCHED_VET_H
#define FEDPUSH_SCHED_VET_H

#include "base/redis.h"
#include "sched/holdings.h"
#include "sched/keys.h"

struct vet_options {
    struct redis *redis;
    const struct keys *keys;
    struct holdings *holdings;
    void (*accept)(void *arg, struct claim *claim); /* CLAIM_NEW, in holdings; recoveries are set */
    void *accept_arg;
    void (*answered)(void *arg); /* one look is over */
    void *answered_arg;
};

struct vet;
struct vet *vet_create(const struct vet_options *options);
/* Before or after `redis`: what is asked is freed with its answer. */
void vet_destroy(struct vet *vet);
/* Accepts the claims (CLAIM_NEW, in holdings), at once unless `suspicious`: the hash isn't empty,
 * so that each jid has to be asked for. */
void vet_claims(struct vet *vet, struct claim **claims, size_t count, bool suspicious);
/* Asks again what a broken connection left unanswered. */
void vet_again(struct vet *vet);
/* Fenced: what is asked about is nobody's here any more. */
void vet_forget(struct vet *vet);
bool vet_is_idle(const struct vet *vet);

#endif
