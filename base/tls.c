#include "base/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

SSL_CTX *tls_context_create(const char *ca_file)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
        abort();
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    int loaded = ca_file != NULL ? SSL_CTX_load_verify_file(context, ca_file)
                                 : SSL_CTX_set_default_verify_paths(context);
    if (loaded == 1)
        return context;
    ERR_clear_error(); /* or the next connection's failure would be told with this text */
    SSL_CTX_free(context);
    return NULL;
}

/* OpenSSL's own would ask at the terminal. */
static int no_password(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

bool tls_context_add_certificate(SSL_CTX *context, const char *cert_file, const char *key_file)
{
    SSL_CTX_set_default_passwd_cb(context, no_password);
    bool added = SSL_CTX_use_certificate_chain_file(context, cert_file) == 1 &&
                 SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) == 1 &&
                 SSL_CTX_check_private_key(context) == 1;
    ERR_clear_error(); /* as above */
    return added;
}

static bool is_address(const char *host)
{
    struct in6_addr ignored;
    return inet_pton(AF_INET, host, &ignored) == 1 || inet_pton(AF_INET6, host, &ignored) == 1;
}

struct bufferevent *tls_stream_create(struct event_base *base, int fd, SSL_CTX *context,
                                      const char *host)
{
    SSL *ssl = SSL_new(context);

    if (ssl == NULL || SSL_set1_host(ssl, host) != 1)
        abort();
    char *name = str_dup(str_of(host)); /* OpenSSL's macro takes no const, and copies */
    if (!is_address(host) && SSL_set_tlsext_host_name(ssl, name) != 1)
        abort();
    free(name);
    struct bufferevent *stream = bufferevent_openssl_socket_new(
        base, fd, ssl, BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    if (stream == NULL)
        abort();
    /* Many servers end the stream without TLS's goodbye; the protocol above knows what is whole. */
    bufferevent_openssl_set_allow_dirty_shutdown(stream, 1);
    return stream;
}

void tls_describe_failure(struct bufferevent *stream, short what, struct buf *out)
{
    int error = EVUTIL_SOCKET_ERROR();
    SSL *ssl = bufferevent_openssl_get_ssl(stream);
    unsigned long tls_error = ssl != NULL ? bufferevent_get_openssl_error(stream) : 0;
    long verified = ssl != NULL ? SSL_get_verify_result(ssl) : X509_V_OK;
    const char *text = tls_error != 0 ? ERR_reason_error_string(tls_error) : NULL;

    if (verified != X509_V_OK)
        buf_printf(out, "TLS: certificate refused: %s", X509_verify_cert_error_string(verified));
    else if (text != NULL)
        buf_printf(out, "TLS: %s", text);
    else if (what & BEV_EVENT_ERROR && error != 0)
        buf_printf(out, "%s", strerror(error));
    else
        buf_printf(out, "closed by the server");
}
