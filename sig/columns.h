/*
 * What Mastodon's database has of the columns that the signer reads, which of them this role may
 * read, and the statement for it. They differ by release: accounts.id_scheme came with 4.5,
 * accounts.requested_deletion_at and keypairs.local_fragment with 4.7. The table `keypairs` of 4.6,
 * without local_fragment, has keys of remote actors only and is not looked at. Pure: SQL goes out,
 * results come in.
 */
#ifndef FEDPUSH_SIG_COLUMNS_H
#define FEDPUSH_SIG_COLUMNS_H

#include <libpq-fe.h>

#include "sig/account.h"

enum { COLUMNS_MAX_SQL_BYTES = 4096, COLUMNS_MAX_REMEDY_BYTES = 1024, COLUMNS_COUNT = 15 };

struct columns {
    bool exists[COLUMNS_COUNT];
    bool readable[COLUMNS_COUNT];
    bool keypairs; /* keypairs.local_fragment: local keys may stand there */
};

/* Appends the statement, without parameters, whose result the next two take. */
void columns_put_detect_sql(struct buf *sql);
void columns_read(struct columns *columns, const PGresult *result);
/* True: all that is needed is there and may be read. Else *remedy, of COLUMNS_MAX_REMEDY_BYTES,
 * says what to do: the GRANTs for all columns of each table where a right is missing. */
bool columns_usable(const struct columns *columns, const PGresult *result,
                    struct buf *remedy) FP_MUST_CHECK;

/*
 * Appends the start of a statement that reads accounts (as `a`); a WHERE goes behind it. Where
 * there are keypairs, the row that Mastodon signs with comes along: of type RSA, neither revoked
 * nor expired, the lowest id. One statement is one snapshot: a key that moves from one table to the
 * other meanwhile is seen in one of them.
 */
void columns_put_select_sql(const struct columns *columns, struct buf *sql);
/* Appends a statement that counts local accounts with a key, and those without. */
void columns_put_count_sql(const struct columns *columns, struct buf *sql);
/* Row `i` of its result; slices borrow the result. False: it is none. */
bool columns_row(const PGresult *result, int i, struct account_row *row) FP_MUST_CHECK;

#endif
