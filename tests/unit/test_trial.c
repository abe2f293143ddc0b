/* What a rehearsal says of one job. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "worker/trial.h"

static void make(struct trial *trial, const char *payload)
{
    struct json *json = json_create();
    trial_init(trial, TRIAL_PUSH, str_of(payload), json);
    json_destroy(json);
}

static void expect(const struct trial *trial, enum trial_fate fate, const char *reason)
{
    struct buf text;

    buf_init(&text, 1024);
    trial_put_reason(&text, trial);
    assert_string_equal(trial_fate_name(trial_fate(trial)), trial_fate_name(fate));
    if (strstr(buf_cstr(&text), reason) == NULL)
        fail_msg("\"%s\" says nothing of \"%s\"", buf_cstr(&text), reason);
    buf_clear(&text);
}

#define DELIVERY(inbox)                                                                            \
    "{\"class\":\"ActivityPub::DeliveryWorker\",\"args\":[\"{}\",7,\"" inbox "\"],\"jid\":\"a\"}"

static void test_a_delivery_needs_everything(void **state)
{
    struct message_signed answer = {.status = SIGN_OK, .host = STR("a.example")};
    struct trial trial;

    (void)state;
    make(&trial, DELIVERY("https://a.example/inbox"));
    assert_true(trial_is_sent(&trial));
    expect(&trial, FATE_BROKEN, "the signer doesn't answer");
    trial.asked = true;
    trial_answer(&trial, SCHEME_CAVAGE, &answer);
    expect(&trial, FATE_DELIVER, "");
    assert_true(str_equal(trial.signatures[SCHEME_CAVAGE].answer.host, STR("a.example")));
    answer.status = SIGN_KEY_UNUSABLE;
    trial_answer(&trial, SCHEME_CAVAGE, &answer); /* the first answer counts */
    expect(&trial, FATE_DELIVER, "");
    trial.has_public_key = true;
    expect(&trial, FATE_BROKEN, "doesn't hold with its public key");
    trial.signatures[SCHEME_CAVAGE].holds = true;
    trial.looked_up = true;
    trial.dns.status = DNS_NO_NAME;
    expect(&trial, FATE_RETRY, "doesn't exist");
    trial.dns.status = DNS_NO_ANSWER;
    expect(&trial, FATE_RETRY, "no name server");
    trial.dns.status = DNS_FOUND;
    expect(&trial, FATE_DROP, "ALLOWED_PRIVATE_ADDRESSES");
    trial.dns.count = 1;
    expect(&trial, FATE_DELIVER, "");
    trial.hidden = true;
    assert_false(trial_is_sent(&trial));
    expect(&trial, FATE_DROP, "ALLOW_ACCESS_TO_HIDDEN_SERVICE");
    trial.hidden = false;
    trial.unavailable = true;
    assert_false(trial_is_sent(&trial));
    expect(&trial, FATE_SKIP, "unavailable");
    trial_clear(&trial);
}

static void test_both_signatures_must_be_good(void **state)
{
    const struct message_signed good = {.status = SIGN_OK};
    const struct message_signed bad = {.status = SIGN_REFUSED, .reason = STR("why")};
    struct trial trial;

    (void)state;
    make(&trial, DELIVERY("https://a.example/inbox"));
    trial.asked = trial.both = true;
    trial_answer(&trial, SCHEME_CAVAGE, &good);
    expect(&trial, FATE_BROKEN, "the signer doesn't answer"); /* about the second one */
    assert_false(trial_is_answered(&trial));
    trial_answer(&trial, SCHEME_RFC9421, &good);
    expect(&trial, FATE_DELIVER, "");
    trial.has_public_key = trial.signatures[SCHEME_CAVAGE].holds = true;
    expect(&trial, FATE_BROKEN, "the RFC 9421 signature of account 7 doesn't hold");
    trial.signatures[SCHEME_RFC9421].holds = true;
    expect(&trial, FATE_DELIVER, "");
    trial_clear(&trial);
    make(&trial, DELIVERY("https://a.example/inbox"));
    trial.asked = trial.both = true;
    trial_answer(&trial, SCHEME_CAVAGE, &good);
    trial_answer(&trial, SCHEME_RFC9421, &bad);
    expect(&trial, FATE_BROKEN, "account 7: why");
    trial_clear(&trial);
}

static void test_what_is_no_delivery(void **state)
{
    struct trial trial;

    (void)state;
    make(&trial, "{\"class\":\"ActivityPub::DistributionWorker\",\"args\":[1]}");
    assert_false(trial_is_sent(&trial));
    expect(&trial, FATE_HANDOFF, "");
    trial_clear(&trial);
    make(&trial, "{broken");
    expect(&trial, FATE_DEAD, "");
    trial_clear(&trial);
    make(&trial, DELIVERY("gopher://a"));
    assert_false(trial_is_sent(&trial));
    expect(&trial, FATE_RETRY, "no URL");
    trial_clear(&trial);
}

static void test_an_answer_that_is_no_signature(void **state)
{
    static const struct {
        enum sign_status status;
        enum trial_fate fate;
        const char *reason;
    } rows[] = {
        {SIGN_ACCOUNT_MISSING, FATE_RETRY, "there is no account 7"},
        {SIGN_KEY_UNUSABLE, FATE_BROKEN, "account 7: why"},
        {SIGN_UNAVAILABLE, FATE_BROKEN, "account 7: why"},
        {SIGN_REFUSED, FATE_BROKEN, "account 7: why"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct message_signed answer = {.status = (uint8_t)rows[i].status,
                                              .reason = STR("why")};
        struct trial trial;
        make(&trial, DELIVERY("https://a.example/inbox"));
        trial_answer(&trial, SCHEME_CAVAGE, &answer); /* nobody asked */
        expect(&trial, FATE_BROKEN, "doesn't answer");
        trial.asked = true;
        trial_answer(&trial, SCHEME_CAVAGE, &answer);
        expect(&trial, rows[i].fate, rows[i].reason);
        trial_clear(&trial);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_delivery_needs_everything),
        cmocka_unit_test(test_both_signatures_must_be_good),
        cmocka_unit_test(test_what_is_no_delivery),
        cmocka_unit_test(test_an_answer_that_is_no_signature),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
