#include "sched/rate.h"

static double burst_of(const struct rate *rate)
{
    return rate->per_s / 10 > 1 ? rate->per_s / 10 : 1;
}

static void refill(struct rate *rate, int64_t now_ms)
{
    rate->tokens += rate->per_s * (double)(now_ms - rate->at_ms) / 1000;
    rate->at_ms = now_ms;
    if (rate->tokens > burst_of(rate))
        rate->tokens = burst_of(rate);
}

void rate_set(struct rate *rate, double per_s, int64_t now_ms)
{
    if (rate->per_s > 0)
        refill(rate, now_ms);
    rate->at_ms = now_ms;
    rate->per_s = per_s;
    if (rate->tokens > burst_of(rate))
        rate->tokens = burst_of(rate);
}

bool rate_has(struct rate *rate, int64_t now_ms)
{
    if (rate->per_s <= 0)
        return true;
    refill(rate, now_ms);
    return rate->tokens >= 1;
}

bool rate_take(struct rate *rate, int64_t now_ms)
{
    if (!rate_has(rate, now_ms))
        return false;
    if (rate->per_s > 0)
        rate->tokens -= 1;
    return true;
}

int64_t rate_next_ms(const struct rate *rate, int64_t now_ms)
{
    if (rate->per_s <= 0 || rate->tokens >= 1)
        return now_ms;
    int64_t next_ms = rate->at_ms + (int64_t)((1 - rate->tokens) * 1000 / rate->per_s) + 1;
    return next_ms > now_ms ? next_ms : now_ms;
}
