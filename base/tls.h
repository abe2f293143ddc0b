/*
 * The client's side of TLS on libevent's bufferevents: TLS 1.2 or newer, the server's certificate
 * and name always verified.
 */
#ifndef FEDPUSH_BASE_TLS_H
#define FEDPUSH_BASE_TLS_H

#include <event2/bufferevent.h>
#include <openssl/ssl.h>

#include "base/str.h"

/* `ca_file`: PEM, or NULL for the system's CAs. NULL when it can't be read; SSL_CTX_free it. */
SSL_CTX *tls_context_create(const char *ca_file);
/* Adds a client's certificate (PEM, with its chain) and its key. False: they can't be read, or
 * don't belong together; no password of an encrypted key is asked for. */
bool tls_context_add_certificate(SSL_CTX *context, const char *cert_file,
                                 const char *key_file) FP_MUST_CHECK;
/* Takes the connected socket over and starts the handshake; BEV_EVENT_CONNECTED tells its end.
 * `host` is verified: a name (it also goes into SNI) or an address. bufferevent_free frees all. */
struct bufferevent *tls_stream_create(struct event_base *base, int fd, SSL_CTX *context,
                                      const char *host);
/* Why an event with BEV_EVENT_ERROR or _EOF came, in one line, for TLS and for plain streams. Call
 * it first thing in the event callback: errno is still the stream's there. */
void tls_describe_failure(struct bufferevent *stream, short what, struct buf *out);

#endif
