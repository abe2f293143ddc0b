#include "sched/ahead.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sched/pair.h"
#include "sched/retry.h"

enum {
    MOST_NAMED = 256,
    AHEAD_MS = 1500, /* the next call comes in a second */
};

/* An entry that was named; its texts are set once it is to stay. */
struct ahead_entry {
    struct claim *claim;
    size_t bytes; /* with its body */
    char *which;
    char *where;
    char *booked; /* the key of its host */
};

struct ahead_list {
    unsigned count;
    struct ahead_entry entries[MOST_NAMED];
};

struct ahead {
    struct ahead_options o;
    struct json *json;
    struct ahead_list *named[2]; /* of `schedule`, of `retry`; NULL: none */
};

/* `list`: those that stay. */
struct ahead_call {
    struct ahead *ahead;
    enum claim_origin origin;
    char until[32];
    struct ahead_list *list;
};

static void entry_clear(struct ahead_entry *entry)
{
    claim_destroy(entry->claim);
    free(entry->which);
    free(entry->where);
    free(entry->booked);
}

static void list_free(struct ahead_list *list)
{
    for (unsigned i = 0; list != NULL && i < list->count; i++)
        entry_clear(&list->entries[i]);
    free(list);
}

struct ahead *ahead_create(const struct ahead_options *options)
{
    struct ahead *ahead = mem_alloc(sizeof(*ahead));

    ahead->o = *options;
    ahead->json = json_create();
    return ahead;
}

void ahead_destroy(struct ahead *ahead)
{
    if (ahead == NULL)
        return;
    list_free(ahead->named[0]);
    list_free(ahead->named[1]);
    json_destroy(ahead->json);
    free(ahead);
}

static struct ahead_list **named_of(struct ahead *ahead, enum claim_origin origin)
{
    return &ahead->named[origin == ORIGIN_RETRY];
}

static int64_t due_ms_of(const struct claim *claim)
{
    double due_s = strtod(claim->score, NULL);
    return due_s > 0 && due_s < 1e11 ? (int64_t)(due_s * 1000) : 0;
}

static int64_t until_ms_of(const struct ahead *ahead, struct claim *claim)
{
    return ahead->o.parks_until_ms(ahead->o.arg, claim, due_ms_of(claim));
}

/* --- what is named --- */

/* As admit_understand would, but whatever isn't plainly a delivery is left to that. */
static bool understand(struct ahead *ahead, struct claim *claim)
{
    struct err err;

    job_parse(&claim->job, ahead->json, (struct str){claim->payload, claim->payload_bytes});
    claim->parsed = true;
    claim->low = claim->job.low_priority;
    if (claim->job.kind != JOB_DELIVERY ||
        url_parse(&claim->url, claim->job.inbox_url, &err) != FP_OK)
        return false;
    claim->has_url = true;
    claim->tracker_host = url_tracker_host(claim->job.inbox_url);
    claim->pair = claim_pair_of(claim);
    return true;
}

static void name(struct ahead *ahead, struct ahead_list *list, enum claim_origin origin,
                 redisReply *const *words)
{
    if (words[0]->type != REDIS_REPLY_STRING || words[1]->type != REDIS_REPLY_INTEGER ||
        words[2]->type != REDIS_REPLY_STRING || list->count == MOST_NAMED ||
        words[1]->integer > JOB_MAX_PAYLOAD_BYTES)
        return;
    struct claim *claim =
        claim_create(0, origin, (struct str){words[0]->str, (size_t)words[0]->len},
                     (struct str){words[2]->str, (size_t)words[2]->len});
    if (understand(ahead, claim) && until_ms_of(ahead, claim) != 0)
        list->entries[list->count++] =
            (struct ahead_entry){.claim = claim, .bytes = (size_t)words[1]->integer};
    else
        claim_destroy(claim);
}

static void take_names(struct ahead *ahead, enum claim_origin origin, const redisReply *names)
{
    struct ahead_list **named = named_of(ahead, origin);

    list_free(*named);
    *named = NULL;
    if (names->type != REDIS_REPLY_ARRAY || names->elements < 3)
        return;
    *named = mem_alloc(sizeof(**named));
    for (size_t i = 0; i + 3 <= names->elements; i += 3)
        name(ahead, *named, origin, names->element + i);
}

/* --- what stays --- */

static bool stays(struct ahead *ahead, struct ahead_entry *entry, unsigned index)
{
    struct claim *claim = entry->claim;
    int64_t until_ms = until_ms_of(ahead, claim);
    char score[32];
    char pair[PAIR_TEXT] = "0";

    if (until_ms == 0)
        return false;
    retry_score(score, until_ms * 1000);
    entry->which = mem_printf("%s %zu", claim->score, entry->bytes);
    if (claim->pair != 0)
        pair_text(pair, claim->pair);
    entry->where = mem_printf("%s %u 0 %s %" PRId64 " %.*s", score, index, pair,
                              claim_created_us(claim), STR_ARG(claim->url.authority));
    entry->booked = keys_booked(ahead->o.keys, claim->url.authority);
    return true;
}

struct ahead_call *ahead_begin(struct ahead *ahead, enum claim_origin origin, unsigned keys)
{
    struct ahead_list **named = named_of(ahead, origin);
    struct ahead_list *list = *named;
    unsigned kept = 0;

    *named = NULL;
    if (!ahead->o.wanted(ahead->o.arg)) {
        list_free(list);
        return NULL;
    }
    for (unsigned i = 0; list != NULL && i < list->count; i++) {
        struct ahead_entry *entry = &list->entries[i];
        if (stays(ahead, entry, keys + 1 + kept))
            list->entries[kept++] = *entry;
        else
            entry_clear(entry);
    }
    if (list != NULL)
        list->count = kept;
    struct ahead_call *call = mem_alloc(sizeof(*call));
    *call = (struct ahead_call){.ahead = ahead, .origin = origin, .list = list};
    retry_score(call->until, clock_wall_us(ahead->o.clock) + (int64_t)AHEAD_MS * 1000);
    return call;
}

void ahead_put_keys(const struct ahead_call *call, struct script_call *script)
{
    for (unsigned i = 0; call != NULL && call->list != NULL && i < call->list->count; i++)
        script_key(script, call->list->entries[i].booked);
}

void ahead_put_args(const struct ahead_call *call, struct script_call *script)
{
    if (call == NULL)
        return;
    script_arg_number(script, MOST_NAMED);
    script_arg(script, str_of(call->until));
    for (unsigned i = 0; call->list != NULL && i < call->list->count; i++) {
        script_arg(script, str_of(call->list->entries[i].which));
        script_arg(script, str_of(call->list->entries[i].where));
    }
}

static unsigned take_parked(const struct ahead_call *call, const redisReply *stayed)
{
    const struct ahead *ahead = call->ahead;
    unsigned count = 0;

    for (size_t i = 0; stayed->type == REDIS_REPLY_ARRAY && i + 2 <= stayed->elements; i += 2) {
        const redisReply *which = stayed->element[i];
        const redisReply *back_ms = stayed->element[i + 1];
        if (which->type != REDIS_REPLY_INTEGER || back_ms->type != REDIS_REPLY_INTEGER ||
            call->list == NULL || which->integer < 1 || which->integer > call->list->count)
            continue;
        ahead->o.parked(ahead->o.arg, call->list->entries[which->integer - 1].claim,
                        back_ms->integer);
        count++;
    }
    return count;
}

/* Behind the claims stand what stays and the names. */
unsigned ahead_answered(struct ahead_call *call, const redisReply *reply)
{
    unsigned count = 0;

    if (call == NULL)
        return 0;
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements > 2) {
        count = take_parked(call, reply->element[reply->elements - 2]);
        take_names(call->ahead, call->origin, reply->element[reply->elements - 1]);
    }
    list_free(call->list);
    free(call);
    return count;
}
