/*
 * What deserves an alert: figures in, looks out. A look says of one subject whether it is bad now;
 * how long it must be so before anybody is told is alert_book.h's. Pure.
 */
#ifndef FEDPUSH_ADMIN_ALERT_RULES_H
#define FEDPUSH_ADMIN_ALERT_RULES_H

#include <jansson.h>

#include "base/phrase.h"

enum alert_rule {
    ALERT_QUEUE_AGE = 0, /* the oldest job of push waits too long */
    ALERT_DOMAIN_DOWN,   /* a domain with many followers */
    ALERT_HANDOFF,       /* a hand-off queue that no Sidekiq serves */
    ALERT_SUSPICION,     /* a machine suspects its own network */
    ALERT_DEAD_OWNERS,   /* jobs held by machines that are gone */
    ALERT_REDIS_MEMORY,  /* near its limit */
    ALERT_KEYS,          /* keys that can't be read */
    ALERT_LEDGER,        /* jobs that nobody can account for */
    ALERT_RULES
};

/* A look between good and bad keeps what is, so that nothing flutters about a threshold. */
enum alert_grade { ALERT_GOOD = 0, ALERT_BETWEEN, ALERT_BAD };

/* Domains have places of their own, those of a page of failing and one of open ones: that many are
 * down must not hide what else is wrong. */
enum {
    ALERT_ID_BYTES = 300,
    ALERT_TEXT_BYTES = 500,
    ALERT_PARAMS_BYTES = 1500,
    ALERT_MAX_DOMAIN_LOOKS = 2000,
    ALERT_MAX_OTHER_LOOKS = 256,
    ALERT_MAX_LOOKS = ALERT_MAX_DOMAIN_LOOKS + ALERT_MAX_OTHER_LOOKS
};

struct alert_limits {
    int queue_age_s;
    int followers; /* 0: no domain has too many to be told of */
    int memory_percent;
};

/* What is said of it: one line with the remedy, escaped for a terminal; and the same for programs
 * (base/phrase.h), as its code and an object of JSON. Both are "" when an older machine said it. */
struct alert_words {
    char text[ALERT_TEXT_BYTES];
    char code[PHRASE_CODE_BYTES];
    char params[ALERT_PARAMS_BYTES];
};

struct alert_look {
    enum alert_rule rule;
    enum alert_grade grade;
    char id[ALERT_ID_BYTES]; /* "queue-age", "domain-down example.org" */
    struct alert_words words;
};

/*
 * `looked` has a bit (1 << rule) for each rule that could be answered: what such a rule doesn't
 * mention is good. The looks of a rule without its bit are unknown. `cut` has the bit of each rule
 * that found more than there is room for: what it doesn't mention is unknown, too.
 */
struct alert_looks {
    unsigned looked;
    unsigned cut;
    size_t count;
    size_t domains; /* of `count` */
    struct alert_look list[ALERT_MAX_LOOKS];
};

void alert_looks_forget(struct alert_looks *looks); /* all of them */

/* `text` with a NUL behind it, cut at a character so that it fits. */
void alert_copy(char *out, size_t size, struct str text);
/* Fills the words. */
void alert_say(struct alert_words *words, enum phrase phrase, struct says says);
const char *alert_rule_name(enum alert_rule rule); /* "queue-age": ids begin with it */
/* ALERT_RULES: no rule's id. */
enum alert_rule alert_rule_of(struct str id);

/* Adds the looks of figures_overview. */
void alert_rules_overview(struct alert_looks *looks, const json_t *overview,
                          const struct alert_limits *limits);
/* Adds those of a page of figures_domains, the first one of those sorted by followers, the most
 * first. The caller sets the bit ALERT_DOMAIN_DOWN once all pages
 * of the states "failing" and "open" were there. */
void alert_rules_domains(struct alert_looks *looks, const json_t *page,
                         const struct alert_limits *limits, double now_s);

#endif
