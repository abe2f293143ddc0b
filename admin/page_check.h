/*
 * What `fedpush check` says of the statistics page and of alerts: where it is, who may see it, and
 * whom alerts reach.
 */
#ifndef FEDPUSH_ADMIN_PAGE_CHECK_H
#define FEDPUSH_ADMIN_PAGE_CHECK_H

#include "admin/report.h"
#include "base/config.h"

void page_check(struct report *report, const struct config *config);

#endif
