#include "admin/metrics_page.h"

#include <stdlib.h>

#include "admin/figures.h"
#include "admin/health.h"
#include "admin/prometheus.h"
#include "base/loop.h"

enum {
    FLEET_KEPT_MS = 2000,
    DOMAINS_KEPT_MS = 15000,
    DOMAINS_WAIT_MS = 3000, /* Prometheus waits for ten seconds */
    DOMAINS_OLD_MS = 120000,
    MAX_WAITING = 32,
    FLEET_MAX_BYTES = 256 * 1024,
    DOMAINS_MAX_BYTES = 1024 * 1024,
};

struct part {
    struct errand errand; /* first */
    struct metrics_page *page;
    struct clerk *clerk;
    int64_t kept_ms;
    bool asking;
    int64_t at_ms;       /* monotonic, of `text`; 0: never */
    struct buf text;     /* the loop's */
    struct buf incoming; /* the clerk's while `asking` */
};

struct metrics_page {
    struct part fleet;
    struct part domains;
    struct clock clock;
    struct buf prefix; /* of this machine's identities */
    struct loop_timer *timer;
    bool impatient; /* domains have had their time */
    struct web_exchange *waiting[MAX_WAITING];
    size_t waiting_count;
};

/* ---- in the clerks' threads ---- */

static void ask_fleet(struct errand *errand, struct desk *desk)
{
    struct part *part = (struct part *)errand;
    struct err err;
    json_t *overview = figures_overview(desk, &err);

    prometheus_put_overview(&part->incoming, overview, buf_str(&part->page->prefix));
    json_decref(overview);
}

/* PostgreSQL is away when nothing comes of it: `fedpush_postgres_up` and the log tell. */
static void ask_domains(struct errand *errand, struct desk *desk)
{
    struct part *part = (struct part *)errand;
    struct figures_filter filter = {
        .sort = STR("delivered"), .order = STR("desc"), .limit = FIGURES_MAX_LIMIT};
    struct prometheus_domains domains;
    json_int_t matched = 0;
    struct err err;
    bool good = true;

    prometheus_domains_init(&domains);
    do {
        json_t *page = figures_domains(desk, &filter, &err);
        good = page != NULL;
        prometheus_domains_add(&domains, page);
        matched = json_integer_value(json_object_get(page, "matched"));
        json_decref(page);
        filter.offset += filter.limit;
    } while (good && filter.offset < matched);
    if (good)
        prometheus_put_domains(&part->incoming, &domains);
    prometheus_domains_clear(&domains);
}

/* ---- on the loop ---- */

static void reply(struct metrics_page *page, struct web_exchange *exchange, bool with_domains)
{
    struct buf text;

    buf_init(&text, FLEET_MAX_BYTES + DOMAINS_MAX_BYTES);
    buf_put_str(&text, buf_str(&page->fleet.text));
    if (with_domains)
        buf_put_str(&text, buf_str(&page->domains.text));
    const struct web_reply answer = {.status = 200,
                                     .content_type =
                                         STR("text/plain; version=0.0.4; charset=utf-8"),
                                     .body = buf_str(&text)};
    web_reply(exchange, &answer);
    buf_clear(&text);
}

static bool is_younger(const struct part *part, int64_t age_ms)
{
    return part->at_ms != 0 && clock_mono_ms(&part->page->clock) - part->at_ms < age_ms;
}

/* False: its clerk has too much to do. */
static bool renew(struct part *part)
{
    if (part->asking || is_younger(part, part->kept_ms))
        return true;
    buf_reset(&part->incoming);
    part->asking = clerk_submit(part->clerk, &part->errand);
    return part->asking;
}

static void answer_all(struct metrics_page *page)
{
    bool with_domains = is_younger(&page->domains, DOMAINS_OLD_MS);

    loop_timer_clear(page->timer);
    page->impatient = false;
    while (page->waiting_count > 0)
        reply(page, page->waiting[--page->waiting_count], with_domains);
}

static void advance(struct metrics_page *page)
{
    if (page->waiting_count == 0)
        return;
    bool busy = !renew(&page->fleet);
    if (!renew(&page->domains))
        page->impatient = true;
    while (busy && page->waiting_count > 0)
        web_problem(page->waiting[--page->waiting_count], 503, PHRASE_ASK_TOO_MUCH,
                    STR("Retry-After: 5\r\n"));
    if (!page->fleet.asking && (!page->domains.asking || page->impatient))
        answer_all(page);
}

static void on_done(struct errand *errand)
{
    struct part *part = (struct part *)errand;
    struct buf done = part->incoming;

    part->asking = false;
    part->at_ms = clock_mono_ms(&part->page->clock);
    part->incoming = part->text;
    part->text = done;
    if (part->text.overflow)
        buf_reset(&part->text);
    advance(part->page);
}

static void on_timer(void *arg)
{
    struct metrics_page *page = arg;

    page->impatient = true;
    advance(page);
}

bool metrics_page_add(struct metrics_page *page, struct web_exchange *exchange)
{
    if (page->waiting_count == MAX_WAITING)
        return false;
    if (page->waiting_count == 0) {
        page->impatient = false; /* those before may all have been refused */
        loop_timer_set(page->timer, DOMAINS_WAIT_MS);
    }
    page->waiting[page->waiting_count++] = exchange;
    advance(page);
    return true;
}

static void part_init(struct part *part, struct metrics_page *page, struct clerk *clerk,
                      void (*run)(struct errand *errand, struct desk *desk), int64_t kept_ms,
                      size_t max_bytes)
{
    *part = (struct part){
        .errand = {.run = run, .done = on_done}, .page = page, .clerk = clerk, .kept_ms = kept_ms};
    buf_init(&part->text, max_bytes);
    buf_init(&part->incoming, max_bytes);
}

struct metrics_page *metrics_page_create(struct event_base *base, struct clerk *state,
                                         struct clerk *records, int supervisor_pid)
{
    struct metrics_page *page = mem_alloc(sizeof(*page));

    page->clock = clock_system();
    page->timer = loop_timer_create(base, on_timer, page);
    buf_init(&page->prefix, 128);
    health_put_prefix(&page->prefix, supervisor_pid);
    part_init(&page->fleet, page, state, ask_fleet, FLEET_KEPT_MS, FLEET_MAX_BYTES);
    part_init(&page->domains, page, records, ask_domains, DOMAINS_KEPT_MS, DOMAINS_MAX_BYTES);
    return page;
}
