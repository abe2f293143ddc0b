#include "admin/trace_log_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* A line of ours takes 4 KiB and the header of a syslog: one that doesn't fit isn't ours. */
enum { BUFFER_BYTES = 256 * 1024, TELL_EACH_BYTES = 8 * 1024 * 1024 };

struct reading {
    struct trace_log_source *source;
    gzFile file;
    off_t size_bytes; /* 0: unknown */
    char *bytes;
    size_t length;
    bool skipping; /* a line that doesn't fit, to its end */
    int64_t told;  /* bytes, when progress was told last */
};

static void tell(struct reading *r)
{
    if (r->source->lines->bytes - r->told < TELL_EACH_BYTES || r->size_bytes == 0)
        return;
    r->told = r->source->lines->bytes;
    r->source->progress(r->source->arg, (double)gzoffset(r->file) / (double)r->size_bytes);
}

/* The whole lines of what was read; what is behind the last one moves to the front. */
static bool take_lines(struct reading *r)
{
    struct str rest = {r->bytes, r->length};
    const char *end;
    bool more = true;

    while (more && rest.len > 0 && (end = memchr(rest.ptr, '\n', rest.len)) != NULL) {
        struct str line = {rest.ptr, (size_t)(end - rest.ptr)};
        more = r->skipping || trace_log_lines_take(r->source->lines, line);
        r->skipping = false;
        rest = str_slice(rest, line.len + 1);
    }
    if (rest.len == BUFFER_BYTES) {
        r->skipping = true;
        rest.len = 0;
    }
    if (rest.len > 0)
        memmove(r->bytes, rest.ptr, rest.len);
    r->length = rest.len;
    tell(r);
    return more;
}

static void take_last_line(struct reading *r)
{
    if (r->length > 0 && !r->skipping &&
        !trace_log_lines_take(r->source->lines, (struct str){r->bytes, r->length}))
        r->length = 0;
}

/* What ends in the middle of a compressed file is an error only behind all that was read. */
static void note_problem(struct reading *r)
{
    int code;
    const char *text = gzerror(r->file, &code);

    if (code == Z_OK || code == Z_STREAM_END)
        return;
    snprintf(r->source->problem, sizeof(r->source->problem),
             "it couldn't be read to its end: %s; what came before counts",
             code == Z_ERRNO       ? strerror(errno)
             : code == Z_BUF_ERROR ? "it ends in the middle"
                                   : text);
}

static void read_all(struct reading *r)
{
    int count = 0;
    bool more = true;

    r->bytes = mem_alloc(BUFFER_BYTES);
    while (more && (count = gzread(r->file, r->bytes + r->length,
                                   (unsigned)(BUFFER_BYTES - r->length))) > 0) {
        r->length += (size_t)count;
        more = take_lines(r);
    }
    note_problem(r);
    if (more)
        take_last_line(r);
    free(r->bytes);
}

static int open_file(const char *name, off_t *size_bytes, struct err *err)
{
    bool standard = strcmp(name, "-") == 0;
    int fd = standard ? dup(STDIN_FILENO) : open(name, O_RDONLY | O_CLOEXEC);
    struct stat about;

    *size_bytes = 0;
    if (fd == -1 || fstat(fd, &about) == -1) {
        err_set(err, FP_INVALID, "trace: %s: %s", name, strerror(errno));
    } else if (S_ISDIR(about.st_mode)) {
        err_set(err, FP_INVALID, "trace: %s is a directory: name its files", name);
    } else {
        *size_bytes = S_ISREG(about.st_mode) ? about.st_size : 0;
        return fd;
    }
    if (fd != -1)
        close(fd);
    return -1;
}

bool trace_log_file(struct trace_log_source *source, struct err *err)
{
    struct reading reading = {.source = source};
    int fd = open_file(source->name, &reading.size_bytes, err);

    if (fd == -1)
        return false;
    reading.file = gzdopen(fd, "rb");
    if (reading.file == NULL)
        abort(); /* out of memory */
    gzbuffer(reading.file, BUFFER_BYTES);
    read_all(&reading);
    gzclose(reading.file);
    return true;
}
