/*
 * The signer's role, started by a command for itself: keys stay in a process of their own, as in
 * `fedpush run`. The command seals the tickets, which the scheduler does otherwise.
 */
#ifndef FEDPUSH_WORKER_OWN_SIGNER_H
#define FEDPUSH_WORKER_OWN_SIGNER_H

#include "base/clock.h"
#include "base/config.h"
#include "base/message.h"
#include "base/url.h"

struct own_signer_handlers {
    void (*ready)(void *arg);
    /* `answer` is borrowed. */
    void (*signed_or_not)(void *arg, const struct message_signed *answer);
    void (*ended)(void *arg, const char *reason); /* no answer comes any more */
    void *arg;
};

struct own_signer;
/* NULL with err filled when no process could be started. `clock` must outlive it. */
struct own_signer *own_signer_start(struct event_base *base, const struct clock *clock,
                                    const struct config *config,
                                    const struct own_signer_handlers *handlers, struct err *err);
/* Ends the process; NULL is fine. */
void own_signer_destroy(struct own_signer *signer);
struct own_signer_request {
    uint64_t id; /* above 0, each once */
    enum sign_scheme scheme;
    int64_t account_id;
    const struct url *url;
    struct str body;
    struct str synchronization; /* or empty */
};
/* Asks for the signature of a POST. */
void own_signer_ask(struct own_signer *signer, const struct own_signer_request *wanted);

#endif
