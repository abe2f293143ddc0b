/*
 * The way in of one request: the session is looked up, Mastodon asked again where it is due.
 *
 *   ENTERING --in or out--> done
 *      ^  \--must be asked--> ASKING --> ENTERING
 */
#ifndef FEDPUSH_ADMIN_ENTRANCE_H
#define FEDPUSH_ADMIN_ENTRANCE_H

#include "admin/clerk.h"
#include "admin/gate.h"

enum entrance_state {
    ENTRANCE_ENTERING = 0,
    ENTRANCE_ASKING,
    ENTRANCE_ENTERING_AGAIN,
};

/* The caller's memory, unmoved until `done`. */
struct entrance {
    struct errand errand; /* first: it is what a clerk gives back */
    struct gate *gate;
    struct clerk *const *clerks;
    struct caller caller;
    enum api_right wanted;
    bool touch; /* it counts as use of a session */
    void (*done)(struct entrance *entrance);
    /* Result; the state is the entrance's own. */
    struct entry entry;
    enum entrance_state state;
};

/* All but the result is set. False: the clerks have too much to do, and `done` is not called. */
bool entrance_start(struct entrance *entrance) FP_MUST_CHECK;

#endif
