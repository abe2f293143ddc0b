#include "admin/assets.h"

#include <stdlib.h>
#include <string.h>

/* In the order of strcmp, as the build sorts the table; a NUL within `path` is one more byte. */
static int by_path(const void *key, const void *member)
{
    const struct str *path = key;
    struct str name = str_of(((const struct asset *)member)->path);
    int order = memcmp(path->ptr, name.ptr, path->len < name.len ? path->len : name.len);
    return order != 0 ? order : (path->len > name.len) - (path->len < name.len);
}

const struct asset *asset_find(struct str path)
{
    struct str wanted = path.len == 0 ? STR("index.html") : path;
    return bsearch(&wanted, assets, assets_count, sizeof assets[0], by_path);
}
