#include "worker/trust.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <unistd.h>

/* Debian's bundle in one file: one parse, no look-up by hash in a directory while a handshake
 * waits. */
static const char system_bundle[] = "/etc/ssl/certs/ca-certificates.crt";

X509_STORE *trust_store_create(struct str ca_file, struct err *err)
{
    X509_STORE *store = X509_STORE_new();
    char *file = str_dup(ca_file.len > 0 ? ca_file : str_of(system_bundle));
    bool loaded;

    if (store == NULL)
        abort();
    if (ca_file.len == 0 && access(file, R_OK) != 0)
        loaded = X509_STORE_set_default_paths(store) == 1;
    else
        loaded = X509_STORE_load_file(store, file) == 1;
    ERR_clear_error();
    if (!loaded) {
        err_set(err, FP_INVALID, "%s: no CA certificates can be read from %s",
                ca_file.len > 0 ? "FEDPUSH_CA_FILE" : "the system's CA store", file);
        X509_STORE_free(store);
        store = NULL;
    }
    free(file);
    return store;
}

void trust_store_destroy(X509_STORE *store)
{
    X509_STORE_free(store);
}
