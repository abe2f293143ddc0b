/*
 * Sentences of fedpush' own (base/phrase.def), each as English text for people, and beside it as
 * a code with named values for programs and for the page, which has them in its languages:
 *
 *   {"text":"an admin has paused it","code":"lane.paused","params":{}}
 *
 * A value's name says its unit, by which it is shown: "_s" seconds, "_ms" milliseconds, "_bytes"
 * bytes. A value may be sentences itself: a list of such objects. Strangers' words (errors of
 * remote hosts, of servers and libraries) are values and stay as they are.
 */
#ifndef FEDPUSH_BASE_PHRASE_H
#define FEDPUSH_BASE_PHRASE_H

#include "base/str.h"

enum phrase {
    PHRASE_NONE = 0,
#define PHRASE(name, code, english) PHRASE_##name,
#include "base/phrase.def"
#undef PHRASE
    PHRASES
};

enum { PHRASE_CODE_BYTES = 48, PHRASE_TEXT_BYTES = 16384, PHRASE_PARAMS_BYTES = 16384 };

/* One sentence, or several: their text, and the objects without the brackets around. */
struct said {
    struct buf text;
    struct buf objects;
};

struct say {
    const char *name;
    enum { SAY_TYPE_TEXT = 0, SAY_TYPE_NUMBER, SAY_TYPE_SAID } type;
    struct str text;
    double number;
    const struct said *said;
};
/* Borrowed. */
struct says {
    const struct say *values;
    size_t count;
};

#define SAY_STR(name, slice) ((struct say){(name), SAY_TYPE_TEXT, (slice), 0, NULL})
#define SAY_TEXT(name, cstr) ((struct say){(name), SAY_TYPE_TEXT, str_of(cstr), 0, NULL})
#define SAY_NUMBER(name, value)                                                                    \
    ((struct say){(name), SAY_TYPE_NUMBER, STR_NULL, (double)(value), NULL})
#define SAY_SAID(name, sentences) ((struct say){(name), SAY_TYPE_SAID, STR_NULL, 0, (sentences)})
/* SAYS(SAY_TEXT("host", host), SAY_NUMBER("wait_s", 3)): what the holes of the English text name.
 */
#define SAYS(...)                                                                                  \
    ((struct says){(const struct say[]){__VA_ARGS__},                                              \
                   sizeof((const struct say[]){__VA_ARGS__}) / sizeof(struct say)})
#define SAYS_NOTHING ((struct says){NULL, 0})

/* "lane.paused"; "" of none. */
const char *phrase_code(enum phrase phrase);
/* With its holes; "" of none. */
const char *phrase_english(enum phrase phrase);

/* Each appends. */
void phrase_put_text(struct buf *out, enum phrase phrase, struct says says);
/* An object; texts are made harmless, and cut to so many columns. */
void phrase_put_params(struct buf *out, struct says says, size_t columns);
/* "3 s", "4 min", "2 h", "5 d". */
void phrase_put_age(struct buf *out, double seconds);

/* Bounds its text and its objects. What doesn't fit is left out whole. */
void said_init(struct said *said, size_t max_bytes);
void said_clear(struct said *said);
/* `separator` stands between its text and what is there already. */
void said_add(struct said *said, const char *separator, enum phrase phrase, struct says says);
/* Appends the list, with its brackets. */
void said_put_list(const struct said *said, struct buf *out);

#endif
