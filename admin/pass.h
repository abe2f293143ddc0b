/*
 * What a browser or a program shows to get in: random, and known to Redis by its hash only.
 */
#ifndef FEDPUSH_ADMIN_PASS_H
#define FEDPUSH_ADMIN_PASS_H

#include "base/str.h"

enum { PASS_BYTES = 32, PASS_TEXT_BYTES = 43 + 1, PASS_HASH_BYTES = 64 + 1 };

/* 256 random bits as URL-safe text. */
void pass_make(char text[PASS_TEXT_BYTES]);
/* SHA-256 of any text, hexadecimal. */
void pass_hash(struct str text, char hash[PASS_HASH_BYTES]);
/* SHA-256 of any text as URL-safe text: PKCE's challenge. */
void pass_challenge(struct str text, char challenge[PASS_TEXT_BYTES]);
/* In constant time for texts of one length. */
bool pass_equal(struct str a, struct str b);

#endif
