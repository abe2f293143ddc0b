/*
 * Sockets that libcurl opens and looks at, on the loop. Once a connection stands, its socket stays
 * registered for reading when libcurl looks away, until it is closed: two system calls less a
 * delivery. Not before: libcurl closes without a word what fails while it connects, and the number
 * may be another socket's then.
 */
#ifndef FEDPUSH_WORKER_WATCH_H
#define FEDPUSH_WORKER_WATCH_H

#include <event2/event.h>

/* `what`: those of EV_READ and EV_WRITE that are wanted and true. It may change the watches. */
typedef void watch_fn(void *arg, int fd, short what);

struct watches;
struct watches *watches_create(struct event_base *base, watch_fn *fn, void *arg);
void watches_destroy(struct watches *watches); /* closes nothing; NULL is fine */
/* EV_READ, EV_WRITE, both, or 0: nothing any more. */
void watches_want(struct watches *watches, int fd, short what);
/* Its connection stands: from now on it ends by watches_drop, before the descriptor is closed. */
void watches_establish(struct watches *watches, int fd);
void watches_drop(struct watches *watches, int fd); /* unknown: nothing happens */

#endif
