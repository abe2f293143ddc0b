#include "base/hosts.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"

enum { MAX_NAME_BYTES = 253 };

struct host {
    struct dns_result result;
    char name[MAX_NAME_BYTES + 1]; /* lower case */
};

struct hosts {
    struct table *by_name;
};

struct hosts *hosts_create(void)
{
    struct hosts *hosts = mem_alloc(sizeof(*hosts));
    hosts->by_name = table_create();
    return hosts;
}

void hosts_destroy(struct hosts *hosts)
{
    if (hosts == NULL)
        return;
    size_t at = 0;
    void *host;
    while ((host = table_next(hosts->by_name, &at)) != NULL)
        free(host);
    table_destroy(hosts->by_name);
    free(hosts);
}

static struct str lower(struct str name, char out[MAX_NAME_BYTES + 1])
{
    size_t len = name.len <= MAX_NAME_BYTES ? name.len : 0;

    for (size_t i = 0; i < len; i++)
        out[i] = (char)tolower((unsigned char)name.ptr[i]);
    out[len] = '\0';
    return (struct str){out, len};
}

static void add_address(struct dns_result *result, const struct dns_address *address)
{
    if (result->count < DNS_MAX_ADDRESSES)
        result->addresses[result->count++] = *address;
}

static void add_name(struct hosts *hosts, struct str name, const struct dns_address *address)
{
    char text[MAX_NAME_BYTES + 1];
    struct str key = lower(name, text);

    if (key.len == 0)
        return;
    struct host *host = table_get(hosts->by_name, key);
    if (host == NULL) {
        host = mem_alloc(sizeof(*host));
        memcpy(host->name, text, key.len);
        table_put(hosts->by_name, (struct str){host->name, key.len}, host);
    }
    add_address(&host->result, address);
}

static bool parse_address(struct str word, struct dns_address *address)
{
    char text[INET6_ADDRSTRLEN];

    if (word.len >= sizeof(text))
        return false;
    memcpy(text, word.ptr, word.len);
    text[word.len] = '\0';
    *address = (struct dns_address){.family = AF_INET};
    if (inet_pton(AF_INET, text, &address->ip.v4) == 1)
        return true;
    address->family = AF_INET6;
    return inet_pton(AF_INET6, text, &address->ip.v6) == 1;
}

/* Takes the next word off *line; empty at its end. */
static struct str next_word(struct str *line)
{
    *line = str_trim(*line);
    size_t len = 0;
    while (len < line->len && !isspace((unsigned char)line->ptr[len]))
        len++;
    struct str word = {line->ptr, len};
    *line = str_slice(*line, len);
    return word;
}

static void read_line(struct hosts *hosts, struct str line)
{
    struct dns_address address;
    struct str word;

    line.len = str_find(line, '#');
    if (!parse_address(next_word(&line), &address))
        return;
    while ((word = next_word(&line)).len > 0)
        add_name(hosts, word, &address);
}

void hosts_read(struct hosts *hosts, struct str text)
{
    while (text.len > 0) {
        size_t end = str_find(text, '\n');
        read_line(hosts, (struct str){text.ptr, end});
        text = str_slice(text, end + 1);
    }
}

void hosts_read_file(struct hosts *hosts, const char *path)
{
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return;
    char *text = mem_alloc(HOSTS_MAX_BYTES);
    size_t len = fread(text, 1, HOSTS_MAX_BYTES, file);
    fclose(file);
    hosts_read(hosts, (struct str){text, len});
    free(text);
}

static bool is_localhost(struct str name)
{
    static const struct str suffix = {".localhost", 10};
    struct str end = name.len > suffix.len ? str_slice(name, name.len - suffix.len) : STR_NULL;
    return str_equal_nocase(name, STR("localhost")) || str_equal_nocase(end, suffix);
}

bool hosts_find(const struct hosts *hosts, struct str name, struct dns_result *result)
{
    char text[MAX_NAME_BYTES + 1];

    *result = (struct dns_result){.status = DNS_FOUND};
    if (is_localhost(name)) {
        add_address(result, &(struct dns_address){AF_INET, {.v4 = {htonl(INADDR_LOOPBACK)}}});
        add_address(result, &(struct dns_address){AF_INET6, {.v6 = IN6ADDR_LOOPBACK_INIT}});
        return true;
    }
    const struct host *host = table_get(hosts->by_name, lower(name, text));
    if (host != NULL)
        *result = host->result;
    return host != NULL;
}
