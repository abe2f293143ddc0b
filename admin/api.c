#include "admin/api.h"

enum clerk_name api_route(struct str method, struct str path, enum api_right *right, int *status)
{
    (void)method;
    (void)path;
    *right = API_READ;
    *status = 404;
    return CLERKS;
}

void api_answer(struct desk *desk, const struct api_request *request, struct api_reply *reply)
{
    (void)desk;
    (void)request;
    *reply = (struct api_reply){.status = 404, .body = json_object()};
}
