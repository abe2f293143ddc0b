/*
 * Finds fields in JSON's original bytes and decodes strings strictly: no number passes through a
 * double, and what isn't touched stays byte for byte. Nothing is allocated while parsing.
 */
#ifndef FEDPUSH_BASE_JSON_H
#define FEDPUSH_BASE_JSON_H

#include "base/str.h"

enum json_type {
    JSON_ABSENT = 0,
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

/* A value where it stands. `raw` is the value's bytes: a string's quotes included. */
struct json_value {
    enum json_type type;
    struct str raw;
};

/* A reusable parser; holds one document's tokens at a time. Bounded: 4,096 tokens, depth 32. */
struct json;
struct json *json_create(void);
void json_destroy(struct json *json);
/*
 * Strict: one value, well-formed numbers, literals, strings (escapes, no raw control bytes, UTF-8
 * valid, surrogates in pairs), no trailing bytes. `text` is borrowed until the next parse. False:
 * *reason is a constant.
 */
bool json_parse(struct json *json, struct str text, struct json_value *root,
                const char **reason) FP_MUST_CHECK;
/*
 * After json_parse said false: whether a laxer or larger parser (Ruby's) may take the text all the
 * same: limits of ours, invalid UTF-8, lone surrogates, unknown escapes, comments.
 */
bool json_other_may_accept(const struct json *json);

/* Members of an object / elements of an array of the document parsed last. JSON_ABSENT when there
 * is none; a duplicate key gives the last one, as Ruby's parser does. Keys are compared after
 * decoding. */
struct json_value json_member(const struct json *json, struct json_value object, struct str key);
struct json_value json_element(const struct json *json, struct json_value array, size_t index);
size_t json_length(const struct json *json, struct json_value container); /* elements, or members */
/* Member i of an object: its key is appended, decoded, to *key. */
struct json_value json_member_at(const struct json *json, struct json_value object, size_t index,
                                 struct buf *key);

bool json_to_i64(struct json_value number,
                 int64_t *out) FP_MUST_CHECK; /* integers only: no '.', no exponent */
/* Appends the decoded bytes of a string value. False: not a string. */
bool json_to_text(struct json_value string, struct buf *out) FP_MUST_CHECK;
/* The same for a value known to be a string, into memory of at least string.raw.len bytes. Returns
 * the length. */
size_t json_copy_text(struct json_value string, char *out);

/* Appends `text` as a JSON string with quotes, escaped as Ruby's JSON.generate does (only ", \ and
 * bytes below 0x20); each byte that is no UTF-8 becomes U+FFFD. */
void json_put_string(struct buf *out, struct str text);

#endif
