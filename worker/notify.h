/*
 * What systemd is told (sd_notify(3)). Without systemd, nothing happens.
 */
#ifndef FEDPUSH_WORKER_NOTIFY_H
#define FEDPUSH_WORKER_NOTIFY_H

#include <stdint.h>

#include "base/attr.h"

void notify_ready(void);
/* Followed by notify_ready when the reload is over. */
void notify_reloading(void);
void notify_stopping(void);
void notify_status(const char *format, ...) FP_PRINTF(1, 2);
void notify_watchdog(void);
/* How often notify_watchdog must be called: half of what systemd allows. 0: not at all. */
int64_t notify_watchdog_ms(void);

#endif
