#include "admin/alert_message.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "admin/words.h"
#include "base/escape.h"
#include "base/mail_address.h"

enum {
    SUBJECT_COLUMNS = 150,
    LINE_COLUMNS = 72,
    FIELD_COLUMNS = 900,
    ADDRESS_COLUMNS = MAIL_ADDRESS_MAX_BYTES
};

static const char *const titles[] = {[ALERT_NEWS_FIRING] = "Alerts",
                                     [ALERT_NEWS_STILL] = "Still firing",
                                     [ALERT_NEWS_OVER] = "Over"};
static const char *const kinds[] = {[ALERT_NEWS_FIRING] = "firing",
                                    [ALERT_NEWS_STILL] = "still firing",
                                    [ALERT_NEWS_OVER] = "over"};

/* In UTC. A time that no calendar has is left out. */
static struct tm utc_of(double at_s)
{
    time_t seconds = (time_t)at_s;
    struct tm utc = {0};

    gmtime_r(&seconds, &utc);
    return utc;
}

static void put_time(struct buf *out, double at_s)
{
    const struct tm utc = utc_of(at_s);
    char text[64];

    if (strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &utc) > 0)
        buf_put_str(out, str_of(text));
}

static void put_mail_time(struct buf *out, double at_s)
{
    const struct tm utc = utc_of(at_s);
    char text[64];

    if (strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S +0000", &utc) > 0)
        buf_put_str(out, str_of(text));
}

/* The news that a subject is made of: what fires before what is over. */
static const struct alert_news *first_of(const struct alert_message *message)
{
    const struct alert_news *first = &message->news[0];

    for (size_t i = 1; i < message->count; i++) {
        if (message->news[i].kind < first->kind)
            first = &message->news[i];
    }
    return first;
}

static void put_subject(struct buf *out, const struct alert_message *message)
{
    buf_printf(out, "[fedpush %s] ", message->domain);
    if (message->count == 0) {
        buf_put_str(out, STR("test: alerts arrive"));
        return;
    }
    const struct alert_news *first = first_of(message);
    if (message->count > 1)
        buf_printf(out, "(and %zu more) ", message->count - 1);
    if (first->kind != ALERT_NEWS_FIRING)
        buf_printf(out, "%s: ", kinds[first->kind]);
    buf_put_str(out, str_of(first->alert->words.text));
}

static void put_line(struct buf *out, const struct alert_news *news)
{
    const struct alert *alert = news->alert;

    buf_put_str(out, STR("* "));
    escape_put(out, str_of(alert->words.text), ESCAPE_MAIL_BODY, ALERT_TEXT_BYTES);
    buf_put_str(out, STR("\n  since "));
    put_time(out, alert->since_s);
    if (news->kind == ALERT_NEWS_OVER) {
        buf_put_str(out, STR("\n  over since "));
        put_time(out, alert->turned_s);
        buf_put_str(out, STR(", after "));
        words_put_age(out, alert->turned_s - alert->since_s);
    } else if (alert->again) {
        buf_put_str(out, STR("; it comes and goes: over only after four good hours"));
    }
    buf_put_char(out, '\n');
}

static void put_kind(struct buf *out, const struct alert_message *message,
                     enum alert_news_kind kind)
{
    size_t shown = 0;

    for (size_t i = 0; i < message->count; i++) {
        if (message->news[i].kind != kind)
            continue;
        if (shown == 0)
            buf_printf(out, "%s:\n", titles[kind]);
        if (shown < ALERT_MAX_LINES)
            put_line(out, &message->news[i]);
        shown++;
    }
    if (shown > ALERT_MAX_LINES)
        buf_printf(out, "and %zu more: fedpush alert\n", shown - ALERT_MAX_LINES);
    if (shown > 0)
        buf_put_char(out, '\n');
}

void alert_message_put_text(struct buf *out, const struct alert_message *message)
{
    if (message->count == 0)
        buf_put_str(out, STR("This is a test. An alert would arrive like this.\n\n"));
    put_kind(out, message, ALERT_NEWS_FIRING);
    put_kind(out, message, ALERT_NEWS_STILL);
    put_kind(out, message, ALERT_NEWS_OVER);
    buf_printf(out, "Told by fedpush on %s for %s.\n`fedpush alert` lists what fires.\n",
               message->machine, message->domain);
    if (message->page[0] != '\0')
        buf_printf(out, "%s\n", message->page);
}

/* ---- mail ---- */

static void put_field(struct buf *out, const char *name, struct str value)
{
    buf_printf(out, "%s: ", name);
    escape_put(out, value, ESCAPE_MAIL_HEADER, FIELD_COLUMNS);
    buf_put_str(out, STR("\r\n"));
}

static void put_recipients(struct buf *out, struct str recipients)
{
    const char *separator = "To: ";
    struct str address;

    while (mail_address_next(&recipients, &address)) {
        buf_put_str(out, str_of(separator));
        escape_put(out, address, ESCAPE_MAIL_HEADER, ADDRESS_COLUMNS);
        separator = ",\r\n ";
    }
    buf_put_str(out, STR("\r\n"));
}

/* RFC 2045 §6.7; a line of the text ends with "\n". */
static void put_quoted(struct buf *out, struct str text)
{
    size_t column = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool last = i + 1 == text.len || text.ptr[i + 1] == '\n';
        bool quote = c < ' ' || c > '~' || c == '=' || (c == ' ' && last);
        if (c == '\n') {
            buf_put_str(out, STR("\r\n"));
            column = 0;
            continue;
        }
        if (column >= LINE_COLUMNS) {
            buf_put_str(out, STR("=\r\n"));
            column = 0;
        }
        if (quote)
            buf_printf(out, "=%02X", c);
        else
            buf_put_char(out, (char)c);
        column += quote ? 3 : 1;
    }
}

void alert_message_put_mail(struct buf *out, const struct alert_message *message,
                            const struct alert_mail *mail)
{
    struct str address = mail_address_of(mail->from);
    struct str host = str_slice(address, str_find(address, '@') + 1);
    struct buf text;

    buf_init(&text, ALERT_MESSAGE_MAX_BYTES);
    put_field(out, "From", mail->from);
    put_recipients(out, mail->recipients);
    put_subject(&text, message);
    buf_put_str(out, STR("Subject: "));
    escape_put(out, buf_str(&text), ESCAPE_MAIL_HEADER, SUBJECT_COLUMNS);
    buf_put_str(out, STR("\r\nDate: "));
    put_mail_time(out, message->now_s);
    buf_printf(out, "\r\nMessage-ID: <fedpush-%.0f-%016" PRIx64 "@", message->now_s, mail->unique);
    escape_put(out, host, ESCAPE_MAIL_HEADER, ADDRESS_COLUMNS);
    buf_put_str(out, STR(">\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
                         "Content-Type: text/plain; charset=utf-8\r\n"
                         "Content-Transfer-Encoding: quoted-printable\r\n\r\n"));
    buf_reset(&text);
    alert_message_put_text(&text, message);
    put_quoted(out, buf_str(&text));
    buf_clear(&text);
}

/* ---- webhook ---- */

json_t *alert_message_json(const struct alert_message *message)
{
    json_t *alerts = json_array();
    struct buf text;

    for (size_t i = 0; i < message->count; i++) {
        const struct alert *alert = message->news[i].alert;
        json_array_append_new(alerts,
                              json_pack("{s:s, s:s, s:f, s:s, s:s, s:o}", "id", alert->id, "state",
                                        kinds[message->news[i].kind], "since", alert->since_s,
                                        "text", alert->words.text, "code", alert->words.code,
                                        "params", alert_params(&alert->words)));
    }
    buf_init(&text, ALERT_MESSAGE_MAX_BYTES);
    put_subject(&text, message);
    buf_put_str(&text, STR("\n\n"));
    alert_message_put_text(&text, message);
    json_t *body = json_pack("{s:s%, s:s, s:s, s:s, s:f, s:o}", "text", text.ptr, text.len,
                             "source", "fedpush", "domain", message->domain, "machine",
                             message->machine, "at", message->now_s, "alerts", alerts);
    buf_clear(&text);
    return body;
}
