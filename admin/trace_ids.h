/*
 * What an activity may be called: the address that an admin has at hand (an activity's id, a post's
 * id, or the page of a post) as ids of activities. Pure.
 */
#ifndef FEDPUSH_ADMIN_TRACE_IDS_H
#define FEDPUSH_ADMIN_TRACE_IDS_H

#include "base/err.h"
#include "base/str.h"

enum { TRACE_MAX_IDS = 4 };

struct trace_ids {
    size_t count;
    char *ids[TRACE_MAX_IDS];
    struct str username; /* of https://DOMAIN/@USERNAME/NUMBER, else empty; borrows the text */
    struct str number;
};

/*
 * "https://d/users/u/statuses/1" gives itself and ".../activity"; "https://d/@u/1" the same of
 * "https://d/users/u/statuses/1". FP_INVALID: no such address. trace_ids_clear in any case.
 */
enum fp_err trace_ids_init(struct trace_ids *ids, struct str text, struct err *err) FP_MUST_CHECK;
void trace_ids_clear(struct trace_ids *ids);
/* When it was made, Unix, of an id that tells: Mastodon's own since 2016; 0: it doesn't. */
int64_t trace_ids_born_ms(const struct trace_ids *ids, int64_t now_ms);
/* A post's page says nothing of its account's number, which newer ids have: adds these. */
void trace_ids_add_account(struct trace_ids *ids, struct str text, struct str account);

#endif
