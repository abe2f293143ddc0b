#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "admin/assets.h"

static void each_file_is_found_by_its_name(void **state)
{
    (void)state;
    assert_true(assets_count > 10);
    for (size_t i = 0; i < assets_count; i++) {
        assert_ptr_equal(asset_find(str_of(assets[i].path)), &assets[i]);
        assert_true(assets[i].len > 0);
        assert_int_equal(assets[i].etag[0], '"');
        assert_int_equal(strlen(assets[i].etag), 26);
    }
}

static void the_page_is_what_an_empty_path_gives(void **state)
{
    (void)state;
    const struct asset *page = asset_find(STR(""));
    assert_non_null(page);
    assert_string_equal(page->path, "index.html");
    assert_string_equal(page->content_type, "text/html; charset=utf-8");
    assert_ptr_equal(asset_find(STR_NULL), page);
}

static void other_names_find_nothing(void **state)
{
    (void)state;
    const char *names[] = {"index.htm",     "index.html2",  "a",
                           "zzz",           "/index.html",  "INDEX.HTML",
                           "../index.html", "package.json", "package-lock.json",
                           "index.html/"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_null(asset_find(str_of(names[i])));
    assert_null(asset_find((struct str){"index.html\0x", 12}));
    assert_null(asset_find((struct str){"index.html\0", 11}));
}

static void the_browser_is_told_what_each_file_is(void **state)
{
    (void)state;
    assert_string_equal(asset_find(STR("app.js"))->content_type, "text/javascript; charset=utf-8");
    assert_string_equal(asset_find(STR("app.css"))->content_type, "text/css; charset=utf-8");
    assert_string_equal(asset_find(STR("en.json"))->content_type, "application/json");
    assert_string_equal(asset_find(STR("icon.svg"))->content_type, "image/svg+xml");
    assert_non_null(asset_find(STR("uPlot.esm.js")));
    assert_non_null(asset_find(STR("uPlot.txt"))); /* its licence, which asks to be kept */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_file_is_found_by_its_name),
        cmocka_unit_test(the_page_is_what_an_empty_path_gives),
        cmocka_unit_test(other_names_find_nothing),
        cmocka_unit_test(the_browser_is_told_what_each_file_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
