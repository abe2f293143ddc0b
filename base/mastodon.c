#include "base/mastodon.h"

#include <stdio.h>
#include <string.h>

#include "base/conninfo.h"

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
