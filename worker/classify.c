#include "worker/classify.h"

#include <stdio.h>
#include <string.h>

static bool is_plain(char c)
{
    return c >= ' ' && c <= '~';
}

void classify_text(struct failure *failure, struct str error_class, const char *text,
                   struct str url)
{
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

    if (result->status == DNS_NO_NAME)
        text = "failed to connect: no such name";
    else if (result->status == DNS_BAD_NAME)
        text = "failed to connect: not a name that can be resolved";
    classify_text(failure, STR("HTTP::ConnectionError"), text, url);
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

void classify_http(struct failure *failure, const struct http_result *result, struct str url)
{
    switch (result->end) {
    case HTTP_REFUSED_ADDRESS:
        classify_text(failure, STR("Mastodon::PrivateNetworkAddressError"),
                      "private address refused", url);
        break;
    case HTTP_TIMED_OUT:
        classify_text(failure, STR("HTTP::TimeoutError"), result->error, url);
        break;
    case HTTP_TOO_MUCH_HEADER:
        classify_text(failure, STR("HTTP::ResponseHeaderError"), "response header too long", url);
        break;
    case HTTP_ANSWERED:
    case HTTP_FAILED:
        classify_text(failure, class_of(result), result->error, url);
        break;
    }
}
