/*
 * Configuration: Mastodon's own variables (environment first, then .env.production) and FEDPUSH_*.
 * One table row a variable: name, type, unit, bounds, default, reloadable, which roles may see it,
 * help. The same rows make parsing, error texts, `--help` and the encoding for each role. Values of
 * passwords, keys, tokens, salts and URLs are never printed.
 */
#ifndef FEDPUSH_BASE_CONFIG_H
#define FEDPUSH_BASE_CONFIG_H

#include "base/control.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"

enum { CONFIG_MAX_TRUSTED_PROXIES = 64 };

struct mastodon_version {
    int major, minor, patch;
    char text[64];    /* as in the User-Agent: "4.5.15+glitch" */
    char http_rb[16]; /* http.rb's version in that release: "5.3.1" */
};
/* a before b: <0, equal: 0, after: >0 */
int mastodon_version_compare(const struct mastodon_version *version, int major, int minor,
                             int patch);

/* Strings are owned; NULL or "" where nothing is set. */
struct config {
    /* Mastodon's */
    char *mastodon_dir;
    char *web_domain;                 /* WEB_DOMAIN, else LOCAL_DOMAIN */
    struct mastodon_version mastodon; /* Reloadable */
    bool mastodon_version_set; /* by FEDPUSH_MASTODON_VERSION, which wins over what is installed */
    char *sidekiq_version;   /* like "8.0.9": FEDPUSH_SIDEKIQ_VERSION, else by Mastodon's version */
    int sidekiq_version_set; /* 1: by FEDPUSH_SIDEKIQ_VERSION, which wins over what is seen */
    char *redis_namespace;   /* legal up to 4.3; "" otherwise */
    char *redis_base_url;    /* roles resolved by Mastodon's precedence, always as a URL */
    char *redis_sidekiq_url;
    char *redis_cache_url;
    char *redis_ca_file;     /* FEDPUSH_REDIS_CA_FILE */
    char *redis_cert_file;   /* FEDPUSH_REDIS_CERT_FILE: both or none */
    char *redis_key_file;    /* FEDPUSH_REDIS_KEY_FILE */
    char *postgres_mastodon; /* libpq conninfo, Mastodon's precedence */
    char *postgres_fedpush;  /* FEDPUSH_DATABASE_URL as conninfo, else as postgres_mastodon */
    char *postgres_keys; /* FEDPUSH_KEYS_DATABASE_URL as conninfo, else as postgres_mastodon: the
                            signer's */
    /* ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY and …_KEY_DERIVATION_SALT, as they stand; the signer's
     */
    char *encryption_primary_key;
    char *encryption_salt;
    char *http_proxy; /* as Mastodon: lower-case http_proxy */
    char *http_hidden_proxy;
    char *proxies;                      /* FEDPUSH_PROXIES, "NAME=URL,…"; the worker's */
    char *proxy_names;                  /* their names, "NAME,…"; the scheduler's */
    bool allow_hidden_service;          /* ALLOW_ACCESS_TO_HIDDEN_SERVICE */
    bool followers_synchronization_off; /* DISABLE_FOLLOWERS_SYNCHRONIZATION */
    char *allowed_private_addresses;
    /* How Mastodon sends mail (SMTP_…), for alerts */
    char *smtp_server; /* "" = localhost */
    char *smtp_port;   /* as it stands; "" = 25 */
    char *smtp_login;
    char *smtp_password;
    char *smtp_from;     /* SMTP_FROM_ADDRESS: ADDRESS, or NAME <ADDRESS> */
    char *smtp_domain;   /* for EHLO: SMTP_DOMAIN, else LOCAL_DOMAIN */
    char *smtp_auth;     /* SMTP_AUTH_METHOD, "plain" */
    char *smtp_verify;   /* SMTP_OPENSSL_VERIFY_MODE: "none", or the certificate is checked */
    char *smtp_ca_file;  /* "" = the system's */
    char *smtp_starttls; /* "always", "auto" or "never" */
    bool smtp_tls;       /* SMTP_TLS or SMTP_SSL: TLS from the first byte */
    bool smtp_ssl;
    /* ours */
    char *user;              /* FEDPUSH_USER, "fedpush" */
    char *runtime_dir;       /* FEDPUSH_RUNTIME_DIR, else $RUNTIME_DIRECTORY, else /run/fedpush */
    int workers;             /* FEDPUSH_WORKERS; 0: one a core */
    int signing_threads;     /* FEDPUSH_SIGNING_THREADS; 0: one a core */
    int max_in_flight;       /* FEDPUSH_MAX_IN_FLIGHT, jobs with the workers; default 2,048 */
    int lookahead_jobs;      /* FEDPUSH_LOOKAHEAD, 4,096 */
    int64_t lookahead_bytes; /* FEDPUSH_LOOKAHEAD_BYTES, 12 MiB */
    int host_window;         /* FEDPUSH_HOST_WINDOW, for the fleet; 32 */
    int max_rate;        /* FEDPUSH_MAX_RATE, deliveries a second for the fleet, 1,000; 0: no limit.
                            Reloadable */
    int claim_rate;      /* FEDPUSH_CLAIM_RATE, jobs a second; 0: no limit. Reloadable */
    int history_days;    /* FEDPUSH_HISTORY_DAYS, 90 */
    int drain_seconds;   /* FEDPUSH_DRAIN_SECONDS, 25. Reloadable */
    int concurrency;     /* FEDPUSH_CONCURRENCY, advertised in `processes`, 60 */
    int key_cache;       /* FEDPUSH_KEY_CACHE, accounts, 4,096 */
    bool double_knock;   /* FEDPUSH_DOUBLE_KNOCK, true */
    char *queues;        /* FEDPUSH_QUEUES, "push" or "push,pull" */
    char *handoff_queue; /* FEDPUSH_HANDOFF_QUEUE, "default" */
    char *handoff_queue_pull; /* FEDPUSH_HANDOFF_QUEUE_PULL; set when pull is consumed */
    char *resolvers;          /* FEDPUSH_RESOLVERS, "" = the system's */
    int dns_rate;  /* FEDPUSH_DNS_RATE, packets a second of all workers, 900; 0: no limit */
    char *ca_file; /* FEDPUSH_CA_FILE: CAs for remote hosts instead of the system's */
    /* the admin process */
    char *admin_listen;        /* FEDPUSH_ADMIN_LISTEN, "127.0.0.1:4480"; "": there is none */
    char *admin_url;           /* FEDPUSH_ADMIN_URL: where browsers find its page, or "" */
    char *admin_password_hash; /* FEDPUSH_ADMIN_PASSWORD_HASH: Argon2id */
    char *admin_oauth_id;      /* FEDPUSH_ADMIN_OAUTH_ID and …_SECRET: both or none */
    char *admin_oauth_secret;
    char *admin_oauth_url;       /* FEDPUSH_ADMIN_OAUTH_URL, "": https:// web_domain */
    char *admin_trusted_proxies; /* FEDPUSH_ADMIN_TRUSTED_PROXIES; "unix": of a Unix socket */
    /* alerts */
    char *alert_mail;           /* FEDPUSH_ALERT_MAIL: recipients, "ADDRESS,…" */
    char *alert_webhook;        /* FEDPUSH_ALERT_WEBHOOK; its path may be a secret */
    char *alert_webhook_secret; /* FEDPUSH_ALERT_WEBHOOK_SECRET: "" = nothing is signed */
    int alert_queue_age_s;      /* FEDPUSH_ALERT_QUEUE_AGE, 300 */
    int alert_followers;        /* FEDPUSH_ALERT_FOLLOWERS, 100; 0: no alerts of domains */
    int alert_memory_percent;   /* FEDPUSH_ALERT_MEMORY, 90 */
    enum log_level log_level;   /* FEDPUSH_LOG_LEVEL, "info". Reloadable */
    char *log_deliveries;       /* FEDPUSH_LOG_DELIVERIES: "failed", "all", or hosts. Reloadable */
};

/*
 * Reads the environment and, when FEDPUSH_MASTODON_DIR (or `mastodon_dir`, which wins; may be NULL)
 * is set, DIR/.env.production.local, .env.local, .env.production, .env in dotenv's order and rules,
 * and DIR/lib/mastodon/version.rb; with $CREDENTIALS_DIRECTORY set, its file `env.production` (or
 * `.env.production`) instead. The environment wins over files. The rules are those of the dotenv in
 * Mastodon's version: FEDPUSH_MASTODON_VERSION in the environment, else in a file (which is then
 * read again by its rules), else version.rb. Only a fixed list of variables is
 * kept; everything else that was read is wiped. Errors: one line naming variable (file and line
 * where it stands in one) and what would be accepted; never a secret's value. Unknown FEDPUSH_*
 * names are refused. `$(…)` is refused. `environment` is environ's form.
 */
enum fp_err config_load(struct config *config, char *const environment[], const char *mastodon_dir,
                        struct err *err) FP_MUST_CHECK;
void config_clear(struct config *config); /* wipes secrets */
/* True when the queue `pull` is consumed beside `push`. */
bool config_takes_pull(const struct config *config);
/* Whether both of ACTIVE_RECORD_ENCRYPTION_… are there. */
bool config_encryption_is_set(const struct config *config);

/* What `role` may see, as bytes for CONTROL_CONFIG: scheduler: Redis, PostgreSQL (mastodon,
 * fedpush), no keys database when that is its own URL; signer: postgres_keys, encryption,
 * web_domain, version;
 * worker: no credential (proxies excepted); admin: as the scheduler, with its own logins. */
void config_encode(const struct config *config, enum role role, struct buf *out);
bool config_decode(struct config *config, struct str bytes) FP_MUST_CHECK;

/* Lines for `--help`: name, default, unit, meaning. Appends. */
void config_help(struct buf *out);

#endif
