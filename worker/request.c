#include "worker/request.h"

#include <stdlib.h>

void request_put_user_agent(struct buf *out, const struct mastodon_version *version,
                            struct str web_domain)
{
    if (mastodon_version_compare(version, 4, 3, 0) < 0)
        buf_printf(out, "http.rb/%s (Mastodon/%s; +https://%.*s/)", version->http_rb, version->text,
                   STR_ARG(web_domain));
    else
        buf_printf(out, "Mastodon/%s (http.rb/%s; +https://%.*s/)", version->text, version->http_rb,
                   STR_ARG(web_domain));
}

static void add(struct curl_slist **list, const char *name, struct str value)
{
    if (value.len == 0)
        return;
    char *line = mem_printf("%s: %.*s", name, STR_ARG(value));
    struct curl_slist *longer = curl_slist_append(*list, line);
    free(line);
    if (longer == NULL)
        abort();
    *list = longer;
}

/* A name with a colon and nothing behind it: libcurl leaves its own field of that name out. */
static void leave_out(struct curl_slist **list, const char *name_and_colon)
{
    struct curl_slist *longer = curl_slist_append(*list, name_and_colon);
    if (longer == NULL)
        abort();
    *list = longer;
}

struct curl_slist *request_headers(const struct mastodon_version *version,
                                   const struct request_values *values)
{
    bool rfc9421 = values->signature_input.len > 0;
    bool digest_late = rfc9421 || mastodon_version_compare(version, 4, 7, 0) >= 0;
    struct curl_slist *list = NULL;

    leave_out(&list, "Host:"); /* which libcurl would put first; ours then stays where it stands */
    add(&list, "User-Agent", values->user_agent);
    add(&list, "Host", values->host);
    add(&list, "Date", values->date);
    add(&list, "Accept-Encoding", STR("gzip"));
    if (!digest_late)
        add(&list, "Digest", values->digest);
    add(&list, "Content-Type", values->content_type);
    add(&list, "Collection-Synchronization", values->synchronization);
    if (digest_late)
        add(&list, rfc9421 ? "content-digest" : "Digest", values->digest);
    if (digest_late)
        add(&list, "Connection", STR("Keep-Alive"));
    add(&list, rfc9421 ? "signature" : "Signature", values->signature);
    add(&list, "signature-input", values->signature_input);
    if (!digest_late)
        add(&list, "Connection", STR("Keep-Alive"));
    leave_out(&list, "Accept:");
    leave_out(&list, "Expect:");
    return list;
}
