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
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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
}

static void send_config(struct fixture *f)
{
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
    if (config_load(&config, environment, NULL, &err) != FP_OK)
        fail_msg("%s", err.message);
    buf_init(&bytes, CONTROL_MAX_BYTES);
    config_encode(&config, ROLE_SIGNER, &bytes);
    assert_false(bytes.overflow);
    send_control(f, CONTROL_CONFIG, buf_str(&bytes), -1);
    buf_clear(&bytes);
    config_clear(&config);
}

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
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));
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
    *state = f;
    return 0;
}

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
    ticket_seal(&m.ticket, ticket_key);
    return m;
}

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

static void a_post_is_signed_after_rfc_9421(void **state)
{
    struct fixture *f = *state;
    struct message_sign m = some_request(f, 1);
    char signing_string[1024];
    char input[512];
    struct reply reply;

    m.scheme = SCHEME_RFC9421;
    sign(f->workers[0], &m, &reply);
    assert_str(reply.m.host, "remote.example:8443");
    assert_str(reply.m.digest, "sha-256=:k6I5cakU5erL8KjSUVTNownDwccvu5kU1Hxg88toFYg=:");
    snprintf(input, sizeof(input),
             "(\"@method\" \"@target-uri\" \"content-digest\");created=%lld;"
             "keyid=\"https://social.test/users/Alice#main-key\"",
             (long long)m.date_s);
    assert_true(str_starts_with(reply.m.signature_input, STR("sig1=")));
    assert_str(str_slice(reply.m.signature_input, 5), input);
    snprintf(signing_string, sizeof(signing_string),
             "\"@method\": POST\n\"@target-uri\": https://remote.example:8443/inbox?x=1\n"
             "\"content-digest\": sha-256=:k6I5cakU5erL8KjSUVTNownDwccvu5kU1Hxg88toFYg=:\n"
             "\"@signature-params\": %s",
             input);
    assert_verifies(&reply, "sig1=:", signing_string);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_signer(a_post_is_signed_as_its_ticket_says),
        with_signer(a_get_after_a_redirect_is_signed),
        with_signer(a_post_is_signed_after_rfc_9421),
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
}
