#include "worker/knock.h"

static bool is_rejection(unsigned status)
{
    return status == 400 || status == 401;
}

void knock_begin(struct knocking *knocking, enum knock knock)
{
    bool rfc9421 = knock == KNOCK_RFC9421 || knock == KNOCK_RFC9421_FIRST;

    *knocking = (struct knocking){
        .scheme = rfc9421 ? SCHEME_RFC9421 : SCHEME_CAVAGE,
        .may_again = knock == KNOCK_CAVAGE_FIRST || knock == KNOCK_RFC9421_FIRST,
    };
}

bool knock_again(struct knocking *knocking, unsigned status)
{
    if (!knocking->may_again || !is_rejection(status))
        return false;
    knocking->may_again = false;
    knocking->first_status = status;
    knocking->scheme = knocking->scheme == SCHEME_CAVAGE ? SCHEME_RFC9421 : SCHEME_CAVAGE;
    return true;
}

unsigned knock_give_up(struct knocking *knocking)
{
    unsigned status = knocking->first_status;

    knocking->first_status = 0;
    return status;
}

enum learnt knock_learnt(const struct knocking *knocking, unsigned status)
{
    if (knocking->first_status == 0)
        return LEARNT_NOTHING;
    if (is_rejection(status))
        return LEARNT_NEITHER;
    if (status < 200 || status > 299)
        return LEARNT_NOTHING;
    return knocking->scheme == SCHEME_RFC9421 ? LEARNT_RFC9421 : LEARNT_CAVAGE;
}
