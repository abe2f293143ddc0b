/* In one sentence whether what waits for a host is being sent. */
#ifndef FEDPUSH_ADMIN_VERDICT_H
#define FEDPUSH_ADMIN_VERDICT_H

#include "admin/orders.h"

/* What the machines say counts where no order, and not Mastodon, holds all of it back.
 * `unavailable`: Mastodon has marked the host; `live`: a machine runs. */
enum phrase verdict_of(const struct orders *orders, struct str host, bool unavailable, bool live);

#endif
