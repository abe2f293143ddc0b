/*
 * Names whose addresses are known without asking: "localhost" and what ends in ".localhost"
 * (RFC 6761), and those of a hosts(5) file. Names are compared without regard to case.
 */
#ifndef FEDPUSH_BASE_HOSTS_H
#define FEDPUSH_BASE_HOSTS_H

#include "base/dns.h"

enum { HOSTS_MAX_BYTES = 1024 * 1024 };

struct hosts;

struct hosts *hosts_create(void); /* call sodium_init first */
void hosts_destroy(struct hosts *hosts);
/* Adds the lines of a hosts file; those that aren't understood are skipped, as by the C library. */
void hosts_read(struct hosts *hosts, struct str text);
/* As hosts_read, from a file; one that can't be read adds nothing. */
void hosts_read_file(struct hosts *hosts, const char *path);
/* False: ask the DNS. `name` without a trailing dot. */
bool hosts_find(const struct hosts *hosts, struct str name, struct dns_result *result);

#endif
