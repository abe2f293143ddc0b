/*
 * What became of the deliveries of each host, in the log: each ten minutes a line of all together,
 * and one for each of the HOST_LOG_LINES hosts that failed most:
 *
 *   msg="host failed" host=… seconds=600 delivered=0 retried=12 rejected=0 exhausted=1 err="…"
 *   msg="hosts delivered to" seconds=600 hosts=841 delivered=12031 failing_hosts=7 failed=64
 *
 * Nothing when there was nothing. At most HOST_LOG_HOSTS are told apart; what the others got counts
 * in the sums.
 */
#ifndef FEDPUSH_SCHED_HOST_LOG_H
#define FEDPUSH_SCHED_HOST_LOG_H

#include "sched/health.h"

enum { HOST_LOG_EACH_MS = 600000, HOST_LOG_LINES = 20, HOST_LOG_HOSTS = 4096 };

struct host_log;
struct host_log *host_log_create(int64_t now_ms); /* call sodium_init first; monotonic, as below */
void host_log_destroy(struct host_log *log);      /* writes nothing any more; NULL is fine */
void host_log_add(struct host_log *log, const struct health_event *event);
void host_log_tick(struct host_log *log, int64_t now_ms);
/* All that was added since the last lines. */
void host_log_flush(struct host_log *log, int64_t now_ms);

#endif
