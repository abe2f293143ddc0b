/*
 * The addresses that libcurl may connect to, pinned for as long as a transfer needs them: it never
 * resolves a name itself, and its table of pinned names holds those in use and those of a moment
 * ago, not every host that was ever delivered to.
 */
#ifndef FEDPUSH_WORKER_PIN_H
#define FEDPUSH_WORKER_PIN_H

#include <curl/curl.h>

#include "base/dns.h"
#include "base/url.h"

struct pins; /* of one multi handle */
struct pin;

struct pins *pins_create(void);
void pins_destroy(struct pins *pins); /* NULL is fine; all pins have been released */

/*
 * Pins url's host and port to `addresses` (count > 0) until pin_release. *list is for this
 * transfer's CURLOPT_RESOLVE, the caller's to free: it first takes out the names that nobody uses
 * any more. A name stays while any transfer uses it: libcurl looks it up again when it repeats a
 * request on a fresh connection.
 */
struct pin *pin_take(struct pins *pins, const struct url *url, const struct dns_address *addresses,
                     size_t count, struct curl_slist **list);
void pin_release(struct pin *pin);
size_t pins_held(const struct pins *pins); /* in use, or not taken out yet */

#endif
