/*
 * What `fedpush status --json` prints: one object, whose members are there from version to version.
 * A member is null where it could not be asked, as one of `lines` tells.
 *
 *  grade     "ok", "warn" or "FAIL": the worst of the lines (exit codes 0, 1, 2)
 *  lines     what `status` prints: [{grade, subject, text}]
 *  redis     {address, version}
 *  machines  [{identity, alive, beat_age_s, held, listed}]; listed: in Sidekiq's `processes`
 *  sidekiq   {version, found}; found: how it is known
 *  queues    [{name, length, oldest_age_s}], those that fedpush takes from
 *  later     {retry, schedule, dead}
 *  handoff   [{queue, length, consumers}]
 *  ledger    {fleet, machine}, each {claimed, outcomes: {WORD: count}, held, missing};
 *            machine: null where none of this host has counted yet
 *  health    {last_written_age_s}, null inside: nothing written yet
 */
#ifndef FEDPUSH_ADMIN_STATUS_JSON_H
#define FEDPUSH_ADMIN_STATUS_JSON_H

#include <jansson.h>

#include "admin/balance.h"
#include "admin/report.h"

/* With all members, null as yet; json_decref it. */
json_t *status_json_create(void);
/* redis, machines, sidekiq, queues, later, handoff. */
void status_json_survey(json_t *root, const struct survey *survey, const struct redis *redis,
                        const struct config *config);
void status_json_balances(json_t *root, const struct balances *balances);
/* `age_s`: NULL where nothing was written yet. */
void status_json_health(json_t *root, const double *age_s);
/* Sets grade and lines, and prints it. */
void status_json_print(json_t *root, const struct report *report);

#endif
