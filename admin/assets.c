#include "admin/assets.h"

static const char index_html[] = "<!doctype html>\n<html lang=\"en\"><title>fedpush</title>\n";

const struct asset *asset_find(struct str path)
{
    static const struct asset page = {
        .path = "index.html",
        .content_type = "text/html; charset=utf-8",
        .etag = "\"0\"",
        .bytes = (const unsigned char *)index_html,
        .len = sizeof(index_html) - 1,
    };

    return str_equal(path, str_of(page.path)) ? &page : NULL;
}
