/*
 * A name server that costs next to nothing: tests/fediverse/names.py as far as the benchmarks need
 * it. Has an address for each name: hole-* and refused-* the ones given, everything else one of the
 * others, by the name's CRC as there; nothing for other types than A.
 *
 *   names PORT HOLE_ADDRESS REFUSED_ADDRESS ADDRESS...      with TTL_SECONDS in the environment: 1
 *
 * Writes "ready\n" when it listens on 127.0.0.1.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <zlib.h>

enum {
    HEADER_BYTES = 12,
    QUESTION_END_BYTES = 4, /* type and class */
    ANSWER_BYTES = 16,
    MAX_PACKET_BYTES = 512,
    MAX_ADDRESSES = 256,
    TYPE_A = 1,
    QUEUE_BYTES = 4 << 20, /* a thousand questions at once */
};

static struct in_addr hole;
static struct in_addr refused;
static struct in_addr addresses[MAX_ADDRESSES];
static size_t address_count;
static uint32_t ttl_s = 1;

static struct in_addr address_of(const char *name)
{
    if (strncmp(name, "hole-", 5) == 0)
        return hole;
    if (strncmp(name, "refused-", 8) == 0)
        return refused;
    return addresses[crc32(0, (const unsigned char *)name, (uInt)strlen(name)) % address_count];
}

/* Where the name ends, or 0 when the packet ends first. */
static size_t read_name(const unsigned char *packet, size_t len, char name[MAX_PACKET_BYTES])
{
    size_t at = HEADER_BYTES;
    size_t out = 0;

    while (at < len && packet[at] != 0) {
        size_t label = packet[at++];
        if (at + label >= len)
            return 0;
        for (size_t i = 0; i < label; i++)
            name[out++] = (char)tolower(packet[at++]);
        name[out++] = '.';
    }
    name[out > 0 ? out - 1 : 0] = '\0';
    return at < len ? at + 1 : 0;
}

/* Turns the question into its answer; 0: it isn't one. */
static size_t answer(unsigned char *packet, size_t len)
{
    char name[MAX_PACKET_BYTES];
    size_t end = len > HEADER_BYTES ? read_name(packet, len, name) : 0;

    if (end == 0 || end + QUESTION_END_BYTES > len)
        return 0;
    bool found = packet[end] == 0 && packet[end + 1] == TYPE_A;
    const unsigned char counts[] = {0x85, 0x80, 0, 1, 0, found, 0, 0, 0, 0};
    memcpy(packet + 2, counts, sizeof(counts));
    end += QUESTION_END_BYTES;
    if (!found)
        return end;
    const unsigned char record[] = {0xc0, HEADER_BYTES, 0, TYPE_A, 0, 1};
    const uint32_t ttl = htonl(ttl_s);
    const struct in_addr address = address_of(name);
    memcpy(packet + end, record, sizeof(record));
    memcpy(packet + end + 6, &ttl, 4);
    memcpy(packet + end + 10, (const unsigned char[]){0, 4}, 2);
    memcpy(packet + end + 12, &address, 4);
    return end + ANSWER_BYTES;
}

static void serve(int fd)
{
    unsigned char packet[MAX_PACKET_BYTES + ANSWER_BYTES];
    struct sockaddr_in client;

    for (;;) {
        socklen_t client_len = sizeof(client);
        ssize_t len =
            recvfrom(fd, packet, MAX_PACKET_BYTES, 0, (struct sockaddr *)&client, &client_len);
        size_t answer_len = len > 0 ? answer(packet, (size_t)len) : 0;
        if (answer_len > 0)
            sendto(fd, packet, answer_len, 0, (struct sockaddr *)&client, client_len);
    }
}

static int open_socket(const char *port)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &(int){QUEUE_BYTES}, sizeof(int)) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){QUEUE_BYTES}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&name, sizeof(name)) != 0) {
        perror("names");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    const char *ttl = getenv("TTL_SECONDS");

    if (argc < 5 || argc - 4 > MAX_ADDRESSES || inet_pton(AF_INET, argv[2], &hole) != 1 ||
        inet_pton(AF_INET, argv[3], &refused) != 1) {
        fputs("names PORT HOLE_ADDRESS REFUSED_ADDRESS ADDRESS...\n", stderr);
        return 64;
    }
    if (ttl != NULL)
        ttl_s = (uint32_t)strtoul(ttl, NULL, 10);
    for (int i = 4; i < argc; i++) {
        if (inet_pton(AF_INET, argv[i], &addresses[address_count++]) != 1)
            return 64;
    }
    int fd = open_socket(argv[1]);
    puts("ready");
    fflush(stdout);
    serve(fd);
}
