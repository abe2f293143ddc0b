#include <errno.h>
#include <fcntl.h>
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

#include "base/log.h"
#include "worker/identity.h"

static const unsigned char nonce_a[] = {0x00, 0x01, 0xab, 0xcd, 0xef, 0xff};
static const unsigned char nonce_b[] = {1, 2, 3, 4, 5, 6};
static const unsigned char nonce_c[] = {7, 7, 7, 7, 7, 7};

struct fixture {
    char parent[64];
    char dir[96];
    char list[128];
    struct err err;
};

static int set_up(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    log_open("test", LOG_LEVEL_ERROR);
    snprintf(f->parent, sizeof(f->parent), "/tmp/fedpush-identity-XXXXXX");
    if (mkdtemp(f->parent) == NULL)
        return -1;
    snprintf(f->dir, sizeof(f->dir), "%s/run", f->parent);
    snprintf(f->list, sizeof(f->list), "%s/identities", f->dir);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"lock", "identities", "identities.new"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[160];
        snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
        unlink(path);
        rmdir(path);
    }
    rmdir(f->dir);
    rmdir(f->parent);
    free(f);
    return 0;
}

static struct identities *open_ok(struct fixture *f)
{
    struct identities *identities = NULL;

    if (identities_open(&identities, f->dir, &f->err) != FP_OK)
        fail_msg("%s", f->err.message);
    return identities;
}

static void write_list(const struct fixture *f, const char *text)
{
    FILE *file = fopen(f->list, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static void assert_list(const struct fixture *f, const char *expected)
{
    char text[1024] = "";
    FILE *file = fopen(f->list, "r");
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = '\0';
    assert_string_equal(text, expected);
}

static void assert_put(const struct identities *identities, const char *expected)
{
    struct buf out;
    buf_init(&out, 4096);
    identities_put(identities, &out);
    assert_string_equal(buf_cstr(&out), expected);
    buf_clear(&out);
}

static void a_new_identity_is_on_the_disk_and_comes_first(void **state)
{
    struct fixture *f = *state;

    struct identities *identities = open_ok(f);
    assert_int_equal(identities_add(identities, "web.example", 42, nonce_a, &f->err), FP_OK);
    assert_list(f, "web.example:42:0001abcdefff\n");
    assert_int_equal(identities_add(identities, "web.example", 42, nonce_b, &f->err), FP_OK);
    assert_list(f, "web.example:42:0001abcdefff\nweb.example:42:010203040506\n");
    assert_put(identities, "web.example:42:010203040506\nweb.example:42:0001abcdefff");
    identities_close(identities);
}

static void the_next_supervisor_knows_the_former_ones(void **state)
{
    struct fixture *f = *state;

    struct identities *identities = open_ok(f);
    assert_int_equal(identities_add(identities, "a", 1, nonce_a, &f->err), FP_OK);
    identities_close(identities);
    identities = open_ok(f);
    assert_int_equal(identities_add(identities, "a", 2, nonce_b, &f->err), FP_OK);
    assert_put(identities, "a:2:010203040506\na:1:0001abcdefff");
    assert_int_equal(identities_remove(identities, STR("a:1:0001abcdefff"), &f->err), FP_OK);
    assert_list(f, "a:2:010203040506\n");
    assert_int_equal(identities_remove(identities, STR("a:9:000000000000"), &f->err), FP_OK);
    assert_put(identities, "a:2:010203040506");
    assert_int_equal(identities_remove(identities, STR("a:2:010203040506"), &f->err), FP_OK);
    assert_list(f, "");
    identities_close(identities);
}

static void a_second_supervisor_is_refused_while_the_first_lives(void **state)
{
    struct fixture *f = *state;
    struct identities *second = NULL;

    struct identities *first = open_ok(f);
    assert_int_equal(identities_open(&second, f->dir, &f->err), FP_UNAVAILABLE);
    assert_non_null(strstr(f->err.message, "another fedpush runs"));
    assert_null(strchr(f->err.message, '\n'));
    identities_close(first);
    identities_close(open_ok(f));
}

static void torn_and_strange_lines_are_left_out(void **state)
{
    struct fixture *f = *state;

    identities_close(open_ok(f));
    write_list(f, "a:1:0001abcdefff\n\nno identity\na b:1:2\nb:2:010203040506\nc:3:07");
    struct identities *identities = open_ok(f);
    assert_put(identities, "b:2:010203040506\na:1:0001abcdefff");
    identities_close(identities);
}

static void what_a_host_name_may_not_have_is_replaced(void **state)
{
    struct fixture *f = *state;

    struct identities *identities = open_ok(f);
    assert_int_equal(identities_add(identities, "a b:c\n\xc3\xa9", 1, nonce_c, &f->err), FP_OK);
    assert_int_equal(identities_add(identities, "", 1, nonce_c, &f->err), FP_OK);
    assert_list(f, "a-b-c---:1:070707070707\nlocalhost:1:070707070707\n");
    identities_close(identities);
}

static void the_list_is_bounded_by_dropping_the_oldest(void **state)
{
    struct fixture *f = *state;
    struct buf text;

    identities_close(open_ok(f));
    buf_init(&text, 64 * 1024);
    for (int i = 0; i < IDENTITY_MAX_COUNT; i++)
        buf_printf(&text, "h:%d:000000000000\n", i);
    write_list(f, buf_cstr(&text));
    struct identities *identities = open_ok(f);
    assert_int_equal(identities_add(identities, "h", 9999, nonce_a, &f->err), FP_OK);
    buf_reset(&text);
    identities_put(identities, &text);
    assert_true(str_starts_with(buf_str(&text), STR("h:9999:0001abcdefff\nh:255:")));
    assert_true(str_ends_with(buf_str(&text), STR("\nh:1:000000000000")));
    identities_close(identities);
    buf_clear(&text);
}

static void an_identity_that_cannot_be_written_is_none(void **state)
{
    struct fixture *f = *state;
    char blocker[160];

    struct identities *identities = open_ok(f);
    assert_int_equal(identities_add(identities, "a", 1, nonce_a, &f->err), FP_OK);
    snprintf(blocker, sizeof(blocker), "%s/identities.new", f->dir);
    assert_int_equal(mkdir(blocker, 0700), 0);
    assert_int_equal(identities_add(identities, "a", 1, nonce_b, &f->err), FP_SYSTEM);
    assert_non_null(strstr(f->err.message, f->dir));
    assert_put(identities, "a:1:0001abcdefff");
    identities_close(identities);
}

static void a_directory_that_others_can_write_is_refused(void **state)
{
    struct fixture *f = *state;
    struct identities *identities = NULL;

    assert_int_equal(mkdir(f->dir, 0700), 0);
    assert_int_equal(chmod(f->dir, 0777), 0);
    assert_int_equal(identities_open(&identities, f->dir, &f->err), FP_DENIED);
    assert_null(identities);
}

static void a_missing_parent_is_an_error_with_the_remedy(void **state)
{
    struct fixture *f = *state;
    struct identities *identities = NULL;

    snprintf(f->list, sizeof(f->list), "%s/none/run", f->parent);
    assert_int_equal(identities_open(&identities, f->list, &f->err), FP_SYSTEM);
    assert_non_null(strstr(f->err.message, "FEDPUSH_RUNTIME_DIR"));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_new_identity_is_on_the_disk_and_comes_first),
        CASE(the_next_supervisor_knows_the_former_ones),
        CASE(a_second_supervisor_is_refused_while_the_first_lives),
        CASE(torn_and_strange_lines_are_left_out),
        CASE(what_a_host_name_may_not_have_is_replaced),
        CASE(the_list_is_bounded_by_dropping_the_oldest),
        CASE(an_identity_that_cannot_be_written_is_none),
        CASE(a_directory_that_others_can_write_is_refused),
        CASE(a_missing_parent_is_an_error_with_the_remedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
