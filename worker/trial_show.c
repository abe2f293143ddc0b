#include "worker/trial_show.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/words.h"
#include "base/escape.h"
#include "worker/address.h"
#include "worker/request.h"

enum { SHOWN_SIGNATURE_BYTES = 12, LINE_BYTES = 4096, MAX_LINES = 20 };

/* Text of strangers for a terminal or a JSON string; free(). */
static char *safe(struct str text, size_t columns)
{
    struct buf out;

    buf_init(&out, 4 * LINE_BYTES);
    escape_put(&out, text, ESCAPE_TERMINAL, columns);
    char *copy = str_dup(buf_str(&out));
    buf_clear(&out);
    return copy;
}

/* The header's value with all but the beginning of its `signature` left out. */
static void put_cut(struct buf *out, struct str header)
{
    static const char name[] = "signature=\"";
    const size_t name_len = sizeof(name) - 1;

    for (size_t at = 0; at + name_len + SHOWN_SIGNATURE_BYTES < header.len; at++) {
        if (memcmp(header.ptr + at, name, name_len) == 0) {
            buf_put(out, header.ptr, at + name_len + SHOWN_SIGNATURE_BYTES);
            buf_put_str(out, STR("...\""));
            return;
        }
    }
}

static struct curl_slist *headers_of(const struct trial *trial, const struct config *config)
{
    const struct message_signed *answer = &trial->signatures[SCHEME_CAVAGE].answer;
    struct buf agent;
    struct buf signature;

    buf_init(&agent, 1024);
    buf_init(&signature, MESSAGE_MAX_TEXT_BYTES);
    request_put_user_agent(&agent, &config->mastodon, str_of(config->web_domain));
    put_cut(&signature, answer->signature);
    const struct request_values values = {.user_agent = buf_str(&agent),
                                          .host = answer->host,
                                          .date = answer->date,
                                          .digest = answer->digest,
                                          .content_type = STR("application/activity+json"),
                                          .synchronization = str_of(trial->synchronization),
                                          .signature = buf_str(&signature)};
    struct curl_slist *headers = request_headers(&config->mastodon, &values);
    buf_clear(&signature);
    buf_clear(&agent);
    return headers;
}

/* The request line and the header fields, free() each; how many. */
static size_t request_lines(const struct trial *trial, const struct config *config,
                            char *lines[MAX_LINES])
{
    size_t count = 0;

    const struct trial_signature *signature = &trial->signatures[SCHEME_CAVAGE];

    if (!signature->answered || signature->answer.status != SIGN_OK)
        return 0;
    struct curl_slist *headers = headers_of(trial, config);
    lines[count++] = mem_printf("POST %.*s HTTP/1.1", STR_ARG(trial->url.target));
    for (const struct curl_slist *header = headers; header != NULL && count < MAX_LINES - 2;
         header = header->next) {
        size_t len = strlen(header->data);
        if (header->data[len - 1] != ':') /* not one that libcurl is told to leave out */
            lines[count++] = safe((struct str){header->data, len}, LINE_BYTES);
    }
    lines[count++] = mem_printf("Content-Length: %zu", trial->body.len);
    free(headers);
    return count;
}

static void put_addresses(struct buf *out, const struct trial *trial)
{
    for (size_t i = 0; i < trial->dns.count; i++) {
        if (i > 0)
            buf_put_char(out, ' ');
        address_put(out, &trial->dns.addresses[i]);
    }
    if (trial->refused > 0)
        buf_printf(out, "%s(%zu refused: private)", trial->dns.count > 0 ? " " : "",
                   trial->refused);
}

void trial_print(const struct trial *trial, const struct config *config)
{
    char *lines[MAX_LINES];
    size_t count = request_lines(trial, config, lines);
    char *class = safe(trial->job.class_name, 60);
    char *host = safe(str_of(trial->tracker_host), 60);
    struct buf reason;
    struct buf addresses;

    buf_init(&reason, 1024);
    buf_init(&addresses, 2048);
    trial_put_reason(&reason, trial);
    put_addresses(&addresses, trial);
    char *why = safe(buf_str(&reason), 300);
    words_print(stdout, "%-8s %-5s %s%s%s%s%s", trial_fate_name(trial_fate(trial)),
                trial_source_name(trial->source), class, host[0] != '\0' ? " to " : "", host,
                why[0] != '\0' ? ": " : "", why);
    if (addresses.len > 0)
        words_print(stdout, "         at %s", buf_cstr(&addresses));
    for (size_t i = 0; i < count; i++) {
        words_print(stdout, "         %s", lines[i]);
        free(lines[i]);
    }
    bool first = trial->signatures[SCHEME_CAVAGE].holds;
    bool second = trial->signatures[SCHEME_RFC9421].holds;
    if (first || second)
        words_print(stdout, "         (the signature holds with the account's public key%s)",
                    first && second ? ", and so does that of a second knock, after RFC 9421" : "");
    free(why);
    free(class);
    free(host);
    buf_clear(&addresses);
    buf_clear(&reason);
}

/* `,"name":"text"`, or null where there is no text. */
static void put_member(struct buf *out, const char *name, struct str text)
{
    char *copy = safe(text, LINE_BYTES);

    buf_printf(out, ",\"%s\":", name);
    if (text.len > 0)
        json_put_string(out, str_of(copy));
    else
        buf_put_str(out, STR("null"));
    free(copy);
}

void trial_put_json(struct buf *out, const struct trial *trial, const struct config *config)
{
    char *lines[MAX_LINES];
    size_t count = request_lines(trial, config, lines);
    struct buf text;

    buf_init(&text, 2048);
    buf_printf(out,
               "{\"account_id\":%" PRId64 ",\"signature_holds\":%s,\"rfc9421_signature_holds\":%s",
               trial->job.account_id, trial->signatures[SCHEME_CAVAGE].holds ? "true" : "false",
               trial->signatures[SCHEME_RFC9421].holds ? "true" : "false");
    put_member(out, "fate", str_of(trial_fate_name(trial_fate(trial))));
    put_member(out, "source", str_of(trial_source_name(trial->source)));
    put_member(out, "jid", str_of(trial->job.jid));
    put_member(out, "class", trial->job.class_name);
    put_member(out, "inbox", trial->job.inbox_url);
    put_member(out, "host", str_of(trial->tracker_host));
    trial_put_reason(&text, trial);
    put_member(out, "reason", buf_str(&text));
    buf_reset(&text);
    put_addresses(&text, trial);
    put_member(out, "addresses", buf_str(&text));
    buf_put_str(out, STR(",\"request\":["));
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_put_char(out, ',');
        json_put_string(out, str_of(lines[i]));
        free(lines[i]);
    }
    buf_put_str(out, STR("]}"));
    buf_clear(&text);
}
