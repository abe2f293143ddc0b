#include "sched/keys.h"

#include <stdlib.h>

char *keys_prefixed(const struct keys *keys, struct str name)
{
    return mem_printf("%s%.*s", keys->prefix, STR_ARG(name));
}

void keys_init(struct keys *keys, struct str redis_namespace)
{
    keys->prefix =
        redis_namespace.len > 0 ? mem_printf("%.*s:", STR_ARG(redis_namespace)) : str_dup(STR_NULL);
    keys->identities = keys_prefixed(keys, STR("fedpush:identities"));
    keys->recoveries = keys_prefixed(keys, STR("fedpush:recoveries"));
    keys->ledger = keys_prefixed(keys, STR("fedpush:ledger"));
    keys->schemes = keys_prefixed(keys, STR("fedpush:schemes"));
    keys->circuits = keys_prefixed(keys, STR("fedpush:circuits"));
    keys->circuit = keys_prefixed(keys, STR("fedpush:circuit"));
    keys->reserved = keys_prefixed(keys, STR("fedpush:reserved"));
    keys->pairs = keys_prefixed(keys, STR("fedpush:pairs"));
    keys->machines = keys_prefixed(keys, STR("fedpush:machines"));
    keys->questions = keys_prefixed(keys, STR("fedpush:questions"));
    keys->pulses = keys_prefixed(keys, STR("fedpush:pulses"));
    keys->policies = keys_prefixed(keys, STR("fedpush:policies"));
    keys->audit = keys_prefixed(keys, STR("fedpush:audit"));
    keys->logouts = keys_prefixed(keys, STR("fedpush:logouts"));
    keys->tokens = keys_prefixed(keys, STR("fedpush:tokens"));
    keys->queues = keys_prefixed(keys, STR("queues"));
    keys->queue_push = keys_prefixed(keys, STR("queue:push"));
    keys->queue_pull = keys_prefixed(keys, STR("queue:pull"));
    keys->retry = keys_prefixed(keys, STR("retry"));
    keys->schedule = keys_prefixed(keys, STR("schedule"));
    keys->dead = keys_prefixed(keys, STR("dead"));
    keys->processes = keys_prefixed(keys, STR("processes"));
}

void keys_clear(struct keys *keys)
{
    free(keys->prefix);
    free(keys->identities);
    free(keys->recoveries);
    free(keys->ledger);
    free(keys->schemes);
    free(keys->circuits);
    free(keys->circuit);
    free(keys->reserved);
    free(keys->pairs);
    free(keys->machines);
    free(keys->questions);
    free(keys->pulses);
    free(keys->policies);
    free(keys->audit);
    free(keys->logouts);
    free(keys->tokens);
    free(keys->queues);
    free(keys->queue_push);
    free(keys->queue_pull);
    free(keys->retry);
    free(keys->schedule);
    free(keys->dead);
    free(keys->processes);
}

char *keys_session(const struct keys *keys, struct str hash)
{
    return mem_printf("%sfedpush:session:%.*s", keys->prefix, STR_ARG(hash));
}

char *keys_claimed(const struct keys *keys, struct str identity)
{
    return mem_printf("%sfedpush:claimed:%.*s", keys->prefix, STR_ARG(identity));
}

char *keys_wait(const struct keys *keys, struct str identity)
{
    return mem_printf("%sfedpush:wait:%.*s", keys->prefix, STR_ARG(identity));
}

char *keys_ledger(const struct keys *keys, struct str identity)
{
    return mem_printf("%sfedpush:ledger:%.*s", keys->prefix, STR_ARG(identity));
}

char *keys_probe(const struct keys *keys, struct str host)
{
    return mem_printf("%sfedpush:probe:%.*s", keys->prefix, STR_ARG(host));
}

char *keys_booked(const struct keys *keys, struct str host)
{
    return mem_printf("%sfedpush:booked:%.*s", keys->prefix, STR_ARG(host));
}

char *keys_held(const struct keys *keys, struct str identity)
{
    return mem_printf("%sfedpush:held:%.*s", keys->prefix, STR_ARG(identity));
}

char *keys_drain(const struct keys *keys, struct str identity)
{
    return mem_printf("%sfedpush:drain:%.*s", keys->prefix, STR_ARG(identity));
}

char *keys_answers(const struct keys *keys, struct str host)
{
    return mem_printf("%sfedpush:answers:%.*s", keys->prefix, STR_ARG(host));
}

char *keys_said(const struct keys *keys, struct str host)
{
    return mem_printf("%sfedpush:said:%.*s", keys->prefix, STR_ARG(host));
}

char *keys_queue(const struct keys *keys, struct str queue_name)
{
    return mem_printf("%squeue:%.*s", keys->prefix, STR_ARG(queue_name));
}
