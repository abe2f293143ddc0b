#include <stdio.h>
#include <string.h>

#include "base/mastodon.h"
#include "base/redis.h"
#include "base/secret.h"

/* Names of one role's variables. */
struct redis_settings {
    const struct dotenv *dotenv;
    const char *prefix;
};

static const char *redis_value(const struct redis_settings *settings, const char *suffix)
{
    char name[64];

    snprintf(name, sizeof(name), "%sREDIS_%s", settings->prefix, suffix);
    return dotenv_value(settings->dotenv, name);
}

static void put_percent_encoded(struct buf *out, const char *text)
{
    static const char unreserved[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789-._~";
    for (const char *c = text; *c != '\0'; c++) {
        if (memchr(unreserved, *c, sizeof(unreserved) - 1) != NULL)
            buf_put_char(out, *c);
        else
            buf_printf(out, "%%%02X", (unsigned char)*c);
    }
}

/* With each character percent-encoded. */
static size_t longest_part_bytes(const char *text)
{
    return text != NULL ? 3 * strlen(text) : strlen("localhost");
}

static void put_userinfo(struct buf *url, const char *user, const char *password)
{
    if (user != NULL)
        put_percent_encoded(url, user);
    if (password != NULL) {
        buf_put_char(url, ':');
        put_percent_encoded(url, password);
    }
}

static char *build_redis_url(const struct redis_settings *settings, bool with_user)
{
    const char *user = with_user ? redis_value(settings, "USER") : NULL;
    const char *password = redis_value(settings, "PASSWORD");
    const char *host = redis_value(settings, "HOST");
    const char *port = redis_value(settings, "PORT");
    const char *db = redis_value(settings, "DB");
    struct buf url;

    secret_buf_init(&url, strlen("redis://:@[]:/") + longest_part_bytes(user) +
                              longest_part_bytes(password) + longest_part_bytes(host) +
                              longest_part_bytes(port) + longest_part_bytes(db));
    buf_printf(&url, "redis://");
    put_userinfo(&url, user, password);
    if (user != NULL || password != NULL)
        buf_put_char(&url, '@');
    if (host != NULL && strchr(host, ':') != NULL && host[0] != '[')
        buf_printf(&url, "[%s]", host);
    else
        buf_printf(&url, "%s", host != NULL ? host : "localhost");
    buf_printf(&url, ":%s/%s", port != NULL ? port : "6379", db != NULL ? db : "0");
    char *text = str_dup(buf_str(&url));
    secret_buf_clear(&url);
    return text;
}

/* The form that redis_endpoint_parse knows; Sentinels' credentials default to the role's own. */
static char *build_sentinel_url(const struct redis_settings *settings, const char *list,
                                const char *master)
{
    const char *user = redis_value(settings, "USER");
    const char *password = redis_value(settings, "PASSWORD");
    const char *sentinel_user = redis_value(settings, "SENTINEL_USERNAME");
    const char *sentinel_password = redis_value(settings, "SENTINEL_PASSWORD");
    const char *port = redis_value(settings, "SENTINEL_PORT");
    const char *db = redis_value(settings, "DB");
    struct str rest = str_of(list);
    struct buf url;

    sentinel_user = sentinel_user != NULL ? sentinel_user : user;
    sentinel_password = sentinel_password != NULL ? sentinel_password : password;
    port = port != NULL ? port : "26379";
    /* Each Sentinel takes at least two characters of the list, its comma included. */
    secret_buf_init(&url, strlen("redis+sentinel://:@//?:") + longest_part_bytes(user) +
                              longest_part_bytes(password) + longest_part_bytes(sentinel_user) +
                              longest_part_bytes(sentinel_password) + strlen(list) +
                              (strlen(list) / 2 + 1) * (strlen(port) + 2) +
                              longest_part_bytes(master) + longest_part_bytes(db));
    buf_printf(&url, "redis+sentinel://");
    put_userinfo(&url, user, password);
    if (user != NULL || password != NULL)
        buf_put_char(&url, '@');
    for (bool first = true; rest.len > 0;) {
        struct str one = str_trim((struct str){rest.ptr, str_find(rest, ',')});
        rest = str_slice(rest, str_find(rest, ',') + 1);
        if (one.len == 0)
            continue;
        bool has_port = one.ptr[one.len - 1] != ']' && str_find(one, ':') < one.len;
        buf_printf(&url, "%s%.*s%s%s", first ? "" : ",", STR_ARG(one), has_port ? "" : ":",
                   has_port ? "" : port);
        first = false;
    }
    buf_put_char(&url, '/');
    put_percent_encoded(&url, master);
    buf_printf(&url, "/%s?", db != NULL ? db : "0");
    put_userinfo(&url, sentinel_user, sentinel_password);
    char *text = str_dup(buf_str(&url));
    secret_buf_clear(&url);
    return text;
}

static enum fp_err check_number(const struct redis_settings *settings, const char *suffix,
                                int64_t min, int64_t max, struct err *err)
{
    const char *value = redis_value(settings, suffix);
    int64_t number;

    if (value == NULL || str_to_i64(str_of(value), min, max, &number))
        return FP_OK;
    return err_set(err, FP_INVALID, "%sREDIS_%s: \"%.40s\" is not a whole number from %lld to %lld",
                   settings->prefix, suffix, value, (long long)min, (long long)max);
}

/* Each is HOST or HOST:PORT; an IPv6 address stands in brackets. */
static enum fp_err check_sentinels(const struct redis_settings *settings, const char *url,
                                   struct err *err)
{
    struct redis_endpoint endpoint;
    struct err why;

    enum fp_err code = redis_endpoint_parse(&endpoint, str_of(url), STR_NULL, &why);
    if (code == FP_OK)
        redis_endpoint_clear(&endpoint);
    else
        err_set(err, code,
                "%sREDIS_SENTINELS: is not a list of at most %d like one.example,two.example:26379 "
                "(%sREDIS_SENTINEL_PORT for those without a port)",
                settings->prefix, REDIS_MAX_SENTINELS, settings->prefix);
    return code;
}

/* Mastodon asks Sentinels only when both variables are set, and since 4.3. *url stays NULL without
 * them. */
static enum fp_err set_sentinel_url(const struct redis_settings *settings, char **url,
                                    struct err *err)
{
    const char *master = redis_value(settings, "SENTINEL_MASTER");
    const char *list = redis_value(settings, "SENTINELS");

    if (master == NULL || list == NULL)
        return FP_OK;
    enum fp_err code = check_number(settings, "SENTINEL_PORT", 1, 65535, err);
    if (code == FP_OK)
        code = check_number(settings, "DB", 0, 65535, err);
    if (code != FP_OK)
        return code;
    *url = build_sentinel_url(settings, list, master);
    code = check_sentinels(settings, *url, err);
    if (code != FP_OK) {
        secret_free(*url);
        *url = NULL;
    }
    return code;
}

static enum fp_err check_url(const struct redis_settings *settings, const char *url,
                             struct err *err)
{
    struct str text = str_of(url);
    struct redis_endpoint endpoint;
    struct err why;

    if (!str_starts_with(text, STR("redis://")) && !str_starts_with(text, STR("rediss://")) &&
        !str_starts_with(text, STR("unix://")))
        return err_set(err, FP_INVALID,
                       "%sREDIS_URL: is not a URL that starts with redis://, rediss:// or unix://",
                       settings->prefix);
    if (redis_endpoint_parse(&endpoint, text, STR_NULL, &why) != FP_OK)
        return err_set(err, FP_INVALID, "%sREDIS_URL: %s", settings->prefix,
                       why.message + strlen("Redis URL: "));
    redis_endpoint_clear(&endpoint);
    return FP_OK;
}

/* The other parts are checked, or encoded, before. */
static enum fp_err check_host(const struct redis_settings *settings, const char *built_url,
                              struct err *err)
{
    struct redis_endpoint endpoint;
    struct err why;

    if (redis_endpoint_parse(&endpoint, str_of(built_url), STR_NULL, &why) != FP_OK)
        return err_set(err, FP_INVALID, "%sREDIS_HOST: is not a host name or an address",
                       settings->prefix);
    redis_endpoint_clear(&endpoint);
    return FP_OK;
}

/* Whether the role has a server of its own. Before 4.3 any of the four made one; since then only
 * its host does. */
static bool has_own_server(const struct redis_settings *settings, bool before_4_3)
{
    if (settings->prefix[0] == '\0' || redis_value(settings, "HOST") != NULL)
        return true;
    return before_4_3 &&
           (redis_value(settings, "PASSWORD") != NULL || redis_value(settings, "PORT") != NULL ||
            redis_value(settings, "DB") != NULL);
}

enum fp_err mastodon_redis_url(const struct mastodon_version *version, const struct dotenv *dotenv,
                               const char *prefix, char **url, struct err *err)
{
    struct redis_settings settings = {dotenv, prefix};
    bool before_4_3 = mastodon_version_compare(version, 4, 3, 0) < 0;
    const char *given = redis_value(&settings, "URL");
    enum fp_err code;

    *url = NULL;
    if (given != NULL) {
        code = check_url(&settings, given, err);
        if (code == FP_OK)
            *url = str_dup(str_of(given));
        return code;
    }
    code = before_4_3 ? FP_OK : set_sentinel_url(&settings, url, err);
    if (code != FP_OK || *url != NULL)
        return code;
    if (!has_own_server(&settings, before_4_3))
        return mastodon_redis_url(version, dotenv, "", url, err);
    code = check_number(&settings, "PORT", 1, 65535, err);
    if (code == FP_OK)
        code = check_number(&settings, "DB", 0, 65535, err);
    if (code != FP_OK)
        return code;
    *url = build_redis_url(&settings, !before_4_3);
    code = check_host(&settings, *url, err);
    if (code != FP_OK) {
        secret_free(*url);
        *url = NULL;
    }
    return code;
}
