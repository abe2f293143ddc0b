#include "worker/classify.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_plain(char c)
{
    return c >= ' ' && c <= '~';
}

void classify_text(struct failure *failure, enum failure_kind kind, struct str error_class,
                   const char *text, struct str url)
{
    failure->kind = kind;
    failure->error_class = error_class;
    snprintf(failure->message, sizeof(failure->message), "%.*s on %.*s", 400, text, STR_ARG(url));
    for (char *c = failure->message; *c != '\0'; c++) { /* libcurl quotes what servers say */
        if (!is_plain(*c))
            *c = '?';
    }
}

void classify_dns(struct failure *failure, const struct dns_result *result, struct str url)
{
    const char *text = "failed to connect: the name cannot be resolved now";
    enum failure_kind kind = FAILURE_RESOLVER;

    if (result->status == DNS_NO_NAME)
        text = "failed to connect: no such name";
    else if (result->status == DNS_BAD_NAME)
        text = "failed to connect: not a name that can be resolved";
    if (result->status == DNS_NO_NAME || result->status == DNS_BAD_NAME)
        kind = FAILURE_NO_NAME;
    else if (result->status == DNS_UNSERVED)
        kind = FAILURE_UNSERVED;
    classify_text(failure, kind, STR("HTTP::ConnectionError"), text, url);
}

static enum failure_kind kind_of_errno(int os_errno)
{
    switch (os_errno) {
    case ECONNREFUSED:
        return FAILURE_REFUSED;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
        return FAILURE_UNREACHABLE;
    case ETIMEDOUT:
        return FAILURE_TIMEOUT;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        return FAILURE_RESET;
    default:
        return FAILURE_OTHER;
    }
}

static enum failure_kind kind_of(const struct http_result *result, bool by_proxy)
{
    switch ((int)result->code) { /* as in class_of */
    case CURLE_OPERATION_TIMEDOUT:
        return FAILURE_TIMEOUT;
    case CURLE_COULDNT_CONNECT:
        return by_proxy ? FAILURE_OTHER : kind_of_errno(result->os_errno);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_ISSUER_ERROR:
        return FAILURE_CERTIFICATE;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
        return FAILURE_TLS;
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return by_proxy ? FAILURE_OTHER : FAILURE_RESET;
    default:
        return FAILURE_OTHER;
    }
}

static struct str class_of(const struct http_result *result)
{
    switch ((int)result->code) { /* libcurl's enum has a hundred values; all others are one class */
    case CURLE_OPERATION_TIMEDOUT:
        return STR("HTTP::TimeoutError");
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_ISSUER_ERROR:
        return STR("OpenSSL::SSL::SSLError");
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return STR("HTTP::ResponseHeaderError");
    default:
        return STR("HTTP::ConnectionError");
    }
}

void classify_http(struct failure *failure, const struct http_result *result, bool by_proxy,
                   struct str url)
{
    switch (result->end) {
    case HTTP_REFUSED_ADDRESS:
        classify_text(failure, FAILURE_OTHER, STR("Mastodon::PrivateNetworkAddressError"),
                      "private address refused", url);
        break;
    case HTTP_TIMED_OUT:
        classify_text(failure, FAILURE_TIMEOUT, STR("HTTP::TimeoutError"), result->error, url);
        break;
    case HTTP_TOO_MUCH_HEADER:
        classify_text(failure, FAILURE_OTHER, STR("HTTP::ResponseHeaderError"),
                      "response header too long", url);
        break;
    case HTTP_NO_SOCKET:
        classify_text(failure, FAILURE_OTHER, STR("HTTP::ConnectionError"),
                      "failed to connect: too many open files here", url);
        break;
    case HTTP_ANSWERED:
    case HTTP_FAILED:
        classify_text(failure, kind_of(result, by_proxy), class_of(result), result->error, url);
        break;
    }
}
