#include "worker/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hostname.h"
#include "base/log.h"

static const char lock_name[] = "lock";
static const char list_name[] = "identities";
static const char fresh_name[] = "identities.new";

struct identities {
    char *dir;
    int dir_fd;
    int lock_fd;
    char *lines[IDENTITY_MAX_COUNT]; /* oldest first */
    size_t count;
};

static enum fp_err failed(const struct identities *identities, const char *what, struct err *err)
{
    enum fp_err code = errno == EACCES || errno == EPERM ? FP_DENIED : FP_SYSTEM;
    return err_set(err, code,
                   "runtime directory %s: %s: %s (it must belong to fedpush's user; "
                   "FEDPUSH_RUNTIME_DIR names another)",
                   identities->dir, what, strerror(errno));
}

static enum fp_err open_dir(struct identities *identities, struct err *err)
{
    struct stat status;

    if (mkdir(identities->dir, 0700) == -1 && errno != EEXIST)
        return failed(identities, "can't be made", err);
    identities->dir_fd = open(identities->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (identities->dir_fd == -1 || fstat(identities->dir_fd, &status) == -1)
        return failed(identities, "can't be opened", err);
    if (status.st_uid != geteuid() || (status.st_mode & S_IWOTH) != 0)
        return err_set(err, FP_DENIED,
                       "runtime directory %s must belong to the user that runs fedpush and not be "
                       "writable for others",
                       identities->dir);
    return FP_OK;
}

static enum fp_err lock_dir(struct identities *identities, struct err *err)
{
    identities->lock_fd = openat(identities->dir_fd, lock_name,
                                 O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    if (identities->lock_fd == -1)
        return failed(identities, "its lock file can't be opened", err);
    if (flock(identities->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return FP_OK;
    if (errno != EWOULDBLOCK)
        return failed(identities, "its lock file can't be locked", err);
    return err_set(err, FP_UNAVAILABLE,
                   "another fedpush runs here: it holds %s/%s; stop it, or set "
                   "FEDPUSH_RUNTIME_DIR to another directory",
                   identities->dir, lock_name);
}

static bool is_identity(struct str line)
{
    unsigned colons = 0;

    for (size_t i = 0; i < line.len; i++) {
        unsigned char c = (unsigned char)line.ptr[i];
        if (c == ':')
            colons++;
        else if (c <= ' ' || c >= 0x7f)
            return false;
    }
    return colons == 2 && line.len <= IDENTITY_MAX_BYTES;
}

static void drop_oldest(struct identities *identities)
{
    log_event(LOG_LEVEL_WARN, "too many former identities; other machines will recover this one",
              LOG_TEXT("identity", identities->lines[0]));
    free(identities->lines[0]);
    identities->count--;
    memmove(identities->lines, identities->lines + 1,
            identities->count * sizeof(identities->lines[0]));
}

static void append_line(struct identities *identities, char *line)
{
    if (identities->count == IDENTITY_MAX_COUNT)
        drop_oldest(identities);
    identities->lines[identities->count++] = line;
}

/* A torn last line is what a crash in the midst of an append leaves: its scheduler never ran. */
static void parse_lines(struct identities *identities, struct str text)
{
    while (text.len > 0) {
        size_t len = str_find(text, '\n');
        struct str line = {text.ptr, len};
        if (len == text.len || !is_identity(line))
            log_event(LOG_LEVEL_WARN, "line of the identities file ignored", LOG_STR("line", line));
        else
            append_line(identities, str_dup(line));
        text = str_slice(text, len + 1);
    }
}

static enum fp_err read_list(struct identities *identities, struct err *err)
{
    enum { MAX_BYTES = IDENTITY_MAX_COUNT * (IDENTITY_MAX_BYTES + 1) };
    struct buf text;
    char chunk[4096];
    ssize_t n;

    int fd = openat(identities->dir_fd, list_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
    if (fd == -1 && errno == ENOENT)
        return FP_OK;
    if (fd == -1)
        return failed(identities, "its list of identities can't be opened", err);
    buf_init(&text, MAX_BYTES);
    while ((n = read(fd, chunk, sizeof(chunk))) > 0)
        buf_put(&text, chunk, (size_t)n);
    enum fp_err code = FP_OK;
    if (n == -1)
        code = failed(identities, "its list of identities can't be read", err);
    else if (text.overflow)
        code = err_set(err, FP_INVALID, "%s/%s is larger than %d bytes: not a list of identities",
                       identities->dir, list_name, MAX_BYTES);
    else
        parse_lines(identities, buf_str(&text));
    close(fd);
    buf_clear(&text);
    return code;
}

static bool write_all(int fd, struct str text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.ptr, text.len);
        if (n == -1 && errno != EINTR)
            return false;
        if (n > 0)
            text = str_slice(text, (size_t)n);
    }
    return true;
}

/* The whole list anew: a reader sees the former or the new one, never half of it. */
static enum fp_err write_list(const struct identities *identities, struct err *err)
{
    struct buf text;
    enum fp_err code = FP_OK;

    buf_init(&text, IDENTITY_MAX_COUNT * (IDENTITY_MAX_BYTES + 1));
    for (size_t i = 0; i < identities->count; i++)
        buf_printf(&text, "%s\n", identities->lines[i]);
    int fd = openat(identities->dir_fd, fresh_name,
                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    if (fd == -1 || !write_all(fd, buf_str(&text)) || fsync(fd) == -1 ||
        renameat(identities->dir_fd, fresh_name, identities->dir_fd, list_name) == -1 ||
        fsync(identities->dir_fd) == -1)
        code = failed(identities, "its list of identities can't be written", err);
    if (fd != -1)
        close(fd);
    buf_clear(&text);
    return code;
}

enum fp_err identities_open(struct identities **out, const char *dir, struct err *err)
{
    struct identities *identities = mem_alloc(sizeof(*identities));

    identities->dir = str_dup(str_of(dir));
    identities->dir_fd = -1;
    identities->lock_fd = -1;
    enum fp_err code = open_dir(identities, err);
    if (code == FP_OK)
        code = lock_dir(identities, err);
    if (code == FP_OK)
        code = read_list(identities, err);
    if (code != FP_OK) {
        identities_close(identities);
        return code;
    }
    *out = identities;
    return FP_OK;
}

void identities_close(struct identities *identities)
{
    if (identities == NULL)
        return;
    if (identities->lock_fd != -1)
        close(identities->lock_fd);
    if (identities->dir_fd != -1)
        close(identities->dir_fd);
    for (size_t i = 0; i < identities->count; i++)
        free(identities->lines[i]);
    free(identities->dir);
    free(identities);
}

enum fp_err identities_add(struct identities *identities, const char *host, long pid,
                           const unsigned char nonce[IDENTITY_NONCE_BYTES], struct err *err)
{
    struct buf line;

    buf_init(&line, IDENTITY_MAX_BYTES);
    hostname_put_machine(&line, host);
    buf_printf(&line, ":%ld:", pid);
    for (size_t i = 0; i < IDENTITY_NONCE_BYTES; i++)
        buf_printf(&line, "%02x", nonce[i]);
    append_line(identities, str_dup(buf_str(&line)));
    buf_clear(&line);
    enum fp_err code = write_list(identities, err);
    if (code != FP_OK) /* nobody will use it */
        free(identities->lines[--identities->count]);
    return code;
}

void identities_put(const struct identities *identities, struct buf *out)
{
    for (size_t i = identities->count; i > 0; i--)
        buf_printf(out, "%s%s", i < identities->count ? "\n" : "", identities->lines[i - 1]);
}

enum fp_err identities_remove(struct identities *identities, struct str identity, struct err *err)
{
    size_t i = 0;

    while (i < identities->count && !str_equal(str_of(identities->lines[i]), identity))
        i++;
    if (i == identities->count)
        return FP_OK;
    free(identities->lines[i]);
    identities->count--;
    memmove(identities->lines + i, identities->lines + i + 1,
            (identities->count - i) * sizeof(identities->lines[0]));
    return write_list(identities, err);
}
