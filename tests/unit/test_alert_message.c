/* What a sink is told: the mail's bytes and the webhook's JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "admin/alert_message.h"
#include "base/mail_address.h"

static struct alert alerts[200];
static struct alert_news news[200];

static struct alert_message message_of(size_t count)
{
    return (struct alert_message){.domain = "social.test",
                                  .machine = "mx1",
                                  .page = "",
                                  .now_s = 1764400000,
                                  .news = news,
                                  .count = count};
}

static void give(size_t i, enum alert_news_kind kind, const char *text)
{
    alerts[i] = (struct alert){.rule = ALERT_LEDGER, .since_s = 1764399000, .turned_s = 1764399600};
    snprintf(alerts[i].id, sizeof(alerts[i].id), "ledger");
    snprintf(alerts[i].words.text, sizeof(alerts[i].words.text), "%s", text);
    news[i] = (struct alert_news){kind, &alerts[i]};
}

static void a_mail_is_what_rfc_5322_says(void **state)
{
    const struct alert_mail mail = {STR("Mastodon <notifications@social.test>"),
                                    STR("a@ops.test, b@ops.test"), 7};
    const struct alert_message message = message_of(3);
    struct buf out;
    (void)state;

    give(0, ALERT_NEWS_OVER, "first");
    give(1, ALERT_NEWS_FIRING, "second = gr\xc3\xbc\xc3\x9f");
    give(2, ALERT_NEWS_STILL, "third");
    buf_init(&out, ALERT_MESSAGE_MAX_BYTES);
    alert_message_put_mail(&out, &message, &mail);
    assert_string_equal(
        buf_cstr(&out),
        "From: Mastodon <notifications@social.test>\r\n"
        "To: a@ops.test,\r\n b@ops.test\r\n"
        "Subject: [fedpush social.test] (and 2 more) second = gr??\r\n"
        "Date: Sat, 29 Nov 2025 07:06:40 +0000\r\n"
        "Message-ID: <fedpush-1764400000-0000000000000007@social.test>\r\n"
        "Auto-Submitted: auto-generated\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n"
        "\r\n"
        "Alerts:\r\n* second =3D gr=C3=BC=C3=9F\r\n  since 2025-11-29 06:50:00 UTC\r\n\r\n"
        "Still firing:\r\n* third\r\n  since 2025-11-29 06:50:00 UTC\r\n\r\n"
        "Over:\r\n* first\r\n  since 2025-11-29 06:50:00 UTC\r\n"
        "  over since 2025-11-29 07:00:00 UTC, after 10 min\r\n\r\n"
        "Told by fedpush on mx1 for social.test.\r\n`fedpush alert` lists what fires.\r\n");
    buf_clear(&out);
}

/* Every line ends with CRLF, is short and printable; the header has these fields and no others. */
static void assert_is_mail(struct buf *out)
{
    static const char *const fields[] = {
        "From",         "To",           "Subject",
        "Date",         "Message-ID",   "Auto-Submitted",
        "MIME-Version", "Content-Type", "Content-Transfer-Encoding"};
    size_t field = 0;
    bool header = true;

    for (const char *line = buf_cstr(out); *line != '\0';) {
        const char *end = strstr(line, "\r\n");
        assert_non_null(end);
        assert_true(end - line < 990);
        for (const char *c = line; c < end; c++)
            assert_true(*c >= ' ' && *c <= '~');
        if (header && end == line)
            header = false;
        else if (header) {
            assert_true(field < sizeof(fields) / sizeof(fields[0]));
            assert_int_equal(strncmp(line, fields[field], strlen(fields[field])), 0);
            field++;
        } else
            assert_true(end - line <= 76);
        line = end + 2;
    }
    assert_false(header);
    assert_int_equal(field, sizeof(fields) / sizeof(fields[0]));
}

static void no_text_breaks_out_of_its_place(void **state)
{
    static const char *const texts[] = {
        "x\r\nBcc: victim@example.org\r\n\r\nbody",
        "x\nBcc: victim@example.org",
        "\r\n.\r\nMAIL FROM:<x>",
        "\x1b]0;title\x07\xe2\x80\xae",
        "\xff\xfe\xc3",
        "=?utf-8?q?=0d=0aBcc:_x?=",
        "",
    };
    const struct alert_mail mail = {STR("evil\r\nBcc: x@y.test <n@social.test>"), STR("a@ops.test"),
                                    7};
    struct alert_message message = message_of(1);
    struct buf out;
    (void)state;

    message.domain = "social.test\r\nBcc: x@y.test";
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        give(0, ALERT_NEWS_FIRING, texts[i]);
        buf_init(&out, ALERT_MESSAGE_MAX_BYTES);
        alert_message_put_mail(&out, &message, &mail);
        assert_false(out.overflow);
        assert_is_mail(&out);
        buf_clear(&out);
    }
}

static void many_are_counted_instead_of_listed(void **state)
{
    const struct alert_message message = message_of(200);
    struct buf out;
    size_t lines = 0;
    (void)state;

    for (size_t i = 0; i < 200; i++)
        give(i, ALERT_NEWS_FIRING, "text");
    buf_init(&out, ALERT_MESSAGE_MAX_BYTES);
    alert_message_put_text(&out, &message);
    assert_false(out.overflow);
    for (const char *at = buf_cstr(&out); (at = strstr(at, "* text")) != NULL; at++)
        lines++;
    assert_int_equal(lines, ALERT_MAX_LINES);
    assert_non_null(strstr(buf_cstr(&out), "and 150 more: fedpush alert\n"));
    buf_clear(&out);
}

static void a_webhook_gets_text_and_fields(void **state)
{
    const struct alert_message message = message_of(1);
    (void)state;

    give(0, ALERT_NEWS_OVER, "the \"text\"");
    json_t *body = alert_message_json(&message);
    json_t *alert = json_array_get(json_object_get(body, "alerts"), 0);
    assert_string_equal(json_string_value(json_object_get(body, "domain")), "social.test");
    assert_string_equal(json_string_value(json_object_get(alert, "id")), "ledger");
    assert_string_equal(json_string_value(json_object_get(alert, "state")), "over");
    assert_string_equal(json_string_value(json_object_get(alert, "text")), "the \"text\"");
    const char *text = json_string_value(json_object_get(body, "text"));
    assert_true(str_starts_with(str_of(text),
                                STR("[fedpush social.test] over: the \"text\"\n\nOver:\n* ")));
    json_decref(body);
}

static void addresses_are_taken_apart(void **state)
{
    static const char *const bad[] = {
        "",      "a",         "@b.test",  "a@",           "a@b@c",
        "a b@c", "a@b.test>", "a@b\r\nx", "a\"@b.test\"", "gr\xc3\xbc@b"};
    struct str rest = STR(" a@b.test ,, c@d.test");
    struct str address;
    (void)state;

    assert_true(mail_address_next(&rest, &address) && str_equal(address, STR("a@b.test")));
    assert_true(mail_address_next(&rest, &address) && str_equal(address, STR("c@d.test")));
    assert_false(mail_address_next(&rest, &address));
    assert_true(str_equal(mail_address_of(STR("N <a@b.test>")), STR("a@b.test")));
    assert_true(str_equal(mail_address_of(STR(" a@b.test ")), STR("a@b.test")));
    assert_true(mail_address_is_valid(STR("a+b.c@d-e.test")));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (mail_address_is_valid(str_of(bad[i])))
            fail_msg("accepted: %s", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mail_is_what_rfc_5322_says),
        cmocka_unit_test(no_text_breaks_out_of_its_place),
        cmocka_unit_test(many_are_counted_instead_of_listed),
        cmocka_unit_test(a_webhook_gets_text_and_fields),
        cmocka_unit_test(addresses_are_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
