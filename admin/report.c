#include "admin/report.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/words.h"

enum { MAX_LINE = 4096 };

const char *const report_grades[] = {"ok", "warn", "FAIL"};

/* Parts of a line may be strangers' words, which need not be UTF-8. */
static json_t *line_of(enum grade grade, const char *subject, const char *text)
{
    struct buf safe;

    buf_init(&safe, 4 * MAX_LINE + 1);
    words_put_safe(&safe, str_of(text), MAX_LINE);
    json_t *line = json_pack("{s:s, s:s, s:s}", "grade", report_grades[grade], "subject", subject,
                             "text", buf_cstr(&safe));
    buf_clear(&safe);
    return line;
}

void report_line(struct report *report, enum grade grade, const char *subject, const char *format,
                 ...)
{
    char *text;
    va_list args;

    if (grade > report->worst)
        report->worst = grade;
    va_start(args, format);
    if (vasprintf(&text, format, args) == -1)
        abort();
    va_end(args);
    if (report->lines != NULL)
        json_array_append_new(report->lines, line_of(grade, subject, text));
    else
        printf("%-5s %-12s %s\n", report_grades[grade], subject, text);
    free(text);
}
