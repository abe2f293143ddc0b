#include "worker/own_signer.h"

#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/ipc.h"
#include "base/secret.h"
#include "worker/spawn.h"

enum { TICKET_SECONDS = 60, KEY_CACHE = 256 };

struct own_signer {
    const struct clock *clock;
    struct own_signer_handlers handlers;
    unsigned char ticket_key[TICKET_KEY_BYTES];
    pid_t pid;
    struct control *control;
    struct ipc *ipc;
    struct buf scratch;
};

static bool on_message(void *arg, struct control *control, enum control_type type,
                       struct str payload, int fd)
{
    struct own_signer *signer = arg;
    (void)control;
    (void)payload;

    if (fd >= 0)
        close(fd);
    if (type != CONTROL_READY)
        return false;
    signer->handlers.ready(signer->handlers.arg);
    return true;
}

static void on_control_closed(void *arg, struct control *control, const char *reason)
{
    struct own_signer *signer = arg;

    control_destroy(control);
    signer->control = NULL;
    signer->handlers.ended(signer->handlers.arg, reason);
}

static bool on_frame(void *arg, struct ipc *ipc, uint16_t type, struct str payload)
{
    struct own_signer *signer = arg;
    struct message_signed answer;
    (void)ipc;

    if (type != MESSAGE_SIGNED || !message_get_signed(payload, &answer))
        return false;
    signer->handlers.signed_or_not(signer->handlers.arg, &answer);
    return true;
}

static void on_ipc_closed(void *arg, struct ipc *ipc, const char *reason)
{
    struct own_signer *signer = arg;

    ipc_destroy(ipc);
    signer->ipc = NULL;
    signer->handlers.ended(signer->handlers.arg, reason);
}

/* A command says itself what went wrong: of the role's log only errors are wanted. */
static void send_config(struct own_signer *signer, const struct config *config)
{
    struct config visible = *config; /* borrows its texts */
    struct buf bytes;

    visible.signing_threads = 1;
    if (visible.key_cache > KEY_CACHE)
        visible.key_cache = KEY_CACHE;
    if (visible.log_level != LOG_LEVEL_DEBUG)
        visible.log_level = LOG_LEVEL_ERROR;
    secret_buf_init(&bytes, CONTROL_MAX_BYTES);
    config_encode(&visible, ROLE_SIGNER, &bytes);
    control_send(signer->control, CONTROL_CONFIG, buf_str(&bytes), -1);
    secret_buf_clear(&bytes);
}

static void greet(struct own_signer *signer, struct event_base *base, const struct config *config,
                  const int ends[2])
{
    static const struct ipc_handlers handlers = {on_frame, on_ipc_closed};
    static const char peer[] = {ROLE_WORKER, 0};

    send_config(signer, config);
    control_send(signer->control, CONTROL_TICKET_KEY,
                 (struct str){(const char *)signer->ticket_key, sizeof(signer->ticket_key)}, -1);
    control_send(signer->control, CONTROL_PEER, (struct str){peer, sizeof(peer)}, ends[0]);
    control_send(signer->control, CONTROL_START, STR_NULL, -1);
    close(ends[0]);
    signer->ipc = ipc_create(base, ends[1], &handlers, signer);
}

struct own_signer *own_signer_start(struct event_base *base, const struct clock *clock,
                                    const struct config *config,
                                    const struct own_signer_handlers *handlers, struct err *err)
{
    static const struct control_handlers control_handlers = {on_message, on_control_closed};
    struct spawned spawned;
    int ends[2];

    if (spawn_channel(ends, err) != FP_OK)
        return NULL;
    if (spawn_role(ROLE_SIGNER, 0, &spawned, err) != FP_OK) {
        close(ends[0]);
        close(ends[1]);
        return NULL;
    }
    struct own_signer *signer = mem_alloc(sizeof(*signer));
    signer->clock = clock;
    signer->handlers = *handlers;
    signer->pid = spawned.pid;
    randombytes_buf(signer->ticket_key, sizeof(signer->ticket_key));
    buf_init(&signer->scratch, IPC_MAX_FRAME_BYTES);
    signer->control = control_create(base, spawned.control_fd, &control_handlers, signer);
    greet(signer, base, config, ends);
    return signer;
}

void own_signer_destroy(struct own_signer *signer)
{
    if (signer == NULL)
        return;
    ipc_destroy(signer->ipc);
    control_destroy(signer->control);
    kill(signer->pid, SIGKILL); /* it holds nothing that could be lost */
    waitpid(signer->pid, NULL, 0);
    buf_clear(&signer->scratch);
    secret_wipe(signer->ticket_key, sizeof(signer->ticket_key));
    free(signer);
}

void own_signer_ask(struct own_signer *signer, const struct own_signer_request *wanted)
{
    int64_t now_s = clock_wall_us(signer->clock) / 1000000;
    struct message_sign request = {.id = wanted->id,
                                   .method = SIGN_POST,
                                   .scheme = (uint8_t)wanted->scheme,
                                   .date_s = now_s,
                                   .target = wanted->url->target,
                                   .ticket = {.serial = wanted->id,
                                              .account_id = wanted->account_id,
                                              .expires_s = now_s + TICKET_SECONDS,
                                              .origin = wanted->url->origin,
                                              .content_type = STR("application/activity+json"),
                                              .synchronization = wanted->synchronization}};

    if (signer->ipc == NULL)
        return;
    digest_sha256(wanted->body, request.ticket.body_sha256);
    ticket_seal(&request.ticket, signer->ticket_key);
    buf_reset(&signer->scratch);
    message_put_sign(&signer->scratch, &request);
    ipc_send(signer->ipc, MESSAGE_SIGN, buf_str(&signer->scratch));
}
