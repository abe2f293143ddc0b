#include "worker/version.h"

#include <ares.h>
#include <curl/curl.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <openssl/crypto.h>
#include <sodium.h>
#include <zlib.h>

static void put(struct buf *out, const char *library, const char *version)
{
    buf_printf(out, "  %-10s %s\n", library, version);
}

void version_print(struct buf *out)
{
    int postgres = PQlibVersion();

    buf_printf(out, "fedpush %s (for Mastodon 4.2 to 4.7)\n", FEDPUSH_VERSION);
    put(out, "libcurl", curl_version_info(CURLVERSION_NOW)->version);
    put(out, "c-ares", ares_version(NULL));
    put(out, "openssl", OpenSSL_version(OPENSSL_VERSION_STRING));
    put(out, "libevent", event_get_version());
    buf_printf(out, "  %-10s %d.%d\n", "libpq", postgres / 10000, postgres % 10000);
    buf_printf(out, "  %-10s %d.%d.%d\n", "hiredis", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
    put(out, "libsodium", sodium_version_string());
    put(out, "jansson", JANSSON_VERSION);
    put(out, "zlib", zlibVersion());
}
