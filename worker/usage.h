/*
 * The commands as a person sees them: names, synopses and help texts.
 */
#ifndef FEDPUSH_WORKER_USAGE_H
#define FEDPUSH_WORKER_USAGE_H

#include <stddef.h>

#include "base/str.h"

enum command_name {
    COMMAND_RUN = 0,
    COMMAND_CHECK,
    COMMAND_SETUP,
    COMMAND_STATUS,
    COMMAND_STATS,
    COMMAND_TOP,
    COMMAND_PAUSE,
    COMMAND_RESUME,
    COMMAND_DRAIN,
    COMMAND_DOMAIN,
    COMMAND_JOBS,
    COMMAND_TRACE,
    COMMAND_ALERT,
    COMMAND_REHEARSE,
    COMMAND_DELIVER,
    COMMAND_HANDBACK,
    COMMAND_PASSWORD,
    COMMAND_TOKEN,
    COMMAND_COMPLETION,
    COMMAND_MANUAL,
    COMMAND_VERSION,
    COMMAND_COUNT,
};

struct command_usage {
    const char *name;
    const char *arguments;
    const char *summary; /* one line without a full stop */
    /* Lines; an action stands behind two blanks at the beginning of one. */
    const char *details;
};
const struct command_usage *usage_of(enum command_name command);
/* COMMAND_COUNT: there is none of that name. */
enum command_name usage_find(struct str name);

/* These append. `fedpush --help`: */
void usage_overview(struct buf *out);
/* `fedpush COMMAND --help`; that of `run` lists the variables too. */
void usage_command(struct buf *out, enum command_name command);

#endif
