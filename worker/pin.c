#include "worker/pin.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/table.h"
#include "worker/address.h"

enum { MAX_KEY_BYTES = 320, MAX_ENTRY_BYTES = 1024 };

struct pin {
    TAILQ_ENTRY(pin) entry; /* in `idle`, while users is 0; the longest idle first */
    struct pins *pins;
    unsigned users;
    bool told; /* libcurl has read these addresses */
    size_t count;
    struct dns_address addresses[PIN_MAX_ADDRESSES];
    char key[]; /* "host:port" */
};

struct pins {
    struct table *by_key;
    TAILQ_HEAD(, pin) idle;
    size_t idle_count;
};

struct pins *pins_create(void)
{
    struct pins *pins = mem_alloc(sizeof(*pins));

    pins->by_key = table_create();
    TAILQ_INIT(&pins->idle);
    return pins;
}

static void leave_idle(struct pin *pin)
{
    TAILQ_REMOVE(&pin->pins->idle, pin, entry);
    pin->pins->idle_count--;
}

static void drop(struct pin *pin)
{
    leave_idle(pin);
    table_remove(pin->pins->by_key, str_of(pin->key));
    free(pin);
}

void pins_destroy(struct pins *pins)
{
    if (pins == NULL)
        return;
    while (!TAILQ_EMPTY(&pins->idle))
        drop(TAILQ_FIRST(&pins->idle));
    assert(table_count(pins->by_key) == 0);
    table_destroy(pins->by_key);
    free(pins);
}

static void append(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);
    if (longer == NULL)
        abort();
    *list = longer;
}

static void take_out_idle(struct pins *pins, struct curl_slist **list)
{
    char text[MAX_KEY_BYTES + 1];

    while (pins->idle_count > PINS_MAX_IDLE) {
        struct pin *pin = TAILQ_FIRST(&pins->idle);
        snprintf(text, sizeof(text), "-%s", pin->key);
        append(list, text);
        drop(pin);
    }
}

static struct pin *pin_create(struct pins *pins, struct str key)
{
    struct pin *pin = mem_alloc(sizeof(*pin) + key.len + 1);

    pin->pins = pins;
    memcpy(pin->key, key.ptr, key.len);
    table_put(pins->by_key, str_of(pin->key), pin);
    return pin;
}

static struct pin *pin_of(struct pins *pins, const struct url *url)
{
    char text[MAX_KEY_BYTES];
    int len = snprintf(text, sizeof(text), "%.*s:%u", STR_ARG(url->host), url->port);
    assert(len > 0 && len < (int)sizeof(text)); /* a host has at most 253 bytes */
    const struct str key = {text, (size_t)len};
    struct pin *pin = table_get(pins->by_key, key);

    if (pin == NULL) {
        pin = pin_create(pins, key);
    } else if (pin->users == 0) {
        leave_idle(pin);
    }
    pin->users++;
    return pin;
}

static bool knows(const struct pin *pin, const struct dns_address *addresses, size_t count)
{
    if (!pin->told || pin->count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct dns_address *a = &pin->addresses[i];
        const struct dns_address *b = &addresses[i];
        size_t bytes = a->family == AF_INET ? sizeof(a->ip.v4) : sizeof(a->ip.v6);
        if (a->family != b->family || memcmp(&a->ip, &b->ip, bytes) != 0)
            return false;
    }
    return true;
}

struct pin *pin_take(struct pins *pins, const struct url *url, const struct dns_address *addresses,
                     size_t count, struct curl_slist **list)
{
    struct buf entry;

    assert(count > 0 && count <= PIN_MAX_ADDRESSES);
    struct pin *pin = pin_of(pins, url);
    take_out_idle(pins, list);
    if (knows(pin, addresses, count))
        return pin;
    memcpy(pin->addresses, addresses, count * sizeof(addresses[0]));
    pin->count = count;
    pin->told = false;
    buf_init(&entry, MAX_ENTRY_BYTES);
    buf_printf(&entry, "%s:", pin->key);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_put_char(&entry, ',');
        address_put(&entry, &addresses[i]);
    }
    append(list, buf_cstr(&entry));
    buf_clear(&entry);
    return pin;
}

void pin_told(struct pin *pin)
{
    pin->told = true;
}

/* What was to be taken out is still there: it is the next to be. */
static void keep_untaken(struct pins *pins, const struct curl_slist *unread)
{
    for (; unread != NULL; unread = unread->next) {
        const struct str key = str_slice(str_of(unread->data), 1);
        if (unread->data[0] != '-' || table_get(pins->by_key, key) != NULL)
            continue;
        struct pin *pin = pin_create(pins, key);
        TAILQ_INSERT_HEAD(&pins->idle, pin, entry);
        pins->idle_count++;
    }
}

void pin_release(struct pin *pin, const struct curl_slist *unread)
{
    assert(pin->users > 0);
    keep_untaken(pin->pins, unread);
    if (--pin->users > 0)
        return;
    TAILQ_INSERT_TAIL(&pin->pins->idle, pin, entry);
    pin->pins->idle_count++;
}

size_t pins_held(const struct pins *pins)
{
    return table_count(pins->by_key);
}
