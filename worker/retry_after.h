/*
 * Retry-After (RFC 9110, 10.2.3): seconds, or an HTTP date in any of its three forms. A date counts
 * from the answer's own Date, so that a server whose clock is wrong still means the time it means;
 * from ours when it has none, or one more than a day from ours. Pure.
 */
#ifndef FEDPUSH_WORKER_RETRY_AFTER_H
#define FEDPUSH_WORKER_RETRY_AFTER_H

#include <stdint.h>

#include "base/str.h"

/* Milliseconds from the answer on, at most MESSAGE_MAX_RETRY_AFTER_MS; 0 when `value` says nothing
 * usable, or a time that is over. `date`: the Date field's value, or empty. */
uint32_t retry_after_ms(struct str value, struct str date, int64_t now_s);

/* IMF-fixdate, RFC 850's or asctime's form (RFC 9110, 5.6.7), in seconds since 1970. A year of two
 * digits that would lie more than 50 years after `now_s` is of the century before. */
bool http_date_parse(struct str text, int64_t now_s, int64_t *unix_s) FP_MUST_CHECK;

#endif
