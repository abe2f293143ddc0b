#include "admin/gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/permission.h"
#include "base/log.h"

void gate_init(struct gate *gate, const struct config *config)
{
    *gate = (struct gate){.config = config,
                          .clock = clock_system(),
                          .with_password = config->admin_password_hash[0] != '\0',
                          .with_oauth = oauth_is_configured(config)};
    visit_rules_init(&gate->rules, config);
    oauth_init(&gate->oauth, config, str_of(gate->rules.url));
    attempts_init(&gate->attempts, clock_mono_ms(&gate->clock));
}

bool gate_has_login(const struct gate *gate)
{
    return gate->with_password || gate->with_oauth;
}

const char *gate_ways_in(const struct gate *gate)
{
    if (gate->with_password && gate->with_oauth)
        return "password oauth";
    if (gate->with_password)
        return "password";
    return gate->with_oauth ? "oauth" : "none";
}

/* ---- cookies ---- */

/* With "__Host-" a browser takes it from this very host only, over TLS, for all paths. */
static bool is_host_cookie(const struct gate *gate, bool by_url)
{
    return by_url && gate->rules.https && gate->rules.prefix[0] == '\0';
}

void gate_put_cookie(const struct gate *gate, bool by_url, const char *suffix, struct str value,
                     int64_t seconds, bool strict, struct buf *out)
{
    const char *path = by_url && gate->rules.prefix[0] != '\0' ? gate->rules.prefix : "/";

    buf_printf(out,
               "Set-Cookie: %sfedpush%s=%.*s; Path=%s; Max-Age=%lld; HttpOnly; SameSite=%s%s\r\n",
               is_host_cookie(gate, by_url) ? "__Host-" : "", suffix, STR_ARG(value), path,
               (long long)(value.len > 0 ? seconds : 0), strict ? "Strict" : "Lax",
               by_url && gate->rules.https ? "; Secure" : "");
}

struct str gate_cookie(const struct web_head *head, const char *suffix)
{
    struct str cookies = web_head_field(head, STR("Cookie"));
    char name[64];

    snprintf(name, sizeof(name), "__Host-fedpush%s", suffix);
    struct str value = web_cookie(cookies, str_of(name));
    return value.ptr != NULL ? value : web_cookie(cookies, str_of(name + strlen("__Host-")));
}

/* ---- on the loop ---- */

static void read_caller(const struct gate *gate, const struct web_request *request,
                        const struct visitor *visitor, struct caller *caller)
{
    static const struct str bearer = {"Bearer ", sizeof("Bearer ") - 1};
    const struct web_head *head = request->head;
    struct str authorization = web_head_field(head, STR("Authorization"));
    struct str cookie = gate_cookie(head, "");
    struct str csrf = web_head_field(head, STR("X-Fedpush-CSRF"));

    *caller = (struct caller){.family = visitor->family,
                              .by_url = visitor_came_by_url(&gate->rules, head),
                              .changes = !str_equal(head->method, STR("GET")) &&
                                         !str_equal(head->method, STR("HEAD"))};
    memcpy(caller->address, visitor->address, sizeof(caller->address));
    if (csrf.len < sizeof(caller->csrf))
        memcpy(caller->csrf, csrf.len > 0 ? csrf.ptr : "", csrf.len);
    if (authorization.len > bearer.len &&
        str_equal_nocase((struct str){authorization.ptr, bearer.len}, bearer)) {
        caller->kind = CALLER_BEARER;
        pass_hash(str_trim(str_slice(authorization, bearer.len)), caller->hash);
    } else if (cookie.len > 0) {
        caller->kind = CALLER_COOKIE;
        pass_hash(cookie, caller->hash);
    }
}

/* One that forwards without a word of whom (nginx' own way from 1.30 on) can't be told from a
 * visitor on this machine. */
static bool is_behind_proxy(const struct visit_rules *rules)
{
    return rules->host[0] != '\0' || rules->proxy_count > 0 || rules->local_proxy;
}

enum phrase gate_look(const struct gate *gate, const struct web_request *request,
                      struct caller *caller, int *status)
{
    struct visitor visitor;

    *status = 0;
    visitor_read(&visitor, &gate->rules, request);
    read_caller(gate, request, &visitor, caller);
    if (!gate_has_login(gate) && !visitor.loopback) {
        *status = 403;
        return PHRASE_GATE_LOCAL_ONLY;
    }
    if (!gate_has_login(gate) && is_behind_proxy(&gate->rules)) {
        *status = 403;
        return PHRASE_GATE_BEHIND_PROXY;
    }
    /* No browser adds a bearer token by itself: what follows is about browsers. */
    if (caller->kind == CALLER_BEARER)
        return PHRASE_NONE;
    if (!visitor.our_host) {
        *status = 421;
        return PHRASE_GATE_OTHER_NAME;
    }
    if (caller->changes && !visitor_is_same_origin(&gate->rules, request->head)) {
        *status = 403;
        return PHRASE_GATE_OTHER_SITE;
    }
    return PHRASE_NONE;
}

/* ---- in a clerk's thread ---- */

static void shut_out(struct entry *entry, int status, enum phrase why)
{
    entry->verdict = GATE_OUT;
    entry->status = status;
    entry->why = why;
}

static void let_in(struct entry *entry, enum api_right right, const char *who)
{
    entry->verdict = GATE_IN;
    entry->right = right;
    snprintf(entry->who, sizeof(entry->who), "%s", who);
}

/* Whom Mastodon has let in it must let in again each minute. False: the verdict is there. */
static bool still_may(const struct gate *gate, int64_t account, int64_t asked_us, bool asked,
                      struct entry *entry)
{
    int64_t age_s = (clock_wall_us(&gate->clock) - asked_us) / 1000000;

    if (age_s < -LOGIN_ASK_S) /* by a clock that is ahead of ours: that may be hours ago */
        age_s = LOGIN_UNASKED_S;
    if (account == 0 || age_s < LOGIN_ASK_S)
        return true;
    if (!asked)
        entry->verdict = GATE_ASK;
    else if (age_s >= LOGIN_UNASKED_S)
        shut_out(entry, 503, PHRASE_GATE_NOT_ASKED);
    return asked && age_s < LOGIN_UNASKED_S;
}

static void enter_by_token(const struct gate *gate, struct desk *desk, const struct caller *caller,
                           bool asked, struct entry *entry)
{
    const struct token *token = &entry->token;
    char who[LOGIN_WHO_BYTES];
    struct err err;
    bool found;

    if (!token_find(&desk->session, str_of(caller->hash), &entry->token, &found, &err)) {
        shut_out(entry, 503, PHRASE_GATE_REDIS_AWAY);
    } else if (!found) {
        shut_out(entry, 401, PHRASE_GATE_NO_TOKEN);
    } else if (still_may(gate, token->account, token->asked_us, asked, entry)) {
        snprintf(who, sizeof(who), "token %s", token->name);
        let_in(entry, token->right, who);
    }
}

static void enter_by_cookie(const struct gate *gate, struct desk *desk, const struct caller *caller,
                            bool asked, bool touch, struct entry *entry)
{
    struct err err;
    bool found;

    if (!login_find(desk, str_of(caller->hash), touch, &entry->login, &found, &err)) {
        shut_out(entry, 503, PHRASE_GATE_REDIS_AWAY);
        return;
    }
    /* A way in that is no longer configured is closed to who has come by it. */
    bool open = entry->login.account != 0 ? gate->with_oauth : gate->with_password;
    if (!found || !open) {
        shut_out(entry, 401, PHRASE_GATE_ENDED);
        return;
    }
    if (!still_may(gate, entry->login.account, entry->login.asked_us, asked, entry))
        return;
    if (caller->changes && !pass_equal(str_of(caller->csrf), str_of(entry->login.csrf))) {
        shut_out(entry, 403, PHRASE_GATE_CSRF);
    } else {
        let_in(entry, API_ACT, entry->login.who);
        snprintf(entry->csrf, sizeof(entry->csrf), "%s", entry->login.csrf);
    }
}

void gate_enter(const struct gate *gate, struct desk *desk, const struct caller *caller,
                enum api_right wanted, bool asked, bool touch, struct entry *entry)
{
    *entry = (struct entry){0};
    if (caller->kind == CALLER_BEARER)
        enter_by_token(gate, desk, caller, asked, entry);
    else if (!gate_has_login(gate))
        let_in(entry, API_READ, "this machine");
    else if (caller->kind == CALLER_COOKIE)
        enter_by_cookie(gate, desk, caller, asked, touch, entry);
    else
        shut_out(entry, 401, PHRASE_GATE_SIGN_IN);
    if (entry->verdict == GATE_IN && entry->right < wanted)
        shut_out(entry, 403,
                 caller->kind == CALLER_BEARER ? PHRASE_GATE_TOKEN_READS : PHRASE_GATE_READ_ONLY);
}

/* Writes down what Mastodon has said. */
static void note_asked(struct desk *desk, const struct caller *caller, const struct entry *entry,
                       bool held)
{
    bool token = caller->kind == CALLER_BEARER;
    struct str hash = str_of(caller->hash);
    struct err err;
    bool good;

    if (!held)
        log_event(LOG_LEVEL_WARN,
                  token ? "token revoked: Mastodon says that who made it may no more"
                        : "signed out: Mastodon says that they may no more",
                  LOG_TEXT("who", token ? entry->token.name : entry->login.who));
    if (token)
        good = held ? token_asked(&desk->session, hash, &entry->token, &err)
                    : token_end(&desk->session, hash, &err);
    else
        good = held ? login_asked(desk, hash, &entry->login, &err) : login_end(desk, hash, &err);
    if (!good)
        log_event(LOG_LEVEL_WARN, token ? "a token is not written" : "a session is not written",
                  LOG_TEXT("reason", err.message));
}

void gate_ask(struct gate *gate, struct desk *desk, const struct caller *caller,
              const struct entry *entry)
{
    int64_t account = caller->kind == CALLER_BEARER ? entry->token.account : entry->login.account;
    struct err err;
    bool held;

    if (clock_mono_ms(&gate->clock) < gate->away_until_ms)
        return;
    if (permission_ask(desk, account, &held, &err)) {
        note_asked(desk, caller, entry, held);
        return;
    }
    gate->away_until_ms = clock_mono_ms(&gate->clock) + GATE_AWAY_MS;
    log_event(LOG_LEVEL_WARN,
              "whether who is signed in with Mastodon still may is not known; their last "
              "answer counts for ten minutes",
              LOG_TEXT("reason", err.message));
}
