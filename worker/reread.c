#include "worker/reread.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/loop.h"

struct reread {
    const char *mastodon_dir;
    int64_t look_ms;
    reread_fn *done;
    void *arg;
    struct loop_timer *look_timer;
    struct event *event;
    int event_fd;
    unsigned ordered; /* not yet begun */
    bool reading;     /* the thread runs: what is below is its own */
    pthread_t thread;
    enum reread_reason reason;
    char *path;       /* version.rb; NULL: nothing to look for */
    struct stat seen; /* of it; zero: was never there */
    bool read;        /* there is something to tell */
    enum fp_err code;
    struct config fresh;
    struct err err;
};

static void watch(struct reread *reread, const struct config *config)
{
    free(reread->path);
    reread->path = NULL;
    if (!config->mastodon_version_set && config->mastodon_dir[0] != '\0')
        reread->path = mem_printf("%s/lib/mastodon/version.rb", config->mastodon_dir);
}

/* A file that isn't there at the moment (an upgrade takes a while) has not changed. */
static bool has_changed(struct reread *reread)
{
    struct stat now;

    if (reread->path == NULL || stat(reread->path, &now) == -1)
        return false;
    struct stat before = reread->seen;
    reread->seen = now;
    return now.st_dev != before.st_dev || now.st_ino != before.st_ino ||
           now.st_size != before.st_size || now.st_mtim.tv_sec != before.st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != before.st_mtim.tv_nsec;
}

static void *run_thread(void *arg)
{
    static const uint64_t one = 1;
    struct reread *reread = arg;
    bool changed = has_changed(reread);

    reread->read = changed || reread->reason == REREAD_ORDERED;
    if (reread->read)
        reread->code = config_load(&reread->fresh, environ, reread->mastodon_dir, &reread->err);
    ssize_t ignored = write(reread->event_fd, &one, sizeof(one));
    (void)ignored;
    return NULL;
}

/* Signals are the loop's: the thread is born with all of them blocked. */
static bool start_thread(struct reread *reread)
{
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&reread->thread, NULL, run_thread, reread) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static void begin(struct reread *reread, enum reread_reason reason)
{
    reread->reason = reason;
    reread->reading = start_thread(reread);
    if (!reread->reading && reason == REREAD_ORDERED)
        reread->done(reread->arg, reason, NULL, "no thread can be started; try again");
}

static void begin_ordered(struct reread *reread)
{
    if (reread->ordered == 0 || reread->reading)
        return;
    reread->ordered--;
    begin(reread, REREAD_ORDERED);
}

static void on_look(void *arg)
{
    struct reread *reread = arg;

    loop_timer_set(reread->look_timer, reread->look_ms);
    if (!reread->reading && reread->path != NULL)
        begin(reread, REREAD_UPGRADE);
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
    struct reread *reread = arg;
    uint64_t count;
    (void)what;

    ssize_t ignored = read(fd, &count, sizeof(count));
    (void)ignored;
    pthread_join(reread->thread, NULL);
    reread->reading = false;
    if (reread->read) {
        bool good = reread->code == FP_OK;
        if (good)
            watch(reread, &reread->fresh);
        reread->done(reread->arg, reread->reason, good ? &reread->fresh : NULL,
                     good ? NULL : reread->err.message);
        config_clear(&reread->fresh);
    }
    begin_ordered(reread);
}

struct reread *reread_create(struct event_base *base, const struct config *config,
                             const char *mastodon_dir, int64_t look_ms, reread_fn *done, void *arg)
{
    struct reread *reread = mem_alloc(sizeof(*reread));

    reread->mastodon_dir = mastodon_dir;
    reread->look_ms = look_ms;
    reread->done = done;
    reread->arg = arg;
    watch(reread, config);
    has_changed(reread);
    reread->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (reread->event_fd == -1)
        abort();
    reread->event = event_new(base, reread->event_fd, EV_READ | EV_PERSIST, on_read, reread);
    if (reread->event == NULL || event_add(reread->event, NULL) != 0)
        abort();
    reread->look_timer = loop_timer_create(base, on_look, reread);
    loop_timer_set(reread->look_timer, look_ms);
    return reread;
}

void reread_destroy(struct reread *reread)
{
    loop_timer_destroy(reread->look_timer);
    event_free(reread->event);
    /* A thread that hangs keeps what it uses: the process ends now. */
    if (reread->reading && pthread_tryjoin_np(reread->thread, NULL) != 0)
        return;
    if (reread->reading)
        config_clear(&reread->fresh);
    close(reread->event_fd);
    free(reread->path);
    free(reread);
}

void reread_order(struct reread *reread)
{
    reread->ordered++;
    begin_ordered(reread);
}
