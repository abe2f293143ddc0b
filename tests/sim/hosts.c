#include "tests/sim/hosts.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

enum { MINUTE_MS = 60000, REFUSAL_MS = 40, TYPICAL_MS = 150 };

void hosts_init(struct hosts *hosts, uint32_t count, struct dice *dice)
{
    hosts->list = mem_alloc(count * sizeof(struct sim_host));
    hosts->count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct sim_host *host = &hosts->list[i];
        snprintf(host->name, sizeof(host->name), "h%u.example", i);
        host->median_ms = dice_log_normal_ms(dice, TYPICAL_MS, 0.6);
        host->sigma = 0.4;
        host->watched = true;
        host->limit_minute = -1;
    }
}

void hosts_clear(struct hosts *hosts)
{
    free(hosts->list);
    *hosts = (struct hosts){0};
}

static enum manner manner_at(const struct sim_host *host, int64_t at_ms)
{
    if (at_ms >= host->spell.from_ms && at_ms < host->spell.to_ms)
        return host->spell.manner;
    if (host->flap_ms > 0 && at_ms / host->flap_ms % 2 == 1)
        return MANNER_REFUSED;
    return host->manner;
}

/* When the host stops answering for a while, at or after now; INT64_MAX: never. */
static int64_t falls_ms(const struct sim_host *host, int64_t now_ms)
{
    if (host->spell.manner == MANNER_REFUSED && host->spell.from_ms > now_ms)
        return host->spell.from_ms;
    if (host->flap_ms > 0)
        return (now_ms / host->flap_ms + 1) * host->flap_ms;
    return INT64_MAX;
}

static struct reply transport(bool certain, uint32_t took_ms)
{
    return (struct reply){.kind = REPLY_TRANSPORT, .certain = certain, .took_ms = took_ms};
}

static struct reply status(unsigned code, uint32_t took_ms)
{
    return (struct reply){.kind = REPLY_STATUS, .status = code, .took_ms = took_ms};
}

static bool over_limit(struct sim_host *host, int64_t now_ms)
{
    if (host->limit == 0)
        return false;
    if (host->limit_minute != now_ms / MINUTE_MS) {
        host->limit_minute = now_ms / MINUTE_MS;
        host->limit_count = 0;
    }
    return ++host->limit_count > host->limit;
}

static struct reply push_back(const struct sim_host *host, int64_t now_ms, uint32_t took_ms)
{
    struct reply reply = status(429, took_ms);

    if (host->says_when) /* whole seconds, as the header has them */
        reply.retry_after_ms = ((host->limit_minute + 1) * MINUTE_MS - now_ms + 999) / 1000 * 1000;
    return reply;
}

static struct reply busy(const struct sim_host *host, unsigned code)
{
    struct reply reply = status(code, REFUSAL_MS);

    reply.retry_after_ms = host->asks_ms;
    return reply;
}

static struct reply answer(struct sim_host *host, int64_t now_ms, struct dice *dice)
{
    uint32_t took_ms = dice_log_normal_ms(dice, host->median_ms, host->sigma);

    if (took_ms > HOSTS_SILENCE_MS)
        return transport(false, HOSTS_SILENCE_MS);
    if (falls_ms(host, now_ms) < now_ms + took_ms) /* reset, which may mean anything */
        return transport(false, (uint32_t)(falls_ms(host, now_ms) - now_ms));
    if (over_limit(host, now_ms))
        return push_back(host, now_ms, took_ms / 4 + 1);
    return status(202, took_ms);
}

struct reply hosts_ask(struct sim_host *host, int64_t now_ms, struct dice *dice)
{
    enum manner manner = manner_at(host, now_ms);

    host->attempts++;
    host->asked_ms = now_ms;
    host->in_vain += manner != MANNER_ANSWERS;
    host->at_once++;
    if (host->at_once > host->most_at_once)
        host->most_at_once = host->at_once;
    switch (manner) {
    case MANNER_BLACK_HOLE:
        return transport(false, HOSTS_CONNECT_MS);
    case MANNER_REFUSED:
        return transport(true, REFUSAL_MS);
    case MANNER_SILENT:
        return transport(false, HOSTS_SILENCE_MS);
    case MANNER_ERROR:
        return status(500, dice_log_normal_ms(dice, host->median_ms, host->sigma));
    case MANNER_UNAVAILABLE:
        return busy(host, 503);
    case MANNER_BUSY:
        return busy(host, 429);
    case MANNER_UNSERVED:
        return (struct reply){.kind = REPLY_UNSERVED, .took_ms = HOSTS_CONNECT_MS};
    case MANNER_ANSWERS:
        break;
    }
    return answer(host, now_ms, dice);
}

void hosts_told(struct sim_host *host, const struct reply *reply)
{
    host->at_once--;
    if (reply->status == 429)
        host->pushed_back++;
}
