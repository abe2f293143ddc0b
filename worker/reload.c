#include "worker/reload.h"

#include <stdlib.h>
#include <string.h>

#include "base/config_row.h"

/* Values that several variables make are named after the one that is most likely meant. Of the
 * others, versions are taken over, and `proxy_names` are part of FEDPUSH_PROXIES. */
static const struct {
    const char *row, *name;
} derived[] = {
    {"web_domain", "LOCAL_DOMAIN or WEB_DOMAIN"},
    {"redis_namespace", "REDIS_NAMESPACE"},
    {"redis_base_url", "Redis (base)"},
    {"redis_sidekiq_url", "Redis (Sidekiq)"},
    {"redis_cache_url", "Redis (cache)"},
    {"postgres_mastodon", "PostgreSQL (Mastodon)"},
    {"postgres_fedpush", "FEDPUSH_DATABASE_URL"},
    {"postgres_keys", "FEDPUSH_KEYS_DATABASE_URL"},
    {"smtp_domain", "SMTP_DOMAIN"},
    {"smtp_starttls", "SMTP_ENABLE_STARTTLS"},
};

static void put_name(struct buf *out, const char *name)
{
    buf_printf(out, "%s%s", out->len > 0 ? ", " : "", name);
}

static void take_version(struct config *config, const struct config *fresh, struct buf *restart)
{
    config->mastodon = fresh->mastodon;
    config->mastodon_version_set = fresh->mastodon_version_set;
    if (str_equal(str_of(config->sidekiq_version), str_of(fresh->sidekiq_version)))
        return;
    if (config->sidekiq_version_set != 0 || fresh->sidekiq_version_set != 0) {
        put_name(restart, "Sidekiq's version");
        return;
    }
    free(config->sidekiq_version); /* the one that this Mastodon has */
    config->sidekiq_version = str_dup(str_of(fresh->sidekiq_version));
}

/* What an admin knows it by; NULL: it isn't named. */
static const char *name_of(const struct config_row *row)
{
    if (!row->derived)
        return row->name;
    for (size_t i = 0; i < sizeof(derived) / sizeof(derived[0]); i++) {
        if (strcmp(row->name, derived[i].row) == 0)
            return derived[i].name;
    }
    return NULL;
}

static void name_the_rest(const struct config *config, const struct config *fresh,
                          struct buf *restart)
{
    const struct config_row *row;

    for (size_t i = 0; (row = config_row_at(i)) != NULL; i++) {
        const char *name = name_of(row);
        if (name != NULL && !row->reloadable && !config_row_is_same(row, config, fresh))
            put_name(restart, name);
    }
}

void reload_merge(struct config *config, const struct config *fresh, struct buf *restart)
{
    config->claim_rate = fresh->claim_rate;
    config->max_rate = fresh->max_rate;
    config->drain_seconds = fresh->drain_seconds;
    config->log_level = fresh->log_level;
    free(config->log_deliveries);
    config->log_deliveries = str_dup(str_of(fresh->log_deliveries));
    reload_upgrade(config, fresh, restart);
}

void reload_upgrade(struct config *config, const struct config *fresh, struct buf *restart)
{
    take_version(config, fresh, restart);
    name_the_rest(config, fresh, restart);
}
