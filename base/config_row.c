#include "base/config_row.h"

#include <stdlib.h>
#include <string.h>

#include "base/mastodon.h"
#include "base/secret.h"

enum {
    TO_SCHEDULER = 1 << ROLE_SCHEDULER,
    TO_WORKER = 1 << ROLE_WORKER,
    TO_SIGNER = 1 << ROLE_SIGNER,
    TO_ADMIN = 1 << ROLE_ADMIN,
    TO_ALL = TO_SCHEDULER | TO_WORKER | TO_SIGNER | TO_ADMIN,
};

#define MEMBER(name) offsetof(struct config, name)

static const struct config_row rows[] = {
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
     .roles = TO_SCHEDULER | TO_ADMIN},
    {.name = "sidekiq_version_set",
     .offset = MEMBER(sidekiq_version_set),
     .type = ROW_INT,
     .derived = true,
     .roles = TO_SCHEDULER | TO_ADMIN,
     .max = 1},
    {.name = "redis_namespace",
     .offset = MEMBER(redis_namespace),
     .derived = true,
     .roles = TO_SCHEDULER | TO_ADMIN},
    {.name = "redis_base_url",
     .offset = MEMBER(redis_base_url),
     .derived = true,
     .roles = TO_SCHEDULER | TO_ADMIN},
    {.name = "redis_sidekiq_url",
     .offset = MEMBER(redis_sidekiq_url),
     .derived = true,
     .roles = TO_SCHEDULER | TO_ADMIN},
    {.name = "redis_cache_url",
     .offset = MEMBER(redis_cache_url),
     .derived = true,
     .roles = TO_SCHEDULER | TO_ADMIN},
    {.name = "postgres_mastodon",
     .offset = MEMBER(postgres_mastodon),
     .derived = true,
     .roles = TO_SCHEDULER | TO_ADMIN},
    {.name = "postgres_fedpush",
     .offset = MEMBER(postgres_fedpush),
     .derived = true,
     .roles = TO_SCHEDULER | TO_ADMIN},
    {.name = "postgres_keys", .offset = MEMBER(postgres_keys), .derived = true, .roles = TO_SIGNER},
    {.name = "ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY",
     .offset = MEMBER(encryption_primary_key),
     .roles = TO_SIGNER},
    {.name = "ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT",
     .offset = MEMBER(encryption_salt),
     .roles = TO_SIGNER},
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
    {.name = "proxy_names",
     .offset = MEMBER(proxy_names),
     .derived = true,
     .roles = TO_SCHEDULER | TO_ADMIN},
    {.name = "SMTP_SERVER", .offset = MEMBER(smtp_server), .roles = TO_ADMIN},
    {.name = "SMTP_PORT", .offset = MEMBER(smtp_port), .roles = TO_ADMIN},
    {.name = "SMTP_LOGIN", .offset = MEMBER(smtp_login), .roles = TO_ADMIN},
    {.name = "SMTP_PASSWORD", .offset = MEMBER(smtp_password), .roles = TO_ADMIN},
    {.name = "SMTP_FROM_ADDRESS",
     .offset = MEMBER(smtp_from),
     .roles = TO_ADMIN,
     .otherwise = "notifications@localhost"},
    {.name = "smtp_domain", .offset = MEMBER(smtp_domain), .derived = true, .roles = TO_ADMIN},
    {.name = "SMTP_AUTH_METHOD",
     .offset = MEMBER(smtp_auth),
     .roles = TO_ADMIN,
     .otherwise = "plain"},
    {.name = "SMTP_OPENSSL_VERIFY_MODE", .offset = MEMBER(smtp_verify), .roles = TO_ADMIN},
    {.name = "SMTP_CA_FILE", .offset = MEMBER(smtp_ca_file), .roles = TO_ADMIN},
    {.name = "smtp_starttls", .offset = MEMBER(smtp_starttls), .derived = true, .roles = TO_ADMIN},
    {.name = "SMTP_TLS", .offset = MEMBER(smtp_tls), .type = ROW_TRUE, .roles = TO_ADMIN},
    {.name = "SMTP_SSL", .offset = MEMBER(smtp_ssl), .type = ROW_TRUE, .roles = TO_ADMIN},
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
     .help = "lock and identities; default: $RUNTIME_DIRECTORY, else /run/fedpush"},
    {.name = "FEDPUSH_WORKERS",
     .offset = MEMBER(workers),
     .type = ROW_INT,
     .roles = TO_SCHEDULER | TO_WORKER,
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
     .otherwise = "12582912",
     .help = "bytes of jobs held in memory"},
    {.name = "FEDPUSH_HOST_WINDOW",
     .offset = MEMBER(host_window),
     .type = ROW_INT,
     .roles = TO_SCHEDULER,
     .min = 1,
     .max = 256,
     .otherwise = "32",
     .help = "most in flight to one host, of all machines"},
    {.name = "FEDPUSH_MAX_RATE",
     .offset = MEMBER(max_rate),
     .type = ROW_INT,
     .reloadable = true,
     .roles = TO_SCHEDULER,
     .max = 1000000,
     .otherwise = "1000",
     .help = "deliveries a second, all machines; 0: any"},
    {.name = "FEDPUSH_CLAIM_RATE",
     .offset = MEMBER(claim_rate),
     .type = ROW_INT,
     .reloadable = true,
     .roles = TO_SCHEDULER,
     .max = 1000000,
     .otherwise = "0",
     .help = "jobs taken a second; 0: no limit"},
    {.name = "FEDPUSH_DRAIN_SECONDS",
     .offset = MEMBER(drain_seconds),
     .type = ROW_INT,
     .reloadable = true,
     .roles = TO_SCHEDULER,
     .min = 1,
     .max = 600,
     .otherwise = "25",
     .help = "seconds for deliveries to finish at the end"},
    {.name = "FEDPUSH_HISTORY_DAYS",
     .offset = MEMBER(history_days),
     .type = ROW_INT,
     .roles = TO_SCHEDULER,
     .min = 1,
     .max = 3650,
     .otherwise = "90",
     .help = "days that statistics of the past are kept"},
    {.name = "FEDPUSH_CONCURRENCY",
     .offset = MEMBER(concurrency),
     .type = ROW_INT,
     .roles = TO_SCHEDULER,
     .min = 1,
     .max = 10000,
     .otherwise = "60",
     .help = "threads shown; old posts deleted a run: 5 x these, <= 300"},
    {.name = "FEDPUSH_KEY_CACHE",
     .offset = MEMBER(key_cache),
     .type = ROW_INT,
     .roles = TO_SIGNER,
     .min = 16,
     .max = 65536,
     .otherwise = "4096",
     .help = "accounts whose keys are held in memory"},
    {.name = "FEDPUSH_DOUBLE_KNOCK",
     .offset = MEMBER(double_knock),
     .type = ROW_SWITCH,
     .roles = TO_SCHEDULER,
     .otherwise = "true",
     .help = "try the other signature scheme after a 400 or 401"},
    {.name = "FEDPUSH_QUEUES",
     .offset = MEMBER(queues),
     .roles = TO_SCHEDULER | TO_ADMIN,
     .otherwise = "push",
     .help = "queues whose jobs are taken: push, or push,pull"},
    {.name = "FEDPUSH_HANDOFF_QUEUE",
     .offset = MEMBER(handoff_queue),
     .roles = TO_SCHEDULER | TO_ADMIN,
     .otherwise = "default",
     .help = "queue of a Ruby process, for what only Ruby can do"},
    {.name = "FEDPUSH_HANDOFF_QUEUE_PULL",
     .offset = MEMBER(handoff_queue_pull),
     .roles = TO_SCHEDULER | TO_ADMIN,
     .help = "the same for jobs of pull; needed with FEDPUSH_QUEUES=push,pull"},
    {.name = "FEDPUSH_PROXIES",
     .offset = MEMBER(proxies),
     .roles = TO_WORKER,
     .help = "proxies for `fedpush domain limit --proxy NAME`: NAME=URL,…"},
    {.name = "FEDPUSH_RESOLVERS",
     .offset = MEMBER(resolvers),
     .roles = TO_ALL,
     .help = "DNS servers, ADDRESS[:PORT],…; default: those of /etc/resolv.conf"},
    {.name = "FEDPUSH_DNS_RATE",
     .offset = MEMBER(dns_rate),
     .type = ROW_INT,
     .roles = TO_SCHEDULER | TO_WORKER,
     .max = 1000000,
     .otherwise = "900",
     .help = "packets a second to DNS servers, all workers; 0: any"},
    {.name = "FEDPUSH_CA_FILE",
     .offset = MEMBER(ca_file),
     .roles = TO_WORKER | TO_ADMIN,
     .help = "file of CAs for remote hosts; default: the system's"},
    {.name = "FEDPUSH_REDIS_CA_FILE",
     .offset = MEMBER(redis_ca_file),
     .roles = TO_SCHEDULER | TO_ADMIN,
     .help = "file of CAs for Redis with TLS; default: the system's"},
    {.name = "FEDPUSH_REDIS_CERT_FILE",
     .offset = MEMBER(redis_cert_file),
     .roles = TO_SCHEDULER | TO_ADMIN,
     .help = "PEM file of the certificate for a Redis that asks for one"},
    {.name = "FEDPUSH_REDIS_KEY_FILE",
     .offset = MEMBER(redis_key_file),
     .roles = TO_SCHEDULER | TO_ADMIN,
     .help = "PEM file of that certificate's key"},
    {.name = "FEDPUSH_ADMIN_LISTEN",
     .offset = MEMBER(admin_listen),
     .empty_is_a_value = true,
     .roles = TO_ADMIN,
     .otherwise = "127.0.0.1:4480",
     .help = "the page: ADDRESS:PORT, unix:PATH or nothing"},
    {.name = "FEDPUSH_ADMIN_URL",
     .offset = MEMBER(admin_url),
     .roles = TO_ADMIN,
     .help = "URL at which browsers find the page, with its path behind a proxy"},
    {.name = "FEDPUSH_ADMIN_PASSWORD_HASH",
     .offset = MEMBER(admin_password_hash),
     .roles = TO_ADMIN,
     .help = "what `fedpush password` prints: the page's login"},
    {.name = "FEDPUSH_ADMIN_OAUTH_ID",
     .offset = MEMBER(admin_oauth_id),
     .roles = TO_ADMIN,
     .help = "client key of an application in this Mastodon: its login"},
    {.name = "FEDPUSH_ADMIN_OAUTH_SECRET",
     .offset = MEMBER(admin_oauth_secret),
     .roles = TO_ADMIN,
     .help = "client secret of that application"},
    {.name = "FEDPUSH_ADMIN_OAUTH_URL",
     .offset = MEMBER(admin_oauth_url),
     .roles = TO_ADMIN,
     .help = "URL of Mastodon where it isn't https://WEB_DOMAIN"},
    {.name = "FEDPUSH_ADMIN_TRUSTED_PROXIES",
     .offset = MEMBER(admin_trusted_proxies),
     .roles = TO_ADMIN,
     .help = "addresses, NETWORK/BITS,…, whose X-Forwarded-* and Forwarded count"},
    {.name = "FEDPUSH_ALERT_MAIL",
     .offset = MEMBER(alert_mail),
     .roles = TO_ADMIN,
     .help = "who gets alerts by mail, ADDRESS,…; sent as SMTP_… tell"},
    {.name = "FEDPUSH_ALERT_WEBHOOK",
     .offset = MEMBER(alert_webhook),
     .roles = TO_ADMIN,
     .help = "URL that alerts are posted to as JSON"},
    {.name = "FEDPUSH_ALERT_WEBHOOK_SECRET",
     .offset = MEMBER(alert_webhook_secret),
     .roles = TO_ADMIN,
     .help = "key of X-Fedpush-Signature, the HMAC of what is posted"},
    {.name = "FEDPUSH_ALERT_QUEUE_AGE",
     .offset = MEMBER(alert_queue_age_s),
     .type = ROW_INT,
     .min = 10,
     .max = 86400,
     .roles = TO_ADMIN,
     .otherwise = "300",
     .help = "alert when a job of push waits for so many seconds"},
    {.name = "FEDPUSH_ALERT_FOLLOWERS",
     .offset = MEMBER(alert_followers),
     .type = ROW_INT,
     .max = 1000000000,
     .roles = TO_ADMIN,
     .otherwise = "100",
     .help = "followers of a failing domain that alert; 0: never"},
    {.name = "FEDPUSH_ALERT_MEMORY",
     .offset = MEMBER(alert_memory_percent),
     .type = ROW_INT,
     .min = 10,
     .max = 100,
     .roles = TO_ADMIN,
     .otherwise = "90",
     .help = "alert when Redis uses so many percent of maxmemory"},
    {.name = "FEDPUSH_LOG_LEVEL",
     .offset = MEMBER(log_level),
     .type = ROW_LEVEL,
     .reloadable = true,
     .roles = TO_ALL,
     .otherwise = "info",
     .help = "error, warn, info or debug"},
    {.name = "FEDPUSH_LOG_DELIVERIES",
     .offset = MEMBER(log_deliveries),
     .reloadable = true,
     .roles = TO_SCHEDULER,
     .otherwise = "failed",
     .help = "deliveries logged: failed, all, HOST,…"},
};
enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

const struct config_row *config_row_at(size_t i)
{
    return i < ROW_COUNT ? &rows[i] : NULL;
}

/* Variables of ours that become part of a derived value. */
static const struct {
    const char *name, *help;
} sources[] = {
    {"FEDPUSH_MASTODON_VERSION",
     "Mastodon's version, like 4.5.15; default: from lib/mastodon/version.rb"},
    {"FEDPUSH_SIDEKIQ_VERSION", "Sidekiq's version, like 8.0.9; default: what runs, or Mastodon's"},
    {"FEDPUSH_DATABASE_URL", "database of the schema fedpush; default: Mastodon's"},
    {"FEDPUSH_KEYS_DATABASE_URL", "database role that reads key columns; default: Mastodon's"},
};
enum { SOURCE_COUNT = sizeof(sources) / sizeof(sources[0]) };

static char **text_of(struct config *config, const struct config_row *row)
{
    return (char **)(void *)((char *)config + row->offset);
}

static int64_t number_of(const struct config *config, const struct config_row *row)
{
    const void *member = (const char *)config + row->offset;
    return row->type == ROW_INT ? *(const int *)member : *(const int64_t *)member;
}

bool config_row_is_same(const struct config_row *row, const struct config *a,
                        const struct config *b)
{
    const void *left = (const char *)a + row->offset;
    const void *right = (const char *)b + row->offset;

    switch (row->type) {
    case ROW_TEXT:
        return str_equal(str_of(*(char *const *)left), str_of(*(char *const *)right));
    case ROW_INT:
    case ROW_INT64:
        return number_of(a, row) == number_of(b, row);
    case ROW_TRUE:
    case ROW_SWITCH:
        return *(const bool *)left == *(const bool *)right;
    case ROW_LEVEL:
        return *(const enum log_level *)left == *(const enum log_level *)right;
    case ROW_VERSION:
        return strcmp(((const struct mastodon_version *)left)->text,
                      ((const struct mastodon_version *)right)->text) == 0;
    }
    abort();
}

bool config_row_set(struct config *config, const struct config_row *row, struct str text)
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
    case ROW_SWITCH:
        *(bool *)member = str_equal(text, STR("true"));
        return *(bool *)member || str_equal(text, STR("false"));
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

bool config_encryption_is_set(const struct config *config)
{
    return config->encryption_primary_key[0] != '\0' && config->encryption_salt[0] != '\0';
}

bool config_is_known(const char *name)
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

static void put_value(const struct config *config, const struct config_row *row, struct buf *out)
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
    case ROW_SWITCH:
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

static const struct config_row *row_named(struct str name)
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
            !config_row_set(config, &rows[i], str_of(otherwise)))
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
        const struct config_row *row = NULL;
        if (take_text(&bytes, &name) && take_text(&bytes, &value))
            row = row_named(name);
        if (row == NULL || !config_row_set(config, row, value)) {
            config_clear(config);
            return false;
        }
    }
    return true;
}

static void help_line(struct buf *out, const char *name, const char *help)
{
    buf_printf(out, "  %-26s %s", name, help);
}

void config_help(struct buf *out)
{
    for (size_t i = 0; i < SOURCE_COUNT; i++) {
        help_line(out, sources[i].name, sources[i].help);
        buf_put_char(out, '\n');
    }
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i].help == NULL)
            continue;
        help_line(out, rows[i].name, rows[i].help);
        if (rows[i].otherwise != NULL)
            buf_printf(out, " (default: %s%s)", rows[i].otherwise,
                       rows[i].reloadable ? "; reloadable" : "");
        buf_put_char(out, '\n');
    }
}
