#include "admin/latency.h"

#include <math.h>

bool latency_add_array(struct latency *latency, struct str array)
{
    struct latency parsed;
    struct str rest = array;

    if (rest.len < 2 || rest.ptr[0] != '{' || rest.ptr[rest.len - 1] != '}')
        return false;
    rest = (struct str){rest.ptr + 1, rest.len - 2};
    for (int i = 0; i < LATENCY_BUCKETS; i++) {
        size_t comma = str_find(rest, ',');
        bool last = comma == rest.len;
        if (last != (i == LATENCY_BUCKETS - 1) ||
            !str_to_i64((struct str){rest.ptr, comma}, 0, INT64_MAX / 2, &parsed.count[i]))
            return false;
        rest = str_slice(rest, comma + 1);
    }
    latency_add(latency, &parsed);
    return true;
}

void latency_add(struct latency *latency, const struct latency *other)
{
    for (int i = 0; i < LATENCY_BUCKETS; i++)
        latency->count[i] += other->count[i];
}

int64_t latency_total(const struct latency *latency)
{
    int64_t total = 0;

    for (int i = 0; i < LATENCY_BUCKETS; i++)
        total += latency->count[i];
    return total;
}

double latency_percentile_ms(const struct latency *latency, double share)
{
    int64_t total = latency_total(latency);
    double wanted = share * (double)total;
    double before = 0;
    double upper = 0;

    if (total == 0)
        return -1;
    for (int i = 0; i < LATENCY_BUCKETS; i++) {
        double count = (double)latency->count[i];
        double lower = i == 0 ? 0 : ldexp(1, i - 1);
        if (count <= 0)
            continue;
        upper = i == 0 ? 0 : ldexp(1, i);
        if (before + count >= wanted)
            return lower + (upper - lower) * fmax(0, wanted - before) / count;
        before += count;
    }
    return upper;
}
