/*
 * A trial on paper: lines for people, an object for programs. Signatures are cut, so that what is
 * shown around can't be used.
 */
#ifndef FEDPUSH_WORKER_TRIAL_SHOW_H
#define FEDPUSH_WORKER_TRIAL_SHOW_H

#include "base/config.h"
#include "worker/trial.h"

void trial_print(const struct trial *trial, const struct config *config);
/* Appends it as a JSON object. */
void trial_put_json(struct buf *out, const struct trial *trial, const struct config *config);

#endif
