#include "admin/desk.h"

bool desk_open(struct desk *desk, const struct config *config, struct err *err)
{
    return session_open(&desk->session, config, err);
}

void desk_close(struct desk *desk)
{
    session_close(&desk->session);
}
