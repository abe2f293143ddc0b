#include "sched/foresight.h"

enum { UNLIMITED_PER_TICK = 1000, SHARE = 4 };

struct foresight {
    const struct lanes *lanes;
    struct dispatch *dispatch;
    size_t per_tick;
    size_t count;
    size_t told; /* of the names, in this round */
    char *hosts[FORESIGHT_MAX_HOSTS];
};

struct foresight *foresight_create(const struct lanes *lanes, struct dispatch *dispatch,
                                   int dns_rate)
{
    struct foresight *f = mem_alloc(sizeof(*f));

    f->lanes = lanes;
    f->dispatch = dispatch;
    f->per_tick = dns_rate == 0 ? UNLIMITED_PER_TICK : (size_t)(dns_rate + SHARE - 1) / SHARE;
    return f;
}

void foresight_add(struct foresight *f, struct str host)
{
    if (f->count < FORESIGHT_MAX_HOSTS)
        f->hosts[f->count++] = str_dup(host);
}

void foresight_tick(struct foresight *f)
{
    for (size_t n = 0; n < f->per_tick && f->told < f->count; n++) {
        struct str host = str_of(f->hosts[f->told++]);
        dispatch_foresee(f->dispatch, lanes_worker(f->lanes, host), host);
    }
}

void foresight_again(struct foresight *f)
{
    f->told = 0;
}
