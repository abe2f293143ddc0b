#include "worker/request.h"

#include <string.h>

enum { MAX_HEADER_BYTES = 8 * MESSAGE_MAX_TEXT_BYTES };

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

/* The lines of a list, each ending in NUL. */
struct lines {
    struct buf text;
    size_t count;
};

static void add(struct lines *list, const char *name, struct str value)
{
    if (value.len == 0)
        return;
    buf_put_str(&list->text, str_of(name));
    buf_put_str(&list->text, STR(": "));
    buf_put_str(&list->text, value);
    buf_put_char(&list->text, '\0');
    list->count++;
}

/* A name with a colon and nothing behind it: libcurl leaves its own field of that name out. */
static void leave_out(struct lines *list, const char *name_and_colon)
{
    buf_put(&list->text, name_and_colon, strlen(name_and_colon) + 1);
    list->count++;
}

/* The nodes and behind them their lines. */
static struct curl_slist *finish(struct lines *list)
{
    size_t nodes_bytes = list->count * sizeof(struct curl_slist);
    struct curl_slist *nodes = mem_alloc(nodes_bytes + list->text.len);
    char *line = (char *)nodes + nodes_bytes;

    memcpy(line, list->text.ptr, list->text.len);
    for (size_t i = 0; i < list->count; i++) {
        nodes[i].data = line;
        nodes[i].next = i + 1 < list->count ? &nodes[i + 1] : NULL;
        line += strlen(line) + 1;
    }
    buf_clear(&list->text);
    return nodes;
}

struct curl_slist *request_headers(const struct mastodon_version *version,
                                   const struct request_values *values)
{
    bool rfc9421 = values->signature_input.len > 0;
    bool digest_late = rfc9421 || mastodon_version_compare(version, 4, 7, 0) >= 0;
    struct lines list = {.count = 0};

    buf_init(&list.text, MAX_HEADER_BYTES);
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
    return finish(&list);
}
