/*
 * What keys do to the view of `fedpush top`. Pure.
 */
#ifndef FEDPUSH_ADMIN_TOP_KEYS_H
#define FEDPUSH_ADMIN_TOP_KEYS_H

#include "admin/top_view.h"

enum { TOP_FILTER_BYTES = 100 };

struct top_keys {
    struct top_view *view;
    char filter[TOP_FILTER_BYTES + 1]; /* what view->filter borrows */
};

enum top_wish {
    TOP_NOTHING = 0,
    TOP_DRAW, /* the same figures */
    TOP_ASK,  /* other hosts */
    TOP_QUIT
};

/* The bytes of one read from a terminal; `page`: hosts that a page has. The most that they wish. */
enum top_wish top_keys_take(struct top_keys *keys, struct str bytes, int64_t page);

#endif
