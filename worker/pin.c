#include "worker/pin.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/table.h"
#include "worker/address.h"

enum { MAX_ENTRY_BYTES = 4096 };

struct pin {
    TAILQ_ENTRY(pin) entry; /* in `idle`, while users is 0 */
    struct pins *pins;
    char *key; /* "host:port" */
    unsigned users;
};

struct pins {
    struct table *by_key;
    TAILQ_HEAD(, pin) idle;
};

struct pins *pins_create(void)
{
    struct pins *pins = mem_alloc(sizeof(*pins));

    pins->by_key = table_create();
    TAILQ_INIT(&pins->idle);
    return pins;
}

static void drop(struct pin *pin)
{
    TAILQ_REMOVE(&pin->pins->idle, pin, entry);
    table_remove(pin->pins->by_key, str_of(pin->key));
    free(pin->key);
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
    struct pin *pin;

    while ((pin = TAILQ_FIRST(&pins->idle)) != NULL) {
        char *text = mem_printf("-%s", pin->key);
        append(list, text);
        free(text);
        drop(pin);
    }
}

static struct pin *pin_of(struct pins *pins, const struct url *url)
{
    char *key = mem_printf("%.*s:%u", STR_ARG(url->host), url->port);
    struct pin *pin = table_get(pins->by_key, str_of(key));

    if (pin != NULL) {
        free(key);
        return pin;
    }
    pin = mem_alloc(sizeof(*pin));
    pin->pins = pins;
    pin->key = key;
    table_put(pins->by_key, str_of(key), pin);
    return pin;
}

struct pin *pin_take(struct pins *pins, const struct url *url, const struct dns_address *addresses,
                     size_t count, struct curl_slist **list)
{
    struct buf entry;

    assert(count > 0);
    take_out_idle(pins, list);
    struct pin *pin = pin_of(pins, url);
    pin->users++;
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

void pin_release(struct pin *pin)
{
    assert(pin->users > 0);
    if (--pin->users == 0)
        TAILQ_INSERT_TAIL(&pin->pins->idle, pin, entry);
}

size_t pins_held(const struct pins *pins)
{
    return table_count(pins->by_key);
}
