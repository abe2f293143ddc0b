/*
 * The CAs remote hosts are verified against: parsed once, one X509_STORE shared by all connections
 * of the process. (libcurl's own loading costs 17 ms and 880 KB for each connection with Debian's
 * CA directory.)
 */
#ifndef FEDPUSH_WORKER_TRUST_H
#define FEDPUSH_WORKER_TRUST_H

#include <openssl/x509_vfy.h>

#include "base/err.h"
#include "base/str.h"

/* ca_file: a PEM bundle; empty: the system's default locations. NULL with err filled when nothing
 * usable is there. */
X509_STORE *trust_store_create(struct str ca_file, struct err *err);
void trust_store_destroy(X509_STORE *store); /* NULL is fine */

#endif
