/* Any .env file: parsing never reads outside of it, and what was defined can be found again. */
#include <assert.h>

#include "base/dotenv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char home[] = "HOME=/home/mastodon";
    char empty[] = "EMPTY=";
    char *const environment[] = {home, empty, NULL};
    struct dotenv dotenv;
    struct err err;

    dotenv_init(&dotenv);
    dotenv_add_environment(&dotenv, environment);
    enum fp_err code = dotenv_parse(&dotenv, ".env", (struct str){(const char *)data, size}, &err);
    assert(code == FP_OK || err.message[0] != '\0');
    for (size_t i = 0; i < dotenv.count; i++) {
        const struct dotenv_variable *variable = &dotenv.variables[i];
        assert(dotenv_find(&dotenv, variable->name) != NULL);
        assert(variable->source < dotenv.source_count);
        assert(str_of(variable->value).len <= DOTENV_MAX_VALUE_BYTES);
    }
    assert(str_equal(str_of(dotenv_value(&dotenv, "HOME")), str_of("/home/mastodon")));
    dotenv_clear(&dotenv);
    return 0;
}
