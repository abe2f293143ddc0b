/*
 * Redirects as http.rb follows them in strict mode. Pure.
 */
#ifndef FEDPUSH_WORKER_REDIRECT_H
#define FEDPUSH_WORKER_REDIRECT_H

#include "base/url.h"

bool redirect_is(unsigned status);
/* A POST follows only 303 (as GET), 307 and 308, a GET all. */
bool redirect_is_followed(unsigned status, bool get);
/* The absolute URL that a Location means on `url`; false when there is none. url_clear() it. */
bool redirect_target(const struct url *url, struct str location, struct url *target) FP_MUST_CHECK;

#endif
