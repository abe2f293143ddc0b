#include "admin/report.h"

#include <stdarg.h>
#include <stdio.h>

void report_line(struct report *report, enum grade grade, const char *subject, const char *format,
                 ...)
{
    static const char *const grades[] = {"ok", "warn", "FAIL"};
    va_list args;

    if (grade > report->worst)
        report->worst = grade;
    printf("%-5s %-12s ", grades[grade], subject);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}
