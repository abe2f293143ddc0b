#include "sched/claim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sched/pair.h"

enum { HEARD_MAX = 64, INSTANCE_ACTOR = -99, FIRST_HOLD_MS = 1000, LAST_DOUBLING = 5 };

/* The next word of a text with single spaces. */
static struct str next_word(struct str *text)
{
    size_t len = str_find(*text, ' ');
    struct str word = {text->ptr, len};

    len += len < text->len;
    *text = (struct str){text->ptr + len, text->len - len};
    return word;
}

bool claim_is_queued(enum claim_origin origin)
{
    return origin == ORIGIN_QUEUE || origin == ORIGIN_PULL;
}

bool claim_is_returned(const struct claim *claim)
{
    return claim->moved || !claim_is_queued(claim->origin);
}

int64_t claim_created_us(const struct claim *claim)
{
    return llrint(claim->job.created_at_s * 1e6);
}

struct str claim_jid(struct claim *claim)
{
    if (claim->job.jid[0] == '\0')
        (void)job_peek_jid((struct str){claim->payload, claim->payload_bytes}, claim->job.jid);
    return str_of(claim->job.jid);
}

/* The machines of a fleet must agree on it. */
uint64_t claim_pair_of(const struct claim *claim)
{
    if (claim->low || claim->job.account_id == INSTANCE_ACTOR)
        return 0;
    return claim->hold != 0 ? claim->hold : pair_of(claim->job.account_id, claim->job.inbox_url);
}

struct claim *claim_create(uint64_t seq, enum claim_origin origin, struct str score,
                           struct str payload)
{
    struct claim *claim = mem_alloc(sizeof(*claim));

    claim->seq = seq;
    claim->origin = origin;
    if (score.len < sizeof(claim->score) && score.len > 0)
        memcpy(claim->score, score.ptr, score.len);
    claim->payload = str_dup(payload);
    claim->payload_bytes = payload.len;
    if (origin != ORIGIN_PULL)
        claim->hold = pair_of_payload(payload);
    return claim;
}

void claim_hear(struct claim *claim, struct str booked)
{
    unsigned capacity = 0;

    claim->has_heard = claim->hold != 0;
    while (claim->has_heard && booked.len > 0 && claim->heard_count < HEARD_MAX) {
        struct str created = next_word(&booked);
        struct str at = next_word(&booked);
        struct away_booked heard;
        if (!str_to_i64(created, 0, INT64_MAX, &heard.created_us) ||
            !str_to_i64(at, 0, INT64_MAX, &heard.back_ms))
            break;
        heard.back_ms /= 1000;
        if (claim->heard_count == capacity) {
            capacity = capacity > 0 ? capacity * 2 : 2;
            claim->heard = mem_realloc(claim->heard, capacity * sizeof(heard));
        }
        claim->heard[claim->heard_count++] = heard;
    }
}

void claim_destroy(struct claim *claim)
{
    if (claim == NULL)
        return;
    if (claim->parsed)
        job_clear(&claim->job);
    if (claim->has_url)
        url_clear(&claim->url);
    free(claim->heard);
    free(claim->tracker_host);
    free(claim->synchronization);
    free(claim->payload);
    free(claim);
}

bool claim_value_parse(struct str value, enum claim_origin *origin, struct str *score,
                       struct str *payload)
{
    size_t cut = str_find(value, '\n');

    if (cut == 0 || cut == value.len)
        return false;
    switch (value.ptr[0]) {
    case ORIGIN_QUEUE:
    case ORIGIN_PULL:
    case ORIGIN_RETRY:
    case ORIGIN_SCHEDULE:
        *origin = (enum claim_origin)value.ptr[0];
        break;
    default:
        return false;
    }
    *score = (struct str){value.ptr + 1, cut - 1};
    *payload = str_slice(value, cut + 1);
    return claim_is_queued(*origin) == (score->len == 0);
}

void claim_value_put(struct buf *out, const struct claim *claim)
{
    buf_put_char(out, (char)claim->origin);
    buf_put_str(out, str_of(claim->score));
    buf_put_char(out, '\n');
    buf_put(out, claim->payload, claim->payload_bytes);
}

int64_t claim_hold_ms(struct claim *claim)
{
    int64_t wait_ms = (int64_t)FIRST_HOLD_MS
                      << (claim->holds < LAST_DOUBLING ? claim->holds : LAST_DOUBLING);

    claim->holds++;
    return wait_ms < CLAIM_LONGEST_HOLD_MS ? wait_ms : CLAIM_LONGEST_HOLD_MS;
}

size_t claim_bytes(const struct claim *claim)
{
    return CLAIM_COPIES * claim->payload_bytes;
}
