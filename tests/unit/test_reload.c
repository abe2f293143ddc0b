#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/config_row.h"
#include "worker/reload.h"

static char same_text[] = "same";
static char other_text[] = "secret-value";

static struct config sample(void)
{
    return (struct config){.web_domain = same_text,
                           .redis_sidekiq_url = same_text,
                           .workers = 2,
                           .drain_seconds = 25,
                           .log_level = LOG_LEVEL_INFO};
}

static void only_reloadable_values_are_taken_over(void **state)
{
    struct config config = sample();
    struct config fresh = sample();
    struct buf restart;
    (void)state;

    fresh.claim_rate = 100;
    fresh.drain_seconds = 60;
    fresh.log_level = LOG_LEVEL_DEBUG;
    buf_init(&restart, 1024);
    reload_merge(&config, &fresh, &restart);
    assert_string_equal(buf_cstr(&restart), "");
    assert_int_equal(config.claim_rate, 100);
    assert_int_equal(config.drain_seconds, 60);
    assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
    free(config.log_deliveries);
    buf_clear(&restart);
}

static void what_else_changed_is_named_without_its_value(void **state)
{
    struct config config = sample();
    struct config fresh = sample();
    struct buf restart;
    (void)state;

    fresh.redis_sidekiq_url = other_text;
    fresh.ca_file = other_text; /* was not set */
    fresh.workers = 8;
    fresh.lookahead_bytes = 1;
    fresh.allow_hidden_service = true;
    fresh.sidekiq_version = other_text;
    fresh.sidekiq_version_set = 1;
    buf_init(&restart, 1024);
    reload_merge(&config, &fresh, &restart);
    assert_string_equal(buf_cstr(&restart),
                        "Sidekiq's version, Redis (Sidekiq), ALLOW_ACCESS_TO_HIDDEN_SERVICE, "
                        "FEDPUSH_WORKERS, FEDPUSH_LOOKAHEAD_BYTES, FEDPUSH_CA_FILE");
    assert_ptr_equal(config.redis_sidekiq_url, same_text);
    assert_int_equal(config.workers, 2);
    free(config.log_deliveries);
    buf_clear(&restart);
}

static void change(struct config *config, const struct config_row *row)
{
    void *member = (char *)config + row->offset;

    switch (row->type) {
    case ROW_TEXT:
        *(char **)member = other_text;
        break;
    case ROW_INT:
        ++*(int *)member;
        break;
    case ROW_INT64:
        ++*(int64_t *)member;
        break;
    case ROW_TRUE:
    case ROW_SWITCH:
        *(bool *)member = !*(bool *)member;
        break;
    case ROW_LEVEL:
        *(enum log_level *)member = LOG_LEVEL_DEBUG;
        break;
    case ROW_VERSION:
        fail();
    }
}

/* Nobody may wait for a change of any setting that has no effect. */
static void each_variable_is_taken_over_or_named(void **state)
{
    const struct config_row *row;
    struct buf restart;
    (void)state;

    buf_init(&restart, 1024);
    for (size_t i = 0; (row = config_row_at(i)) != NULL; i++) {
        struct config config = sample();
        struct config fresh = sample();
        if (row->derived)
            continue;
        change(&fresh, row);
        buf_reset(&restart);
        reload_merge(&config, &fresh, &restart);
        assert_string_equal(buf_cstr(&restart), row->reloadable ? "" : row->name);
        assert_int_equal(config_row_is_same(row, &config, &fresh), row->reloadable);
        free(config.log_deliveries);
    }
    buf_clear(&restart);
}

static void a_version_is_followed_with_the_sidekiq_that_comes_with_it(void **state)
{
    struct config config = sample();
    struct config fresh = sample();
    struct buf restart;
    (void)state;

    config.sidekiq_version = str_dup(STR("8.0.9"));
    config.mastodon.minor = 5;
    fresh.sidekiq_version = str_dup(STR("8.1.6"));
    fresh.mastodon.minor = 6;
    fresh.mastodon_version_set = true;
    fresh.claim_rate = 100;
    buf_init(&restart, 1024);
    reload_upgrade(&config, &fresh, &restart);
    assert_string_equal(buf_cstr(&restart), "");
    assert_int_equal(config.mastodon.minor, 6);
    assert_true(config.mastodon_version_set);
    assert_string_equal(config.sidekiq_version, "8.1.6");
    assert_int_equal(config.claim_rate, 0); /* nobody has asked for a reload */
    free(config.sidekiq_version);
    free(fresh.sidekiq_version);
    buf_clear(&restart);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_reloadable_values_are_taken_over),
        cmocka_unit_test(what_else_changed_is_named_without_its_value),
        cmocka_unit_test(each_variable_is_taken_over_or_named),
        cmocka_unit_test(a_version_is_followed_with_the_sidekiq_that_comes_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
