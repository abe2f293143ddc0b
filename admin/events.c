#include "admin/events.h"

#include <stdlib.h>

#include "admin/api.h"
#include "base/loop.h"

enum { TEXT_MAX_BYTES = 512 * 1024 };

struct stream {
    LIST_ENTRY(stream) link;
    struct events *events;
    struct web_exchange *exchange;
};

struct events {
    struct errand errand; /* first: it is what the clerk gives back */
    struct event_base *base;
    struct clerk *state;
    LIST_HEAD(, stream) streams;
    size_t count;
    struct loop_timer *timer;
    bool asking;
    int64_t silent_ms;
    struct buf text; /* the latest event, whole; the clerk's while `asking` */
};

static void on_gone(void *arg)
{
    struct stream *stream = arg;

    LIST_REMOVE(stream, link);
    stream->events->count--;
    free(stream);
}

static void send_all(struct events *events, struct str text)
{
    struct stream *stream = LIST_FIRST(&events->streams);

    events->silent_ms = 0;
    while (stream != NULL) {
        struct stream *next = LIST_NEXT(stream, link);
        web_stream_send(stream->exchange, text); /* may end it */
        stream = next;
    }
}

/* In the clerk's thread. */
static void ask(struct errand *errand, struct desk *desk)
{
    struct events *events = (struct events *)errand;
    const struct api_request request = {
        .method = STR("GET"), .path = STR("/overview"), .who = "events"};
    struct api_reply reply = {0};

    buf_reset(&events->text);
    api_answer(desk, &request, &reply);
    char *text = reply.body != NULL ? json_dumps(reply.body, JSON_COMPACT) : NULL;
    /* A problem is worth knowing, too: the page says so. */
    const char *name = reply.status == 200 ? "overview" : "problem";
    if (text != NULL)
        buf_printf(&events->text, "event: %s\ndata: %s\n\n", name, text);
    free(text);
    json_decref(reply.body);
}

static void on_answer(struct errand *errand)
{
    struct events *events = (struct events *)errand;

    events->asking = false;
    if (events->text.len > 0 && !events->text.overflow)
        send_all(events, buf_str(&events->text));
}

static void on_turn(void *arg)
{
    struct events *events = arg;

    if (events->count == 0)
        return;
    loop_timer_set(events->timer, EVENTS_EVERY_MS);
    events->silent_ms += EVENTS_EVERY_MS;
    if (!events->asking)
        events->asking = clerk_submit(events->state, &events->errand);
    if (events->silent_ms >= EVENTS_PING_MS)
        send_all(events, STR(": ping\n\n"));
}

bool events_add(struct events *events, struct web_exchange *exchange)
{
    if (events->count >= EVENTS_MAX)
        return false;
    struct stream *stream = mem_alloc(sizeof(*stream));
    *stream = (struct stream){.events = events, .exchange = exchange};
    LIST_INSERT_HEAD(&events->streams, stream, link);
    events->count++;
    if (web_stream(exchange, on_gone, stream))
        web_stream_send(exchange, STR("retry: 2000\n\n"));
    loop_timer_set(events->timer, 0); /* who comes need not wait for the next turn */
    return true;
}

struct events *events_create(struct event_base *base, struct clerk *state)
{
    struct events *events = mem_alloc(sizeof(*events));

    events->errand = (struct errand){.run = ask, .done = on_answer};
    events->base = base;
    events->state = state;
    events->timer = loop_timer_create(base, on_turn, events);
    LIST_INIT(&events->streams);
    buf_init(&events->text, TEXT_MAX_BYTES);
    return events;
}

void events_destroy(struct events *events)
{
    if (events == NULL)
        return;
    loop_timer_destroy(events->timer);
    buf_clear(&events->text);
    free(events);
}
