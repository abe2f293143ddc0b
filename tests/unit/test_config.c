#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "base/config.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { MAX_VARIABLES = 16 };

/* An environment of `lines` ("A=1\nB=2"), which must outlive it. */
struct environment {
    char *text;
    char *variables[MAX_VARIABLES + 1];
};

static void make_environment(struct environment *environment, const char *lines)
{
    char *rest = NULL;
    size_t count = 0;

    *environment = (struct environment){.text = str_dup(str_of(lines))};
    for (char *line = strtok_r(environment->text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        assert_true(count < MAX_VARIABLES);
        environment->variables[count++] = line;
    }
}

static enum fp_err try_load(struct config *config, const char *lines, const char *dir,
                            struct err *err)
{
    struct environment environment;

    make_environment(&environment, lines);
    enum fp_err code = config_load(config, environment.variables, dir, err);
    free(environment.text);
    return code;
}

#define BASICS "LOCAL_DOMAIN=social.test\nFEDPUSH_MASTODON_VERSION=4.5.15\n"

static struct config load(const char *lines)
{
    struct config config;
    struct err err = {0};

    if (try_load(&config, lines, NULL, &err) != FP_OK)
        fail_msg("%s: %s", lines, err.message);
    return config;
}

static void assert_refused(const char *lines, const char *error)
{
    struct config config;
    struct err err = {0};

    if (try_load(&config, lines, NULL, &err) == FP_OK)
        fail_msg("accepted: %s", lines);
    if (strcmp(err.message, error) != 0)
        fail_msg("\"%s\" instead of \"%s\"", err.message, error);
    assert_null(config.web_domain); /* nothing is left to clear */
}

static void defaults_are_those_of_mastodon_and_the_help(void **state)
{
    struct config config = load(BASICS);
    (void)state;

    assert_string_equal(config.web_domain, "social.test");
    assert_string_equal(config.mastodon_dir, "");
    assert_string_equal(config.redis_base_url, "redis://localhost:6379/0");
    assert_string_equal(config.redis_sidekiq_url, config.redis_base_url);
    assert_string_equal(config.redis_cache_url, config.redis_base_url);
    assert_string_equal(config.redis_namespace, "");
    assert_string_equal(config.runtime_dir, "/run/fedpush");
    assert_string_equal(config.user, "fedpush");
    assert_string_equal(config.queues, "push");
    assert_false(config_takes_pull(&config));
    assert_string_equal(config.handoff_queue, "default");
    assert_string_equal(config.handoff_queue_pull, "");
    assert_string_equal(config.resolvers, "");
    assert_string_equal(config.http_proxy, "");
    assert_int_equal(config.workers, 0);
    assert_int_equal(config.signing_threads, 0);
    assert_int_equal(config.max_in_flight, 2048);
    assert_int_equal(config.lookahead_jobs, 4096);
    assert_true(config.lookahead_bytes == INT64_C(12) << 20);
    assert_int_equal(config.host_window, 32);
    assert_int_equal(config.max_rate, 1000);
    assert_true(config.double_knock);
    assert_int_equal(config.claim_rate, 0);
    assert_int_equal(config.drain_seconds, 25);
    assert_int_equal(config.history_days, 90);
    assert_int_equal(config.concurrency, 60);
    assert_int_equal(config.key_cache, 4096);
    assert_int_equal(config.log_level, LOG_LEVEL_INFO);
    assert_false(config.followers_synchronization_off);
    assert_false(config.allow_hidden_service);
    config_clear(&config);
}

static void given_values_are_taken(void **state)
{
    struct config config = load(BASICS "WEB_DOMAIN=web.test:8443\n"
                                       "FEDPUSH_WORKERS=64\n"
                                       "FEDPUSH_LOOKAHEAD_BYTES=4294967296\n"
                                       "FEDPUSH_LOG_LEVEL=debug\n"
                                       "DISABLE_FOLLOWERS_SYNCHRONIZATION=true\n"
                                       "ALLOW_ACCESS_TO_HIDDEN_SERVICE=1\n"
                                       "http_proxy=http://proxy.test:3128\n"
                                       "FEDPUSH_USER=\n"
                                       "RUNTIME_DIRECTORY=/run/other\n"
                                       "FEDPUSH_QUEUES=push,pull\n"
                                       "FEDPUSH_HANDOFF_QUEUE_PULL=pull_ruby\n");
    (void)state;

    assert_string_equal(config.web_domain, "web.test:8443");
    assert_int_equal(config.workers, 64);
    assert_true(config.lookahead_bytes == INT64_C(4) << 30);
    assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
    assert_true(config.followers_synchronization_off);
    assert_false(config.allow_hidden_service); /* exactly "true", as Mastodon */
    assert_string_equal(config.http_proxy, "http://proxy.test:3128");
    assert_string_equal(config.user, "fedpush"); /* empty is not set */
    assert_string_equal(config.runtime_dir, "/run/other");
    assert_true(config_takes_pull(&config));
    assert_string_equal(config.handoff_queue_pull, "pull_ruby");
    config_clear(&config);
    config = load(BASICS "RUNTIME_DIRECTORY=/run/other\nFEDPUSH_RUNTIME_DIR=/run/own\n");
    assert_string_equal(config.runtime_dir, "/run/own");
    config_clear(&config);
}

#define HASH_REFUSED                                                                                \
    "FEDPUSH_ADMIN_PASSWORD_HASH: is not what `fedpush password` prints ($argon2id$…; in a file " \
    "between single quotes)"

static void unusable_values_are_refused(void **state)
{
    static const struct {
        const char *lines, *error;
    } cases[] = {
        {BASICS "FEDPUSH_WORKERS=x", "FEDPUSH_WORKERS: \"x\" is not a whole number from 0 to 64"},
        {BASICS "FEDPUSH_WORKERS=65", "FEDPUSH_WORKERS: \"65\" is not a whole number from 0 to 64"},
        {BASICS "FEDPUSH_WORKERS=1\r2", "FEDPUSH_WORKERS: \"1?2\" is not a whole number from 0 to "
                                        "64"},
        {BASICS "FEDPUSH_MAX_IN_FLIGHT=0",
         "FEDPUSH_MAX_IN_FLIGHT: \"0\" is not a whole number from 1 to 65536"},
        {BASICS "FEDPUSH_LOG_LEVEL=loud",
         "FEDPUSH_LOG_LEVEL: \"loud\" is not error, warn, info or debug"},
        {BASICS "FEDPUSH_LOG_DELIVERIES=a.example,https://b.example",
         "FEDPUSH_LOG_DELIVERIES: is not failed, all, or hosts in small letters like "
         "example.org,*.example.net"},
        {BASICS "FEDPUSH_LOG_DELIVERIES=*",
         "FEDPUSH_LOG_DELIVERIES: is not failed, all, or hosts in small letters like "
         "example.org,*.example.net"},
        {BASICS "http_proxy=socks5://me:secret@proxy.test",
         "http_proxy: is not a URL like http://proxy.example:3128 (with user:password@ before the "
         "host if the proxy wants them)"},
        {BASICS "FEDPUSH_DOUBLE_KNOCK=no", "FEDPUSH_DOUBLE_KNOCK: \"no\" is not true or false"},
        {BASICS "FEDPUSH_WORKER=2", "FEDPUSH_WORKER: is no setting of fedpush: correct its name "
                                    "(`fedpush run --help` lists them) "
                                    "or remove it"},
        {BASICS "FEDPUSH_HANDOFF_QUEUE=push",
         "FEDPUSH_HANDOFF_QUEUE: must not be a queue that fedpush empties (FEDPUSH_QUEUES): name "
         "one that a Ruby Sidekiq process serves, like \"default\""},
        {BASICS "FEDPUSH_QUEUES=pull", "FEDPUSH_QUEUES: is neither \"push\" nor \"push,pull\": no "
                                       "other queue has deliveries"},
        {BASICS "FEDPUSH_QUEUES=push,pull",
         "FEDPUSH_HANDOFF_QUEUE_PULL is not set, but FEDPUSH_QUEUES has pull: name a queue for "
         "pull's jobs that only Ruby can do, like \"pull_ruby\", and have a Sidekiq process serve "
         "it (-q pull_ruby)"},
        {BASICS "FEDPUSH_QUEUES=push,pull\nFEDPUSH_HANDOFF_QUEUE_PULL=pull",
         "FEDPUSH_HANDOFF_QUEUE_PULL: must not be a queue that fedpush empties (FEDPUSH_QUEUES): "
         "name one that a Ruby Sidekiq process serves, like \"pull_ruby\""},
        {BASICS "FEDPUSH_QUEUES=push,pull\nFEDPUSH_HANDOFF_QUEUE_PULL=push",
         "FEDPUSH_HANDOFF_QUEUE_PULL: must not be a queue that fedpush empties (FEDPUSH_QUEUES): "
         "name one that a Ruby Sidekiq process serves, like \"pull_ruby\""},
        {BASICS "FEDPUSH_QUEUES=push,pull\nFEDPUSH_HANDOFF_QUEUE=pull\n"
                "FEDPUSH_HANDOFF_QUEUE_PULL=pull_ruby",
         "FEDPUSH_HANDOFF_QUEUE: must not be a queue that fedpush empties (FEDPUSH_QUEUES): name "
         "one that a Ruby Sidekiq process serves, like \"default\""},
        {BASICS "FEDPUSH_LOOKAHEAD=100",
         "FEDPUSH_LOOKAHEAD: must not be smaller than FEDPUSH_MAX_IN_FLIGHT"},
        {"LOCAL_DOMAIN=social.test",
         "Mastodon's version is not known: name its directory with --mastodon DIR (or "
         "FEDPUSH_MASTODON_DIR), or set FEDPUSH_MASTODON_VERSION"},
        {"FEDPUSH_MASTODON_VERSION=4.5.15",
         "LOCAL_DOMAIN is not set: name Mastodon's directory with --mastodon DIR (or "
         "FEDPUSH_MASTODON_DIR), or set LOCAL_DOMAIN (and WEB_DOMAIN)"},
        {BASICS "WEB_DOMAIN=https://social.test",
         "WEB_DOMAIN: is not a domain like social.example"},
        {BASICS "REDIS_NAMESPACE=masto",
         "REDIS_NAMESPACE: Mastodon 4.4 and newer have no Redis namespace and don't start with "
         "one: remove it"},
        {BASICS "FEDPUSH_SIDEKIQ_VERSION=9.0.0",
         "FEDPUSH_SIDEKIQ_VERSION: is not a version of Sidekiq 6, 7 or 8 like 8.0.9"},
        {BASICS "REDIS_SENTINEL_MASTER=m\nREDIS_SENTINELS=one.test:x",
         "REDIS_SENTINELS: is not a list of at most 16 like one.example,two.example:26379 "
         "(REDIS_SENTINEL_PORT for those without a port)"},
        {BASICS "CACHE_REDIS_SENTINEL_MASTER=m\nCACHE_REDIS_SENTINELS=one.test\n"
                "CACHE_REDIS_SENTINEL_PORT=many",
         "CACHE_REDIS_SENTINEL_PORT: \"many\" is not a whole number from 1 to 65535"},
        {BASICS "SIDEKIQ_REDIS_HOST=s.test\nSIDEKIQ_REDIS_DB=first",
         "SIDEKIQ_REDIS_DB: \"first\" is not a whole number from 0 to 65535"},
        {BASICS "FEDPUSH_REDIS_CERT_FILE=/c",
         "FEDPUSH_REDIS_CERT_FILE: needs its key, too: set FEDPUSH_REDIS_KEY_FILE (it may be the "
         "same file)"},
        {BASICS "FEDPUSH_ALERT_MAIL=a@b.test,c",
         "FEDPUSH_ALERT_MAIL: is not a list of at most 20 addresses like "
         "admin@example.org,ops@example.org"},
        {BASICS "FEDPUSH_ALERT_WEBHOOK=ftp://hidden.test",
         "FEDPUSH_ALERT_WEBHOOK: is not a URL that starts with https:// (or http://)"},
        {BASICS "FEDPUSH_ALERT_WEBHOOK=https://hidden.test/a b",
         "FEDPUSH_ALERT_WEBHOOK: is not a URL that starts with https:// (or http://)"},
        {BASICS "FEDPUSH_ADMIN_LISTEN=4480", "FEDPUSH_ADMIN_LISTEN: is not ADDRESS:PORT "
                                             "(127.0.0.1:4480, [::1]:4480) or unix:/PATH"},
        {BASICS "FEDPUSH_ADMIN_URL=https://fed.test/?a=b",
         "FEDPUSH_ADMIN_URL: is not a URL like https://fedpush.example or "
         "https://example/fedpush"},
        {BASICS "FEDPUSH_ADMIN_PASSWORD_HASH=hidden", HASH_REFUSED},
        {BASICS "FEDPUSH_ADMIN_PASSWORD_HASH=$argon2id$v=19$m=65536,t=3,p=1$hidden", HASH_REFUSED},
        {BASICS "FEDPUSH_ADMIN_TRUSTED_PROXIES=10.0.0.0/8,proxy.test",
         "FEDPUSH_ADMIN_TRUSTED_PROXIES: has what is neither an address, a network like "
         "10.0.0.0/8, nor the word unix, or more than 64 of them"},
        {BASICS "FEDPUSH_ADMIN_OAUTH_ID=a",
         "FEDPUSH_ADMIN_OAUTH_ID: needs FEDPUSH_ADMIN_OAUTH_SECRET, too"},
        {BASICS "FEDPUSH_ADMIN_OAUTH_SECRET=hidden",
         "FEDPUSH_ADMIN_OAUTH_SECRET: needs FEDPUSH_ADMIN_OAUTH_ID, too"},
        {BASICS "FEDPUSH_ADMIN_OAUTH_ID=a\nFEDPUSH_ADMIN_OAUTH_SECRET=b",
         "FEDPUSH_ADMIN_OAUTH_ID: needs FEDPUSH_ADMIN_URL: Mastodon sends browsers back to it"},
        {BASICS "FEDPUSH_ADMIN_URL=https://fed.test\nFEDPUSH_ADMIN_OAUTH_ID=a\n"
                "FEDPUSH_ADMIN_OAUTH_SECRET=b\nFEDPUSH_ADMIN_OAUTH_URL=social.test",
         "FEDPUSH_ADMIN_OAUTH_URL: is not a URL like https://social.example"},
        {BASICS "FEDPUSH_REDIS_KEY_FILE=/k",
         "FEDPUSH_REDIS_KEY_FILE: needs its certificate, too: set FEDPUSH_REDIS_CERT_FILE"},
        {BASICS "SIDEKIQ_REDIS_URL=redis://:hidden@s.test:first",
         "SIDEKIQ_REDIS_URL: bad port; expected redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DB] or "
         "unix://PATH[?db=N]"},
        {BASICS "REDIS_PASSWORD=hidden\nCACHE_REDIS_HOST=c.test/1",
         "CACHE_REDIS_HOST: is not a host name or an address"},
        {BASICS "REDIS_URL=redis+sentinel://:hidden@a.test/m/0",
         "REDIS_URL: is not a URL that starts with redis://, rediss:// or unix://"},
        {BASICS "REDIS_URL=http://:hidden@redis.test",
         "REDIS_URL: is not a URL that starts with redis://, rediss:// or unix://"},
        {BASICS "FEDPUSH_DATABASE_URL=postgres://u:hidden@db.test/x?pool=5",
         "FEDPUSH_DATABASE_URL: is not a URL like "
         "postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=require (special characters in the "
         "password as %XX)"},
        {BASICS "DATABASE_URL=mysql://u:hidden@db.test/x",
         "DATABASE_URL: is not a URL like "
         "postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=require (special characters in the "
         "password as %XX)"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++)
        assert_refused(cases[i].lines, cases[i].error);
}

static void values_that_no_role_could_be_sent_are_refused(void **state)
{
    static const char *const names[] = {"DB_PASS", "REDIS_PASSWORD", "FEDPUSH_CA_FILE",
                                        "FEDPUSH_RESOLVERS"};
    char long_text[40000];
    (void)state;

    memset(long_text, '\'', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    for (size_t i = 0; i < COUNT(names); i++) {
        char *lines = mem_printf(BASICS "%s=%s", names[i], long_text);
        assert_refused(lines, "the values of the configuration are longer than 32768 bytes "
                              "together: look for one that is much too long");
        lines[strlen(lines) - sizeof(long_text) + 1 + 1000] = '\0';
        struct config config = load(lines);
        config_clear(&config);
        free(lines);
    }
}

static void versions_decide_what_others_need(void **state)
{
    static const struct {
        const char *version, *sidekiq, *http_rb;
    } cases[] = {
        {"4.2.29", "6.5.12", "5.1.1"}, {"4.3.23", "6.5.12", "5.2.0"},
        {"4.4.22", "7.3.9", "5.3.1"},  {"4.5.15+glitch", "8.0.9", "5.3.1"},
        {"4.6.5", "8.1.6", "5.3.1"},   {"4.7.0-alpha.2", "8.1.6", "5.3.1"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        char *lines =
            mem_printf("LOCAL_DOMAIN=a.test\nFEDPUSH_MASTODON_VERSION=%s", cases[i].version);
        struct config config = load(lines);
        assert_string_equal(config.mastodon.text, cases[i].version);
        assert_string_equal(config.mastodon.http_rb, cases[i].http_rb);
        assert_string_equal(config.sidekiq_version, cases[i].sidekiq);
        assert_int_equal(config.sidekiq_version_set, 0);
        config_clear(&config);
        free(lines);
    }
    struct config config = load(BASICS "FEDPUSH_SIDEKIQ_VERSION=7.1.0");
    assert_string_equal(config.sidekiq_version, "7.1.0");
    assert_int_equal(config.sidekiq_version_set, 1);
    assert_true(mastodon_version_compare(&config.mastodon, 4, 5, 15) == 0);
    assert_true(mastodon_version_compare(&config.mastodon, 4, 5, 16) < 0);
    assert_true(mastodon_version_compare(&config.mastodon, 4, 4, 99) > 0);
    config_clear(&config);
}

static void what_is_no_version_is_refused(void **state)
{
    static const char *const versions[] = {"4.5",      "4.5.x", "4.5.15 ", "v4.5.15",
                                           "4.5.15.1", "4.1.9", "-4.5.15", "4.5.15\tx"};
    (void)state;

    for (size_t i = 0; i < COUNT(versions); i++) {
        char *lines = mem_printf("LOCAL_DOMAIN=a.test\nFEDPUSH_MASTODON_VERSION=%s", versions[i]);
        struct config config;
        struct err err = {0};
        if (try_load(&config, lines, NULL, &err) == FP_OK)
            fail_msg("accepted: %s", versions[i]);
        assert_true(str_starts_with(str_of(err.message), STR("FEDPUSH_MASTODON_VERSION: ")));
        assert_null(strchr(err.message, '\t'));
        free(lines);
    }
}

static void redis_roles_follow_mastodons_precedence(void **state)
{
    static const char *const versions[] = {"4.2.29", "4.3.23", "4.4.22",
                                           "4.5.15", "4.6.5",  "4.7.0"};
    static const struct {
        const char *version, *lines, *base, *sidekiq, *cache; /* from 4.3 on all are alike */
    } cases[] = {
        {"4.5.15", "REDIS_HOST=r.test\nREDIS_PORT=7\nREDIS_DB=2\nREDIS_PASSWORD=p@:/ö",
         "redis://:p%40%3A%2F%C3%B6@r.test:7/2", "redis://:p%40%3A%2F%C3%B6@r.test:7/2",
         "redis://:p%40%3A%2F%C3%B6@r.test:7/2"},
        {"4.5.15", "REDIS_USER=u\nREDIS_PASSWORD=p", "redis://u:p@localhost:6379/0",
         "redis://u:p@localhost:6379/0", "redis://u:p@localhost:6379/0"},
        {"4.5.15", "REDIS_URL=rediss://a.test\nREDIS_HOST=ignored\nSIDEKIQ_REDIS_HOST=s.test",
         "rediss://a.test", "redis://s.test:6379/0", "rediss://a.test"},
        {"4.5.15", "REDIS_PASSWORD=p\nSIDEKIQ_REDIS_PASSWORD=alone\nCACHE_REDIS_URL=unix:///c",
         "redis://:p@localhost:6379/0", "redis://:p@localhost:6379/0", "unix:///c"},
        {"4.5.15", "REDIS_URL=redis://a.test\nREDIS_SENTINELS=one.test", "redis://a.test",
         "redis://a.test", "redis://a.test"},
        {"4.5.15", "REDIS_HOST=::1", "redis://[::1]:6379/0", "redis://[::1]:6379/0",
         "redis://[::1]:6379/0"},
        /* All the parts of a role of its own; nothing of the base's is inherited. */
        {"4.5.15",
         "REDIS_PASSWORD=p\nREDIS_DB=3\nSIDEKIQ_REDIS_HOST=s.test\nCACHE_REDIS_HOST=c.test\n"
         "CACHE_REDIS_PORT=7\nCACHE_REDIS_DB=4\nCACHE_REDIS_USER=u\nCACHE_REDIS_PASSWORD=q",
         "redis://:p@localhost:6379/3", "redis://s.test:6379/0", "redis://u:q@c.test:7/4"},
        {"4.3.0", "REDIS_URL=redis://a.test\nSIDEKIQ_REDIS_PORT=7\nCACHE_REDIS_DB=1",
         "redis://a.test", "redis://a.test", "redis://a.test"},
        /* Sentinels, since 4.3: both variables, and no URL; the credentials default to the role's.
         */
        {"4.3.0", "REDIS_SENTINELS=one.test,two.test:7\nREDIS_SENTINEL_MASTER=m/1",
         "redis+sentinel://one.test:26379,two.test:7/m%2F1/0?",
         "redis+sentinel://one.test:26379,two.test:7/m%2F1/0?",
         "redis+sentinel://one.test:26379,two.test:7/m%2F1/0?"},
        {"4.5.15",
         "SIDEKIQ_REDIS_SENTINELS=one.test, [::1]\nSIDEKIQ_REDIS_SENTINEL_MASTER=m\n"
         "SIDEKIQ_REDIS_SENTINEL_PORT=9\nSIDEKIQ_REDIS_DB=5\nSIDEKIQ_REDIS_USER=u\n"
         "SIDEKIQ_REDIS_PASSWORD=p:\nSIDEKIQ_REDIS_HOST=ignored.test",
         "redis://localhost:6379/0", "redis+sentinel://u:p%3A@one.test:9,[::1]:9/m/5?u:p%3A",
         "redis://localhost:6379/0"},
        {"4.7.0",
         "REDIS_SENTINELS=one.test\nREDIS_SENTINEL_MASTER=m\nREDIS_PASSWORD=p\n"
         "REDIS_SENTINEL_USERNAME=su\nREDIS_SENTINEL_PASSWORD=sp\nCACHE_REDIS_HOST=c.test",
         "redis+sentinel://:p@one.test:26379/m/0?su:sp",
         "redis+sentinel://:p@one.test:26379/m/0?su:sp", "redis://c.test:6379/0"},
        {"4.5.15", "REDIS_HOST=r.test\nREDIS_SENTINELS=one.test\nSIDEKIQ_REDIS_SENTINEL_MASTER=m",
         "redis://r.test:6379/0", "redis://r.test:6379/0", "redis://r.test:6379/0"},
        {"4.5.15", "REDIS_URL=redis://a.test\nREDIS_SENTINELS=one.test\nREDIS_SENTINEL_MASTER=m",
         "redis://a.test", "redis://a.test", "redis://a.test"},
        /* 4.2: any of four makes a server; no users, no sentinels. */
        {"4.2.29", "SIDEKIQ_REDIS_PORT=7\nCACHE_REDIS_DB=2\nREDIS_HOST=a.test",
         "redis://a.test:6379/0", "redis://localhost:7/0", "redis://localhost:6379/2"},
        {"4.2.29", "REDIS_SENTINELS=one.test\nREDIS_SENTINEL_MASTER=m\nSIDEKIQ_REDIS_USER=u",
         "redis://localhost:6379/0", "redis://localhost:6379/0", "redis://localhost:6379/0"},
        {"4.2.29", "REDIS_URL=redis://a.test\nSIDEKIQ_REDIS_PASSWORD=p", "redis://a.test",
         "redis://:p@localhost:6379/0", "redis://a.test"},
        {"4.2.29", "REDIS_USER=u\nREDIS_PASSWORD=p\nREDIS_SENTINELS=one.test",
         "redis://:p@localhost:6379/0", "redis://:p@localhost:6379/0",
         "redis://:p@localhost:6379/0"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        bool before_4_3 = strcmp(cases[i].version, "4.2.29") == 0;
        for (size_t v = before_4_3 ? 0 : 1; v < (before_4_3 ? 1 : COUNT(versions)); v++) {
            char *lines = mem_printf("LOCAL_DOMAIN=a.test\nFEDPUSH_MASTODON_VERSION=%s\n%s",
                                     versions[v], cases[i].lines);
            struct config config = load(lines);
            assert_string_equal(config.redis_base_url, cases[i].base);
            assert_string_equal(config.redis_sidekiq_url, cases[i].sidekiq);
            assert_string_equal(config.redis_cache_url, cases[i].cache);
            config_clear(&config);
            free(lines);
        }
    }
    struct config config =
        load("LOCAL_DOMAIN=a.test\nFEDPUSH_MASTODON_VERSION=4.3.1\nREDIS_NAMESPACE=masto");
    assert_string_equal(config.redis_namespace, "masto");
    config_clear(&config);
}

/* `expected` NULL: not set. */
static void assert_option(const char *conninfo, const char *keyword, const char *expected)
{
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    const char *value = NULL;

    assert_non_null(options);
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (strcmp(o->keyword, keyword) == 0)
            value = o->val;
    }
    if (expected == NULL ? value != NULL : value == NULL || strcmp(value, expected) != 0)
        fail_msg("%s is \"%s\" instead of \"%s\" in %s", keyword, value != NULL ? value : "not set",
                 expected != NULL ? expected : "not set", conninfo);
    PQconninfoFree(options);
}

static void the_database_follows_mastodons_precedence(void **state)
{
    static const struct {
        const char *lines, *host, *port, *dbname, *user, *password, *sslmode;
    } cases[] = {
        {"", "localhost", "5432", "mastodon_production", "mastodon", NULL, "prefer"},
        {"DB_HOST=/run/pg\nDB_PORT=6432\nDB_NAME=m\nDB_USER=u\nDB_PASS=a'b\\c d", "/run/pg", "6432",
         "m", "u", "a'b\\c d", "prefer"},
        /* Key by key over the rest. */
        {"DB_HOST=h.test\nDB_PASS=old\nDB_SSLMODE=require\nDATABASE_URL=postgres://"
         "u2:n%40w@h2.test/"
         "m2?pool=5&prepared_statements=false",
         "h2.test", "5432", "m2", "u2", "n@w", "require"},
        {"DB_NAME=kept\nDATABASE_URL=postgresql://h2.test?sslmode=verify-full", "h2.test", "5432",
         "kept", "mastodon", NULL, "verify-full"},
        {"DATABASE_URL=postgres://no.test/no\nPRIMARY_DATABASE_URL=postgres://yes.test/yes",
         "yes.test", "5432", "yes", "mastodon", NULL, "prefer"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        char *lines = mem_printf(BASICS "%s", cases[i].lines);
        struct config config = load(lines);
        assert_option(config.postgres_mastodon, "host", cases[i].host);
        assert_option(config.postgres_mastodon, "port", cases[i].port);
        assert_option(config.postgres_mastodon, "dbname", cases[i].dbname);
        assert_option(config.postgres_mastodon, "user", cases[i].user);
        assert_option(config.postgres_mastodon, "password", cases[i].password);
        assert_option(config.postgres_mastodon, "sslmode", cases[i].sslmode);
        assert_option(config.postgres_mastodon, "connect_timeout", "15");
        assert_string_equal(config.postgres_fedpush, config.postgres_mastodon);
        assert_string_equal(config.postgres_keys, config.postgres_mastodon);
        config_clear(&config);
        free(lines);
    }
}

static void databases_of_our_own_are_apart(void **state)
{
    struct config config = load(BASICS "DB_SSLMODE=require\nPGSSLROOTCERT=/ca.pem\n"
                                       "FEDPUSH_DATABASE_URL=postgres://f:p@own.test:1/own\n"
                                       "FEDPUSH_KEYS_DATABASE_URL=postgres://k:q@keys.test/keys\n");
    (void)state;

    assert_option(config.postgres_mastodon, "host", "localhost");
    assert_option(config.postgres_mastodon, "sslrootcert", "/ca.pem");
    assert_option(config.postgres_fedpush, "host", "own.test");
    assert_option(config.postgres_fedpush, "user", "f");
    assert_option(config.postgres_fedpush, "sslmode", NULL);
    assert_option(config.postgres_fedpush, "connect_timeout", "15");
    assert_option(config.postgres_keys, "host", "keys.test");
    assert_option(config.postgres_keys, "password", "q");
    config_clear(&config);
}

/* ---- what each role gets to see ---- */

static struct buf encode(const struct config *config, enum role role)
{
    struct buf bytes;

    buf_init(&bytes, CONTROL_MAX_BYTES);
    config_encode(config, role, &bytes);
    assert_false(bytes.overflow);
    return bytes;
}

static bool contains(const struct buf *bytes, const char *text)
{
    return memmem(bytes->ptr, bytes->len, text, strlen(text)) != NULL;
}

static void a_role_sees_only_its_share(void **state)
{
    static const struct {
        enum role role;
        bool redis, mastodon, own, keys, proxy, encryption;
    } cases[] = {
        {ROLE_SCHEDULER, true, true, true, false, false, false},
        {ROLE_SIGNER, false, false, false, true, false, true},
        {ROLE_WORKER, false, false, false, false, true, false},
        {ROLE_ADMIN, true, true, true, false, false, false},
    };
    struct config config = load(
        BASICS "REDIS_PASSWORD=redispw\nDB_PASS=mastodonpw\nhttp_proxy=http://u:proxypw@p.test\n"
               "FEDPUSH_PROXIES=eu=http://u:namedpw@p.test,us-2=http://q.test\n"
               "SMTP_PASSWORD=smtppw\nFEDPUSH_ALERT_WEBHOOK=https://chat.test/hookpath\n"
               "FEDPUSH_ALERT_WEBHOOK_SECRET=hooksecret\n"
               "FEDPUSH_DATABASE_URL=postgres://f:ownpw@own.test/own\n"
               "FEDPUSH_KEYS_DATABASE_URL=postgres://k:keyspw@keys.test/keys\n"
               "ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY=primarysecret\n"
               "ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY=deterministic\n"
               "ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT='s# lt'\n");
    (void)state;

    assert_true(config_encryption_is_set(&config));
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf bytes = encode(&config, cases[i].role);
        assert_true(contains(&bytes, "social.test"));
        assert_int_equal(contains(&bytes, "redispw"), cases[i].redis);
        assert_int_equal(contains(&bytes, "mastodonpw"), cases[i].mastodon);
        assert_int_equal(contains(&bytes, "ownpw"), cases[i].own);
        assert_int_equal(contains(&bytes, "keyspw"), cases[i].keys);
        assert_int_equal(contains(&bytes, "proxypw"), cases[i].proxy);
        assert_int_equal(contains(&bytes, "namedpw"), cases[i].proxy);
        assert_int_equal(contains(&bytes, "eu,us-2"), cases[i].redis);
        assert_int_equal(contains(&bytes, "primarysecret"), cases[i].encryption);
        assert_int_equal(contains(&bytes, "s# lt"), cases[i].encryption);
        assert_int_equal(contains(&bytes, "smtppw"), cases[i].role == ROLE_ADMIN);
        assert_int_equal(contains(&bytes, "hookpath"), cases[i].role == ROLE_ADMIN);
        assert_int_equal(contains(&bytes, "hooksecret"), cases[i].role == ROLE_ADMIN);
        assert_false(contains(&bytes, "deterministic"));
        buf_clear(&bytes);
    }
    config_clear(&config);
}

static void mail_is_sent_as_mastodon_sends_it(void **state)
{
    static const struct {
        const char *lines, *domain, *starttls;
        bool tls, ssl;
    } cases[] = {
        {"", "social.test", "auto", false, false},
        {"WEB_DOMAIN=web.test\nSMTP_ENABLE_STARTTLS=always", "social.test", "always", false, false},
        {"SMTP_DOMAIN=mail.test\nSMTP_ENABLE_STARTTLS=never", "mail.test", "never", false, false},
        {"SMTP_ENABLE_STARTTLS=auto\nSMTP_TLS=true", "social.test", "auto", true, false},
        {"SMTP_ENABLE_STARTTLS_AUTO=false\nSMTP_SSL=true", "social.test", "never", false, true},
        {"SMTP_ENABLE_STARTTLS_AUTO=no\nSMTP_TLS=1", "social.test", "auto", false, false},
        {"SMTP_ENABLE_STARTTLS=always\nSMTP_ENABLE_STARTTLS_AUTO=false", "social.test", "always",
         false, false},
        /* Mastodon's mistakes are no reason not to deliver. */
        {"SMTP_PORT=many\nSMTP_AUTH_METHOD=magic\nSMTP_FROM_ADDRESS=nobody", "social.test", "auto",
         false, false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        char *lines = mem_printf(BASICS "%s", cases[i].lines);
        struct config config = load(lines);
        assert_string_equal(config.smtp_domain, cases[i].domain);
        assert_string_equal(config.smtp_starttls, cases[i].starttls);
        assert_int_equal(config.smtp_tls, cases[i].tls);
        assert_int_equal(config.smtp_ssl, cases[i].ssl);
        config_clear(&config);
        free(lines);
    }
    struct config config = load(BASICS);
    assert_string_equal(config.smtp_from, "notifications@localhost");
    assert_string_equal(config.smtp_auth, "plain");
    assert_string_equal(config.smtp_server, "");
    config_clear(&config);
}

static void an_empty_address_means_no_page(void **state)
{
    struct config config = load(BASICS "FEDPUSH_ADMIN_LISTEN=\n");
    (void)state;

    assert_string_equal(config.admin_listen, "");
    config_clear(&config);
    config = load(BASICS);
    assert_string_equal(config.admin_listen, "127.0.0.1:4480");
    config_clear(&config);
}

static void a_role_gets_what_was_loaded(void **state)
{
    struct config config =
        load(BASICS "FEDPUSH_MAX_IN_FLIGHT=77\nFEDPUSH_LOOKAHEAD_BYTES=2000000\n"
                    "FEDPUSH_LOG_LEVEL=warn\nDISABLE_FOLLOWERS_SYNCHRONIZATION=true\n"
                    "FEDPUSH_RESOLVERS=127.0.0.1:53\n");
    struct buf bytes = encode(&config, ROLE_SCHEDULER);
    struct config copy;
    (void)state;

    assert_true(config_decode(&copy, buf_str(&bytes)));
    assert_string_equal(copy.web_domain, "social.test");
    assert_string_equal(copy.mastodon.text, "4.5.15");
    assert_string_equal(copy.mastodon.http_rb, "5.3.1");
    assert_string_equal(copy.sidekiq_version, "8.0.9");
    assert_int_equal(copy.sidekiq_version_set, config.sidekiq_version_set);
    assert_string_equal(copy.redis_sidekiq_url, config.redis_sidekiq_url);
    assert_string_equal(copy.postgres_mastodon, config.postgres_mastodon);
    assert_string_equal(copy.resolvers, "127.0.0.1:53");
    assert_int_equal(copy.max_in_flight, 77);
    assert_true(copy.lookahead_bytes == 2000000);
    assert_int_equal(copy.log_level, LOG_LEVEL_WARN);
    assert_true(copy.followers_synchronization_off);
    assert_string_equal(copy.postgres_keys, "");
    config_clear(&copy);
    buf_clear(&bytes);
    config_clear(&config);
}

static void malformed_encodings_are_refused(void **state)
{
    static const struct str cases[] = {
        {"web_domain", 10},
        {"web_domain\0x", 12},
        {"nonsense\0x\0", 11},
        {"FEDPUSH_USER\0root\0", 18}, /* no role's */
        {"FEDPUSH_MAX_IN_FLIGHT\0000\0", 24},
        {"FEDPUSH_LOG_LEVEL\0loud\0", 23},
        {"mastodon_version\0004\0", 19},
        {"\0\0", 2},
    };
    static const char good[] = "web_domain\0x";
    struct config config;
    (void)state;

    assert_true(config_decode(&config, (struct str){good, sizeof(good)}));
    assert_string_equal(config.web_domain, "x");
    config_clear(&config);
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (config_decode(&config, cases[i]))
            fail_msg("accepted: %s", cases[i].ptr);
        assert_null(config.web_domain);
    }
}

/* ---- Mastodon's directory ---- */

static void write_file(const char *dir, const char *name, const char *text)
{
    char *path = mem_printf("%s/%s", dir, name);
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    free(path);
}

static const char version_rb[] = "module Mastodon\n"
                                 "  module Version\n"
                                 "    module_function\n"
                                 "    def major\n      4\n    end\n"
                                 "    def minor\n      6\n    end\n"
                                 "    def patch\n      0\n    end\n"
                                 "    def default_prerelease\n      'beta.1'\n    end\n";

static int make_mastodon(void **state)
{
    char *dir = mem_printf("/tmp/fedpush-config-XXXXXX");
    char *lib;

    *state = dir;
    if (mkdtemp(dir) == NULL)
        return -1;
    lib = mem_printf("%s/lib", dir);
    int result = mkdir(lib, 0700);
    free(lib);
    lib = mem_printf("%s/lib/mastodon", dir);
    result |= mkdir(lib, 0700);
    free(lib);
    write_file(dir, "lib/mastodon/version.rb", version_rb);
    return result;
}

static int remove_mastodon(void **state)
{
    static const char *const names[] = {"lib/mastodon/version.rb", "env.production",
                                        ".env.production.local",   ".env.local",
                                        ".env.production",         ".env"};
    char *dir = *state;

    for (size_t i = 0; i < COUNT(names); i++) {
        char *path = mem_printf("%s/%s", dir, names[i]);
        unlink(path);
        free(path);
    }
    for (size_t i = 0; i < 3; i++) {
        static const char *const folders[] = {"/lib/mastodon", "/lib", ""};
        char *path = mem_printf("%s%s", dir, folders[i]);
        int result = rmdir(path);
        free(path);
        if (result != 0)
            return result;
    }
    free(dir);
    return 0;
}

static struct config load_dir(const char *lines, const char *dir)
{
    struct config config;
    struct err err = {0};

    if (try_load(&config, lines, dir, &err) != FP_OK)
        fail_msg("%s", err.message);
    return config;
}

static void files_are_read_in_rails_order(void **state)
{
    const char *dir = *state;
    char *lines = mem_printf("FEDPUSH_MASTODON_DIR=%s\nDB_NAME=of_environment", dir);

    write_file(dir, ".env", "LOCAL_DOMAIN=four.test\nDB_NAME=x\nDB_USER=four\nDB_HOST=four.test\n");
    write_file(dir, ".env.production", "LOCAL_DOMAIN=three.test\nDB_NAME=x\nDB_USER=three\n");
    write_file(dir, ".env.local", "LOCAL_DOMAIN=two.test\nDB_NAME=x\nDB_PORT=2\n");
    write_file(dir, ".env.production.local", "LOCAL_DOMAIN=one.test\nDB_NAME=x\n");
    struct config config = load_dir(lines, NULL);
    assert_string_equal(config.mastodon_dir, dir);
    assert_string_equal(config.web_domain, "one.test");
    assert_option(config.postgres_mastodon, "dbname", "of_environment");
    assert_option(config.postgres_mastodon, "port", "2");
    assert_option(config.postgres_mastodon, "user", "three");
    assert_option(config.postgres_mastodon, "host", "four.test");
    config_clear(&config);
    config = load_dir("FEDPUSH_MASTODON_DIR=/nonexistent", dir); /* the argument wins */
    assert_string_equal(config.mastodon_dir, dir);
    config_clear(&config);
    free(lines);
}

static void the_version_is_read_from_ruby(void **state)
{
    const char *dir = *state;
    char *glitch = mem_printf("%s    def build_metadata\n"
                              "      ['glitch', ENV.fetch('MASTODON_VERSION_METADATA', nil)]"
                              ".compact.join('.')\n    end\n",
                              version_rb);
    const struct {
        const char *ruby, *lines, *version;
    } cases[] = {
        {version_rb, "", "4.6.0-beta.1"},
        {version_rb, "\nMASTODON_VERSION_PRERELEASE=rc.2\nMASTODON_VERSION_METADATA=own",
         "4.6.0-rc.2+own"},
        {glitch, "", "4.6.0-beta.1+glitch"},
        {glitch, "\nMASTODON_VERSION_METADATA=own", "4.6.0-beta.1+glitch.own"},
        {glitch, "\nFEDPUSH_MASTODON_VERSION=4.4.1", "4.4.1"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        char *lines = mem_printf("LOCAL_DOMAIN=a.test%s", cases[i].lines);
        write_file(dir, "lib/mastodon/version.rb", cases[i].ruby);
        struct config config = load_dir(lines, dir);
        assert_string_equal(config.mastodon.text, cases[i].version);
        config_clear(&config);
        free(lines);
    }
    free(glitch);
}

static void files_are_read_by_the_rules_of_the_version(void **state)
{
    static const char file[] = "LOCAL_DOMAIN=a.test\nDB_PASS=\"a\\nb\"\nDB_USER\n";
    static const struct {
        const char *lines, *more, *pass, *user;
    } cases[] = {
        {"", "", "a\\nb", "mastodon"}, /* version.rb has 4.6 */
        {"FEDPUSH_MASTODON_VERSION=4.4.0", "", "a\\nb", "mastodon"},
        {"FEDPUSH_MASTODON_VERSION=4.3.23", "", "a\\nb", "later"},
        {"FEDPUSH_MASTODON_VERSION=4.2.29", "", "a\nb", "later"},
        {"", "FEDPUSH_MASTODON_VERSION=4.2.29\n", "a\nb", "later"},
        /* `export DB_NAME=` is an error by version.rb's rules, but not by the file's. */
        {"", "FEDPUSH_MASTODON_VERSION=4.2.29\nexport DB_NAME=\n", "a\nb", "later"},
        {"FEDPUSH_MASTODON_VERSION=4.5.0", "FEDPUSH_MASTODON_VERSION=4.2.29\n", "a\\nb",
         "mastodon"},
    };
    const char *dir = *state;

    write_file(dir, ".env", "DB_USER=later\n");
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *text = mem_printf("%s%s", file, cases[i].more);
        write_file(dir, ".env.production", text);
        struct config config = load_dir(cases[i].lines, dir);
        assert_option(config.postgres_mastodon, "password", cases[i].pass);
        assert_option(config.postgres_mastodon, "user", cases[i].user);
        config_clear(&config);
        free(text);
    }
}

static void an_unreadable_version_names_the_remedies(void **state)
{
    const char *dir = *state;
    char *expected = mem_printf("%s/none/lib/mastodon/version.rb cannot be read: name Mastodon's "
                                "directory with --mastodon DIR (or FEDPUSH_MASTODON_DIR), or set "
                                "FEDPUSH_MASTODON_VERSION",
                                dir);
    char *none = mem_printf("%s/none", dir);
    struct config config;
    struct err err = {0};

    assert_int_equal(try_load(&config, "LOCAL_DOMAIN=a.test", none, &err), FP_INVALID);
    assert_string_equal(err.message, expected);
    write_file(dir, "lib/mastodon/version.rb", "puts 'nothing'\n");
    assert_int_equal(try_load(&config, "LOCAL_DOMAIN=a.test", dir, &err), FP_INVALID);
    assert_non_null(strstr(err.message, "lib/mastodon/version.rb: "));
    free(none);
    free(expected);
}

static void a_credential_stands_for_the_files(void **state)
{
    const char *dir = *state;
    char *lines = mem_printf("CREDENTIALS_DIRECTORY=%s", dir);

    write_file(dir, ".env", "LOCAL_DOMAIN=file.test\nDB_NAME=file\n");
    write_file(dir, "env.production", "LOCAL_DOMAIN=credential.test\n");
    struct config config = load_dir(lines, dir);
    assert_string_equal(config.web_domain, "credential.test");
    assert_option(config.postgres_mastodon, "dbname", "mastodon_production");
    assert_string_equal(config.mastodon.text, "4.6.0-beta.1");
    config_clear(&config);
    free(lines);
}

static void errors_in_files_tell_where(void **state)
{
    const char *dir = *state;
    char *expected = mem_printf("%s/.env:2: FEDPUSH_WORKERS: \"-1\" is not a whole number from 0 "
                                "to 64",
                                dir);
    struct config config;
    struct err err = {0};

    write_file(dir, ".env", "LOCAL_DOMAIN=a.test\nFEDPUSH_WORKERS=-1\n");
    assert_int_equal(try_load(&config, "", dir, &err), FP_INVALID);
    assert_string_equal(err.message, expected);
    write_file(dir, ".env", "LOCAL_DOMAIN=a.test\nDB_PASS=$(cat /hidden)\n");
    assert_int_equal(try_load(&config, "", dir, &err), FP_INVALID);
    assert_non_null(strstr(err.message, "/.env:2: DB_PASS: $(...) is not run here"));
    free(expected);
}

static void the_help_lists_every_variable_of_ours(void **state)
{
    struct buf help;
    size_t lines = 0;
    (void)state;

    buf_init(&help, 16384);
    config_help(&help);
    assert_non_null(strstr(buf_cstr(&help), "  FEDPUSH_DATABASE_URL "));
    assert_non_null(strstr(buf_cstr(&help), "(default: 2048)\n"));
    assert_non_null(strstr(buf_cstr(&help), "(default: 25; reloadable)\n"));
    for (const char *line = buf_cstr(&help); *line != '\0'; lines++) {
        size_t len = strcspn(line, "\n");
        if (len > 100)
            fail_msg("longer than 100 columns: %.*s", (int)len, line);
        assert_true(str_starts_with(str_of(line), STR("  FEDPUSH_")));
        line += len + 1;
    }
    assert_int_equal(lines, 45);
    buf_clear(&help);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_mastodon_and_the_help),
        cmocka_unit_test(given_values_are_taken),
        cmocka_unit_test(unusable_values_are_refused),
        cmocka_unit_test(values_that_no_role_could_be_sent_are_refused),
        cmocka_unit_test(versions_decide_what_others_need),
        cmocka_unit_test(what_is_no_version_is_refused),
        cmocka_unit_test(redis_roles_follow_mastodons_precedence),
        cmocka_unit_test(the_database_follows_mastodons_precedence),
        cmocka_unit_test(databases_of_our_own_are_apart),
        cmocka_unit_test(a_role_sees_only_its_share),
        cmocka_unit_test(mail_is_sent_as_mastodon_sends_it),
        cmocka_unit_test(an_empty_address_means_no_page),
        cmocka_unit_test(a_role_gets_what_was_loaded),
        cmocka_unit_test(malformed_encodings_are_refused),
        cmocka_unit_test_setup_teardown(files_are_read_in_rails_order, make_mastodon,
                                        remove_mastodon),
        cmocka_unit_test_setup_teardown(the_version_is_read_from_ruby, make_mastodon,
                                        remove_mastodon),
        cmocka_unit_test_setup_teardown(files_are_read_by_the_rules_of_the_version, make_mastodon,
                                        remove_mastodon),
        cmocka_unit_test_setup_teardown(an_unreadable_version_names_the_remedies, make_mastodon,
                                        remove_mastodon),
        cmocka_unit_test_setup_teardown(a_credential_stands_for_the_files, make_mastodon,
                                        remove_mastodon),
        cmocka_unit_test_setup_teardown(errors_in_files_tell_where, make_mastodon, remove_mastodon),
        cmocka_unit_test(the_help_lists_every_variable_of_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
