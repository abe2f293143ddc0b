/*
 * How this machine as a whole stands: whether it sends anything at all now, and whether it takes
 * more jobs; in words for an admin who asks about a host (questions.h). Pure.
 */
#ifndef FEDPUSH_SCHED_STANDING_H
#define FEDPUSH_SCHED_STANDING_H

#include "base/phrase.h"

/* Borrowed. */
struct standing {
    bool draining;
    bool quiet;
    bool policies_known; /* what admins ordered has been read once */
    bool fleet_paused;
    bool paused; /* this machine alone */
    bool fresh;  /* its beat: membership_is_fresh */
    bool suspicious;
    bool standing_by; /* suspicious, too */
    bool has_room;    /* for more jobs, by appetite.h */
    bool leaves;      /* it leaves jobs to others, since its workers are late */
    bool rate_used;   /* FEDPUSH_CLAIM_RATE is, for now */
    int64_t beat_age_ms;
    int64_t lag_ms;
    unsigned waiting; /* jobs that wait here */
    unsigned lookahead;
    size_t bytes; /* of all that is held */
    size_t lookahead_bytes;
    int claim_rate; /* jobs a second */
    const char
        *unserved_handoff; /* a queue that it has put jobs into, and nobody serves; or NULL */
};

/* Nothing but what is in flight already, or a trial, is sent. */
bool standing_is_still(const struct standing *standing);
/* Adds a line: why nothing is sent, or taken. False: neither is so, and there is none. */
bool standing_say(const struct standing *standing, struct said *out);
/* The same of jobs that need Ruby. */
void standing_say_handoff(const struct standing *standing, struct said *out);

#endif
