#include "base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log_line.h"

enum { LINES_PER_SECOND = 200, MAX_LINE_BYTES = 4096 };

static const char *const level_names[] = {"error", "warn", "info", "debug"};

/* The one mutable global beside signal flags: every module of a process writes to one log. */
static struct {
    const char *role;
    enum log_level level;
    bool systemd;
    time_t second;
    unsigned lines;
    unsigned suppressed;
} logger = {"fedpush", LOG_LEVEL_INFO, false, 0, 0, 0};

/* The admin process logs from several threads: this guards what counts lines. */
static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;

void log_open(const char *role, enum log_level level)
{
    logger.role = role;
    logger.level = level;
    logger.systemd = getenv("JOURNAL_STREAM") != NULL;
}

void log_set_level(enum log_level level)
{
    logger.level = level;
}

bool log_level_parse(struct str name, enum log_level *out)
{
    for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (str_equal_nocase(name, str_of(level_names[i]))) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_wants(enum log_level level)
{
    return level <= logger.level;
}

static void write_line(struct buf *line)
{
    line->max_bytes++; /* the newline always fits */
    buf_put_char(line, '\n');
    /* A full or closed pipe loses the line: logging never blocks deliveries for long. */
    ssize_t ignored = write(STDERR_FILENO, line->ptr, line->len);
    (void)ignored;
}

static void put_start(struct buf *line, enum log_level level, const char *message)
{
    static const int syslog_levels[] = {3, 4, 6, 7};

    if (logger.systemd)
        buf_printf(line, "<%d>", syslog_levels[level]);
    buf_printf(line, "level=%s role=%s msg=", level_names[level], logger.role);
    log_line_put_value(line, str_of(message));
}

static bool within_rate(void)
{
    time_t now = time(NULL);
    unsigned suppressed = 0;

    pthread_mutex_lock(&counting);
    if (now != logger.second) {
        suppressed = logger.suppressed;
        logger.second = now;
        logger.lines = 0;
        logger.suppressed = 0;
    }
    bool within = logger.lines < LINES_PER_SECOND;
    if (within)
        logger.lines++;
    else
        logger.suppressed++;
    pthread_mutex_unlock(&counting);
    if (suppressed > 0)
        log_event(LOG_LEVEL_WARN, LOG_GAP, LOG_INT("lines", suppressed));
    return within;
}

void log_write(enum log_level level, const char *message, const struct log_field *fields,
               size_t field_count)
{
    struct buf line;

    if (!log_wants(level) || !within_rate())
        return;
    buf_init(&line, MAX_LINE_BYTES);
    put_start(&line, level, message);
    for (size_t i = 0; i < field_count; i++) {
        buf_printf(&line, " %s=", fields[i].key);
        if (fields[i].type == LOG_FIELD_NUMBER)
            buf_printf(&line, "%lld", (long long)fields[i].number);
        else
            log_line_put_value(&line, fields[i].text);
    }
    write_line(&line);
    buf_clear(&line);
}
