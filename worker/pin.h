/*
 * The addresses that libcurl may connect to: it never resolves a name itself. A name's addresses
 * are told to it once, and again when they change; names that weren't needed for long are taken
 * out, so that its table doesn't hold every host that was ever delivered to. What a transfer is to
 * tell counts only once libcurl has read it: one that is aborted before tells nothing.
 */
#ifndef FEDPUSH_WORKER_PIN_H
#define FEDPUSH_WORKER_PIN_H

#include <curl/curl.h>

#include "base/dns.h"
#include "base/url.h"

enum {
    PIN_MAX_ADDRESSES = 4,
    PINS_MAX_IDLE = 1000, /* names that nobody uses, as many as connections of a multi handle */
};

struct pins; /* of one multi handle */
struct pin;

struct pins *pins_create(void);
void pins_destroy(struct pins *pins); /* NULL is fine; all pins have been released */

/*
 * Pins url's host and port to `addresses` (1 to PIN_MAX_ADDRESSES). *list is for this transfer's
 * CURLOPT_RESOLVE, the caller's to free with curl_slist_free_all after pin_release; it stays as it
 * is (NULL) when libcurl knows all that already. A name stays while any transfer uses it: libcurl
 * looks it up again when it repeats a request on a fresh connection.
 */
struct pin *pin_take(struct pins *pins, const struct url *url, const struct dns_address *addresses,
                     size_t count, struct curl_slist **list);
/* libcurl connects for this transfer: it has read the list. Again is fine. */
void pin_told(struct pin *pin);
/* `unread`: the transfer's list when it ended without pin_told; or NULL. */
void pin_release(struct pin *pin, const struct curl_slist *unread);
size_t pins_held(const struct pins *pins); /* in use, or not taken out yet */

#endif
