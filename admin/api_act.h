/* The API's actions: each takes a POST's body, and answers {"ok":true,"text":what was done}. */
#ifndef FEDPUSH_ADMIN_API_ACT_H
#define FEDPUSH_ADMIN_API_ACT_H

#include "admin/api.h"
#include "admin/desk.h"

/* `name`: the domain or the identity of the path; empty where there is none. NULL: err says why. */
typedef json_t *api_act_fn(struct desk *desk, const struct api_request *request, struct str name,
                           struct err *err);

api_act_fn api_pause_domain, api_resume_domain, api_limit_domain, api_try_domain, api_drop_domain;
api_act_fn api_pause, api_resume, api_drain;

#endif
