/* The configuration read again: at an order, and when version.rb is another file. */
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

#include "base/loop.h"
#include "worker/reread.h"

enum { LOOK_MS = 10, LIMIT_MS = 30000 };

struct fixture {
    struct event_base *base;
    struct loop_timer *limit;
    struct reread *reread;
    char dir[64];
    char file[128];
    char **environment; /* the process' own */
    char *variables[4];
    unsigned told;
    enum reread_reason reason;
    bool good;
    char version[64];
    char error[512];
};

static void on_told(void *arg, enum reread_reason reason, const struct config *fresh,
                    const char *error)
{
    struct fixture *f = arg;

    f->told++;
    f->reason = reason;
    f->good = fresh != NULL;
    snprintf(f->version, sizeof(f->version), "%s", fresh != NULL ? fresh->mastodon.text : "");
    snprintf(f->error, sizeof(f->error), "%s", error != NULL ? error : "");
    event_base_loopbreak(f->base);
}

static void on_limit(void *arg)
{
    struct fixture *f = arg;
    event_base_loopbreak(f->base);
}

static bool told_within(struct fixture *f, int64_t limit_ms)
{
    unsigned before = f->told;

    loop_timer_set(f->limit, limit_ms);
    event_base_dispatch(f->base);
    return f->told > before;
}

/* As git does: a new file in the place of the old one. */
static void install(struct fixture *f, const char *minor)
{
    char other[160];

    snprintf(other, sizeof(other), "%s.new", f->file);
    FILE *file = fopen(other, "w");
    assert_non_null(file);
    fprintf(file, "def major\n 4\nend\ndef minor\n %s\nend\ndef patch\n 1\nend\n", minor);
    fclose(file);
    assert_int_equal(rename(other, f->file), 0);
}

static void begin(struct fixture *f)
{
    struct config config;
    struct err err;

    if (config_load(&config, environ, f->dir, &err) != FP_OK)
        fail_msg("%s", err.message);
    f->reread = reread_create(f->base, &config, f->dir, LOOK_MS, on_told, f);
    config_clear(&config);
}

static int set_up(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));
    char path[128];

    snprintf(f->dir, sizeof(f->dir), "/tmp/fedpush-reread-XXXXXX");
    if (mkdtemp(f->dir) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/lib", f->dir);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/lib/mastodon", f->dir);
    mkdir(path, 0700);
    snprintf(f->file, sizeof(f->file), "%s/lib/mastodon/version.rb", f->dir);
    f->variables[0] = mem_printf("LOCAL_DOMAIN=social.test");
    f->environment = environ;
    environ = f->variables;
    f->base = loop_create();
    f->limit = loop_timer_create(f->base, on_limit, f);
    install(f, "5");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char path[128];

    reread_destroy(f->reread);
    loop_timer_destroy(f->limit);
    event_base_free(f->base);
    environ = f->environment;
    for (size_t i = 0; f->variables[i] != NULL; i++)
        free(f->variables[i]);
    unlink(f->file);
    snprintf(path, sizeof(path), "%s/lib/mastodon", f->dir);
    rmdir(path);
    snprintf(path, sizeof(path), "%s/lib", f->dir);
    rmdir(path);
    int result = rmdir(f->dir);
    free(f);
    return result;
}

static void another_release_is_told_once(void **state)
{
    struct fixture *f = *state;

    begin(f);
    assert_false(told_within(f, 10 * LOOK_MS)); /* nothing has changed */
    install(f, "6");
    assert_true(told_within(f, LIMIT_MS));
    assert_int_equal(f->reason, REREAD_UPGRADE);
    assert_string_equal(f->version, "4.6.1");
    assert_false(told_within(f, 10 * LOOK_MS));
    install(f, "5"); /* and back */
    assert_true(told_within(f, LIMIT_MS));
    assert_string_equal(f->version, "4.5.1");
}

static void a_file_that_comes_and_goes_is_survived(void **state)
{
    struct fixture *f = *state;

    begin(f);
    install(f, "half");
    assert_true(told_within(f, LIMIT_MS));
    assert_false(f->good);
    assert_non_null(strstr(f->error, "version.rb"));
    assert_int_equal(unlink(f->file), 0);
    assert_false(told_within(f, 10 * LOOK_MS));
    install(f, "7");
    assert_true(told_within(f, LIMIT_MS));
    assert_true(f->good);
    assert_string_equal(f->version, "4.7.1");
}

static void each_order_is_told(void **state)
{
    struct fixture *f = *state;

    begin(f);
    reread_order(f->reread);
    reread_order(f->reread); /* while the first is being read */
    for (int i = 0; i < 2; i++) {
        assert_true(told_within(f, LIMIT_MS));
        assert_int_equal(f->reason, REREAD_ORDERED);
        assert_string_equal(f->version, "4.5.1");
    }
}

static void a_version_that_is_set_wins(void **state)
{
    struct fixture *f = *state;

    f->variables[1] = mem_printf("FEDPUSH_MASTODON_VERSION=4.4.9");
    begin(f);
    install(f, "6");
    assert_false(told_within(f, 20 * LOOK_MS));
    reread_order(f->reread);
    assert_true(told_within(f, LIMIT_MS));
    assert_string_equal(f->version, "4.4.9");
    free(f->variables[1]);
    f->variables[1] = NULL;
    reread_order(f->reread); /* it isn't set any more: from here on it is looked for */
    assert_true(told_within(f, LIMIT_MS));
    assert_string_equal(f->version, "4.6.1");
    /* The first look finds a file that was never seen: told, with nothing new in it. */
    while (f->reason != REREAD_UPGRADE || strcmp(f->version, "4.7.1") != 0) {
        install(f, "7");
        assert_true(told_within(f, LIMIT_MS));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(another_release_is_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_comes_and_goes_is_survived, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_order_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_version_that_is_set_wins, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
