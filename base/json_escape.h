/*
 * The "\u" escape of a JSON string, for the parser that checks it and the code that decodes it.
 */
#ifndef FEDPUSH_BASE_JSON_ESCAPE_H
#define FEDPUSH_BASE_JSON_ESCAPE_H

#include <stdbool.h>
#include <stdint.h>

/* Four hexadecimal digits; -1 when they aren't. */
int32_t json_hex4(const char *at, const char *end);
bool json_is_high_surrogate(int32_t unit);
bool json_is_low_surrogate(int32_t unit);

#endif
