<<<<<<< HEAD
/* The signer's role in a child process; the test is its supervisor and its workers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
=======
/* The whole signer's role in a child, with real keys in a real database: what it signs, and what
 * no ticket allows. The test is supervisor, scheduler and worker. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
>>>>>>> worker2
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

<<<<<<< HEAD
#include "base/config.h"
#include "base/control.h"
#include "base/message.h"
#include "server.h"
#include "sig/digest.h"
#include "sig/signer.h"

enum { LIMIT_S = 20, WORKERS = 2, MAX_FRAME_BYTES = 64 * 1024 };

static const unsigned char ticket_key[TICKET_KEY_BYTES] = "0123456789abcdef0123456789abcde";
static struct server server;
static EVP_PKEY *pkey;

struct fixture {
    int control;
    int workers[WORKERS];
    pid_t pid;
    uint64_t next_serial;
};

/* ---- the supervisor's side ---- */

static void send_control(struct fixture *f, enum control_type type, struct str payload, int fd)
{
    static const struct control_handlers none = {NULL, NULL};
    struct event_base *base = event_base_new();
    struct control *control = control_create(base, dup(f->control), &none, NULL);

    control_send(control, type, payload, fd);
    control_destroy(control);
    event_base_free(base);
}

static void wait_for_ready(struct fixture *f)
{
    struct pollfd readable = {.fd = f->control, .events = POLLIN};
    char packet[16];

    assert_int_equal(poll(&readable, 1, LIMIT_S * 1000), 1);
    assert_true(recv(f->control, packet, sizeof(packet), 0) > 0);
    assert_int_equal(packet[0], CONTROL_READY);
=======
#include <cmocka.h>
#include <sodium.h>

#include "base/config.h"
#include "base/control.h"
#include "base/ipc.h"
#include "base/loop.h"
#include "base/message.h"
#include "server.h"
#include "sig/signer.h"

static const unsigned char ticket_key[TICKET_KEY_BYTES] = "0123456789abcdef0123456789abcde";

enum { ACCOUNT = 1001, SUSPENDED = 1002, KEYLESS = 1003 };

struct fixture {
    struct server postgres;
    EVP_PKEY *key;
    struct event_base *base;
    struct control *control;
    struct ipc *ipc;
    pid_t pid;
    bool ready;
    bool answered;
    bool closed;
    uint64_t serial;
    struct message_signed answer;
    char signature[2048];
    char date[64];
    char digest[128];
    char host[128];
    char reason[256];
};

/* --- the signer's process and its supervisor --- */

static void be_the_signer(int fd)
{
    if (fd != CONTROL_FD && dup2(fd, CONTROL_FD) == -1)
        _exit(99);
    _exit(signer_main());
}

static bool on_message(void *arg, struct control *control, enum control_type type,
                       struct str payload, int fd)
{
    struct fixture *f = arg;
    (void)control;
    (void)payload;
    assert_int_equal(fd, -1);
    f->ready = f->ready || type == CONTROL_READY;
    return true;
}

static void on_control_closed(void *arg, struct control *control, const char *reason)
{
    (void)arg;
    (void)control;
    fail_msg("the signer is gone: %s", reason);
}

static void copy(char *out, size_t size, struct str s)
{
    snprintf(out, size, "%.*s", STR_ARG(s));
}

static bool on_frame(void *arg, struct ipc *ipc, uint16_t type, struct str payload)
{
    struct fixture *f = arg;
    (void)ipc;
    assert_int_equal(type, MESSAGE_SIGNED);
    assert_true(message_get_signed(payload, &f->answer));
    copy(f->signature, sizeof(f->signature), f->answer.signature);
    copy(f->date, sizeof(f->date), f->answer.date);
    copy(f->digest, sizeof(f->digest), f->answer.digest);
    copy(f->host, sizeof(f->host), f->answer.host);
    copy(f->reason, sizeof(f->reason), f->answer.reason);
    f->answered = true;
    return true;
}

static void on_ipc_closed(void *arg, struct ipc *ipc, const char *reason)
{
    struct fixture *f = arg;
    (void)ipc;
    (void)reason;
    f->closed = true;
>>>>>>> worker2
}

static void send_config(struct fixture *f)
{
<<<<<<< HEAD
    char host[160];
    char version[] = "FEDPUSH_MASTODON_VERSION=4.5.15";
    char domain[] = "WEB_DOMAIN=social.test";
    char user[] = "DB_USER=postgres";
    char name[] = "DB_NAME=fedpush_test";
    char threads[] = "FEDPUSH_SIGNING_THREADS=2";
    char *const environment[] = {version, domain, host, user, name, threads, NULL};
    struct config config;
    struct err err = {0};
    struct buf bytes;

    snprintf(host, sizeof(host), "DB_HOST=%s", server.socket);
=======
    struct config config;
    struct err err;
    struct buf bytes;
    char url[256];
    snprintf(url, sizeof(url),
             "FEDPUSH_KEYS_DATABASE_URL=postgres:///fedpush_test?host=%s&user=postgres",
             f->postgres.socket);
    char domain[] = "LOCAL_DOMAIN=social.example";
    char version[] = "FEDPUSH_MASTODON_VERSION=4.5.15";
    char threads[] = "FEDPUSH_SIGNING_THREADS=2";
    char *environment[] = {domain, version, threads, url, NULL};

>>>>>>> worker2
    if (config_load(&config, environment, NULL, &err) != FP_OK)
        fail_msg("%s", err.message);
    buf_init(&bytes, CONTROL_MAX_BYTES);
    config_encode(&config, ROLE_SIGNER, &bytes);
<<<<<<< HEAD
    assert_false(bytes.overflow);
    send_control(f, CONTROL_CONFIG, buf_str(&bytes), -1);
=======
    control_send(f->control, CONTROL_CONFIG, buf_str(&bytes), -1);
>>>>>>> worker2
    buf_clear(&bytes);
    config_clear(&config);
}

<<<<<<< HEAD
/* A new channel between the signer and this worker; the old one is closed on our side. */
static void connect_worker(struct fixture *f, unsigned index)
{
    const char peer[2] = {ROLE_WORKER, (char)index};
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    if (f->workers[index] >= 0)
        close(f->workers[index]);
    f->workers[index] = ends[0];
    send_control(f, CONTROL_PEER, (struct str){peer, sizeof(peer)}, ends[1]);
    close(ends[1]);
=======
static void start_signer(struct fixture *f)
{
    static const struct control_handlers handlers = {on_message, on_control_closed};
    static const struct ipc_handlers ipc_handlers = {on_frame, on_ipc_closed};
    const char worker[] = {ROLE_WORKER, 0};
    int fds[2];
    int channel[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid == 0) {
        close(fds[0]);
        be_the_signer(fds[1]);
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel), 0);
    close(fds[1]);
    f->base = loop_create();
    f->control = control_create(f->base, fds[0], &handlers, f);
    f->ipc = ipc_create(f->base, channel[0], &ipc_handlers, f);
    send_config(f);
    control_send(f->control, CONTROL_TICKET_KEY,
                 (struct str){(const char *)ticket_key, TICKET_KEY_BYTES}, -1);
    control_send(f->control, CONTROL_PEER, (struct str){worker, 2}, channel[1]);
    control_send(f->control, CONTROL_START, STR_NULL, -1);
    close(channel[1]);
    server_wait(f->base, &f->ready);
}

static void make_accounts(struct fixture *f)
{
    BIO *memory = BIO_new(BIO_s_mem());
    char *pem;
    char *sql;

    f->key = EVP_RSA_gen(2048);
    assert_non_null(f->key);
    assert_int_equal(
        PEM_write_bio_PrivateKey_traditional(memory, f->key, NULL, NULL, 0, NULL, NULL), 1);
    long len = BIO_get_mem_data(memory, &pem);
    sql = mem_printf(
        "CREATE TABLE accounts (id bigint PRIMARY KEY, username varchar NOT NULL, domain varchar, "
        "private_key text, uri varchar, suspended_at timestamp, actor_type varchar, id_scheme int);"
        "INSERT INTO accounts (id, username, private_key, suspended_at) VALUES "
        "(%d, 'alice', '%.*s', NULL), (%d, 'bob', '%.*s', now()), (%d, 'carol', NULL, NULL)",
        ACCOUNT, (int)len, pem, SUSPENDED, (int)len, pem, KEYLESS);
    server_sql(&f->postgres, sql);
    free(sql);
    BIO_free(memory);
>>>>>>> worker2
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));
<<<<<<< HEAD
    int fds[2];

    for (unsigned i = 0; i < WORKERS; i++)
        f->workers[i] = -1;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
    f->control = fds[0];
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid == 0) {
        if (fds[1] != CONTROL_FD && dup2(fds[1], CONTROL_FD) == -1)
            _exit(99);
        if (fds[0] != CONTROL_FD)
            close(fds[0]);
        if (fds[1] != CONTROL_FD)
            close(fds[1]);
        _exit(signer_main());
    }
    close(fds[1]);
    send_config(f);
    send_control(f, CONTROL_TICKET_KEY, (struct str){(const char *)ticket_key, sizeof(ticket_key)},
                 -1);
    for (unsigned i = 0; i < WORKERS; i++)
        connect_worker(f, i);
    send_control(f, CONTROL_START, STR_NULL, -1);
    wait_for_ready(f);
=======

    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        return 1;
    server_start_postgres(&f->postgres);
    make_accounts(f);
    start_signer(f);
>>>>>>> worker2
    *state = f;
    return 0;
}

<<<<<<< HEAD
static int stop(void **state)
{
    struct fixture *f = *state;
    int status;

    send_control(f, CONTROL_STOP, STR_NULL, -1);
    alarm(LIMIT_S);
    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    alarm(0);
    for (unsigned i = 0; i < WORKERS; i++)
        close(f->workers[i]);
    close(f->control);
    free(f);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

/* ---- the worker's side ---- */

static void put_u32(unsigned char *out, size_t value)
{
    for (size_t i = 0; i < 4; i++)
        out[i] = (unsigned char)(value >> (8 * i));
}

static void send_frame(int fd, uint16_t type, struct str payload)
{
    unsigned char *frame = mem_alloc(6 + payload.len);

    put_u32(frame, payload.len + 2);
    frame[4] = (unsigned char)type;
    frame[5] = (unsigned char)(type >> 8);
    if (payload.len > 0)
        memcpy(frame + 6, payload.ptr, payload.len);
    assert_int_equal(send(fd, frame, 6 + payload.len, MSG_NOSIGNAL), 6 + payload.len);
    free(frame);
}

static bool receive(int fd, unsigned char *out, size_t len)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};

    while (len > 0) {
        if (poll(&readable, 1, LIMIT_S * 1000) != 1)
            fail_msg("the signer did not answer");
        ssize_t n = recv(fd, out, len, 0);
        if (n <= 0)
            return false;
        out += n;
        len -= (size_t)n;
    }
    return true;
}

/* An answer and the bytes it borrows. */
struct reply {
    struct message_signed m;
    unsigned char bytes[MAX_FRAME_BYTES];
};

static void receive_reply(int fd, struct reply *reply)
{
    unsigned char head[6];

    assert_true(receive(fd, head, sizeof(head)));
    size_t len = (size_t)(head[0] | head[1] << 8 | head[2] << 16) - 2;
    assert_int_equal(head[4], MESSAGE_SIGNED);
    assert_true(len <= MAX_FRAME_BYTES);
    assert_true(receive(fd, reply->bytes, len));
    assert_true(message_get_signed((struct str){(const char *)reply->bytes, len}, &reply->m));
}

static void send_sign(int fd, const struct message_sign *m)
{
    struct buf out;

    buf_init(&out, MAX_FRAME_BYTES);
    message_put_sign(&out, m);
    send_frame(fd, MESSAGE_SIGN, buf_str(&out));
    buf_clear(&out);
}

static void sign(int fd, const struct message_sign *m, struct reply *reply)
{
    send_sign(fd, m);
    receive_reply(fd, reply);
    assert_true(reply->m.id == m->id);
}

/* A request as scheduler and worker make it; change it, and seal it again where that is meant. */
static struct message_sign some_request(struct fixture *f, int64_t account_id)
{
    int64_t now_s = time(NULL);
    struct message_sign m = {
        .id = 1000 + f->next_serial,
        .ticket = {.serial = f->next_serial++,
                   .account_id = account_id,
                   .expires_s = now_s + 300,
                   .origin = STR("https://remote.example:8443"),
                   .content_type = STR("application/activity+json")},
        .method = SIGN_POST,
        .date_s = now_s,
        .target = STR("/inbox?x=1"),
    };

    digest_sha256(STR("{\"hello\":\"world\"}"), m.ticket.body_sha256);
=======
static int end(void **state)
{
    struct fixture *f = *state;

    ipc_destroy(f->ipc);
    control_destroy(f->control); /* the supervisor's end ends the signer */
    waitpid(f->pid, NULL, 0);
    event_base_free(f->base);
    server_stop(&f->postgres);
    EVP_PKEY_free(f->key);
    free(f);
    return 0;
}

/* --- questions --- */

static struct message_sign question(struct fixture *f, int64_t account_id)
{
    int64_t now_s = time(NULL);
    struct message_sign m = {.id = 5,
                             .ticket = {.serial = ++f->serial,
                                        .account_id = account_id,
                                        .expires_s = now_s + 60,
                                        .origin = STR("https://remote.example"),
                                        .content_type = STR("application/activity+json")},
                             .date_s = now_s,
                             .target = STR("/inbox?x=1")};
    memset(m.ticket.body_sha256, 7, BODY_DIGEST_BYTES);
>>>>>>> worker2
    ticket_seal(&m.ticket, ticket_key);
    return m;
}

<<<<<<< HEAD
static void assert_str(struct str got, const char *wanted)
{
    char *text = str_dup(got);

    assert_string_equal(text, wanted);
    free(text);
}

static void assert_answer(const struct reply *reply, enum sign_status status, const char *reason)
{
    char *text = str_dup(reply->m.reason);

    if (strstr(text, reason) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", reason, text);
    assert_int_equal(reply->m.status, status);
    assert_int_equal(reply->m.signature.len, 0);
    free(text);
}

/* The header is `start` and a signature of `signing_string` by the test's key. */
static void assert_verifies(const struct reply *reply, const char *start_of_header,
                            const char *signing_string)
{
    unsigned char signature[512];
    size_t len;
    struct str header = reply->m.signature;
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    assert_int_equal(reply->m.status, SIGN_OK);
    assert_true(str_starts_with(header, str_of(start_of_header)));
    header = str_slice(header, strlen(start_of_header));
    assert_int_equal(sodium_base642bin(signature, sizeof(signature), header.ptr, header.len - 1,
                                       NULL, &len, NULL, sodium_base64_VARIANT_ORIGINAL),
                     0);
    assert_int_equal(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, pkey), 1);
    assert_int_equal(EVP_DigestVerify(context, signature, len,
                                      (const unsigned char *)signing_string,
                                      strlen(signing_string)),
                     1);
    EVP_MD_CTX_free(context);
}

/* ---- the tests ---- */

static void a_post_is_signed_as_its_ticket_says(void **state)
{
    struct fixture *f = *state;
    struct message_sign m = some_request(f, 1);
    char signing_string[1024];
    struct reply reply;

    m.ticket.synchronization = STR("collectionId=\"https://social.test/f\", digest=\"00\"");
    ticket_seal(&m.ticket, ticket_key);
    sign(f->workers[0], &m, &reply);
    assert_str(reply.m.host, "remote.example:8443");
    assert_str(reply.m.digest, "SHA-256=k6I5cakU5erL8KjSUVTNownDwccvu5kU1Hxg88toFYg=");
    assert_int_equal(reply.m.sender_suspended, 0);
    snprintf(signing_string, sizeof(signing_string),
             "host: remote.example:8443\ndate: %.*s\n"
             "digest: SHA-256=k6I5cakU5erL8KjSUVTNownDwccvu5kU1Hxg88toFYg=\n"
             "content-type: application/activity+json\n"
             "collection-synchronization: collectionId=\"https://social.test/f\", "
             "digest=\"00\"\n"
             "(request-target): post /inbox?x=1",
             STR_ARG(reply.m.date));
    assert_verifies(&reply,
                    "keyId=\"https://social.test/users/Alice#main-key\","
                    "algorithm=\"rsa-sha256\",headers=\"host date digest content-type "
                    "collection-synchronization (request-target)\",signature=\"",
                    signing_string);
}

static void a_get_after_a_redirect_is_signed(void **state)
{
    struct fixture *f = *state;
    struct message_sign m = some_request(f, 2);
    char signing_string[1024];
    struct reply reply;

    m.method = SIGN_GET;
    m.target = STR("/moved");
    sign(f->workers[1], &m, &reply);
    assert_int_equal(reply.m.digest.len, 0);
    assert_int_equal(reply.m.sender_suspended, 1);
    snprintf(signing_string, sizeof(signing_string),
             "host: remote.example:8443\ndate: %.*s\n(request-target): get /moved",
             STR_ARG(reply.m.date));
    assert_verifies(&reply,
                    "keyId=\"https://social.test/users/bob#main-key\",algorithm=\"rsa-sha256\","
                    "headers=\"host date (request-target)\",signature=\"",
                    signing_string);
}

static void what_a_ticket_does_not_say_is_refused(void **state)
{
    struct fixture *f = *state;
    struct message_sign m = some_request(f, 1);
    struct reply reply;

    m.ticket.account_id = 2; /* somebody else */
    sign(f->workers[0], &m, &reply);
    assert_answer(&reply, SIGN_REFUSED, "scheduler");
    m = some_request(f, 1);
    m.ticket.origin = STR("https://other.example");
    sign(f->workers[0], &m, &reply);
    assert_answer(&reply, SIGN_REFUSED, "scheduler");
    m = some_request(f, 1);
    m.ticket.expires_s = time(NULL) - 1;
    ticket_seal(&m.ticket, ticket_key);
    sign(f->workers[0], &m, &reply);
    assert_answer(&reply, SIGN_REFUSED, "expired");
    m = some_request(f, 1);
    m.ticket.expires_s += TICKET_MAX_SECONDS;
    ticket_seal(&m.ticket, ticket_key);
    sign(f->workers[0], &m, &reply);
    assert_answer(&reply, SIGN_REFUSED, "longer");
}

static void dates_out_of_time_are_refused(void **state)
{
    struct fixture *f = *state;
    struct message_sign m = some_request(f, 1);
    struct reply reply;

    m.date_s = time(NULL) + 60;
    sign(f->workers[0], &m, &reply);
    assert_answer(&reply, SIGN_REFUSED, "date");
    m.date_s = time(NULL) - 31;
    sign(f->workers[0], &m, &reply);
    assert_answer(&reply, SIGN_REFUSED, "date");
    m.date_s = INT64_MIN;
    sign(f->workers[0], &m, &reply);
    assert_answer(&reply, SIGN_REFUSED, "date");
    m.date_s = time(NULL) - 20;
    sign(f->workers[0], &m, &reply);
    assert_int_equal(reply.m.status, SIGN_OK);
}

static void targets_that_forge_lines_are_refused(void **state)
{
    static const char *const targets[] = {"",      "inbox", "/in box", "/a\r\nhost: b",
                                          "/\x7f", "/\xc3"};
    struct fixture *f = *state;
    struct message_sign m = some_request(f, 1);
    struct reply reply;

    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        m.target = str_of(targets[i]);
        sign(f->workers[0], &m, &reply);
        assert_answer(&reply, SIGN_REFUSED, "target");
    }
    m.target = STR("/inbox"); /* none of these was a use of the ticket */
    for (int i = 0; i < TICKET_MAX_USES; i++) {
        sign(f->workers[0], &m, &reply);
        assert_int_equal(reply.m.status, SIGN_OK);
    }
}

static void the_ninth_use_is_refused_whoever_asks(void **state)
{
    struct fixture *f = *state;
    struct message_sign m = some_request(f, 1);
    struct reply reply;

    for (int i = 0; i < TICKET_MAX_USES; i++) {
        sign(f->workers[i % WORKERS], &m, &reply);
        assert_int_equal(reply.m.status, SIGN_OK);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        sign(f->workers[i], &m, &reply);
        assert_answer(&reply, SIGN_REFUSED, "used up");
    }
}

static void senders_that_cannot_sign_are_told_apart(void **state)
{
    struct fixture *f = *state;
    struct message_sign m = some_request(f, 404);
    struct reply reply;

    sign(f->workers[0], &m, &reply);
    assert_answer(&reply, SIGN_ACCOUNT_MISSING, "no account 404");
    m = some_request(f, 3);
    sign(f->workers[0], &m, &reply);
    assert_answer(&reply, SIGN_KEY_UNUSABLE, "account 3 has no private key");
    m = some_request(f, 4);
    sign(f->workers[0], &m, &reply);
    assert_answer(&reply, SIGN_KEY_UNUSABLE, "account 4: ");
}

/* More than the threads have in hand at once, from both workers, all at once. */
static void many_requests_are_all_answered_once(void **state)
{
    enum { REQUESTS = 200 };
    struct fixture *f = *state;
    bool answered[WORKERS][REQUESTS] = {{false}};
    uint64_t first[WORKERS];
    struct reply reply;

    for (unsigned w = 0; w < WORKERS; w++) {
        for (int i = 0; i < REQUESTS; i++) {
            struct message_sign m = some_request(f, 1 + i % 2);
            if (i == 0)
                first[w] = m.id;
            send_sign(f->workers[w], &m);
        }
    }
    for (unsigned w = 0; w < WORKERS; w++) {
        for (int i = 0; i < REQUESTS; i++) {
            receive_reply(f->workers[w], &reply);
            assert_int_equal(reply.m.status, SIGN_OK);
            assert_true(reply.m.id >= first[w] && reply.m.id < first[w] + REQUESTS);
            assert_false(answered[w][reply.m.id - first[w]]);
            answered[w][reply.m.id - first[w]] = true;
        }
    }
}

static void assert_closed(int fd)
{
    unsigned char byte;
    assert_false(receive(fd, &byte, 1));
}

static void a_bad_frame_closes_that_channel_only(void **state)
{
    struct fixture *f = *state;
    struct message_sign m = some_request(f, 1);
    struct reply reply;

    send_frame(f->workers[0], MESSAGE_SIGN, STR("rubbish"));
    assert_closed(f->workers[0]);
    sign(f->workers[1], &m, &reply);
    assert_int_equal(reply.m.status, SIGN_OK);
    connect_worker(f, 0);
    send_frame(f->workers[0], MESSAGE_JOB, STR_NULL); /* not for a signer */
    assert_closed(f->workers[0]);
    connect_worker(f, 0);
    sign(f->workers[0], &m, &reply);
    assert_int_equal(reply.m.status, SIGN_OK);
}

static void a_worker_that_left_is_not_answered_in_its_successors_channel(void **state)
{
    struct fixture *f = *state;
    struct message_sign m;
    struct reply reply;

    for (int i = 0; i < 50; i++) {
        m = some_request(f, 1);
        send_sign(f->workers[0], &m);
    }
    connect_worker(f, 0);
    m = some_request(f, 1);
    sign(f->workers[0], &m, &reply); /* checks that the first answer is to this request */
    assert_int_equal(reply.m.status, SIGN_OK);
}

static void known_keys_sign_while_the_database_is_away(void **state)
{
    struct fixture *f = *state;
    struct message_sign m = some_request(f, 1);
    struct reply reply;

    sign(f->workers[0], &m, &reply);
    assert_int_equal(reply.m.status, SIGN_OK);
    server_pause_postgres(&server);
    m = some_request(f, 1);
    sign(f->workers[0], &m, &reply);
    assert_int_equal(reply.m.status, SIGN_OK);
    m = some_request(f, 2);
    sign(f->workers[0], &m, &reply);
    assert_answer(&reply, SIGN_UNAVAILABLE, "");
    server_resume_postgres(&server);
    time_t limit_s = time(NULL) + LIMIT_S;
    do { /* each waits for up to two seconds */
        m = some_request(f, 2);
        sign(f->workers[0], &m, &reply);
    } while (reply.m.status == SIGN_UNAVAILABLE && time(NULL) < limit_s);
    assert_int_equal(reply.m.status, SIGN_OK);
}

/* ---- the database ---- */

static char *make_pem(void)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;

    pkey = EVP_RSA_gen(2048);
    if (PEM_write_bio_PrivateKey_traditional(bio, pkey, NULL, NULL, 0, NULL, NULL) != 1)
        abort();
    long len = BIO_get_mem_data(bio, &data);
    char *text = str_dup((struct str){data, (size_t)len});
    BIO_free(bio);
    return text;
}

static int set_up(void **state)
{
    char *pem = make_pem();
    char *sql = mem_printf(
        "CREATE TABLE accounts (id bigint PRIMARY KEY, username varchar, domain varchar, "
        "private_key text, suspended_at timestamp, id_scheme integer);"
        "INSERT INTO accounts VALUES (1, 'Alice', NULL, '%s', NULL, 0), "
        "(2, 'bob', NULL, '%s', now(), 0), (3, 'carol', NULL, NULL, NULL, 0), "
        "(4, 'eve', NULL, 'no key', NULL, 0)",
        pem, pem);
    (void)state;

    server_start_postgres(&server);
    server_sql(&server, sql);
    free(sql);
    free(pem);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    server_stop(&server);
    EVP_PKEY_free(pkey);
    return 0;
}

#define with_signer(test) cmocka_unit_test_setup_teardown(test, start, stop)
=======
static enum sign_status ask(struct fixture *f, const struct message_sign *m)
{
    struct buf bytes;

    buf_init(&bytes, 65536);
    message_put_sign(&bytes, m);
    f->answered = false;
    ipc_send(f->ipc, MESSAGE_SIGN, buf_str(&bytes));
    buf_clear(&bytes);
    server_wait(f->base, &f->answered);
    assert_int_equal(f->answer.id, m->id);
    if (f->answer.status != SIGN_OK)
        assert_string_equal(f->signature, "");
    return (enum sign_status)f->answer.status;
}

static void expect_refused(struct fixture *f, const struct message_sign *m)
{
    assert_int_equal(ask(f, m), SIGN_REFUSED);
    assert_string_not_equal(f->reason, "");
}

/* The signature verifies over `text` with the account's public key. */
static bool verifies(struct fixture *f, const char *text)
{
    unsigned char bytes[512];
    char *value = strstr(f->signature, "signature=\"");
    assert_non_null(value);
    value += strlen("signature=\"");
    char *quote = strchr(value, '"');
    assert_non_null(quote);
    *quote = '\0';
    assert_int_equal(strlen(value), 344); /* 256 bytes in base64, with padding */
    assert_int_equal(EVP_DecodeBlock(bytes, (unsigned char *)value, 344), 258);
    *quote = '"';
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, f->key);
    bool good =
        EVP_DigestVerify(context, bytes, 256, (const unsigned char *)text, strlen(text)) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

static void test_signs_what_the_ticket_says(void **state)
{
    struct fixture *f = *state;
    struct message_sign m = question(f, ACCOUNT);
    char text[1024];

    assert_int_equal(ask(f, &m), SIGN_OK);
    assert_int_equal(f->answer.sender_suspended, 0);
    assert_string_equal(f->host, "remote.example");
    assert_non_null(strstr(f->signature, "keyId=\"https://social.example/users/alice#main-key\""));
    assert_memory_equal(f->digest, "SHA-256=", 8);
    char *fields = strstr(f->signature, "headers=\"");
    assert_non_null(fields);
    static const char expected[] = "headers=\"host date digest content-type (request-target)\"";
    assert_memory_equal(fields, expected, sizeof(expected) - 1);
    snprintf(text, sizeof(text),
             "host: remote.example\ndate: %s\ndigest: %s\n"
             "content-type: application/activity+json\n(request-target): post /inbox?x=1",
             f->date, f->digest);
    assert_true(verifies(f, text));
    text[0] = '[';
    assert_false(verifies(f, text));
}

static void test_answers_about_accounts(void **state)
{
    struct fixture *f = *state;
    struct message_sign m = question(f, SUSPENDED);

    assert_int_equal(ask(f, &m), SIGN_OK);
    assert_int_equal(f->answer.sender_suspended, 1);
    m = question(f, KEYLESS);
    assert_int_equal(ask(f, &m), SIGN_KEY_UNUSABLE);
    m = question(f, 999);
    assert_int_equal(ask(f, &m), SIGN_ACCOUNT_MISSING);
}

static void test_changed_tickets_are_refused(void **state)
{
    struct fixture *f = *state;
    struct message_sign m;

    m = question(f, ACCOUNT);
    m.ticket.account_id = SUSPENDED;
    expect_refused(f, &m);
    m = question(f, ACCOUNT);
    m.ticket.origin = STR("https://other.example");
    expect_refused(f, &m);
    m = question(f, ACCOUNT);
    m.ticket.body_sha256[31] ^= 1;
    expect_refused(f, &m);
    m = question(f, ACCOUNT);
    m.ticket.serial++;
    expect_refused(f, &m);
    m = question(f, ACCOUNT);
    m.ticket.expires_s++;
    expect_refused(f, &m);
    m = question(f, ACCOUNT);
    m.ticket.content_type = STR("text/plain");
    expect_refused(f, &m);
    m = question(f, ACCOUNT);
    m.ticket.synchronization = STR("x");
    expect_refused(f, &m);
    m = question(f, ACCOUNT);
    m.ticket.mac[0] ^= 1;
    expect_refused(f, &m);
}

static void test_times_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct message_sign m = question(f, ACCOUNT);

    m.ticket.expires_s = time(NULL) - 1;
    ticket_seal(&m.ticket, ticket_key);
    expect_refused(f, &m);
    m.ticket.expires_s = time(NULL) + TICKET_MAX_SECONDS + 60;
    ticket_seal(&m.ticket, ticket_key);
    expect_refused(f, &m);
    m = question(f, ACCOUNT);
    m.date_s += 60;
    expect_refused(f, &m);
    m.date_s -= 120;
    expect_refused(f, &m);
    m.date_s += 50; /* ten seconds ago */
    assert_int_equal(ask(f, &m), SIGN_OK);
}

static void test_targets_cannot_add_lines(void **state)
{
    struct fixture *f = *state;
    struct message_sign m = question(f, ACCOUNT);

    m.target = STR("inbox");
    expect_refused(f, &m);
    m.target = STR("");
    expect_refused(f, &m);
    m.target = STR("/inbox\nhost: other.example");
    expect_refused(f, &m);
    m.target = STR("/in box");
    expect_refused(f, &m);
}

static void test_ninth_use_is_refused(void **state)
{
    struct fixture *f = *state;
    struct message_sign m = question(f, ACCOUNT);
    struct message_sign bad = m;

    bad.target = STR("bad");
    expect_refused(f, &bad); /* costs none */
    for (int i = 0; i < TICKET_MAX_USES; i++)
        assert_int_equal(ask(f, &m), SIGN_OK);
    expect_refused(f, &m);
    m = question(f, ACCOUNT);
    assert_int_equal(ask(f, &m), SIGN_OK);
}

/* Last: rubbish closes the channel, and only that. */
static void test_rubbish_closes_the_channel(void **state)
{
    struct fixture *f = *state;

    ipc_send(f->ipc, MESSAGE_SIGN, STR("rubbish"));
    server_wait(f->base, &f->closed);
    assert_int_equal(kill(f->pid, 0), 0);
    assert_int_equal(waitpid(f->pid, NULL, WNOHANG), 0);
}
>>>>>>> worker2

int main(void)
{
    const struct CMUnitTest tests[] = {
<<<<<<< HEAD
        with_signer(a_post_is_signed_as_its_ticket_says),
        with_signer(a_get_after_a_redirect_is_signed),
        with_signer(what_a_ticket_does_not_say_is_refused),
        with_signer(dates_out_of_time_are_refused),
        with_signer(targets_that_forge_lines_are_refused),
        with_signer(the_ninth_use_is_refused_whoever_asks),
        with_signer(senders_that_cannot_sign_are_told_apart),
        with_signer(many_requests_are_all_answered_once),
        with_signer(a_bad_frame_closes_that_channel_only),
        with_signer(a_worker_that_left_is_not_answered_in_its_successors_channel),
        with_signer(known_keys_sign_while_the_database_is_away),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("signer", tests, set_up, tear_down);
=======
        cmocka_unit_test(test_signs_what_the_ticket_says),
        cmocka_unit_test(test_answers_about_accounts),
        cmocka_unit_test(test_changed_tickets_are_refused),
        cmocka_unit_test(test_times_are_bounded),
        cmocka_unit_test(test_targets_cannot_add_lines),
        cmocka_unit_test(test_ninth_use_is_refused),
        cmocka_unit_test(test_rubbish_closes_the_channel),
    };
    return cmocka_run_group_tests(tests, start, end);
>>>>>>> worker2
}
