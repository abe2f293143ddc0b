#include "admin/rights.h"

#include <stdlib.h>
#include <string.h>

#include "admin/session.h"

/* 12 hexadecimal digits end an identity, Sidekiq's and ours: "host:pid:nonce". */
#define HEX "[0-9a-f]"
#define NONCE HEX HEX HEX HEX HEX HEX HEX HEX HEX HEX HEX HEX

/* What a connection of this role does. Patterns get the namespace in front. */
static const struct {
    const char *name;
    const char *commands;
    const char *keys[20]; /* ends with NULL */
} roles[REDIS_ROLES] = {
    [REDIS_ROLE_SIDEKIQ] =
        {"sidekiq",
         "+bitfield +blmove +del +eval +evalsha +exists +expire +get +getdel +hdel +hexists +hget "
         "+hgetall "
         "+hincrby +hkeys +hlen +hmget +hscan +hset +hsetnx +incrby +info +lindex +llen "
         "+lpop +lpush +lrange +lrem +lset +ltrim +ping +role +rpop +rpush +sadd +scard "
         "+script|load "
         "+select +set "
         "+sismember +smembers +srem +time +ttl +unlink +zadd +zcard +zcount +zrange "
         "+zrangebyscore "
         "+zrem +zremrangebyrank +zremrangebyscore +zscore",
         {"fedpush:*", "queue:*", "queues", "retry", "schedule", "dead", "processes",
          "stat:processed", "stat:processed:*", "stat:failed", "stat:failed:*", "*:[1-9]*:" NONCE,
          "*:[1-9]*:" NONCE ":work", "*:[1-9]*:" NONCE "-signals", "j|[0-9]*", "h|ActivityPub::*",
          "ActivityPub::*-[0-9]*-[0-9]*"}},
    [REDIS_ROLE_BASE] = {"base",
                         "+del +ping +role +sadd +scard +select",
                         {"exhausted_deliveries:*"}},
    [REDIS_ROLE_CACHE] = {"cache", "+del +ping +role +select +unlink", {"unavailable_domains"}},
};

struct servers {
    struct redis_endpoint of[REDIS_ROLES];
};

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* A user of Redis is the server's, for all its databases. */
static bool same_server(const struct redis_endpoint *a, const struct redis_endpoint *b)
{
    return same_text(a->unix_path, b->unix_path) && same_text(a->master, b->master) &&
           same_text(a->host, b->host) && a->port == b->port;
}

static void put_keys(struct buf *out, enum redis_role role, const char *redis_namespace)
{
    bool named = redis_namespace[0] != '\0';
    const char *separator = named ? ":" : "";

    for (size_t i = 0; roles[role].keys[i] != NULL; i++) {
        if (role == REDIS_ROLE_CACHE)
            buf_printf(out, " ~%s%scache:%s", redis_namespace, named ? "_" : "",
                       roles[role].keys[i]);
        else
            buf_printf(out, " ~%s%s%s", redis_namespace, separator, roles[role].keys[i]);
    }
}

/* The commands of a list that are not on this line yet. */
static void put_commands(struct buf *line, const char *commands)
{
    struct str rest = str_of(commands);

    while (rest.len > 0) {
        size_t end = str_find(rest, ' ');
        char *word = mem_printf(" %.*s ", (int)end, rest.ptr);
        if (strstr(buf_cstr(line), word) == NULL) {
            line->len--; /* the last blank */
            buf_put_str(line, str_of(word));
        }
        free(word);
        rest = str_slice(rest, end + 1);
    }
}

static void put_name(struct buf *out, const struct redis_endpoint *endpoint)
{
    bool named = endpoint->user != NULL && strcmp(endpoint->user, "default") != 0;
    buf_put_str(out, named ? str_of(endpoint->user) : STR("fedpush"));
}

static void put_server(struct buf *out, const struct config *config, const struct servers *servers,
                       int first)
{
    const char *separator = "# ";
    struct buf line;

    buf_init(&line, RIGHTS_MAX_BYTES);
    buf_put_str(&line, STR("ACL SETUSER "));
    put_name(&line, &servers->of[first]);
    buf_put_str(&line, STR(" reset on >PASSWORD resetchannels"));
    for (int role = first; role < REDIS_ROLES; role++) {
        if (!same_server(&servers->of[role], &servers->of[first]))
            continue;
        buf_printf(out, "%s%s", separator, roles[role].name);
        separator = ", ";
        put_keys(&line, (enum redis_role)role, config->redis_namespace);
    }
    buf_put_char(&line, ' ');
    for (int role = first; role < REDIS_ROLES; role++) {
        if (same_server(&servers->of[role], &servers->of[first]))
            put_commands(&line, roles[role].commands);
    }
    buf_put_str(out, STR(": "));
    redis_endpoint_describe(&servers->of[first], out);
    buf_printf(out, "\n%.*s\n", STR_ARG(str_trim(buf_str(&line))));
    buf_clear(&line);
}

static bool is_first_of_its_server(const struct servers *servers, int role)
{
    for (int before = 0; before < role; before++) {
        if (same_server(&servers->of[before], &servers->of[role]))
            return false;
    }
    return true;
}

enum fp_err rights_put_redis_acl(const struct config *config, struct buf *out, struct err *err)
{
    const char *const urls[REDIS_ROLES] = {config->redis_sidekiq_url, config->redis_base_url,
                                           config->redis_cache_url};
    struct servers servers = {0};
    enum fp_err code = FP_OK;

    for (int role = 0; role < REDIS_ROLES && code == FP_OK; role++)
        code = redis_endpoint_parse(&servers.of[role], str_of(urls[role]),
                                    str_of(config->redis_ca_file), err);
    if (code == FP_OK)
        buf_put_str(out,
                    STR("# The Redis user of fedpush, with the commands and keys that it uses "
                        "and no others.\n# Put a password in place of PASSWORD and run it with "
                        "redis-cli, then ACL SAVE.\n"));
    for (int role = 0; role < REDIS_ROLES && code == FP_OK; role++) {
        if (is_first_of_its_server(&servers, role))
            put_server(out, config, &servers, role);
    }
    for (int role = 0; role < REDIS_ROLES; role++)
        redis_endpoint_clear(&servers.of[role]);
    return code;
}
