/*
 * Files that the roles read: whether FEDPUSH_USER may.
 */
#ifndef FEDPUSH_ADMIN_FILES_H
#define FEDPUSH_ADMIN_FILES_H

#include "admin/report.h"
#include "base/config.h"

/* One line for each file of FEDPUSH_REDIS_* that is set and can't be read; none when all is well.
 * Asks as the user that `run` becomes when root starts it. */
void files_check(struct report *report, const struct config *config);

#endif
