/* Drops what waits for a domain. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/give.h"
#include "admin/waiting.h"
#include "sched/scripts.h"

enum {
    PASSES = 3,      /* a queue moves while it is looked through */
    HELD_MS = 15000, /* for machines to drop what they hold */
    LOOK_MS = 500,
    TOMBSTONE_BYTES = 16,
    LIST_JOBS = 100, /* of one script */
    SAID_BYTES = 1024,
};

struct drop {
    struct give *give;
    struct session *session;
    struct domain_hosts *hosts;
    char tombstone[40]; /* no job is like it */
    int64_t dropped;
    bool cut; /* something may have been missed */
    struct err *err;
};

/* Only whole entries, as they were seen. Those that were taken from the consuming end meanwhile
 * have moved all others by as many places, which the first one tells; what isn't found within some
 * steps is left to the next pass: LREM would compare the whole queue for each, and hold up Redis
 * for seconds. LTRIM changes nothing, but a write that maxmemory never refuses lets the next ones
 * pass. */
static const char list_script[] =
    "redis.call('LTRIM', KEYS[1], 0, -1) local n, moved, steps = 0, 0, 1000"
    " for i = 2, #ARGV, 2 do local at = tonumber(ARGV[i]) + moved"
    " while at < 0 and redis.call('LINDEX', KEYS[1], at) ~= ARGV[i + 1] do"
    " if steps == 0 then at = 0 else at, steps = at + 1, steps - 1 end end"
    " if at < 0 then redis.call('LSET', KEYS[1], at, ARGV[1]) n = n + 1"
    " moved = at - tonumber(ARGV[i]) end end"
    " if n > 0 then redis.call('LREM', KEYS[1], -n, ARGV[1]) end return n";
static const char set_script[] =
    "local n = 0 for i = 1, #ARGV do n = n + redis.call('ZREM', KEYS[1], ARGV[i]) end return n";

static bool is_queue(const struct waiting_piece *piece)
{
    return piece->place == WAITING_PUSH || piece->place == WAITING_PULL ||
           piece->place == WAITING_HANDOFF;
}

static bool is_dropped(void *arg, const struct url *inbox)
{
    const struct drop *drop = arg;
    return domain_hosts_mean(drop->hosts, inbox->host);
}

static void on_number(void *arg, const redisReply *reply)
{
    int64_t *number = arg;
    *number = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
}

/* The fixed words for a piece; the keys are the caller's to free. */
static size_t begin_words(const struct drop *drop, const struct waiting_piece *piece,
                          struct str *words, char *keys[2])
{
    bool queue = is_queue(piece);
    size_t n = 0;

    words[n++] = STR("EVAL");
    if (piece->identity != NULL) {
        struct str identity = str_of(piece->identity);
        keys[0] = keys_held(&drop->session->keys, identity);
        keys[1] = keys_claimed(&drop->session->keys, identity);
        words[n++] = str_of(script_unlist);
        words[n++] = STR("3");
        words[n++] = str_of(piece->key);
        words[n++] = str_of(keys[0]);
        words[n++] = str_of(keys[1]);
        return n;
    }
    words[n++] = str_of(queue ? list_script : set_script);
    words[n++] = STR("1");
    words[n++] = str_of(piece->key);
    if (queue)
        words[n++] = str_of(drop->tombstone);
    return n;
}

/* At most LIST_JOBS of the piece, from *next on. */
static bool remove_some(struct drop *drop, const struct waiting_piece *piece, size_t *next,
                        int64_t *removed)
{
    enum { FIXED = 6 };
    bool queue = is_queue(piece);
    struct redis *redis = drop->session->redis[REDIS_ROLE_SIDEKIQ];
    struct str words[FIXED + 2 * LIST_JOBS];
    char *indexes[LIST_JOBS];
    char *keys[2] = {NULL, NULL};
    size_t n = begin_words(drop, piece, words, keys);
    size_t count = 0;

    for (; *next < piece->count && count < LIST_JOBS; (*next)++) {
        indexes[count] = mem_printf("%lld", (long long)piece->indexes[*next]);
        if (queue)
            words[n++] = str_of(indexes[count]);
        words[n++] = piece->entries[*next];
        count++;
    }
    bool good = session_command(drop->session, redis, n, words, on_number, removed, drop->err);
    while (count > 0)
        free(indexes[--count]);
    free(keys[0]);
    free(keys[1]);
    return good;
}

static int64_t remove_piece(void *arg, const struct waiting_piece *piece)
{
    struct drop *drop = arg;
    int64_t total = 0;
    size_t next = 0;

    /* From the youngest to the oldest: the indexes of those that are left stay right. */
    while (next < piece->count) {
        int64_t removed = 0;
        if (!remove_some(drop, piece, &next, &removed))
            return -1;
        total += removed;
    }
    if (piece->place != WAITING_HELD) /* what machines held counts as theirs */
        drop->dropped += total;
    return total;
}

/* Until a pass finds nothing more. */
static bool remove_from(struct drop *drop, struct waiting *waiting, enum waiting_place place,
                        struct err *err)
{
    int64_t found = 1;

    for (int pass = 0; pass < PASSES && found > 0; pass++) {
        if (!waiting_look_at(waiting, place, &found, err))
            return false;
    }
    drop->cut |= found > 0;
    return true;
}

static bool remove_all(struct drop *drop, struct waiting *waiting, struct err *err)
{
    bool good = true;

    for (int place = 0; place < WAITING_HELD && good; place++)
        good = remove_from(drop, waiting, (enum waiting_place)place, err);
    return good && remove_from(drop, waiting, WAITING_HANDOFF, err);
}

/* The machines drop what they hold; *left is what they didn't. */
static bool await_machines(struct drop *drop, struct waiting *waiting, int64_t *held, int64_t *left,
                           struct err *err)
{
    *held = *left = waiting_total(waiting, WAITING_HELD);
    for (int waited_ms = 0; *left > 0 && waited_ms < HELD_MS; waited_ms += LOOK_MS) {
        drop->session->done = false;
        session_wait(drop->session, LOOK_MS);
        if (!waiting_look_at(waiting, WAITING_HELD, left, err))
            return false;
    }
    /* What they put off, or tried in vain, as the order came. */
    return *held == 0 || (remove_from(drop, waiting, WAITING_RETRY, err) &&
                          remove_from(drop, waiting, WAITING_SCHEDULE, err));
}

static bool order_drop(struct orders *orders, struct drop *drop,
                       const struct domain_options *options, struct err *err)
{
    struct buf detail;

    buf_init(&detail, 4096);
    orders_put_options(&detail, 0, options->now);
    for (size_t i = 0; i < drop->hosts->count; i++) {
        struct str name = str_of(drop->hosts->names[i]);
        struct policy policy = orders_get(orders, name);
        policy.drop_s = orders->now_s + 1;
        policy.now = options->now;
        orders_set(orders, name, &policy);
        buf_printf(&detail, "%s%s", detail.len > 0 ? " " : "", drop->hosts->names[i]);
    }
    bool good =
        orders_write(orders, "domain drop", str_of(drop->hosts->names[0]), buf_cstr(&detail), err);
    buf_clear(&detail);
    return good;
}

static bool note_end(struct drop *drop, int64_t held, int64_t left, struct err *err)
{
    struct orders orders;
    struct said removed;
    bool good = orders_open(&orders, drop->session, err);

    said_init(&removed, SAID_BYTES);
    said_add(&removed, "", PHRASE_DROP_REMOVED,
             SAYS(SAY_NUMBER("removed", drop->dropped), SAY_NUMBER("by_machines", held - left)));
    orders.who = drop->give->who;
    good = good && orders_write(&orders, "domain dropped", str_of(drop->hosts->names[0]),
                                buf_cstr(&removed.text), err);

    if (good)
        give_say(drop->give, PHRASE_GIVE_DROPPED, SAYS(SAY_SAID("jobs", &removed)));
    if (good && left > 0)
        give_say(drop->give, PHRASE_GIVE_DROP_LEFT, SAYS(SAY_NUMBER("jobs", left)));
    if (good && drop->cut)
        give_say(drop->give, PHRASE_GIVE_DROP_CUT, SAYS_NOTHING);
    orders_close(&orders);
    said_clear(&removed);
    return good;
}

static bool carry_out(struct drop *drop, const struct domain_options *options,
                      struct waiting *waiting, struct err *err)
{
    struct orders orders;
    int64_t held = 0;
    int64_t left = 0;
    bool good = orders_open(&orders, drop->session, err);

    orders.who = drop->give->who;
    good = good && order_drop(&orders, drop, options, err);
    orders_close(&orders);
    waiting->act = remove_piece;
    waiting->all = true;
    waiting->cut = false;
    good =
        good && remove_all(drop, waiting, err) && await_machines(drop, waiting, &held, &left, err);
    drop->cut |= waiting->cut;
    return good && note_end(drop, held, left, err);
}

bool give_domain_drop(struct give *give, struct domain_hosts *hosts,
                      const struct domain_options *options, struct err *err)
{
    struct drop drop = {.give = give, .session = give->session, .hosts = hosts, .err = err};
    struct waiting waiting = {.session = give->session, .wanted = is_dropped, .arg = &drop};
    unsigned char random[TOMBSTONE_BYTES];

    randombytes_buf(random, sizeof(random));
    sodium_bin2hex(drop.tombstone, sizeof(drop.tombstone), random, sizeof(random));
    bool good = waiting_look(&waiting, err) && carry_out(&drop, options, &waiting, err);
    waiting_clear(&waiting);
    return good;
}
