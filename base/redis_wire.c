#include "base/redis_wire.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/secret.h"

enum {
    STREAM_READ_BYTES = 4096, /* of libevent at once: when it got that many there may be more */
    REST_BYTES = 64 * 1024,
    TURN_BYTES = 1024 * 1024,
    LARGE_BYTES = 64 * 1024, /* not copied once more */
};

static void free_command(const void *bytes, size_t len, void *command)
{
    (void)bytes;
    secret_wipe(command, len); /* AUTH's password is in it */
    redisFreeCommand(command);
}

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
    if (len < 0)
        abort();
    free(lens);
    free(texts);
    if (len >= LARGE_BYTES) {
        if (evbuffer_add_reference(bufferevent_get_output(stream), command, (size_t)len,
                                   free_command, command) != 0)
            abort();
        return;
    }
    if (bufferevent_write(stream, command, (size_t)len) != 0)
        abort();
    free_command(command, (size_t)len, command);
}

/* libevent reads 4 KiB at a time, and asks the kernel twice for that; jobs come in hundreds of KiB.
 */
static void read_the_rest(redisReader *reader, int fd)
{
    char bytes[REST_BYTES];
    ssize_t len;

    for (size_t total = 0; total < TURN_BYTES; total += sizeof(bytes)) {
        /* An end or an error shows again in the next turn, when the stream reads. */
        len = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (len > 0)
            redisReaderFeed(reader, bytes, (size_t)len);
        if (len < (ssize_t)sizeof(bytes))
            return;
    }
}

void redis_wire_read(redisReader *reader, struct bufferevent *stream, bool plain)
{
    struct evbuffer *input = bufferevent_get_input(stream);
    size_t held = evbuffer_get_length(input);
    size_t len;

    while ((len = evbuffer_get_contiguous_space(input)) > 0) {
        const unsigned char *bytes = evbuffer_pullup(input, (ev_ssize_t)len);
        redisReaderFeed(reader, (const char *)bytes, len);
        evbuffer_drain(input, len);
    }
    if (plain && held >= STREAM_READ_BYTES)
        read_the_rest(reader, bufferevent_getfd(stream));
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
