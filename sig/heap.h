/*
 * The memory that parsed private keys live in: OpenSSL's secure heap, which lies between guard
 * pages, is left out of core files and is wiped when freed. It has a fixed size, and a key for
 * which there is no room cannot be loaded: the owner of the keys drops some while it is tight.
 */
#ifndef FEDPUSH_SIG_HEAP_H
#define FEDPUSH_SIG_HEAP_H

#include <stdbool.h>
#include <stddef.h>

enum { HEAP_BYTES_A_KEY = 1024 }; /* 896 for RSA-2048, in blocks of powers of two */

struct heap {
    size_t size_bytes; /* 0: not available; keys live in ordinary memory */
};

/* Room for `keys` RSA-2048 keys (larger ones take more) and their parsing. To be called once,
 * before any key is loaded. Logs when it can't be locked into memory or can't be had: keys are then
 * kept all the same, and the line names the remedy. */
void heap_open(struct heap *heap, size_t keys);
/* Little room is left (under a sixteenth). */
bool heap_is_tight(const struct heap *heap);

#endif
