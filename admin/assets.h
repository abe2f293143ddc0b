/*
 * What the browser gets: the files of admin/page and uPlot's, made part of the program by the
 * build (admin/assets.cmake), so that the page needs no file and no other host.
 */
#ifndef FEDPUSH_ADMIN_ASSETS_H
#define FEDPUSH_ADMIN_ASSETS_H

#include "base/str.h"

struct asset {
    const char *path, *content_type; /* "index.html", "text/html; charset=utf-8" */
    const char *etag;                /* with its quotes; changes with the bytes */
    const unsigned char *bytes;
    size_t len;
};

/* NULL: there is none of that name. `path` has no leading slash; "" is index.html. */
const struct asset *asset_find(struct str path);

/* All of them, sorted by path; what asset_find looks into. */
extern const struct asset assets[];
extern const size_t assets_count;

#endif
