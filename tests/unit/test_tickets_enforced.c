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
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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
}

static void send_config(struct fixture *f)
{
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

    if (config_load(&config, environment, NULL, &err) != FP_OK)
        fail_msg("%s", err.message);
    buf_init(&bytes, CONTROL_MAX_BYTES);
    config_encode(&config, ROLE_SIGNER, &bytes);
    control_send(f->control, CONTROL_CONFIG, buf_str(&bytes), -1);
    buf_clear(&bytes);
    config_clear(&config);
}

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
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        return 1;
    server_start_postgres(&f->postgres);
    make_accounts(f);
    start_signer(f);
    *state = f;
    return 0;
}

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
    ticket_seal(&m.ticket, ticket_key);
    return m;
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signs_what_the_ticket_says),
        cmocka_unit_test(test_answers_about_accounts),
        cmocka_unit_test(test_changed_tickets_are_refused),
        cmocka_unit_test(test_times_are_bounded),
        cmocka_unit_test(test_targets_cannot_add_lines),
        cmocka_unit_test(test_ninth_use_is_refused),
        cmocka_unit_test(test_rubbish_closes_the_channel),
    };
    return cmocka_run_group_tests(tests, start, end);
}
