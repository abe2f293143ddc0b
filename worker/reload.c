#include "worker/reload.h"

#include <stdlib.h>
#include <string.h>

/* Several variables can make one value: it is named after the one that is most likely meant. */
static const struct {
    const char *name;
    size_t offset;
} texts[] = {
    {"LOCAL_DOMAIN or WEB_DOMAIN", offsetof(struct config, web_domain)},
    {"REDIS_NAMESPACE", offsetof(struct config, redis_namespace)},
    {"Redis (base)", offsetof(struct config, redis_base_url)},
    {"Redis (Sidekiq)", offsetof(struct config, redis_sidekiq_url)},
    {"Redis (cache)", offsetof(struct config, redis_cache_url)},
    {"FEDPUSH_REDIS_CA_FILE", offsetof(struct config, redis_ca_file)},
    {"FEDPUSH_REDIS_CERT_FILE", offsetof(struct config, redis_cert_file)},
    {"FEDPUSH_REDIS_KEY_FILE", offsetof(struct config, redis_key_file)},
    {"PostgreSQL (Mastodon)", offsetof(struct config, postgres_mastodon)},
    {"FEDPUSH_DATABASE_URL", offsetof(struct config, postgres_fedpush)},
    {"FEDPUSH_KEYS_DATABASE_URL", offsetof(struct config, postgres_keys)},
    {"ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY", offsetof(struct config, encryption_primary_key)},
    {"ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT", offsetof(struct config, encryption_salt)},
    {"http_proxy", offsetof(struct config, http_proxy)},
    {"http_hidden_proxy", offsetof(struct config, http_hidden_proxy)},
    {"ALLOWED_PRIVATE_ADDRESSES", offsetof(struct config, allowed_private_addresses)},
    {"FEDPUSH_USER", offsetof(struct config, user)},
    {"FEDPUSH_RUNTIME_DIR", offsetof(struct config, runtime_dir)},
    {"FEDPUSH_HANDOFF_QUEUE", offsetof(struct config, handoff_queue)},
    {"FEDPUSH_RESOLVERS", offsetof(struct config, resolvers)},
    {"FEDPUSH_CA_FILE", offsetof(struct config, ca_file)},
    {"FEDPUSH_ADMIN_LISTEN", offsetof(struct config, admin_listen)},
    {"FEDPUSH_ADMIN_URL", offsetof(struct config, admin_url)},
    {"FEDPUSH_ADMIN_PASSWORD_HASH", offsetof(struct config, admin_password_hash)},
    {"FEDPUSH_ADMIN_OAUTH_ID", offsetof(struct config, admin_oauth_id)},
    {"FEDPUSH_ADMIN_OAUTH_SECRET", offsetof(struct config, admin_oauth_secret)},
    {"FEDPUSH_ADMIN_OAUTH_URL", offsetof(struct config, admin_oauth_url)},
    {"FEDPUSH_ADMIN_TRUSTED_PROXIES", offsetof(struct config, admin_trusted_proxies)},
};

static const struct {
    const char *name;
    size_t offset;
} numbers[] = {
    {"FEDPUSH_WORKERS", offsetof(struct config, workers)},
    {"FEDPUSH_SIGNING_THREADS", offsetof(struct config, signing_threads)},
    {"FEDPUSH_MAX_IN_FLIGHT", offsetof(struct config, max_in_flight)},
    {"FEDPUSH_LOOKAHEAD", offsetof(struct config, lookahead_jobs)},
    {"FEDPUSH_HOST_WINDOW", offsetof(struct config, host_window)},
    {"FEDPUSH_CONCURRENCY", offsetof(struct config, concurrency)},
    {"FEDPUSH_KEY_CACHE", offsetof(struct config, key_cache)},
    {"FEDPUSH_DNS_RATE", offsetof(struct config, dns_rate)},
};

static void put_name(struct buf *out, const char *name)
{
    buf_printf(out, "%s%s", out->len > 0 ? ", " : "", name);
}

static const char *text_at(const struct config *config, size_t offset)
{
    const char *const *member = (const char *const *)(const void *)((const char *)config + offset);
    return *member != NULL ? *member : "";
}

static int number_at(const struct config *config, size_t offset)
{
    return *(const int *)(const void *)((const char *)config + offset);
}

static void take_version(struct config *config, const struct config *fresh, struct buf *restart)
{
    config->mastodon = fresh->mastodon;
    config->mastodon_version_set = fresh->mastodon_version_set;
    if (strcmp(text_at(config, offsetof(struct config, sidekiq_version)),
               text_at(fresh, offsetof(struct config, sidekiq_version))) == 0)
        return;
    if (config->sidekiq_version_set != 0 || fresh->sidekiq_version_set != 0) {
        put_name(restart, "Sidekiq's version");
        return;
    }
    free(config->sidekiq_version); /* the one that this Mastodon has */
    config->sidekiq_version = str_dup(str_of(fresh->sidekiq_version));
}

static void name_the_rest(const struct config *config, const struct config *fresh,
                          struct buf *restart)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t offset = texts[i].offset;
        if (strcmp(text_at(config, offset), text_at(fresh, offset)) != 0)
            put_name(restart, texts[i].name);
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        size_t offset = numbers[i].offset;
        if (number_at(config, offset) != number_at(fresh, offset))
            put_name(restart, numbers[i].name);
    }
    if (config->double_knock != fresh->double_knock)
        put_name(restart, "FEDPUSH_DOUBLE_KNOCK");
    if (config->allow_hidden_service != fresh->allow_hidden_service)
        put_name(restart, "ALLOW_ACCESS_TO_HIDDEN_SERVICE");
    if (config->followers_synchronization_off != fresh->followers_synchronization_off)
        put_name(restart, "DISABLE_FOLLOWERS_SYNCHRONIZATION");
    if (config->lookahead_bytes != fresh->lookahead_bytes)
        put_name(restart, "FEDPUSH_LOOKAHEAD_BYTES");
}

void reload_merge(struct config *config, const struct config *fresh, struct buf *restart)
{
    config->claim_rate = fresh->claim_rate;
    config->max_rate = fresh->max_rate;
    config->drain_seconds = fresh->drain_seconds;
    config->log_level = fresh->log_level;
    reload_upgrade(config, fresh, restart);
}

void reload_upgrade(struct config *config, const struct config *fresh, struct buf *restart)
{
    take_version(config, fresh, restart);
    name_the_rest(config, fresh, restart);
}
