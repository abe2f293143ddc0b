/*
 * `fedpush deliver`: one delivery by hand, to see what is sent and what comes back. An admin's
 * tool: it reads the account's key itself, in one process, and wipes it afterwards.
 */
#ifndef FEDPUSH_WORKER_DELIVER_H
#define FEDPUSH_WORKER_DELIVER_H

#include "base/config.h"

int command_deliver(const struct config *config, int argc, char **argv);

#endif
