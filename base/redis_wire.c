#include "base/redis_wire.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

void redis_wire_write(struct bufferevent *stream, size_t word_count, const struct str *words)
{
    const char **texts = mem_alloc(word_count * sizeof(*texts));
    size_t *lens = mem_alloc(word_count * sizeof(*lens));
    char *command = NULL;

    for (size_t i = 0; i < word_count; i++) {
        texts[i] = words[i].len > 0 ? words[i].ptr : "";
        lens[i] = words[i].len;
    }
    int len = redisFormatCommandArgv(&command, (int)word_count, texts, lens);
    if (len < 0 || bufferevent_write(stream, command, (size_t)len) != 0)
        abort();
    secret_wipe(command, (size_t)len); /* AUTH's password is in it */
    redisFreeCommand(command);
    free(lens);
    free(texts);
}

void redis_wire_feed(redisReader *reader, struct evbuffer *input)
{
    size_t len;

    while ((len = evbuffer_get_contiguous_space(input)) > 0) {
        const unsigned char *bytes = evbuffer_pullup(input, (ev_ssize_t)len);
        redisReaderFeed(reader, (const char *)bytes, len);
        evbuffer_drain(input, len);
    }
}

void redis_reply_class(const redisReply *reply, char out[REDIS_CLASS_BYTES])
{
    size_t len = 0;

    while (len < (size_t)reply->len && len < REDIS_CLASS_BYTES - 1 && reply->str[len] >= 'A' &&
           reply->str[len] <= 'Z') {
        out[len] = reply->str[len];
        len++;
    }
    out[len] = '\0';
}

bool redis_reply_is_unfit(const redisReply *reply)
{
    static const char *const classes[] = {"READONLY ", "LOADING ", "MASTERDOWN ", "UNBLOCKED "};

    if (reply->type != REDIS_REPLY_ERROR)
        return false;
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (strncmp(reply->str, classes[i], strlen(classes[i])) == 0)
            return true;
    }
    return strncmp(reply->str, "ERR Error running script", 24) == 0 &&
           strstr(reply->str, " -READONLY ") != NULL;
}

bool redis_reply_is_master(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
           reply->element[0]->type == REDIS_REPLY_STRING &&
           strcmp(reply->element[0]->str, "master") == 0;
}
