/* Names of hosts in URLs, and of this machine in identities. */
#ifndef FEDPUSH_BASE_HOSTNAME_H
#define FEDPUSH_BASE_HOSTNAME_H

#include "base/str.h"

/*
 * Appends `host` with its labels as A-labels (UTS 46, non-transitional, by the library that
 * libcurl links), in lower case. ASCII input is only lower-cased. False: not convertible; the host
 * may then hold letters, digits, '-', '_', '.' and UTF-8 only. Needs the locale C.UTF-8 for hosts
 * that aren't ASCII.
 */
bool hostname_to_ascii(struct str host, struct buf *out) FP_MUST_CHECK;

bool hostname_is_ascii(struct str host);

/* Appends `text` with A to Z in lower case. */
void hostname_put_lower(struct buf *out, struct str text);

/* Appends a machine's name as its identities begin: at most HOSTNAME_MACHINE_BYTES of it, '-' for
 * what would need quoting, "localhost" for "". */
enum { HOSTNAME_MACHINE_BYTES = 64 };
void hostname_put_machine(struct buf *out, const char *name);

#endif
