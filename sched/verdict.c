#include "sched/verdict.h"

enum verdict verdict_of_status(unsigned status)
{
    if (status >= 200 && status < 300)
        return VERDICT_DELIVERED;
    if (status == 401 || status == 408 || status == 429)
        return VERDICT_RETRY;
    if (status == 501 || (status >= 400 && status < 500))
        return VERDICT_UNSALVAGEABLE;
    return VERDICT_RETRY;
}

bool verdict_gone_sender_rule(const struct mastodon_version *version)
{
    return mastodon_version_compare(version, 4, 3, 8) >= 0;
}

bool verdict_unsalvageable_is_success(const struct mastodon_version *version)
{
    return mastodon_version_compare(version, 4, 6, 0) < 0;
}
