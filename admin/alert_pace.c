#include "admin/alert_pace.h"

enum { HOUR_S = 3600, RETRY_S = 30, MAX_RETRY_S = 600, MAX_DOUBLINGS = 5 };

bool alert_pace_allows(const struct alert_pace *pace, double now_s)
{
    double oldest_s = pace->sent_at_s[pace->oldest];

    /* A clock that was set back must not silence it for longer than that. */
    bool rests = now_s < pace->next_try_s && now_s >= pace->next_try_s - MAX_RETRY_S;
    bool spent = oldest_s > 0 && now_s >= oldest_s && now_s - oldest_s < HOUR_S;
    return !rests && !spent;
}

void alert_pace_sent(struct alert_pace *pace, double now_s)
{
    pace->sent_at_s[pace->oldest] = now_s;
    pace->oldest = (pace->oldest + 1) % ALERT_AN_HOUR;
    pace->failures = 0;
    pace->next_try_s = 0;
}

void alert_pace_failed(struct alert_pace *pace, double now_s)
{
    unsigned doublings = pace->failures < MAX_DOUBLINGS ? pace->failures : MAX_DOUBLINGS;
    int rest_s = RETRY_S << doublings;

    pace->failures++;
    pace->next_try_s = now_s + (rest_s < MAX_RETRY_S ? rest_s : MAX_RETRY_S);
}
