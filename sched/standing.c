#include "sched/standing.h"

/* What somebody ordered, or may have. */
static enum phrase order_of(const struct standing *s)
{
    if (s->draining)
        return PHRASE_MACHINE_DRAINING;
    if (s->quiet)
        return PHRASE_MACHINE_QUIET;
    if (!s->policies_known)
        return PHRASE_MACHINE_POLICIES;
    if (s->fleet_paused)
        return PHRASE_MACHINE_FLEET_PAUSED;
    return s->paused ? PHRASE_MACHINE_PAUSED : PHRASE_NONE;
}

bool standing_is_still(const struct standing *s)
{
    return order_of(s) != PHRASE_NONE || !s->fresh || s->suspicious;
}

static void say(struct said *out, enum phrase phrase, struct says says)
{
    said_add(out, "\n", phrase, says);
}

static void say_stillness(const struct standing *s, struct said *out)
{
    int64_t age_s = s->beat_age_ms / 1000;

    if (order_of(s) != PHRASE_NONE)
        say(out, order_of(s), SAYS_NOTHING);
    else if (!s->fresh)
        say(out, PHRASE_MACHINE_BEAT, SAYS(SAY_NUMBER("age_s", age_s)));
    else
        say(out, s->standing_by ? PHRASE_MACHINE_STANDBY : PHRASE_MACHINE_SUSPICION, SAYS_NOTHING);
}

/* Why there is no room for more. */
static void say_fullness(const struct standing *s, struct said *out)
{
    if (s->waiting >= s->lookahead)
        say(out, PHRASE_MACHINE_FULL,
            SAYS(SAY_NUMBER("jobs", s->waiting), SAY_NUMBER("most", s->lookahead)));
    else if (s->bytes >= s->lookahead_bytes)
        say(out, PHRASE_MACHINE_FULL_BYTES,
            SAYS(SAY_NUMBER("held_bytes", s->bytes), SAY_NUMBER("most_bytes", s->lookahead_bytes)));
    else if (s->leaves)
        say(out, PHRASE_MACHINE_LATE, SAYS(SAY_NUMBER("lag_ms", s->lag_ms)));
    else
        say(out, PHRASE_MACHINE_ENOUGH, SAYS_NOTHING);
}

bool standing_say(const struct standing *s, struct said *out)
{
    if (standing_is_still(s))
        say_stillness(s, out);
    else if (!s->has_room)
        say_fullness(s, out);
    else if (s->rate_used)
        say(out, PHRASE_MACHINE_CLAIM_RATE, SAYS(SAY_NUMBER("jobs", s->claim_rate)));
    else
        return false;
    return true;
}

void standing_say_handoff(const struct standing *s, struct said *out)
{
    if (s->unserved_handoff != NULL)
        say(out, PHRASE_MACHINE_HANDOFF, SAYS(SAY_TEXT("queue", s->unserved_handoff)));
}
