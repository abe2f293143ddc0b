#include "admin/alerter.h"

#include "admin/alert_watch.h"
#include "base/loop.h"

enum alerter_state { ALERTER_RESTING = 0, ALERTER_ASKING, ALERTER_LOOKING, ALERTER_TELLING };

struct alerter {
    struct errand errand; /* first */
    enum alerter_state state;
    struct alert_watch *watch;
    struct clerk *const *clerks;
    struct loop_timer *timer;
};

static void rest(struct alerter *alerter)
{
    alerter->state = ALERTER_RESTING;
    loop_timer_set(alerter->timer, alert_watch_rest_ms(alerter->watch));
}

/* A clerk that has too much to do is asked in the next round. */
static void ask(struct alerter *alerter, enum alerter_state state, enum clerk_name name)
{
    alerter->state = state;
    if (!clerk_submit(alerter->clerks[name], &alerter->errand))
        rest(alerter);
}

static void step(struct alerter *alerter)
{
    switch (alerter->state) {
    case ALERTER_RESTING:
        if (alert_watch_wants_domains(alerter->watch))
            ask(alerter, ALERTER_ASKING, CLERK_RECORDS);
        else
            ask(alerter, ALERTER_LOOKING, CLERK_STATE);
        break;
    case ALERTER_ASKING:
        ask(alerter, ALERTER_LOOKING, CLERK_STATE);
        break;
    case ALERTER_LOOKING:
        if (alert_watch_has_news(alerter->watch))
            ask(alerter, ALERTER_TELLING, CLERK_ALERTS);
        else
            rest(alerter);
        break;
    case ALERTER_TELLING:
        rest(alerter);
        break;
    }
}

/* In a clerk's thread. */
static void run(struct errand *errand, struct desk *desk)
{
    struct alerter *alerter = (struct alerter *)errand;

    switch (alerter->state) {
    case ALERTER_RESTING:
        break;
    case ALERTER_ASKING:
        alert_watch_ask_domains(alerter->watch, desk);
        break;
    case ALERTER_LOOKING:
        alert_watch_look(alerter->watch, desk);
        break;
    case ALERTER_TELLING:
        alert_watch_tell(alerter->watch, desk);
        break;
    }
}

static void on_done(struct errand *errand)
{
    step((struct alerter *)errand);
}

static void on_timer(void *arg)
{
    step(arg);
}

struct alerter *alerter_create(struct event_base *base, const struct config *config,
                               struct clerk *const *clerks)
{
    struct alerter *alerter = mem_alloc(sizeof(*alerter));

    *alerter = (struct alerter){.errand = {.run = run, .done = on_done},
                                .watch = alert_watch_create(config),
                                .clerks = clerks};
    alerter->timer = loop_timer_create(base, on_timer, alerter);
    rest(alerter);
    return alerter;
}
