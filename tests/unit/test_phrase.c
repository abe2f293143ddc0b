/* What is said has one text, one code, and the page's words in each of its languages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "admin/assets.h"
#include "base/err.h"

enum { TEXT_BYTES = 4096 };

static json_t *catalogue(const char *name)
{
    const struct asset *asset = asset_find(str_of(name));

    assert_non_null(asset);
    json_t *words =
        json_loadb((const char *)asset->bytes, asset->len, JSON_REJECT_DUPLICATES, NULL);
    assert_true(json_is_object(words));
    return words;
}

/* The holes of a text, each once, as a set. */
static json_t *holes_of(const char *text)
{
    json_t *holes = json_object();
    const char *at = text;

    while ((at = strchr(at, '{')) != NULL) {
        size_t len = strspn(++at, "abcdefghijklmnopqrstuvwxyz0123456789_");
        if (len > 0 && at[len] == '}')
            json_object_setn_new(holes, at, len, json_true());
    }
    return holes;
}

static const char *message_of(const json_t *words, enum phrase phrase)
{
    char *key = mem_printf("said.%s", phrase_code(phrase));
    const char *text = json_string_value(json_object_get(words, key));

    if (text == NULL)
        fail_msg("no words for \"%s\"", key);
    free(key);
    return text;
}

static void each_has_words_in_each_language(void **state)
{
    json_t *english = catalogue("en.json");
    json_t *japanese = catalogue("ja.json");
    (void)state;

    for (int n = PHRASE_NONE + 1; n < PHRASES; n++) {
        enum phrase phrase = (enum phrase)n;
        json_t *wanted = holes_of(phrase_english(phrase));
        json_t *found = holes_of(message_of(japanese, phrase));
        assert_string_equal(message_of(english, phrase), phrase_english(phrase));
        if (!json_equal(wanted, found))
            fail_msg("%s: ja.json has other values", phrase_code(phrase));
        json_decref(wanted);
        json_decref(found);
    }
    json_decref(english);
    json_decref(japanese);
}

static void no_language_has_words_of_none(void **state)
{
    static const char *const names[] = {"en.json", "ja.json"};
    (void)state;

    for (size_t i = 0; i < 2; i++) {
        json_t *words = catalogue(names[i]);
        size_t said = 0;
        const char *key;
        json_t *value;
        json_object_foreach(words, key, value) said += strncmp(key, "said.", 5) == 0;
        assert_int_equal(said, PHRASES - 1); /* each of ours has one: the test before */
        json_decref(words);
    }
}

static void each_code_is_its_own(void **state)
{
    json_t *seen = json_object();
    (void)state;

    for (int n = PHRASE_NONE + 1; n < PHRASES; n++) {
        const char *code = phrase_code((enum phrase)n);
        size_t dot = strcspn(code, ".");
        assert_null(json_object_get(seen, code));
        assert_true(dot > 0 && strspn(code, "abcdefghijklmnopqrstuvwxyz") == dot);
        assert_true(code[dot] == '.' && strlen(code) < PHRASE_CODE_BYTES);
        assert_int_equal(strspn(code + dot + 1, "abcdefghijklmnopqrstuvwxyz0123456789_"),
                         strlen(code + dot + 1));
        json_object_set_new(seen, code, json_true());
    }
    json_decref(seen);
}

static void assert_says(const struct said *said, const char *text, const char *list)
{
    struct buf found;

    buf_init(&found, TEXT_BYTES);
    said_put_list(said, &found);
    assert_true(str_equal(buf_str(&said->text), str_of(text)));
    assert_string_equal(buf_cstr(&found), list);
    buf_clear(&found);
}

static void values_have_the_unit_of_their_name(void **state)
{
    struct said said;
    (void)state;

    said_init(&said, TEXT_BYTES);
    said_add(&said, "; ", PHRASE_LANE_SPACED,
             SAYS(SAY_NUMBER("failures", 1234567), SAY_NUMBER("wait_s", 300)));
    said_add(&said, "; ", PHRASE_ALERT_REDIS_MEMORY,
             SAYS(SAY_NUMBER("used_bytes", 3 << 20), SAY_NUMBER("max_bytes", 4 << 20),
                  SAY_NUMBER("percent", 75)));
    assert_says(
        &said,
        "it failed 1234567 times in a row: the next try is due in 5 min; Redis uses 3 MiB of "
        "4 MiB (75 %); when it is full Mastodon can't enqueue any more: raise maxmemory",
        "[{\"text\":\"it failed 1234567 times in a row: the next try is due in 5 min\","
        "\"code\":\"lane.spaced\",\"params\":{\"failures\":1234567,\"wait_s\":300}},"
        "{\"text\":\"Redis uses 3 MiB of 4 MiB (75 %); when it is full Mastodon can't "
        "enqueue any more: raise maxmemory\",\"code\":\"alert.redis_memory\",\"params\":"
        "{\"used_bytes\":3145728,\"max_bytes\":4194304,\"percent\":75}}]");
    said_clear(&said);
}

static void a_value_may_be_sentences(void **state)
{
    struct said limits;
    struct said said;
    (void)state;

    said_init(&limits, TEXT_BYTES);
    said_init(&said, TEXT_BYTES);
    said_add(&limits, ", ", PHRASE_POLICY_WINDOW, SAYS(SAY_NUMBER("deliveries", 2)));
    said_add(&limits, ", ", PHRASE_POLICY_HTTP2, SAYS_NOTHING);
    said_add(&said, "\n", PHRASE_GIVE_LIMITED,
             SAYS(SAY_TEXT("domain", "a.example"), SAY_SAID("limits", &limits)));
    assert_says(&said, "a.example: at most 2 at once, HTTP/2",
                "[{\"text\":\"a.example: at most 2 at once, HTTP/2\",\"code\":\"give.limited\","
                "\"params\":{\"domain\":\"a.example\",\"limits\":["
                "{\"text\":\"at most 2 at once\",\"code\":\"policy.window\",\"params\":"
                "{\"deliveries\":2}},"
                "{\"text\":\"HTTP/2\",\"code\":\"policy.http2\",\"params\":{}}]}}]");
    said_clear(&limits);
    said_clear(&said);
}

/* Braces that are no holes stay. */
static void a_brace_may_be_one(void **state)
{
    struct buf text;
    (void)state;

    buf_init(&text, TEXT_BYTES);
    phrase_put_text(&text, PHRASE_DOOR_SEND_PASSWORD, SAYS_NOTHING);
    assert_string_equal(buf_cstr(&text), "send {\"password\": \"…\"}");
    buf_clear(&text);
}

static void what_strangers_wrote_is_a_harmless_value(void **state)
{
    struct said said;
    (void)state;

    said_init(&said, TEXT_BYTES);
    said_add(&said, "", PHRASE_REDIS_REFUSED, SAYS(SAY_TEXT("reason", "a\"\n\x1b{host}\xff")));
    assert_says(&said, "Redis: a\"\n\x1b{host}\xff",
                "[{\"text\":\"Redis: a\\\"??{host}?\",\"code\":\"redis.refused\",\"params\":"
                "{\"reason\":\"a\\\"??{host}?\"}}]");
    said_clear(&said);
}

static void what_was_written_is_read_again(void **state)
{
    static const struct {
        const char *group, *text, *code, *params; /* code NULL: none of them */
    } cases[] = {
        {"policy", "at most 30 a minute", "policy.rate", "{\"deliveries\":30}"},
        {"policy", "at most 30 at once", "policy.window", "{\"deliveries\":30}"},
        {"policy", "by proxy tor", "policy.proxy", "{\"proxy\":\"tor\"}"},
        {"policy", "HTTP/2", "policy.http2", "{}"},
        {"policy", "paused for 5 min more", "policy.paused_for", "{\"left_s\":300}"},
        {"policy", "these limits for 7 d more", "policy.limits_for", "{\"left_s\":604800}"},
        {"drop", "12 removed from queues, retry and schedule, 0 by machines", "drop.removed",
         "{\"removed\":12,\"by_machines\":0}"},
        {"policy", "paused for a while more", NULL, NULL},
        {"policy", "at most  a minute", NULL, NULL},
        {"policy", "HTTP/2 for 5 min more", NULL, NULL},
        {"policy", "HTTP/", NULL, NULL},
        {"policy", "nothing waits", NULL, NULL}, /* another group's */
        {"polic", "HTTP/2", NULL, NULL},
        {"policy", "", NULL, NULL},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct said said;
        said_init(&said, TEXT_BYTES);
        bool known = said_read(&said, "", cases[i].group, str_of(cases[i].text));
        if (known != (cases[i].code != NULL))
            fail_msg("\"%s\" is read wrongly", cases[i].text);
        if (known) {
            char *list = mem_printf("[{\"text\":\"%s\",\"code\":\"%s\",\"params\":%s}]",
                                    cases[i].text, cases[i].code, cases[i].params);
            assert_says(&said, cases[i].text, list);
            free(list);
        }
        said_clear(&said);
    }
}

static void a_reason_has_its_message_and_its_remedy(void **state)
{
    static const struct {
        const char *text, *code, *params;
    } cases[] = {
        {"closed by the server", "reason.closed", "{}"},
        {"no entry for x: y (SQLSTATE 28000): allow this user, database and address in "
         "pg_hba.conf, and check DB_USER",
         "reason.pg_hba", "{\"message\":\"no entry for x: y\",\"state\":\"28000\"}"},
        {"a: b: check host and port, and that the server runs", "reason.pg_runs",
         "{\"message\":\"a: b\"}"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *list = mem_printf("[{\"text\":\"%s\",\"code\":\"%s\",\"params\":%s}]", cases[i].text,
                                cases[i].code, cases[i].params);
        struct said said;
        said_init(&said, TEXT_BYTES);
        assert_true(said_read_reason(&said, str_of(cases[i].text)));
        assert_says(&said, cases[i].text, list);
        said_clear(&said);
        free(list);
    }
}

static void a_reason_is_one_of_ours_or_text(void **state)
{
    struct said own;
    struct err err;
    (void)state;

    said_init(&own, TEXT_BYTES);
    err_say(&err, FP_UNAVAILABLE, PHRASE_POSTGRES_AWAY,
            SAYS(SAY_TEXT("role", "keys"), SAY_REASON("reason", &own, "not connected yet")));
    assert_string_equal(err.message, "PostgreSQL (keys): not connected yet");
    assert_string_equal(err.params, "{\"role\":\"keys\",\"reason\":[{\"text\":\"not connected "
                                    "yet\",\"code\":\"reason.pg_not_yet\",\"params\":{}}]}");
    said_clear(&own);
    err_say(&err, FP_UNAVAILABLE, PHRASE_POSTGRES_AWAY,
            SAYS(SAY_TEXT("role", "keys"), SAY_REASON("reason", &own, "Connection refused")));
    assert_string_equal(err.params, "{\"role\":\"keys\",\"reason\":\"Connection refused\"}");
    said_clear(&own);
}

static void an_error_is_said_within_another_sentence(void **state)
{
    struct said said;
    struct err err;
    (void)state;

    said_init(&said, TEXT_BYTES);
    err_say(&err, FP_INVALID, PHRASE_ORDER_PAUSED, SAYS(SAY_TEXT("name", "a.example")));
    err_add_said(&err, &said);
    err_set(&err, FP_SYSTEM, "plain");
    err_add_said(&err, &said);
    assert_says(&said, "a.example is paused: resume it firstplain",
                "[{\"text\":\"a.example is paused: resume it first\",\"code\":\"order.paused\","
                "\"params\":{\"name\":\"a.example\"}},{\"text\":\"plain\",\"code\":\"ask.other\","
                "\"params\":{\"reason\":\"plain\"}}]");
    said_clear(&said);
}

static void what_does_not_fit_is_left_out_whole(void **state)
{
    struct said said;
    struct buf list;
    (void)state;

    said_init(&said, 200);
    for (int i = 0; i < 9; i++)
        said_add(&said, "\n", PHRASE_GIVE_PAUSED, SAYS(SAY_TEXT("host", "a.example")));
    buf_init(&list, TEXT_BYTES);
    said_put_list(&said, &list);
    json_t *found = json_loads(buf_cstr(&list), 0, NULL);
    assert_int_equal(json_array_size(found), 2);
    json_decref(found);
    buf_clear(&list);
    said_clear(&said);
}

static void an_error_may_be_a_sentence(void **state)
{
    struct err err;
    (void)state;

    assert_int_equal(
        err_say(&err, FP_INVALID, PHRASE_ORDER_PAUSED, SAYS(SAY_TEXT("name", "a.example"))),
        FP_INVALID);
    assert_int_equal(err.code, FP_INVALID);
    assert_string_equal(err.message, "a.example is paused: resume it first");
    assert_int_equal(err.phrase, PHRASE_ORDER_PAUSED);
    assert_string_equal(err.params, "{\"name\":\"a.example\"}");
    err_set(&err, FP_SYSTEM, "plain");
    assert_int_equal(err.phrase, PHRASE_NONE);
    assert_int_equal(err_say(NULL, FP_INVALID, PHRASE_ORDER_PAUSED, SAYS_NOTHING), FP_INVALID);
}

/* However long a server's message is, it has its code and is whole JSON. */
static void an_error_is_bounded(void **state)
{
    char reason[10000] = "";
    struct err err;
    (void)state;

    memset(reason, 'x', sizeof(reason) - 1);
    err_say(&err, FP_UNAVAILABLE, PHRASE_POSTGRES_REFUSED, SAYS(SAY_TEXT("reason", reason)));
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    assert_int_equal(err.phrase, PHRASE_POSTGRES_REFUSED);
    json_t *params = json_loads(err.params, 0, NULL);
    assert_non_null(params);
    json_decref(params);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_has_words_in_each_language),
        cmocka_unit_test(no_language_has_words_of_none),
        cmocka_unit_test(each_code_is_its_own),
        cmocka_unit_test(values_have_the_unit_of_their_name),
        cmocka_unit_test(a_value_may_be_sentences),
        cmocka_unit_test(a_brace_may_be_one),
        cmocka_unit_test(what_strangers_wrote_is_a_harmless_value),
        cmocka_unit_test(what_was_written_is_read_again),
        cmocka_unit_test(a_reason_has_its_message_and_its_remedy),
        cmocka_unit_test(a_reason_is_one_of_ours_or_text),
        cmocka_unit_test(an_error_is_said_within_another_sentence),
        cmocka_unit_test(what_does_not_fit_is_left_out_whole),
        cmocka_unit_test(an_error_may_be_a_sentence),
        cmocka_unit_test(an_error_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
