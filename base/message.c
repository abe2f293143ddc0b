#include "base/message.h"

#include <string.h>

static void put_u8(struct buf *out, uint8_t value)
{
    buf_put(out, &value, 1);
}

static void put_unsigned(struct buf *out, uint64_t value, size_t bytes)
{
    unsigned char little_endian[8];

    for (size_t i = 0; i < bytes; i++)
        little_endian[i] = (unsigned char)(value >> (8 * i));
    buf_put(out, little_endian, bytes);
}

static void put_u16(struct buf *out, uint16_t value)
{
    put_unsigned(out, value, 2);
}

static void put_u32(struct buf *out, uint32_t value)
{
    put_unsigned(out, value, 4);
}

static void put_u64(struct buf *out, uint64_t value)
{
    put_unsigned(out, value, 8);
}

static void put_str(struct buf *out, struct str s)
{
    put_u32(out, (uint32_t)s.len);
    buf_put_str(out, s);
}

/* Takes fields off the front of `rest`. After a field that isn't there it is bad for good, and
 * every further field is zero or empty. */
struct reader {
    struct str rest;
    bool bad;
};

static bool take(struct reader *reader, size_t len, struct str *out)
{
    if (reader->bad || reader->rest.len < len) {
        reader->bad = true;
        *out = STR_NULL;
        return false;
    }
    *out = (struct str){reader->rest.ptr, len};
    reader->rest = str_slice(reader->rest, len);
    return true;
}

static uint64_t get_unsigned(struct reader *reader, size_t bytes)
{
    struct str field;
    uint64_t value = 0;

    if (!take(reader, bytes, &field))
        return 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)(unsigned char)field.ptr[i] << (8 * i);
    return value;
}

static uint8_t get_u8(struct reader *reader, uint8_t max)
{
    uint8_t value = (uint8_t)get_unsigned(reader, 1);

    if (value > max)
        reader->bad = true;
    return value;
}

static uint16_t get_u16(struct reader *reader)
{
    return (uint16_t)get_unsigned(reader, 2);
}

static uint32_t get_u32(struct reader *reader)
{
    return (uint32_t)get_unsigned(reader, 4);
}

static uint64_t get_u64(struct reader *reader)
{
    return get_unsigned(reader, 8);
}

static int64_t get_i64(struct reader *reader)
{
    return (int64_t)get_unsigned(reader, 8);
}

static void get_bytes(struct reader *reader, unsigned char *out, size_t len)
{
    struct str field;

    memset(out, 0, len);
    if (take(reader, len, &field))
        memcpy(out, field.ptr, len);
}

static struct str get_str(struct reader *reader, size_t max_bytes)
{
    struct str field;
    uint32_t len = get_u32(reader);

    if (len > max_bytes)
        reader->bad = true;
    take(reader, len, &field);
    return field;
}

/* Well-formed only when nothing is left over. */
static bool at_end(const struct reader *reader)
{
    return !reader->bad && reader->rest.len == 0;
}

static void put_ticket(struct buf *out, const struct ticket *ticket)
{
    put_u64(out, ticket->serial);
    put_u64(out, (uint64_t)ticket->account_id);
    put_u64(out, (uint64_t)ticket->expires_s);
    buf_put(out, ticket->body_sha256, sizeof(ticket->body_sha256));
    put_str(out, ticket->origin);
    put_str(out, ticket->content_type);
    put_str(out, ticket->synchronization);
    buf_put(out, ticket->mac, sizeof(ticket->mac));
}

static void get_ticket(struct reader *reader, struct ticket *ticket)
{
    ticket->serial = get_u64(reader);
    ticket->account_id = get_i64(reader);
    ticket->expires_s = get_i64(reader);
    get_bytes(reader, ticket->body_sha256, sizeof(ticket->body_sha256));
    ticket->origin = get_str(reader, MESSAGE_MAX_TEXT_BYTES);
    ticket->content_type = get_str(reader, MESSAGE_MAX_TEXT_BYTES);
    ticket->synchronization = get_str(reader, MESSAGE_MAX_TEXT_BYTES);
    get_bytes(reader, ticket->mac, sizeof(ticket->mac));
}

void message_put_job(struct buf *out, const struct message_job *m)
{
    put_u64(out, m->id);
    put_ticket(out, &m->ticket);
    put_u8(out, m->knock);
    put_u8(out, m->proxy);
    put_u8(out, m->http2);
    put_u8(out, m->low);
    put_str(out, m->url);
    put_str(out, m->body);
}

bool message_get_job(struct str payload, struct message_job *m)
{
    struct reader reader = {payload, false};

    m->id = get_u64(&reader);
    get_ticket(&reader, &m->ticket);
    m->knock = get_u8(&reader, KNOCK_RFC9421_FIRST);
    m->proxy = get_u8(&reader, UINT8_MAX);
    m->http2 = get_u8(&reader, 1);
    m->low = get_u8(&reader, 1);
    m->url = get_str(&reader, MESSAGE_MAX_TEXT_BYTES);
    m->body = get_str(&reader, MESSAGE_MAX_BODY_BYTES);
    return at_end(&reader);
}

void message_put_abort(struct buf *out, const struct message_abort *m)
{
    put_u64(out, m->id);
}

bool message_get_abort(struct str payload, struct message_abort *m)
{
    struct reader reader = {payload, false};

    m->id = get_u64(&reader);
    return at_end(&reader);
}

void message_put_foresee(struct buf *out, const struct message_foresee *m)
{
    put_str(out, m->host);
}

bool message_get_foresee(struct str payload, struct message_foresee *m)
{
    struct reader reader = {payload, false};

    m->host = get_str(&reader, MESSAGE_MAX_TEXT_BYTES);
    return at_end(&reader);
}

void message_put_hello(struct buf *out, const struct message_hello *m)
{
    put_u32(out, m->credits);
}

bool message_get_hello(struct str payload, struct message_hello *m)
{
    struct reader reader = {payload, false};

    m->credits = get_u32(&reader);
    return at_end(&reader);
}

void message_put_ping(struct buf *out, const struct message_ping *m)
{
    put_u64(out, m->nonce);
}

bool message_get_ping(struct str payload, struct message_ping *m)
{
    struct reader reader = {payload, false};

    m->nonce = get_u64(&reader);
    return at_end(&reader);
}

void message_put_outcome(struct buf *out, const struct message_outcome *m)
{
    put_u64(out, m->id);
    put_u8(out, m->kind);
    put_u8(out, m->failure);
    put_u8(out, m->reused);
    put_u8(out, m->sender_suspended);
    put_u8(out, m->learnt);
    put_u16(out, m->status);
    put_u32(out, m->total_ms);
    put_u32(out, m->sent_bytes);
    put_u32(out, m->retry_after_ms);
    put_str(out, m->error_class);
    put_str(out, m->error_message);
}

static bool status_fits(const struct message_outcome *m)
{
    if (m->kind == OUTCOME_RESPONSE)
        return m->status >= 100 && m->status <= 999;
    return m->status == 0;
}

static bool failure_fits(const struct message_outcome *m)
{
    return (m->kind == OUTCOME_TRANSPORT) == (m->failure != FAILURE_NONE);
}

static bool retry_after_fits(const struct message_outcome *m)
{
    if (m->status == 429 || m->status == 503)
        return m->retry_after_ms <= MESSAGE_MAX_RETRY_AFTER_MS;
    return m->retry_after_ms == 0;
}

bool message_get_outcome(struct str payload, struct message_outcome *m)
{
    struct reader reader = {payload, false};

    m->id = get_u64(&reader);
    m->kind = get_u8(&reader, OUTCOME_NOT_TRIED);
    m->failure = get_u8(&reader, FAILURE_OTHER);
    m->reused = get_u8(&reader, 1);
    m->sender_suspended = get_u8(&reader, 1);
    m->learnt = get_u8(&reader, LEARNT_NEITHER);
    m->status = get_u16(&reader);
    m->total_ms = get_u32(&reader);
    m->sent_bytes = get_u32(&reader);
    m->retry_after_ms = get_u32(&reader);
    m->error_class = get_str(&reader, MESSAGE_MAX_ERROR_BYTES);
    m->error_message = get_str(&reader, MESSAGE_MAX_ERROR_BYTES);
    return at_end(&reader) && status_fits(m) && failure_fits(m) && retry_after_fits(m);
}

void message_put_sign(struct buf *out, const struct message_sign *m)
{
    put_u64(out, m->id);
    put_ticket(out, &m->ticket);
    put_u8(out, m->method);
    put_u8(out, m->reread);
    put_u8(out, m->scheme);
    put_u8(out, m->low);
    put_u64(out, (uint64_t)m->date_s);
    put_str(out, m->target);
}

bool message_get_sign(struct str payload, struct message_sign *m)
{
    struct reader reader = {payload, false};

    m->id = get_u64(&reader);
    get_ticket(&reader, &m->ticket);
    m->method = get_u8(&reader, SIGN_GET);
    m->reread = get_u8(&reader, 1);
    m->scheme = get_u8(&reader, SCHEME_RFC9421);
    m->low = get_u8(&reader, 1);
    m->date_s = get_i64(&reader);
    m->target = get_str(&reader, MESSAGE_MAX_TEXT_BYTES);
    return at_end(&reader);
}

void message_put_signed(struct buf *out, const struct message_signed *m)
{
    put_u64(out, m->id);
    put_u8(out, m->status);
    put_u8(out, m->sender_suspended);
    put_str(out, m->host);
    put_str(out, m->date);
    put_str(out, m->digest);
    put_str(out, m->signature);
    put_str(out, m->signature_input);
    put_str(out, m->reason);
}

bool message_get_signed(struct str payload, struct message_signed *m)
{
    struct reader reader = {payload, false};

    m->id = get_u64(&reader);
    m->status = get_u8(&reader, SIGN_UNAVAILABLE);
    m->sender_suspended = get_u8(&reader, 1);
    m->host = get_str(&reader, MESSAGE_MAX_TEXT_BYTES);
    m->date = get_str(&reader, MESSAGE_MAX_TEXT_BYTES);
    m->digest = get_str(&reader, MESSAGE_MAX_TEXT_BYTES);
    m->signature = get_str(&reader, MESSAGE_MAX_TEXT_BYTES);
    m->signature_input = get_str(&reader, MESSAGE_MAX_TEXT_BYTES);
    m->reason = get_str(&reader, MESSAGE_MAX_TEXT_BYTES);
    return at_end(&reader);
}
