#include "admin/alert_send.h"

#include <ctype.h>
#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/mail_address.h"

enum {
    CONNECT_MS = 8000,
    WHOLE_MS = 25000,
    MAX_ANSWER_BYTES = 64 * 1024,
    MAX_ERROR_COLUMNS = 200,
    MAIL_MAX_BYTES = 4 * ALERT_MESSAGE_MAX_BYTES,
};

struct sending {
    CURL *curl;
    struct curl_slist *list; /* recipients, or header fields */
    struct buf body;
    size_t read_bytes;
    size_t answer_bytes;
    char problem[CURL_ERROR_SIZE];
};

bool alert_sink_is_set(const struct config *config, enum alert_sink sink)
{
    return (sink == ALERT_MAIL ? config->alert_mail : config->alert_webhook)[0] != '\0';
}

static const char *or_else(const char *text, const char *otherwise)
{
    return text[0] != '\0' ? text : otherwise;
}

/* "https://chat.example:8443": what follows, and a user before it, may be a secret. */
static void put_origin(struct buf *out, struct str url)
{
    size_t scheme = str_find(url, ':') + 3;
    struct str rest = str_slice(url, scheme);

    for (size_t i = 0; i < rest.len; i++) {
        if (strchr("/?#", rest.ptr[i]) != NULL)
            rest.len = i;
    }
    for (size_t at; (at = str_find(rest, '@')) < rest.len;)
        rest = str_slice(rest, at + 1);
    buf_put(out, url.ptr, scheme);
    escape_put(out, rest, ESCAPE_TERMINAL, MAX_ERROR_COLUMNS);
}

void alert_sink_describe(const struct config *config, enum alert_sink sink, struct buf *out)
{
    if (sink == ALERT_WEBHOOK) {
        buf_put_str(out, STR("webhook at "));
        put_origin(out, str_of(config->alert_webhook));
        return;
    }
    buf_put_str(out, STR("mail to "));
    escape_put(out, str_of(config->alert_mail), ESCAPE_TERMINAL, MAX_ERROR_COLUMNS);
    buf_put_str(out, STR(" by "));
    escape_put(out, str_of(or_else(config->smtp_server, "localhost")), ESCAPE_TERMINAL, 255);
    buf_put_char(out, ':');
    escape_put(out, str_of(or_else(config->smtp_port, "25")), ESCAPE_TERMINAL, 5);
}

/* ---- curl ---- */

static size_t on_read(char *bytes, size_t size, size_t count, void *arg)
{
    struct sending *s = arg;
    size_t len = s->body.len - s->read_bytes;

    if (len > size * count)
        len = size * count;
    memcpy(bytes, s->body.ptr + s->read_bytes, len);
    s->read_bytes += len;
    return len;
}

/* Nobody reads the answer; one without end is cut off. */
static size_t on_answer(char *bytes, size_t size, size_t count, void *arg)
{
    struct sending *s = arg;

    (void)bytes;
    s->answer_bytes += size * count;
    return s->answer_bytes <= MAX_ANSWER_BYTES ? size * count : 0;
}

static void open_sending(struct sending *s)
{
    *s = (struct sending){.curl = curl_easy_init()};
    if (s->curl == NULL)
        abort(); /* out of memory */
    buf_init(&s->body, MAIL_MAX_BYTES);
    curl_easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(s->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(s->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(s->curl, CURLOPT_TIMEOUT_MS, (long)WHOLE_MS);
    curl_easy_setopt(s->curl, CURLOPT_ERRORBUFFER, s->problem);
    curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
}

static void close_sending(struct sending *s)
{
    curl_easy_cleanup(s->curl);
    curl_slist_free_all(s->list);
    buf_clear(&s->body);
}

static void add_to_list(struct sending *s, const char *text)
{
    struct curl_slist *list = curl_slist_append(s->list, text);

    if (list == NULL)
        abort(); /* out of memory */
    s->list = list;
}

static const char *remedy_of(CURLcode code, enum alert_sink sink)
{
    bool mail = sink == ALERT_MAIL;

    if (code == CURLE_PEER_FAILED_VERIFICATION)
        return mail ? "check SMTP_CA_FILE and SMTP_OPENSSL_VERIFY_MODE"
                    : "its certificate must be valid for the system's CAs";
    if (code == CURLE_LOGIN_DENIED)
        return "check SMTP_LOGIN, SMTP_PASSWORD and SMTP_AUTH_METHOD";
    if (code == CURLE_USE_SSL_FAILED)
        return "check SMTP_ENABLE_STARTTLS";
    if (code == CURLE_SEND_ERROR)
        return "check SMTP_FROM_ADDRESS and FEDPUSH_ALERT_MAIL";
    return mail ? "check SMTP_SERVER and SMTP_PORT" : "check FEDPUSH_ALERT_WEBHOOK";
}

static bool perform(struct sending *s, const struct config *config, enum alert_sink sink,
                    struct err *err)
{
    CURLcode code = curl_easy_perform(s->curl);
    long answered = 0;
    struct buf line;

    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &answered);
    bool refused = sink == ALERT_WEBHOOK && answered > 0 && (answered < 200 || answered > 299);
    if (code == CURLE_OK && !refused)
        return true;
    buf_init(&line, sizeof(err->message));
    alert_sink_describe(config, sink, &line);
    buf_put_str(&line, STR(": "));
    if (refused)
        buf_printf(&line, "it answered %ld", answered);
    else
        escape_put(&line, str_of(s->problem[0] != '\0' ? s->problem : curl_easy_strerror(code)),
                   ESCAPE_TERMINAL, MAX_ERROR_COLUMNS);
    buf_printf(&line, ": %s", remedy_of(code, sink));
    err_set(err, FP_UNAVAILABLE, "%s", buf_cstr(&line));
    buf_clear(&line);
    return false;
}

/* ---- mail ---- */

/* Nothing that would mean something in a URL. */
static bool is_plain(const char *text, const char *also)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && strchr(also, *c) == NULL)
            return false;
    }
    return true;
}

static bool set_server(struct sending *s, const struct config *config, struct err *err)
{
    const char *server = or_else(config->smtp_server, "localhost");
    const char *port = or_else(config->smtp_port, "25");
    bool is_ipv6 = strchr(server, ':') != NULL;
    int64_t number;

    if (!is_plain(server, ".-_:")) {
        err_set(err, FP_INVALID, "SMTP_SERVER is not the name or address of a server");
        return false;
    }
    if (!str_to_i64(str_of(port), 1, UINT16_MAX, &number)) {
        err_set(err, FP_INVALID, "SMTP_PORT is not a port");
        return false;
    }
    if (!is_plain(config->smtp_domain, ".-_:")) {
        err_set(err, FP_INVALID, "SMTP_DOMAIN is not a domain");
        return false;
    }
    char *url = mem_printf(
        "%s://%s%s%s:%d/%s", config->smtp_tls || config->smtp_ssl ? "smtps" : "smtp",
        is_ipv6 ? "[" : "", server, is_ipv6 ? "]" : "", (int)number, config->smtp_domain);
    curl_easy_setopt(s->curl, CURLOPT_URL, url); /* copied */
    free(url);
    return true;
}

static bool set_login(struct sending *s, const struct config *config, struct err *err)
{
    static const struct {
        const char *ruby, *curl;
    } methods[] = {{"plain", "AUTH=PLAIN"}, {"login", "AUTH=LOGIN"}, {"cram_md5", "AUTH=CRAM-MD5"}};

    if (config->smtp_login[0] == '\0' || strcmp(config->smtp_auth, "none") == 0)
        return true;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(config->smtp_auth, methods[i].ruby) != 0)
            continue;
        curl_easy_setopt(s->curl, CURLOPT_USERNAME, config->smtp_login);
        curl_easy_setopt(s->curl, CURLOPT_PASSWORD, config->smtp_password);
        curl_easy_setopt(s->curl, CURLOPT_LOGIN_OPTIONS, methods[i].curl);
        return true;
    }
    err_set(err, FP_INVALID, "SMTP_AUTH_METHOD is not plain, login, cram_md5 or none");
    return false;
}

static void set_smtp_tls(struct sending *s, const struct config *config)
{
    long use = strcmp(config->smtp_starttls, "always") == 0  ? CURLUSESSL_ALL
               : strcmp(config->smtp_starttls, "never") == 0 ? CURLUSESSL_NONE
                                                             : CURLUSESSL_TRY;
    bool unverified = strcmp(config->smtp_verify, "none") == 0;

    curl_easy_setopt(s->curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(s->curl, CURLOPT_USE_SSL, use);
    if (config->smtp_ca_file[0] != '\0')
        curl_easy_setopt(s->curl, CURLOPT_CAINFO, config->smtp_ca_file);
    curl_easy_setopt(s->curl, CURLOPT_SSL_VERIFYPEER, unverified ? 0L : 1L);
    curl_easy_setopt(s->curl, CURLOPT_SSL_VERIFYHOST, unverified ? 0L : 2L);
}

static bool set_addresses(struct sending *s, const struct config *config, struct err *err)
{
    struct str from = mail_address_of(str_of(config->smtp_from));
    struct str rest = str_of(config->alert_mail);
    struct str address;

    if (!mail_address_is_valid(from)) {
        err_set(err, FP_INVALID, "SMTP_FROM_ADDRESS has no address of mail");
        return false;
    }
    char *sender = mem_printf("<%.*s>", STR_ARG(from));
    curl_easy_setopt(s->curl, CURLOPT_MAIL_FROM, sender); /* copied */
    free(sender);
    while (mail_address_next(&rest, &address)) {
        char *recipient = mem_printf("<%.*s>", STR_ARG(address));
        add_to_list(s, recipient);
        free(recipient);
    }
    curl_easy_setopt(s->curl, CURLOPT_MAIL_RCPT, s->list);
    return true;
}

static bool send_mail(const struct config *config, const struct alert_message *message,
                      struct err *err)
{
    const struct rng rng = rng_system();
    const struct alert_mail mail = {str_of(config->smtp_from), str_of(config->alert_mail),
                                    rng.next(rng.arg)};
    struct sending s;

    open_sending(&s);
    alert_message_put_mail(&s.body, message, &mail);
    curl_easy_setopt(s.curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(s.curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(s.curl, CURLOPT_READDATA, &s);
    curl_easy_setopt(s.curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)s.body.len);
    set_smtp_tls(&s, config);
    bool good = set_server(&s, config, err) && set_login(&s, config, err) &&
                set_addresses(&s, config, err) && perform(&s, config, ALERT_MAIL, err);
    close_sending(&s);
    return good;
}

/* ---- webhook ---- */

static void add_signature(struct sending *s, const char *secret)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct buf field;

    if (HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)s->body.ptr,
             s->body.len, mac, &len) == NULL)
        abort(); /* out of memory */
    buf_init(&field, 256);
    buf_put_str(&field, STR("X-Fedpush-Signature: sha256="));
    for (unsigned i = 0; i < len; i++)
        buf_printf(&field, "%02x", mac[i]);
    add_to_list(s, buf_cstr(&field));
    buf_clear(&field);
}

static bool send_webhook(const struct config *config, const struct alert_message *message,
                         struct err *err)
{
    json_t *json = alert_message_json(message);
    char *text = json_dumps(json, JSON_COMPACT);
    struct sending s;

    if (text == NULL)
        abort(); /* out of memory: all texts are UTF-8 */
    open_sending(&s);
    buf_put_str(&s.body, str_of(text));
    free(text);
    json_decref(json);
    add_to_list(&s, "Content-Type: application/json");
    add_to_list(&s, "Expect:");
    if (config->alert_webhook_secret[0] != '\0')
        add_signature(&s, config->alert_webhook_secret);
    curl_easy_setopt(s.curl, CURLOPT_URL, config->alert_webhook);
    curl_easy_setopt(s.curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(s.curl, CURLOPT_USERAGENT, "fedpush/" FEDPUSH_VERSION);
    curl_easy_setopt(s.curl, CURLOPT_HTTPHEADER, s.list);
    curl_easy_setopt(s.curl, CURLOPT_POSTFIELDS, s.body.ptr);
    curl_easy_setopt(s.curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)s.body.len);
    bool good = perform(&s, config, ALERT_WEBHOOK, err);
    close_sending(&s);
    return good;
}

bool alert_send(const struct config *config, enum alert_sink sink,
                const struct alert_message *message, struct err *err)
{
    return sink == ALERT_MAIL ? send_mail(config, message, err)
                              : send_webhook(config, message, err);
}
