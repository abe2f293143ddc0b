#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/privileges.h"

static void who_is_not_root_stays_what_it_is(void **state)
{
    static const char *const users[] = {NULL, "", "root", "nobody", "no-such-user"};
    (void)state;

    for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
        struct privileges privileges;
        assert_int_equal(privileges_choose(1000, users[i], &privileges, NULL), FP_OK);
        assert_false(privileges.drop);
    }
}

static void root_stays_root_only_when_told_so(void **state)
{
    struct privileges privileges;
    (void)state;

    assert_int_equal(privileges_choose(0, "root", &privileges, NULL), FP_OK);
    assert_false(privileges.drop);
    assert_int_equal(privileges_choose(0, "nobody", &privileges, NULL), FP_OK);
    assert_true(privileges.drop);
    assert_string_equal(privileges.user, "nobody");
    assert_int_not_equal(privileges.uid, 0);
    assert_int_not_equal(privileges.gid, 0);
}

static void a_missing_user_is_named_with_the_remedy(void **state)
{
    struct privileges privileges;
    struct err err;
    (void)state;

    assert_int_equal(privileges_choose(0, "no-such-user", &privileges, &err), FP_INVALID);
    assert_non_null(strstr(err.message, "\"no-such-user\""));
    assert_non_null(strstr(err.message, "FEDPUSH_USER"));
    assert_null(strchr(err.message, '\n'));
    if (getpwnam(PRIVILEGES_DEFAULT_USER) == NULL) {
        assert_int_equal(privileges_choose(0, NULL, &privileges, &err), FP_INVALID);
        assert_non_null(strstr(err.message, "\"fedpush\""));
    }
}

static void a_name_without_end_is_refused(void **state)
{
    char name[200];
    struct privileges privileges;
    (void)state;

    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(privileges_choose(0, name, &privileges, NULL), FP_INVALID);
}

/* In a child: 0 if all of root is gone. */
static int drop_and_look(void)
{
    struct privileges privileges;
    struct err err;
    gid_t groups[64];

    if (privileges_choose(0, "nobody", &privileges, &err) != FP_OK ||
        privileges_drop(&privileges, &err) != FP_OK)
        return 1;
    if (getuid() != privileges.uid || getegid() != privileges.gid)
        return 2;
    if (setuid(0) == 0 || setgid(0) == 0 || access("/root", W_OK) == 0)
        return 3;
    int count = getgroups(64, groups);
    for (int i = 0; i < count; i++) {
        if (groups[i] == 0)
            return 4;
    }
    /* A second drop is no longer possible, and says so. */
    privileges.uid++;
    return privileges_drop(&privileges, &err) == FP_DENIED ? 0 : 5;
}

static void root_is_given_up_for_good(void **state)
{
    int status;
    (void)state;

    if (geteuid() != 0)
        skip(); /* nothing to give up */
    pid_t pid = fork();
    if (pid == 0)
        _exit(drop_and_look());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_not_root_stays_what_it_is),
        cmocka_unit_test(root_stays_root_only_when_told_so),
        cmocka_unit_test(a_missing_user_is_named_with_the_remedy),
        cmocka_unit_test(a_name_without_end_is_refused),
        cmocka_unit_test(root_is_given_up_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
