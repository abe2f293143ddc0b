#include "worker/rehearsal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/proxy.h"
#include "sig/digest.h"
#include "sig/proof.h"
#include "worker/address.h"
#include "worker/own_followers.h"
#include "worker/own_signer.h"
#include "worker/resolve.h"

enum { LOOKUPS_MS = 90000, LOOKUPS_PER_S = 200, SIGNER_MS = 30000, ENOUGH_TO_JUDGE = 4 };

void rehearsal_problem(struct rehearsal *r, const char *subject, const char *format, ...)
{
    va_list args;

    if (r->problem_count == REHEARSAL_MAX_PROBLEMS)
        return;
    struct problem *problem = &r->problems[r->problem_count++];
    problem->subject = subject;
    va_start(args, format);
    vsnprintf(problem->text, sizeof(problem->text), format, args);
    va_end(args);
}

size_t rehearsal_count(const struct rehearsal *r, enum trial_fate fate)
{
    size_t count = 0;

    for (size_t i = 0; i < r->sample->count; i++)
        count += trial_fate(&r->sample->trials[i]) == fate;
    return count;
}

/* --- is the host available? --- */

static void on_unavailable(void *arg, PGresult *result)
{
    struct sample *sample = arg;

    for (int row = 0; row < PQntuples(result); row++) {
        for (size_t i = 0; i < sample->count; i++) {
            struct trial *trial = &sample->trials[i];
            if (trial->tracker_host != NULL && !trial->job.bypass_availability &&
                strcmp(trial->tracker_host, PQgetvalue(result, row, 0)) == 0)
                trial->unavailable = true;
        }
    }
}

static void ask_availability(struct rehearsal *r)
{
    struct err err;
    struct buf hosts;

    buf_init(&hosts, SIZE_MAX);
    buf_put_char(&hosts, '[');
    for (size_t i = 0; i < r->sample->count; i++) {
        const struct trial *trial = &r->sample->trials[i];
        if (trial->tracker_host == NULL)
            continue;
        if (hosts.len > 1)
            buf_put_char(&hosts, ',');
        json_put_string(&hosts, str_of(trial->tracker_host));
    }
    buf_put_char(&hosts, ']');
    const struct str parameters[] = {buf_str(&hosts)};
    if (!session_query(r->session, r->postgres,
                       "SELECT domain FROM unavailable_domains WHERE domain = ANY (ARRAY("
                       "SELECT jsonb_array_elements_text($1::jsonb)))",
                       1, parameters, on_unavailable, r->sample, &err))
        rehearsal_problem(r, "PostgreSQL", "%s: fedpush check", err.message);
    buf_clear(&hosts);
}

/* --- where is it? --- */

struct looking {
    struct session *session;
    const struct address_policy *policy;
    size_t open;
};

struct look {
    struct looking *looking;
    struct trial *trial;
    struct resolve_wait *wait;
};

static void on_addresses(void *arg, const struct dns_result *result)
{
    struct look *look = arg;
    struct trial *trial = look->trial;
    size_t allowed = 0;

    look->wait = NULL;
    trial->looked_up = true;
    trial->dns = *result;
    for (size_t i = 0; i < result->count; i++) {
        if (address_is_allowed(look->looking->policy, &result->addresses[i]))
            trial->dns.addresses[allowed++] = result->addresses[i];
    }
    trial->dns.count = allowed;
    trial->refused = result->count - allowed;
    look->looking->session->done = --look->looking->open == 0;
}

static void judge_resolver(struct rehearsal *r)
{
    size_t asked = 0;
    size_t unanswered = 0;

    for (size_t i = 0; i < r->sample->count; i++) {
        const struct trial *trial = &r->sample->trials[i];
        asked += trial->looked_up;
        unanswered += trial->looked_up &&
                      (trial->dns.status == DNS_NO_ANSWER || trial->dns.status == DNS_UNSERVED);
    }
    if (asked >= ENOUGH_TO_JUDGE ? unanswered * 2 > asked : unanswered == asked && asked > 0)
        rehearsal_problem(r, "DNS",
                          "no answer about %zu of %zu hosts: check /etc/resolv.conf, or set "
                          "FEDPUSH_RESOLVERS",
                          unanswered, asked);
}

/* Asks about all hosts that are connected to directly. */
static void look_up(struct rehearsal *r, struct looking *looking, const struct proxies *proxies)
{
    struct sample *sample = r->sample;
    struct look *looks = mem_alloc((sample->count + 1) * sizeof(*looks));
    const struct resolver_options options = {.per_s = LOOKUPS_PER_S,
                                             .own_name = str_of(r->session->config->web_domain)};
    struct resolver *resolver =
        resolver_create(r->session->base, &r->session->clock, r->session->dns, &options);

    for (size_t i = 0; i < sample->count; i++) {
        struct trial *trial = &sample->trials[i];
        if (!trial_is_sent(trial) || proxy_for(proxies, trial->url.host) != NULL)
            continue;
        looks[i] = (struct look){looking, trial, NULL};
        looks[i].wait = resolver_ask(resolver, trial->url.host, on_addresses, &looks[i]);
        looking->open++;
    }
    r->session->done = looking->open == 0;
    session_wait(r->session, LOOKUPS_MS);
    for (size_t i = 0; i < sample->count; i++) {
        if (looks[i].wait == NULL)
            continue;
        resolver_cancel(looks[i].wait);
        looks[i].trial->looked_up = true;
        looks[i].trial->dns.status = DNS_NO_ANSWER;
    }
    resolver_destroy(resolver);
    free(looks);
}

static void find_hidden(struct rehearsal *r)
{
    for (size_t i = 0; i < r->sample->count; i++) {
        struct trial *trial = &r->sample->trials[i];
        trial->hidden = trial->has_url && !r->session->config->allow_hidden_service &&
                        proxy_host_is_hidden(trial->url.host);
    }
}

static void resolve(struct rehearsal *r)
{
    const struct config *config = r->session->config;
    struct address_policy *policy = mem_alloc(sizeof(*policy));
    struct looking looking = {r->session, policy, 0};
    struct proxies proxies = {0};
    struct err err;

    find_hidden(r);
    if (address_policy_init(policy, str_of(config->allowed_private_addresses), &err) != FP_OK ||
        proxies_init(&proxies, config, &err) != FP_OK) {
        rehearsal_problem(r, "config", "%s", err.message);
    } else {
        policy->unwrap_compatible = address_unwraps_compatible(&config->mastodon);
        look_up(r, &looking, &proxies);
        judge_resolver(r);
    }
    proxies_clear(&proxies);
    free(policy);
}

/* --- does the key sign? --- */

struct signing {
    struct rehearsal *rehearsal;
    bool ready;
    size_t open;
    char ended[200]; /* why no answer comes any more, or "" */
};

static void on_ready(void *arg)
{
    struct signing *signing = arg;
    signing->ready = true;
    signing->rehearsal->session->done = true;
}

/* Two ids a trial: one a scheme. */
static void on_signed(void *arg, const struct message_signed *answer)
{
    struct signing *signing = arg;
    struct sample *sample = signing->rehearsal->sample;

    if (answer->id < 2 || answer->id / 2 > sample->count || signing->open == 0)
        return;
    trial_answer(&sample->trials[answer->id / 2 - 1], (enum sign_scheme)(answer->id % 2), answer);
    signing->rehearsal->session->done = --signing->open == 0;
}

static void on_ended(void *arg, const char *reason)
{
    struct signing *signing = arg;

    snprintf(signing->ended, sizeof(signing->ended), "%s", reason);
    signing->rehearsal->session->done = true;
}

static void ask_for(struct signing *signing, struct own_signer *signer, size_t i)
{
    struct trial *trial = &signing->rehearsal->sample->trials[i];

    trial->asked = trial_is_sent(trial);
    trial->both = signing->rehearsal->session->config->double_knock;
    for (size_t scheme = 0; scheme < trial_schemes(trial); scheme++) {
        const struct own_signer_request request = {.id = 2 * (i + 1) + scheme,
                                                   .scheme = (enum sign_scheme)scheme,
                                                   .account_id = trial->job.account_id,
                                                   .url = &trial->url,
                                                   .body = buf_str(&trial->body),
                                                   .synchronization =
                                                       str_of(trial->synchronization)};
        own_signer_ask(signer, &request);
        signing->open++;
    }
}

static void ask_signer(struct signing *signing, struct own_signer *signer)
{
    struct session *session = signing->rehearsal->session;

    session->done = false;
    if (session_wait(session, SIGNER_MS) && signing->ready) {
        for (size_t i = 0; i < signing->rehearsal->sample->count; i++)
            ask_for(signing, signer, i);
        session->done = signing->open == 0;
        session_wait(session, SIGNER_MS);
    }
}

static void sign(struct rehearsal *r)
{
    struct signing signing = {.rehearsal = r};
    const struct own_signer_handlers handlers = {on_ready, on_signed, on_ended, &signing};
    struct err err;
    struct own_signer *signer =
        own_signer_start(r->session->base, &r->session->clock, r->session->config, &handlers, &err);

    if (signer == NULL) {
        rehearsal_problem(r, "signer", "%s", err.message);
        return;
    }
    ask_signer(&signing, signer);
    own_signer_destroy(signer);
    if (!signing.ready || signing.open > 0)
        rehearsal_problem(r, "signer", "it doesn't answer (%s): run fedpush check",
                          signing.ended[0] != '\0' ? signing.ended : "within 30 s");
}

/* --- does the signature hold? --- */

static bool proves(const struct rehearsal *r, const struct trial *trial, struct str public_pem)
{
    const struct message_signed *answer = &trial->signatures[SCHEME_CAVAGE].answer;
    struct str synchronization = str_of(trial->synchronization);
    struct cavage_style style =
        cavage_style_for(&r->session->config->mastodon, SIGN_POST, synchronization.len > 0);
    struct cavage_request request = {.method = SIGN_POST,
                                     .target = trial->url.target,
                                     .host = trial->url.authority,
                                     .date = answer->date,
                                     .digest = answer->digest,
                                     .content_type = STR("application/activity+json"),
                                     .synchronization = synchronization};
    unsigned char sha256[BODY_DIGEST_BYTES];
    char digest[DIGEST_HEADER_BYTES];

    digest_sha256(buf_str(&trial->body), sha256);
    digest_header(sha256, digest);
    return str_equal(answer->digest, str_of(digest)) &&
           proof_holds(public_pem, &style, &request, answer->signature);
}

static bool proves_rfc9421(const struct trial *trial, struct str public_pem)
{
    const struct message_signed *answer = &trial->signatures[SCHEME_RFC9421].answer;
    struct rfc9421_request request = {.method = SIGN_POST,
                                      .origin = trial->url.origin,
                                      .target = trial->url.target,
                                      .content_digest = answer->digest};
    unsigned char sha256[BODY_DIGEST_BYTES];
    char digest[DIGEST_HEADER_BYTES];

    digest_sha256(buf_str(&trial->body), sha256);
    digest_content_header(sha256, digest);
    return str_equal(answer->digest, str_of(digest)) &&
           proof_holds_rfc9421(public_pem, &request, answer->signature_input, answer->signature);
}

static void prove_with(const struct rehearsal *r, struct trial *trial, struct str public_pem)
{
    struct trial_signature *cavage = &trial->signatures[SCHEME_CAVAGE];
    struct trial_signature *rfc9421 = &trial->signatures[SCHEME_RFC9421];

    trial->has_public_key = true;
    cavage->holds = cavage->holds || proves(r, trial, public_pem);
    rfc9421->holds = rfc9421->holds || (rfc9421->answered && proves_rfc9421(trial, public_pem));
}

/* An account has several public keys where its keys have moved to `keypairs`. */
static void on_public_keys(void *arg, PGresult *result)
{
    struct rehearsal *r = arg;

    for (int row = 0; row < PQntuples(result); row++) {
        int64_t id;
        if (!str_to_i64(str_of(PQgetvalue(result, row, 0)), INT64_MIN, INT64_MAX, &id))
            continue;
        for (size_t i = 0; i < r->sample->count; i++) {
            struct trial *trial = &r->sample->trials[i];
            if (trial_is_answered(trial) && trial->job.account_id == id)
                prove_with(r, trial, str_of(PQgetvalue(result, row, 1)));
        }
    }
}

static void on_row(void *arg, PGresult *result)
{
    *(bool *)arg = PQntuples(result) > 0;
}

static void prove(struct rehearsal *r)
{
    bool moved = false;
    struct err err;
    struct buf ids;

    buf_init(&ids, SIZE_MAX);
    buf_put_char(&ids, '[');
    for (size_t i = 0; i < r->sample->count; i++) {
        if (trial_is_answered(&r->sample->trials[i]))
            buf_printf(&ids, "%s%" PRId64, ids.len > 1 ? "," : "",
                       r->sample->trials[i].job.account_id);
    }
    buf_put_char(&ids, ']');
    const struct str parameters[] = {buf_str(&ids)};
    bool good =
        session_query(r->session, r->postgres,
                      "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('public.keypairs')"
                      " AND attname = 'local_fragment' AND NOT attisdropped",
                      0, NULL, on_row, &moved, &err) &&
        session_query(
            r->session, r->postgres,
            moved ? "WITH asked AS (SELECT jsonb_array_elements_text($1::jsonb)::bigint AS id)"
                    " SELECT id, public_key FROM accounts WHERE id IN (SELECT id FROM asked)"
                    " UNION ALL SELECT account_id, public_key FROM keypairs WHERE local_fragment"
                    " IS NOT NULL AND account_id IN (SELECT id FROM asked)"
                  : "SELECT id, public_key FROM accounts WHERE id = ANY (ARRAY("
                    "SELECT jsonb_array_elements_text($1::jsonb)::bigint))",
            1, parameters, on_public_keys, r, &err);
    if (!good)
        rehearsal_problem(r, "public keys", "%s: signatures were made, and not compared",
                          err.message);
    buf_clear(&ids);
}

/* --- all of it --- */

/* An account is named once. */
static bool is_first_of_account(const struct sample *sample, size_t i)
{
    for (size_t before = 0; before < i; before++) {
        const struct trial *trial = &sample->trials[before];
        if (trial_fate(trial) == FATE_BROKEN && trial_is_answered(trial) &&
            trial->job.account_id == sample->trials[i].job.account_id)
            return false;
    }
    return true;
}

static void find_broken(struct rehearsal *r)
{
    struct buf reason;
    size_t more = 0;

    buf_init(&reason, 400);
    for (size_t i = 0; i < r->sample->count; i++) {
        const struct trial *trial = &r->sample->trials[i];
        if (trial_fate(trial) != FATE_BROKEN || !trial_is_answered(trial) ||
            !is_first_of_account(r->sample, i))
            continue;
        if (r->problem_count + 1 >= REHEARSAL_MAX_PROBLEMS) {
            more++;
            continue;
        }
        buf_reset(&reason);
        trial_put_reason(&reason, trial);
        rehearsal_problem(r, "key",
                          "%s: look at its row in accounts (tootctl accounts rotate makes it new "
                          "keys), or at the signer's rights (fedpush check)",
                          buf_cstr(&reason));
    }
    if (more > 0)
        rehearsal_problem(r, "key", "%zu more senders have this or another problem", more);
    buf_clear(&reason);
}

static void count_followers(struct rehearsal *r)
{
    struct err err;

    if (r->session->config->followers_synchronization_off)
        return;
    if (!own_followers_count(r->session, r->sample, &err))
        rehearsal_problem(r, "followers",
                          "%s: posts for followers only would wait for "
                          "Collection-Synchronization; see fedpush check",
                          err.message);
}

void rehearsal_run(struct rehearsal *r)
{
    if (r->postgres != NULL)
        ask_availability(r);
    resolve(r);
    if (r->postgres != NULL)
        count_followers(r);
    sign(r);
    if (r->postgres != NULL)
        prove(r);
    find_broken(r);
}
