#include "sig/actor.h"

void actor_put_uri(struct buf *out, struct str web_domain, int64_t account_id, struct str username,
                   int64_t id_scheme)
{
    buf_put_str(out, STR("https://"));
    buf_put_str(out, web_domain);
    /* Whatever its scheme: Mastodon looks at the id first. */
    if (account_id == ACTOR_INSTANCE_ID) {
        buf_put_str(out, STR("/actor"));
    } else if (id_scheme == ACTOR_SCHEME_NUMERIC) {
        buf_printf(out, "/ap/users/%lld", (long long)account_id);
    } else {
        buf_put_str(out, STR("/users/"));
        buf_put_str(out, username);
    }
}
