#include "sched/tally.h"

#include <stdlib.h>
#include <string.h>

#include "base/postgres.h"
#include "base/table.h"

enum { TABLE_BYTES = 96 }; /* what a table takes for an entry, before it grows */

struct server {
    struct synchronization_digest digest;
    size_t len;
    char prefix[];
};

struct tally {
    struct table *servers; /* by prefix */
    size_t bytes;
    size_t max_bytes;
    bool narrow;
    bool partial; /* a server was passed over, or may have been */
};

struct tally *tally_create(size_t max_bytes)
{
    struct tally *tally = mem_alloc(sizeof(*tally));

    tally->servers = table_create();
    tally->max_bytes = max_bytes;
    return tally;
}

static void free_servers(struct tally *tally)
{
    struct server *server;
    size_t at = 0;

    while ((server = table_next(tally->servers, &at)) != NULL)
        free(server);
    table_destroy(tally->servers);
}

void tally_destroy(struct tally *tally)
{
    if (tally == NULL)
        return;
    free_servers(tally);
    free(tally);
}

void tally_reset(struct tally *tally)
{
    free_servers(tally);
    *tally = (struct tally){.servers = table_create(), .max_bytes = tally->max_bytes};
}

static struct server *make_server(struct tally *tally, struct str prefix)
{
    struct server *server = mem_alloc(sizeof(*server) + prefix.len);

    server->len = prefix.len;
    memcpy(server->prefix, prefix.ptr, prefix.len);
    table_put(tally->servers, (struct str){server->prefix, server->len}, server);
    tally->bytes += sizeof(*server) + prefix.len + TABLE_BYTES;
    return server;
}

void tally_want(struct tally *tally, struct str prefix)
{
    if (prefix.len > 0 && table_get(tally->servers, prefix) == NULL)
        make_server(tally, prefix);
}

size_t tally_servers(const struct tally *tally)
{
    return table_count(tally->servers);
}

void tally_narrow(struct tally *tally)
{
    tally->narrow = tally->partial = true;
}

void tally_put_patterns(const struct tally *tally, struct buf *array)
{
    const struct server *server;
    size_t at = 0;

    if (!tally->narrow)
        postgres_array_add(array, STR("http%"));
    while (tally->narrow && (server = table_next(tally->servers, &at)) != NULL)
        synchronization_put_patterns(array, (struct str){server->prefix, server->len});
    postgres_array_end(array);
}

void tally_add(struct tally *tally, struct str uri)
{
    struct str prefix = synchronization_prefix(uri);
    struct server *server = prefix.len > 0 ? table_get(tally->servers, prefix) : NULL;

    if (prefix.len == 0)
        return;
    if (server == NULL && (tally->narrow || tally->bytes >= tally->max_bytes)) {
        tally->partial = true;
        return;
    }
    if (server == NULL)
        server = make_server(tally, prefix);
    synchronization_add(&server->digest, uri);
}

bool tally_find(const struct tally *tally, struct str prefix, struct synchronization_digest *digest)
{
    const struct server *server = table_get(tally->servers, prefix);

    *digest = server != NULL ? server->digest : (struct synchronization_digest){{0}};
    return server != NULL || !tally->partial;
}

size_t tally_bytes(const struct tally *tally)
{
    return tally->bytes;
}
