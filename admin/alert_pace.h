/*
 * How often a sink may be told something: twenty times an hour, and after a failure not before a
 * while. Pure; times are Unix seconds.
 */
#ifndef FEDPUSH_ADMIN_ALERT_PACE_H
#define FEDPUSH_ADMIN_ALERT_PACE_H

#include <stdbool.h>
#include <stddef.h>

enum { ALERT_AN_HOUR = 20 };

/* Begins as zeros. */
struct alert_pace {
    double sent_at_s[ALERT_AN_HOUR]; /* a ring */
    size_t oldest;
    double next_try_s;
    unsigned failures; /* in a row */
};

bool alert_pace_allows(const struct alert_pace *pace, double now_s);
void alert_pace_sent(struct alert_pace *pace, double now_s);
/* Next after 30 s, doubling to ten minutes. */
void alert_pace_failed(struct alert_pace *pace, double now_s);

#endif
