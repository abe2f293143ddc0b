/*
 * The account of claims as Redis has it (sched/ledger.h), read in one step so that it must agree:
 * claimed = what became of them + held. Used by `status`.
 */
#ifndef FEDPUSH_ADMIN_BALANCE_H
#define FEDPUSH_ADMIN_BALANCE_H

#include "admin/survey.h"
#include "sched/ledger.h"

struct balance {
    int64_t claimed;
    int64_t outcomes[LEDGER_ENTRIES];
    int64_t others; /* of words that a newer fedpush may have written */
    int64_t held;
};

struct balances {
    struct balance fleet;   /* all identities that are and were */
    struct balance machine; /* the present identities of this host name */
    bool machine_found;
};

/* Reads those of the survey's identities. False with err filled when Redis doesn't answer. */
bool balance_take(struct balances *balances, struct session *session, const struct survey *survey,
                  struct err *err) FP_MUST_CHECK;
/* Claims that nobody can account for; negative: more outcomes than claims. 0 when it agrees. */
int64_t balance_missing(const struct balance *balance);
/* "7 claimed = 5 delivered + 2 held". Appends. */
void balance_put(struct buf *out, const struct balance *balance);

#endif
