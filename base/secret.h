/*
 * Secrets in memory and the hardening every role starts with.
 */
#ifndef FEDPUSH_BASE_SECRET_H
#define FEDPUSH_BASE_SECRET_H

#include "base/err.h"
#include "base/str.h"

void secret_wipe(void *bytes, size_t len); /* not optimized away */
void secret_free(char *text);              /* wipes strlen(text) bytes, then frees; NULL is fine */
/* As buf_init, but all of max_bytes is allocated at once: growing would leave copies behind. */
void secret_buf_init(struct buf *b, size_t max_bytes);
void secret_buf_clear(struct buf *b); /* wipes the whole capacity, then buf_clear */

/* First thing in each process: not dumpable, not traceable, no core file, no new privileges. Aborts
 * when that fails. */
void process_harden(void);
/* In a role: SIGKILL when the supervisor ends, however it ends; exits at once when it is gone
 * already. */
void process_bind_to_parent(int parent_pid);
/* The name in `ps`: "fedpush: worker 1". process_title_init moves argv and environ out of the way;
 * call it once in main. */
void process_title_init(int argc, char **argv);
void process_title(const char *format, ...) FP_PRINTF(1, 2);
/* mlockall(MCL_CURRENT|MCL_FUTURE) as far as RLIMIT_MEMLOCK allows; false (and errno) when it
 * doesn't. */
bool process_lock_memory(void);

#endif
