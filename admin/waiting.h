/*
 * Which jobs wait for certain hosts, and where: queues, `retry`, `schedule`, and the claims of all
 * machines, with what waits in their lists to be claimed; and, apart, what was handed off to Ruby.
 * Each place is looked through in pieces, up to WAITING_MAX entries of it, or to its end.
 */
#ifndef FEDPUSH_ADMIN_WAITING_H
#define FEDPUSH_ADMIN_WAITING_H

#include "admin/session.h"
#include "base/table.h"
#include "base/url.h"

enum { WAITING_MAX = 100000, WAITING_PIECE = 500 };

enum waiting_place {
    WAITING_PUSH = 0,
    WAITING_PULL,
    WAITING_RETRY,
    WAITING_SCHEDULE,
    WAITING_HELD,
    WAITING_DEAD,    /* waits for nothing; by waiting_look only when it is asked for, and so */
    WAITING_HANDOFF, /* for Ruby: deliveries in the hand-off queues */
    WAITING_PLACES
};

struct waiting_host {
    char *host;
    int64_t count[WAITING_PLACES];
};

/* A circuit is one authority's: the host, with a port that isn't the default. The dead don't count.
 */
struct waiting_due {
    char *authority;
    struct str host; /* its part */
    double due_s;    /* the earliest of `retry` and `schedule`; 0: none there */
    char *error;     /* of that job: how its last attempt failed; or NULL */
};

/* In whose hands jobs are: a machine's claims and its list. */
struct waiting_holder {
    char *identity;
    int64_t jobs;
};

/* Entries of one piece that are for the hosts, as they stand: what `act` works on. */
struct waiting_piece {
    enum waiting_place place;
    const char *key;
    const char *identity; /* of a machine's list: whose it is; else NULL */
    size_t count;
    struct str entries[WAITING_PIECE];
    double scores[WAITING_PIECE];   /* of `retry` and `schedule` */
    int64_t indexes[WAITING_PIECE]; /* of a list: from its consuming end, -1 the oldest */
};

struct waiting {
    struct session *session;
    bool (*wanted)(void *arg, const struct url *inbox); /* NULL: none, it is only looked */
    /* Called for each job, with NULL for one that isn't a delivery of ours. NULL is fine. */
    void (*seen)(void *arg, enum waiting_place place, struct str class_name,
                 const struct url *inbox);
    /* Called after each piece with how many entries of the place were looked at. NULL is fine. */
    void (*progress)(void *arg, enum waiting_place place, int64_t looked_at);
    /* Called for each piece with entries, never for claims; answers how many it has removed, or put
     * at an earlier place. NULL: they are only counted. A negative answer ends it all. */
    int64_t (*act)(void *arg, const struct waiting_piece *piece);
    void *arg;
    bool all;       /* to the end of each place, however many there are */
    double after_s; /* of `retry` and `schedule` only what is due then and later, */
    double upto_s;  /* and until then; 0: all of them */
    /* waiting_clear frees them: */
    struct table *hosts;   /* struct waiting_host */
    struct table *dues;    /* struct waiting_due */
    struct table *holders; /* struct waiting_holder */
    bool with_dead;        /* waiting_look counts and waiting_print shows them, too */
    bool with_handoff;
    bool cut; /* a place had more entries than were looked at */
};

/* False with err filled. waiting_clear in any case. */
bool waiting_look(struct waiting *waiting, struct err *err) FP_MUST_CHECK;
void waiting_clear(struct waiting *waiting);
/* One place again. *total: how many are for the hosts. */
bool waiting_look_at(struct waiting *waiting, enum waiting_place place, int64_t *total,
                     struct err *err) FP_MUST_CHECK;
/* A table for people, or that nothing waits. */
void waiting_print(const struct waiting *waiting);
int64_t waiting_total(const struct waiting *waiting, enum waiting_place place);

#endif
