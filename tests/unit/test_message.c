#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/message.h"

static struct ticket some_ticket(void)
{
    struct ticket ticket = {
        .serial = UINT64_MAX - 1,
        .account_id = -99,
        .expires_s = 1790000000,
        .origin = STR("https://remote.example:8443"),
        .content_type = STR("application/activity+json"),
        .synchronization = STR("collectionId=\"https://a.example/f\""),
    };
    memset(ticket.body_sha256, 0xab, sizeof(ticket.body_sha256));
    memset(ticket.mac, 0xcd, sizeof(ticket.mac));
    return ticket;
}

static void assert_str(struct str got, struct str wanted)
{
    assert_int_equal(got.len, wanted.len);
    if (wanted.len > 0)
        assert_memory_equal(got.ptr, wanted.ptr, wanted.len);
}

static void assert_ticket(const struct ticket *got)
{
    struct ticket wanted = some_ticket();

    assert_true(got->serial == wanted.serial);
    assert_true(got->account_id == wanted.account_id);
    assert_true(got->expires_s == wanted.expires_s);
    assert_memory_equal(got->body_sha256, wanted.body_sha256, sizeof(wanted.body_sha256));
    assert_str(got->origin, wanted.origin);
    assert_str(got->content_type, wanted.content_type);
    assert_str(got->synchronization, wanted.synchronization);
    assert_memory_equal(got->mac, wanted.mac, sizeof(wanted.mac));
}

/* Each message's decoder, without its struct: what is decoded doesn't matter to the bounds. */
typedef bool decoder(struct str payload);

static bool decode_job(struct str payload)
{
    struct message_job m;
    return message_get_job(payload, &m);
}

static bool decode_abort(struct str payload)
{
    struct message_abort m;
    return message_get_abort(payload, &m);
}

static bool decode_hello(struct str payload)
{
    struct message_hello m;
    return message_get_hello(payload, &m);
}

static bool decode_ping(struct str payload)
{
    struct message_ping m;
    return message_get_ping(payload, &m);
}

static bool decode_outcome(struct str payload)
{
    struct message_outcome m;
    return message_get_outcome(payload, &m);
}

static bool decode_sign(struct str payload)
{
    struct message_sign m;
    return message_get_sign(payload, &m);
}

static bool decode_signed(struct str payload)
{
    struct message_signed m;
    return message_get_signed(payload, &m);
}

/* Every proper prefix and every extension is refused. Prefixes are exact allocations, so that the
 * sanitizer sees a read past the end. */
static void assert_consumes_exactly(const struct buf *whole, decoder *decode)
{
    assert_false(whole->overflow);
    assert_true(decode(buf_str(whole)));
    for (size_t len = 0; len < whole->len; len++) {
        char *cut = mem_alloc(len + (len == 0));
        if (len > 0)
            memcpy(cut, whole->ptr, len);
        assert_false(decode((struct str){cut, len}));
        free(cut);
    }
    char *longer = mem_alloc(whole->len + 1);
    memcpy(longer, whole->ptr, whole->len);
    assert_false(decode((struct str){longer, whole->len + 1}));
    free(longer);
}

static void a_job_survives_the_trip(void **state)
{
    struct message_job got;
    struct message_job m = {.id = 0x0102030405060708,
                            .ticket = some_ticket(),
                            .knock = KNOCK_RFC9421_FIRST,
                            .low = 1,
                            .proxy = 16,
                            .http2 = 1,
                            .url = STR("https://remote.example:8443/inbox"),
                            .body = STR("{\"a\":\"b\"}")};
    struct buf out;
    (void)state;

    buf_init(&out, 1 << 20);
    message_put_job(&out, &m);
    assert_memory_equal(out.ptr, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    assert_consumes_exactly(&out, decode_job);
    assert_true(message_get_job(buf_str(&out), &got));
    assert_true(got.id == m.id);
    assert_ticket(&got.ticket);
    assert_int_equal(got.knock, KNOCK_RFC9421_FIRST);
    assert_int_equal(got.low, 1);
    assert_int_equal(got.proxy, 16);
    assert_int_equal(got.http2, 1);
    assert_str(got.url, m.url);
    assert_str(got.body, m.body);
    buf_clear(&out);
}

static void an_abort_survives_the_trip(void **state)
{
    struct message_abort got;
    struct buf out;
    (void)state;

    buf_init(&out, 64);
    message_put_abort(&out, &(struct message_abort){UINT64_MAX - 7});
    assert_consumes_exactly(&out, decode_abort);
    assert_true(message_get_abort(buf_str(&out), &got));
    assert_true(got.id == UINT64_MAX - 7);
    buf_clear(&out);
}

static bool decode_foresee(struct str payload)
{
    struct message_foresee m;
    return message_get_foresee(payload, &m);
}

static void a_foreseen_host_survives_the_trip(void **state)
{
    struct message_foresee got;
    struct buf out;
    (void)state;

    buf_init(&out, 64);
    message_put_foresee(&out, &(struct message_foresee){STR("host.test:8443")});
    assert_consumes_exactly(&out, decode_foresee);
    assert_true(message_get_foresee(buf_str(&out), &got));
    assert_str(got.host, STR("host.test:8443"));
    buf_clear(&out);
}

static void hello_and_ping_survive_the_trip(void **state)
{
    struct message_hello hello;
    struct message_ping ping;
    struct buf out;
    (void)state;

    buf_init(&out, 64);
    message_put_hello(&out, &(struct message_hello){1024});
    assert_consumes_exactly(&out, decode_hello);
    assert_true(message_get_hello(buf_str(&out), &hello));
    assert_int_equal(hello.credits, 1024);
    buf_reset(&out);
    message_put_ping(&out, &(struct message_ping){UINT64_MAX});
    assert_consumes_exactly(&out, decode_ping);
    assert_true(message_get_ping(buf_str(&out), &ping));
    assert_true(ping.nonce == UINT64_MAX);
    buf_clear(&out);
}

static struct message_outcome some_outcome(void)
{
    return (struct message_outcome){.id = 5,
                                    .kind = OUTCOME_RESPONSE,
                                    .sender_suspended = 1,
                                    .learnt = LEARNT_RFC9421,
                                    .reused = 1,
                                    .status = 503,
                                    .retry_after_ms = MESSAGE_MAX_RETRY_AFTER_MS,
                                    .total_ms = 123456,
                                    .sent_bytes = 4000,
                                    .error_class = STR("Mastodon::UnexpectedResponseError"),
                                    .error_message = STR("returned code 503")};
}

static void a_job_with_an_unknown_knock_is_refused(void **state)
{
    struct message_job m = {.knock = KNOCK_RFC9421_FIRST + 1};
    struct buf out;
    (void)state;

    buf_init(&out, 4096);
    message_put_job(&out, &m);
    assert_false(decode_job(buf_str(&out)));
    buf_clear(&out);
}

static void an_outcome_survives_the_trip(void **state)
{
    struct message_outcome m = some_outcome();
    struct message_outcome got;
    struct buf out;
    (void)state;

    buf_init(&out, 4096);
    message_put_outcome(&out, &m);
    assert_consumes_exactly(&out, decode_outcome);
    assert_true(message_get_outcome(buf_str(&out), &got));
    assert_true(got.id == 5 && got.kind == OUTCOME_RESPONSE && got.sender_suspended == 1);
    assert_int_equal(got.learnt, LEARNT_RFC9421);
    assert_true(got.status == 503 && got.total_ms == 123456 && got.sent_bytes == 4000);
    assert_true(got.reused == 1 && got.failure == FAILURE_NONE);
    assert_int_equal(got.retry_after_ms, MESSAGE_MAX_RETRY_AFTER_MS);
    assert_str(got.error_class, m.error_class);
    assert_str(got.error_message, m.error_message);
    buf_clear(&out);
}

static bool outcome_accepted(const struct message_outcome *m)
{
    struct buf out;

    buf_init(&out, 16384);
    message_put_outcome(&out, m);
    bool accepted = decode_outcome(buf_str(&out));
    buf_clear(&out);
    return accepted;
}

static void outcomes_that_mean_nothing_are_refused(void **state)
{
    struct message_outcome m = some_outcome();
    (void)state;

    m.kind = OUTCOME_NOT_TRIED + 1;
    assert_false(outcome_accepted(&m));
    m = some_outcome();
    m.sender_suspended = 2;
    assert_false(outcome_accepted(&m));
    m = some_outcome();
    m.learnt = LEARNT_NEITHER + 1;
    assert_false(outcome_accepted(&m));
    m = some_outcome();
    m.status = 99;
    assert_false(outcome_accepted(&m));
    m.status = 1000;
    assert_false(outcome_accepted(&m));
    m = some_outcome();
    m.reused = 2;
    assert_false(outcome_accepted(&m));
    m = some_outcome();
    m.retry_after_ms++;
    assert_false(outcome_accepted(&m));
    m.retry_after_ms = 1;
    m.status = 429;
    assert_true(outcome_accepted(&m));
    m.status = 500; /* only these two ask for time */
    assert_false(outcome_accepted(&m));
}

static void an_outcome_has_a_failure_when_it_is_one(void **state)
{
    static char text[MESSAGE_MAX_ERROR_BYTES + 1];
    struct message_outcome m = some_outcome();
    (void)state;

    m.failure = FAILURE_OTHER;
    assert_false(outcome_accepted(&m));
    m.kind = OUTCOME_TRANSPORT;
    assert_false(outcome_accepted(&m));
    m.status = 0;
    m.retry_after_ms = 0;
    assert_true(outcome_accepted(&m));
    m.failure++;
    assert_false(outcome_accepted(&m));
    m.failure = FAILURE_NONE;
    assert_false(outcome_accepted(&m));
    m.failure = FAILURE_REFUSED;
    m.error_message = (struct str){text, MESSAGE_MAX_ERROR_BYTES};
    assert_true(outcome_accepted(&m));
    m.error_message.len++;
    assert_false(outcome_accepted(&m));
}

static void sign_and_signed_survive_the_trip(void **state)
{
    struct message_sign sign = {.id = 9,
                                .ticket = some_ticket(),
                                .method = SIGN_GET,
                                .reread = 1,
                                .scheme = SCHEME_RFC9421,
                                .low = 1,
                                .date_s = 1790000001,
                                .target = STR("/inbox?x=1")};
    struct message_signed answer = {.id = 9,
                                    .status = SIGN_OK,
                                    .sender_suspended = 1,
                                    .host = STR("remote.example"),
                                    .date = STR("Sun, 06 Nov 1994 08:49:37 GMT"),
                                    .digest = STR_NULL,
                                    .signature = STR("keyId=…"),
                                    .signature_input = STR("sig1=()"),
                                    .reason = STR("none")};
    struct message_sign got_sign;
    struct message_signed got_answer;
    struct buf out;
    (void)state;

    buf_init(&out, 4096);
    message_put_sign(&out, &sign);
    assert_consumes_exactly(&out, decode_sign);
    assert_true(message_get_sign(buf_str(&out), &got_sign));
    assert_true(got_sign.id == 9 && got_sign.method == SIGN_GET && got_sign.reread == 1 &&
                got_sign.low == 1 && got_sign.date_s == 1790000001);
    assert_int_equal(got_sign.scheme, SCHEME_RFC9421);
    assert_ticket(&got_sign.ticket);
    assert_str(got_sign.target, sign.target);

    buf_reset(&out);
    message_put_signed(&out, &answer);
    assert_consumes_exactly(&out, decode_signed);
    assert_true(message_get_signed(buf_str(&out), &got_answer));
    assert_true(got_answer.id == 9 && got_answer.status == SIGN_OK);
    assert_int_equal(got_answer.sender_suspended, 1);
    assert_str(got_answer.host, answer.host);
    assert_str(got_answer.date, answer.date);
    assert_str(got_answer.digest, answer.digest);
    assert_str(got_answer.signature, answer.signature);
    assert_str(got_answer.signature_input, answer.signature_input);
    assert_str(got_answer.reason, answer.reason);
    buf_clear(&out);
}

static void sign_and_signed_refuse_unknown_values(void **state)
{
    struct message_sign sign = {.ticket = some_ticket(), .method = SIGN_GET + 1};
    struct message_signed answer = {.status = SIGN_UNAVAILABLE + 1};
    static char text[MESSAGE_MAX_TEXT_BYTES + 1];
    struct buf out;
    (void)state;

    buf_init(&out, 16384);
    message_put_sign(&out, &sign);
    assert_false(decode_sign(buf_str(&out)));
    buf_reset(&out);
    sign.method = SIGN_POST;
    sign.scheme = SCHEME_RFC9421 + 1;
    message_put_sign(&out, &sign);
    assert_false(decode_sign(buf_str(&out)));
    buf_reset(&out);
    sign.scheme = SCHEME_CAVAGE;
    sign.target = (struct str){text, sizeof(text)};
    message_put_sign(&out, &sign);
    assert_false(decode_sign(buf_str(&out)));
    buf_reset(&out);
    message_put_signed(&out, &answer);
    assert_false(decode_signed(buf_str(&out)));
    buf_clear(&out);
}

static void a_length_that_lies_is_refused(void **state)
{
    struct buf out;
    (void)state;

    buf_init(&out, 4096);
    message_put_signed(&out, &(struct message_signed){.host = STR("remote.example")});
    memset(out.ptr + 10, 0xff, 4); /* the length of `host` */
    assert_false(decode_signed(buf_str(&out)));
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_survives_the_trip),
        cmocka_unit_test(a_job_with_an_unknown_knock_is_refused),
        cmocka_unit_test(an_abort_survives_the_trip),
        cmocka_unit_test(a_foreseen_host_survives_the_trip),
        cmocka_unit_test(hello_and_ping_survive_the_trip),
        cmocka_unit_test(an_outcome_survives_the_trip),
        cmocka_unit_test(outcomes_that_mean_nothing_are_refused),
        cmocka_unit_test(an_outcome_has_a_failure_when_it_is_one),
        cmocka_unit_test(sign_and_signed_survive_the_trip),
        cmocka_unit_test(sign_and_signed_refuse_unknown_values),
        cmocka_unit_test(a_length_that_lies_is_refused),
    };
    return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
