/*
 * The alerts that there are, and whom they were told. Pure: looks and the time come in, news come
 * out. Times are Unix seconds of Redis' clock, so that they mean the same on every machine.
 *
 *            bad for for_s            good for clear_s
 *   PENDING ──────────────► FIRING ───────────────────► OVER ──► forgotten after 4 h
 *      │ not bad              ▲                           │
 *      ▼                      └───────────────────────────┘ bad for for_s: again
 *   forgotten
 *
 * A look in between (alert_rules.h) is neither. One that comes back within the four hours is told
 * at once, but is over only after four hours of peace: what flutters is told twice in four hours,
 * and nobody thinks that it is well. While it fires it is told again every four hours (a domain
 * that is down, once).
 *
 * Each rule has places of its own in the book, so that none of them silences another. What finds
 * none left is counted by one more alert of the rule, whose id is the rule's name alone.
 */
#ifndef FEDPUSH_ADMIN_ALERT_BOOK_H
#define FEDPUSH_ADMIN_ALERT_BOOK_H

#include "admin/alert_rules.h"

enum alert_state { ALERT_PENDING = 0, ALERT_FIRING, ALERT_OVER };
enum alert_sink { ALERT_MAIL = 0, ALERT_WEBHOOK, ALERT_SINKS };
enum alert_news_kind { ALERT_NEWS_FIRING = 0, ALERT_NEWS_STILL, ALERT_NEWS_OVER };

enum { ALERT_MAX = 256, ALERT_GROUP_S = 30, ALERT_AGAIN_S = 4 * 3600 };

extern const char *const alert_sink_names[ALERT_SINKS];

struct alert {
    enum alert_rule rule;
    enum alert_state state;
    char id[ALERT_ID_BYTES];
    struct alert_words words;
    double since_s;    /* it is bad, or was when it fired last */
    double turned_s;   /* when it began to fire, or was over */
    double opposite_s; /* since when looks say the opposite of its state; 0: they don't */
    bool again;        /* it came back within ALERT_AGAIN_S */
    struct {
        bool firing; /* the last thing that this sink was told: it fires */
        double at_s; /* 0: it was never told */
    } told[ALERT_SINKS];
};

struct alert_book {
    struct alert *alerts[ALERT_MAX]; /* owned; order without meaning */
    size_t count;
    bool changed;  /* a state or who was told, since the caller last cleared it */
    double factor; /* of all times; 1 but in tests */
};

struct alert_news {
    enum alert_news_kind kind;
    struct alert *alert; /* the book's */
};

void alert_book_init(struct alert_book *book);
void alert_book_clear(struct alert_book *book); /* empties it; it may be used again */
void alert_book_look(struct alert_book *book, const struct alert_looks *looks, double now_s);

/* What the sink must be told now; 0: nothing, or not yet (what fires within half a minute is told
 * together). */
size_t alert_book_news(const struct alert_book *book, enum alert_sink sink, double now_s,
                       struct alert_news news[ALERT_MAX]);
/* It was told. */
void alert_book_told(struct alert_book *book, enum alert_sink sink, const struct alert_news *news,
                     size_t count, double now_s);

/* The values of its words: an object, the caller's. */
json_t *alert_params(const struct alert_words *words);
/* As it stands in Redis, without the id; json_decref it. */
json_t *alert_to_json(const struct alert *alert);
/* Adds what alert_to_json made. False: it isn't one of ours, or its rule has
 * no place left. */
bool alert_book_restore(struct alert_book *book, struct str id, const json_t *value) FP_MUST_CHECK;

#endif
