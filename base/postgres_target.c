#include "base/postgres_target.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KEYWORDS = 96 };

/* Values for what the conninfo leaves open. */
static const struct {
    const char *keyword;
    const char *value;
} defaults[] = {
    {"application_name", "fedpush"},
    /* GSSAPI asks its key distribution center with blocking calls. */
    {"gssencmode", "disable"},
    /* A peer that vanished is noticed in about a minute, also between statements. */
    {"keepalives_idle", "30"},
    {"keepalives_interval", "10"},
    {"keepalives_count", "3"},
    {"tcp_user_timeout", "30000"},
};

static const char *option_value(const PQconninfoOption *options, const char *keyword)
{
    for (; options != NULL && options->keyword != NULL; options++) {
        if (strcmp(options->keyword, keyword) == 0)
            return options->val != NULL && options->val[0] != '\0' ? options->val : NULL;
    }
    return NULL;
}

/* Takes the next element of a comma-separated list; NULL for an empty one. */
static char *take_element(struct str *list)
{
    size_t end = str_find(*list, ',');
    struct str element = str_trim((struct str){list->ptr, end});

    *list = str_slice(*list, end + 1);
    return element.len > 0 ? str_dup(element) : NULL;
}

static size_t list_length(struct str list)
{
    size_t count = 1;
    for (size_t i = 0; i < list.len; i++)
        count += list.ptr[i] == ',';
    return count;
}

static bool split_targets(struct postgres_targets *targets, struct str hosts, struct str addresses,
                          struct str ports)
{
    size_t count = list_length(hosts.len > 0 ? hosts : addresses);

    if (count > POSTGRES_MAX_TARGETS)
        return false;
    if (hosts.len > 0 && addresses.len > 0 && list_length(addresses) != count)
        return false;
    /* One port counts for all hosts. */
    bool one_port = list_length(ports) == 1;
    if (!one_port && list_length(ports) != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct str same_port = ports;
        targets->items[i] = (struct postgres_target){
            .host = take_element(&hosts),
            .address = take_element(&addresses),
            .port = take_element(one_port ? &same_port : &ports),
        };
    }
    targets->count = count;
    return true;
}

bool postgres_targets_init(struct postgres_targets *targets, struct str conninfo)
{
    char *text = str_dup(conninfo);
    char *message = NULL;

    *targets = (struct postgres_targets){.options = PQconninfoParse(text, &message)};
    OPENSSL_cleanse(text, conninfo.len);
    free(text);
    if (message != NULL) {
        OPENSSL_cleanse(message, strlen(message));
        PQfreemem(message);
    }
    if (targets->options == NULL)
        return false;
    PQconninfoOption *environment = PQconndefaults();
    const char *host = option_value(targets->options, "host");
    const char *address = option_value(targets->options, "hostaddr");
    const char *port = option_value(targets->options, "port");
    if (host == NULL && address == NULL) {
        host = option_value(environment, "host");
        address = option_value(environment, "hostaddr");
    }
    if (port == NULL)
        port = option_value(environment, "port");
    bool split = split_targets(targets, str_of(host), str_of(address), str_of(port));
    PQconninfoFree(environment);
    if (!split)
        postgres_targets_clear(targets);
    return split;
}

void postgres_targets_clear(struct postgres_targets *targets)
{
    for (size_t i = 0; i < targets->count; i++) {
        free(targets->items[i].host);
        free(targets->items[i].address);
        free(targets->items[i].port);
    }
    for (PQconninfoOption *o = targets->options; o != NULL && o->keyword != NULL; o++) {
        if (o->val != NULL)
            OPENSSL_cleanse(o->val, strlen(o->val));
    }
    if (targets->options != NULL)
        PQconninfoFree(targets->options);
    *targets = (struct postgres_targets){0};
}

bool postgres_target_wants_address(const struct postgres_target *target)
{
    return target->address == NULL && target->host != NULL && target->host[0] != '/' &&
           target->host[0] != '@';
}

struct keywords {
    const char *names[MAX_KEYWORDS + 1];
    const char *values[MAX_KEYWORDS + 1];
    size_t count;
};

static void put_keyword(struct keywords *keywords, const char *name, const char *value)
{
    if (value == NULL || keywords->count == MAX_KEYWORDS)
        return;
    keywords->names[keywords->count] = name;
    keywords->values[keywords->count++] = value;
}

PGconn *postgres_target_start(const struct postgres_targets *targets, size_t index,
                              const struct dns_address *address)
{
    const struct postgres_target *target = &targets->items[index];
    char text[INET6_ADDRSTRLEN] = "";
    struct keywords keywords = {.count = 0};

    for (const PQconninfoOption *o = targets->options; o->keyword != NULL; o++) {
        if (strcmp(o->keyword, "host") != 0 && strcmp(o->keyword, "hostaddr") != 0 &&
            strcmp(o->keyword, "port") != 0 && strcmp(o->keyword, "client_encoding") != 0)
            put_keyword(&keywords, o->keyword, option_value(o, o->keyword));
    }
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
        if (option_value(targets->options, defaults[i].keyword) == NULL)
            put_keyword(&keywords, defaults[i].keyword, defaults[i].value);
    }
    put_keyword(&keywords, "client_encoding", "UTF8");
    put_keyword(&keywords, "host", target->host);
    put_keyword(&keywords, "port", target->port);
    if (address != NULL && inet_ntop(address->family, &address->ip, text, sizeof(text)) != NULL)
        put_keyword(&keywords, "hostaddr", text);
    else
        put_keyword(&keywords, "hostaddr", target->address);
    return PQconnectStartParams(keywords.names, keywords.values, 0);
}
