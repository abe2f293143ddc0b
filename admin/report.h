/* Lines for people: `ok`, `warn` or `FAIL`, what, and on bad lines what to do. */
#ifndef FEDPUSH_ADMIN_REPORT_H
#define FEDPUSH_ADMIN_REPORT_H

#include <stdbool.h>

#include "base/attr.h"

enum grade { GRADE_OK = 0, GRADE_WARN, GRADE_FAIL };
extern const char *const report_grades[]; /* as the lines have them */

struct json_t; /* jansson's, which doesn't go together with base/json.h */
struct report {
    enum grade worst;
    struct json_t
        *lines; /* an array: they are added to it, as {grade, subject, text}; NULL: printed */
};

/* "ok    Redis     7.0.15 at redis://…" ; the detail of a bad line ends in the remedy. */
void report_line(struct report *report, enum grade grade, const char *subject, const char *format,
                 ...) FP_PRINTF(4, 5);

/* An empty array for `lines`. */
struct json_t *report_lines_create(void);
/* {works, grade, lines}, for programs. Frees the lines. */
void report_print_json(struct report *report, bool works);

#endif
