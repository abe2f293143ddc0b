/*
 * Text from strangers, made fit for PostgreSQL's `text`: no NUL, valid UTF-8.
 */
#ifndef FEDPUSH_BASE_UTF8_H
#define FEDPUSH_BASE_UTF8_H

#include "base/str.h"

/* Length in bytes (1..4) of the well-formed UTF-8 sequence that `s` starts with; 0: none.
 * Surrogates, overlong forms and what lies above U+10FFFF are not well-formed. */
size_t utf8_sequence(struct str s);
/* Appends `text`, each NUL or ill-formed byte as U+FFFD. What doesn't fit into max_bytes is cut at
 * a character. */
void utf8_put_clean(struct buf *out, struct str text, size_t max_bytes);

#endif
