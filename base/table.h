/*
 * A hash table from byte strings to pointers. Keyed hashing (SipHash), so that strangers who
 * choose host names cannot choose collisions. Keys are borrowed: they must live in, or as long
 * as, the value. Values are the caller's.
 */
#ifndef FEDPUSH_BASE_TABLE_H
#define FEDPUSH_BASE_TABLE_H

#include "base/str.h"

struct table;

struct table *table_create(void);        /* call sodium_init first */
void table_destroy(struct table *table); /* NULL is fine; frees no key and no value */
size_t table_count(const struct table *table);
void *table_get(const struct table *table, struct str key); /* NULL when absent */
/* Adds, or replaces key and value; returns the value that was there before, or NULL. */
void *table_put(struct table *table, struct str key, void *value);
void *table_remove(struct table *table, struct str key); /* the removed value, or NULL */
/*
 * Iteration: `size_t at = 0; while ((v = table_next(t, &at)) != NULL) …`. Removing the entry just
 * returned is allowed; any other change is not.
 */
void *table_next(const struct table *table, size_t *at);

/* 64-bit keys: the slice borrows *id. */
static inline struct str table_key_u64(const uint64_t *id)
{
    return (struct str){(const char *)id, sizeof(*id)};
}

#endif
