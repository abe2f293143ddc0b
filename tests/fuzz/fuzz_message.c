/* Any bytes from a less trusted process: what a decoder accepts is encoded again to the same
 * bytes, and its slices lie within the payload. The first byte chooses the type. */
#include <assert.h>

#include "base/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(struct buf *out, struct str payload)
{
    assert(!out->overflow);
    assert(str_equal(buf_str(out), payload));
}

/* One decoder and its encoder. */
#define ROUND_TRIP(type)                                                                           \
    static void check_##type(struct str payload, struct buf *out)                                  \
    {                                                                                              \
        struct message_##type message;                                                             \
        if (message_get_##type(payload, &message)) {                                               \
            message_put_##type(out, &message);                                                     \
            check_same(out, payload);                                                              \
        }                                                                                          \
    }
ROUND_TRIP(job)
ROUND_TRIP(hello)
ROUND_TRIP(ping)
ROUND_TRIP(outcome)
ROUND_TRIP(sign)
ROUND_TRIP(signed)
ROUND_TRIP(abort)
ROUND_TRIP(foresee)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const checks[])(struct str, struct buf *) = {
        check_job,  check_hello,  check_ping,  check_outcome,
        check_sign, check_signed, check_abort, check_foresee};
    struct buf out;

    if (size == 0)
        return 0;
    buf_init(&out, SIZE_MAX);
    checks[data[0] % (sizeof(checks) / sizeof(checks[0]))](
        (struct str){(const char *)data + 1, size - 1}, &out);
    buf_clear(&out);
    return 0;
}
