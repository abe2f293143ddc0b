/* What the list of domains and the view of one have in common. */
#ifndef FEDPUSH_ADMIN_FIGURES_DOMAINS_H
#define FEDPUSH_ADMIN_FIGURES_DOMAINS_H

#include <jansson.h>

#include "admin/domain_table.h"

/* A new object: a host's item of the list. */
json_t *figures_domain_item(const struct desk *desk, const struct domain_table *table,
                            const struct domain_row *row);
/* The same of a host when PostgreSQL can't be read: all of it but the orders is null. */
json_t *figures_domain_unknown(struct str host);
/* Sets its orders: as words, and as sentences. */
void figures_set_policy(json_t *item, const struct policy *policy, int64_t now_s);

#endif
