/* The Date header: IMF-fixdate of RFC 9110, in English and GMT whatever the locale is. */
#ifndef FEDPUSH_SIG_DATE_H
#define FEDPUSH_SIG_DATE_H

#include <stdint.h>

enum { DATE_BYTES = 29 + 1 }; /* "Sun, 06 Nov 1994 08:49:37 GMT" and the NUL */

/* `unix_s`: years 1970 to 9999; a time outside is clamped to them. */
void date_format(int64_t unix_s, char out[DATE_BYTES]);

#endif
