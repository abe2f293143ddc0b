/*
 * What `fedpush check` says of the signer's database: its rights, the keys there are, and whether
 * what is encrypted can be read. Counts only: no key leaves the database for a check.
 */
#ifndef FEDPUSH_ADMIN_SIGNER_CHECK_H
#define FEDPUSH_ADMIN_SIGNER_CHECK_H

#include "admin/report.h"
#include "admin/session.h"

void signer_check(struct report *report, struct session *session);

#endif
