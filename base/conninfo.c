#include "base/conninfo.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

void conninfo_init(struct conninfo *conninfo)
{
    conninfo->options = PQconninfoParse("", NULL);
    if (conninfo->options == NULL)
        abort();
}

static void free_options(PQconninfoOption *options)
{
    for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
        secret_wipe(o->val, o->val != NULL ? strlen(o->val) : 0);
    PQconninfoFree(options);
}

void conninfo_clear(struct conninfo *conninfo)
{
    free_options(conninfo->options);
    conninfo->options = NULL;
}

static PQconninfoOption *find(const struct conninfo *conninfo, struct str keyword)
{
    for (PQconninfoOption *o = conninfo->options; o->keyword != NULL; o++) {
        if (str_equal(str_of(o->keyword), keyword))
            return o;
    }
    return NULL;
}

static void set(PQconninfoOption *option, const char *value)
{
    secret_free(option->val);
    option->val = value != NULL ? str_dup(str_of(value)) : NULL;
}

void conninfo_set(struct conninfo *conninfo, const char *keyword, const char *value)
{
    PQconninfoOption *option = find(conninfo, str_of(keyword));
    if (option != NULL)
        set(option, value);
}

/* The URL without the parameters that only Rails knows. */
static char *without_foreign(const struct conninfo *conninfo, struct str url)
{
    size_t mark = str_find(url, '?');
    struct str query = str_slice(url, mark + 1);
    char separator = '?';
    struct buf out;

    secret_buf_init(&out, url.len);
    buf_put(&out, url.ptr, mark);
    while (query.len > 0) {
        size_t end = str_find(query, '&');
        struct str parameter = {query.ptr, end};
        struct str keyword = {query.ptr, str_find(parameter, '=')};
        if (find(conninfo, keyword) != NULL || str_equal(keyword, STR("ssl"))) {
            buf_put_char(&out, separator);
            buf_put_str(&out, parameter);
            separator = '&';
        }
        query = str_slice(query, end + 1);
    }
    char *text = str_dup(buf_str(&out));
    secret_buf_clear(&out);
    return text;
}

enum fp_err conninfo_merge_url(struct conninfo *conninfo, const char *variable, const char *url,
                               enum conninfo_rules rules, struct err *err)
{
    struct str text = str_of(url);
    PQconninfoOption *parsed = NULL;

    if (str_starts_with(text, STR("postgres://")) || str_starts_with(text, STR("postgresql://"))) {
        char *kept = rules == CONNINFO_OF_RAILS ? without_foreign(conninfo, text) : str_dup(text);
        parsed = PQconninfoParse(kept, NULL); /* its message would quote the URL */
        secret_free(kept);
    }
    if (parsed == NULL)
        return err_set(err, FP_INVALID,
                       "%s: is not a URL like postgres://USER:PASSWORD@HOST:5432/DATABASE"
                       "?sslmode=require (special characters in the password as %%XX)",
                       variable);
    for (PQconninfoOption *o = parsed; o->keyword != NULL; o++) {
        if (o->val != NULL)
            conninfo_set(conninfo, o->keyword, o->val);
    }
    free_options(parsed);
    return FP_OK;
}

void conninfo_add_environment(struct conninfo *conninfo, const struct dotenv *dotenv)
{
    for (PQconninfoOption *o = conninfo->options; o->keyword != NULL; o++) {
        if (o->val == NULL && o->envvar != NULL)
            set(o, dotenv_value(dotenv, o->envvar));
    }
    PQconninfoOption *timeout = find(conninfo, STR("connect_timeout"));
    if (timeout != NULL && timeout->val == NULL)
        set(timeout, CONNINFO_CONNECT_TIMEOUT_S);
}

/* With a backslash before each character. */
static size_t longest_text_bytes(const struct conninfo *conninfo)
{
    size_t bytes = 0;

    for (const PQconninfoOption *o = conninfo->options; o->keyword != NULL; o++) {
        if (o->val != NULL)
            bytes += strlen(o->keyword) + strlen(" =''") + 2 * strlen(o->val);
    }
    return bytes;
}

char *conninfo_text(const struct conninfo *conninfo)
{
    struct buf out;

    secret_buf_init(&out, longest_text_bytes(conninfo));
    for (PQconninfoOption *o = conninfo->options; o->keyword != NULL; o++) {
        if (o->val == NULL)
            continue;
        buf_printf(&out, "%s%s='", out.len > 0 ? " " : "", o->keyword);
        for (const char *c = o->val; *c != '\0'; c++) {
            if (*c == '\'' || *c == '\\')
                buf_put_char(&out, '\\');
            buf_put_char(&out, *c);
        }
        buf_put_char(&out, '\'');
    }
    char *text = str_dup(buf_str(&out));
    secret_buf_clear(&out);
    return text;
}
