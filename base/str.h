/*
 * Text and bytes. `struct str` is a borrowed slice, passed by value; it is not NUL-terminated.
 * `struct buf` is an owned, bounded, growing buffer: what doesn't fit sets a sticky `overflow`
 * that is checked once, at the end. Out of memory aborts (the supervisor restarts the process).
 */
#ifndef FEDPUSH_BASE_STR_H
#define FEDPUSH_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

struct str {
    const char *ptr;
    size_t len;
};

/* A string literal as a slice. */
#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NULL ((struct str){NULL, 0})
/* For printf's "%.*s". */
#define STR_ARG(s) (int)(s).len, ((s).ptr != NULL ? (s).ptr : "")

struct str str_of(const char *text); /* borrows; NULL gives an empty slice */
bool str_equal(struct str a, struct str b);
bool str_equal_nocase(struct str a, struct str b); /* ASCII only */
bool str_starts_with(struct str s, struct str prefix);
bool str_ends_with(struct str s, struct str suffix);
struct str str_trim(struct str s);                /* ASCII blanks at both ends */
struct str str_slice(struct str s, size_t start); /* from start on; start may exceed len */
/* Offset of the first `c`, or s.len. */
size_t str_find(struct str s, char c);
/* A NUL-terminated copy; free() it. Never NULL. */
char *str_dup(struct str s);
/* Decimal digits with an optional leading '-', nothing else, in [min, max]. */
bool str_to_i64(struct str s, int64_t min, int64_t max, int64_t *out) FP_MUST_CHECK;
/* The byte that the two hexadecimal digits at `at` make; -1: there are no two. */
int str_hex_byte(struct str s, size_t at);

/* malloc and friends that abort instead of returning NULL. free() what they give. */
void *mem_alloc(size_t size); /* zeroed */
void *mem_realloc(void *ptr, size_t size);
char *mem_printf(const char *format, ...) FP_PRINTF(1, 2);

struct buf {
    char *ptr;
    size_t len;
    size_t capacity_bytes;
    size_t max_bytes;
    bool overflow; /* sticky: something did not fit into max_bytes and was left out whole */
};

void buf_init(struct buf *b, size_t max_bytes); /* allocates nothing yet */
void buf_clear(struct buf *b);                  /* frees; the buffer may be used again */
void buf_reset(struct buf *b);                  /* keeps the memory, empties it, clears overflow */
void buf_put(struct buf *b, const void *bytes, size_t len);
void buf_put_str(struct buf *b, struct str s);
void buf_put_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) FP_PRINTF(2, 3);
struct str buf_str(const struct buf *b); /* borrowed until the next change */
/* NUL-terminates behind len (not counted in len) and returns the text; "" when empty. */
const char *buf_cstr(struct buf *b);

#endif
