/* What `fedpush top` shows of fixed figures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admin/top_keys.h"
#include "admin/top_view.h"
#include "base/escape.h"
#include "base/utf8.h"

static const char overview_text[] =
    "{\"at\":1000,\"paused\":null,\"suspicious\":[],"
    "\"recent\":{\"seconds\":60,\"delivered\":700,\"retried\":20,\"rejected\":5,\"exhausted\":0,"
    "\"per_second\":12.1,\"success_rate\":0.9655},"
    "\"in_flight\":12,\"held\":100,\"held_by_dead\":0,\"open_circuits\":3,"
    "\"queues\":[{\"name\":\"push\",\"length\":120,\"oldest_age_s\":3.2,\"consumers\":0}],"
    "\"later\":{\"retry\":4,\"schedule\":5,\"dead\":6},"
    "\"handoff\":[{\"queue\":\"default\",\"length\":0,\"consumers\":1}],"
    "\"machines\":[{\"identity\":\"mx1:7:abcdefabcdef\",\"alive\":true,\"beat_age_s\":1.0,\"held\":"
    "100,"
    "\"listed\":true,\"paused\":false,\"report\":{\"host\":\"mx1\",\"state\":\"running\","
    "\"in_flight\":12,\"slots\":2048,\"held\":100,\"lag_ms\":3,\"cpu\":0.42,\"rss_bytes\":73400320,"
    "\"keys_waiting\":0,\"suspicious\":false,\"postgres\":null}}],"
    "\"ledger\":{\"missing\":0},"
    "\"redis\":{\"used_bytes\":12582912,\"max_bytes\":null},"
    "\"mastodon\":\"4.6.5\",\"sidekiq\":\"8.0.9\",\"version\":\"0.1.0\",\"domain\":\"social."
    "example\","
    "\"alerts\":[]}";
static const char domains_text[] =
    "{\"total\":9,\"matched\":3,\"items\":["
    "{\"host\":\"good.example\",\"state\":\"healthy\",\"delivered\":123456,\"retried\":0,"
    "\"rejected\":0,\"exhausted\":0,\"success_rate\":1.0,\"p95_ms\":210,\"consecutive_failures\":0,"
    "\"last_error\":\"an old one\"},"
    "{\"host\":\"bad.example\",\"state\":\"open\",\"delivered\":1,\"retried\":7,\"rejected\":0,"
    "\"exhausted\":2,\"success_rate\":0.1,\"p95_ms\":null,\"consecutive_failures\":9,"
    "\"last_error\":\"no\\u001b[31m way\\u202e back\\nagain\"},"
    "{\"host\":\"quiet.example\",\"state\":\"idle\",\"delivered\":0,\"retried\":0,\"rejected\":0,"
    "\"exhausted\":0,\"success_rate\":null,\"p95_ms\":null,\"consecutive_failures\":0,"
    "\"last_error\":null}]}";

struct fixture {
    json_t *overview, *domains;
    struct top_view view;
    struct buf out;
};

static int setup(void **state)
{
    static struct fixture f;

    f.overview = json_loads(overview_text, 0, NULL);
    f.domains = json_loads(domains_text, 0, NULL);
    f.view = (struct top_view){.columns = 120, .rows = 40, .clock = "12:34:56"};
    assert_true(f.overview != NULL && f.domains != NULL);
    buf_init(&f.out, 65536);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    json_decref(f->overview);
    json_decref(f->domains);
    buf_clear(&f->out);
    return 0;
}

static const char *show(struct fixture *f)
{
    buf_reset(&f->out);
    top_view_put(&f->out, &f->view, f->overview, f->domains, f->domains);
    return buf_cstr(&f->out);
}

static void has(const char *screen, const char *line)
{
    if (strstr(screen, line) == NULL)
        fail_msg("\"%s\" is not in:\n%s", line, screen);
}

static void the_overview_is_on_top(void **state)
{
    const char *screen = show(*state);

    has(screen, "12:34:56  fedpush 0.1.0  social.example  Mastodon 4.6.5  Sidekiq 8.0.9\n");
    has(screen,
        "\ndeliveries  12.1 a second, 96.5% of the last 60 s good, 12 in flight, 100 held, 3 "
        "circuits open\n");
    has(screen, "\npush        120 wait, the oldest for 3 s\n");
    has(screen, "\nhand-off    0 wait in queue default, served by 1 Sidekiq processes\n");
    has(screen, "\nlater       4 in retry, 5 scheduled, 6 dead; Redis uses 12 MiB\n");
    has(screen,
        "\nmachine     mx1 running, 12 of 2048 in flight, 100 held, lag 3 ms, 0.42 cores, 70 "
        "MiB\n");
}

static void hosts_are_below_the_worst_with_their_error(void **state)
{
    struct fixture *f = *state;

    f->view.columns = 140;
    const char *screen = show(f);
    has(screen, "good.example                             healthy     ");
    has(screen, "    123k        0        0        0  100.0%    210\n");
    has(screen, "   10.0%      -  no?[31m way? back?again\n");
    const char *worst = strstr(screen, "\nWORST");
    assert_non_null(worst);
    assert_null(strstr(worst, "good.example"));
    has(worst, "bad.example");
    has(screen, "3 of 9 hosts\n");
}

static size_t columns_of(struct str line)
{
    struct buf scratch;

    buf_init(&scratch, 65536);
    size_t columns = escape_put(&scratch, line, ESCAPE_TERMINAL, 65536);
    buf_clear(&scratch);
    return columns;
}

static void it_fits_any_screen(void **state)
{
    static const size_t sizes[][2] = {{20, 5}, {40, 10}, {80, 24}, {200, 60}, {500, 500}, {80, 1}};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t lines = 0;
        f->view.columns = sizes[i][0];
        f->view.rows = sizes[i][1];
        for (struct str rest = str_of(show(f)); rest.len > 0; lines++) {
            size_t end = str_find(rest, '\n');
            assert_true(end < rest.len);
            assert_true(columns_of((struct str){rest.ptr, end}) <= sizes[i][0]);
            rest = str_slice(rest, end + 1);
        }
        assert_in_range(lines, 1, sizes[i][1]);
    }
}

static void colours_are_there_when_wanted(void **state)
{
    struct fixture *f = *state;

    assert_null(strchr(show(f), '\x1b'));
    f->view.colour = true;
    has(show(f), "\x1b[31mbad.example");
    has(show(f), "\x1b[32mgood.example");
}

static void what_is_wrong_is_said(void **state)
{
    struct fixture *f = *state;

    json_object_set_new(f->overview, "paused", json_pack("{s:f, s:s}", "until", 1090.0, "by", "x"));
    json_object_set_new(f->overview, "suspicious", json_pack("[s]", "mx\x01"));
    json_object_set_new(f->overview, "alerts", json_pack("[{s:s}]", "text", "too old"));
    json_object_set_new(json_object_get(f->overview, "ledger"), "missing", json_integer(2));
    has(show(f), "\nPAUSED      the fleet is paused for 90 s: fedpush resume\n");
    has(show(f), "\nSUSPICIOUS  mx? suspects itself");
    has(show(f), "\nALERT       too old\n");
    has(show(f), "\nLEDGER      +2 jobs don't add up");
    f->view.problem = "Redis: connection lost";
    f->view.domains_problem = "PostgreSQL: away";
    has(show(f), "\nRedis: connection lost\n");
    has(show(f), "\nPostgreSQL: away\n");
}

static void it_is_there_before_any_figures(void **state)
{
    struct fixture *f = *state;

    buf_reset(&f->out);
    top_view_put(&f->out, &f->view, NULL, NULL, NULL);
    has(buf_cstr(&f->out), "12:34:56  fedpush\n");
    has(buf_cstr(&f->out), "reading...\n");
}

static void one_order_makes_one_table(void **state)
{
    struct fixture *f = *state;

    f->view.order = TOP_P95;
    f->view.filter = STR("ex");
    assert_null(strstr(show(f), "WORST"));
    has(show(f), "order: by time, slowest first");
    has(show(f), "/ filter: ex");
    f->view.typing = true;
    has(show(f), "\n/ex_  (Enter");
    assert_string_equal(top_order_sort(TOP_P95), "p95_ms");
    assert_string_equal(top_order_direction(TOP_P95), "desc");
}

static void keys_change_the_view(void **state)
{
    struct fixture *f = *state;
    struct top_keys keys = {.view = &f->view};

    assert_int_equal(top_keys_take(&keys, STR("x"), 10), TOP_NOTHING);
    assert_int_equal(top_keys_take(&keys, STR("\x1b[B"), 10), TOP_NOTHING); /* two tables */
    assert_int_equal(top_keys_take(&keys, STR("s\x1b[B\x1b[6~"), 10), TOP_ASK);
    assert_int_equal(f->view.order, TOP_DELIVERED);
    assert_int_equal(f->view.offset, 11);
    assert_int_equal(top_keys_take(&keys, STR("\x1b[5~\x1bOA\x1bOA"), 10), TOP_ASK);
    assert_int_equal(f->view.offset, 0);
    assert_int_equal(top_keys_take(&keys, STR("\x1b[A"), 10), TOP_NOTHING);
    assert_int_equal(top_keys_take(&keys, STR("\x1b[D\x1b[D"), 10), TOP_ASK);
    assert_int_equal(f->view.order, TOP_HOST);
    assert_int_equal(top_keys_take(&keys, STR("p"), 10), TOP_ASK);
    assert_true(f->view.held);
    assert_int_equal(top_keys_take(&keys, STR("sq"), 10), TOP_QUIT);
}

static void a_filter_is_typed(void **state)
{
    struct fixture *f = *state;
    struct top_keys keys = {.view = &f->view};

    assert_int_equal(top_keys_take(&keys, STR("/qx\x7f.e\x01"), 10), TOP_ASK);
    assert_true(f->view.typing && str_equal(f->view.filter, STR("q.e")));
    assert_int_equal(top_keys_take(&keys, STR("\r"), 10), TOP_DRAW);
    assert_true(!f->view.typing && str_equal(f->view.filter, STR("q.e")));
    assert_int_equal(top_keys_take(&keys, STR("/\x1b"), 10), TOP_ASK);
    assert_true(!f->view.typing && f->view.filter.len == 0);
    top_keys_take(&keys, STR("/"), 10);
    for (int i = 0; i < 2 * TOP_FILTER_BYTES; i++)
        (void)top_keys_take(&keys, STR("a"), 10);
    assert_int_equal(f->view.filter.len, TOP_FILTER_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_overview_is_on_top, setup, teardown),
        cmocka_unit_test_setup_teardown(hosts_are_below_the_worst_with_their_error, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(it_fits_any_screen, setup, teardown),
        cmocka_unit_test_setup_teardown(colours_are_there_when_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_there_before_any_figures, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_change_the_view, setup, teardown),
        cmocka_unit_test_setup_teardown(a_filter_is_typed, setup, teardown),
        cmocka_unit_test_setup_teardown(one_order_makes_one_table, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
