#include "admin/entrance.h"

/* In a clerk's thread. */
static void run(struct errand *errand, struct desk *desk)
{
    struct entrance *e = (struct entrance *)errand;

    if (e->state == ENTRANCE_ASKING)
        gate_ask(e->gate, desk, &e->caller, &e->entry);
    else
        gate_enter(e->gate, desk, &e->caller, e->wanted, e->state == ENTRANCE_ENTERING_AGAIN,
                   e->touch, &e->entry);
}

static void step(struct errand *errand)
{
    struct entrance *e = (struct entrance *)errand;

    if (e->state == ENTRANCE_ENTERING && e->entry.verdict == GATE_ASK) {
        e->state = ENTRANCE_ASKING;
        if (clerk_submit(e->clerks[CLERK_RECORDS], &e->errand))
            return;
    } else if (e->state == ENTRANCE_ASKING) {
        e->state = ENTRANCE_ENTERING_AGAIN;
        if (clerk_submit(e->clerks[CLERK_STATE], &e->errand))
            return;
    }
    if (e->entry.verdict == GATE_ASK) {
        e->entry.verdict = GATE_OUT;
        e->entry.status = 503;
        e->entry.why = PHRASE_ASK_TOO_MUCH;
    }
    e->done(e);
}

bool entrance_start(struct entrance *e)
{
    e->errand = (struct errand){.run = run, .done = step};
    e->state = ENTRANCE_ENTERING;
    return clerk_submit(e->clerks[CLERK_STATE], &e->errand);
}
