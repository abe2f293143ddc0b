/* Any .env file, by the rules of each version: parsing never reads outside of it, and what was
 * defined can be found again. */
#include <assert.h>

#include "base/dotenv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_by(enum dotenv_rules rules, struct str text)
{
    char home[] = "HOME=/home/mastodon";
    char empty[] = "EMPTY=";
    char *const environment[] = {home, empty, NULL};
    struct dotenv dotenv;
    struct err err;

    dotenv_init(&dotenv);
    dotenv.rules = rules;
    dotenv_add_environment(&dotenv, environment);
    enum fp_err code = dotenv_parse(&dotenv, ".env", text, &err);
    assert(code == FP_OK || err.message[0] != '\0');
    for (size_t i = 0; i < dotenv.count; i++) {
        const struct dotenv_variable *variable = &dotenv.variables[i];
        assert(dotenv_find(&dotenv, variable->name) != NULL);
        assert(variable->source < dotenv.source_count);
        assert(str_of(variable->value).len <= DOTENV_MAX_VALUE_BYTES);
    }
    assert(str_equal(str_of(dotenv_value(&dotenv, "HOME")), str_of("/home/mastodon")));
    dotenv_forget_files(&dotenv);
    assert(dotenv.count == 2);
    dotenv_clear(&dotenv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};

    for (enum dotenv_rules rules = DOTENV_2; rules <= DOTENV_3; rules++)
        read_by(rules, text);
    return 0;
}
