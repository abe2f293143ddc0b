#include "sched/register.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "sched/metrics.h"
#include "sched/retry.h"

enum { STAT_TTL_S = 157680000, SILENT_MACHINE_S = 60 };

/* UNKNOWN --first answer--> SHOWN or HIDDEN --each beat's answer--> SHOWN or HIDDEN; any --> LEFT
 */
enum presence { PRESENCE_UNKNOWN = 0, PRESENCE_SHOWN, PRESENCE_HIDDEN, PRESENCE_LEFT };

struct registration {
    struct register_options o;
    struct metrics *metrics;
    enum presence presence;
    unsigned busy;
    uint64_t processed;
    uint64_t failed;
    bool quiet;
    unsigned processes;
    int64_t rtt_us;
    int64_t ping_us;
};

struct registration *register_create(const struct register_options *options)
{
    struct registration *r = mem_alloc(sizeof(*r));
    r->o = *options;
    r->processes = 1;
    r->metrics = metrics_create(options->clock, options->redis, options->keys, options->sidekiq);
    return r;
}

void register_destroy(struct registration *r)
{
    if (r == NULL)
        return;
    metrics_destroy(r->metrics);
    free(r);
}

void register_count(struct registration *r, struct str class_name, bool failed, uint64_t ms)
{
    r->processed++;
    r->failed += failed;
    metrics_count(r->metrics, class_name, failed, ms);
}

unsigned register_beat_s(const struct registration *r)
{
    return r->o.sidekiq->major < 7 ? 5 : 10;
}

void register_set_quiet(struct registration *r)
{
    r->quiet = true;
}

unsigned register_processes(const struct registration *r)
{
    return r->processes;
}

static void incr(struct registration *r, const char *name, uint64_t amount, const char *day)
{
    char number[24];
    char ttl[24];
    char *total = keys_prefixed(r->o.keys, str_of(name));
    char *daily = mem_printf("%s:%s", total, day);

    snprintf(number, sizeof(number), "%" PRIu64, amount);
    snprintf(ttl, sizeof(ttl), "%d", STAT_TTL_S);
    const struct str incr_total[] = {STR("INCRBY"), str_of(total), str_of(number)};
    const struct str incr_day[] = {STR("INCRBY"), str_of(daily), str_of(number)};
    const struct str expire[] = {STR("EXPIRE"), str_of(daily), str_of(ttl)};
    redis_send(r->o.redis, NULL, NULL, 3, incr_total);
    redis_send(r->o.redis, NULL, NULL, 3, incr_day);
    redis_send(r->o.redis, NULL, NULL, 3, expire);
    free(daily);
    free(total);
}

static void flush_statistics(struct registration *r)
{
    time_t now = (time_t)(clock_wall_us(r->o.clock) / 1000000);
    struct tm utc;
    char day[16];

    metrics_flush(r->metrics);
    if (r->processed == 0)
        return;
    gmtime_r(&now, &utc);
    strftime(day, sizeof(day), "%Y-%m-%d", &utc);
    incr(r, "stat:processed", r->processed, day);
    incr(r, "stat:failed", r->failed, day);
    r->processed = 0;
    r->failed = 0;
}

static void put_hostname(struct buf *out)
{
    char name[256] = "localhost";
    gethostname(name, sizeof(name) - 1);
    json_put_string(out, str_of(name));
}

/* [] or {} of the queues: names alone, or each with weight 0, as Sidekiq shows a strict order. */
static void put_queues(const struct registration *r, struct buf *out, bool weights)
{
    buf_put_char(out, weights ? '{' : '[');
    for (const char *const *queue = r->o.queues; *queue != NULL; queue++) {
        if (queue != r->o.queues)
            buf_put_char(out, ',');
        json_put_string(out, str_of(*queue));
        if (weights)
            buf_put_str(out, STR(":0"));
    }
    buf_put_char(out, weights ? '}' : ']');
}

/* The union of what 6.5 to 8.1 look for: without `capsules` 8.0's busy page fails, without
 * `concurrency` in the JSON the scheduler that cleans up old posts fails on 6.5 to 8.0. */
static void put_info(struct registration *r, struct buf *out)
{
    struct str identity = membership_identity(r->o.membership);
    struct str pid = str_slice(identity, str_find(identity, ':') + 1);
    char started[32];

    pid.len = str_find(pid, ':');
    retry_score(started, r->o.started_us);
    buf_put_str(out, STR("{\"hostname\":"));
    put_hostname(out);
    buf_printf(out, ",\"started_at\":%s,\"pid\":%.*s,\"tag\":\"fedpush\",\"concurrency\":%d",
               started, STR_ARG(pid), r->o.concurrency);
    buf_printf(out,
               ",\"capsules\":{\"default\":{\"concurrency\":%d,\"mode\":\"strict\",\"weights\":",
               r->o.concurrency);
    put_queues(r, out, true);
    buf_put_str(out, STR("}},\"queues\":"));
    put_queues(r, out, false);
    buf_put_str(out, STR(",\"weights\":["));
    put_queues(r, out, true);
    buf_put_str(out, STR("],\"labels\":[\"fedpush\"],\"identity\":"));
    json_put_string(out, identity);
    buf_put_str(out, STR(",\"version\":"));
    json_put_string(out, str_of(r->o.sidekiq->text));
    buf_put_str(out, STR(",\"embedded\":false}"));
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file == NULL)
        return 0;
    if (fscanf(file, "%*s %ld", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void on_signal(void *arg, enum redis_status status, const redisReply *reply)
{
    struct registration *r = arg;

    if (status == REDIS_LOST || reply->type != REDIS_REPLY_STRING)
        return;
    log_event(LOG_LEVEL_INFO, "order from Sidekiq's Web UI",
              LOG_STR("signal", ((struct str){reply->str, (size_t)reply->len})));
    if (reply_is(reply, STR("TSTP")))
        r->o.quiet(r->o.arg);
    else if (reply_is(reply, STR("TERM")))
        r->o.stop(r->o.arg);
}

static void on_processes(void *arg, enum redis_status status, const redisReply *reply)
{
    struct registration *r = arg;
    if (status == REDIS_REPLIED && reply->type == REDIS_REPLY_INTEGER && reply->integer > 0)
        r->processes = (unsigned)reply->integer;
}

static void on_pong(void *arg, enum redis_status status, const redisReply *reply)
{
    struct registration *r = arg;
    (void)reply;
    if (status == REDIS_REPLIED)
        r->rtt_us = clock_wall_us(r->o.clock) - r->ping_us;
}

static void put_value(struct buf *out, const struct work *work)
{
    const struct claim *claim = work->claim;

    buf_init(out, claim->payload_bytes * 6 + 256);
    buf_put_str(out, STR("{\"queue\":"));
    json_put_string(out, work->queue);
    buf_put_str(out, STR(",\"payload\":"));
    json_put_string(out, (struct str){claim->payload, claim->payload_bytes});
    buf_printf(out, ",\"run_at\":%" PRId64 "}", claim->dispatched_us / 1000000);
}

static bool is_presentable(const struct claim *claim)
{
    return claim->job.jid[0] != '\0' && claim->job.created_at_s > 0;
}

struct shown {
    struct str words[2 + 2 * REGISTER_MAX_WORK];
    struct buf values[REGISTER_MAX_WORK];
    char names[REGISTER_MAX_WORK][24];
    size_t count;
    size_t bytes;
};

static void add_work(struct shown *shown, const struct work *work)
{
    size_t n = shown->count;

    if (n == REGISTER_MAX_WORK || !is_presentable(work->claim) ||
        work->claim->payload_bytes > REGISTER_MAX_WORK_BYTES - shown->bytes)
        return;
    shown->bytes += work->claim->payload_bytes;
    put_value(&shown->values[n], work);
    snprintf(shown->names[n], sizeof(shown->names[n]), "%" PRIx64, work->claim->seq);
    shown->words[2 + 2 * n] = str_of(shown->names[n]);
    shown->words[3 + 2 * n] = buf_str(&shown->values[n]);
    shown->count++;
}

/* Jobs with a lock first: the reaper takes a lock whose job it sees nowhere for an orphan. */
static void put_work(struct registration *r, const char *key, const struct work *work, size_t count)
{
    struct shown *shown = mem_alloc(sizeof(*shown));
    const struct str expire[] = {STR("EXPIRE"), str_of(key), STR("60")};

    shown->words[0] = STR("HSET");
    shown->words[1] = str_of(key);
    for (int locked = 1; locked >= 0; locked--) {
        for (size_t i = 0; i < count; i++) {
            if (work[i].claim->job.has_lock == locked)
                add_work(shown, &work[i]);
        }
    }
    if (shown->count > 0) {
        redis_send(r->o.redis, NULL, NULL, 2 + 2 * shown->count, shown->words);
        redis_send(r->o.redis, NULL, NULL, 3, expire);
    }
    for (size_t i = 0; i < shown->count; i++)
        buf_clear(&shown->values[i]);
    free(shown);
}

static void put_process(struct registration *r, const char *key)
{
    char numbers[5][32];
    struct buf info;
    const struct str expire[] = {STR("EXPIRE"), str_of(key), STR("60")};

    buf_init(&info, 8192);
    put_info(r, &info);
    snprintf(numbers[0], sizeof(numbers[0]), "%d", r->o.concurrency);
    snprintf(numbers[1], sizeof(numbers[1]), "%u", r->busy);
    retry_score(numbers[2], clock_wall_us(r->o.clock));
    snprintf(numbers[3], sizeof(numbers[3]), "%" PRId64, r->rtt_us);
    snprintf(numbers[4], sizeof(numbers[4]), "%ld", resident_kib());
    const struct str set[] = {STR("HSET"),        str_of(key),
                              STR("info"),        buf_str(&info),
                              STR("concurrency"), str_of(numbers[0]),
                              STR("busy"),        str_of(numbers[1]),
                              STR("beat"),        str_of(numbers[2]),
                              STR("rtt_us"),      str_of(numbers[3]),
                              STR("quiet"),       r->quiet ? STR("true") : STR("false"),
                              STR("rss"),         str_of(numbers[4])};
    redis_send(r->o.redis, NULL, NULL, sizeof(set) / sizeof(set[0]), set);
    redis_send(r->o.redis, NULL, NULL, 3, expire);
    buf_clear(&info);
}

static void show(struct registration *r, const struct work *work, size_t work_count)
{
    char *key = keys_prefixed(r->o.keys, membership_identity(r->o.membership));
    char *work_key = mem_printf("%s:work", key);
    char *signals = mem_printf("%s-signals", key);
    const struct str unlink_work[] = {STR("UNLINK"), str_of(work_key)};
    const struct str ping[] = {STR("PING")};
    const struct str pop[] = {STR("RPOP"), str_of(signals)};

    redis_send(r->o.redis, NULL, NULL, 2, unlink_work);
    put_work(r, work_key, work, work_count);
    r->ping_us = clock_wall_us(r->o.clock);
    redis_send(r->o.redis, on_pong, r, 1, ping);
    put_process(r, key);
    redis_send(r->o.redis, on_signal, r, 2, pop);
    free(signals);
    free(work_key);
    free(key);
}

/* What was shown goes, but for the hash, which ends by itself in a minute. */
static void hide(struct registration *r)
{
    char *key = keys_prefixed(r->o.keys, membership_identity(r->o.membership));
    char *work_key = mem_printf("%s:work", key);
    const struct str leave[] = {STR("SREM"), str_of(r->o.keys->processes),
                                membership_identity(r->o.membership)};
    const struct str unlink_work[] = {STR("UNLINK"), str_of(work_key)};

    redis_send(r->o.redis, NULL, NULL, 3, leave);
    redis_send(r->o.redis, NULL, NULL, 2, unlink_work);
    free(work_key);
    free(key);
}

static void on_registered(void *arg, enum redis_status status, const redisReply *reply)
{
    struct registration *r = arg;
    enum presence former = r->presence;

    if (status == REDIS_LOST || reply->type != REDIS_REPLY_INTEGER || former == PRESENCE_LEFT)
        return;
    r->presence = reply->integer == 1 ? PRESENCE_SHOWN : PRESENCE_HIDDEN;
    if (r->presence == former)
        return;
    if (r->presence == PRESENCE_SHOWN) {
        show(r, NULL, 0);
        return;
    }
    hide(r);
    log_event(LOG_LEVEL_INFO, "not in Sidekiq's list of processes: enough machines are",
              LOG_INT("machines", REGISTER_MAX_MACHINES));
}

void register_beat(struct registration *r, unsigned busy, const struct work *work,
                   size_t work_count)
{
    const struct str card[] = {STR("SCARD"), str_of(r->o.keys->processes)};
    struct script_call *call = script_begin(SCRIPT_REGISTER);

    r->busy = busy;
    flush_statistics(r);
    script_key(call, r->o.keys->processes);
    script_key(call, r->o.keys->identities);
    script_arg(call, membership_identity(r->o.membership));
    script_arg_number(call, REGISTER_MAX_MACHINES);
    script_arg_number(call, SILENT_MACHINE_S);
    script_send(call, r->o.redis, on_registered, r);
    if (r->presence == PRESENCE_SHOWN)
        show(r, work, work_count);
    redis_send(r->o.redis, on_processes, r, 2, card);
}

void register_fenced(struct registration *r)
{
    hide(r);
    r->presence = PRESENCE_UNKNOWN;
}

void register_leave(struct registration *r)
{
    flush_statistics(r);
    hide(r);
    r->presence = PRESENCE_LEFT;
}
