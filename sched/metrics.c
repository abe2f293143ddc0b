#include "sched/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MINUTE_TTL_S = 28800, TEN_MINUTES_TTL_S = 259200, MAX_CLASS_BYTES = 128 };

/* The last slot has no limit. */
static const uint64_t limits_ms[METRICS_SLOTS - 1] = {
    20,   30,   45,   65,    100,   150,   225,   335,   500,    750,    1100,   1700,  2500,
    3800, 5750, 8500, 13000, 20000, 30000, 45000, 65000, 100000, 150000, 225000, 335000};

struct class_metrics {
    char *name;
    uint64_t runs;
    uint64_t failures;
    uint64_t ms;
    uint64_t slots[METRICS_SLOTS];
};

struct metrics {
    const struct clock *clock;
    struct redis *redis;
    const struct keys *keys;
    const struct incumbent_version *sidekiq;
    struct class_metrics classes[METRICS_MAX_CLASSES];
    size_t count;
};

struct metrics *metrics_create(const struct clock *clock, struct redis *redis,
                               const struct keys *keys, const struct incumbent_version *sidekiq)
{
    struct metrics *metrics = mem_alloc(sizeof(*metrics));

    metrics->clock = clock;
    metrics->redis = redis;
    metrics->keys = keys;
    metrics->sidekiq = sidekiq;
    return metrics;
}

void metrics_destroy(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    for (size_t i = 0; i < metrics->count; i++)
        free(metrics->classes[i].name);
    free(metrics);
}

/* Readers split a field at "|". */
static bool is_countable(struct str name)
{
    return name.len > 0 && name.len <= MAX_CLASS_BYTES && str_find(name, '|') == name.len;
}

static struct class_metrics *find(struct metrics *metrics, struct str name)
{
    for (size_t i = 0; i < metrics->count; i++) {
        if (str_equal(str_of(metrics->classes[i].name), name))
            return &metrics->classes[i];
    }
    if (metrics->count == METRICS_MAX_CLASSES || !is_countable(name))
        return NULL;
    metrics->classes[metrics->count] = (struct class_metrics){.name = str_dup(name)};
    return &metrics->classes[metrics->count++];
}

unsigned metrics_slot(uint64_t ms)
{
    unsigned slot = 0;

    while (slot < METRICS_SLOTS - 1 && ms >= limits_ms[slot])
        slot++;
    return slot;
}

void metrics_count(struct metrics *metrics, struct str class_name, bool failed, uint64_t ms)
{
    struct class_metrics *c = find(metrics, class_name);

    if (c == NULL)
        return;
    c->runs++;
    if (failed) {
        c->failures++;
        return;
    }
    c->ms += ms;
    c->slots[metrics_slot(ms)]++;
}

static void send_expire(struct metrics *metrics, const char *key, int ttl_s)
{
    char ttl[24];

    snprintf(ttl, sizeof(ttl), "%d", ttl_s);
    const struct str words[] = {STR("EXPIRE"), str_of(key), str_of(ttl)};
    redis_send(metrics->redis, NULL, NULL, 3, words);
}

static void send_field(struct metrics *metrics, const char *key, const char *class_name,
                       const char *field, uint64_t amount)
{
    char number[24];

    if (amount == 0)
        return;
    char *name = mem_printf("%s|%s", class_name, field);
    snprintf(number, sizeof(number), "%" PRIu64, amount);
    const struct str words[] = {STR("HINCRBY"), str_of(key), str_of(name), str_of(number)};
    redis_send(metrics->redis, NULL, NULL, 4, words);
    free(name);
}

static void send_totals(struct metrics *metrics, const char *name, int ttl_s)
{
    char *key = keys_prefixed(metrics->keys, str_of(name));

    for (size_t i = 0; i < metrics->count; i++) {
        const struct class_metrics *c = &metrics->classes[i];
        send_field(metrics, key, c->name, "ms", c->ms);
        send_field(metrics, key, c->name, "f", c->failures);
        send_field(metrics, key, c->name, "p", c->runs);
    }
    send_expire(metrics, key, ttl_s);
    free(key);
}

/* One BITFIELD for the slots in use: 16 bits each, which saturate. */
static void send_histogram(struct metrics *metrics, const struct class_metrics *c, const char *name)
{
    struct str words[4 + 4 * METRICS_SLOTS] = {STR("BITFIELD"), STR_NULL, STR("OVERFLOW"),
                                               STR("SAT")};
    char slots[METRICS_SLOTS][8];
    char numbers[METRICS_SLOTS][24];
    char *key = keys_prefixed(metrics->keys, str_of(name));
    size_t count = 4;

    words[1] = str_of(key);
    for (unsigned i = 0; i < METRICS_SLOTS; i++) {
        if (c->slots[i] == 0)
            continue;
        snprintf(slots[i], sizeof(slots[i]), "#%u", i);
        snprintf(numbers[i], sizeof(numbers[i]), "%" PRIu64, c->slots[i]);
        words[count++] = STR("INCRBY");
        words[count++] = STR("u16");
        words[count++] = str_of(slots[i]);
        words[count++] = str_of(numbers[i]);
    }
    if (count > 4) {
        redis_send(metrics->redis, NULL, NULL, count, words);
        send_expire(metrics, key, MINUTE_TTL_S);
    }
    free(key);
}

/* The traps: 7 pads day and hour in a histogram's name and never a minute; 8 pads the minute of a
 * hash and nothing in a histogram's name. */
static void send_all(struct metrics *metrics, const struct tm *utc)
{
    bool eight = metrics->sidekiq->major >= 8;
    int year = utc->tm_year + 1900;
    char *day = eight ? mem_printf("%02d%02d%02d", year % 100, utc->tm_mon + 1, utc->tm_mday)
                      : mem_printf("%d%02d%02d", year, utc->tm_mon + 1, utc->tm_mday);
    char *minute =
        mem_printf(eight ? "j|%s|%d:%02d" : "j|%s|%d:%d", day, utc->tm_hour, utc->tm_min);
    send_totals(metrics, minute, MINUTE_TTL_S);
    free(minute);
    if (eight) {
        char *ten_minutes = mem_printf("j|%s|%d:%d", day, utc->tm_hour, utc->tm_min / 10);
        send_totals(metrics, ten_minutes, TEN_MINUTES_TTL_S);
        free(ten_minutes);
    }
    free(day);
    for (size_t i = 0; i < metrics->count; i++) {
        const struct class_metrics *c = &metrics->classes[i];
        char *histogram = mem_printf(eight ? "h|%s-%d-%d:%d" : "%s-%02d-%02d:%d", c->name,
                                     utc->tm_mday, utc->tm_hour, utc->tm_min);
        send_histogram(metrics, c, histogram);
        free(histogram);
    }
}

void metrics_flush(struct metrics *metrics)
{
    time_t now = (time_t)(clock_wall_us(metrics->clock) / 1000000);
    struct tm utc;

    if (metrics->count == 0)
        return;
    gmtime_r(&now, &utc);
    if (metrics->sidekiq->major >= 7)
        send_all(metrics, &utc);
    for (size_t i = 0; i < metrics->count; i++)
        free(metrics->classes[i].name);
    metrics->count = 0;
}
