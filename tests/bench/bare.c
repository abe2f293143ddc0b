/*
 * The floor under a post to many hosts: signs each request and sends it, and nothing else. No
 * queue, no names, no order, no bound, no retry. For measuring what all that costs.
 *
 *   bare KEY BODY      KEY: a PEM file; BODY: what is posted; the hosts on its input, "ADDRESS PORT
 * HOST PATH" each a line, then an empty one
 *
 * Writes "ready", and at the next line of its input posts with a thread a core and writes the time
 * at which it began (CLOCK_MONOTONIC, seconds). Ends with its input.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_HOSTS = 65536, MAX_HEAD = 2048, EVENTS = 64, TURN = 8, MAX_THREADS = 64 };

struct host {
    struct sockaddr_in address;
    char name[128];
    char path[128];
    int fd;
    char *request;
    size_t left_bytes;
    const char *next;
};

static struct host hosts[MAX_HOSTS];
static size_t host_count;
static char *body;
static size_t body_bytes;
static char digest[64];
static EVP_PKEY *key;
static long threads;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void read_body(const char *path)
{
    FILE *file = fopen(path, "r");
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned hash_bytes;

    body = calloc(1, 1 << 20);
    if (file == NULL || body == NULL || (body_bytes = fread(body, 1, 1 << 20, file)) == 0 ||
        EVP_Digest(body, body_bytes, hash, &hash_bytes, EVP_sha256(), NULL) != 1)
        fail(path);
    EVP_EncodeBlock((unsigned char *)digest, hash, (int)hash_bytes);
    fclose(file);
}

static void read_key(const char *path)
{
    FILE *file = fopen(path, "r");

    if (file == NULL || (key = PEM_read_PrivateKey(file, NULL, NULL, NULL)) == NULL)
        fail(path);
    fclose(file);
}

static void read_hosts(void)
{
    char line[512];
    char address[64];
    unsigned port;

    while (fgets(line, sizeof(line), stdin) != NULL && line[0] != '\n') {
        struct host *host = &hosts[host_count];
        if (host_count == MAX_HOSTS ||
            sscanf(line, "%63s %u %127s %127s", address, &port, host->name, host->path) != 4)
            fail("a host");
        host->address =
            (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((in_port_t)port)};
        inet_pton(AF_INET, address, &host->address.sin_addr);
        host_count++;
    }
}

/* As Mastodon signs: draft-cavage over request target, host, date, digest and content type. */
static void sign(EVP_PKEY *mine, struct host *host)
{
    unsigned char signature[512];
    char encoded[700];
    char date[40];
    char text[1024];
    size_t signature_bytes = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    time_t now = time(NULL);
    struct tm utc;

    gmtime_r(&now, &utc);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    int bytes = snprintf(text, sizeof(text),
                         "(request-target): post %s\nhost: %s\ndate: %s\ndigest: SHA-256=%s\n"
                         "content-type: application/activity+json",
                         host->path, host->name, date, digest);
    if (EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, mine) != 1 ||
        EVP_DigestSign(context, signature, &signature_bytes, (unsigned char *)text,
                       (size_t)bytes) != 1)
        fail("a signature");
    EVP_MD_CTX_free(context);
    EVP_EncodeBlock((unsigned char *)encoded, signature, (int)signature_bytes);
    host->request = malloc(MAX_HEAD + body_bytes);
    bytes =
        snprintf(host->request, MAX_HEAD,
                 "POST %s HTTP/1.1\r\nHost: %s\r\nDate: %s\r\nDigest: SHA-256=%s\r\n"
                 "Content-Type: application/activity+json\r\nContent-Length: %zu\r\n"
                 "Signature: keyId=\"https://social.test/actor#main-key\",algorithm=\"rsa-sha256\","
                 "signature=\"%s\"\r\n\r\n",
                 host->path, host->name, date, digest, body_bytes, encoded);
    memcpy(host->request + bytes, body, body_bytes);
    host->next = host->request;
    host->left_bytes = (size_t)bytes + body_bytes;
}

static void begin(EVP_PKEY *mine, int epoll, struct host *host)
{
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = host};

    sign(mine, host);
    host->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (host->fd == -1)
        fail("a socket");
    connect(host->fd, (struct sockaddr *)&host->address, sizeof(host->address));
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, host->fd, &event) == -1)
        fail("epoll");
}

/* Whether nothing more is to come of this host. */
static bool go_on(int epoll, struct host *host)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = host};
    char answer[4096];
    ssize_t sent = 0;

    if (host->left_bytes == 0)
        return read(host->fd, answer, sizeof(answer)) >= 0 || errno != EAGAIN;
    sent = send(host->fd, host->next, host->left_bytes, MSG_NOSIGNAL);
    if (sent < 0)
        return errno != EAGAIN;
    host->next += sent;
    host->left_bytes -= (size_t)sent;
    if (host->left_bytes == 0)
        epoll_ctl(epoll, EPOLL_CTL_MOD, host->fd, &event);
    return false;
}

/* Every so many of the hosts, from the first on; no more than TURN signatures between two looks. */
static void *post(void *arg)
{
    size_t first = *(size_t *)arg;
    EVP_PKEY *mine = EVP_PKEY_dup(key); /* a shared one costs a tenth more */
    int epoll = epoll_create1(0);
    struct epoll_event events[EVENTS];
    size_t open = 0;
    size_t next = first;

    while (next < host_count || open > 0) {
        for (int n = 0; n < TURN && next < host_count; n++, next += (size_t)threads, open++)
            begin(mine, epoll, &hosts[next]);
        int count = epoll_wait(epoll, events, EVENTS, next < host_count ? 0 : 1000);
        if (count == 0 && next >= host_count)
            break; /* a second without a word: black holes are left */
        for (int i = 0; i < count; i++) {
            struct host *host = events[i].data.ptr;
            if (!go_on(epoll, host))
                continue;
            close(host->fd);
            host->fd = -1;
            open--;
        }
    }
    close(epoll);
    EVP_PKEY_free(mine);
    return NULL;
}

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void post_all(void)
{
    static pthread_t started[MAX_THREADS];
    static size_t firsts[MAX_THREADS];
    double began_s = now_s();

    for (long i = 0; i < threads; i++) {
        firsts[i] = (size_t)i;
        if (pthread_create(&started[i], NULL, post, &firsts[i]) != 0)
            fail("a thread");
    }
    for (long i = 0; i < threads; i++)
        pthread_join(started[i], NULL);
    for (size_t i = 0; i < host_count; i++) {
        free(hosts[i].request);
        if (hosts[i].fd >= 0)
            close(hosts[i].fd);
    }
    printf("%.6f\n", began_s);
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    char line[16];

    if (argc != 3)
        return 64;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    threads = sysconf(_SC_NPROCESSORS_ONLN);
    threads = threads > MAX_THREADS ? MAX_THREADS : threads;
    setvbuf(stdout, NULL, _IOLBF, 0);
    read_key(argv[1]);
    read_body(argv[2]);
    read_hosts();
    puts("ready");
    while (fgets(line, sizeof(line), stdin) != NULL)
        post_all();
    return 0;
}
