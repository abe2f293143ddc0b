/* What the list of domains and the view of one have in common. */
#ifndef FEDPUSH_ADMIN_FIGURES_DOMAINS_H
#define FEDPUSH_ADMIN_FIGURES_DOMAINS_H

#include <jansson.h>

#include "admin/domain_table.h"

/* A new object: a host's item of the list. */
json_t *figures_domain_item(const struct desk *desk, const struct domain_table *table,
                            const struct domain_row *row);

#endif
