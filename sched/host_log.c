#include "sched/host_log.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/table.h"

struct host {
    uint64_t results[HEALTH_RESULTS];
    char *error; /* the last one */
    struct str name;
};

struct host_log {
    struct table *hosts;
    uint64_t results[HEALTH_RESULTS];
    int64_t since_ms;
};

struct host_log *host_log_create(int64_t now_ms)
{
    struct host_log *log = mem_alloc(sizeof(*log));

    log->hosts = table_create();
    log->since_ms = now_ms;
    return log;
}

static void forget(struct host_log *log)
{
    size_t at = 0;
    struct host *host;

    while ((host = table_next(log->hosts, &at)) != NULL) {
        table_remove(log->hosts, host->name);
        free(host->error);
        free(host);
    }
    memset(log->results, 0, sizeof(log->results));
}

void host_log_destroy(struct host_log *log)
{
    if (log == NULL)
        return;
    forget(log);
    table_destroy(log->hosts);
    free(log);
}

static struct host *host_for(struct host_log *log, struct str name)
{
    struct host *host = table_get(log->hosts, name);

    if (host != NULL || table_count(log->hosts) >= HOST_LOG_HOSTS)
        return host;
    host = mem_alloc(sizeof(*host) + name.len);
    memcpy(host + 1, name.ptr, name.len);
    host->name = (struct str){(const char *)(host + 1), name.len};
    table_put(log->hosts, host->name, host);
    return host;
}

void host_log_add(struct host_log *log, const struct health_event *event)
{
    struct host *host = host_for(log, event->host);

    log->results[event->result]++;
    if (host == NULL)
        return;
    host->results[event->result]++;
    if (event->error.len > 0) {
        free(host->error);
        host->error = health_clean_error(event->error);
    }
}

static uint64_t failures(const uint64_t results[HEALTH_RESULTS])
{
    return results[HEALTH_RETRIED] + results[HEALTH_REJECTED] + results[HEALTH_EXHAUSTED];
}

static int by_failures(const void *a, const void *b)
{
    uint64_t left = failures((*(struct host *const *)a)->results);
    uint64_t right = failures((*(struct host *const *)b)->results);
    return (left < right) - (left > right);
}

static void write_host(const struct host *host, int64_t seconds)
{
    log_event(LOG_LEVEL_INFO, "host failed", LOG_STR("host", host->name),
              LOG_INT("seconds", seconds), LOG_INT("delivered", host->results[HEALTH_DELIVERED]),
              LOG_INT("retried", host->results[HEALTH_RETRIED]),
              LOG_INT("rejected", host->results[HEALTH_REJECTED]),
              LOG_INT("exhausted", host->results[HEALTH_EXHAUSTED]), LOG_TEXT("err", host->error));
}

void host_log_flush(struct host_log *log, int64_t now_ms)
{
    struct host **failed = mem_alloc(table_count(log->hosts) * sizeof(struct host *) + 1);
    int64_t seconds = (now_ms - log->since_ms) / 1000;
    size_t count = 0;
    size_t at = 0;
    struct host *host;

    while ((host = table_next(log->hosts, &at)) != NULL) {
        if (failures(host->results) > 0)
            failed[count++] = host;
    }
    qsort(failed, count, sizeof(struct host *), by_failures);
    for (size_t i = 0; i < count && i < HOST_LOG_LINES; i++)
        write_host(failed[i], seconds);
    if (table_count(log->hosts) > 0)
        log_event(LOG_LEVEL_INFO, "hosts delivered to", LOG_INT("seconds", seconds),
                  LOG_INT("hosts", table_count(log->hosts)),
                  LOG_INT("delivered", log->results[HEALTH_DELIVERED]),
                  LOG_INT("failing_hosts", count), LOG_INT("failed", failures(log->results)));
    free(failed);
    forget(log);
    log->since_ms = now_ms;
}

void host_log_tick(struct host_log *log, int64_t now_ms)
{
    if (now_ms - log->since_ms >= HOST_LOG_EACH_MS)
        host_log_flush(log, now_ms);
}
