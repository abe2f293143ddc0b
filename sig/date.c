#include "sig/date.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const int64_t last_second = 253402300799; /* 9999-12-31 23:59:59 */

void date_format(int64_t unix_s, char out[DATE_BYTES])
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    char text[64];
    struct tm tm;

    if (unix_s < 0)
        unix_s = 0;
    if (unix_s > last_second)
        unix_s = last_second;
    time_t t = (time_t)unix_s;
    gmtime_r(&t, &tm);
    snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
             tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(out, text, DATE_BYTES);
}
