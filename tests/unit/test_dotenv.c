#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/dotenv.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void open_dotenv(struct dotenv *dotenv)
{
    char home[] = "HOME=/home/mastodon";
    char twice[] = "HOME=/root";
    char empty[] = "EMPTY=";
    char nameless[] = "=x";
    char bare[] = "BARE";
    char *const environment[] = {home, twice, empty, nameless, bare, NULL};

    dotenv_init(dotenv);
    dotenv_add_environment(dotenv, environment);
}

static void parse(struct dotenv *dotenv, const char *text)
{
    struct err err = {0};

    if (dotenv_parse(dotenv, ".env", str_of(text), &err) != FP_OK)
        fail_msg("%s: %s", text, err.message);
}

/* `expected` NULL: nothing is defined. */
static void assert_variable(const struct dotenv *dotenv, const char *name, const char *expected)
{
    const struct dotenv_variable *variable = dotenv_find(dotenv, name);

    if (expected == NULL && variable != NULL)
        fail_msg("%s is \"%s\" instead of not defined", name, variable->value);
    if (expected != NULL && (variable == NULL || strcmp(variable->value, expected) != 0))
        fail_msg("%s is \"%s\" instead of \"%s\"", name,
                 variable != NULL ? variable->value : "not defined", expected);
}

/* A line of a file, and what the gem makes of it; NULL: it defines nothing. */
struct reading {
    const char *text, *name, *value;
};

static void assert_read(enum dotenv_rules rules, const struct reading *readings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct dotenv dotenv;
        open_dotenv(&dotenv);
        dotenv.rules = rules;
        parse(&dotenv, readings[i].text);
        assert_variable(&dotenv, readings[i].name, readings[i].value);
        dotenv_clear(&dotenv);
    }
}

/* What all versions of the gem from 2.8 on make of these. */
static const struct reading common[] = {
    {"A=plain value # c", "A", "plain value"},
    {"B=pass#word", "B", "pass"},
    {"A=x\nC='sq $A \\n #x'", "C", "sq $A \\n #x"},
    {"A=plain value\nD=\"dq $A \\\"q\\\" #x\"", "D", "dq plain value \"q\" #x"},
    {"E= spaced", "E", "spaced"},
    {"export F=exp", "F", "exp"},
    {"G: yaml", "G", "yaml"},
    {"H=\"multi\nline\"", "H", "multi\nline"},
    {"I=back\\slash", "I", "backslash"},
    {"I=\\n\\r", "I", "nr"},
    {"J=", "J", ""},
    {"J=\nA=1", "J", ""},
    {"J=#c", "J", ""},
    {"A=1\nB=2\nL=\"${A}-$B\"", "L", "1-2"},
    {"A=1\nB=2\nL=${A}-$B", "L", "1-2"},
    {"L=$HOME/live", "L", "/home/mastodon/live"},
    {"HOME=/root\nL=$HOME", "L", "/home/mastodon"},
    {"L=<$NOWHERE>", "L", "<>"},
    {"L=$ ${ ${}", "L", "$ ${ ${}"},
    {"M=\\$5", "M", "$5"},
    {"M=\\\\$HOME", "M", "$HOME"}, /* the gem unescapes twice */
    {"M=\\\\x\\", "M", "\\x\\"},
    {"N='it''s'", "N", "it''s"},
    {"P=a'b", "P", "a'b"},
    {"P='a\\'", "P", "a\\"},
    {"P='a\\' # 'c'", "P", "a\\"},
    {"R-S=2", "R-S", NULL},
    {"R-S=2", "S", NULL},
    {"T=\"unterminated", "T", "\"unterminated"},
    {"U=\"x\" y\"", "U", "x\" y"},
    {"U=\"x\" # y", "U", "x"},
    {"  \t V = x", "V", "x"},
    {"# W=x", "W", NULL},
    {"\xef\xbb\xbf"
     "W=x",
     "W", "x"},
    {"A=1\rB=2\r\nC=3", "B", "2"},
    {"A=1\rB=2\r\nC=3\r\n", "C", "3"},
    {"A=1\nA=2", "A", "2"},
    {"a.b=dot", "a.b", "dot"},
    {"C='$(date)'", "C", "$(date)"},
    {"C=\\$(date)", "C", "$(date)"},
    {"C=\\$(date", "C", "\\$(date"},
    {"C=$() $(date", "C", "$() $(date"},
    {"export=x", "export", "x"},
    {"export\nX=x", "X", "x"},
    /* An end of a line is a blank where the gem's pattern has one. */
    {"Y\n\n = x", "Y", "x"},
    {"Y=\n\n'x'", "Y", "x"},
    {"Y:\nA=1", "Y", "A=1"},
    {"Y: \nA=1", "Y", ""},
    {"Y:", "Y", NULL},
};

static void values_are_read_as_by_the_gem(void **state)
{
    static const struct reading readings[] = {
        {"D=\"a\\nb\\rc\"", "D", "a\\nb\\rc"},
        {"D=\"a\\\\nb\"", "D", "a\\nb"},
        {"DOTENV_LINEBREAK_MODE=legacy\nD=\"a\\nb\"", "D", "a\nb"},
        {"D=\"a\\nb\"\nDOTENV_LINEBREAK_MODE=legacy", "D", "a\\nb"},
        {"K", "K", ""},
        {"K # c", "K", ""},
        {"export", "export", ""},
        {"export HOME", "HOME", "/home/mastodon"},
        {"P='$(date)'\nC=$P", "C", "$(date)"},
    };
    (void)state;

    assert_read(DOTENV_3, common, COUNT(common));
    assert_read(DOTENV_3, readings, COUNT(readings));
}

static void bare_names_are_nothing_before_dotenv_3_1_5(void **state)
{
    static const struct reading readings[] = {
        {"D=\"a\\nb\\rc\"", "D", "a\\nb\\rc"},
        {"DOTENV_LINEBREAK_MODE=legacy\nD=\"a\\\\nb\"", "D", "a\nb"},
        {"K", "K", NULL},
        {"K\nA=1", "A", "1"},
        {"export", "export", NULL},
        {"export A HOME\nHOME=/root\nA=", "HOME", "/home/mastodon"},
        {"export A=", "A", ""},
    };
    (void)state;

    assert_read(DOTENV_3_0, common, COUNT(common));
    assert_read(DOTENV_3_0, readings, COUNT(readings));
}

static void double_quotes_have_line_breaks_in_dotenv_2(void **state)
{
    static const struct reading readings[] = {
        {"D=\"dq \\n \\\"q\\\" #x\"", "D", "dq \n \"q\" #x"},
        {"D=\"a\\nb\\rc\"", "D", "a\nb\rc"},
        {"D=\"a\\\\nb\"", "D", "a\nb"},
        {"D=\"a\\\\\\nb\"", "D", "a\\\nb"},
        {"DOTENV_LINEBREAK_MODE=strict\nD=\"a\\nb\"", "D", "a\nb"},
        {"D='a\\nb'", "D", "a\\nb"},
        {"K", "K", NULL},
        {"K\nA=1", "A", "1"},
        {"export A HOME\nHOME=/root\nA=", "HOME", "/home/mastodon"},
        {"export A=", "A", ""},
    };
    (void)state;

    assert_read(DOTENV_2, common, COUNT(common));
    assert_read(DOTENV_2, readings, COUNT(readings));
}

static void a_line_that_defines_nothing_ends_nothing(void **state)
{
    struct dotenv dotenv;
    (void)state;

    open_dotenv(&dotenv);
    parse(&dotenv, "R-S=2\n=3\nA B=4\nC=5");
    assert_variable(&dotenv, "A", NULL);
    assert_variable(&dotenv, "B", NULL);
    assert_variable(&dotenv, "C", "5");
    dotenv_clear(&dotenv);
}

static void what_was_defined_before_a_file_stands(void **state)
{
    struct dotenv dotenv;
    (void)state;

    open_dotenv(&dotenv);
    assert_variable(&dotenv, "HOME", "/home/mastodon"); /* the first of two, as getenv */
    assert_variable(&dotenv, "BARE", NULL);
    parse(&dotenv, "HOME=/file\nEMPTY=full\nA=1");
    parse(&dotenv, "A=2\nB=$A");
    assert_variable(&dotenv, "HOME", "/home/mastodon");
    assert_variable(&dotenv, "EMPTY", "");
    assert_variable(&dotenv, "A", "1");
    assert_variable(&dotenv, "B", "1");
    assert_null(dotenv_value(&dotenv, "EMPTY"));
    assert_string_equal(dotenv_value(&dotenv, "A"), "1");
    dotenv_clear(&dotenv);
}

static void files_can_be_read_again(void **state)
{
    static const char text[] = "A=\"1\\n\"\nK\nHOME";
    struct dotenv dotenv;
    struct err err = {0};
    (void)state;

    open_dotenv(&dotenv);
    parse(&dotenv, text);
    parse(&dotenv, "B=2");
    dotenv_forget_files(&dotenv);
    assert_variable(&dotenv, "A", NULL);
    assert_variable(&dotenv, "B", NULL);
    assert_variable(&dotenv, "HOME", "/home/mastodon");
    dotenv.rules = DOTENV_2;
    parse(&dotenv, text);
    assert_int_equal(dotenv.source_count, 2);
    assert_variable(&dotenv, "A", "1\n");
    assert_variable(&dotenv, "K", NULL);
    assert_variable(&dotenv, "HOME", "/home/mastodon");
    dotenv_forget_files(&dotenv);
    /* HOME was named by a bare name alone, and not by these rules. */
    assert_int_equal(dotenv_parse(&dotenv, ".env", STR("HOME\nexport HOME"), &err), FP_INVALID);
    dotenv_clear(&dotenv);
}

static void assert_described(const struct dotenv *dotenv, const char *name, const char *expected)
{
    struct buf out;

    buf_init(&out, 256);
    dotenv_describe(dotenv, name, &out);
    assert_string_equal(buf_cstr(&out), expected);
    buf_clear(&out);
}

static void a_variable_is_described_by_where_it_stands(void **state)
{
    struct dotenv dotenv;
    (void)state;

    open_dotenv(&dotenv);
    parse(&dotenv, "# comment\n\nA=\"x\r\ny\"\r\nB=1\n");
    assert_described(&dotenv, "A", ".env:3: A");
    assert_described(&dotenv, "B", ".env:5: B");
    assert_described(&dotenv, "HOME", "HOME");
    assert_described(&dotenv, "NOWHERE", "NOWHERE");
    dotenv_clear(&dotenv);
}

#define NOT_RUN                                                                                    \
    "SECRET: $(...) is not run here: write the value itself, or put it in single quotes if it is " \
    "meant as it stands"

#define NOT_DEFINED                                                                                \
    "exports what the file doesn't define, and this Mastodon doesn't start with that: define it "  \
    "or remove it here"

static void what_cannot_be_meant_is_refused(void **state)
{
    static const struct {
        enum dotenv_rules from, to;
        const char *text, *error;
    } cases[] = {
        {DOTENV_2, DOTENV_3, "A=1\nSECRET=$(cat /hidden)", ".env:2: " NOT_RUN},
        {DOTENV_2, DOTENV_3, "SECRET=\"hidden $(cat)\"", ".env:1: " NOT_RUN},
        {DOTENV_2, DOTENV_3, "SECRET=$(echo $(cat))", ".env:1: " NOT_RUN},
        /* Variables come first there, so the gem would run what one has. */
        {DOTENV_2, DOTENV_3_0, "A='$(cat /hidden)'\nSECRET=$A", ".env:2: " NOT_RUN},
        {DOTENV_3, DOTENV_3, "export NOWHERE", ".env:1: NOWHERE is exported but has no value"},
        {DOTENV_3, DOTENV_3, "export NOWHERE=", ".env:1: NOWHERE is exported but has no value"},
        {DOTENV_2, DOTENV_3_0, "export NOWHERE", ".env:1: " NOT_DEFINED},
        {DOTENV_2, DOTENV_3_0, "A=1\n\nexport A HOME\n", ".env:3: " NOT_DEFINED},
        {DOTENV_2, DOTENV_3_0, "A=1\nexport A # hidden", ".env:2: " NOT_DEFINED},
        {DOTENV_2, DOTENV_3_0, "export R-S=hidden", ".env:1: " NOT_DEFINED},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        for (enum dotenv_rules rules = cases[i].from; rules <= cases[i].to; rules++) {
            struct dotenv dotenv;
            struct err err = {0};
            open_dotenv(&dotenv);
            dotenv.rules = rules;
            assert_int_equal(dotenv_parse(&dotenv, ".env", str_of(cases[i].text), &err),
                             FP_INVALID);
            assert_string_equal(err.message, cases[i].error);
            dotenv_clear(&dotenv);
        }
    }
}

static enum fp_err parse_bytes(size_t len, char last, const char *start)
{
    struct dotenv dotenv;
    struct err err = {0};
    char *text = mem_alloc(len);

    memset(text, 'x', len);
    memcpy(text, start, strlen(start));
    text[len - 1] = last;
    open_dotenv(&dotenv);
    enum fp_err code = dotenv_parse(&dotenv, ".env", (struct str){text, len}, &err);
    assert_true(code == FP_OK || strncmp(err.message, ".env:", 5) == 0);
    dotenv_clear(&dotenv);
    free(text);
    return code;
}

static void sizes_are_bounded(void **state)
{
    (void)state;

    assert_int_equal(parse_bytes(2 + DOTENV_MAX_VALUE_BYTES, 'x', "A="), FP_OK);
    assert_int_equal(parse_bytes(3 + DOTENV_MAX_VALUE_BYTES, 'x', "A="), FP_TOO_LARGE);
    assert_int_equal(parse_bytes(DOTENV_MAX_BYTES, 'x', "# "), FP_OK);
    assert_int_equal(parse_bytes(DOTENV_MAX_BYTES + 1, 'x', "# "), FP_TOO_LARGE);
    assert_int_equal(parse_bytes(10, '\0', "A=1"), FP_INVALID);
}

/* ---- files ---- */

static int make_folder(void **state)
{
    char *folder = mem_printf("/tmp/fedpush-dotenv-XXXXXX");

    *state = folder;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    int result = rmdir(*state);
    free(*state);
    return result;
}

static void a_file_is_read_and_a_missing_one_is_none(void **state)
{
    char *path = mem_printf("%s/.env", (char *)*state);
    struct dotenv dotenv;
    struct err err = {0};
    bool found = true;

    open_dotenv(&dotenv);
    assert_int_equal(dotenv_read(&dotenv, path, &found, &err), FP_OK);
    assert_false(found);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs("A=1\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(dotenv_read(&dotenv, path, &found, &err), FP_OK);
    assert_true(found);
    assert_variable(&dotenv, "A", "1");
    assert_int_equal(truncate(path, DOTENV_MAX_BYTES + 1), 0);
    assert_int_equal(dotenv_read(&dotenv, path, &found, &err), FP_TOO_LARGE);
    assert_int_equal(unlink(path), 0);
    dotenv_clear(&dotenv);
    free(path);
}

static void only_regular_files_are_read(void **state)
{
    char *path = mem_printf("%s/fifo", (char *)*state);
    struct dotenv dotenv;
    struct err err = {0};
    bool found;

    open_dotenv(&dotenv);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(dotenv_read(&dotenv, path, &found, &err), FP_INVALID);
    assert_non_null(strstr(err.message, "fifo: is not a regular file"));
    assert_int_equal(dotenv_read(&dotenv, *state, &found, &err), FP_INVALID);
    assert_int_equal(unlink(path), 0);
    dotenv_clear(&dotenv);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read_as_by_the_gem),
        cmocka_unit_test(bare_names_are_nothing_before_dotenv_3_1_5),
        cmocka_unit_test(double_quotes_have_line_breaks_in_dotenv_2),
        cmocka_unit_test(a_line_that_defines_nothing_ends_nothing),
        cmocka_unit_test(what_was_defined_before_a_file_stands),
        cmocka_unit_test(files_can_be_read_again),
        cmocka_unit_test(a_variable_is_described_by_where_it_stands),
        cmocka_unit_test(what_cannot_be_meant_is_refused),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test_setup_teardown(a_file_is_read_and_a_missing_one_is_none, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(only_regular_files_are_read, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
