/* In which order one thread signs. How much of it has been signed before the last is submitted is
 * up to the machine: what is expected must be seen once within the time limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/loop.h"
#include "server.h"
#include "sig/pool.h"

enum { JOBS = 40 };

struct fixture {
    struct event_base *base;
    struct key *key;
    struct pool *pool;
    struct pool_job jobs[JOBS];
    unsigned place[JOBS]; /* when it was finished, from 1 on */
    unsigned finished;
    bool all;
};

static void on_done(void *arg, struct pool_job *job)
{
    struct fixture *f = arg;

    assert_true(job->good);
    f->place[job - f->jobs] = ++f->finished;
    f->all = f->finished == JOBS;
}

static struct key *make_key(void)
{
    EVP_PKEY *pkey = EVP_RSA_gen(KEY_MIN_BITS);
    BIO *bio = BIO_new(BIO_s_mem());
    struct err err;
    char *text;

    assert_int_equal(PEM_write_bio_PrivateKey_traditional(bio, pkey, NULL, NULL, 0, NULL, NULL), 1);
    long len = BIO_get_mem_data(bio, &text);
    struct key *key = key_create((struct str){text, (size_t)len}, 1, &err);
    assert_non_null(key);
    BIO_free(bio);
    EVP_PKEY_free(pkey);
    return key;
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    f->base = loop_create();
    f->key = make_key();
    f->pool = pool_create(f->base, 1, JOBS, on_done, f);
    assert_non_null(f->pool);
    *state = f;
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;

    pool_destroy(f->pool);
    key_destroy(f->key);
    event_base_free(f->base);
    free(f);
    return 0;
}

/* All but one are of one kind; that one is submitted as `odd`th. */
static unsigned place_of(struct fixture *f, bool odd_is_low, unsigned odd)
{
    f->finished = 0;
    f->all = false;
    for (unsigned i = 0; i < JOBS; i++) {
        f->jobs[i] = (struct pool_job){.key = f->key, .low = (i == odd) == odd_is_low};
        assert_true(pool_submit(f->pool, &f->jobs[i]));
    }
    server_wait(f->base, &f->all);
    return f->place[odd];
}

static int64_t now_ms(void)
{
    struct clock clock = clock_system();
    return clock_mono_ms(&clock);
}

static void what_is_low_waits_behind_the_others(void **state)
{
    int64_t deadline_ms = now_ms() + SERVER_WAIT_MS;

    while (place_of(*state, false, JOBS - 1) > JOBS / 2)
        assert_true(now_ms() < deadline_ms);
}

static void but_not_for_ever(void **state)
{
    int64_t deadline_ms = now_ms() + SERVER_WAIT_MS;
    unsigned place;

    /* Neither at once nor last of all. */
    while ((place = place_of(*state, true, 1)) < 8 || place > 18)
        assert_true(now_ms() < deadline_ms);
}

static void more_than_fits_is_refused(void **state)
{
    struct fixture *f = *state;
    struct pool *small = pool_create(f->base, 1, 1, on_done, f);
    int64_t deadline_ms = now_ms() + SERVER_WAIT_MS;
    unsigned taken;

    do {
        assert_true(now_ms() < deadline_ms);
        f->finished = 0;
        taken = 0;
        for (unsigned i = 0; i < JOBS; i++) {
            f->jobs[i] = (struct pool_job){.key = f->key, .low = i % 2 == 0};
            taken += pool_submit(small, &f->jobs[i]);
        }
        while (f->finished < taken)
            event_base_loop(f->base, EVLOOP_ONCE);
    } while (taken > JOBS / 2);
    pool_destroy(small);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(what_is_low_waits_behind_the_others),
        CASE(but_not_for_ever),
        CASE(more_than_fits_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
