/*
 * The head of an answer, line by line as libcurl hands it over: bounded, and of what it says only
 * what somebody asks for is kept. Interim answers (1xx) count for the bounds and are forgotten.
 */
#ifndef FEDPUSH_WORKER_HEAD_H
#define FEDPUSH_WORKER_HEAD_H

#include "base/str.h"

enum { HEAD_MAX_BYTES = 64 * 1024, HEAD_MAX_LINES = 200, HEAD_SHORT_BYTES = 64 };

/* A field that is longer than any form it may have is as good as none. */
struct head_field {
    size_t len;
    char text[HEAD_SHORT_BYTES];
};

struct head {
    bool keep; /* the whole text, for a tool */
    size_t bytes;
    unsigned lines;
    struct head_field date;
    struct head_field retry_after;
    struct buf location;
    struct buf text;
};

void head_init(struct head *head, bool keep); /* allocates nothing yet */
void head_clear(struct head *head);
/* With its line end. False: too much, nothing more is read. */
bool head_add(struct head *head, struct str line) FP_MUST_CHECK;
struct str head_field(const struct head_field *field); /* borrows; empty: there was none */

#endif
