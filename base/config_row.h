/*
 * The table of the configuration: a row for each member of struct config. config.c fills the rows
 * from Mastodon's variables and fedpush's; a role gets its share of them from the supervisor.
 */
#ifndef FEDPUSH_BASE_CONFIG_ROW_H
#define FEDPUSH_BASE_CONFIG_ROW_H

#include "base/config.h"

enum config_row_type {
    ROW_TEXT = 0, /* char * */
    ROW_INT,      /* int */
    ROW_INT64,    /* int64_t */
    ROW_TRUE,     /* bool: whether the text is exactly "true", as Mastodon reads it */
    ROW_SWITCH,   /* bool: "true" or "false" */
    ROW_LEVEL,    /* enum log_level */
    ROW_VERSION,  /* struct mastodon_version */
};

struct config_row {
    const char *name; /* the variable; of a derived value, what the wire calls it */
    size_t offset;    /* of the member in struct config */
    enum config_row_type type;
    bool derived; /* made of several variables, not read under its name */
    bool reloadable;
    bool empty_is_a_value; /* set to nothing is not its default */
    unsigned roles;        /* 1 << enum role of each that may see it */
    int64_t min, max;
    const char *otherwise; /* the default, as it would be written */
    const char *help;      /* with the unit; NULL: Mastodon's variable, or derived */
};

/* The rows in the order of `--help`; NULL behind the last. */
const struct config_row *config_row_at(size_t i);
/* False: `text` is nothing that this row accepts. */
bool config_row_set(struct config *config, const struct config_row *row,
                    struct str text) FP_MUST_CHECK;
/* Whether the row's value is the same in both; no text is the empty one. */
bool config_row_is_same(const struct config_row *row, const struct config *a,
                        const struct config *b);
/* Whether a variable is read under this name, by itself or for a derived value. */
bool config_is_known(const char *name);

#endif
