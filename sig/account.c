#include "sig/account.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "sig/actor.h"
#include "sig/cavage.h"

enum { MAX_KEY_ID_BYTES = 1024 };

struct account *account_ref(struct account *account)
{
    account->references++;
    return account;
}

void account_unref(struct account *account)
{
    assert(account->references > 0);
    if (--account->references > 0)
        return;
    key_destroy(account->key);
    free(account->key_id);
    free(account);
}

static void put_key_id(struct buf *out, struct str web_domain, const struct account_row *row)
{
    bool by_uri = row->has_keypair && row->local_fragment.len == 0 && row->uri.len > 0;
    bool by_fragment = row->has_keypair && row->local_fragment.len > 0;

    if (by_uri) {
        buf_put_str(out, row->uri);
        return;
    }
    actor_put_uri(out, web_domain, row->id, row->username, row->id_scheme);
    buf_put_str(out, by_fragment ? row->local_fragment : STR("#main-key"));
}

static enum fp_err check_row(const struct account_maker *maker, const struct account_row *row,
                             struct err *err)
{
    long long id = row->id;

    if (!row->local)
        return err_set(err, FP_INVALID, "account %lld is not a local one", id);
    if (row->has_keypair && row->sealed.len == 0)
        return err_set(err, FP_INVALID, "account %lld: its row in keypairs has no private key", id);
    if (row->has_keypair && maker->encryption == NULL)
        return err_set(err, FP_UNAVAILABLE,
                       "account %lld: its key in keypairs is encrypted: set "
                       "ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY and "
                       "ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT as Mastodon has them",
                       id);
    if (!row->has_keypair && row->pem.len == 0)
        return err_set(err, FP_INVALID, "account %lld has no private key", id);
    return FP_OK;
}

static void hash_part(crypto_generichash_state *state, struct str part)
{
    crypto_generichash_update(state, (const unsigned char *)&part.len, sizeof(part.len));
    crypto_generichash_update(state, (const unsigned char *)part.ptr, part.len);
}

enum fp_err account_fingerprint(const struct account_maker *maker, const struct account_row *row,
                                unsigned char fingerprint[ACCOUNT_FINGERPRINT_BYTES],
                                struct err *err)
{
    enum fp_err code = check_row(maker, row, err);
    crypto_generichash_state state;
    struct buf key_id;

    if (code != FP_OK)
        return code;
    buf_init(&key_id, MAX_KEY_ID_BYTES);
    put_key_id(&key_id, maker->web_domain, row);
    if (key_id.overflow || !cavage_key_id_valid(buf_str(&key_id)))
        code = err_set(err, FP_INVALID, "account %lld: its %s no key id", (long long)row->id,
                       row->has_keypair ? "user name and its row in keypairs make"
                                        : "user name makes");
    crypto_generichash_init(&state, maker->fingerprint_key, sizeof(maker->fingerprint_key),
                            ACCOUNT_FINGERPRINT_BYTES);
    hash_part(&state, buf_str(&key_id));
    hash_part(&state, row->has_keypair ? row->sealed : row->pem);
    crypto_generichash_final(&state, fingerprint, ACCOUNT_FINGERPRINT_BYTES);
    secret_wipe(&state, sizeof(state)); /* it holds the end of the key's text */
    buf_clear(&key_id);
    return code;
}

/* `problem` is filled when it is NULL. */
static struct key *make_key(const struct account_maker *maker, const struct account_row *row,
                            struct err *problem)
{
    struct key *key = NULL;
    struct buf plain;

    if (!row->has_keypair)
        return key_create(row->pem, maker->copies, problem);
    secret_buf_init(&plain, ENCRYPTION_MAX_PLAIN_BYTES);
    if (encryption_open(maker->encryption, row->sealed, &plain, problem) == FP_OK)
        key = key_create(buf_str(&plain), maker->copies, problem);
    secret_buf_clear(&plain);
    return key;
}

struct account *account_create(const struct account_maker *maker, const struct account_row *row,
                               const unsigned char fingerprint[ACCOUNT_FINGERPRINT_BYTES],
                               struct err *err)
{
    struct err problem = {0};
    struct buf key_id;
    struct key *key = make_key(maker, row, &problem);

    if (key == NULL) {
        bool memory = problem.code == FP_UNAVAILABLE || heap_is_tight(maker->heap);
        err_set(err, memory || problem.code == FP_DENIED ? FP_UNAVAILABLE : FP_INVALID,
                "account %lld: %s", (long long)row->id,
                memory ? "no memory for its private key" : problem.message);
        return NULL;
    }
    struct account *account = mem_alloc(sizeof(*account));
    buf_init(&key_id, MAX_KEY_ID_BYTES);
    put_key_id(&key_id, maker->web_domain, row);
    *account = (struct account){
        .id = row->id, .key_id = str_dup(buf_str(&key_id)), .key = key, .references = 1};
    buf_clear(&key_id);
    memcpy(account->fingerprint, fingerprint, sizeof(account->fingerprint));
    return account;
}
