#include "base/mastodon.h"

#include <stdio.h>
#include <string.h>

#include "base/conninfo.h"
#include "base/secret.h"

int mastodon_version_compare(const struct mastodon_version *version, int major, int minor,
                             int patch)
{
    if (version->major != major)
        return version->major - major;
    if (version->minor != minor)
        return version->minor - minor;
    return version->patch - patch;
}

static const char *http_rb_version(const struct mastodon_version *version)
{
    if (mastodon_version_compare(version, 4, 3, 0) < 0)
        return "5.1.1";
    return mastodon_version_compare(version, 4, 4, 0) < 0 ? "5.2.0" : "5.3.1";
}

const char *mastodon_sidekiq_version(const struct mastodon_version *version)
{
    if (mastodon_version_compare(version, 4, 4, 0) < 0)
        return "6.5.12";
    if (mastodon_version_compare(version, 4, 5, 0) < 0)
        return "7.3.9";
    return mastodon_version_compare(version, 4, 6, 0) < 0 ? "8.0.9" : "8.1.6";
}

/* Takes "N" and, unless it is the last, the "." behind it. */
static bool take_number(struct str *rest, bool last, int *out)
{
    struct str digits = {rest->ptr, 0};
    int64_t value = 0;

    while (digits.len < rest->len && rest->ptr[digits.len] >= '0' && rest->ptr[digits.len] <= '9')
        digits.len++;
    if (!str_to_i64(digits, 0, 9999, &value))
        return false;
    *rest = str_slice(*rest, digits.len);
    *out = (int)value;
    if (last)
        return rest->len == 0 || rest->ptr[0] == '-' || rest->ptr[0] == '+';
    if (rest->len == 0 || rest->ptr[0] != '.')
        return false;
    *rest = str_slice(*rest, 1);
    return true;
}

/* It becomes part of a header field. */
static bool is_version_text(struct str text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789.+-_";
    for (size_t i = 0; i < text.len; i++) {
        if (memchr(allowed, text.ptr[i], sizeof(allowed) - 1) == NULL)
            return false;
    }
    return true;
}

enum fp_err mastodon_version_parse(struct mastodon_version *version, const char *name,
                                   struct str text, struct err *err)
{
    struct str rest = text;

    *version = (struct mastodon_version){0};
    if (!is_version_text(text))
        return err_set(err, FP_INVALID,
                       "%s: has no version of Mastodon like 4.5.15 or 4.5.15+glitch", name);
    if (text.len >= sizeof(version->text) || !take_number(&rest, false, &version->major) ||
        !take_number(&rest, false, &version->minor) || !take_number(&rest, true, &version->patch))
        return err_set(err, FP_INVALID,
                       "%s: \"%.*s\" is not a version of Mastodon like 4.5.15 or 4.5.15+glitch",
                       name, (int)(text.len < 80 ? text.len : 80), text.ptr);
    if (mastodon_version_compare(version, 4, 2, 0) < 0)
        return err_set(err, FP_INVALID, "%s: Mastodon %.*s is too old: 4.2 or newer is needed",
                       name, STR_ARG(text));
    memcpy(version->text, text.ptr, text.len);
    snprintf(version->http_rb, sizeof(version->http_rb), "%s", http_rb_version(version));
    return FP_OK;
}

/* The first line of `def NAME`'s body, trimmed; empty when there is none. */
static struct str method_body(struct str ruby, struct str name)
{
    bool found = false;

    while (ruby.len > 0) {
        size_t end = str_find(ruby, '\n');
        struct str line = str_trim((struct str){ruby.ptr, end});
        if (found && line.len > 0)
            return line;
        if (str_starts_with(line, STR("def ")))
            found = str_equal(str_trim(str_slice(line, 4)), name);
        ruby = str_slice(ruby, end + 1);
    }
    return STR_NULL;
}

/* The text in quotes at the start of `code`; empty when it doesn't start with any. */
static struct str literal(struct str code)
{
    if (code.len == 0 || (code.ptr[0] != '\'' && code.ptr[0] != '"'))
        return STR_NULL;
    struct str rest = str_slice(code, 1);
    size_t end = str_find(rest, code.ptr[0]);
    return end < rest.len ? (struct str){rest.ptr, end} : STR_NULL;
}

enum fp_err mastodon_version_read(struct mastodon_version *version, const char *file,
                                  struct str ruby, const struct dotenv *dotenv, struct err *err)
{
    struct str prerelease = str_of(dotenv_value(dotenv, "MASTODON_VERSION_PRERELEASE"));
    struct str metadata = str_of(dotenv_value(dotenv, "MASTODON_VERSION_METADATA"));
    struct str fork = method_body(ruby, STR("build_metadata"));
    struct buf text;

    if (prerelease.len == 0)
        prerelease = literal(method_body(ruby, STR("default_prerelease")));
    /* Forks put their name first: `['glitch', …].compact.join('.')`. */
    fork = fork.len > 0 && fork.ptr[0] == '[' ? literal(str_trim(str_slice(fork, 1))) : STR_NULL;
    buf_init(&text, 1024);
    buf_printf(&text, "%.*s.%.*s.%.*s", STR_ARG(method_body(ruby, STR("major"))),
               STR_ARG(method_body(ruby, STR("minor"))), STR_ARG(method_body(ruby, STR("patch"))));
    if (prerelease.len > 0)
        buf_printf(&text, "-%.*s", STR_ARG(prerelease));
    if (fork.len > 0 || metadata.len > 0)
        buf_printf(&text, "+%.*s%s%.*s", STR_ARG(fork), fork.len > 0 && metadata.len > 0 ? "." : "",
                   STR_ARG(metadata));
    enum fp_err code = mastodon_version_parse(version, file, buf_str(&text), err);
    buf_clear(&text);
    return code;
}

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
    if (user != NULL)
        put_percent_encoded(&url, user);
    if (password != NULL) {
        buf_put_char(&url, ':');
        put_percent_encoded(&url, password);
    }
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

static enum fp_err refuse_sentinel(const struct redis_settings *settings, struct err *err)
{
    static const char *const suffixes[] = {"SENTINELS", "SENTINEL_MASTER"};

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        if (redis_value(settings, suffixes[i]) != NULL)
            return err_set(err, FP_INVALID,
                           "%sREDIS_%s: fedpush does not ask Sentinels: set %sREDIS_URL to an "
                           "address that always leads to the master",
                           settings->prefix, suffixes[i], settings->prefix);
    }
    return FP_OK;
}

static enum fp_err check_scheme(const struct redis_settings *settings, const char *url,
                                struct err *err)
{
    struct str text = str_of(url);

    if (str_starts_with(text, STR("redis://")) || str_starts_with(text, STR("rediss://")) ||
        str_starts_with(text, STR("unix://")))
        return FP_OK;
    return err_set(err, FP_INVALID,
                   "%sREDIS_URL: is not a URL that starts with redis://, rediss:// or unix://",
                   settings->prefix);
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
        code = check_scheme(&settings, given, err);
        if (code == FP_OK)
            *url = str_dup(str_of(given));
        return code;
    }
    code = before_4_3 ? FP_OK : refuse_sentinel(&settings, err);
    if (code == FP_OK && !has_own_server(&settings, before_4_3))
        return mastodon_redis_url(version, dotenv, "", url, err);
    if (code == FP_OK)
        code = check_number(&settings, "PORT", 1, 65535, err);
    if (code == FP_OK)
        code = check_number(&settings, "DB", 0, 65535, err);
    if (code == FP_OK)
        *url = build_redis_url(&settings, !before_4_3);
    return code;
}

enum fp_err mastodon_database(const struct dotenv *dotenv, char **conninfo, struct err *err)
{
    static const struct {
        const char *keyword, *variable, *otherwise;
    } settings[] = {
        {"host", "DB_HOST", "localhost"},
        {"port", "DB_PORT", "5432"},
        {"dbname", "DB_NAME", "mastodon_production"},
        {"user", "DB_USER", "mastodon"},
        {"password", "DB_PASS", NULL},
        {"sslmode", "DB_SSLMODE", "prefer"},
    };
    struct conninfo parts;

    *conninfo = NULL;
    conninfo_init(&parts);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        const char *value = dotenv_value(dotenv, settings[i].variable);
        conninfo_set(&parts, settings[i].keyword, value != NULL ? value : settings[i].otherwise);
    }
    const char *variable = dotenv_value(dotenv, "PRIMARY_DATABASE_URL") != NULL
                               ? "PRIMARY_DATABASE_URL"
                               : "DATABASE_URL";
    const char *url = dotenv_value(dotenv, variable);
    enum fp_err code = FP_OK;
    if (url != NULL)
        code = conninfo_merge_url(&parts, variable, url, CONNINFO_OF_RAILS, err);
    conninfo_add_environment(&parts, dotenv);
    if (code == FP_OK)
        *conninfo = conninfo_text(&parts);
    conninfo_clear(&parts);
    return code;
}
