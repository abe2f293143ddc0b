/* Why a machine as a whole sends nothing, or takes no more: each reason in its own words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/standing.h"

/* It sends, and takes more. */
static struct standing well(void)
{
    return (struct standing){.policies_known = true,
                             .fresh = true,
                             .has_room = true,
                             .beat_age_ms = 1000,
                             .waiting = 10,
                             .lookahead = 4096,
                             .bytes = 3 << 20,
                             .lookahead_bytes = 64 << 20};
}

static void assert_says(const struct standing *standing, bool still, const char *text)
{
    struct said said;

    said_init(&said, 4096);
    assert_int_equal(standing_say(standing, &said), text[0] != '\0');
    assert_string_equal(buf_cstr(&said.text), text);
    assert_int_equal(standing_is_still(standing), still);
    said_clear(&said);
}

static void one_that_is_well_says_nothing(void **state)
{
    const struct standing standing = well();
    (void)state;

    assert_says(&standing, false, "");
}

static void what_stops_it_is_said(void **state)
{
    struct standing standing = well();
    (void)state;

    standing.suspicious = true;
    assert_says(&standing, true,
                "this machine suspects itself, since most good hosts failed at once: it only tries "
                "some of them");
    standing.standing_by = true;
    assert_says(&standing, true,
                "this machine suspects itself, since most good hosts failed at once, and stands "
                "by: other machines get what it held");
    standing.fresh = false;
    standing.beat_age_ms = 45000;
    assert_says(&standing, true,
                "Redis has acknowledged no beat of this machine for 45 s: it sends nothing before "
                "it does");
    standing.paused = true;
    assert_says(&standing, true, "an admin has paused this machine: fedpush resume --machine NAME");
    standing.fleet_paused = true;
    assert_says(&standing, true, "an admin has paused the fleet: fedpush resume");
    standing.policies_known = false;
    assert_says(&standing, true,
                "this machine hasn't been able to read yet what admins have ordered: it sends "
                "nothing before");
    standing.quiet = true;
    assert_says(&standing, true,
                "this machine was told to be quiet, in Sidekiq's Web UI: it takes nothing until it "
                "is restarted");
    standing.draining = true;
    assert_says(&standing, true,
                "this machine drains: it ends what is on the wire, and takes nothing more");
}

static void what_keeps_it_from_taking_more_is_said(void **state)
{
    struct standing standing = well();
    (void)state;

    standing.rate_used = true;
    standing.claim_rate = 5;
    assert_says(&standing, false,
                "this machine takes no more jobs now: FEDPUSH_CLAIM_RATE (5 a second) is reached");
    standing.has_room = false;
    assert_says(&standing, false,
                "this machine takes no more jobs now: those at hand are sent first");
    standing.leaves = true;
    standing.lag_ms = 80;
    assert_says(&standing, false,
                "this machine takes no more jobs now: its workers are 80 ms late, so that it "
                "leaves them to others");
    standing.bytes = standing.lookahead_bytes;
    assert_says(&standing, false,
                "this machine takes no more jobs now: its look-ahead is full (64 MiB of 64 MiB)");
    standing.waiting = standing.lookahead;
    assert_says(&standing, false,
                "this machine takes no more jobs now: its look-ahead is full (4096 of 4096)");
}

/* A paused machine has no room, but that isn't why. */
static void what_stops_it_comes_first(void **state)
{
    struct standing standing = well();
    (void)state;

    standing.paused = true;
    standing.has_room = false;
    standing.waiting = standing.lookahead;
    assert_says(&standing, true, "an admin has paused this machine: fedpush resume --machine NAME");
}

static void jobs_that_nobody_serves_are_said_apart(void **state)
{
    struct standing standing = well();
    struct said said;
    (void)state;

    said_init(&said, 4096);
    standing_say_handoff(&standing, &said);
    assert_int_equal(said.text.len, 0);
    standing.unserved_handoff = "push_ruby";
    standing_say_handoff(&standing, &said);
    assert_string_equal(buf_cstr(&said.text),
                        "this machine has put jobs that need Ruby into queue push_ruby, which no "
                        "live Sidekiq process serves: start one with -q push_ruby");
    said_clear(&said);
    assert_says(&standing, false, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_well_says_nothing),
        cmocka_unit_test(what_stops_it_is_said),
        cmocka_unit_test(what_keeps_it_from_taking_more_is_said),
        cmocka_unit_test(what_stops_it_comes_first),
        cmocka_unit_test(jobs_that_nobody_serves_are_said_apart),
    };
    return cmocka_run_group_tests_name("standing", tests, NULL, NULL);
}
