/*
 * Lanes: one a host (normalized authority), each a FIFO of claims that wait for that host. Pure:
 * times and facts come in, the next claim to dispatch comes out.
 *
 *   - A lane has as many jobs in flight as its window allows (sched/window.h), at most its
 * machine's share of `host_window`; 1 while its host is suspect.
 *   - While its circuit is open (sched/circuit.h) nothing of it is dispatched but a probe, when one
 *     is due and its token has been won.
 *   - At most one delivery of each (account, inbox) is in flight, in the order of their creation:
 *     what is away (sched/away.h) is awaited. Low jobs and those of the instance actor are exempt
 *     (claim->pair is 0).
 *   - Ready lanes (something waits, window open) stand in a ring, one job a turn; each worker has
 *     its own rings, since a host has one worker, and a worker without credit must not block the
 *     others. Lanes that may go on at a known time sleep until then.
 *   - Suspect hosts (last outcome a transport failure, or no success ever) hold at most a quarter
 *     of the slots while healthy hosts have work; else up to three quarters: a burst of posts finds
 *     free slots even when black holes were all there was. They go behind the others, but for each
 *     eighth turn: when the rate or the slots are the limit, the others never run out of work.
 *   - Fresh before retried, but each fourth turn of a lane is a retried job's.
 *   - Low jobs (claim->low: Mastodon's LowPriorityDeliveryWorker and whatever came from `pull`)
 *     wait behind the others of their host, but for each sixteenth turn, and leave one place of its
 *     window free for them. All hosts together, they hold at most an eighth of the slots, less what
 *     the others have in flight, so that nobody waits for them in the workers either; but always a
 *     thirty-second, and each sixteenth turn, while others could go.
 *   - What waits is bounded: a lane by a sixteenth of the look-ahead, and by what leaves it within
 * a minute when its host (429, Retry-After) or an admin holds it back; suspect lanes and those that
 * are held back, all together, by a quarter. What exceeds that is booked on the lane's reservation
 * clock and comes back later, and so do later jobs of that host, behind it. Low jobs have bounds (a
 * lane the same, all together a quarter, suspect ones a sixteenth) and clocks of their own, so that
 * they take no place from the others.
 *   - While we suspect ourselves (sched/suspicion.h) only trials are dispatched.
 */
#ifndef FEDPUSH_SCHED_LANE_H
#define FEDPUSH_SCHED_LANE_H

#include "base/phrase.h"
#include "sched/away.h"
#include "sched/circuit.h"
#include "sched/claim.h"
#include "sched/suspicion.h"
#include "sched/window.h"

/* The ring that a lane stands in while it is ready. */
enum lane_place {
    PLACE_NONE = 0,
    PLACE_HEALTHY,
    PLACE_SUSPECT,
    PLACE_LOW, /* only low jobs wait there */
    PLACE_LOW_SUSPECT,
    PLACE_COUNT
};

enum lane_probe {
    LANE_PROBE_NONE = 0,
    LANE_PROBE_ASKED, /* its token is asked for */
    LANE_PROBE_WON,   /* the next job is the probe */
};

/* Whether what is booked at its host is called back: who is WANTED stands in a list
 * (lane_call.c). */
enum lane_call {
    LANE_CALL_NONE = 0,
    LANE_CALL_WANTED,
    LANE_CALL_ASKED,            /* Redis is calling some back */
    LANE_CALL_ASKED_AND_WANTED, /* and more was booked meanwhile */
};

/* What an admin has ordered for a host. */
struct lane_limits {
    bool paused;         /* nothing leaves the lane */
    unsigned max_window; /* 0: no such order */
    int64_t min_gap_ms;  /* between two starts; 0: no such order */
};

struct lane {
    TAILQ_ENTRY(lane) ring;  /* of `place` */
    TAILQ_ENTRY(lane) sleep; /* while wake_tick > 0 */
    int64_t wake_tick;       /* of the wheel; 0: it doesn't sleep */
    TAILQ_ENTRY(lane) call;  /* while LANE_CALL_WANTED */
    int64_t call_tick;       /* at which to look at it */
    struct str host;         /* points into the lane's own memory */
    unsigned worker;         /* index of the worker that serves this host */
    struct claim_list fresh;
    struct claim_list retried;
    struct claim_list low;
    unsigned waiting; /* fresh and retried */
    unsigned low_waiting;
    unsigned in_flight; /* low ones included */
    unsigned low_in_flight;
    unsigned turns;
    enum lane_place place;
    enum lane_call call_state;
    bool suspect;
    bool slow;  /* it is suspect, or its host or an admin holds it back */
    bool tried; /* an attempt has ended: a suspect host that was never tried is only unknown */
    unsigned progressing; /* of `waiting`: what it will dispatch soon, at its pace */
    bool blocked;         /* an answer about the host's availability is awaited */
    struct lane_limits limits;
    bool stuck;         /* of what waits nothing may go before something lands, or comes back */
    int64_t unstuck_ms; /* stuck: when to look again all the same */
    int64_t kept_ms;    /* until then the turn is one's that comes back to the head; or 0 */
    struct window window;
    int64_t unresolved_ms; /* until then it is held back, since no name got an answer */
    struct circuit circuit;
    enum lane_probe probe;
    bool probeless; /* a probe was won, and no job of it is left */
    struct suspicion_mark mark;
    uint64_t *pairs; /* in flight */
    unsigned pair_count;
    unsigned pair_capacity;
    int64_t last_ms;     /* Unix time: until then a job whose age ran out waits for its probe */
    int64_t reserved_ms; /* the end of what is booked */
    int64_t low_reserved_ms;
    int64_t released_ms;  /* when what is booked was last called back */
    int64_t emptied_ms;   /* and all of it was */
    uint32_t mean_ms;     /* of its attempts, moving */
    uint32_t interval_us; /* between two starts while others waited, moving */
    bool pressed;         /* others have waited since its last start */
    bool filled;          /* which took the last place of its window */
    int64_t touched_ms;
};

struct lane_options {
    unsigned workers;
    unsigned host_window; /* at most at once for one host, for the fleet */
    unsigned max_in_flight;
    unsigned lookahead_jobs;
    double max_rate; /* deliveries a second for this machine, to begin with; 0: no limit */
    const struct rng *rng;
};

struct lanes;
/* All times given later are monotonic milliseconds, but for those in `circuit`. */
struct lanes *lanes_create(const struct lane_options *options);
/* Empty lanes only; claims are the caller's. */
void lanes_destroy(struct lanes *lanes);
/* How many machines share hosts, and what to add to our time for Redis' Unix time. */
void lanes_set_fleet(struct lanes *lanes, unsigned machines, int64_t unix_offset_ms);
void lanes_set_lookahead(struct lanes *lanes, unsigned jobs);              /* as in the options */
void lanes_set_rate(struct lanes *lanes, double max_rate, int64_t now_ms); /* as in the options */
/* How many deliveries a second this machine wants to make, going by those since the last call;
 * share_all (sched/share.h) while it could make more than it may. */
double lanes_wanted(struct lanes *lanes, int64_t now_ms);
int64_t lanes_unix_ms(const struct lanes *lanes, int64_t now_ms);

/* The host's lane, made when it isn't there (suspect, as a host without any success is). */
struct lane *lanes_get(struct lanes *lanes, struct str host, int64_t now_ms);
struct lane *lanes_find(const struct lanes *lanes, struct str host); /* or NULL */
unsigned lanes_worker(const struct lanes *lanes, struct str host);   /* who serves it */
/* What is known from earlier runs. `success_ms`: monotonic, of its last success, which may have
 * been before this clock began (then it is negative); 0: unknown. */
void lanes_learn(struct lanes *lanes, struct str host, bool suspect, int64_t success_ms,
                 int64_t now_ms);
/* What another machine found out about the host's circuit. */
void lanes_adopt_open(struct lanes *lanes, struct lane *lane, int64_t opened_unix_ms,
                      int64_t probe_unix_ms, uint32_t backoff_ms, int64_t now_ms);
void lanes_adopt_closed(struct lanes *lanes, struct lane *lane, int64_t now_ms);
void lanes_adopt_hold(struct lanes *lanes, struct lane *lane, int64_t until_unix_ms,
                      int64_t now_ms); /* Retry-After */

/* Where a claim has to go that comes from Redis. */
enum course {
    COURSE_LANE = 0, /* lanes_add */
    COURSE_BOOK,     /* back into a sorted set, at lanes_book_ms */
    COURSE_PARK,     /* the circuit is open: back until parking_wait_ms */
};
enum course lanes_course(const struct lanes *lanes, const struct lane *lane,
                         const struct claim *claim, int64_t now_ms);
/* Whether that is COURSE_PARK, and no probe is so near that the claim might be the one for it. */
bool lanes_parks(const struct lanes *lanes, const struct lane *lane, const struct claim *claim,
                 int64_t now_ms);
/* Puts a claim (CLAIM_NEW) at the end of its lane, or at its head when it comes back
 * unattempted. */
void lanes_add(struct lanes *lanes, struct lane *lane, struct claim *claim, bool at_head,
               int64_t now_ms);
/* While all that are held back hold more than their quarter: one of those that this one must part
 * with, if it is held back, to be taken out and booked; or NULL. After a landing, and after
 * lanes_restrict. */
struct claim *lanes_excess(const struct lanes *lanes, const struct lane *lane, int64_t now_ms);
/* Takes a waiting claim out (it becomes CLAIM_NEW): at a drain, to park or to book it. */
void lanes_remove(struct lanes *lanes, struct claim *claim, int64_t now_ms);
/* A claim (CLAIM_NEW, of no lane) leaves, and comes again at `back_ms` (uncalled: no sooner, even
 * when its host's others are called back); that is another time; or it came, or won't: lanes_add
 * says the same. */
void lanes_left(struct lanes *lanes, const struct claim *claim, int64_t back_ms, int64_t now_ms);
void lanes_left_uncalled(struct lanes *lanes, const struct claim *claim, int64_t back_ms,
                         int64_t now_ms);
void lanes_left_until(struct lanes *lanes, const struct claim *claim, int64_t back_ms);
void lanes_came(struct lanes *lanes, const struct claim *claim);
/* What Redis has booked of the claim's pair, as away_heard. */
void lanes_heard(struct lanes *lanes, const struct claim *claim, const struct away_booked *booked,
                 size_t count, int64_t now_ms);
/* The claim that waits longest, or that one's oldest of its pair, which must go before it; or NULL.
 */
struct claim *lanes_oldest(const struct lane *lane);
/* What one job takes of the host's time, at its present pace; at least 1. */
int64_t lanes_pace_ms(const struct lanes *lanes, const struct lane *lane);
/* A job that finds no room comes back when the lane is done with what it holds, so many
 * milliseconds from now, behind what else is booked there (settlement.share_ms: lanes_pace_ms). */
int64_t lanes_book_ms(struct lanes *lanes, struct lane *lane, int64_t now_ms);
/* A low job has clocks of its own, that of its host and one of all low jobs, and waits for both. */
int64_t lanes_book_low_ms(struct lanes *lanes, struct lane *lane, int64_t now_ms);
/* Something may be booked that this lane knows nothing of: its circuit was open. */
void lanes_booked(struct lane *lane, int64_t now_ms);
/* How many booked jobs the lane could take now, earlier than they come back: its host turned out
 * to be faster. One while its circuit is open, a probe is due and no job at hand for it. At most
 * once a second; 0: none. */
enum { LANES_RELEASE_MOST = 256 };
unsigned lanes_release(struct lanes *lanes, struct lane *lane, int64_t now_ms);
/* Something may be booked at the host of this lane, by any machine: from now on it is called back
 * when there is use for it, until nothing is left. */
void lanes_want(struct lanes *lanes, struct lane *lane, int64_t now_ms);
unsigned lanes_wanted_back(const struct lanes *lanes); /* how many lanes that was said of */
/* Each second; then, until it is NULL, the next lane that has use for `*count` jobs: they are asked
 * for, and lanes_released says what came of it. Lanes take turns, as a second has bounds: so many
 * lanes, and about as many jobs as the look-ahead has. */
void lanes_begin_calls(struct lanes *lanes, int64_t now_ms);
struct lane *lanes_next_call(struct lanes *lanes, unsigned *count, int64_t now_ms);
/* `moved` were called back, `left` are still booked: what arrives goes behind them. */
void lanes_released(struct lanes *lanes, struct lane *lane, unsigned moved, unsigned left,
                    int64_t now_ms);

/*
 * The next claim that may go to this worker now, or NULL. It waits on, and nothing is counted nor
 * taken from its host's time, before lanes_start: what must be asked first costs nothing, however
 * often. Until then the same one is named again, unless it is removed, or its lane blocked. When
 * its lane's circuit is open it is to be a probe: the caller asks for the token and calls
 * lanes_probe_asked.
 */
struct claim *lanes_next(struct lanes *lanes, unsigned worker, int64_t now_ms);
bool lanes_is_probe(const struct lane *lane); /* of a claim from lanes_next: ask first */
/* Within the last second, tokens of the rate or slots were wanting: workers are to take turns. */
bool lanes_are_short(const struct lanes *lanes, int64_t now_ms);
/* It goes, and becomes CLAIM_FLIGHT. Not a probe whose token was not won. */
void lanes_start(struct lanes *lanes, struct claim *claim, int64_t now_ms);
/* What lanes_next named was removed, to be asked about and to come back to the head: a lane with
 * gaps rests until then, for a gap or a minute at most. If others took its turn meanwhile, its
 * answer could be too old again at the next one. */
void lanes_keep_turn(struct lanes *lanes, struct lane *lane, int64_t now_ms);
void lanes_probe_asked(struct lanes *lanes, struct lane *lane, int64_t now_ms);
/* The token was won; or not, since another machine is probing: its result will be heard of. */
void lanes_probe_answered(struct lanes *lanes, struct lane *lane, bool won, int64_t now_ms);
/* A lane whose probe was won, and whose job for it was used up or taken away untried: its circuit
 * is open again, and a probe due. NULL: there is none, or no other. From the loop now and then:
 * what is only on its way back to the lane keeps the probe. */
struct lane *lanes_abandon_probe(struct lanes *lanes, int64_t now_ms);

enum lane_answer {
    LANE_UNTRIED = 0, /* no attempt was made */
    LANE_ANSWERED,    /* an answer that speaks for the host */
    LANE_PUSHED_BACK, /* 429 */
    LANE_UNAVAILABLE, /* 503 */
    LANE_ERROR,       /* another 5xx */
    LANE_TRANSPORT,   /* no answer */
    LANE_UNRESOLVED,  /* our resolver or our network: never the host's fault */
    LANE_UNSERVED,    /* its name gets no answer, others do: a probe has failed, no more */
};

struct lane_result {
    enum lane_answer answer;
    bool certain; /* LANE_TRANSPORT: refused, no such name, certificate invalid */
    uint32_t total_ms;
    int64_t hold_ms; /* Retry-After, or 0 */
};

/* A claim left the worker's hands (it becomes CLAIM_NEW). */
enum circuit_event lanes_landed(struct lanes *lanes, struct claim *claim,
                                const struct lane_result *result, int64_t now_ms);
/* No job of the lane is dispatched until it is unblocked. */
void lanes_block(struct lanes *lanes, struct lane *lane, bool blocked, int64_t now_ms);
/* From now on; in flight there may be more than the window allows. */
void lanes_restrict(struct lanes *lanes, struct lane *lane, const struct lane_limits *limits,
                    int64_t now_ms);
/* Its host is to be tried again without delay: a probe is due, and Retry-After is void. */
void lanes_pardon(struct lanes *lanes, struct lane *lane, int64_t now_ms);

/* Sleepers whose time has come are ready again. Before lanes_next. */
void lanes_wake(struct lanes *lanes, int64_t now_ms);
/* When lanes_wake and lanes_next have something to do next, as far as time alone decides; at most a
 * second from now. */
int64_t lanes_wake_ms(const struct lanes *lanes, int64_t now_ms);

/* Ourselves. lanes_is_blameless: a failure of this host may be our own fault: it was good within
 * the hour; or nothing is known against it (it was never tried, or hasn't failed the last time),
 * and good hosts fail, too. lanes_suspicious: looks, and when suspicion begins, voids what was held
 * against hosts since. */
bool lanes_is_blameless(const struct lanes *lanes, const struct lane *lane, int64_t now_ms);
bool lanes_suspicious(struct lanes *lanes, int64_t now_ms);
enum doubt lanes_doubt(struct lanes *lanes, int64_t started_ms, int64_t failed_ms, int64_t now_ms);
/* Whose fault it is that an attempt has got no answer now. `was_blameless`: its host was so before
 * lanes_landed. Of others there is no doubt, but what begins before our own trouble ends is ours.
 */
enum doubt lanes_blame(struct lanes *lanes, bool was_blameless, int64_t started_ms, int64_t now_ms);

/* What the lanes don't know of themselves. */
struct lane_outside {
    bool still;        /* the machine sends nothing now, but for trials (sched/standing.h) */
    bool busy;         /* the lane's worker takes nothing now */
    bool probed;       /* a probe of its open circuit is under way somewhere */
    const char *proxy; /* ordered, and lacking here; or NULL */
    unsigned passes;   /* a window that only other machines have places in; or 0 */
};
/* Adds a line: why what waits for this host is or isn't being sent now, for an admin.
 * lane_words.c */
void lanes_explain(const struct lanes *lanes, const struct lane *lane,
                   const struct lane_outside *outside, struct said *out, int64_t now_ms);

unsigned lanes_waiting(const struct lanes *lanes); /* claims in lanes, low ones apart */
unsigned lanes_low_waiting(const struct lanes *lanes);
unsigned lanes_in_flight(const struct lanes *lanes); /* low ones included */
/* Claims that will leave their lanes within two seconds at the pace of their hosts: while there are
 * enough of them, claiming more would only move the queue into memory; what waits for a host that
 * doesn't answer is not among them (of a suspect one: for half a second), nor is what its host or
 * an admin holds back, nor are low jobs. */
unsigned lanes_progressing(const struct lanes *lanes);
unsigned lanes_ready(const struct lanes *lanes); /* lanes that could dispatch other than low jobs */
unsigned lanes_low_ready(const struct lanes *lanes); /* healthy hosts' lanes with only low jobs */
/* How many more low jobs may wait. */
unsigned lanes_low_room(const struct lanes *lanes);
unsigned lanes_count(const struct lanes *lanes);
/* Forgets idle lanes untouched for an hour, of which nothing is known that is still to come (an
 * open circuit, Retry-After, what is booked); returns how many are left. */
unsigned lanes_sweep(struct lanes *lanes, int64_t now_ms);
/* Iteration over all lanes, as table_next. */
struct lane *lanes_each(const struct lanes *lanes, size_t *at);

#endif
