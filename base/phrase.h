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
    struct str name;
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

#define SAY_STR(name, slice) ((struct say){STR(name), SAY_TYPE_TEXT, (slice), 0, NULL})
#define SAY_TEXT(name, cstr) ((struct say){STR(name), SAY_TYPE_TEXT, str_of(cstr), 0, NULL})
#define SAY_NUMBER(name, value)                                                                    \
    ((struct say){STR(name), SAY_TYPE_NUMBER, STR_NULL, (double)(value), NULL})
#define SAY_SAID(name, sentences) ((struct say){STR(name), SAY_TYPE_SAID, STR_NULL, 0, (sentences)})
/* A reason in words alone: `own` gets what it is as a sentence, when it is one of ours. */
#define SAY_REASON(name, own, cstr) (say_reason(STR(name), (own), (cstr)))
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
/* Reads what is written down as text alone: adds the phrase of the group ("policy": those whose
 * codes begin so) that the text is, with its values. False: it is none, perhaps another version's.
 */
bool said_read(struct said *said, const char *separator, const char *group,
               struct str text) FP_MUST_CHECK;
/* The same of the group "reason"; its values are text, codes of errors among them. */
bool said_read_reason(struct said *said, struct str text) FP_MUST_CHECK;
/* SAY_REASON's. `own` is initialized, and borrowed. */
struct say say_reason(struct str name, struct said *own, const char *text);
/* Adds one whose text and values (an object of JSON) are made already. */
void said_add_made(struct said *said, const char *separator, enum phrase phrase, struct str text,
                   struct str params);
/* Appends the list, with its brackets. */
void said_put_list(const struct said *said, struct buf *out);

#endif
