/* Any two field values, split at the first line feed: the wait is in bounds whatever they are, and
 * a date that is read is one of years 1900 to 9999. */
#include <assert.h>

#include "base/message.h"
#include "worker/retry_after.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t now_s = 1795419280;
    struct str text = {(const char *)data, size};
    size_t at = str_find(text, '\n');
    struct str value = {text.ptr, at};
    int64_t unix_s;

    uint32_t ms = retry_after_ms(value, str_slice(text, at + 1), now_s);
    assert(ms <= MESSAGE_MAX_RETRY_AFTER_MS && ms % 1000 == 0);
    if (http_date_parse(value, now_s, &unix_s))
        assert(unix_s >= -2208988800 && unix_s <= 253402300800);
    return 0;
}
