#include "worker/watch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

enum { FIRST_CAPACITY = 1024 };

struct watch {
    struct watches *watches;
    struct event *event;
    int fd;
    short wanted;
    short registered; /* with the loop */
    bool established;
};

struct watches {
    struct event_base *base;
    watch_fn *fn;
    void *arg;
    struct watch **by_fd;
    size_t capacity;
};

static struct watch *find(const struct watches *watches, int fd)
{
    return (size_t)fd < watches->capacity ? watches->by_fd[fd] : NULL;
}

static void drop(struct watch *watch)
{
    watch->watches->by_fd[watch->fd] = NULL;
    event_free(watch->event);
    free(watch);
}

static void set_registered(struct watch *watch, short what);

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct watch *watch = arg;
    struct watches *watches = watch->watches;
    short wanted = (short)(what & watch->wanted);

    if (what & ~watch->wanted)
        set_registered(watch, watch->wanted); /* what nobody wants would show again and again */
    if (wanted != 0)
        watches->fn(watches->arg, fd, wanted);
}

static void set_registered(struct watch *watch, short what)
{
    if (watch->registered == what)
        return;
    event_del(watch->event);
    watch->registered = what;
    if (what == 0)
        return;
    if (event_assign(watch->event, watch->watches->base, watch->fd, (short)(what | EV_PERSIST),
                     on_event, watch) != 0 ||
        event_add(watch->event, NULL) != 0)
        abort();
}

static void make_room(struct watches *watches, int fd)
{
    size_t capacity = watches->capacity > 0 ? watches->capacity : FIRST_CAPACITY;

    while ((size_t)fd >= capacity)
        capacity *= 2;
    if (capacity == watches->capacity)
        return;
    watches->by_fd = mem_realloc(watches->by_fd, capacity * sizeof(struct watch *));
    memset(watches->by_fd + watches->capacity, 0,
           (capacity - watches->capacity) * sizeof(struct watch *));
    watches->capacity = capacity;
}

static struct watch *get(struct watches *watches, int fd)
{
    struct watch *watch = find(watches, fd);

    if (watch != NULL)
        return watch;
    make_room(watches, fd);
    watch = mem_alloc(sizeof(*watch));
    watch->watches = watches;
    watch->fd = fd;
    watch->event = event_new(watches->base, fd, EV_PERSIST, on_event, watch);
    if (watch->event == NULL)
        abort();
    return watches->by_fd[fd] = watch;
}

void watches_want(struct watches *watches, int fd, short what)
{
    struct watch *watch = what != 0 ? get(watches, fd) : find(watches, fd);

    if (watch == NULL)
        return;
    watch->wanted = what;
    if (watch->established)
        set_registered(watch, (short)(what | (watch->registered & EV_READ)));
    else if (what != 0)
        set_registered(watch, what);
    else
        drop(watch);
}

void watches_establish(struct watches *watches, int fd)
{
    get(watches, fd)->established = true;
}

void watches_drop(struct watches *watches, int fd)
{
    struct watch *watch = find(watches, fd);

    if (watch != NULL)
        drop(watch);
}

struct watches *watches_create(struct event_base *base, watch_fn *fn, void *arg)
{
    struct watches *watches = mem_alloc(sizeof(*watches));

    *watches = (struct watches){.base = base, .fn = fn, .arg = arg};
    return watches;
}

void watches_destroy(struct watches *watches)
{
    if (watches == NULL)
        return;
    for (size_t fd = 0; fd < watches->capacity; fd++) {
        if (watches->by_fd[fd] != NULL)
            drop(watches->by_fd[fd]);
    }
    free(watches->by_fd);
    free(watches);
}
