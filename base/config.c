#include "base/config.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/config_row.h"
#include "base/conninfo.h"
#include "base/dotenv.h"
#include "base/listen.h"
#include "base/mail_address.h"
#include "base/mastodon.h"
#include "base/network.h"
#include "base/policy.h"
#include "base/proxy.h"
#include "base/secret.h"
#include "base/url.h"

/* Where a variable stands and its name, for an error. */
static enum fp_err refuse(const struct dotenv *dotenv, const char *name, struct err *err,
                          const char *why)
{
    struct buf line;

    buf_init(&line, 8192); /* a path of the system's longest, and more */
    dotenv_describe(dotenv, name, &line);
    buf_printf(&line, ": %s", why);
    for (size_t i = 0; i < line.len; i++) {
        if ((unsigned char)line.ptr[i] < ' ')
            line.ptr[i] = '?'; /* a value may have several lines; an error has one */
    }
    err_set(err, FP_INVALID, "%s", buf_cstr(&line));
    buf_clear(&line);
    return FP_INVALID;
}

static enum fp_err refuse_value(const struct dotenv *dotenv, const struct config_row *row,
                                const char *value, struct err *err)
{
    char *why;

    if (row->type == ROW_LEVEL)
        why = mem_printf("\"%.40s\" is not error, warn, info or debug", value);
    else if (row->type == ROW_SWITCH)
        why = mem_printf("\"%.40s\" is not true or false", value);
    else
        why = mem_printf("\"%.40s\" is not a whole number from %lld to %lld", value,
                         (long long)row->min, (long long)row->max);
    enum fp_err code = refuse(dotenv, row->name, err, why);
    free(why);
    return code;
}

static enum fp_err set_direct(struct config *config, const struct dotenv *dotenv, struct err *err)
{
    const struct config_row *row;

    for (size_t i = 0; (row = config_row_at(i)) != NULL; i++) {
        if (row->derived)
            continue;
        const char *value = dotenv_value(dotenv, row->name);
        if (value == NULL && row->empty_is_a_value && dotenv_find(dotenv, row->name) != NULL)
            value = "";
        if (value == NULL)
            value = row->otherwise != NULL ? row->otherwise : "";
        if (!config_row_set(config, row, str_of(value)))
            return refuse_value(dotenv, row, value, err);
    }
    return FP_OK;
}

static enum fp_err refuse_unknown(const struct dotenv *dotenv, struct err *err)
{
    for (size_t i = 0; i < dotenv->count; i++) {
        const char *name = dotenv->variables[i].name;
        if (str_starts_with(str_of(name), STR("FEDPUSH_")) && !config_is_known(name))
            return refuse(dotenv, name, err,
                          "is no setting of fedpush: correct its name (`fedpush run --help` "
                          "lists them) or remove it");
    }
    return FP_OK;
}

/* systemd's copy of the file. *found: it is there, and stands for all files of the directory. */
static enum fp_err read_credentials(struct dotenv *dotenv, bool *found, struct err *err)
{
    static const char *const names[] = {"env.production", ".env.production"};
    const char *dir = dotenv_value(dotenv, "CREDENTIALS_DIRECTORY");

    *found = false;
    for (size_t i = 0; dir != NULL && !*found && i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = mem_printf("%s/%s", dir, names[i]);
        enum fp_err code = dotenv_read(dotenv, path, found, err);
        free(path);
        if (code != FP_OK)
            return code;
    }
    return FP_OK;
}

static enum fp_err read_files(struct dotenv *dotenv, const char *mastodon_dir, struct err *err)
{
    static const char *const names[] = {".env.production.local", ".env.local", ".env.production",
                                        ".env"};
    bool found;
    enum fp_err code = read_credentials(dotenv, &found, err);

    if (code != FP_OK || found || mastodon_dir == NULL)
        return code;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = mem_printf("%s/%s", mastodon_dir, names[i]);
        code = dotenv_read(dotenv, path, &found, err);
        free(path);
        if (code != FP_OK)
            return code;
    }
    return FP_OK;
}

static enum fp_err set_version(struct config *config, const struct dotenv *dotenv,
                               const char *mastodon_dir, struct err *err)
{
    static const char name[] = "FEDPUSH_MASTODON_VERSION";
    const char *given = dotenv_value(dotenv, name);
    struct buf ruby;

    config->mastodon_version_set = given != NULL;
    if (given != NULL)
        return mastodon_version_parse(&config->mastodon, name, str_of(given), err);
    if (mastodon_dir == NULL)
        return err_set(err, FP_INVALID,
                       "Mastodon's version is not known: name its directory with --mastodon DIR "
                       "(or FEDPUSH_MASTODON_DIR), or set %s",
                       name);
    char *path = mem_printf("%s/lib/mastodon/version.rb", mastodon_dir);
    buf_init(&ruby, DOTENV_MAX_BYTES + 4096);
    enum fp_err code = dotenv_read_file(path, &ruby, err);
    if (code == FP_OK)
        code = mastodon_version_read(&config->mastodon, path, buf_str(&ruby), dotenv, err);
    else
        code = err_set(err, FP_INVALID,
                       "%s cannot be read: name Mastodon's directory with --mastodon DIR (or "
                       "FEDPUSH_MASTODON_DIR), or set %s",
                       path, name);
    buf_clear(&ruby);
    free(path);
    return code;
}

/* The gem that this Mastodon's newest release ships. */
static enum dotenv_rules rules_of(const struct mastodon_version *version)
{
    if (mastodon_version_compare(version, 4, 3, 0) < 0)
        return DOTENV_2;
    return mastodon_version_compare(version, 4, 4, 0) < 0 ? DOTENV_3_0 : DOTENV_3;
}

/*
 * Reads the files by the rules of Mastodon's version, as far as it is known before. When they name
 * another one they are read again, by its rules: what was wrong with them until then doesn't count.
 * A version that stays unknown is told later, with the remedy.
 */
static enum fp_err read_files_by_version(struct config *config, struct dotenv *dotenv,
                                         const char *mastodon_dir, struct err *err)
{
    struct err ignored;

    if (set_version(config, dotenv, mastodon_dir, &ignored) == FP_OK)
        dotenv->rules = rules_of(&config->mastodon);
    enum fp_err code = read_files(dotenv, mastodon_dir, err);
    if (set_version(config, dotenv, mastodon_dir, &ignored) != FP_OK ||
        rules_of(&config->mastodon) == dotenv->rules)
        return code;
    dotenv->rules = rules_of(&config->mastodon);
    dotenv_forget_files(dotenv);
    return read_files(dotenv, mastodon_dir, err);
}

/* "8.1.6": three numbers. */
static bool is_sidekiq_version(struct str text)
{
    int64_t parts[3];

    for (size_t i = 0; i < 3; i++) {
        size_t end = i < 2 ? str_find(text, '.') : text.len;
        if (!str_to_i64((struct str){text.ptr, end}, 0, 999, &parts[i]))
            return false;
        text = str_slice(text, end + 1);
    }
    return parts[0] >= 6 && parts[0] <= 8;
}

static enum fp_err set_sidekiq_version(struct config *config, const struct dotenv *dotenv,
                                       struct err *err)
{
    static const char name[] = "FEDPUSH_SIDEKIQ_VERSION";
    const char *value = dotenv_value(dotenv, name);

    config->sidekiq_version_set = value != NULL;
    if (value == NULL)
        value = mastodon_sidekiq_version(&config->mastodon);
    if (!is_sidekiq_version(str_of(value)))
        return refuse(dotenv, name, err, "is not a version of Sidekiq 6, 7 or 8 like 8.0.9");
    config->sidekiq_version = str_dup(str_of(value));
    return FP_OK;
}

/* It becomes part of URLs and header fields. */
static bool is_domain(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c <= ' ' || *c == 0x7f || strchr("/\\?#@\"<>", *c) != NULL)
            return false;
    }
    return strlen(text) <= 255 + sizeof(":65535");
}

static enum fp_err set_domain(struct config *config, const struct dotenv *dotenv, struct err *err)
{
    const char *name = dotenv_value(dotenv, "WEB_DOMAIN") != NULL ? "WEB_DOMAIN" : "LOCAL_DOMAIN";
    const char *domain = dotenv_value(dotenv, name);

    if (domain == NULL)
        return err_set(err, FP_INVALID,
                       "LOCAL_DOMAIN is not set: name Mastodon's directory with --mastodon DIR (or "
                       "FEDPUSH_MASTODON_DIR), or set LOCAL_DOMAIN (and WEB_DOMAIN)");
    if (!is_domain(domain))
        return refuse(dotenv, name, err, "is not a domain like social.example");
    config->web_domain = str_dup(str_of(domain));
    return FP_OK;
}

static enum fp_err set_redis(struct config *config, const struct dotenv *dotenv, struct err *err)
{
    const struct {
        const char *prefix;
        char **url;
    } roles[] = {{"", &config->redis_base_url},
                 {"SIDEKIQ_", &config->redis_sidekiq_url},
                 {"CACHE_", &config->redis_cache_url}};
    const char *redis_namespace = dotenv_value(dotenv, "REDIS_NAMESPACE");

    if (redis_namespace != NULL && mastodon_version_compare(&config->mastodon, 4, 4, 0) >= 0)
        return refuse(dotenv, "REDIS_NAMESPACE", err,
                      "Mastodon 4.4 and newer have no Redis namespace and don't start with one: "
                      "remove it");
    config->redis_namespace = str_dup(str_of(redis_namespace));
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        enum fp_err code =
            mastodon_redis_url(&config->mastodon, dotenv, roles[i].prefix, roles[i].url, err);
        if (code != FP_OK)
            return code;
    }
    return FP_OK;
}

/* The database that `name` tells, or Mastodon's. */
static enum fp_err set_own_database(const struct config *config, const struct dotenv *dotenv,
                                    const char *name, char **conninfo, struct err *err)
{
    const char *url = dotenv_value(dotenv, name);
    struct conninfo parts;

    if (url == NULL) {
        *conninfo = str_dup(str_of(config->postgres_mastodon));
        return FP_OK;
    }
    conninfo_init(&parts);
    enum fp_err code = conninfo_merge_url(&parts, name, url, CONNINFO_OF_LIBPQ, err);
    conninfo_add_environment(&parts, dotenv);
    if (code == FP_OK)
        *conninfo = conninfo_text(&parts);
    conninfo_clear(&parts);
    return code;
}

static enum fp_err set_databases(struct config *config, const struct dotenv *dotenv,
                                 struct err *err)
{
    enum fp_err code = mastodon_database(dotenv, &config->postgres_mastodon, err);

    if (code == FP_OK)
        code = set_own_database(config, dotenv, "FEDPUSH_DATABASE_URL", &config->postgres_fedpush,
                                err);
    if (code == FP_OK)
        code = set_own_database(config, dotenv, "FEDPUSH_KEYS_DATABASE_URL", &config->postgres_keys,
                                err);
    return code;
}

bool config_takes_pull(const struct config *config)
{
    return strcmp(config->queues, "push,pull") == 0;
}

static enum fp_err refuse_queues(const struct config *config, const struct dotenv *dotenv,
                                 struct err *err)
{
    bool pull = config_takes_pull(config);

    if (!pull && strcmp(config->queues, "push") != 0)
        return refuse(dotenv, "FEDPUSH_QUEUES", err,
                      "is neither \"push\" nor \"push,pull\": no other queue has deliveries");
    if (strcmp(config->handoff_queue, "push") == 0 ||
        (pull && strcmp(config->handoff_queue, "pull") == 0))
        return refuse(dotenv, "FEDPUSH_HANDOFF_QUEUE", err,
                      "must not be a queue that fedpush empties (FEDPUSH_QUEUES): name one that a "
                      "Ruby Sidekiq process serves, like \"default\"");
    if (!pull)
        return FP_OK;
    if (config->handoff_queue_pull[0] == '\0')
        return err_set(err, FP_INVALID,
                       "FEDPUSH_HANDOFF_QUEUE_PULL is not set, but FEDPUSH_QUEUES has pull: name a "
                       "queue for pull's jobs that only Ruby can do, like \"pull_ruby\", and have "
                       "a Sidekiq process serve it (-q pull_ruby)");
    if (strcmp(config->handoff_queue_pull, "push") == 0 ||
        strcmp(config->handoff_queue_pull, "pull") == 0)
        return refuse(dotenv, "FEDPUSH_HANDOFF_QUEUE_PULL", err,
                      "must not be a queue that fedpush empties (FEDPUSH_QUEUES): name one that a "
                      "Ruby Sidekiq process serves, like \"pull_ruby\"");
    return FP_OK;
}

static enum fp_err check_proxies(struct config *config, struct err *err)
{
    struct proxies proxies;
    struct buf names;
    enum fp_err code = proxies_init(&proxies, config, err);

    if (code != FP_OK)
        return code;
    proxies_clear(&proxies);
    buf_init(&names, 1024);
    proxy_put_names(&names, str_of(config->proxies));
    config->proxy_names = str_dup(buf_str(&names));
    buf_clear(&names);
    return FP_OK;
}

static bool is_base_url(const char *text)
{
    struct url url;

    if (url_parse(&url, str_of(text), NULL) != FP_OK)
        return false;
    bool plain = url.path.len == url.target.len && strchr(text, '#') == NULL;
    url_clear(&url);
    return plain;
}

static bool are_proxies(struct str list)
{
    struct network network;
    struct str word;
    size_t count = 0;

    while ((word = network_next_word(&list)).len > 0) {
        if (++count > CONFIG_MAX_TRUSTED_PROXIES ||
            (!str_equal(word, STR("unix")) && !network_parse(&network, word)))
            return false;
    }
    return true;
}

static enum fp_err refuse_oauth(const struct config *config, const struct dotenv *dotenv,
                                struct err *err)
{
    bool id = config->admin_oauth_id[0] != '\0';
    bool secret = config->admin_oauth_secret[0] != '\0';

    if (id != secret)
        return refuse(dotenv, id ? "FEDPUSH_ADMIN_OAUTH_ID" : "FEDPUSH_ADMIN_OAUTH_SECRET", err,
                      id ? "needs FEDPUSH_ADMIN_OAUTH_SECRET, too"
                         : "needs FEDPUSH_ADMIN_OAUTH_ID, too");
    if (id && config->admin_url[0] == '\0')
        return refuse(dotenv, "FEDPUSH_ADMIN_OAUTH_ID", err,
                      "needs FEDPUSH_ADMIN_URL: Mastodon sends browsers back to it");
    if (config->admin_oauth_url[0] != '\0' && !is_base_url(config->admin_oauth_url))
        return refuse(dotenv, "FEDPUSH_ADMIN_OAUTH_URL", err,
                      "is not a URL like https://social.example");
    return FP_OK;
}

static enum fp_err refuse_admin(const struct config *config, const struct dotenv *dotenv,
                                struct err *err)
{
    struct listen_address address;

    if (config->admin_listen[0] != '\0' && !listen_parse(&address, str_of(config->admin_listen)))
        return refuse(dotenv, "FEDPUSH_ADMIN_LISTEN", err,
                      "is not ADDRESS:PORT (127.0.0.1:4480, [::1]:4480) or unix:/PATH");
    if (config->admin_url[0] != '\0' && !is_base_url(config->admin_url))
        return refuse(dotenv, "FEDPUSH_ADMIN_URL", err,
                      "is not a URL like https://fedpush.example or https://example/fedpush");
    if (config->admin_password_hash[0] != '\0' &&
        (!str_starts_with(str_of(config->admin_password_hash), STR("$argon2id$")) ||
         crypto_pwhash_str_needs_rehash(config->admin_password_hash, 1,
                                        crypto_pwhash_MEMLIMIT_MIN) == -1))
        return refuse(dotenv, "FEDPUSH_ADMIN_PASSWORD_HASH", err,
                      "is not what `fedpush password` prints ($argon2id$…; in a file between "
                      "single quotes)");
    if (!are_proxies(str_of(config->admin_trusted_proxies)))
        return refuse(
            dotenv, "FEDPUSH_ADMIN_TRUSTED_PROXIES", err,
            "has what is neither an address, a network like 10.0.0.0/8, nor the word unix, "
            "or more than 64 of them");
    return refuse_oauth(config, dotenv, err);
}

/* As config/environments/production.rb reads them. What is wrong there is Mastodon's to find out:
 * it keeps nothing from being delivered, and `fedpush alert --test` says it. */
static void set_mail(struct config *config, const struct dotenv *dotenv)
{
    const char *domain = dotenv_value(dotenv, "SMTP_DOMAIN");
    const char *starttls = dotenv_value(dotenv, "SMTP_ENABLE_STARTTLS");
    const char *automatic = dotenv_value(dotenv, "SMTP_ENABLE_STARTTLS_AUTO");

    if (domain == NULL)
        domain = dotenv_value(dotenv, "LOCAL_DOMAIN");
    config->smtp_domain = str_dup(str_of(domain));
    if (starttls == NULL || (strcmp(starttls, "always") != 0 && strcmp(starttls, "never") != 0))
        starttls = automatic != NULL && strcmp(automatic, "false") == 0 ? "never" : "auto";
    config->smtp_starttls = str_dup(str_of(starttls));
}

static enum fp_err refuse_alert_sinks(const struct config *config, const struct dotenv *dotenv,
                                      struct err *err)
{
    enum { MAX_RECIPIENTS = 20 };
    struct str rest = str_of(config->alert_mail);
    struct str url = str_of(config->alert_webhook);
    struct str address;

    for (size_t count = 0; mail_address_next(&rest, &address); count++) {
        if (count == MAX_RECIPIENTS || !mail_address_is_valid(address))
            return refuse(dotenv, "FEDPUSH_ALERT_MAIL", err,
                          "is not a list of at most 20 addresses like "
                          "admin@example.org,ops@example.org");
    }
    bool valid = str_starts_with(url, STR("https://")) || str_starts_with(url, STR("http://"));
    for (size_t i = 0; i < url.len; i++)
        valid = valid && url.ptr[i] > ' ' && url.ptr[i] <= '~';
    if (url.len > 0 && !valid)
        return refuse(dotenv, "FEDPUSH_ALERT_WEBHOOK", err,
                      "is not a URL that starts with https:// (or http://)");
    return FP_OK;
}

static enum fp_err refuse_log(const struct config *config, const struct dotenv *dotenv,
                              struct err *err)
{
    struct str rest = str_of(config->log_deliveries);
    struct str word;

    while ((word = network_next_word(&rest)).len > 0) {
        if (!policy_name_is_valid(word) || word.ptr[0] == '@' || str_equal(word, POLICY_FLEET))
            return refuse(dotenv, "FEDPUSH_LOG_DELIVERIES", err,
                          "is not failed, all, or hosts in small letters like "
                          "example.org,*.example.net");
    }
    return FP_OK;
}

/* Values that are right alone, but not together. */
static enum fp_err refuse_contradictions(struct config *config, const struct dotenv *dotenv,
                                         struct err *err)
{
    enum fp_err code = refuse_queues(config, dotenv, err);

    if (code == FP_OK)
        code = refuse_alert_sinks(config, dotenv, err);
    if (code == FP_OK)
        code = refuse_log(config, dotenv, err);
    if (code != FP_OK)
        return code;
    if (config->lookahead_jobs < config->max_in_flight)
        return refuse(dotenv, "FEDPUSH_LOOKAHEAD", err,
                      "must not be smaller than FEDPUSH_MAX_IN_FLIGHT");
    if (config->redis_cert_file[0] != '\0' && config->redis_key_file[0] == '\0')
        return refuse(dotenv, "FEDPUSH_REDIS_CERT_FILE", err,
                      "needs its key, too: set FEDPUSH_REDIS_KEY_FILE (it may be the same file)");
    if (config->redis_key_file[0] != '\0' && config->redis_cert_file[0] == '\0')
        return refuse(dotenv, "FEDPUSH_REDIS_KEY_FILE", err,
                      "needs its certificate, too: set FEDPUSH_REDIS_CERT_FILE");
    return FP_OK;
}

/* A role gets its share in one message. */
static enum fp_err refuse_longer_than_a_message(const struct config *config, struct err *err)
{
    bool fits = true;

    for (enum role role = ROLE_SCHEDULER; role < ROLE_COUNT; role++) {
        struct buf bytes;
        secret_buf_init(&bytes, CONTROL_MAX_BYTES / 2);
        config_encode(config, role, &bytes);
        fits = fits && !bytes.overflow;
        secret_buf_clear(&bytes);
    }
    if (fits)
        return FP_OK;
    return err_set(err, FP_TOO_LARGE,
                   "the values of the configuration are longer than %d bytes together: look for "
                   "one that is much too long",
                   CONTROL_MAX_BYTES / 2);
}

static enum fp_err load(struct config *config, struct dotenv *dotenv, const char *mastodon_dir,
                        struct err *err)
{
    enum fp_err code = read_files_by_version(config, dotenv, mastodon_dir, err);

    if (code == FP_OK)
        code = refuse_unknown(dotenv, err);
    if (code == FP_OK)
        code = set_direct(config, dotenv, err);
    if (code == FP_OK)
        code = check_proxies(config, err);
    if (code == FP_OK)
        code = set_version(config, dotenv, mastodon_dir, err);
    if (code == FP_OK)
        code = set_sidekiq_version(config, dotenv, err);
    if (code == FP_OK)
        code = set_domain(config, dotenv, err);
    if (code == FP_OK)
        code = set_redis(config, dotenv, err);
    if (code == FP_OK)
        code = set_databases(config, dotenv, err);
    if (code == FP_OK)
        set_mail(config, dotenv);
    if (code == FP_OK)
        code = refuse_contradictions(config, dotenv, err);
    if (code == FP_OK)
        code = refuse_admin(config, dotenv, err);
    if (code == FP_OK)
        code = refuse_longer_than_a_message(config, err);
    return code;
}

static void replace(char **text, const char *value)
{
    free(*text);
    *text = str_dup(str_of(value));
}

enum fp_err config_load(struct config *config, char *const environment[], const char *mastodon_dir,
                        struct err *err)
{
    struct dotenv dotenv;

    *config = (struct config){0};
    dotenv_init(&dotenv);
    dotenv_add_environment(&dotenv, environment);
    if (mastodon_dir == NULL)
        mastodon_dir = dotenv_value(&dotenv, "FEDPUSH_MASTODON_DIR");
    char *dir = mastodon_dir != NULL ? str_dup(str_of(mastodon_dir)) : NULL;
    const char *runtime_dir = dotenv_value(&dotenv, "RUNTIME_DIRECTORY");
    char *otherwise = str_dup(str_of(runtime_dir != NULL ? runtime_dir : "/run/fedpush"));
    enum fp_err code = load(config, &dotenv, dir, err);
    if (code == FP_OK) {
        replace(&config->mastodon_dir, dir);
        if (config->runtime_dir[0] == '\0')
            replace(&config->runtime_dir, otherwise);
    } else {
        config_clear(config);
    }
    free(otherwise);
    free(dir);
    dotenv_clear(&dotenv);
    return code;
}
