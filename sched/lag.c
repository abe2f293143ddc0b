#include "sched/lag.h"

static void note(struct lag *lag, int64_t late_ms)
{
    if (late_ms > (int64_t)lag->worst_ms)
        lag->worst_ms = late_ms < UINT32_MAX ? (uint32_t)late_ms : UINT32_MAX;
}

static void turn_window(struct lag *lag, int64_t now_ms)
{
    if (now_ms - lag->window_ms < LAG_WINDOW_MS)
        return;
    lag->before_ms = now_ms - lag->window_ms < (int64_t)2 * LAG_WINDOW_MS ? lag->worst_ms : 0;
    lag->worst_ms = 0;
    lag->window_ms = now_ms;
}

bool lag_ask(struct lag *lag, int64_t now_ms)
{
    turn_window(lag, now_ms);
    if (lag->asked_ms != 0)
        return false;
    lag->asked_ms = now_ms;
    return true;
}

void lag_answered(struct lag *lag, int64_t nonce_ms, int64_t now_ms)
{
    if (lag->asked_ms == 0 || nonce_ms != lag->asked_ms)
        return;
    turn_window(lag, now_ms);
    note(lag, now_ms - nonce_ms);
    lag->asked_ms = 0;
}

uint32_t lag_ms(const struct lag *lag, int64_t now_ms)
{
    struct lag latest = *lag;

    if (lag->asked_ms != 0)
        note(&latest, now_ms - lag->asked_ms);
    return latest.worst_ms > latest.before_ms ? latest.worst_ms : latest.before_ms;
}

unsigned lag_share(uint32_t late_ms, unsigned slots)
{
    uint64_t least = slots / LAG_LEAST > 0 ? slots / LAG_LEAST : 1;
    uint64_t share;

    if (late_ms <= LAG_TOLERATED_MS)
        return slots;
    share = (uint64_t)slots * LAG_TOLERATED_MS / late_ms * LAG_TOLERATED_MS / late_ms;
    return (unsigned)(share > least ? share : least);
}
