#include "base/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/conninfo.h"
#include "base/dotenv.h"
#include "base/mastodon.h"
#include "base/secret.h"

enum row_type {
    ROW_TEXT = 0, /* char * */
    ROW_INT,      /* int */
    ROW_INT64,    /* int64_t */
    ROW_TRUE,     /* bool: whether the text is exactly "true", as Mastodon reads it */
    ROW_LEVEL,    /* enum log_level */
    ROW_VERSION,  /* struct mastodon_version */
};

enum {
    TO_SCHEDULER = 1 << ROLE_SCHEDULER,
    TO_WORKER = 1 << ROLE_WORKER,
    TO_SIGNER = 1 << ROLE_SIGNER,
    TO_ALL = TO_SCHEDULER | TO_WORKER | TO_SIGNER,
};

struct row {
    const char *name; /* the variable; of a derived value, what the wire calls it */
    size_t offset;    /* of the member in struct config */
    enum row_type type;
    bool derived; /* made of several variables, not read under its name */
    bool reloadable;
    unsigned roles; /* TO_…: who may see it */
    int64_t min, max;
    const char *otherwise; /* the default, as it would be written */
    const char *help;      /* with the unit; NULL: Mastodon's variable, or derived */
};

#define MEMBER(name) offsetof(struct config, name)

static const struct row rows[] = {
    /* Mastodon's */
    {.name = "web_domain", .offset = MEMBER(web_domain), .derived = true, .roles = TO_ALL},
    {.name = "mastodon_version",
     .offset = MEMBER(mastodon),
     .type = ROW_VERSION,
     .derived = true,
     .roles = TO_ALL},
    {.name = "sidekiq_version",
     .offset = MEMBER(sidekiq_version),
     .derived = true,
     .roles = TO_SCHEDULER},
    {.name = "sidekiq_major",
     .offset = MEMBER(sidekiq_major),
     .type = ROW_INT,
     .derived = true,
     .roles = TO_SCHEDULER,
     .min = 6,
     .max = 8},
    {.name = "redis_namespace",
     .offset = MEMBER(redis_namespace),
     .derived = true,
     .roles = TO_SCHEDULER},
    {.name = "redis_base_url",
     .offset = MEMBER(redis_base_url),
     .derived = true,
     .roles = TO_SCHEDULER},
    {.name = "redis_sidekiq_url",
     .offset = MEMBER(redis_sidekiq_url),
     .derived = true,
     .roles = TO_SCHEDULER},
    {.name = "redis_cache_url",
     .offset = MEMBER(redis_cache_url),
     .derived = true,
     .roles = TO_SCHEDULER},
    {.name = "postgres_mastodon",
     .offset = MEMBER(postgres_mastodon),
     .derived = true,
     .roles = TO_SCHEDULER},
    {.name = "postgres_fedpush",
     .offset = MEMBER(postgres_fedpush),
     .derived = true,
     .roles = TO_SCHEDULER},
    {.name = "postgres_keys", .offset = MEMBER(postgres_keys), .derived = true, .roles = TO_SIGNER},
    {.name = "http_proxy", .offset = MEMBER(http_proxy), .roles = TO_WORKER},
    {.name = "http_hidden_proxy", .offset = MEMBER(http_hidden_proxy), .roles = TO_WORKER},
    {.name = "ALLOW_ACCESS_TO_HIDDEN_SERVICE",
     .offset = MEMBER(allow_hidden_service),
     .type = ROW_TRUE,
     .roles = TO_WORKER},
    {.name = "ALLOWED_PRIVATE_ADDRESSES",
     .offset = MEMBER(allowed_private_addresses),
     .roles = TO_WORKER},
    {.name = "DISABLE_FOLLOWERS_SYNCHRONIZATION",
     .offset = MEMBER(followers_synchronization_off),
     .type = ROW_TRUE,
     .roles = TO_SCHEDULER},
    /* ours */
    {.name = "FEDPUSH_MASTODON_DIR",
     .offset = MEMBER(mastodon_dir),
     .help = "directory of the Mastodon installation: its .env.production is read"},
    {.name = "FEDPUSH_USER",
     .offset = MEMBER(user),
     .otherwise = "fedpush",
     .help = "user that the processes run as when started by root"},
    {.name = "FEDPUSH_RUNTIME_DIR",
     .offset = MEMBER(runtime_dir),
     .help = "directory of lock and identities; default $RUNTIME_DIRECTORY, else /run/fedpush"},
    {.name = "FEDPUSH_WORKERS",
     .offset = MEMBER(workers),
     .type = ROW_INT,
     .max = 64,
     .otherwise = "0",
     .help = "worker processes; 0: one a core"},
    {.name = "FEDPUSH_SIGNING_THREADS",
     .offset = MEMBER(signing_threads),
     .type = ROW_INT,
     .roles = TO_SIGNER,
     .max = 64,
     .otherwise = "0",
     .help = "threads that sign; 0: one a core"},
    {.name = "FEDPUSH_MAX_IN_FLIGHT",
     .offset = MEMBER(max_in_flight),
     .type = ROW_INT,
     .roles = TO_SCHEDULER | TO_WORKER,
     .min = 1,
     .max = 65536,
     .otherwise = "2048",
     .help = "jobs with all workers together"},
    {.name = "FEDPUSH_LOOKAHEAD",
     .offset = MEMBER(lookahead_jobs),
     .type = ROW_INT,
     .roles = TO_SCHEDULER,
     .min = 16,
     .max = 65536,
     .otherwise = "4096",
     .help = "jobs held in memory"},
    {.name = "FEDPUSH_LOOKAHEAD_BYTES",
     .offset = MEMBER(lookahead_bytes),
     .type = ROW_INT64,
     .roles = TO_SCHEDULER,
     .min = 1 << 20,
     .max = INT64_C(4) << 30,
     .otherwise = "67108864",
     .help = "bytes of jobs held in memory"},
    {.name = "FEDPUSH_HOST_WINDOW",
     .offset = MEMBER(host_window),
     .type = ROW_INT,
     .roles = TO_SCHEDULER,
     .min = 1,
     .max = 256,
     .otherwise = "4",
     .help = "deliveries in flight to one host"},
    {.name = "FEDPUSH_CLAIM_RATE",
     .offset = MEMBER(claim_rate),
     .type = ROW_INT,
     .reloadable = true,
     .roles = TO_SCHEDULER,
     .max = 1000000,
     .otherwise = "0",
     .help = "jobs taken from the queue a second; 0: no limit"},
    {.name = "FEDPUSH_DRAIN_SECONDS",
     .offset = MEMBER(drain_seconds),
     .type = ROW_INT,
     .reloadable = true,
     .roles = TO_SCHEDULER,
     .min = 1,
     .max = 600,
     .otherwise = "25",
     .help = "seconds that deliveries may take to finish at the end"},
    {.name = "FEDPUSH_CONCURRENCY",
     .offset = MEMBER(concurrency),
     .type = ROW_INT,
     .roles = TO_SCHEDULER,
     .min = 1,
     .max = 10000,
     .otherwise = "60",
     .help = "threads shown in Sidekiq's list of processes"},
    {.name = "FEDPUSH_KEY_CACHE",
     .offset = MEMBER(key_cache),
     .type = ROW_INT,
     .roles = TO_SIGNER,
     .min = 16,
     .max = 65536,
     .otherwise = "4096",
     .help = "accounts whose keys are held in memory"},
    {.name = "FEDPUSH_HANDOFF_QUEUE",
     .offset = MEMBER(handoff_queue),
     .roles = TO_SCHEDULER,
     .otherwise = "default",
     .help = "Sidekiq queue for jobs that only Ruby can do; a Ruby process must serve it"},
    {.name = "FEDPUSH_RESOLVERS",
     .offset = MEMBER(resolvers),
     .roles = TO_ALL,
     .help = "DNS servers, ADDRESS[:PORT],…; default: those of /etc/resolv.conf"},
    {.name = "FEDPUSH_CA_FILE",
     .offset = MEMBER(ca_file),
     .roles = TO_WORKER,
     .help = "file of CAs for remote hosts; default: the system's"},
    {.name = "FEDPUSH_REDIS_CA_FILE",
     .offset = MEMBER(redis_ca_file),
     .roles = TO_SCHEDULER,
     .help = "file of CAs for Redis with TLS; default: the system's"},
    {.name = "FEDPUSH_LOG_LEVEL",
     .offset = MEMBER(log_level),
     .type = ROW_LEVEL,
     .reloadable = true,
     .roles = TO_ALL,
     .otherwise = "info",
     .help = "error, warn, info or debug"},
};
enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

/* Variables of ours that become part of a derived value. */
static const struct {
    const char *name, *help;
} sources[] = {
    {"FEDPUSH_MASTODON_VERSION",
     "Mastodon's version, like 4.5.15; default: from lib/mastodon/version.rb"},
    {"FEDPUSH_SIDEKIQ_VERSION", "Sidekiq's version; default: the one that Mastodon's has"},
    {"FEDPUSH_DATABASE_URL", "database of the schema fedpush; default: Mastodon's"},
    {"FEDPUSH_KEYS_DATABASE_URL", "database role that reads key columns; default: Mastodon's"},
};
enum { SOURCE_COUNT = sizeof(sources) / sizeof(sources[0]) };

static char **text_of(struct config *config, const struct row *row)
{
    return (char **)(void *)((char *)config + row->offset);
}

static int64_t number_of(const struct config *config, const struct row *row)
{
    const void *member = (const char *)config + row->offset;
    return row->type == ROW_INT ? *(const int *)member : *(const int64_t *)member;
}

/* False: `text` is nothing that this row accepts. */
static bool set_row(struct config *config, const struct row *row, struct str text)
{
    void *member = (char *)config + row->offset;
    int64_t number = 0;

    switch (row->type) {
    case ROW_TEXT:
        secret_free(*text_of(config, row));
        *text_of(config, row) = str_dup(text);
        return true;
    case ROW_INT:
        if (!str_to_i64(text, row->min, row->max, &number))
            return false;
        *(int *)member = (int)number;
        return true;
    case ROW_INT64:
        return str_to_i64(text, row->min, row->max, member);
    case ROW_TRUE:
        *(bool *)member = str_equal(text, STR("true"));
        return true;
    case ROW_LEVEL:
        return log_level_parse(text, member);
    case ROW_VERSION:
        return mastodon_version_parse(member, row->name, text, NULL) == FP_OK;
    }
    return false;
}

void config_clear(struct config *config)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i].type == ROW_TEXT)
            secret_free(*text_of(config, &rows[i]));
    }
    *config = (struct config){0};
}

/* Where a variable stands and its name, for an error. */
static enum fp_err refuse(const struct dotenv *dotenv, const char *name, struct err *err,
                          const char *why)
{
    struct buf where;

    buf_init(&where, 400);
    dotenv_describe(dotenv, name, &where);
    err_set(err, FP_INVALID, "%s: %s", buf_cstr(&where), why);
    buf_clear(&where);
    return FP_INVALID;
}

static enum fp_err refuse_value(const struct dotenv *dotenv, const struct row *row,
                                const char *value, struct err *err)
{
    char *why = row->type == ROW_LEVEL
                    ? mem_printf("\"%.40s\" is not error, warn, info or debug", value)
                    : mem_printf("\"%.40s\" is not a whole number from %lld to %lld", value,
                                 (long long)row->min, (long long)row->max);
    enum fp_err code = refuse(dotenv, row->name, err, why);
    free(why);
    return code;
}

static enum fp_err set_direct(struct config *config, const struct dotenv *dotenv, struct err *err)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const struct row *row = &rows[i];
        if (row->derived)
            continue;
        const char *value = dotenv_value(dotenv, row->name);
        if (value == NULL)
            value = row->otherwise != NULL ? row->otherwise : "";
        if (!set_row(config, row, str_of(value)))
            return refuse_value(dotenv, row, value, err);
    }
    return FP_OK;
}

static bool is_known(const char *name)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (!rows[i].derived && strcmp(rows[i].name, name) == 0)
            return true;
    }
    for (size_t i = 0; i < SOURCE_COUNT; i++) {
        if (strcmp(sources[i].name, name) == 0)
            return true;
    }
#ifdef FEDPUSH_FAULTS
    if (strcmp(name, "FEDPUSH_FAULTS") == 0)
        return true;
#endif
    return false;
}

static enum fp_err refuse_unknown(const struct dotenv *dotenv, struct err *err)
{
    for (size_t i = 0; i < dotenv->count; i++) {
        const char *name = dotenv->variables[i].name;
        if (str_starts_with(str_of(name), STR("FEDPUSH_")) && !is_known(name))
            return refuse(dotenv, name, err,
                          "is no setting of fedpush: correct its name (`fedpush --help` lists "
                          "them) or remove it");
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

/* "8.1.6": three numbers; the first decides the units of times. */
static bool parse_sidekiq_version(struct str text, int *major)
{
    int64_t parts[3];

    for (size_t i = 0; i < 3; i++) {
        size_t end = i < 2 ? str_find(text, '.') : text.len;
        if (!str_to_i64((struct str){text.ptr, end}, 0, 999, &parts[i]))
            return false;
        text = str_slice(text, end + 1);
    }
    *major = (int)parts[0];
    return parts[0] >= 6 && parts[0] <= 8;
}

static enum fp_err set_sidekiq_version(struct config *config, const struct dotenv *dotenv,
                                       struct err *err)
{
    static const char name[] = "FEDPUSH_SIDEKIQ_VERSION";
    const char *value = dotenv_value(dotenv, name);

    if (value == NULL)
        value = mastodon_sidekiq_version(&config->mastodon);
    if (!parse_sidekiq_version(str_of(value), &config->sidekiq_major))
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

/* Values that are right alone, but not together. */
static enum fp_err refuse_contradictions(struct config *config, const struct dotenv *dotenv,
                                         struct err *err)
{
    if (strcmp(config->handoff_queue, "push") == 0)
        return refuse(dotenv, "FEDPUSH_HANDOFF_QUEUE", err,
                      "must not be \"push\", the queue that fedpush empties: name one that a Ruby "
                      "Sidekiq process serves, like \"default\"");
    if (config->lookahead_jobs < config->max_in_flight)
        return refuse(dotenv, "FEDPUSH_LOOKAHEAD", err,
                      "must not be smaller than FEDPUSH_MAX_IN_FLIGHT");
    return FP_OK;
}

static enum fp_err load(struct config *config, struct dotenv *dotenv, const char *mastodon_dir,
                        struct err *err)
{
    enum fp_err code = read_files(dotenv, mastodon_dir, err);

    if (code == FP_OK)
        code = refuse_unknown(dotenv, err);
    if (code == FP_OK)
        code = set_direct(config, dotenv, err);
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
        code = refuse_contradictions(config, dotenv, err);
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

static void put_value(const struct config *config, const struct row *row, struct buf *out)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    const void *member = (const char *)config + row->offset;

    switch (row->type) {
    case ROW_TEXT:
        buf_put_str(out, str_of(*(char *const *)member));
        break;
    case ROW_INT:
    case ROW_INT64:
        buf_printf(out, "%lld", (long long)number_of(config, row));
        break;
    case ROW_TRUE:
        buf_printf(out, "%s", *(const bool *)member ? "true" : "false");
        break;
    case ROW_LEVEL:
        buf_printf(out, "%s", levels[*(const enum log_level *)member]);
        break;
    case ROW_VERSION:
        buf_printf(out, "%s", ((const struct mastodon_version *)member)->text);
        break;
    }
    buf_put_char(out, '\0');
}

void config_encode(const struct config *config, enum role role, struct buf *out)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if ((rows[i].roles & 1U << role) == 0)
            continue;
        buf_put(out, rows[i].name, strlen(rows[i].name) + 1);
        put_value(config, &rows[i], out);
    }
}

/* Takes the text before the next NUL; false when there is none. */
static bool take_text(struct str *bytes, struct str *text)
{
    size_t end = str_find(*bytes, '\0');

    if (end == bytes->len)
        return false;
    *text = (struct str){bytes->ptr, end};
    *bytes = str_slice(*bytes, end + 1);
    return true;
}

static const struct row *row_named(struct str name)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i].roles != 0 && str_equal(str_of(rows[i].name), name))
            return &rows[i];
    }
    return NULL;
}

/* What was not sent is "" or its default. */
static void set_defaults(struct config *config)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const char *otherwise = rows[i].otherwise != NULL ? rows[i].otherwise : "";
        if ((rows[i].type == ROW_TEXT || rows[i].otherwise != NULL) &&
            !set_row(config, &rows[i], str_of(otherwise)))
            abort(); /* the table contradicts itself */
    }
}

bool config_decode(struct config *config, struct str bytes)
{
    struct str name;
    struct str value;

    *config = (struct config){0};
    set_defaults(config);
    while (bytes.len > 0) {
        const struct row *row = NULL;
        if (take_text(&bytes, &name) && take_text(&bytes, &value))
            row = row_named(name);
        if (row == NULL || !set_row(config, row, value)) {
            config_clear(config);
            return false;
        }
    }
    return true;
}

static void help_line(struct buf *out, const char *name, const char *help, const char *otherwise)
{
    buf_printf(out, "  %-26s %s", name, help);
    if (otherwise != NULL)
        buf_printf(out, " (default: %s)", otherwise);
    buf_put_char(out, '\n');
}

void config_help(struct buf *out)
{
    for (size_t i = 0; i < SOURCE_COUNT; i++)
        help_line(out, sources[i].name, sources[i].help, NULL);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i].help != NULL)
            help_line(out, rows[i].name, rows[i].help, rows[i].otherwise);
    }
}
