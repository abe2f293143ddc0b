/*
 * What statements about sums of the history have in common, whoever writes them: history_tables.c
 * and retention.c. Text of SQL.
 */
#ifndef FEDPUSH_SCHED_HISTORY_SQL_H
#define FEDPUSH_SCHED_HISTORY_SQL_H

#include "sched/counts.h"

#define HISTORY_SIX(one, a, b, c, d, e, f)                                                         \
    one(a) "," one(b) "," one(c) "," one(d) "," one(e) "," one(f)
#define HISTORY_TO_12(one)                                                                         \
    HISTORY_SIX(one, 1, 2, 3, 4, 5, 6) "," HISTORY_SIX(one, 7, 8, 9, 10, 11, 12)
#define HISTORY_TO_24(one)                                                                         \
    HISTORY_SIX(one, 13, 14, 15, 16, 17, 18) "," HISTORY_SIX(one, 19, 20, 21, 22, 23, 24)
/* An array for `latency`: one(i) is the text of its element i, counted from 1. */
#define HISTORY_LATENCY(one) "ARRAY[" HISTORY_TO_12(one) "," HISTORY_TO_24(one) "]"
_Static_assert(COUNTS_BUCKETS == 24, "the array has that many elements");

/* Behind ON CONFLICT … DO UPDATE SET, of a table named t: what was counted joins what is there. */
#define HISTORY_ADD_ONE(i) "t.latency[" #i "] + excluded.latency[" #i "]"
#define HISTORY_ADD_SUMS                                                                           \
    "delivered = t.delivered + excluded.delivered, retried = t.retried + excluded.retried,"        \
    " rejected = t.rejected + excluded.rejected, exhausted = t.exhausted + excluded.exhausted,"    \
    " sent_bytes = t.sent_bytes + excluded.sent_bytes,"                                            \
    " latency = " HISTORY_LATENCY(HISTORY_ADD_ONE)

#endif
