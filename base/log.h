/*
 * One line an event on standard error: `level=info role=scheduler msg="claimed" jobs=12`. The
 * message is a constant; values are fields, quoted and escaped here (base/log_line.h), so that
 * text from strangers cannot forge a line. Under systemd each line starts with "<N>" (sd-daemon).
 * Never give it key material, tokens, passwords or payloads.
 * Bounded: more than 200 lines a second are counted instead of written.
 */
#ifndef FEDPUSH_BASE_LOG_H
#define FEDPUSH_BASE_LOG_H

#include "base/str.h"

enum log_level { LOG_LEVEL_ERROR = 0, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log_field {
    const char *key;
    enum { LOG_FIELD_TEXT = 0, LOG_FIELD_NUMBER } type;
    struct str text;
    int64_t number;
};

#define LOG_STR(key, slice) ((struct log_field){(key), LOG_FIELD_TEXT, (slice), 0})
#define LOG_TEXT(key, cstr) ((struct log_field){(key), LOG_FIELD_TEXT, str_of(cstr), 0})
#define LOG_INT(key, value)                                                                        \
    ((struct log_field){(key), LOG_FIELD_NUMBER, STR_NULL, (int64_t)(value)})

/* `role` is borrowed for ever (a literal). Lines below `level` are left out. */
void log_open(const char *role, enum log_level level);
void log_set_level(enum log_level level);
bool log_level_parse(struct str name, enum log_level *out) FP_MUST_CHECK;
bool log_wants(enum log_level level);

/* What a reader finds a gap by: the message behind which lines=N were left out. */
#define LOG_GAP "log lines suppressed"

void log_write(enum log_level level, const char *message, const struct log_field *fields,
               size_t field_count);
/* log_event(LOG_LEVEL_INFO, "worker started", LOG_INT("worker", 1)): at least one field. */
#define log_event(level, message, ...)                                                             \
    log_write((level), (message), (struct log_field[]){__VA_ARGS__},                               \
              sizeof((struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))
/* A message without fields. */
#define log_plain(level, message) log_write((level), (message), NULL, 0)

#endif
