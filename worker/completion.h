/*
 * `fedpush completion SHELL`: what a shell needs to complete commands, actions and options, made
 * from the help texts (worker/usage.h).
 */
#ifndef FEDPUSH_WORKER_COMPLETION_H
#define FEDPUSH_WORKER_COMPLETION_H

#include "base/str.h"

/* Appends the script for "bash", "zsh" or "fish". False: another shell. */
bool completion_put(struct buf *out, struct str shell) FP_MUST_CHECK;

#endif
