#include "sig/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    /* The loop is woken for so many signatures, or when nothing is left to sign: a wake-up for each
     * would cost several per cent under load. */
    WAKE_EVERY = 8,
    LOW_TURN = 16,
    STACK_BYTES = 256 * 1024, /* locked into memory with all else: not 8 MiB each */
};

STAILQ_HEAD(pool_queue, pool_job);

struct pool_thread {
    pthread_t thread;
    struct pool *pool;
    unsigned number;
};

struct pool {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct pool_queue queued;
    struct pool_queue low;
    unsigned turns;
    size_t queued_count; /* in both */
    struct pool_queue finished;
    size_t finished_count;
    bool woken; /* the loop was woken and has not looked yet */
    bool stopping;
    /* Below: the loop's, or unchanged once the threads run. */
    size_t max_queued;
    pool_done_fn *done;
    void *arg;
    int event_fd;
    struct event *event;
    unsigned thread_count;
    struct pool_thread threads[];
};

/* Called with the mutex held; gives it back held. */
static void finish_job(struct pool *pool, struct pool_job *job)
{
    static const uint64_t one = 1;

    STAILQ_INSERT_TAIL(&pool->finished, job, link);
    pool->finished_count++;
    if (!pool->woken && (pool->queued_count == 0 || pool->finished_count >= WAKE_EVERY)) {
        pool->woken = true;
        /* Fails only when the counter is full, and then the loop is awake anyway. */
        ssize_t ignored = write(pool->event_fd, &one, sizeof(one));
        (void)ignored;
    }
}

/* The next one, taken out of its queue; NULL when there is none. With the mutex held. */
static struct pool_job *take_job(struct pool *pool)
{
    bool low =
        STAILQ_EMPTY(&pool->queued) || (++pool->turns % LOW_TURN == 0 && !STAILQ_EMPTY(&pool->low));
    struct pool_queue *queue = low ? &pool->low : &pool->queued;
    struct pool_job *job = STAILQ_FIRST(queue);

    if (job != NULL) {
        STAILQ_REMOVE_HEAD(queue, link);
        pool->queued_count--;
    }
    return job;
}

static void *run_thread(void *arg)
{
    struct pool_thread *self = arg;
    struct pool *pool = self->pool;
    struct pool_job *job;

    pthread_mutex_lock(&pool->mutex);
    while (!pool->stopping) {
        if ((job = take_job(pool)) == NULL) {
            pthread_cond_wait(&pool->wake, &pool->mutex);
            continue;
        }
        pthread_mutex_unlock(&pool->mutex);
        job->good =
            key_sign(job->key, self->number, job->sha256, job->signature, &job->signature_len);
        pthread_mutex_lock(&pool->mutex);
        finish_job(pool, job);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

static void on_finished(evutil_socket_t fd, short what, void *arg)
{
    struct pool *pool = arg;
    struct pool_queue finished = STAILQ_HEAD_INITIALIZER(finished);
    struct pool_job *job;
    uint64_t count;
    (void)what;

    ssize_t ignored = read(fd, &count, sizeof(count));
    (void)ignored;
    pthread_mutex_lock(&pool->mutex);
    STAILQ_CONCAT(&finished, &pool->finished);
    pool->finished_count = 0;
    pool->woken = false;
    pthread_mutex_unlock(&pool->mutex);
    while ((job = STAILQ_FIRST(&finished)) != NULL) {
        STAILQ_REMOVE_HEAD(&finished, link);
        pool->done(pool->arg, job);
    }
}

bool pool_submit(struct pool *pool, struct pool_job *job)
{
    pthread_mutex_lock(&pool->mutex);
    bool fits = pool->queued_count < pool->max_queued;
    if (fits) {
        STAILQ_INSERT_TAIL(job->low ? &pool->low : &pool->queued, job, link);
        pool->queued_count++;
        pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->mutex);
    return fits;
}

static bool start_thread(struct pool *pool, unsigned number)
{
    struct pool_thread *thread = &pool->threads[number];
    pthread_attr_t attributes;

    thread->pool = pool;
    thread->number = number;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    bool started = pthread_create(&thread->thread, &attributes, run_thread, thread) == 0;
    pthread_attr_destroy(&attributes);
    return started;
}

/* Signals are the loop's: the threads are born with all of them blocked. */
static bool start_threads(struct pool *pool, unsigned threads)
{
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->thread_count < threads && start_thread(pool, pool->thread_count))
        pool->thread_count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pool->thread_count == threads;
}

struct pool *pool_create(struct event_base *base, unsigned threads, size_t max_queued,
                         pool_done_fn *done, void *arg)
{
    struct pool *pool = mem_alloc(sizeof(*pool) + threads * sizeof(pool->threads[0]));

    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    STAILQ_INIT(&pool->queued);
    STAILQ_INIT(&pool->low);
    STAILQ_INIT(&pool->finished);
    pool->max_queued = max_queued;
    pool->done = done;
    pool->arg = arg;
    pool->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (pool->event_fd == -1)
        abort();
    pool->event = event_new(base, pool->event_fd, EV_READ | EV_PERSIST, on_finished, pool);
    if (pool->event == NULL || event_add(pool->event, NULL) != 0)
        abort();
    if (!start_threads(pool, threads)) {
        pool_destroy(pool);
        return NULL;
    }
    return pool;
}

void pool_destroy(struct pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i].thread, NULL);
    event_free(pool->event);
    close(pool->event_fd);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}
