#include "base/table.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* Open addressing with linear probing and tombstones: one cache line a look-up, and an iteration
 * that survives the removal of the current entry. */
struct slot {
    struct str key;
    void *value; /* NULL: free, or a tombstone when key.ptr is set */
    uint64_t hash;
};

struct table {
    struct slot *slots;
    size_t capacity; /* a power of two */
    size_t count;
    size_t used; /* with tombstones */
    unsigned char hash_key[crypto_shorthash_KEYBYTES];
};

static const char tombstone[1];

struct table *table_create(void)
{
    struct table *table = mem_alloc(sizeof(*table));
    table->capacity = 16;
    table->slots = mem_alloc(table->capacity * sizeof(struct slot));
    crypto_shorthash_keygen(table->hash_key);
    return table;
}

void table_destroy(struct table *table)
{
    if (table == NULL)
        return;
    free(table->slots);
    free(table);
}

size_t table_count(const struct table *table)
{
    return table->count;
}

static uint64_t hash_of(const struct table *table, struct str key)
{
    uint64_t hash;
    unsigned char out[crypto_shorthash_BYTES];
    crypto_shorthash(out, (const unsigned char *)key.ptr, key.len, table->hash_key);
    memcpy(&hash, out, sizeof(hash));
    return hash;
}

static struct slot *find(const struct table *table, struct str key, uint64_t hash)
{
    for (size_t i = hash & (table->capacity - 1);; i = (i + 1) & (table->capacity - 1)) {
        struct slot *slot = &table->slots[i];
        if (slot->value == NULL && slot->key.ptr == NULL)
            return NULL;
        if (slot->value != NULL && slot->hash == hash && str_equal(slot->key, key))
            return slot;
    }
}

static void place(struct table *table, struct slot entry)
{
    size_t i = entry.hash & (table->capacity - 1);
    while (table->slots[i].value != NULL)
        i = (i + 1) & (table->capacity - 1);
    if (table->slots[i].key.ptr == NULL)
        table->used++;
    table->slots[i] = entry;
    table->count++;
}

static void resize(struct table *table)
{
    struct slot *old = table->slots;
    size_t old_capacity = table->capacity;

    while (table->count * 2 >= table->capacity)
        table->capacity *= 2;
    while (table->capacity > 16 && table->count * 8 < table->capacity)
        table->capacity /= 2;
    table->slots = mem_alloc(table->capacity * sizeof(struct slot));
    table->count = 0;
    table->used = 0;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].value != NULL)
            place(table, old[i]);
    }
    free(old);
}

void *table_get(const struct table *table, struct str key)
{
    struct slot *slot = find(table, key, hash_of(table, key));
    return slot != NULL ? slot->value : NULL;
}

void *table_put(struct table *table, struct str key, void *value)
{
    uint64_t hash = hash_of(table, key);
    struct slot *slot = find(table, key, hash);

    if (slot != NULL) {
        void *before = slot->value;
        slot->key = key;
        slot->value = value;
        return before;
    }
    if ((table->used + 1) * 4 > table->capacity * 3)
        resize(table);
    if (key.ptr == NULL)
        key.ptr = ""; /* NULL marks a free slot */
    place(table, (struct slot){key, value, hash});
    return NULL;
}

void *table_remove(struct table *table, struct str key)
{
    struct slot *slot = find(table, key, hash_of(table, key));
    if (slot == NULL)
        return NULL;
    void *value = slot->value;
    *slot = (struct slot){{tombstone, 0}, NULL, 0};
    table->count--;
    return value;
}

void *table_next(const struct table *table, size_t *at)
{
    while (*at < table->capacity) {
        struct slot *slot = &table->slots[(*at)++];
        if (slot->value != NULL)
            return slot->value;
    }
    return NULL;
}
