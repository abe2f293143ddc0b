#include "admin/events.h"

#include <stdlib.h>

#include "admin/api.h"
#include "base/loop.h"

enum { TEXT_MAX_BYTES = 512 * 1024 };

struct stream {
    struct entrance entrance; /* first */
    LIST_ENTRY(stream) link;
    struct events *events;
    struct web_exchange *exchange; /* NULL: the other side has left */
    bool open;                     /* it was let in and is a stream */
    bool entering;                 /* a clerk has the entrance */
    int64_t entered_ms;            /* in turns of EVENTS_EVERY_MS since it was let in */
};

struct events {
    struct errand errand; /* first */
    struct gate *gate;
    struct clerk *const *clerks;
    LIST_HEAD(, stream) streams;
    size_t count;
    struct loop_timer *timer;
    bool asking;
    int64_t silent_ms;
    struct buf text; /* the latest event, whole; the clerk's while `asking` */
};

/* ---- the streams ---- */

static void stream_free(struct stream *stream)
{
    LIST_REMOVE(stream, link);
    stream->events->count--;
    free(stream);
}

static void on_gone(void *arg)
{
    struct stream *stream = arg;

    stream->exchange = NULL;
    if (!stream->entering) /* else when the clerk gives it back */
        stream_free(stream);
}

static void open_stream(struct stream *stream)
{
    struct events *events = stream->events;

    stream->open = true;
    if (!web_stream(stream->exchange, on_gone, stream))
        return;
    web_stream_send(stream->exchange, STR("retry: 2000\n\n"));
    loop_timer_set(events->timer, 0); /* who comes need not wait for the next turn */
}

static void on_entered(struct entrance *entrance)
{
    struct stream *stream = (struct stream *)entrance;
    const struct entry *entry = &entrance->entry;

    stream->entering = false;
    stream->entered_ms = 0;
    if (stream->exchange == NULL) {
        stream_free(stream);
    } else if (entry->verdict == GATE_IN) {
        if (!stream->open)
            open_stream(stream);
    } else if (stream->open) {
        web_stream_end(stream->exchange); /* the browser asks again, and is told why */
    } else {
        web_problem(stream->exchange, entry->status, entry->why, STR_NULL);
        stream_free(stream);
    }
}

bool events_add(struct events *events, struct web_exchange *exchange, const struct caller *caller)
{
    if (events->count >= EVENTS_MAX)
        return false;
    struct stream *stream = mem_alloc(sizeof(*stream));
    *stream = (struct stream){.entrance = {.gate = events->gate,
                                           .clerks = events->clerks,
                                           .caller = *caller,
                                           .wanted = API_READ,
                                           /* A page that is left open is no use of a session, also
                                            * when it connects again. */
                                           .touch = false,
                                           .done = on_entered},
                              .events = events,
                              .exchange = exchange,
                              .entering = true};
    LIST_INSERT_HEAD(&events->streams, stream, link);
    events->count++;
    if (entrance_start(&stream->entrance))
        return true;
    stream_free(stream);
    return false;
}

static void send_all(struct events *events, struct str text)
{
    struct stream *stream = LIST_FIRST(&events->streams);

    events->silent_ms = 0;
    while (stream != NULL) {
        struct stream *next = LIST_NEXT(stream, link);
        if (stream->open && stream->exchange != NULL)
            web_stream_send(stream->exchange, text); /* may end it */
        stream = next;
    }
}

static void enter_again(struct events *events)
{
    struct stream *stream;

    LIST_FOREACH(stream, &events->streams, link)
    {
        stream->entered_ms += EVENTS_EVERY_MS;
        if (stream->open && !stream->entering && stream->entered_ms >= EVENTS_ENTER_MS)
            stream->entering = entrance_start(&stream->entrance);
    }
}

/* ---- what they are told ---- */

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
        events->asking = clerk_submit(events->clerks[CLERK_STATE], &events->errand);
    if (events->silent_ms >= EVENTS_PING_MS)
        send_all(events, STR(": ping\n\n"));
    enter_again(events);
}

struct events *events_create(struct event_base *base, struct gate *gate,
                             struct clerk *const *clerks)
{
    struct events *events = mem_alloc(sizeof(*events));

    events->errand = (struct errand){.run = ask, .done = on_answer};
    events->gate = gate;
    events->clerks = clerks;
    events->timer = loop_timer_create(base, on_turn, events);
    LIST_INIT(&events->streams);
    buf_init(&events->text, TEXT_MAX_BYTES);
    return events;
}
