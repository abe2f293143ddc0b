#include "worker/retry_after.h"

#include <string.h>
#include <time.h>

#include "base/message.h"

enum { SANE_DATE_S = 86400, MAX_RETRY_AFTER_S = MESSAGE_MAX_RETRY_AFTER_MS / 1000 };

/* What is left of the text; after something that isn't there it is bad for good. */
struct cursor {
    struct str rest;
    bool bad;
};

struct moment {
    int year, month /* 0..11 */, day, hour, minute, second;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool take(struct cursor *cursor, struct str literal)
{
    if (cursor->bad || !str_starts_with(cursor->rest, literal))
        cursor->bad = true;
    else
        cursor->rest = str_slice(cursor->rest, literal.len);
    return !cursor->bad;
}

static int take_number(struct cursor *cursor, size_t digits)
{
    int value = 0;

    if (cursor->bad || cursor->rest.len < digits)
        cursor->bad = true;
    for (size_t i = 0; !cursor->bad && i < digits; i++) {
        char c = cursor->rest.ptr[i];
        if (is_digit(c))
            value = value * 10 + (c - '0');
        else
            cursor->bad = true;
    }
    if (!cursor->bad)
        cursor->rest = str_slice(cursor->rest, digits);
    return value;
}

/* asctime's days below ten have a blank before them. */
static int take_padded_day(struct cursor *cursor)
{
    if (!cursor->bad && str_starts_with(cursor->rest, STR(" "))) {
        cursor->rest = str_slice(cursor->rest, 1);
        return take_number(cursor, 1);
    }
    return take_number(cursor, 2);
}

static int take_month(struct cursor *cursor)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    for (int month = 0; !cursor->bad && month < 12; month++) {
        struct str name = {names + (size_t)month * 3, 3};
        if (str_starts_with(cursor->rest, name)) {
            take(cursor, name);
            return month;
        }
    }
    cursor->bad = true;
    return 0;
}

static void take_time(struct cursor *cursor, struct moment *m)
{
    m->hour = take_number(cursor, 2);
    take(cursor, STR(":"));
    m->minute = take_number(cursor, 2);
    take(cursor, STR(":"));
    m->second = take_number(cursor, 2);
}

/* "Sun, " (IMF-fixdate), "Sunday, " (RFC 850) or "Sun " (asctime): a date's day says what its
 * weekday is. Returns the name's length. */
static size_t take_weekday(struct cursor *cursor, bool *comma)
{
    static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};
    size_t len = 0;

    while (len < cursor->rest.len && cursor->rest.ptr[len] != ',' && cursor->rest.ptr[len] != ' ')
        len++;
    struct str name = {cursor->rest.ptr, len};
    bool known = false;
    for (size_t i = 0; i < sizeof(days) / sizeof(days[0]); i++)
        known = known || str_equal(name, str_of(days[i])) ||
                (len == 3 && str_starts_with(str_of(days[i]), name));
    cursor->bad = cursor->bad || !known;
    cursor->rest = str_slice(cursor->rest, len);
    *comma = str_starts_with(cursor->rest, STR(","));
    if (*comma)
        take(cursor, STR(","));
    take(cursor, STR(" "));
    return len;
}

static int year_of(int64_t unix_s)
{
    time_t t = (time_t)unix_s;
    struct tm tm;

    return gmtime_r(&t, &tm) != NULL ? tm.tm_year + 1900 : 1970;
}

static int full_year(int two_digits, int64_t now_s)
{
    int this_year = year_of(now_s);
    int year = this_year - this_year % 100 + two_digits;

    return year > this_year + 50 ? year - 100 : year;
}

static bool is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Within 1900 to 9999; a leap second counts as the next one. */
static bool to_unix(const struct moment *m, int64_t *unix_s)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    static const int days_before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int leap = is_leap(m->year) ? 1 : 0;

    if (m->year < 1900 || m->day < 1 ||
        m->day > month_days[m->month] + (m->month == 1 ? leap : 0) || m->hour > 23 ||
        m->minute > 59 || m->second > 60)
        return false;
    int before = m->year - 1;
    int64_t days = (int64_t)before * 365 + before / 4 - before / 100 + before / 400 - 719162;
    days += days_before[m->month] + (m->month > 1 ? leap : 0) + m->day - 1;
    *unix_s = ((days * 24 + m->hour) * 60 + m->minute) * 60 + m->second;
    return true;
}

bool http_date_parse(struct str text, int64_t now_s, int64_t *unix_s)
{
    struct cursor cursor = {text, false};
    struct moment m = {0};
    bool comma;
    size_t weekday = take_weekday(&cursor, &comma);

    if (!comma) {
        m.month = take_month(&cursor);
        take(&cursor, STR(" "));
        m.day = take_padded_day(&cursor);
        take(&cursor, STR(" "));
        take_time(&cursor, &m);
        take(&cursor, STR(" "));
        m.year = take_number(&cursor, 4);
    } else {
        bool full = weekday == 3;
        struct str between = full ? STR(" ") : STR("-");
        m.day = take_number(&cursor, 2);
        take(&cursor, between);
        m.month = take_month(&cursor);
        take(&cursor, between);
        m.year = full ? take_number(&cursor, 4) : full_year(take_number(&cursor, 2), now_s);
        take(&cursor, STR(" "));
        take_time(&cursor, &m);
        take(&cursor, STR(" GMT"));
    }
    return !cursor.bad && cursor.rest.len == 0 && to_unix(&m, unix_s);
}

/* Digits only, however many. */
static bool parse_seconds(struct str text, int64_t *seconds)
{
    *seconds = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.ptr[i]))
            return false;
        if (*seconds <= MAX_RETRY_AFTER_S)
            *seconds = *seconds * 10 + (text.ptr[i] - '0');
    }
    return text.len > 0;
}

static int64_t server_now_s(struct str date, int64_t now_s)
{
    int64_t said_s;

    if (!http_date_parse(str_trim(date), now_s, &said_s) || said_s < now_s - SANE_DATE_S ||
        said_s > now_s + SANE_DATE_S)
        return now_s;
    return said_s;
}

uint32_t retry_after_ms(struct str value, struct str date, int64_t now_s)
{
    int64_t seconds;
    int64_t until_s;

    value = str_trim(value);
    if (!parse_seconds(value, &seconds)) {
        if (!http_date_parse(value, now_s, &until_s))
            return 0;
        seconds = until_s - server_now_s(date, now_s);
    }
    if (seconds <= 0)
        return 0;
    return (uint32_t)(seconds < MAX_RETRY_AFTER_S ? seconds : MAX_RETRY_AFTER_S) * 1000;
}
