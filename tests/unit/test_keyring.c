#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "sig/keyring.h"

enum { KEYS = 2, MAX_IDS = 4096 };

/* A loader that only notes what it is asked; time that goes when the test says so. */
struct fixture {
    int64_t now_ms;
    struct clock clock;
    struct heap heap;
    struct keyring *keyring;
    size_t loads;
    int64_t ids[MAX_IDS]; /* of the last load */
    size_t id_count;
};

static char *pem[KEYS];

static int64_t now_ms(void *arg)
{
    return *(int64_t *)arg;
}

static int64_t now_us(void *arg)
{
    (void)arg;
    return 0;
}

static void on_load(void *arg, const int64_t *ids, size_t count)
{
    struct fixture *f = arg;

    assert_true(count <= MAX_IDS);
    f->loads++;
    f->id_count = count;
    memcpy(f->ids, ids, count * sizeof(ids[0]));
}

static void start(struct fixture *f, size_t capacity)
{
    memset(f, 0, sizeof(*f));
    f->now_ms = 1000000;
    f->clock = (struct clock){now_ms, now_us, &f->now_ms};
    const struct keyring_options options = {.clock = &f->clock,
                                            .heap = &f->heap,
                                            .web_domain = STR("social.test"),
                                            .capacity = capacity,
                                            .copies = 1};
    f->keyring = keyring_create(&options);
    keyring_set_loader(f->keyring, on_load, f);
}

struct answer {
    int count;
    enum sign_status status;
    struct account *account; /* with a reference of the test's */
    char key_id[128];
    bool suspended;
    char reason[256];
};

static void on_answer(void *arg, enum sign_status status, struct account *account,
                      const char *reason)
{
    struct answer *answer = arg;

    answer->count++;
    answer->status = status;
    if (status == SIGN_OK) {
        answer->account = account_ref(account);
        snprintf(answer->key_id, sizeof(answer->key_id), "%s", account->key_id);
        answer->suspended = account->suspended;
    } else {
        snprintf(answer->reason, sizeof(answer->reason), "%s", reason);
    }
}

static void ask_anew(struct fixture *f, int64_t id, bool reread, struct answer *answer)
{
    if (answer->account != NULL)
        account_unref(answer->account);
    memset(answer, 0, sizeof(*answer));
    keyring_ask(f->keyring, id, reread, on_answer, answer);
}

static void ask(struct fixture *f, int64_t id, struct answer *answer)
{
    ask_anew(f, id, false, answer);
}

static void forget(struct answer *answer)
{
    if (answer->account != NULL)
        account_unref(answer->account);
    answer->account = NULL;
}

static struct account_row alice(int64_t id)
{
    return (struct account_row){
        .id = id, .username = STR("alice"), .local = true, .pem = str_of(pem[0])};
}

static void give(struct fixture *f, struct account_row row)
{
    keyring_row(f->keyring, &row);
    keyring_done(f->keyring);
}

/* Asks for an account and answers the loader with this row. */
static void know(struct fixture *f, struct account_row row)
{
    struct answer answer = {0};

    ask(f, row.id, &answer);
    give(f, row);
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.status, SIGN_OK);
    forget(&answer);
}

static void an_unknown_account_is_loaded_once_for_all_who_ask(void **state)
{
    struct answer answers[3] = {{0}};
    struct fixture f;
    (void)state;

    start(&f, 10);
    for (int i = 0; i < 3; i++)
        ask(&f, 7, &answers[i]);
    assert_int_equal(f.loads, 1);
    assert_int_equal(f.id_count, 1);
    assert_true(f.ids[0] == 7);
    assert_int_equal(keyring_waiting(f.keyring), 3);
    give(&f, alice(7));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(answers[i].count, 1);
        assert_int_equal(answers[i].status, SIGN_OK);
        assert_string_equal(answers[i].key_id, "https://social.test/users/alice#main-key");
        forget(&answers[i]);
    }
    ask(&f, 7, &answers[0]);
    assert_int_equal(answers[0].count, 1); /* at once */
    assert_int_equal(f.loads, 1);
    forget(&answers[0]);
    keyring_destroy(f.keyring);
}

static void accounts_that_wait_go_into_the_next_batch(void **state)
{
    static struct answer answers[KEYRING_BATCH + 10];
    struct fixture f;
    (void)state;

    start(&f, 10);
    for (int i = 0; i < KEYRING_BATCH + 10; i++)
        ask(&f, i, &answers[i]);
    assert_int_equal(f.loads, 1);
    assert_int_equal(f.id_count, 1);
    keyring_done(f.keyring);
    assert_int_equal(answers[0].status, SIGN_ACCOUNT_MISSING);
    assert_int_equal(f.loads, 2);
    assert_int_equal(f.id_count, KEYRING_BATCH);
    assert_true(f.ids[0] == 1);
    keyring_done(f.keyring);
    assert_int_equal(f.loads, 3);
    assert_int_equal(f.id_count, 9);
    keyring_done(f.keyring);
    assert_int_equal(f.loads, 3);
    assert_int_equal(keyring_waiting(f.keyring), 0);
    for (int i = 0; i < KEYRING_BATCH + 10; i++)
        assert_int_equal(answers[i].count, 1);
    keyring_destroy(f.keyring);
}

static void the_least_recently_used_goes_first_and_stays_good_for_its_users(void **state)
{
    struct answer kept = {0};
    struct answer answer = {0};
    unsigned char sha256[DIGEST_SHA256_BYTES] = {0};
    unsigned char signature[KEY_MAX_SIGNATURE_BYTES];
    struct fixture f;
    size_t len;
    (void)state;

    start(&f, 2);
    know(&f, alice(1));
    know(&f, alice(2));
    ask(&f, 1, &kept); /* now 2 is the oldest */
    know(&f, alice(3));
    assert_int_equal(keyring_count(f.keyring), 2);
    ask(&f, 1, &answer);
    assert_int_equal(answer.count, 1);
    know(&f, alice(4));
    know(&f, alice(5)); /* 1 is gone by now, but not for who holds it */
    ask(&f, 1, &answer);
    assert_int_equal(answer.count, 0);
    assert_true(key_sign(kept.account->key, 0, sha256, signature, &len));
    forget(&kept);
    keyring_destroy(f.keyring);
}

static void a_used_account_is_refreshed_in_the_background(void **state)
{
    struct answer answer = {0};
    struct account_row row = alice(7);
    struct fixture f;
    (void)state;

    start(&f, 10);
    know(&f, row);
    f.now_ms += KEYRING_REFRESH_MS - 1;
    ask(&f, 7, &answer);
    assert_int_equal(f.loads, 1);
    f.now_ms += 1;
    ask(&f, 7, &answer);
    assert_int_equal(answer.count, 1);
    assert_false(answer.suspended);
    assert_int_equal(f.loads, 2);
    ask(&f, 7, &answer); /* one is enough */
    assert_int_equal(f.loads, 2);
    struct account *before = answer.account;
    row.suspended = true;
    give(&f, row);
    ask(&f, 7, &answer);
    assert_true(answer.suspended);
    assert_ptr_equal(answer.account, before); /* the same key is not parsed again */
    forget(&answer);
    keyring_destroy(f.keyring);
}

static void a_rotated_key_is_used_within_a_minute(void **state)
{
    struct answer answer = {0};
    struct answer held = {0};
    struct account_row row = alice(7);
    struct fixture f;
    (void)state;

    start(&f, 10);
    know(&f, row);
    ask(&f, 7, &held);
    f.now_ms += KEYRING_STALE_MS;
    ask(&f, 7, &answer);
    assert_int_equal(answer.count, 0); /* not with a key that old */
    row.pem = str_of(pem[1]);
    give(&f, row);
    assert_int_equal(answer.count, 1);
    assert_ptr_not_equal(answer.account, held.account);
    assert_int_equal(keyring_count(f.keyring), 1);
    forget(&answer);
    forget(&held);
    keyring_destroy(f.keyring);
}

static void a_renamed_account_gets_its_new_key_id(void **state)
{
    struct answer answer = {0};
    struct account_row row = alice(7);
    struct fixture f;
    (void)state;

    start(&f, 10);
    know(&f, row);
    f.now_ms += KEYRING_STALE_MS;
    ask(&f, 7, &answer);
    row.id_scheme = 1;
    give(&f, row);
    assert_string_equal(answer.key_id, "https://social.test/ap/users/7#main-key");
    forget(&answer);
    keyring_destroy(f.keyring);
}

static void an_account_that_is_gone_is_dropped(void **state)
{
    struct answer answer = {0};
    struct fixture f;
    (void)state;

    start(&f, 10);
    know(&f, alice(7));
    f.now_ms += KEYRING_REFRESH_MS;
    ask(&f, 7, &answer);
    assert_int_equal(answer.status, SIGN_OK);
    keyring_done(f.keyring); /* no row */
    assert_int_equal(keyring_count(f.keyring), 0);
    ask(&f, 7, &answer);
    assert_int_equal(answer.count, 0);
    keyring_done(f.keyring);
    assert_int_equal(answer.status, SIGN_ACCOUNT_MISSING);
    assert_string_equal(answer.reason, "there is no account 7");
    keyring_destroy(f.keyring);
}

static void known_accounts_go_on_while_the_database_is_away(void **state)
{
    struct answer answer = {0};
    struct answer unknown = {0};
    struct fixture f;
    (void)state;

    start(&f, 10);
    know(&f, alice(7));
    f.now_ms += 10 * KEYRING_STALE_MS;
    ask(&f, 7, &answer);
    keyring_failed(f.keyring, "the database is away");
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.status, SIGN_OK);
    ask(&f, 7, &answer); /* without asking again for a while */
    assert_int_equal(answer.count, 1);
    assert_int_equal(f.loads, 2);
    ask(&f, 8, &unknown);
    keyring_failed(f.keyring, "the database is away");
    assert_int_equal(unknown.status, SIGN_UNAVAILABLE);
    assert_string_equal(unknown.reason, "the database is away");
    f.now_ms += KEYRING_RETRY_MS;
    ask(&f, 7, &answer);
    assert_int_equal(f.loads, 4);
    give(&f, alice(7));
    assert_int_equal(answer.count, 1);
    forget(&answer);
    keyring_destroy(f.keyring);
}

static void nobody_waits_longer_than_two_seconds(void **state)
{
    struct answer known = {0};
    struct answer unknown = {0};
    struct fixture f;
    (void)state;

    start(&f, 10);
    know(&f, alice(7));
    f.now_ms += KEYRING_STALE_MS;
    ask(&f, 7, &known);
    f.now_ms += 1;
    ask(&f, 8, &unknown);
    f.now_ms += KEYRING_WAIT_MS - 1;
    keyring_tick(f.keyring);
    assert_int_equal(known.status, SIGN_OK);
    assert_int_equal(known.count, 1);
    assert_int_equal(unknown.count, 0);
    f.now_ms += 1;
    keyring_tick(f.keyring);
    assert_int_equal(unknown.count, 1);
    assert_int_equal(unknown.status, SIGN_UNAVAILABLE);
    assert_int_equal(keyring_waiting(f.keyring), 0);
    give(&f, alice(7)); /* late, and harmless */
    give(&f, alice(8));
    ask(&f, 8, &unknown);
    assert_int_equal(unknown.status, SIGN_OK);
    forget(&known);
    forget(&unknown);
    keyring_destroy(f.keyring);
}

static void assert_unusable(struct account_row row, const char *reason)
{
    struct answer answer = {0};
    struct fixture f;

    start(&f, 10);
    ask(&f, row.id, &answer);
    give(&f, row);
    assert_int_equal(answer.status, SIGN_KEY_UNUSABLE);
    assert_string_equal(answer.reason, reason);
    assert_int_equal(keyring_count(f.keyring), 0);
    keyring_destroy(f.keyring);
}

static void an_account_without_a_usable_key_says_which_and_why(void **state)
{
    struct account_row row = alice(7);
    (void)state;

    row.pem = STR_NULL;
    assert_unusable(row, "account 7 has no private key");
    row = alice(7);
    row.local = false;
    assert_unusable(row, "account 7 is not a local one");
    row = alice(7);
    row.username = STR("a,b");
    assert_unusable(row, "account 7: its user name makes no key id");
    row = alice(7);
    row.pem = STR("rubbish");
    assert_unusable(row, "account 7: it is not a private key in PEM form");
}

static void an_account_that_is_not_believed_is_read_again_first(void **state)
{
    struct answer answer = {0};
    struct account_row rotated = alice(7);
    struct fixture f;
    (void)state;

    start(&f, 10);
    know(&f, alice(7));
    rotated.pem = str_of(pem[1]);
    f.now_ms += KEYRING_REREAD_MS;
    ask_anew(&f, 7, true, &answer);
    assert_int_equal(answer.count, 0);
    assert_int_equal(f.loads, 2);
    struct account *before = answer.account;
    give(&f, rotated);
    assert_int_equal(answer.status, SIGN_OK);
    assert_ptr_not_equal(answer.account, before);
    forget(&answer);
    keyring_destroy(f.keyring);
}

static void an_account_is_read_again_at_most_once_in_five_seconds(void **state)
{
    struct answer answer = {0};
    struct fixture f;
    (void)state;

    start(&f, 10);
    know(&f, alice(7));
    for (int i = 0; i < 100; i++) {
        f.now_ms += KEYRING_REREAD_MS / 100;
        ask_anew(&f, 7, true, &answer);
        assert_int_equal(f.loads, i == 99 ? 2 : 1);
        assert_int_equal(answer.count, i == 99 ? 0 : 1);
    }
    keyring_failed(f.keyring, "away"); /* what is known is used all the same */
    assert_int_equal(answer.status, SIGN_OK);
    ask_anew(&f, 7, true, &answer);
    assert_int_equal(answer.count, 1);
    assert_int_equal(f.loads, 2);
    forget(&answer);
    keyring_destroy(f.keyring);
}

static void a_key_that_waits_for_the_configuration_is_not_unusable(void **state)
{
    struct answer answer = {0};
    struct account_row row = alice(7);
    struct fixture f;
    (void)state;

    start(&f, 10);
    know(&f, alice(7));
    row.has_keypair = true;
    row.sealed = STR("{}");
    f.now_ms += KEYRING_STALE_MS;
    ask(&f, 7, &answer);
    give(&f, row);
    assert_int_equal(answer.status, SIGN_UNAVAILABLE);
    assert_non_null(strstr(answer.reason, "set ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY"));
    assert_int_equal(keyring_count(f.keyring), 0); /* the former key is not used */
    keyring_destroy(f.keyring);
}

static void the_instance_actor_is_never_suspended(void **state)
{
    struct answer answer = {0};
    struct account_row row = alice(-99);
    struct fixture f;
    (void)state;

    start(&f, 10);
    row.suspended = true;
    ask(&f, -99, &answer);
    give(&f, row);
    assert_string_equal(answer.key_id, "https://social.test/actor#main-key");
    assert_false(answer.suspended);
    forget(&answer);
    keyring_destroy(f.keyring);
}

static void rows_that_nobody_asked_for_are_ignored(void **state)
{
    struct answer answer = {0};
    struct account_row row = alice(8);
    struct fixture f;
    (void)state;

    start(&f, 10);
    ask(&f, 7, &answer);
    keyring_row(f.keyring, &row);
    assert_int_equal(keyring_count(f.keyring), 0);
    assert_int_equal(answer.count, 0);
    keyring_destroy(f.keyring); /* with a request waiting: it is told nothing */
    assert_int_equal(answer.count, 0);
}

static void trimming_drops_the_oldest_eighth(void **state)
{
    struct answer answer = {0};
    struct fixture f;
    (void)state;

    start(&f, 20);
    for (int64_t id = 0; id < 16; id++)
        know(&f, alice(id));
    keyring_trim(f.keyring);
    assert_int_equal(keyring_count(f.keyring), 13);
    ask(&f, 3, &answer);
    assert_int_equal(answer.count, 1);
    ask(&f, 2, &answer);
    assert_int_equal(answer.count, 0);
    keyring_destroy(f.keyring);
}

static char *make_pem(void)
{
    EVP_PKEY *pkey = EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;

    if (PEM_write_bio_PrivateKey_traditional(bio, pkey, NULL, NULL, 0, NULL, NULL) != 1)
        abort();
    long len = BIO_get_mem_data(bio, &data);
    char *text = str_dup((struct str){data, (size_t)len});
    BIO_free(bio);
    EVP_PKEY_free(pkey);
    return text;
}

static int make_pems(void **state)
{
    (void)state;
    for (int i = 0; i < KEYS; i++)
        pem[i] = make_pem();
    return 0;
}

static int free_pems(void **state)
{
    (void)state;
    for (int i = 0; i < KEYS; i++)
        free(pem[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_account_is_loaded_once_for_all_who_ask),
        cmocka_unit_test(accounts_that_wait_go_into_the_next_batch),
        cmocka_unit_test(the_least_recently_used_goes_first_and_stays_good_for_its_users),
        cmocka_unit_test(a_used_account_is_refreshed_in_the_background),
        cmocka_unit_test(a_rotated_key_is_used_within_a_minute),
        cmocka_unit_test(a_renamed_account_gets_its_new_key_id),
        cmocka_unit_test(an_account_that_is_gone_is_dropped),
        cmocka_unit_test(known_accounts_go_on_while_the_database_is_away),
        cmocka_unit_test(nobody_waits_longer_than_two_seconds),
        cmocka_unit_test(an_account_without_a_usable_key_says_which_and_why),
        cmocka_unit_test(an_account_that_is_not_believed_is_read_again_first),
        cmocka_unit_test(an_account_is_read_again_at_most_once_in_five_seconds),
        cmocka_unit_test(a_key_that_waits_for_the_configuration_is_not_unusable),
        cmocka_unit_test(the_instance_actor_is_never_suspended),
        cmocka_unit_test(rows_that_nobody_asked_for_are_ignored),
        cmocka_unit_test(trimming_drops_the_oldest_eighth),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("keyring", tests, make_pems, free_pems);
}
