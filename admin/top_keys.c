#include "admin/top_keys.h"

#include <string.h>

static void set_filter(struct top_keys *keys, size_t len)
{
    keys->filter[len] = '\0';
    keys->view->filter = (struct str){keys->filter, len};
    keys->view->offset = 0;
}

/* While the filter is typed. */
static enum top_wish type(struct top_keys *keys, char c)
{
    size_t len = keys->view->filter.len;

    if (c == '\r' || c == '\n') {
        keys->view->typing = false;
        return TOP_DRAW;
    }
    if (c == 0x1b) {
        keys->view->typing = false;
        set_filter(keys, 0);
    } else if ((c == 0x7f || c == '\b') && len > 0) {
        set_filter(keys, len - 1);
    } else if (c > ' ' && c < 0x7f && len < TOP_FILTER_BYTES) {
        keys->filter[len] = c;
        set_filter(keys, len + 1);
    } else {
        return TOP_NOTHING;
    }
    return TOP_ASK;
}

static enum top_wish scroll(struct top_view *view, int64_t by)
{
    int64_t before = view->offset;

    if (view->order == TOP_BOTH)
        return TOP_NOTHING;
    view->offset = view->offset + by > 0 ? view->offset + by : 0;
    return view->offset != before ? TOP_ASK : TOP_NOTHING;
}

static enum top_wish next_order(struct top_view *view, int by)
{
    view->order = (enum top_order)(((int)view->order + by + TOP_ORDERS) % TOP_ORDERS);
    view->offset = 0;
    return TOP_ASK;
}

static enum top_wish press(struct top_keys *keys, char c)
{
    struct top_view *view = keys->view;

    switch (c) {
    case 'q':
        return TOP_QUIT;
    case 'p':
        view->held = !view->held;
        return TOP_ASK;
    case 's':
        return next_order(view, 1);
    case '/':
        view->typing = true;
        return TOP_DRAW;
    case '\x0c': /* Ctrl-L */
        return TOP_DRAW;
    default:
        return TOP_NOTHING;
    }
}

static const struct special {
    const char *bytes;
    int pages, lines, orders;
} specials[] = {{"\x1b[A", 0, -1, 0}, {"\x1bOA", 0, -1, 0}, {"\x1b[B", 0, 1, 0},
                {"\x1bOB", 0, 1, 0},  {"\x1b[C", 0, 0, 1},  {"\x1bOC", 0, 0, 1},
                {"\x1b[D", 0, 0, -1}, {"\x1bOD", 0, 0, -1}, {"\x1b[5~", -1, 0, 0},
                {"\x1b[6~", 1, 0, 0}};

/* A key that sends several bytes, or NULL. */
static const struct special *find_special(struct str bytes)
{
    for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
        if (str_starts_with(bytes, str_of(specials[i].bytes)))
            return &specials[i];
    }
    return NULL;
}

enum top_wish top_keys_take(struct top_keys *keys, struct str bytes, int64_t page)
{
    enum top_wish most = TOP_NOTHING;

    while (bytes.len > 0 && most != TOP_QUIT) {
        const struct special *special = find_special(bytes);
        enum top_wish wish = TOP_NOTHING;
        if (special == NULL)
            wish = keys->view->typing ? type(keys, bytes.ptr[0]) : press(keys, bytes.ptr[0]);
        else if (special->orders != 0)
            wish = next_order(keys->view, special->orders);
        else
            wish = scroll(keys->view, special->lines + special->pages * page);
        bytes = str_slice(bytes, special != NULL ? strlen(special->bytes) : 1);
        most = wish > most ? wish : most;
    }
    return most;
}
