/*
 * What a machine does with its jobs while it suspects itself (sched/suspicion.h). Alone, it keeps
 * them. When other machines live that don't suspect themselves, it stands by: what waits here goes
 * back to where it came from, so that they deliver it. Trials need jobs, of hosts that were good:
 * a few are claimed now and then, and go back, too, when they can't be tried at once. Pure.
 */
#ifndef FEDPUSH_SCHED_STANDBY_H
#define FEDPUSH_SCHED_STANDBY_H

#include <stdbool.h>
#include <stdint.h>

enum {
    STANDBY_AFTER_MS = 5000,  /* of suspicion */
    STANDBY_ROUND_MS = 15000, /* so often jobs are claimed for trials */
};

struct standby {
    int64_t since_ms; /* when suspicion began; 0: there is none */
    int64_t round_ms;
    bool active;
    unsigned trials; /* jobs that may still be claimed in this second */
};

/* Each second. `healthy_others`: live machines that don't suspect themselves. True: what waits
 * goes back now. */
bool standby_tick(struct standby *standby, bool suspicious, unsigned healthy_others,
                  int64_t now_ms);
/* A job came in. */
void standby_took(struct standby *standby);

#endif
