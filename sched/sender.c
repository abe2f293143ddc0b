#include "sched/sender.h"

#include <stdlib.h>

#include "base/message.h"
#include "base/table.h"

struct senders {
    struct senders_options o;
    struct table *by_id;
    size_t bytes; /* of all tallies, as they were counted */
};

static struct str key_of(const int64_t *account_id)
{
    return (struct str){(const char *)account_id, sizeof(*account_id)};
}

struct senders *senders_create(const struct senders_options *options)
{
    struct senders *senders = mem_alloc(sizeof(*senders));

    senders->o = *options;
    senders->by_id = table_create();
    return senders;
}

static void sender_destroy(struct sender *sender)
{
    tally_destroy(sender->tally);
    free(sender->username);
    free(sender);
}

void senders_destroy(struct senders *senders)
{
    struct sender *sender;
    size_t at = 0;

    while ((sender = table_next(senders->by_id, &at)) != NULL)
        sender_destroy(sender);
    table_destroy(senders->by_id);
    free(senders);
}

struct sender *senders_get(struct senders *senders, int64_t account_id)
{
    struct sender *sender = table_get(senders->by_id, key_of(&account_id));

    if (sender != NULL)
        return sender;
    sender = mem_alloc(sizeof(*sender));
    sender->account_id = account_id;
    sender->tally = tally_create(senders->o.tally_bytes);
    TAILQ_INIT(&sender->waiting);
    table_put(senders->by_id, key_of(&sender->account_id), sender);
    return sender;
}

static void forget(struct senders *senders, struct sender *sender)
{
    table_remove(senders->by_id, key_of(&sender->account_id));
    senders->bytes -= sender->kept_bytes;
    sender_destroy(sender);
}

static bool is_fresh(const struct senders *senders, const struct sender *sender)
{
    return sender->state != SENDER_COUNTING && sender->counted &&
           clock_mono_ms(senders->o.clock) - sender->counted_ms <= senders->o.fresh_ms;
}

void senders_sweep(struct senders *senders)
{
    struct sender *sender;
    size_t at = 0;

    while ((sender = table_next(senders->by_id, &at)) != NULL) {
        if (sender->state == SENDER_IDLE && !is_fresh(senders, sender))
            forget(senders, sender);
    }
}

static struct sender *find_oldest(const struct senders *senders, const struct sender *except)
{
    struct sender *oldest = NULL;
    struct sender *sender;
    size_t at = 0;

    while ((sender = table_next(senders->by_id, &at)) != NULL) {
        if (sender != except && sender->state == SENDER_IDLE &&
            (oldest == NULL || sender->counted_ms < oldest->counted_ms))
            oldest = sender;
    }
    return oldest;
}

void sender_discard(struct sender *sender)
{
    tally_reset(sender->tally);
    sender->state = SENDER_QUEUED;
    sender->counted = false;
}

void senders_counted(struct senders *senders, struct sender *sender)
{
    struct sender *oldest;

    sender->state = SENDER_IDLE;
    sender->counted = true;
    sender->counted_ms = clock_mono_ms(senders->o.clock);
    senders->bytes -= sender->kept_bytes;
    sender->kept_bytes = tally_bytes(sender->tally);
    senders->bytes += sender->kept_bytes;
    while (senders->bytes > senders->o.total_bytes &&
           (oldest = find_oldest(senders, sender)) != NULL)
        forget(senders, oldest);
}

char *senders_value(const struct senders *senders, int64_t account_id, struct str inbox_url)
{
    const struct sender *sender = table_get(senders->by_id, key_of(&account_id));
    struct str prefix = synchronization_prefix(inbox_url);
    struct synchronization_digest digest;
    struct buf value;

    if (sender == NULL || !is_fresh(senders, sender))
        return NULL;
    if (sender->username == NULL)
        return str_dup(STR_NULL);
    if (prefix.len > 0 && !tally_find(sender->tally, prefix, &digest))
        return NULL;
    const struct synchronization_sender named = {account_id, str_of(sender->username),
                                                 sender->id_scheme};
    buf_init(&value, MESSAGE_MAX_TEXT_BYTES);
    synchronization_put_value(&value, senders->o.web_domain, &named,
                              prefix.len > 0 ? &digest : NULL);
    char *text = str_dup(buf_str(&value));
    buf_clear(&value);
    return text;
}
