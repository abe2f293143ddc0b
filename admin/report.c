#include "admin/report.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>

#include "admin/words.h"

const char *const report_grades[] = {"ok", "warn", "FAIL"};

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
        json_array_append_new(report->lines,
                              json_pack("{s:s, s:s, s:o}", "grade", report_grades[grade], "subject",
                                        subject, "text", words_json(str_of(text))));
    else
        words_print(stdout, "%-5s %-12s %s", report_grades[grade], subject, text);
    free(text);
}

json_t *report_lines_create(void)
{
    return json_array();
}

void report_print_json(struct report *report, bool works)
{
    json_t *all = json_pack("{s:b, s:s, s:o}", "works", (int)works, "grade",
                            report_grades[report->worst], "lines", report->lines);

    words_print_json(all);
    json_decref(all);
    report->lines = NULL;
}
