/* What is knocked with, when again, and what it shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/knock.h"

static void the_job_says_what_is_first(void **state)
{
    static const enum sign_scheme schemes[] = {[KNOCK_CAVAGE] = SCHEME_CAVAGE,
                                               [KNOCK_RFC9421] = SCHEME_RFC9421,
                                               [KNOCK_CAVAGE_FIRST] = SCHEME_CAVAGE,
                                               [KNOCK_RFC9421_FIRST] = SCHEME_RFC9421};
    struct knocking k;
    (void)state;

    for (int knock = KNOCK_CAVAGE; knock <= KNOCK_RFC9421_FIRST; knock++) {
        knock_begin(&k, (enum knock)knock);
        assert_int_equal(k.scheme, schemes[knock]);
        assert_int_equal(k.may_again, knock >= KNOCK_CAVAGE_FIRST);
    }
}

static void only_400_and_401_are_knocked_at_again(void **state)
{
    struct knocking k;
    (void)state;

    for (unsigned status = 100; status < 600; status++) {
        bool rejected = status == 400 || status == 401;
        knock_begin(&k, KNOCK_CAVAGE_FIRST);
        assert_int_equal(knock_again(&k, status), rejected);
        assert_int_equal(k.scheme, rejected ? SCHEME_RFC9421 : SCHEME_CAVAGE);
        if (rejected)
            assert_false(knock_again(&k, status)); /* never a third time */
        knock_begin(&k, KNOCK_RFC9421_FIRST);
        assert_int_equal(knock_again(&k, status), rejected);
        assert_int_equal(k.scheme, rejected ? SCHEME_CAVAGE : SCHEME_RFC9421);
        knock_begin(&k, KNOCK_CAVAGE);
        assert_false(knock_again(&k, status));
    }
}

static enum learnt learnt(enum knock knock, unsigned first, unsigned second)
{
    struct knocking k;

    knock_begin(&k, knock);
    if (!knock_again(&k, first))
        return knock_learnt(&k, first);
    return knock_learnt(&k, second);
}

static void a_second_answer_teaches(void **state)
{
    (void)state;
    assert_int_equal(learnt(KNOCK_CAVAGE_FIRST, 401, 202), LEARNT_RFC9421);
    assert_int_equal(learnt(KNOCK_CAVAGE_FIRST, 400, 200), LEARNT_RFC9421);
    assert_int_equal(learnt(KNOCK_RFC9421_FIRST, 401, 202), LEARNT_CAVAGE);
    assert_int_equal(learnt(KNOCK_CAVAGE_FIRST, 401, 401), LEARNT_NEITHER);
    assert_int_equal(learnt(KNOCK_RFC9421_FIRST, 401, 400), LEARNT_NEITHER);
    assert_int_equal(learnt(KNOCK_CAVAGE_FIRST, 401, 403), LEARNT_NOTHING);
    assert_int_equal(learnt(KNOCK_CAVAGE_FIRST, 401, 503), LEARNT_NOTHING);
    assert_int_equal(learnt(KNOCK_CAVAGE_FIRST, 401, 0), LEARNT_NOTHING); /* no answer came */
}

static void a_first_answer_teaches_nothing(void **state)
{
    (void)state;
    assert_int_equal(learnt(KNOCK_CAVAGE_FIRST, 202, 0), LEARNT_NOTHING);
    assert_int_equal(learnt(KNOCK_RFC9421_FIRST, 202, 0), LEARNT_NOTHING);
    assert_int_equal(learnt(KNOCK_CAVAGE, 401, 0), LEARNT_NOTHING);
    assert_int_equal(learnt(KNOCK_RFC9421, 401, 0), LEARNT_NOTHING);
}

static void the_first_answer_stands_when_there_is_no_second(void **state)
{
    struct knocking k;
    (void)state;

    knock_begin(&k, KNOCK_CAVAGE_FIRST);
    assert_true(knock_again(&k, 400));
    assert_int_equal(knock_give_up(&k), 400);
    assert_int_equal(knock_learnt(&k, 400), LEARNT_NOTHING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_job_says_what_is_first),
        cmocka_unit_test(only_400_and_401_are_knocked_at_again),
        cmocka_unit_test(a_second_answer_teaches),
        cmocka_unit_test(a_first_answer_teaches_nothing),
        cmocka_unit_test(the_first_answer_stands_when_there_is_no_second),
    };
    return cmocka_run_group_tests_name("knock", tests, NULL, NULL);
}
