#include "admin/trace_ids.h"

#include <stdlib.h>
#include <string.h>

#include "base/url.h"
#include "base/utf8.h"

/* Mastodon's numbers of posts begin with their time (lib/mastodon/snowflake.rb); older ones count
 * from 1. */
enum { SNOWFLAKE_BITS = 16 };
#define SNOWFLAKES_SINCE_MS INT64_C(1451606400000)

static void add(struct trace_ids *ids, char *id)
{
    if (ids->count < TRACE_MAX_IDS)
        ids->ids[ids->count++] = id;
    else
        free(id);
}

static void add_post(struct trace_ids *ids, char *id)
{
    char *activity = mem_printf("%s/activity", id);

    add(ids, id);
    add(ids, activity);
}

/* "https://HOST", without what follows. */
static struct str origin_of(struct str text)
{
    size_t start = str_starts_with(text, STR("https://")) ? 8 : 7;
    return (struct str){text.ptr, start + str_find(str_slice(text, start), '/')};
}

/* "/@alice/1": not "/@alice@elsewhere.example/1", which is somebody else's post. */
static bool is_page(struct str path, struct str *username, struct str *number)
{
    int64_t id;

    if (!str_starts_with(path, STR("/@")))
        return false;
    *username = str_slice(path, 2);
    username->len = str_find(*username, '/');
    *number = str_slice(path, 2 + username->len + 1);
    return username->len > 0 && str_find(*username, '@') == username->len &&
           str_to_i64(*number, 1, INT64_MAX, &id);
}

static bool is_fit(struct str text)
{
    bool fit = text.len <= URL_MAX_BYTES &&
               (str_starts_with(text, STR("https://")) || str_starts_with(text, STR("http://")));

    while (fit && text.len > 0) {
        size_t length = utf8_sequence(text);
        unsigned char c = (unsigned char)text.ptr[0];
        fit = length > 0 && c > ' ' && c != 0x7f && c != '"' && c != '\\';
        text = str_slice(text, length);
    }
    return fit;
}

enum fp_err trace_ids_init(struct trace_ids *ids, struct str text, struct err *err)
{
    *ids = (struct trace_ids){.count = 0};
    if (!is_fit(text))
        return err_say(err, FP_INVALID, PHRASE_ASK_ACTIVITY, SAYS_NOTHING);
    struct str origin = origin_of(text);
    if (is_page(str_slice(text, origin.len), &ids->username, &ids->number)) {
        add_post(ids, mem_printf("%.*s/users/%.*s/statuses/%.*s", STR_ARG(origin),
                                 STR_ARG(ids->username), STR_ARG(ids->number)));
        return FP_OK;
    }
    ids->username = ids->number = STR_NULL;
    if (str_ends_with(text, STR("/activity")))
        add(ids, str_dup(text));
    else
        add_post(ids, str_dup(text));
    return FP_OK;
}

void trace_ids_add_account(struct trace_ids *ids, struct str text, struct str account)
{
    add_post(ids, mem_printf("%.*s/ap/users/%.*s/statuses/%.*s", STR_ARG(origin_of(text)),
                             STR_ARG(account), STR_ARG(ids->number)));
}

int64_t trace_ids_born_ms(const struct trace_ids *ids, int64_t now_ms)
{
    static const char before[] = "/statuses/";
    const char *number = ids->count > 0 ? strstr(ids->ids[0], before) : NULL;
    size_t len = 0;
    int64_t id;

    if (number == NULL)
        return 0;
    number += strlen(before);
    while (number[len] >= '0' && number[len] <= '9')
        len++;
    if (!str_to_i64((struct str){number, len}, 1, INT64_MAX, &id))
        return 0;
    int64_t born_ms = id >> SNOWFLAKE_BITS;
    return born_ms >= SNOWFLAKES_SINCE_MS && born_ms <= now_ms ? born_ms : 0;
}

void trace_ids_clear(struct trace_ids *ids)
{
    while (ids->count > 0)
        free(ids->ids[--ids->count]);
}
