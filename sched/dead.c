#include "sched/job.h"

/* No parser touches these bytes: one of ours may be what the job kills. The members go in before
 * the last brace; where a key stands twice, Ruby's parser takes the later one. */
void job_put_dead(struct buf *out, struct str payload, struct str error_class, struct str message)
{
    struct str trimmed = str_trim(payload);

    if (trimmed.len < 3 || trimmed.ptr[trimmed.len - 1] != '}' ||
        str_find(trimmed, ':') == trimmed.len) {
        buf_put_str(out, payload);
        return;
    }
    buf_put(out, trimmed.ptr, trimmed.len - 1);
    buf_put_str(out, STR(",\"error_message\":"));
    json_put_string(out, message);
    buf_put_str(out, STR(",\"error_class\":"));
    json_put_string(out, error_class);
    buf_put_char(out, '}');
}
