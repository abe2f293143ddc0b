/* UTF-8 as Unicode defines it: no surrogates, no overlong forms, nothing above U+10FFFF. */
#ifndef FEDPUSH_BASE_UTF8_H
#define FEDPUSH_BASE_UTF8_H

#include "base/str.h"

/*
 * Length of the character that `text` (not empty) begins with. *valid false: the bytes are no
 * character; the length is that of the maximal part that a decoder replaces by one U+FFFD.
 */
size_t utf8_length(struct str text, bool *valid);
/* Writes code point `code` (at most 0x10FFFF, no surrogate) to out; returns the length. */
size_t utf8_encode(uint32_t code, char out[4]);
/* The longest start of `text` of at most `max` characters; an invalid part counts as one. */
struct str utf8_prefix(struct str text, size_t max);

#endif
