/*
 * Whom proxies say that they forward, from the last proxy on: X-Forwarded-For or, where there is
 * none, Forwarded (RFC 7239). Each entry may have a port, which some load balancers add:
 * "192.0.2.7:4711", "[2001:db8::7]:443", for="[2001:db8::7]:443". Pure.
 *
 * Entries are read from the right: each proxy appends to what it was given, and nothing that stands
 * left of its own (a quote that never ends) changes what that says.
 */
#ifndef FEDPUSH_ADMIN_FORWARDED_H
#define FEDPUSH_ADMIN_FORWARDED_H

#include "admin/web_head.h"

struct forwarded {
    const struct web_head *head; /* borrowed */
    struct str name;             /* of the header fields that are read */
    bool pairs;                  /* their entries are pairs: for=…;proto=… */
    size_t fields_left;          /* of the head's, that weren't looked at */
    struct str list;             /* what is left of the field's value */
};

void forwarded_begin(struct forwarded *forwarded, const struct web_head *head);
/* Takes the next entry. False: there is none, or it names no address, as "unknown" and names that
 * hide one don't; whatever is left of it counts no more. */
bool forwarded_next(struct forwarded *forwarded, int *family,
                    unsigned char address[16]) FP_MUST_CHECK;

#endif
