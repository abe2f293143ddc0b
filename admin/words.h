/* What the commands have in common on the command line and on paper. */
#ifndef FEDPUSH_ADMIN_WORDS_H
#define FEDPUSH_ADMIN_WORDS_H

#include "base/str.h"

/* True when `name` is among the words. */
bool words_has(int argc, char **argv, const char *name);
/* One line to standard error; returns FP_EXIT_USAGE. */
int words_unknown(const char *command, const char *word);
/* Text that strangers wrote, for a terminal: control bytes and what isn't UTF-8 become '?'; at most
 * `columns` characters. Appends. */
void words_put_safe(struct buf *out, struct str text, size_t columns);
/* "3 s", "4 min", "2 h", "5 d". Appends. */
void words_put_age(struct buf *out, double seconds);

#endif
