/*
 * Redis' protocol on a stream: commands out, bytes into hiredis' reader, and what replies of the
 * server mean for the connection.
 */
#ifndef FEDPUSH_BASE_REDIS_WIRE_H
#define FEDPUSH_BASE_REDIS_WIRE_H

#include <event2/bufferevent.h>
#include <hiredis/hiredis.h>

#include "base/str.h"

/* Queues a command in the stream's output, which is written once, when this turn ends. `words` are
 * copied, and wiped behind: there may be a password among them. */
void redis_wire_write(struct bufferevent *stream, size_t word_count, const struct str *words);
/* Takes all input; of a plain stream also what its socket still holds, up to 1 MiB. A reader that
 * can't read it says so at the next reply. */
void redis_wire_read(redisReader *reader, struct bufferevent *stream, bool plain);

enum { REDIS_CLASS_BYTES = 32 };
/* What an error reply says in short: its first word ("WRONGPASS"), which is never data. */
void redis_reply_class(const redisReply *reply, char out[REDIS_CLASS_BYTES]);
/* Whether an error reply means that this server is no master, or not yet one: another, or this one
 * later, takes the command. Scripts' errors of Redis before 7 included. */
bool redis_reply_is_unfit(const redisReply *reply);
/* ROLE's answer. */
bool redis_reply_is_master(const redisReply *reply);

#endif
