/* What the commands have in common on the command line and on paper. */
#ifndef FEDPUSH_ADMIN_WORDS_H
#define FEDPUSH_ADMIN_WORDS_H

#include <stdio.h>

#include "base/str.h"

struct json_t; /* jansson's, which doesn't go together with base/json.h */

/* True when `name` is among the words. */
bool words_has(int argc, char **argv, const char *name);
/* One line to standard error; returns FP_EXIT_USAGE. */
int words_unknown(const char *command, const char *word);
/* One line to `file`, whatever its parts hold: made harmless for a terminal (base/escape.h). */
void words_line(FILE *file, struct str text);
void words_print(FILE *file, const char *format, ...) FP_PRINTF(2, 3);
/* What a program reads, and an end of line. */
void words_print_json(const struct json_t *value);
/* Text that strangers wrote as a string of JSON; *a new reference*. */
struct json_t *words_json(struct str text);
/* Appends `text` as escape_put does for a terminal, cut or filled with blanks to `columns`. */
void words_put_cell(struct buf *out, struct str text, size_t columns);
/* "3 s", "4 min", "2 h", "5 d". Appends. */
void words_put_age(struct buf *out, double seconds);

#endif
