#include "worker/multi.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/loop.h"

enum { NOT_IDLE = -1 };

struct multi {
    struct event_base *base;
    CURLM *handle;
    struct loop_timer *timer;
    struct pins *pins;
    struct watch **watches; /* by descriptor */
    size_t watches_capacity;
    unsigned max_connections;
    unsigned transfers;
    bool in_timer;
    bool used;             /* there may be kept connections */
    int64_t idle_since_ms; /* the first tick without a transfer, or NOT_IDLE */
    multi_done_fn *done;
    void *arg;
};

static void collect(struct multi *multi)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(multi->handle, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE) {
            CURLcode code = message->data.result; /* gone with the transfer's removal */
            multi->done(multi->arg, message->easy_handle, code);
        }
    }
}

static void act(struct multi *multi, curl_socket_t socket, int what)
{
    int running;

    curl_multi_socket_action(multi->handle, socket, what, &running);
    collect(multi);
}

/*
 * A socket of libcurl's. Once its connection stands, it stays registered for reading when libcurl
 * looks away, until it is closed: two system calls less a delivery. Not before: what fails while it
 * connects is closed behind our back, and its number may be another's then.
 */
struct watch {
    struct multi *multi;
    struct event *event;
    int fd;
    short wanted;     /* EV_READ, EV_WRITE: by libcurl */
    short registered; /* with the loop */
    bool established;
};

static struct watch *watch_find(const struct multi *multi, int fd)
{
    return (size_t)fd < multi->watches_capacity ? multi->watches[fd] : NULL;
}

static void watch_drop(struct watch *watch)
{
    watch->multi->watches[watch->fd] = NULL;
    event_free(watch->event);
    free(watch);
}

static void watch_register(struct watch *watch, short what);

static void on_socket_event(evutil_socket_t fd, short what, void *arg)
{
    struct watch *watch = arg;
    short wanted = (short)(what & watch->wanted);

    if (what & ~watch->wanted)
        watch_register(watch, watch->wanted); /* an end nobody waits for would show for ever */
    if (wanted != 0)
        act(watch->multi, fd,
            (wanted & EV_READ ? CURL_CSELECT_IN : 0) | (wanted & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void watch_register(struct watch *watch, short what)
{
    if (watch->registered == what)
        return;
    event_del(watch->event);
    watch->registered = what;
    if (what == 0)
        return;
    if (event_assign(watch->event, watch->multi->base, watch->fd, (short)(what | EV_PERSIST),
                     on_socket_event, watch) != 0 ||
        event_add(watch->event, NULL) != 0)
        abort();
}

static struct watch *watch_get(struct multi *multi, int fd)
{
    struct watch *watch = watch_find(multi, fd);
    size_t capacity = multi->watches_capacity;

    if (watch != NULL)
        return watch;
    if ((size_t)fd >= capacity) {
        while ((size_t)fd >= capacity)
            capacity = capacity > 0 ? capacity * 2 : 1024;
        multi->watches = mem_realloc(multi->watches, capacity * sizeof(struct watch *));
        memset(multi->watches + multi->watches_capacity, 0,
               (capacity - multi->watches_capacity) * sizeof(struct watch *));
        multi->watches_capacity = capacity;
    }
    watch = mem_alloc(sizeof(*watch));
    watch->multi = multi;
    watch->fd = fd;
    watch->event = event_new(multi->base, fd, EV_PERSIST, on_socket_event, watch);
    if (watch->event == NULL)
        abort();
    return multi->watches[fd] = watch;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct multi *multi = arg;
    struct watch *watch = what == CURL_POLL_REMOVE ? watch_find(multi, fd) : watch_get(multi, fd);

    (void)easy;
    (void)socket_arg;
    if (watch == NULL)
        return 0;
    watch->wanted = (short)((what & CURL_POLL_IN && what != CURL_POLL_REMOVE ? EV_READ : 0) |
                            (what & CURL_POLL_OUT && what != CURL_POLL_REMOVE ? EV_WRITE : 0));
    if (watch->established)
        watch_register(watch, (short)(watch->wanted | (watch->registered & EV_READ)));
    else if (what == CURL_POLL_REMOVE)
        watch_drop(watch);
    else
        watch_register(watch, watch->wanted);
    return 0;
}

void multi_established(struct multi *multi, curl_socket_t fd)
{
    watch_get(multi, fd)->established = true;
}

int multi_close_socket(void *arg, curl_socket_t fd)
{
    struct watch *watch = watch_find(arg, fd);

    if (watch != NULL)
        watch_drop(watch);
    return close(fd);
}

static void on_timer(void *arg)
{
    struct multi *multi = arg;

    multi->in_timer = true;
    act(multi, CURL_SOCKET_TIMEOUT, 0);
    multi->in_timer = false;
}

static int on_timeout_changed(CURLM *handle, long timeout_ms, void *arg)
{
    struct multi *multi = arg;

    (void)handle;
    if (timeout_ms < 0)
        loop_timer_clear(multi->timer);
    else if (timeout_ms == 0 && !multi->in_timer) /* a new transfer: it needs no turn of its own */
        loop_timer_now(multi->timer);
    else
        loop_timer_set(multi->timer, timeout_ms);
    return 0;
}

static void open_handle(struct multi *multi)
{
    multi->handle = curl_multi_init();
    if (multi->handle == NULL)
        abort();
    multi->pins = pins_create();
    multi->used = false;
    multi->idle_since_ms = NOT_IDLE;
    curl_multi_setopt(multi->handle, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi->handle, CURLMOPT_SOCKETDATA, multi);
    curl_multi_setopt(multi->handle, CURLMOPT_TIMERFUNCTION, on_timeout_changed);
    curl_multi_setopt(multi->handle, CURLMOPT_TIMERDATA, multi);
    curl_multi_setopt(multi->handle, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    curl_multi_setopt(multi->handle, CURLMOPT_MAXCONNECTS, (long)multi->max_connections);
}

static void close_handle(struct multi *multi)
{
    assert(multi->transfers == 0);
    curl_multi_cleanup(multi->handle);
    loop_timer_clear(multi->timer);
    pins_destroy(multi->pins);
    for (size_t fd = 0; fd < multi->watches_capacity; fd++) {
        if (multi->watches[fd] != NULL)
            watch_drop(multi->watches[fd]);
    }
}

struct multi *multi_create(struct event_base *base, unsigned max_connections, multi_done_fn *done,
                           void *arg)
{
    struct multi *multi = mem_alloc(sizeof(*multi));

    multi->base = base;
    multi->max_connections = max_connections;
    multi->done = done;
    multi->arg = arg;
    multi->timer = loop_timer_create(base, on_timer, multi);
    open_handle(multi);
    return multi;
}

void multi_destroy(struct multi *multi)
{
    if (multi == NULL)
        return;
    close_handle(multi);
    loop_timer_destroy(multi->timer);
    free(multi->watches);
    free(multi);
}

void multi_add(struct multi *multi, CURL *easy)
{
    if (curl_multi_add_handle(multi->handle, easy) != CURLM_OK)
        abort();
    multi->transfers++;
    multi->used = true;
    multi->idle_since_ms = NOT_IDLE;
}

void multi_remove(struct multi *multi, CURL *easy)
{
    curl_multi_remove_handle(multi->handle, easy);
    multi->transfers--;
}

struct pins *multi_pins(struct multi *multi)
{
    return multi->pins;
}

void multi_tick(struct multi *multi, int64_t now_ms)
{
    if (multi->transfers > 0 || !multi->used)
        return;
    if (multi->idle_since_ms == NOT_IDLE) {
        multi->idle_since_ms = now_ms;
    } else if (now_ms - multi->idle_since_ms >= MULTI_IDLE_MS) {
        close_handle(multi);
        open_handle(multi);
    }
}
