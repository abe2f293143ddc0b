#include "sched/standby.h"

#include "sched/suspicion.h"

bool standby_tick(struct standby *standby, bool suspicious, unsigned healthy_others, int64_t now_ms)
{
    standby->trials = 0;
    if (!suspicious) {
        *standby = (struct standby){0};
        return false;
    }
    if (standby->since_ms == 0)
        standby->since_ms = standby->round_ms = now_ms;
    if (now_ms - standby->round_ms >= STANDBY_ROUND_MS) {
        standby->round_ms = now_ms;
        standby->trials = SUSPICION_TRIALS;
    }
    standby->active = healthy_others > 0 && now_ms - standby->since_ms >= STANDBY_AFTER_MS;
    return standby->active;
}

void standby_took(struct standby *standby)
{
    if (standby->trials > 0)
        standby->trials--;
}
