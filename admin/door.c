#include "admin/door.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/api_input.h"
#include "admin/attempts_store.h"
#include "admin/permission.h"
#include "admin/tokens.h"
#include "admin/words.h"
#include "base/log.h"
#include "base/secret.h"

enum { LOGIN_COOKIE_S = 600, REDIRECT_MAX_BYTES = 8192, SAID_BYTES = 4096 };

/* Of a login with Mastodon that is under way: "STATE.VERIFIER". */
static const char login_suffix[] = "-login";

static void answer_text(struct answer *answer, json_t *body)
{
    answer->reply = (struct api_reply){.status = 200, .body = body};
}

static void answer_done(struct answer *answer, enum phrase done)
{
    struct said said;

    said_init(&said, SAID_BYTES);
    said_add(&said, "", done, SAYS_NOTHING);
    answer_text(answer, words_json_done(&said));
    said_clear(&said);
}

static void answer_away(struct answer *answer)
{
    answer_problem(answer, 503, PHRASE_GATE_REDIS_AWAY);
}

/* Answers when it isn't a session that asks: programs don't sign out, nor make tokens. */
static bool is_session(const struct asked *asked, struct answer *answer)
{
    if (asked->caller->kind == CALLER_COOKIE && asked->entry->verdict == GATE_IN &&
        gate_has_login(asked->gate))
        return true;
    answer_problem(answer, 403, PHRASE_DOOR_SESSION);
    return false;
}

/* ---- me ---- */

static void answer_me(struct desk *desk, const struct asked *asked, struct answer *answer)
{
    const struct entry *entry = asked->entry;
    bool in = entry->verdict == GATE_IN;
    (void)desk;

    if (!in && entry->status == 503) {
        answer_problem(answer, 503, entry->why);
        return;
    }
    const char *right = entry->right == API_ACT ? "act" : "read";
    answer_text(answer, json_pack("{s:s?, s:s?, s:s, s:s?}", "who", in ? entry->who : NULL, "right",
                                  in ? right : NULL, "login", gate_ways_in(asked->gate), "csrf",
                                  in && entry->csrf[0] != '\0' ? entry->csrf : NULL));
}

/* ---- by password ---- */

/* A new string, secret_free(); NULL: the body isn't {"password": "..."}. */
static char *password_of(struct str body)
{
    json_t *object = json_loadb(body.ptr, body.len, 0, NULL);
    const json_t *password = json_object_get(object, "password");
    char *copy = json_is_string(password) && json_object_size(object) == 1
                     ? str_dup(str_of(json_string_value(password)))
                     : NULL;

    json_decref(object);
    return copy;
}

static bool start(struct desk *desk, const struct asked *asked, struct login *login, bool by_url,
                  struct answer *answer)
{
    char token[PASS_TEXT_BYTES];
    struct err err;

    if (!login_start(desk, login, token, &err))
        return false;
    gate_put_cookie(asked->gate, by_url, "", str_of(token), LOGIN_LONGEST_S, true, &answer->fields);
    sodium_memzero(token, sizeof(token));
    answer->signed_in = true;
    if (!attempts_store_right(&desk->session, asked->caller->family, asked->caller->address, &err))
        log_event(LOG_LEVEL_WARN, "an attempt that was right counts as a wrong one",
                  LOG_TEXT("reason", err.message));
    log_event(LOG_LEVEL_INFO, "signed in", LOG_TEXT("who", login->who));
    return true;
}

static void answer_login(struct desk *desk, const struct asked *asked, struct answer *answer)
{
    struct login login = {.who = "admin"};
    const char *hash = asked->gate->config->admin_password_hash;

    if (!asked->gate->with_password) {
        answer_problem(answer, 403, PHRASE_DOOR_NO_PASSWORD);
        return;
    }
    if (!str_starts_with(asked->content_type, STR("application/json"))) {
        answer_problem(answer, 415, PHRASE_DOOR_TYPE);
        return;
    }
    char *password = password_of(asked->request.body);
    if (password == NULL) {
        answer_problem(answer, 400, PHRASE_DOOR_SEND_PASSWORD);
        return;
    }
    bool right = crypto_pwhash_str_verify(hash, password, strlen(password)) == 0;
    secret_free(password);
    if (!right)
        answer_problem(answer, 401, PHRASE_DOOR_WRONG);
    else if (start(desk, asked, &login, asked->caller->by_url, answer))
        answer_done(answer, PHRASE_DOOR_SIGNED_IN);
    else
        answer_away(answer);
}

static void answer_logout(struct desk *desk, const struct asked *asked, struct answer *answer)
{
    static const char *const names[] = {"everywhere"};
    bool everywhere = false;
    struct err err;

    if (!is_session(asked, answer))
        return;
    json_t *object = api_body_parse(asked->request.body, names, 1, &err);
    bool understood = object != NULL && api_body_flag(object, names[0], &everywhere, &err);
    json_decref(object);
    if (!understood) {
        answer_err(answer, 422, &err);
        return;
    }
    bool good = login_end(desk, str_of(asked->caller->hash), &err);
    if (good && everywhere)
        good = login_end_all(desk, asked->entry->who, &err);
    if (!good) {
        answer_away(answer);
        return;
    }
    gate_put_cookie(asked->gate, asked->caller->by_url, "", STR_NULL, 0, true, &answer->fields);
    log_event(LOG_LEVEL_INFO, everywhere ? "signed out everywhere" : "signed out",
              LOG_TEXT("who", asked->entry->who));
    answer_done(answer, everywhere ? PHRASE_DOOR_SIGNED_OUT_ALL : PHRASE_DOOR_SIGNED_OUT);
}

/* ---- with Mastodon ---- */

void door_send_to_mastodon(const struct gate *gate, struct web_exchange *exchange)
{
    char state[PASS_TEXT_BYTES];
    char verifier[PASS_TEXT_BYTES];
    struct buf fields;

    if (!gate->with_oauth) {
        web_problem(exchange, 403, PHRASE_DOOR_NO_MASTODON, STR_NULL);
        return;
    }
    pass_make(state);
    pass_make(verifier);
    char *both = mem_printf("%s.%s", state, verifier);
    buf_init(&fields, REDIRECT_MAX_BYTES);
    /* Mastodon links back here, which a strict cookie would not survive. */
    gate_put_cookie(gate, true, login_suffix, str_of(both), LOGIN_COOKIE_S, false, &fields);
    buf_put_str(&fields, STR("Location: "));
    oauth_put_authorize_url(&gate->oauth, str_of(state), str_of(verifier), &fields);
    buf_put_str(&fields, STR("\r\n"));
    const struct web_reply reply = {.status = 302, .fields = buf_str(&fields)};
    web_reply(exchange, &reply);
    buf_clear(&fields);
    free(both);
}

/* Back to the page, which says what went wrong by `why`; NULL: nothing. */
static void answer_redirect(const struct asked *asked, struct answer *answer, const char *why)
{
    answer->reply = (struct api_reply){.status = 302};
    gate_put_cookie(asked->gate, true, login_suffix, STR_NULL, 0, false, &answer->fields);
    buf_printf(&answer->fields, "Location: %s/%s%s\r\n", asked->gate->rules.url,
               why != NULL ? "?login=" : "", why != NULL ? why : "");
}

/* Whether this browser began the login that it now ends. */
static bool is_own(const struct asked *asked, struct str *verifier)
{
    size_t dot = str_find(asked->login_cookie, '.');
    struct buf state;

    buf_init(&state, 256);
    bool same = web_query_value(asked->request.query, STR("state"), &state) &&
                pass_equal(buf_str(&state), (struct str){asked->login_cookie.ptr, dot});
    buf_clear(&state);
    *verifier = str_slice(asked->login_cookie, dot + 1);
    return same && verifier->len > 0;
}

static void enter_with_mastodon(struct desk *desk, const struct asked *asked, struct str code,
                                struct str verifier, struct answer *answer)
{
    struct oauth_account account;
    struct login login = {0};
    enum oauth_result result = oauth_account(&asked->gate->oauth, code, verifier, &account);

    snprintf(login.who, sizeof(login.who), "@%.*s", (int)sizeof(login.who) - 2, account.name);
    login.account = account.id;
    if (result == OAUTH_GOOD && !permission_suffices(account.permissions)) {
        log_event(LOG_LEVEL_WARN, "not signed in: the role has no permission for it",
                  LOG_TEXT("who", login.who));
        result = OAUTH_REFUSED;
    }
    if (result != OAUTH_GOOD)
        answer_redirect(asked, answer, result == OAUTH_REFUSED ? "denied" : "failed");
    else if (start(desk, asked, &login, true, answer))
        answer_redirect(asked, answer, NULL);
    else
        answer_redirect(asked, answer, "failed");
}

static void answer_callback(struct desk *desk, const struct asked *asked, struct answer *answer)
{
    struct str verifier;
    struct buf code;

    if (!asked->gate->with_oauth) {
        answer_problem(answer, 403, PHRASE_DOOR_NO_MASTODON);
        return;
    }
    buf_init(&code, 2048);
    if (!is_own(asked, &verifier))
        answer_redirect(asked, answer, "failed");
    else if (!web_query_value(asked->request.query, STR("code"), &code) || code.len == 0)
        answer_redirect(asked, answer, "denied");
    else
        enter_with_mastodon(desk, asked, buf_str(&code), verifier, answer);
    buf_clear(&code);
}

/* ---- tokens ---- */

static void answer_tokens(struct desk *desk, const struct asked *asked, struct answer *answer)
{
    struct err err;

    if (!is_session(asked, answer))
        return;
    json_t *tokens = token_list(&desk->session, &err);
    if (tokens == NULL)
        answer_away(answer);
    else
        answer_text(answer, json_pack("{s:o}", "items", tokens));
}

static void answer_error(struct answer *answer, const struct err *err)
{
    answer_err(answer, err->code == FP_INVALID ? 422 : 503, err);
}

/* {"name": "...", "full": bool} */
static bool parse_wish(struct str body, json_t **object, struct token_wish *wish)
{
    *object = json_loadb(body.ptr, body.len, 0, NULL);
    const json_t *full = json_object_get(*object, "full");
    wish->name = str_of(json_string_value(json_object_get(*object, "name")));
    wish->right = json_is_true(full) ? API_ACT : API_READ;
    return wish->name.len > 0 && (full == NULL || json_is_boolean(full)) &&
           json_object_size(*object) == (full == NULL ? 1 : 2);
}

static void answer_token_new(struct desk *desk, const struct asked *asked, struct answer *answer)
{
    struct token_wish wish = {.account = asked->entry->login.account, .who = asked->entry->who};
    char text[TOKEN_TEXT_BYTES];
    json_t *object = NULL;
    struct err err;

    if (!is_session(asked, answer))
        return;
    if (!parse_wish(asked->request.body, &object, &wish)) {
        answer_problem(answer, 422, PHRASE_DOOR_SEND_TOKEN);
    } else if (!token_create(&desk->session, &wish, text, &err)) {
        answer_error(answer, &err);
    } else {
        log_event(LOG_LEVEL_INFO, "token made", LOG_STR("name", wish.name),
                  LOG_TEXT("by", asked->entry->who));
        answer_text(answer, json_pack("{s:b, s:s%, s:s}", "ok", 1, "name", wish.name.ptr,
                                      wish.name.len, "token", text));
        sodium_memzero(text, sizeof(text));
    }
    json_decref(object);
}

static void answer_token_revoke(struct desk *desk, const struct asked *asked, struct answer *answer)
{
    struct str name = str_slice(asked->request.path, sizeof("/tokens/") - 1);
    struct err err;

    if (!is_session(asked, answer))
        return;
    if (!token_revoke(&desk->session, name, &err)) {
        answer_error(answer, &err);
        return;
    }
    log_event(LOG_LEVEL_INFO, "token revoked", LOG_STR("name", name),
              LOG_TEXT("by", asked->entry->who));
    answer_done(answer, PHRASE_DOOR_REVOKED);
}

/* ---- routes ---- */

static const struct {
    const char *method, *path;
    struct route route;
} routes[] = {
    {"GET", "/me", {CLERK_STATE, API_READ, .anonymous = true, .answer = answer_me}},
    {"POST",
     "/login",
     {CLERK_DOOR, API_READ, .anonymous = true, .limited = true, .answer = answer_login}},
    {"GET",
     "/login/mastodon/callback",
     {CLERK_MASTODON, API_READ, .anonymous = true, .limited = true, .answer = answer_callback}},
    {"POST", "/logout", {CLERK_STATE, API_READ, .answer = answer_logout}},
    {"GET", "/tokens", {CLERK_STATE, API_ACT, .answer = answer_tokens}},
    {"POST", "/tokens", {CLERK_STATE, API_ACT, .answer = answer_token_new}},
    {"DELETE", "/tokens/", {CLERK_STATE, API_ACT, .answer = answer_token_revoke}},
};

/* A path that ends in a slash has one segment more. */
static bool is_path(const char *pattern, struct str path)
{
    struct str start = str_of(pattern);

    if (!str_ends_with(start, STR("/")))
        return str_equal(path, start);
    return str_starts_with(path, start) && path.len > start.len &&
           str_find(str_slice(path, start.len), '/') == path.len - start.len;
}

bool door_route(struct str method, struct str path, struct route *route, int *status)
{
    bool found = false;

    *status = 405;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!is_path(routes[i].path, path))
            continue;
        found = true;
        if (str_equal(method, str_of(routes[i].method))) {
            *route = routes[i].route;
            *status = 0;
        }
    }
    return found;
}
