#include "admin/health.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/hostname.h"

struct beats {
    struct buf prefix; /* of this machine's identities, "HOST:PID:" */
    double last_s;     /* 0: none */
};

static void on_identities(void *arg, const redisReply *reply)
{
    struct beats *beats = arg;

    if (reply->type != REDIS_REPLY_ARRAY)
        return;
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const redisReply *identity = reply->element[i];
        const redisReply *score = reply->element[i + 1];
        if (identity->type != REDIS_REPLY_STRING || score->type != REDIS_REPLY_STRING ||
            !str_starts_with((struct str){identity->str, identity->len}, buf_str(&beats->prefix)))
            continue;
        double beat_s = strtod(score->str, NULL);
        if (beat_s > beats->last_s)
            beats->last_s = beat_s;
    }
}

void health_put_prefix(struct buf *out, int supervisor_pid)
{
    char host[256] = "";

    if (gethostname(host, sizeof(host) - 1) == -1)
        host[0] = '\0';
    hostname_put_machine(out, host);
    buf_printf(out, ":%d:", supervisor_pid);
}

const char *health_problem(struct desk *desk, int supervisor_pid)
{
    const struct str words[] = {STR("ZRANGE"), str_of(desk->session.keys.identities), STR("0"),
                                STR("-1"), STR("WITHSCORES")};
    struct beats beats = {0};
    int64_t now_us;
    struct err err;

    buf_init(&beats.prefix, 128);
    health_put_prefix(&beats.prefix, supervisor_pid);
    struct redis *redis = session_redis(&desk->session, REDIS_ROLE_SIDEKIQ, &err);
    bool answers = redis != NULL && session_time_us(&desk->session, redis, &now_us, &err) &&
                   session_command(&desk->session, redis, 5, words, on_identities, &beats, &err);
    buf_clear(&beats.prefix);
    if (!answers)
        return "Redis does not answer";
    return (double)now_us / 1e6 - beats.last_s <= HEALTH_BEAT_S ? NULL
                                                                : "the scheduler has no beat";
}
