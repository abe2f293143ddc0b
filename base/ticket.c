#include "base/ticket.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

static_assert(TICKET_KEY_BYTES >= crypto_generichash_KEYBYTES_MIN &&
                  TICKET_KEY_BYTES <= crypto_generichash_KEYBYTES_MAX,
              "BLAKE2b takes this key");
static_assert(TICKET_MAC_BYTES <= crypto_generichash_BYTES_MAX, "BLAKE2b gives this length");

/* Keeps a tag under this key from ever meaning anything but a ticket of this form. */
static const char domain[] = "fedpush ticket 1";

static void put_u64(crypto_generichash_state *state, uint64_t value)
{
    unsigned char bytes[8];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    crypto_generichash_update(state, bytes, sizeof(bytes));
}

/* The length in front keeps bytes from moving between neighbouring fields. */
static void put_str(crypto_generichash_state *state, struct str s)
{
    put_u64(state, s.len);
    crypto_generichash_update(state, (const unsigned char *)s.ptr, s.len);
}

static void make_mac(const struct ticket *ticket, const unsigned char key[TICKET_KEY_BYTES],
                     unsigned char mac[TICKET_MAC_BYTES])
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, key, TICKET_KEY_BYTES, TICKET_MAC_BYTES);
    crypto_generichash_update(&state, (const unsigned char *)domain, sizeof(domain));
    put_u64(&state, ticket->serial);
    put_u64(&state, (uint64_t)ticket->account_id);
    put_u64(&state, (uint64_t)ticket->expires_s);
    crypto_generichash_update(&state, ticket->body_sha256, BODY_DIGEST_BYTES);
    put_str(&state, ticket->origin);
    put_str(&state, ticket->content_type);
    put_str(&state, ticket->synchronization);
    crypto_generichash_final(&state, mac, TICKET_MAC_BYTES);
    sodium_memzero(&state, sizeof(state));
}

void ticket_seal(struct ticket *ticket, const unsigned char key[TICKET_KEY_BYTES])
{
    make_mac(ticket, key, ticket->mac);
}

enum fp_err ticket_check(const struct ticket *ticket, const unsigned char key[TICKET_KEY_BYTES],
                         int64_t now_s, struct err *err)
{
    unsigned char mac[TICKET_MAC_BYTES];

    make_mac(ticket, key, mac);
    int differs = sodium_memcmp(mac, ticket->mac, TICKET_MAC_BYTES);
    sodium_memzero(mac, sizeof(mac)); /* what a forged ticket would have needed */
    if (differs != 0)
        return err_set(err, FP_DENIED, "the ticket was not made by this service's scheduler");
    if (ticket->expires_s <= now_s)
        return err_set(err, FP_DENIED, "the ticket is expired");
    if (ticket->expires_s > now_s + TICKET_MAX_SECONDS)
        return err_set(err, FP_DENIED, "the ticket lives longer than %d seconds",
                       TICKET_MAX_SECONDS);
    return FP_OK;
}
