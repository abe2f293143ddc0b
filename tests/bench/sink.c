/*
 * A receiver that costs next to nothing: reads each request to its end and answers 202, over
 * connections that stay open. For measuring what sends to it.
 *
 *   sink ADDRESS PORT      writes "ready\n" when it listens, and ends with its standard input
 *
 * When a request for /timed/NAME has come, it writes "NAME SECONDS\n", the time by the wall clock;
 * at its end, the number of requests that it has answered.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FDS = 65536, MAX_HEAD_BYTES = 16384, EVENTS = 256 };

static const char answer[] = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

/* A request's header so far, then how much of its body is to come. */
struct connection {
    size_t head_bytes;
    size_t body_left;
    char head[MAX_HEAD_BYTES];
};

static struct connection *connections[MAX_FDS];
static unsigned long long answered;

static void end(int fd)
{
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd);
}

static size_t content_length(const char *head)
{
    const char *field = strstr(head, "\r\nContent-Length: ");
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

static bool respond(int fd)
{
    answered++;
    return write(fd, answer, sizeof(answer) - 1) == (ssize_t)(sizeof(answer) - 1);
}

/* Takes the bytes of one read; false when the connection is to end. */
static bool take(int fd, const char *bytes, size_t len)
{
    struct connection *c = connections[fd];

    while (len > 0) {
        if (c->body_left > 0) {
            size_t taken = len < c->body_left ? len : c->body_left;
            bytes += taken;
            len -= taken;
            c->body_left -= taken;
            if (c->body_left == 0 && !respond(fd))
                return false;
            continue;
        }
        size_t before = c->head_bytes;
        size_t taken = len < MAX_HEAD_BYTES - 1 - before ? len : MAX_HEAD_BYTES - 1 - before;
        if (taken == 0)
            return false;
        memcpy(c->head + before, bytes, taken);
        c->head[before + taken] = '\0';
        char *blank = strstr(c->head + (before > 3 ? before - 3 : 0), "\r\n\r\n");
        if (blank == NULL) {
            c->head_bytes += taken;
            return true;
        }
        size_t used = (size_t)(blank + 4 - c->head) - before;
        blank[2] = '\0';
        note_time(c->head);
        c->body_left = content_length(c->head);
        c->head_bytes = 0;
        bytes += used;
        len -= used;
        if (c->body_left == 0 && !respond(fd))
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

static void welcome(int epoll, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int yes = 1;

    if (fd < 0)
        return;
    if (fd >= MAX_FDS) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    connections[fd] = calloc(1, sizeof(struct connection));
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
}

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

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];

    if (argc != 3) {
        fputs("sink ADDRESS PORT\n", stderr);
        return 64;
    }
    int listener = open_listener(argv[1], argv[2]);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener,
              &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO,
              &(struct epoll_event){.events = EPOLLIN, .data.fd = STDIN_FILENO});
    puts("ready");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                welcome(epoll, listener);
            else if (events[i].data.fd == STDIN_FILENO)
                goto over;
            else
                receive(events[i].data.fd);
        }
    }
over:
    printf("%llu\n", answered);
    return 0;
}
