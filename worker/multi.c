#include "worker/multi.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/loop.h"
#include "worker/watch.h"

enum { NOT_IDLE = -1 };

struct multi {
    struct event_base *base;
    CURLM *handle;
    struct loop_timer *timer;
    struct pins *pins;
    struct watches *watches;
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

static void on_socket_event(void *arg, int fd, short what)
{
    act(arg, fd, (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct multi *multi = arg;

    (void)easy;
    (void)socket_arg;
    if (what == CURL_POLL_REMOVE)
        watches_want(multi->watches, fd, 0);
    else
        watches_want(
            multi->watches, fd,
            (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0)));
    return 0;
}

void multi_established(struct multi *multi, curl_socket_t fd)
{
    watches_establish(multi->watches, fd);
}

int multi_close_socket(void *arg, curl_socket_t fd)
{
    const struct multi *multi = arg;

    watches_drop(multi->watches, fd);
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
    multi->watches = watches_create(multi->base, on_socket_event, multi);
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
    watches_destroy(multi->watches);
    pins_destroy(multi->pins);
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
