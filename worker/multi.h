/*
 * One libcurl multi handle on the loop: its sockets are libevent's, its timer is the loop's. A
 * transfer that ended is reported from the loop, never from multi_add or multi_remove.
 */
#ifndef FEDPUSH_WORKER_MULTI_H
#define FEDPUSH_WORKER_MULTI_H

#include <curl/curl.h>
#include <event2/event.h>

#include "worker/pin.h"

enum { MULTI_IDLE_MS = 30000 };

/* The transfer is still part of the multi handle: the callback removes it. */
typedef void multi_done_fn(void *arg, CURL *easy, CURLcode code);

struct multi;
/* max_connections: as transfers end with more open, those idle for longest are closed. */
struct multi *multi_create(struct event_base *base, unsigned max_connections, multi_done_fn *done,
                           void *arg);
void multi_destroy(struct multi *multi); /* no transfer is part of it any more */
void multi_add(struct multi *multi, CURL *easy);
void multi_remove(struct multi *multi, CURL *easy);
/* The connection of this socket stands; from now on it is closed by multi_close_socket only, which
 * is for CURLOPT_CLOSESOCKETFUNCTION, with the multi handle as CURLOPT_CLOSESOCKETDATA. */
void multi_established(struct multi *multi, curl_socket_t fd);
int multi_close_socket(void *multi, curl_socket_t fd);
struct pins *multi_pins(struct multi *multi);
/* Every second or so. libcurl looks after kept connections only when a transfer begins: when none
 * has for MULTI_IDLE_MS, all are closed here. */
void multi_tick(struct multi *multi, int64_t now_ms);

#endif
