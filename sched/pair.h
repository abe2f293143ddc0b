/*
 * Jobs of one sender for one inbox have an order, which the machines of a fleet keep together
 * (claim.lua, settle.lua). A pair is named by the first 64 bits of the SHA-1 of "ACCOUNT INBOX",
 * both as they stand in the job's bytes; in Redis, by their sixteen hexadecimal digits.
 */
#ifndef FEDPUSH_SCHED_PAIR_H
#define FEDPUSH_SCHED_PAIR_H

#include <stdint.h>

#include "base/str.h"

enum { PAIR_TEXT = 17 };

/* As pair.lua finds it; 0: a job of another form. */
uint64_t pair_of_payload(struct str payload);
/* The same name for what the bytes don't show. */
uint64_t pair_of(int64_t account_id, struct str inbox);
void pair_text(char text[PAIR_TEXT], uint64_t pair);

#endif
