#include "sched/job.h"

/* No parser touches these bytes: one of ours may be what the job kills. The members go in before
 * the last brace; where a key stands twice, Ruby's parser takes the later one. */
void job_put_poison(struct buf *out, struct str payload)
{
    struct str trimmed = str_trim(payload);

    if (trimmed.len < 2 || trimmed.ptr[trimmed.len - 1] != '}') {
        buf_put_str(out, payload);
        return;
    }
    buf_put(out, trimmed.ptr, trimmed.len - 1);
    buf_put_str(out, STR(",\"error_message\":\"it ran alone when its process died\","
                         "\"error_class\":\"Fedpush::PoisonJob\"}"));
}
