/*
 * The account of claims: what was claimed = what became of it + what is held. The scripts that take
 * and end claims keep it in fedpush:ledger:ID, and add it to fedpush:ledger when the identity ends;
 * a claim is counted once however often a script is replayed. Field "claimed", and the words below.
 */
#ifndef FEDPUSH_SCHED_LEDGER_H
#define FEDPUSH_SCHED_LEDGER_H

enum ledger_entry {
    LEDGER_BY_VERB = 0, /* the entry that a settlement's verb suggests */
    LEDGER_DELIVERED,   /* 2xx */
    LEDGER_SKIPPED,     /* its host is unavailable: Ruby does nothing either */
    LEDGER_REJECTED,    /* an answer that Mastodon doesn't try again after */
    LEDGER_REFUSED,     /* an address that Mastodon doesn't deliver to */
    LEDGER_RETRIED,     /* into `retry` after a failed attempt */
    LEDGER_BOOKED,      /* into `retry` or `schedule` without an attempt */
    LEDGER_EXHAUSTED,   /* the last retry failed */
    LEDGER_DEAD,        /* into `dead`: malformed or poison */
    LEDGER_HANDED_OFF,  /* to a queue that Ruby serves */
    LEDGER_POLICY,      /* dropped, as an admin ordered */
    LEDGER_RETURNED,    /* to where it was claimed from, by its owner */
    LEDGER_RECOVERED,   /* the same, by others */
    LEDGER_ENTRIES,
};

/* The field of an entry in Redis; "" for LEDGER_BY_VERB. */
const char *ledger_word(enum ledger_entry entry);

#endif
