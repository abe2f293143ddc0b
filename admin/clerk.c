#include "admin/clerk.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { STACK_BYTES = 1024 * 1024 };

static const char *const clerk_names[CLERKS] = {
    [CLERK_STATE] = "state",   [CLERK_RECORDS] = "records",   [CLERK_ERRANDS] = "errands",
    [CLERK_ORDERS] = "orders", [CLERK_REMOVALS] = "removals", [CLERK_ALERTS] = "alerts",
    [CLERK_DOOR] = "door",     [CLERK_MASTODON] = "mastodon"};

STAILQ_HEAD(errands, errand);

struct clerk {
    pthread_mutex_t mutex;
    struct errands queued;
    size_t queued_count;
    struct errands finished;
    bool stopping;
    /* Below: the loop's, or unchanged once the thread runs. */
    size_t max_queued;
    pthread_t thread;
    int done_fd; /* wakes the loop */
    struct event *done_event;
    /* Below: the thread's, once it runs. It waits in its desk's loop, so that connections stay
     * alive between errands. */
    int wake_fd;
    struct event *wake_event;
    struct desk desk;
};

static void ring(int fd)
{
    static const uint64_t one = 1;
    /* Fails only when the counter is full, and then the other side is awake anyway. */
    ssize_t ignored = write(fd, &one, sizeof(one));
    (void)ignored;
}

static void hear(int fd)
{
    uint64_t count;
    ssize_t ignored = read(fd, &count, sizeof(count));
    (void)ignored;
}

/* ---- in the thread ---- */

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    (void)arg;
    hear(fd);
}

static struct errand *take(struct clerk *clerk, bool *stopping)
{
    pthread_mutex_lock(&clerk->mutex);
    struct errand *errand = STAILQ_FIRST(&clerk->queued);
    *stopping = clerk->stopping;
    if (errand != NULL && !clerk->stopping) {
        STAILQ_REMOVE_HEAD(&clerk->queued, link);
        clerk->queued_count--;
    }
    pthread_mutex_unlock(&clerk->mutex);
    return errand;
}

static void *run_thread(void *arg)
{
    struct clerk *clerk = arg;
    struct event_base *base = clerk->desk.session.base;
    bool stopping = false;

    for (;;) {
        struct errand *errand = take(clerk, &stopping);
        if (stopping)
            return NULL;
        if (errand == NULL) {
            event_base_loop(base, EVLOOP_ONCE);
            continue;
        }
        event_base_loop(base, EVLOOP_NONBLOCK); /* a connection may have gone meanwhile */
        errand->run(errand, &clerk->desk);
        pthread_mutex_lock(&clerk->mutex);
        STAILQ_INSERT_TAIL(&clerk->finished, errand, link);
        pthread_mutex_unlock(&clerk->mutex);
        ring(clerk->done_fd);
    }
}

/* ---- on the loop ---- */

static void on_done(evutil_socket_t fd, short what, void *arg)
{
    struct clerk *clerk = arg;
    struct errands finished = STAILQ_HEAD_INITIALIZER(finished);
    struct errand *errand;
    (void)what;

    hear(fd);
    pthread_mutex_lock(&clerk->mutex);
    STAILQ_CONCAT(&finished, &clerk->finished);
    pthread_mutex_unlock(&clerk->mutex);
    while ((errand = STAILQ_FIRST(&finished)) != NULL) {
        STAILQ_REMOVE_HEAD(&finished, link);
        errand->done(errand);
    }
}

bool clerk_submit(struct clerk *clerk, struct errand *errand)
{
    pthread_mutex_lock(&clerk->mutex);
    bool fits = clerk->queued_count < clerk->max_queued;
    if (fits) {
        STAILQ_INSERT_TAIL(&clerk->queued, errand, link);
        clerk->queued_count++;
    }
    pthread_mutex_unlock(&clerk->mutex);
    if (fits)
        ring(clerk->wake_fd);
    return fits;
}

static struct event *open_bell(struct event_base *base, int *fd, event_callback_fn fn, void *arg)
{
    *fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct event *event = *fd >= 0 ? event_new(base, *fd, EV_READ | EV_PERSIST, fn, arg) : NULL;

    if (event == NULL || event_add(event, NULL) != 0)
        abort();
    return event;
}

/* Signals are the loop's: the thread is born with all of them blocked. */
static bool start_thread(struct clerk *clerk)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    bool started = pthread_create(&clerk->thread, &attributes, run_thread, clerk) == 0;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static void clerk_free(struct clerk *clerk)
{
    event_free(clerk->done_event);
    event_free(clerk->wake_event);
    desk_close(&clerk->desk);
    close(clerk->done_fd);
    close(clerk->wake_fd);
    pthread_mutex_destroy(&clerk->mutex);
    free(clerk);
}

struct clerk *clerk_create(struct event_base *base, const struct config *config,
                           enum clerk_name name, size_t max_queued, struct err *err)
{
    struct clerk *clerk = mem_alloc(sizeof(*clerk));

    /* Here, not in the thread: the libraries' own beginnings are not made for several at once. */
    if (!desk_open(&clerk->desk, config, err)) {
        desk_close(&clerk->desk);
        free(clerk);
        return NULL;
    }
    pthread_mutex_init(&clerk->mutex, NULL);
    STAILQ_INIT(&clerk->queued);
    STAILQ_INIT(&clerk->finished);
    clerk->max_queued = max_queued;
    clerk->done_event = open_bell(base, &clerk->done_fd, on_done, clerk);
    clerk->wake_event = open_bell(clerk->desk.session.base, &clerk->wake_fd, on_wake, clerk);
    if (!start_thread(clerk)) {
        err_set(err, FP_SYSTEM, "no thread for the clerk \"%s\"", clerk_names[name]);
        clerk_free(clerk);
        return NULL;
    }
    return clerk;
}

void clerk_destroy(struct clerk *clerk)
{
    if (clerk == NULL)
        return;
    pthread_mutex_lock(&clerk->mutex);
    clerk->stopping = true;
    pthread_mutex_unlock(&clerk->mutex);
    ring(clerk->wake_fd);
    pthread_join(clerk->thread, NULL);
    clerk_free(clerk);
}
