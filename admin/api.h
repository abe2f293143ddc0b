/*
 * The JSON API's answers, made in the clerks' threads. Who may ask is the gate's (gate.h), what is
 * sent how the question's (question.h).
 */
#ifndef FEDPUSH_ADMIN_API_H
#define FEDPUSH_ADMIN_API_H

#include <jansson.h>

#include "admin/clerk.h"

enum api_right { API_READ, API_ACT };

struct api_request {
    struct str method;
    struct str path;  /* behind /api/v1, decoded: "/overview" */
    struct str query; /* behind '?', as it came */
    struct str body;
    const char *who; /* for the audit: "admin", "@name", "token NAME" */
};

struct api_reply {
    int status;
    json_t *body;            /* the receiver's to json_decref; an error's is its problem details */
    struct str content_type; /* a literal; empty: application/json */
};

/* Who answers, and the right that it needs. CLERKS: nobody; *status is 404, or 405 when only the
 * method is wrong. */
enum clerk_name api_route(struct str method, struct str path, enum api_right *right, int *status);
/* In the clerk's thread. */
void api_answer(struct desk *desk, const struct api_request *request, struct api_reply *reply);

#endif
