/*
 * A receiver that costs next to nothing: reads each request to its end and answers it, over
 * connections that stay open. For measuring what sends to it.
 *
 *   sink ADDRESS[,ADDRESS…] PORT      writes "ready\n" when it listens, and ends with its input
 *
 * It answers 202 at once, or as the path says: /HOST/STATUS/MS/… is the host of that number, which
 * answers STATUS after so many milliseconds. To a line on its input it answers with a line
 * "HOST FIRST_US COUNT" for each host that a request came for (CLOCK_MONOTONIC, when the first was
 * read to its end), and an empty one, and forgets them all.
 *
 * When a request for /timed/NAME has come, it writes "NAME SECONDS\n", the time by the wall clock;
 * at its end, the number of requests that it has answered.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FDS = 65536, MAX_HEAD_BYTES = 16384, EVENTS = 256, MAX_HOSTS = 65536 };

/* A request's header so far, then how much of its body is to come, and how to answer it. Most
 * headers come whole: thousands of buffers for them would cost more than reading them. */
struct connection {
    bool listens;
    char *head; /* what came of one before now; NULL: nothing */
    size_t head_bytes;
    size_t body_left;
    unsigned host; /* 0: none is named */
    unsigned status;
    unsigned delay_ms;
    unsigned long long serial; /* a late answer must not reach another connection */
};

/* An answer that is to be given later; a heap by time. */
struct late {
    int64_t due_us;
    int fd;
    unsigned status;
    unsigned long long serial;
};

struct host {
    int64_t first_us;
    unsigned count;
};

static struct connection *connections[MAX_FDS];
static struct late heap[MAX_FDS];
static size_t late_count;
static struct host hosts[MAX_HOSTS];
static unsigned long long answered;
static unsigned long long opened;

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void end(int fd)
{
    free(connections[fd]->head);
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd);
}

/* --- answers --- */

static bool respond(int fd, unsigned status)
{
    char text[128];
    int len = snprintf(text, sizeof(text), "HTTP/1.1 %u Said\r\nContent-Length: 0\r\n\r\n", status);

    answered++;
    return write(fd, text, (size_t)len) == len;
}

static void swap(size_t a, size_t b)
{
    struct late other = heap[a];
    heap[a] = heap[b];
    heap[b] = other;
}

static bool push_late(int fd, const struct connection *c, int64_t due_us)
{
    size_t at = late_count;

    if (late_count == MAX_FDS)
        return false;
    heap[late_count++] = (struct late){due_us, fd, c->status, c->serial};
    for (; at > 0 && heap[(at - 1) / 2].due_us > heap[at].due_us; at = (at - 1) / 2)
        swap(at, (at - 1) / 2);
    return true;
}

static struct late pop_late(void)
{
    struct late first = heap[0];
    size_t at = 0;

    heap[0] = heap[--late_count];
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < late_count; child++) {
            if (heap[child].due_us < heap[least].due_us)
                least = child;
        }
        if (least == at)
            return first;
        swap(at, least);
        at = least;
    }
}

/* Milliseconds until the next one is due; -1: none is. */
static int respond_late(void)
{
    while (late_count > 0) {
        int64_t wait_us = heap[0].due_us - now_us();
        if (wait_us > 0)
            return (int)((wait_us + 999) / 1000);
        struct late late = pop_late();
        const struct connection *c = connections[late.fd];
        if (c != NULL && c->serial == late.serial && !respond(late.fd, late.status))
            end(late.fd);
    }
    return -1;
}

/* A request was read to its end. */
static bool received(int fd)
{
    const struct connection *c = connections[fd];
    int64_t at_us = now_us();

    if (c->host > 0 && hosts[c->host].count++ == 0)
        hosts[c->host].first_us = at_us;
    if (c->delay_ms > 0)
        return push_late(fd, c, at_us + (int64_t)c->delay_ms * 1000);
    return respond(fd, c->status);
}

/* --- requests --- */

static size_t content_length(const char *head)
{
    const char *field = strcasestr(head, "\r\nContent-Length: ");
    return field != NULL ? strtoull(field + strlen("\r\nContent-Length: "), NULL, 10) : 0;
}

static void note_time(const char *head)
{
    static const char begin[] = "POST /timed/";
    struct timespec now;

    if (strncmp(head, begin, sizeof(begin) - 1) != 0)
        return;
    head += sizeof(begin) - 1;
    clock_gettime(CLOCK_REALTIME, &now);
    printf("%.*s %lld.%09ld\n", (int)strcspn(head, " "), head, (long long)now.tv_sec, now.tv_nsec);
    fflush(stdout);
}

static void understand(struct connection *c, const char *head)
{
    const char *path = strchr(head, '/');

    c->host = 0;
    c->status = 202;
    c->delay_ms = 0;
    if (path == NULL || sscanf(path, "/%u/%u/%u/", &c->host, &c->status, &c->delay_ms) != 3 ||
        c->host >= MAX_HOSTS) {
        c->host = c->delay_ms = 0;
        c->status = 202;
    }
    c->body_left = content_length(head);
    free(c->head);
    c->head = NULL;
    c->head_bytes = 0;
}

static void keep_head(struct connection *c, const char *head, size_t len)
{
    free(c->head);
    c->head = malloc(len);
    if (c->head == NULL)
        abort();
    memcpy(c->head, head, len);
    c->head_bytes = len;
}

/* Takes the bytes of one read; false when the connection is to end. */
static bool take(int fd, const char *bytes, size_t len)
{
    static char head[MAX_HEAD_BYTES];
    struct connection *c = connections[fd];

    while (len > 0) {
        if (c->body_left > 0) {
            size_t taken = len < c->body_left ? len : c->body_left;
            bytes += taken;
            len -= taken;
            c->body_left -= taken;
            if (c->body_left == 0 && !received(fd))
                return false;
            continue;
        }
        size_t before = c->head_bytes;
        size_t taken = len < MAX_HEAD_BYTES - 1 - before ? len : MAX_HEAD_BYTES - 1 - before;
        if (taken == 0)
            return false;
        if (before > 0)
            memcpy(head, c->head, before);
        memcpy(head + before, bytes, taken);
        head[before + taken] = '\0';
        char *blank = strstr(head + (before > 3 ? before - 3 : 0), "\r\n\r\n");
        if (blank == NULL) {
            keep_head(c, head, before + taken);
            return true;
        }
        size_t used = (size_t)(blank + 4 - head) - before;
        blank[2] = '\0';
        note_time(head);
        understand(c, head);
        bytes += used;
        len -= used;
        if (c->body_left == 0 && !received(fd))
            return false;
    }
    return true;
}

static void receive(int fd)
{
    static char bytes[65536];
    ssize_t len = read(fd, bytes, sizeof(bytes));

    if (len <= 0 ? len == 0 || errno != EAGAIN : !take(fd, bytes, (size_t)len))
        end(fd);
}

static void know(int epoll, int fd, bool listens)
{
    connections[fd] = calloc(1, sizeof(struct connection));
    connections[fd]->listens = listens;
    connections[fd]->serial = ++opened;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
}

static void welcome(int epoll, int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MAX_FDS) {
            close(fd);
            return;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        know(epoll, fd, false);
    }
}

/* --- life --- */

static int open_listener(const char *address, const char *port)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int yes = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (inet_pton(AF_INET, address, &name.sin_addr) != 1 ||
        bind(fd, (struct sockaddr *)&name, sizeof(name)) != 0 || listen(fd, 4096) != 0) {
        perror("sink");
        exit(1);
    }
    return fd;
}

/* False at the end of the input. */
static bool report(void)
{
    char line[64];

    if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
        return false;
    for (unsigned i = 0; i < MAX_HOSTS; i++) {
        if (hosts[i].count > 0)
            printf("%u %lld %u\n", i, (long long)hosts[i].first_us, hosts[i].count);
    }
    puts("");
    fflush(stdout);
    memset(hosts, 0, sizeof(hosts));
    return true;
}

static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max < MAX_FDS ? limit.rlim_max : MAX_FDS;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void serve(int epoll)
{
    struct epoll_event events[EVENTS];

    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, respond_late());
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == STDIN_FILENO && !report())
                return;
            if (fd == STDIN_FILENO || connections[fd] == NULL)
                continue;
            if (connections[fd]->listens)
                welcome(epoll, fd);
            else
                receive(fd);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("sink ADDRESS[,ADDRESS...] PORT\n", stderr);
        return 64;
    }
    raise_descriptors();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (char *address = strtok(argv[1], ","); address != NULL; address = strtok(NULL, ","))
        know(epoll, open_listener(address, argv[2]), true);
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO,
              &(struct epoll_event){.events = EPOLLIN, .data.fd = STDIN_FILENO});
    puts("ready");
    fflush(stdout);
    serve(epoll);
    printf("%llu\n", answered);
    return 0;
}
