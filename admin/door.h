/*
 * What of the API is about getting in: me, login, logout, tokens.
 */
#ifndef FEDPUSH_ADMIN_DOOR_H
#define FEDPUSH_ADMIN_DOOR_H

#include "admin/question.h"

/* False: the path is none of these. *status is 405 when the method is wrong, else 0 and the route
 * is filled. */
bool door_route(struct str method, struct str path, struct route *route, int *status);
/* GET login/mastodon: sends the browser to Mastodon. At once. */
void door_send_to_mastodon(const struct gate *gate, struct web_exchange *exchange);

#endif
