#include "admin/oauth.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"

enum { ANSWER_MAX_BYTES = 256 * 1024, FORM_MAX_BYTES = 16 * 1024, CONNECT_S = 5, ANSWER_S = 10 };

bool oauth_is_configured(const struct config *config)
{
    return config->admin_oauth_id[0] != '\0';
}

void oauth_init(struct oauth *oauth, const struct config *config, struct str page_url)
{
    struct str given = str_of(config->admin_oauth_url);

    while (given.len > 0 && given.ptr[given.len - 1] == '/')
        given.len--;
    *oauth = (struct oauth){
        .config = config,
        .instance = given.len > 0 ? str_dup(given) : mem_printf("https://%s", config->web_domain),
        .redirect_uri = mem_printf("%.*s/api/v1/login/mastodon/callback", STR_ARG(page_url)),
    };
}

void oauth_clear(struct oauth *oauth)
{
    free(oauth->instance);
    free(oauth->redirect_uri);
}

static void put_parameter(struct buf *out, const char *name, struct str value)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";

    buf_printf(out, "%s%s=", out->len > 0 ? "&" : "", name);
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c != '\0' && strchr(plain, c) != NULL)
            buf_put_char(out, c);
        else
            buf_printf(out, "%%%02X", (unsigned char)c);
    }
}

void oauth_put_authorize_url(const struct oauth *oauth, struct str state, struct str verifier,
                             struct buf *out)
{
    bool narrow = mastodon_version_compare(&oauth->config->mastodon, 4, 3, 0) >= 0;
    char challenge[PASS_TEXT_BYTES];
    struct buf query;

    pass_challenge(verifier, challenge);
    buf_init(&query, FORM_MAX_BYTES);
    put_parameter(&query, "response_type", STR("code"));
    put_parameter(&query, "client_id", str_of(oauth->config->admin_oauth_id));
    put_parameter(&query, "redirect_uri", str_of(oauth->redirect_uri));
    put_parameter(&query, "scope", narrow ? STR("profile") : STR("read:accounts"));
    put_parameter(&query, "state", state);
    put_parameter(&query, "code_challenge", str_of(challenge)); /* older ones ignore both */
    put_parameter(&query, "code_challenge_method", STR("S256"));
    buf_printf(out, "%s/oauth/authorize?%.*s", oauth->instance, STR_ARG(buf_str(&query)));
    buf_clear(&query);
}

/* ---- requests ---- */

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct buf *body = arg;

    buf_put(body, bytes, size * count);
    return body->overflow ? 0 : size * count;
}

static void set_limits(CURL *curl, const struct oauth *oauth)
{
    bool plain = strncmp(oauth->instance, "http://", 7) == 0;

    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, plain ? "http" : "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)ANSWER_S);
    curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* it is our own instance */
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "fedpush/" FEDPUSH_VERSION);
    if (oauth->config->ca_file != NULL && oauth->config->ca_file[0] != '\0')
        curl_easy_setopt(curl, CURLOPT_CAINFO, oauth->config->ca_file);
}

/* One request; `form` NULL: a GET. Returns the status, 0: none came. */
static long request(const struct oauth *oauth, const char *path, const char *form,
                    const char *token, struct buf *body)
{
    char *url = mem_printf("%s%s", oauth->instance, path);
    char *bearer = token != NULL ? mem_printf("Authorization: Bearer %s", token) : NULL;
    struct curl_slist *fields = bearer != NULL ? curl_slist_append(NULL, bearer) : NULL;
    CURL *curl = curl_easy_init();
    long status = 0;

    if (curl == NULL)
        abort();
    set_limits(curl, oauth);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, fields);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    if (form != NULL)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, form);
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status / 100 != 2)
        log_event(LOG_LEVEL_WARN, "Mastodon's login: no good answer", LOG_TEXT("path", path),
                  LOG_INT("status", status), LOG_TEXT("reason", curl_easy_strerror(code)));
    curl_easy_cleanup(curl);
    curl_slist_free_all(fields);
    secret_free(bearer);
    free(url);
    return status;
}

static void put_client(const struct oauth *oauth, struct buf *form)
{
    put_parameter(form, "client_id", str_of(oauth->config->admin_oauth_id));
    put_parameter(form, "client_secret", str_of(oauth->config->admin_oauth_secret));
}

/* A new string, secret_free(); NULL: *result says why. */
static char *fetch_token(const struct oauth *oauth, struct str code, struct str verifier,
                         enum oauth_result *result)
{
    const char *token = NULL;
    struct buf form;
    struct buf body;

    secret_buf_init(&form, FORM_MAX_BYTES);
    secret_buf_init(&body, ANSWER_MAX_BYTES);
    put_parameter(&form, "grant_type", STR("authorization_code"));
    put_parameter(&form, "code", code);
    put_parameter(&form, "redirect_uri", str_of(oauth->redirect_uri));
    put_parameter(&form, "code_verifier", verifier);
    put_client(oauth, &form);
    long status =
        form.overflow ? 400 : request(oauth, "/oauth/token", buf_cstr(&form), NULL, &body);
    *result = status / 100 == 4 ? OAUTH_REFUSED : OAUTH_AWAY;
    json_t *object = status == 200 ? json_loadb(body.ptr, body.len, 0, NULL) : NULL;
    if (object != NULL)
        token = json_string_value(json_object_get(object, "access_token"));
    char *copy = token != NULL && strpbrk(token, "\r\n") == NULL ? str_dup(str_of(token)) : NULL;
    json_decref(object);
    secret_buf_clear(&body);
    secret_buf_clear(&form);
    return copy;
}

/* Mastodon writes ids and bit masks as strings. */
static bool number_at(const json_t *object, const char *name, int64_t *number)
{
    const json_t *value = json_object_get(object, name);

    if (json_is_integer(value)) {
        *number = json_integer_value(value);
        return true;
    }
    return json_is_string(value) &&
           str_to_i64(str_of(json_string_value(value)), 0, INT64_MAX, number);
}

static bool parse_account(struct str text, struct oauth_account *account)
{
    json_t *object = json_loadb(text.ptr, text.len, 0, NULL);
    const char *name = json_string_value(json_object_get(object, "username"));
    bool good = number_at(object, "id", &account->id) && account->id != 0 && name != NULL &&
                number_at(json_object_get(object, "role"), "permissions", &account->permissions);

    if (good)
        snprintf(account->name, sizeof(account->name), "%s", name);
    json_decref(object);
    return good;
}

static void revoke(const struct oauth *oauth, const char *token)
{
    struct buf form;
    struct buf body;

    secret_buf_init(&form, FORM_MAX_BYTES);
    buf_init(&body, ANSWER_MAX_BYTES);
    put_client(oauth, &form);
    put_parameter(&form, "token", str_of(token));
    request(oauth, "/oauth/revoke", buf_cstr(&form), NULL, &body);
    buf_clear(&body);
    secret_buf_clear(&form);
}

enum oauth_result oauth_account(const struct oauth *oauth, struct str code, struct str verifier,
                                struct oauth_account *account)
{
    enum oauth_result result = OAUTH_AWAY;
    struct buf body;

    *account = (struct oauth_account){0};
    char *token = fetch_token(oauth, code, verifier, &result);
    if (token == NULL)
        return result;
    buf_init(&body, ANSWER_MAX_BYTES);
    long status = request(oauth, "/api/v1/accounts/verify_credentials", NULL, token, &body);
    /* A user who is disabled or suspended gets 403. */
    result = status / 100 == 4 ? OAUTH_REFUSED : OAUTH_AWAY;
    if (status == 200 && parse_account(buf_str(&body), account))
        result = OAUTH_GOOD;
    revoke(oauth, token);
    buf_clear(&body);
    secret_free(token);
    return result;
}
