#include "base/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_escape.h"
#include "base/utf8.h"

/*
 * A recursive descent over the bytes that leaves a token for each value and key, in the order of
 * the document; so a value's token is found again by its position. Containers list their children
 * in `children`: indexes of elements, or of keys, whose value is the token behind.
 */
enum { MAX_TOKENS = 4096, MAX_DEPTH = 32, SHORT_TEXT_BYTES = 256 };

struct token {
    enum json_type type;
    uint32_t start, end; /* offsets into the text; a string's quotes included */
    bool escaped;        /* a string with a backslash in it */
    uint16_t first_child;
    uint16_t child_count;
};

struct json {
    struct str text;
    size_t token_count;
    size_t child_count;
    size_t pending_count;
    bool other_may_accept;
    struct token tokens[MAX_TOKENS];
    uint16_t children[MAX_TOKENS];
    uint16_t pending[MAX_TOKENS]; /* children of the containers that are still open */
};

struct parser {
    struct json *json;
    const char *at, *end;
    const char *reason;
    unsigned depth;
};

struct json *json_create(void)
{
    return mem_alloc(sizeof(struct json));
}

void json_destroy(struct json *json)
{
    free(json);
}

static bool refuse(struct parser *p, const char *reason)
{
    p->reason = reason;
    return false;
}

/* Refuses what other parsers may take. */
static bool refuse_ours(struct parser *p, const char *reason)
{
    p->json->other_may_accept = true;
    return refuse(p, reason);
}

static bool at_end(const struct parser *p)
{
    return p->at == p->end;
}

static bool next_is(const struct parser *p, char c)
{
    return !at_end(p) && *p->at == c;
}

static bool take(struct parser *p, char c)
{
    if (!next_is(p, c))
        return false;
    p->at++;
    return true;
}

static void skip_blanks(struct parser *p)
{
    while (!at_end(p) && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r'))
        p->at++;
}

static bool unexpected(struct parser *p)
{
    if (at_end(p))
        return refuse(p, "the text ends too early");
    if (*p->at == '/')
        return refuse_ours(p, "a comment");
    return refuse(p, "a byte that may not stand there");
}

static struct token *add_token(struct parser *p, enum json_type type)
{
    struct json *json = p->json;

    if (json->token_count == MAX_TOKENS) {
        refuse_ours(p, "too many values");
        return NULL;
    }
    struct token *token = &json->tokens[json->token_count++];
    *token = (struct token){.type = type, .start = (uint32_t)(p->at - json->text.ptr)};
    return token;
}

static void end_token(const struct parser *p, struct token *token)
{
    token->end = (uint32_t)(p->at - p->json->text.ptr);
}

static bool is_digit(const struct parser *p)
{
    return !at_end(p) && *p->at >= '0' && *p->at <= '9';
}

static bool take_digits(struct parser *p)
{
    if (!is_digit(p))
        return refuse(p, "a number without digits");
    while (is_digit(p))
        p->at++;
    return true;
}

static bool parse_number(struct parser *p)
{
    struct token *token = add_token(p, JSON_NUMBER);

    if (token == NULL)
        return false;
    take(p, '-');
    if (!take(p, '0') && !take_digits(p)) /* behind a leading 0 no digit is expected */
        return false;
    if (take(p, '.') && !take_digits(p))
        return false;
    if (take(p, 'e') || take(p, 'E')) {
        if (!take(p, '+'))
            take(p, '-');
        if (!take_digits(p))
            return false;
    }
    end_token(p, token);
    return true;
}

static bool parse_literal(struct parser *p, enum json_type type, struct str literal)
{
    struct token *token = add_token(p, type);

    if (token == NULL)
        return false;
    if (!str_starts_with((struct str){p->at, (size_t)(p->end - p->at)}, literal))
        return refuse(p, "an unknown word");
    p->at += literal.len;
    end_token(p, token);
    return true;
}

/* Behind "\u". */
static bool check_unicode_escape(struct parser *p)
{
    int32_t unit = json_hex4(p->at, p->end);

    if (unit < 0)
        return refuse(p, "a bad \\u escape");
    p->at += 4;
    if (json_is_low_surrogate(unit))
        return refuse_ours(p, "a lone surrogate");
    if (json_is_high_surrogate(unit)) {
        if (!take(p, '\\') || !take(p, 'u') || !json_is_low_surrogate(json_hex4(p->at, p->end)))
            return refuse_ours(p, "a lone surrogate");
        p->at += 4;
    }
    return true;
}

/* Behind the backslash. */
static bool check_escape(struct parser *p)
{
    if (at_end(p))
        return unexpected(p);
    switch (*p->at++) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return true;
    case 'u':
        return check_unicode_escape(p);
    default:
        return refuse_ours(p, "an unknown escape");
    }
}

static bool check_utf8(struct parser *p)
{
    size_t len = utf8_sequence((struct str){p->at, (size_t)(p->end - p->at)});

    if (len == 0)
        return refuse_ours(p, "invalid UTF-8");
    p->at += len;
    return true;
}

static void skip_plain(struct parser *p)
{
    const char *at = p->at;

    while (at < p->end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20 &&
           (unsigned char)*at < 0x80)
        at++;
    p->at = at;
}

static bool parse_string(struct parser *p)
{
    struct token *token = add_token(p, JSON_STRING);

    if (token == NULL)
        return false;
    p->at++;
    for (skip_plain(p); !next_is(p, '"'); skip_plain(p)) {
        if (at_end(p))
            return unexpected(p);
        if (take(p, '\\')) {
            token->escaped = true;
            if (!check_escape(p))
                return false;
        } else if ((unsigned char)*p->at < 0x20) {
            return refuse(p, "a control byte in a string");
        } else if (!check_utf8(p)) {
            return false;
        }
    }
    p->at++;
    end_token(p, token);
    return true;
}

/* Takes the children that were put aside since the container began. */
static void close_container(struct parser *p, struct token *token, size_t pending_before)
{
    struct json *json = p->json;
    size_t count = json->pending_count - pending_before;

    memcpy(json->children + json->child_count, json->pending + pending_before,
           count * sizeof(json->children[0]));
    token->first_child = (uint16_t)json->child_count;
    token->child_count = (uint16_t)count;
    json->child_count += count;
    json->pending_count = pending_before;
    end_token(p, token);
    p->depth--;
}

static struct token *open_container(struct parser *p, enum json_type type)
{
    struct token *token = add_token(p, type);

    if (token == NULL)
        return NULL;
    if (++p->depth > MAX_DEPTH) {
        refuse_ours(p, "nested too deeply");
        return NULL;
    }
    p->at++;
    skip_blanks(p);
    return token;
}

static void note_child(struct parser *p)
{
    p->json->pending[p->json->pending_count++] = (uint16_t)p->json->token_count;
}

static bool parse_value(struct parser *p);

static bool parse_array(struct parser *p)
{
    size_t pending_before = p->json->pending_count;
    struct token *token = open_container(p, JSON_ARRAY);

    if (token == NULL)
        return false;
    if (!take(p, ']')) {
        do {
            note_child(p);
            skip_blanks(p);
            if (!parse_value(p))
                return false;
            skip_blanks(p);
        } while (take(p, ','));
        if (!take(p, ']'))
            return unexpected(p);
    }
    close_container(p, token, pending_before);
    return true;
}

static bool parse_member(struct parser *p)
{
    note_child(p);
    skip_blanks(p);
    if (!next_is(p, '"'))
        return unexpected(p);
    if (!parse_string(p))
        return false;
    skip_blanks(p);
    if (!take(p, ':'))
        return unexpected(p);
    skip_blanks(p);
    return parse_value(p);
}

static bool parse_object(struct parser *p)
{
    size_t pending_before = p->json->pending_count;
    struct token *token = open_container(p, JSON_OBJECT);

    if (token == NULL)
        return false;
    if (!take(p, '}')) {
        do {
            if (!parse_member(p))
                return false;
            skip_blanks(p);
        } while (take(p, ','));
        if (!take(p, '}'))
            return unexpected(p);
    }
    close_container(p, token, pending_before);
    return true;
}

static bool parse_value(struct parser *p)
{
    if (at_end(p))
        return unexpected(p);
    switch (*p->at) {
    case '{':
        return parse_object(p);
    case '[':
        return parse_array(p);
    case '"':
        return parse_string(p);
    case 't':
        return parse_literal(p, JSON_TRUE, STR("true"));
    case 'f':
        return parse_literal(p, JSON_FALSE, STR("false"));
    case 'n':
        return parse_literal(p, JSON_NULL, STR("null"));
    default:
        return *p->at == '-' || is_digit(p) ? parse_number(p) : unexpected(p);
    }
}

static struct json_value value_of(const struct json *json, size_t index)
{
    const struct token *token = &json->tokens[index];
    return (struct json_value){token->type,
                               {json->text.ptr + token->start, token->end - token->start}};
}

static bool parse_document(struct parser *p)
{
    if (p->json->text.len > UINT32_MAX)
        return refuse_ours(p, "too large");
    skip_blanks(p);
    if (!parse_value(p))
        return false;
    skip_blanks(p);
    return at_end(p) || unexpected(p);
}

bool json_parse(struct json *json, struct str text, struct json_value *root, const char **reason)
{
    struct parser parser = {.json = json, .at = text.ptr, .end = text.ptr, .reason = ""};

    json->text = text;
    json->token_count = 0;
    json->child_count = 0;
    json->pending_count = 0;
    json->other_may_accept = false;
    *root = (struct json_value){JSON_ABSENT, STR_NULL};
    if (text.len > 0)
        parser.end += text.len;
    if (!parse_document(&parser)) {
        json->token_count = 0;
        *reason = parser.reason;
        return false;
    }
    *root = value_of(json, 0);
    *reason = parser.reason;
    return true;
}

bool json_other_may_accept(const struct json *json)
{
    return json->other_may_accept;
}

/* Tokens stand in the order of the text. NULL: not a value of the document parsed last. */
static const struct token *find_token(const struct json *json, struct json_value value)
{
    uintptr_t offset = (uintptr_t)value.raw.ptr - (uintptr_t)json->text.ptr;
    size_t low = 0;
    size_t high = json->token_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (json->tokens[middle].start < offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == json->token_count || json->tokens[low].start != offset ||
        json->tokens[low].type != value.type)
        return NULL;
    return &json->tokens[low];
}

static const struct token *find_container(const struct json *json, struct json_value value,
                                          enum json_type type)
{
    return value.type == type ? find_token(json, value) : NULL;
}

static bool key_equals(const struct json *json, size_t index, struct str key)
{
    struct json_value value = value_of(json, index);
    char decoded[SHORT_TEXT_BYTES];

    if (!json->tokens[index].escaped)
        return str_equal((struct str){value.raw.ptr + 1, value.raw.len - 2}, key);
    /* An escape makes at most six bytes of one. */
    if (value.raw.len < key.len + 2 || (value.raw.len - 2) / 6 > key.len)
        return false;
    if (value.raw.len <= sizeof(decoded))
        return str_equal((struct str){decoded, json_copy_text(value, decoded)}, key);
    char *memory = mem_alloc(value.raw.len);
    bool equal = str_equal((struct str){memory, json_copy_text(value, memory)}, key);
    free(memory);
    return equal;
}

struct json_value json_member(const struct json *json, struct json_value object, struct str key)
{
    const struct token *token = find_container(json, object, JSON_OBJECT);

    for (size_t i = token != NULL ? token->child_count : 0; i > 0; i--) {
        size_t index = json->children[token->first_child + i - 1];
        if (key_equals(json, index, key))
            return value_of(json, index + 1);
    }
    return (struct json_value){JSON_ABSENT, STR_NULL};
}

struct json_value json_element(const struct json *json, struct json_value array, size_t index)
{
    const struct token *token = find_container(json, array, JSON_ARRAY);

    if (token == NULL || index >= token->child_count)
        return (struct json_value){JSON_ABSENT, STR_NULL};
    return value_of(json, json->children[token->first_child + index]);
}

size_t json_length(const struct json *json, struct json_value container)
{
    const struct token *token = find_token(json, container);
    return token != NULL ? token->child_count : 0;
}

struct json_value json_member_at(const struct json *json, struct json_value object, size_t index,
                                 struct buf *key)
{
    const struct token *token = find_container(json, object, JSON_OBJECT);

    if (token == NULL || index >= token->child_count)
        return (struct json_value){JSON_ABSENT, STR_NULL};
    size_t at = json->children[token->first_child + index];
    if (!json_to_text(value_of(json, at), key))
        return (struct json_value){JSON_ABSENT, STR_NULL};
    return value_of(json, at + 1);
}

bool json_to_i64(struct json_value number, int64_t *out)
{
    return number.type == JSON_NUMBER && str_to_i64(number.raw, INT64_MIN, INT64_MAX, out);
}
