/* What the commands have in common on the command line and on paper. */
#ifndef FEDPUSH_ADMIN_WORDS_H
#define FEDPUSH_ADMIN_WORDS_H

#include <stdio.h>

#include "base/phrase.h"

struct json_t; /* jansson's, which doesn't go together with base/json.h */

/* True when `name` is among the words. */
bool words_has(int argc, char **argv, const char *name);
/* One line to standard error; returns FP_EXIT_USAGE. */
int words_unknown(const char *command, const char *word);
/* The same, and of any message, for programs, too: as words_result says it. */
int words_unknown_to(bool as_json, const char *command, const char *word);
int words_usage(bool as_json, const char *message);
/* One line to `file`, whatever its parts hold: made harmless for a terminal (base/escape.h). */
void words_line(FILE *file, struct str text);
void words_print(FILE *file, const char *format, ...) FP_PRINTF(2, 3);
/* The same of several lines, and of one that is answered: no end of line, and shown at once. */
void words_text(FILE *file, struct str text);
void words_ask(const char *format, ...) FP_PRINTF(1, 2);
/* To standard output, as it is: what base/escape.h or a writer of JSON has made whole already. */
void words_made(struct str text);
/* What a program reads, and an end of line. */
void words_print_json(const struct json_t *value);
/* What an order has done, lines: as they are, or as {ok, text, error} for programs; an error is
 * said on standard error, too. `err` NULL: all went well. Returns the exit code that belongs to it.
 */
struct err;
int words_result(bool as_json, struct str said, const struct err *err);
/* The same, with {complete}: false, when part of what was meant is left out, as the lines say. */
int words_result_of(bool as_json, struct str said, bool complete, const struct err *err);
/* Text that strangers wrote as a string of JSON; *a new reference*. */
struct json_t *words_json(struct str text);
struct json_t *words_json_lines(struct str text); /* the same, but that its lines stay lines */
/* *A new reference*: the sentences as a list of objects (base/phrase.h). */
struct json_t *words_json_said(const struct said *said);
/* What has been done, for the API: {ok, text, says}. */
struct json_t *words_json_done(const struct said *said);
/* Appends `text` as escape_put does for a terminal, cut or filled with blanks to `columns`. */
void words_put_cell(struct buf *out, struct str text, size_t columns);
/* "3 s", "4 min", "2 h", "5 d". Appends. */
static inline void words_put_age(struct buf *out, double seconds)
{
    phrase_put_age(out, seconds);
}

#endif
