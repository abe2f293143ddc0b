#include "worker/trial.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void trial_init(struct trial *t, enum trial_source source, struct str payload, struct json *json)
{
    struct err err;

    *t = (struct trial){.source = source, .payload = str_dup(payload)};
    job_parse(&t->job, json, (struct str){t->payload, payload.len});
    buf_init(&t->body, JOB_MAX_PAYLOAD_BYTES);
    if (t->job.kind != JOB_DELIVERY)
        return;
    job_put_body(&t->job, &t->body);
    t->tracker_host = url_tracker_host(t->job.inbox_url);
    t->has_url = url_parse(&t->url, t->job.inbox_url, &err) == FP_OK;
}

void trial_clear(struct trial *t)
{
    for (size_t i = 0; i < sizeof(t->signatures) / sizeof(t->signatures[0]); i++)
        free(t->signatures[i].texts);
    free(t->synchronization);
    if (t->has_url)
        url_clear(&t->url);
    free(t->tracker_host);
    buf_clear(&t->body);
    job_clear(&t->job);
    free(t->payload);
}

bool trial_is_sent(const struct trial *t)
{
    return t->job.kind == JOB_DELIVERY && t->has_url && !t->unavailable && !t->hidden;
}

static struct str copy_to(char **at, struct str text)
{
    struct str copy = {*at, text.len};

    if (text.len > 0)
        memcpy(*at, text.ptr, text.len);
    *at += text.len;
    return copy;
}

void trial_answer(struct trial *t, enum sign_scheme scheme, const struct message_signed *answer)
{
    struct trial_signature *signature = &t->signatures[scheme];

    if (signature->answered || scheme >= trial_schemes(t))
        return;
    char *at = signature->texts =
        mem_alloc(answer->host.len + answer->date.len + answer->digest.len + answer->signature.len +
                  answer->signature_input.len + answer->reason.len + 1);
    signature->answered = true;
    signature->answer = *answer;
    signature->answer.host = copy_to(&at, answer->host);
    signature->answer.date = copy_to(&at, answer->date);
    signature->answer.digest = copy_to(&at, answer->digest);
    signature->answer.signature = copy_to(&at, answer->signature);
    signature->answer.signature_input = copy_to(&at, answer->signature_input);
    signature->answer.reason = copy_to(&at, answer->reason);
}

size_t trial_schemes(const struct trial *t)
{
    if (!t->asked)
        return 0;
    return t->both ? 2 : 1;
}

bool trial_is_answered(const struct trial *t)
{
    for (size_t i = 0; i < trial_schemes(t); i++) {
        if (!t->signatures[i].answered)
            return false;
    }
    return t->asked;
}

static enum trial_fate fate_of_signature(const struct trial *t,
                                         const struct trial_signature *signature)
{
    switch ((enum sign_status)signature->answer.status) {
    case SIGN_OK:
        return !t->has_public_key || signature->holds ? FATE_DELIVER : FATE_BROKEN;
    case SIGN_ACCOUNT_MISSING:
        return FATE_RETRY;
    case SIGN_REFUSED:
    case SIGN_KEY_UNUSABLE:
    case SIGN_UNAVAILABLE:
        break;
    }
    return FATE_BROKEN;
}

/* The first one that isn't good, or NULL. */
static const struct trial_signature *bad_signature(const struct trial *t)
{
    for (size_t i = 0; i < trial_schemes(t); i++) {
        if (fate_of_signature(t, &t->signatures[i]) != FATE_DELIVER)
            return &t->signatures[i];
    }
    return NULL;
}

static enum trial_fate fate_of_answers(const struct trial *t)
{
    const struct trial_signature *bad = bad_signature(t);
    return bad != NULL ? fate_of_signature(t, bad) : FATE_DELIVER;
}

enum trial_fate trial_fate(const struct trial *t)
{
    if (t->job.kind == JOB_HANDOFF)
        return FATE_HANDOFF;
    if (t->job.kind == JOB_MALFORMED)
        return FATE_DEAD;
    if (t->unavailable)
        return FATE_SKIP;
    if (!t->has_url)
        return FATE_RETRY;
    if (t->hidden)
        return FATE_DROP;
    enum trial_fate fate = trial_is_answered(t) ? fate_of_answers(t) : FATE_BROKEN;
    if (fate != FATE_DELIVER || !t->looked_up)
        return fate;
    if (t->dns.status != DNS_FOUND)
        return FATE_RETRY;
    return t->dns.count > 0 ? FATE_DELIVER : FATE_DROP;
}

const char *trial_fate_name(enum trial_fate fate)
{
    static const char *const names[FATES] = {"deliver", "hand off", "skip",  "drop",
                                             "retry",   "dead",     "broken"};
    return names[fate];
}

const char *trial_source_name(enum trial_source source)
{
    static const char *const names[TRIAL_SOURCES] = {"push", "pull", "retry", "pair"};
    return names[source];
}

static void put_retry_reason(struct buf *out, const struct trial *t)
{
    if (!t->has_url)
        buf_put_str(out, STR("the inbox is no URL that can be delivered to"));
    else if (trial_is_answered(t) && fate_of_answers(t) == FATE_RETRY)
        buf_printf(out, "there is no account %" PRId64, t->job.account_id);
    else if (t->dns.status == DNS_NO_NAME || t->dns.status == DNS_BAD_NAME)
        buf_put_str(out, STR("the host's name doesn't exist"));
    else
        buf_put_str(out, STR("no name server answers about the host"));
}

static void put_broken_reason(struct buf *out, const struct trial *t)
{
    static const char *const names[] = {"", "RFC 9421 "};
    const struct trial_signature *bad = bad_signature(t);

    if (!trial_is_answered(t) || bad == NULL)
        buf_put_str(out, STR("the signer doesn't answer"));
    else if (bad->answer.status == SIGN_OK)
        buf_printf(out, "the %ssignature of account %" PRId64 " doesn't hold with its public key",
                   names[bad - t->signatures], t->job.account_id);
    else
        buf_printf(out, "account %" PRId64 ": %.*s", t->job.account_id,
                   STR_ARG(bad->answer.reason));
}

void trial_put_reason(struct buf *out, const struct trial *t)
{
    switch (trial_fate(t)) {
    case FATE_HANDOFF:
    case FATE_DEAD:
        buf_put_str(out, str_of(t->job.reason));
        break;
    case FATE_SKIP:
        buf_put_str(out, STR("its host is marked unavailable, so that Ruby skips it as well"));
        break;
    case FATE_DROP:
        buf_printf(out, "%s, so that Ruby drops it as well: see %s",
                   t->hidden ? "a hidden service" : "private addresses only",
                   t->hidden ? "ALLOW_ACCESS_TO_HIDDEN_SERVICE" : "ALLOWED_PRIVATE_ADDRESSES");
        break;
    case FATE_RETRY:
        put_retry_reason(out, t);
        break;
    case FATE_BROKEN:
        put_broken_reason(out, t);
        break;
    case FATE_DELIVER:
    case FATES:
        break;
    }
}
