/*
 * What large payloads and bursts took goes back to the system: at once when it was large, else soon
 * after. glibc alone keeps it: its thresholds follow the largest block that was ever freed, and
 * holes in the heap stay with the process.
 */
#ifndef FEDPUSH_BASE_THRIFT_H
#define FEDPUSH_BASE_THRIFT_H

#include <event2/event.h>

/* For the rest of the process' life; before the first large allocation. */
void thrift_begin(struct event_base *base);

#endif
