#include "worker/version.h"

#include <ares.h>
#include <curl/curl.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <openssl/crypto.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "admin/words.h"

struct library {
    const char *name;
    char version[64];
};
enum { LIBRARIES = 9 };

static void look(struct library libraries[LIBRARIES])
{
    int postgres = PQlibVersion();
    const char *const plain[][2] = {
        {"libcurl", curl_version_info(CURLVERSION_NOW)->version},
        {"c-ares", ares_version(NULL)},
        {"openssl", OpenSSL_version(OPENSSL_VERSION_STRING)},
        {"libevent", event_get_version()},
        {"libpq", NULL},
        {"hiredis", NULL},
        {"libsodium", sodium_version_string()},
        {"jansson", JANSSON_VERSION},
        {"zlib", zlibVersion()},
    };

    for (size_t i = 0; i < LIBRARIES; i++) {
        struct library *library = &libraries[i];
        library->name = plain[i][0];
        if (strcmp(library->name, "libpq") == 0)
            snprintf(library->version, sizeof(library->version), "%d.%d", postgres / 10000,
                     postgres % 10000);
        else if (strcmp(library->name, "hiredis") == 0)
            snprintf(library->version, sizeof(library->version), "%d.%d.%d", HIREDIS_MAJOR,
                     HIREDIS_MINOR, HIREDIS_PATCH);
        else
            snprintf(library->version, sizeof(library->version), "%s", plain[i][1]);
    }
}

void version_print(struct buf *out)
{
    struct library libraries[LIBRARIES];

    look(libraries);
    buf_printf(out, "fedpush %s (for Mastodon 4.2 to 4.7)\n", FEDPUSH_VERSION);
    for (size_t i = 0; i < LIBRARIES; i++)
        buf_printf(out, "  %-10s %s\n", libraries[i].name, libraries[i].version);
}

void version_print_json(void)
{
    struct library libraries[LIBRARIES];
    json_t *found = json_object();

    look(libraries);
    for (size_t i = 0; i < LIBRARIES; i++)
        json_object_set_new(found, libraries[i].name, json_string(libraries[i].version));
    json_t *all = json_pack("{s:s, s:o}", "fedpush", FEDPUSH_VERSION, "libraries", found);
    words_print_json(all);
    json_decref(all);
}
