/*
 * The files that the browser gets: part of the binary.
 */
#ifndef FEDPUSH_ADMIN_ASSETS_H
#define FEDPUSH_ADMIN_ASSETS_H

#include "base/str.h"

struct asset {
    const char *path; /* "index.html" */
    const char *content_type;
    const char *etag; /* with its quotes */
    const unsigned char *bytes;
    size_t len;
};

/* NULL: there is none of that path. */
const struct asset *asset_find(struct str path);

#endif
