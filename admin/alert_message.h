/*
 * What a sink is told: news of alerts as one mail, or as one JSON object. Pure.
 */
#ifndef FEDPUSH_ADMIN_ALERT_MESSAGE_H
#define FEDPUSH_ADMIN_ALERT_MESSAGE_H

#include "admin/alert_book.h"

enum { ALERT_MAX_LINES = 50, ALERT_MESSAGE_MAX_BYTES = 128 * 1024 };

struct alert_message {
    const char *domain;  /* the instance's */
    const char *machine; /* whose fedpush tells it */
    const char *page;    /* the statistics page's URL; "": not known */
    double now_s;
    const struct alert_news *news; /* none: a test */
    size_t count;
};

struct alert_mail {
    struct str from;       /* SMTP_FROM_ADDRESS: ADDRESS, or NAME <ADDRESS> */
    struct str recipients; /* FEDPUSH_ALERT_MAIL, "ADDRESS,…" */
    uint64_t unique;       /* for the Message-ID */
};

/* Appends, as all of these. */
void alert_message_put_text(struct buf *out, const struct alert_message *message);
/* Header and body with CRLF; the body is quoted-printable, so that no line is long and none is
 * anything but text. */
void alert_message_put_mail(struct buf *out, const struct alert_message *message,
                            const struct alert_mail *mail);
/* {"text": for chats, "source", "domain", "machine", "at", "alerts": [{"id", "state", "since",
 * "text"}]}; "state": "firing", "still firing", "over"; of a test, "alerts" is empty. */
json_t *alert_message_json(const struct alert_message *message);

#endif
