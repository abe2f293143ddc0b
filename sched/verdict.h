/*
 * What a delivery's answer means, by Mastodon's version: facts of ActivityPub::DeliveryWorker.
 * Pure.
 */
#ifndef FEDPUSH_SCHED_VERDICT_H
#define FEDPUSH_SCHED_VERDICT_H

#include "base/config.h"

enum verdict {
    VERDICT_DELIVERED = 0, /* 2xx */
    VERDICT_UNSALVAGEABLE, /* 501, 4xx but 401, 408, 429: dropped, no retry */
    VERDICT_RETRY,         /* anything else */
};

enum verdict verdict_of_status(unsigned status);
/* 401 is final for an account that is permanently unavailable: from 4.3.8. */
bool verdict_gone_sender_rule(const struct mastodon_version *version);
/* Up to 4.5 an unsalvageable answer counts as the host's success; from 4.6 it is neither. */
bool verdict_unsalvageable_is_success(const struct mastodon_version *version);

#endif
