/*
 * What this machine's fedpush takes of it, all its processes together: the supervisor and its
 * children, as /proc shows them; where it doesn't (systemd's ProtectProc=invisible), what the
 * service's control group counts.
 */
#ifndef FEDPUSH_SCHED_FOOTPRINT_H
#define FEDPUSH_SCHED_FOOTPRINT_H

#include <stdint.h>
#include <sys/types.h>

struct footprint;
/* `proc` and `cgroup`: where these file systems are, "/proc" and "/sys/fs/cgroup"; copied. */
struct footprint *footprint_create(pid_t supervisor, const char *proc, const char *cgroup);
void footprint_destroy(struct footprint *footprint); /* NULL is fine */
/* Looks. *cores: in use on average since the look before; negative: unknown, as the first time.
 * *rss_bytes: negative: unknown. Takes some 10 us a process. */
void footprint_look(struct footprint *footprint, int64_t now_ms, double *cores, int64_t *rss_bytes);

#endif
