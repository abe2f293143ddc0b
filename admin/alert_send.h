/*
 * Tells a sink: mail by the SMTP server that Mastodon uses, or a webhook. Waits for the network, at
 * most half a minute: for a clerk's thread, or a command.
 */
#ifndef FEDPUSH_ADMIN_ALERT_SEND_H
#define FEDPUSH_ADMIN_ALERT_SEND_H

#include "admin/alert_message.h"
#include "base/config.h"

bool alert_sink_is_set(const struct config *config, enum alert_sink sink);
/* "mail to a@example.org by smtp.example.org:587", "webhook at https://chat.example": no password,
 * and nothing of a URL that may be a secret. Appends. */
void alert_sink_describe(const struct config *config, enum alert_sink sink, struct buf *out);
/* False with err filled: the sink didn't take it; one line with the remedy. */
bool alert_send(const struct config *config, enum alert_sink sink,
                const struct alert_message *message, struct err *err) FP_MUST_CHECK;

#endif
