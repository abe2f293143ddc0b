#include "base/dotenv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"

void dotenv_init(struct dotenv *dotenv)
{
    *dotenv = (struct dotenv){.rules = DOTENV_3};
    dotenv->sources = mem_alloc(sizeof(*dotenv->sources));
    dotenv->sources[0] = str_dup(STR_NULL);
    dotenv->source_count = 1;
}

void dotenv_clear(struct dotenv *dotenv)
{
    for (size_t i = 0; i < dotenv->count; i++) {
        free(dotenv->variables[i].name);
        secret_free(dotenv->variables[i].value);
    }
    for (unsigned i = 0; i < dotenv->source_count; i++)
        free(dotenv->sources[i]);
    free(dotenv->variables);
    free(dotenv->sources);
    *dotenv = (struct dotenv){0};
}

static struct dotenv_variable *find(const struct dotenv *dotenv, struct str name)
{
    for (size_t i = 0; i < dotenv->count; i++) {
        if (str_equal(str_of(dotenv->variables[i].name), name))
            return &dotenv->variables[i];
    }
    return NULL;
}

const struct dotenv_variable *dotenv_find(const struct dotenv *dotenv, const char *name)
{
    return find(dotenv, str_of(name));
}

const char *dotenv_value(const struct dotenv *dotenv, const char *name)
{
    const struct dotenv_variable *variable = dotenv_find(dotenv, name);
    return variable != NULL && variable->value[0] != '\0' ? variable->value : NULL;
}

void dotenv_describe(const struct dotenv *dotenv, const char *name, struct buf *out)
{
    const struct dotenv_variable *variable = dotenv_find(dotenv, name);

    if (variable != NULL && variable->line > 0)
        buf_printf(out, "%s:%u: ", dotenv->sources[variable->source], variable->line);
    buf_printf(out, "%s", name);
}

static void set(struct dotenv *dotenv, struct str name, struct str value, unsigned line)
{
    struct dotenv_variable *variable = find(dotenv, name);

    if (variable != NULL) {
        secret_free(variable->value);
    } else {
        if (dotenv->count == dotenv->capacity) {
            dotenv->capacity = dotenv->capacity == 0 ? 64 : dotenv->capacity * 2;
            dotenv->variables =
                mem_realloc(dotenv->variables, dotenv->capacity * sizeof(*dotenv->variables));
        }
        variable = &dotenv->variables[dotenv->count++];
        variable->name = str_dup(name);
    }
    variable->value = str_dup(value);
    variable->source = dotenv->source_count - 1;
    variable->named_in = variable->source;
    variable->line = line;
}

void dotenv_add_environment(struct dotenv *dotenv, char *const environment[])
{
    for (size_t i = 0; environment[i] != NULL; i++) {
        struct str entry = str_of(environment[i]);
        size_t equals = str_find(entry, '=');
        struct str name = {entry.ptr, equals};
        if (equals > 0 && equals < entry.len && find(dotenv, name) == NULL)
            set(dotenv, name, str_slice(entry, equals + 1), 0);
    }
}

void dotenv_forget_files(struct dotenv *dotenv)
{
    size_t kept = 0;

    for (size_t i = 0; i < dotenv->count; i++) {
        struct dotenv_variable *variable = &dotenv->variables[i];
        if (variable->source == 0) {
            variable->named_in = 0;
            dotenv->variables[kept++] = *variable;
        } else {
            free(variable->name);
            secret_free(variable->value);
        }
    }
    dotenv->count = kept;
    while (dotenv->source_count > 1)
        free(dotenv->sources[--dotenv->source_count]);
}

/* What is being read: `at` is an offset in `text`, whose line ends are all "\n". */
struct reader {
    struct dotenv *dotenv;
    const char *file;
    struct str text;
    size_t at;
    unsigned number;  /* of the line of `at`, from 1 */
    unsigned source;  /* index of `file` */
    bool line_breaks; /* `\n` and `\r` in double quotes stand for the end of a line */
};

/* What a line says, with those that its value goes on in. */
struct line {
    unsigned number;
    struct str text; /* without what it goes on in */
    struct str name; /* empty: it defines nothing */
    struct str raw;  /* the value as it is written; empty: there is none */
    bool is_export;  /* `export` stands before the name */
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_at(struct str text, size_t i, char c)
{
    return i < text.len && text.ptr[i] == c;
}

/* Offset behind blanks. An end of a line is one, too: the gem's pattern has no other. */
static size_t skip_spaces(struct str text, size_t i)
{
    while (i < text.len && is_space(text.ptr[i]))
        i++;
    return i;
}

static size_t line_end(struct str text, size_t i)
{
    while (i < text.len && text.ptr[i] != '\n')
        i++;
    return i;
}

/* Whether only blanks and a comment are left on the line. */
static bool ends_here(struct str text, size_t i)
{
    while (i < text.len && is_space(text.ptr[i]) && text.ptr[i] != '\n')
        i++;
    return i == text.len || text.ptr[i] == '\n' || text.ptr[i] == '#';
}

/*
 * A value in quotes that starts at `start`: the offset behind its closing quote, or 0. An escaped
 * quote closes only when no later one does, as in the gem's pattern.
 */
static size_t quoted_end(struct str text, size_t start)
{
    char quote = text.ptr[start];
    size_t found = 0;

    for (size_t i = start + 1; i < text.len; i++) {
        if (text.ptr[i] != quote)
            continue;
        if (ends_here(text, i + 1))
            found = i + 1;
        if (text.ptr[i - 1] != '\\')
            break;
    }
    return found;
}

/* Backslashes of a value; those before `$` are left to who looks for it. */
static void unescape(struct str value, bool quoted, bool line_breaks, struct buf *out)
{
    for (size_t i = 0; i < value.len;) {
        char c = value.ptr[i++];
        if (c != '\\' || i == value.len || value.ptr[i] == '$') {
            buf_put_char(out, c);
            continue;
        }
        /* The gem treats `\n` first, and then takes the backslash before it for another escape. */
        if (quoted && value.ptr[i] == '\\' &&
            (is_at(value, i + 1, 'n') || is_at(value, i + 1, 'r')))
            i++;
        c = value.ptr[i++];
        if (quoted && (c == 'n' || c == 'r')) {
            if (line_breaks)
                c = c == 'n' ? '\n' : '\r';
            else
                buf_put_char(out, '\\');
        }
        buf_put_char(out, c);
    }
}

/* Replaces `$NAME` and `${NAME}`; the braces are optional one by one, as in the gem. `i` is the
 * offset behind '$'. Returns the offset behind what was replaced. */
static size_t substitute(const struct dotenv *dotenv, struct str value, size_t i, struct buf *out)
{
    size_t start = is_at(value, i, '{') ? i + 1 : i;
    size_t end = start;

    while (end < value.len && is_name_char(value.ptr[end]))
        end++;
    if (end == start) {
        buf_put_char(out, '$');
        return i;
    }
    const struct dotenv_variable *variable =
        find(dotenv, (struct str){value.ptr + start, end - start});
    if (variable != NULL)
        buf_put_str(out, str_of(variable->value));
    return is_at(value, end, '}') ? end + 1 : end;
}

static void put_variables(const struct dotenv *dotenv, struct str value, struct buf *out)
{
    for (size_t i = 0; i < value.len;) {
        char c = value.ptr[i++];
        size_t dollar = c == '\\' ? i : i - 1;
        if (!is_at(value, dollar, '$') || is_at(value, dollar + 1, '(')) {
            buf_put_char(out, c);
        } else if (c == '\\') {
            buf_put_char(out, '$');
            i++;
        } else {
            i = substitute(dotenv, value, i, out);
        }
    }
}

/* A command whose '(' is at `i`: the offset behind its ')', or 0; it has no "()". */
static size_t command_end(struct str value, size_t i)
{
    size_t depth = 0;

    for (; i < value.len; i++) {
        if (value.ptr[i] == '(') {
            depth++;
        } else if (value.ptr[i] == ')') {
            if (value.ptr[i - 1] == '(')
                return 0;
            if (--depth == 0)
                return i + 1;
        }
    }
    return 0;
}

/* Takes the backslash from `\$(command)`. False: one has none, and the gem would run it. */
static bool put_commands(struct str value, struct buf *out)
{
    for (size_t i = 0; i < value.len;) {
        bool escaped = value.ptr[i] == '\\';
        size_t dollar = escaped ? i + 1 : i;
        size_t end = 0;
        if (is_at(value, dollar, '$') && is_at(value, dollar + 1, '('))
            end = command_end(value, dollar + 1);
        if (end == 0) {
            buf_put_char(out, value.ptr[i++]);
            continue;
        }
        if (!escaped)
            return false;
        buf_put(out, value.ptr + dollar, end - dollar);
        i = end;
    }
    return true;
}

/* What `$` stands for in a value, in the order of the gem's version: the later one looks at what
 * the earlier one put in. False: it has a command. */
static bool expand(const struct dotenv *dotenv, struct str value, struct buf *out)
{
    struct buf between;
    bool plain;

    if (value.len == 0 || memchr(value.ptr, '$', value.len) == NULL) {
        buf_put_str(out, value);
        return true;
    }
    secret_buf_init(&between, DOTENV_MAX_VALUE_BYTES);
    if (dotenv->rules == DOTENV_3) {
        plain = put_commands(value, &between);
        put_variables(dotenv, buf_str(&between), out);
    } else {
        put_variables(dotenv, value, &between);
        plain = put_commands(buf_str(&between), out);
    }
    out->overflow = out->overflow || between.overflow;
    secret_buf_clear(&between);
    return plain;
}

/* The value of a line, without its quotes. */
static enum fp_err read_value(const struct reader *r, const struct line *line, struct buf *out,
                              struct err *err)
{
    struct str raw = str_trim(line->raw);
    char quote = '\0';
    struct buf unescaped;
    bool plain = true;

    if (raw.len >= 2 && (raw.ptr[0] == '\'' || raw.ptr[0] == '"') &&
        raw.ptr[raw.len - 1] == raw.ptr[0]) {
        quote = raw.ptr[0];
        raw = (struct str){raw.ptr + 1, raw.len - 2};
    }
    if (quote == '\'') {
        buf_put_str(out, raw);
    } else {
        secret_buf_init(&unescaped, raw.len + 1);
        unescape(raw, quote == '"', r->line_breaks, &unescaped);
        plain = expand(r->dotenv, buf_str(&unescaped), out);
        secret_buf_clear(&unescaped);
    }
    if (!plain)
        return err_set(err, FP_INVALID,
                       "%s:%u: %.*s: $(...) is not run here: write the value itself, or put it in "
                       "single quotes if it is meant as it stands",
                       r->file, line->number, STR_ARG(line->name));
    if (out->overflow)
        return err_set(err, FP_TOO_LARGE, "%s:%u: %.*s: the value is longer than %d bytes", r->file,
                       line->number, STR_ARG(line->name), DOTENV_MAX_VALUE_BYTES);
    return FP_OK;
}

/* The value behind a separator: sets its raw bytes, returns the offset behind it. */
static size_t take_value(struct str text, size_t i, struct str *raw)
{
    size_t start = skip_spaces(text, i);
    size_t end = 0;

    if (is_at(text, start, '\'') || is_at(text, start, '"'))
        end = quoted_end(text, start);
    if (end == 0) {
        end = i;
        while (end < text.len && text.ptr[end] != '\n' && text.ptr[end] != '#')
            end++;
    }
    *raw = (struct str){text.ptr + i, end - i};
    return end;
}

/* Offset behind "=" with blanks before it, or behind ":" and a blank; 0 when there is none. */
static size_t take_separator(struct str text, size_t i)
{
    size_t sign = skip_spaces(text, i);

    if (is_at(text, sign, '='))
        return sign + 1;
    return is_at(text, i, ':') && i + 1 < text.len && is_space(text.ptr[i + 1]) ? i + 2 : 0;
}

static size_t take_export(struct str text, size_t i)
{
    if (!str_starts_with(str_slice(text, i), STR("export")))
        return i;
    size_t end = skip_spaces(text, i + 6);
    return end > i + 6 ? end : i;
}

/* A definition whose name is at `i`: the offset behind it; 0 when there is none. */
static size_t take_definition(const struct reader *r, size_t i, struct line *line)
{
    struct str text = r->text;
    size_t end = i;

    while (end < text.len && (is_name_char(text.ptr[end]) || text.ptr[end] == '.'))
        end++;
    size_t separator = take_separator(text, end);
    if (end == i || (separator == 0 && (r->dotenv->rules < DOTENV_3 || !ends_here(text, end))))
        return 0;
    line->name = (struct str){text.ptr + i, end - i};
    return separator != 0 ? take_value(text, separator, &line->raw) : end;
}

static void advance(struct reader *r, size_t end)
{
    for (; r->at < end; r->at++)
        r->number += r->text.ptr[r->at] == '\n';
}

/* The next line that isn't blank. Leaves `at` at the end of one. */
static bool next_line(struct reader *r, struct line *line)
{
    *line = (struct line){0};
    advance(r, skip_spaces(r->text, r->at));
    if (r->at == r->text.len)
        return false;
    line->number = r->number;
    line->text = (struct str){r->text.ptr + r->at, line_end(r->text, r->at) - r->at};
    size_t name = take_export(r->text, r->at);
    size_t end = take_definition(r, name, line);
    line->is_export = end != 0 && name > r->at;
    if (end == 0 && name > r->at)
        end = take_definition(r, r->at, line); /* a variable named `export` */
    advance(r, line_end(r->text, end != 0 ? end : r->at));
    return true;
}

static enum fp_err define(struct reader *r, const struct line *line, struct err *err)
{
    struct dotenv_variable *known = find(r->dotenv, line->name);
    bool is_mode = str_equal(line->name, STR("DOTENV_LINEBREAK_MODE"));
    struct buf value;

    if (known != NULL)
        known->named_in = r->source;
    if (r->dotenv->rules == DOTENV_3 && line->is_export && line->raw.len == 0)
        return known != NULL ? FP_OK
                             : err_set(err, FP_INVALID, "%s:%u: %.*s is exported but has no value",
                                       r->file, line->number, STR_ARG(line->name));
    /* The mode holds where it stands, whatever was defined before. */
    if (known != NULL && known->source != r->source && !is_mode)
        return FP_OK;
    secret_buf_init(&value, DOTENV_MAX_VALUE_BYTES);
    enum fp_err code = read_value(r, line, &value, err);
    if (code == FP_OK && (known == NULL || known->source == r->source))
        set(r->dotenv, line->name, buf_str(&value), line->number);
    if (code == FP_OK && is_mode && r->dotenv->rules != DOTENV_2)
        r->line_breaks = str_equal(buf_str(&value), STR("legacy"));
    secret_buf_clear(&value);
    return code;
}

/* Takes the next word; empty when there is none left. */
static struct str next_word(struct str *rest)
{
    struct str word = str_trim(*rest);
    size_t end = 0;

    while (end < word.len && !is_space(word.ptr[end]))
        end++;
    *rest = str_slice(word, end);
    word.len = end;
    return word;
}

/* Before dotenv 3.1.5, a line `export NAME…` that defines nothing is looked at when all others have
 * been read: all that it names must stand in the file itself. Its words may be values: errors show
 * none. */
static enum fp_err check_exports(struct reader *r, struct err *err)
{
    struct line line;

    while (next_line(r, &line)) {
        struct str rest = line.text;
        if (line.name.len > 0 || !str_equal(next_word(&rest), STR("export")))
            continue;
        for (struct str name = next_word(&rest); name.len > 0; name = next_word(&rest)) {
            const struct dotenv_variable *variable = find(r->dotenv, name);
            if (variable == NULL || variable->named_in != r->source)
                return err_set(err, FP_INVALID,
                               "%s:%u: exports what the file doesn't define, and this Mastodon "
                               "doesn't start with that: define it or remove it here",
                               r->file, line.number);
        }
    }
    return FP_OK;
}

static enum fp_err read_lines(struct reader *r, struct err *err)
{
    struct line line;

    while (next_line(r, &line)) {
        enum fp_err code = line.name.len > 0 ? define(r, &line, err) : FP_OK;
        if (code != FP_OK)
            return code;
    }
    r->at = 0;
    r->number = 1;
    return r->dotenv->rules < DOTENV_3 ? check_exports(r, err) : FP_OK;
}

/* CRLF and CR become LF; a byte order mark goes. */
static void put_normalized(struct buf *out, struct str text)
{
    if (str_starts_with(text, STR("\xef\xbb\xbf")))
        text = str_slice(text, 3);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '\r')
            buf_put_char(out, text.ptr[i]);
        else if (i + 1 == text.len || text.ptr[i + 1] != '\n')
            buf_put_char(out, '\n');
    }
}

enum fp_err dotenv_parse(struct dotenv *dotenv, const char *file, struct str text, struct err *err)
{
    struct buf normalized;

    if (text.len > DOTENV_MAX_BYTES)
        return err_set(err, FP_TOO_LARGE, "%s: longer than %d bytes", file, DOTENV_MAX_BYTES);
    if (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL)
        return err_set(err, FP_INVALID, "%s: has a NUL byte: not a text file", file);
    dotenv->sources =
        mem_realloc(dotenv->sources, (dotenv->source_count + 1) * sizeof(*dotenv->sources));
    dotenv->sources[dotenv->source_count++] = str_dup(str_of(file));
    secret_buf_init(&normalized, DOTENV_MAX_BYTES);
    put_normalized(&normalized, text);
    const char *mode = dotenv_value(dotenv, "DOTENV_LINEBREAK_MODE");
    struct reader r = {.dotenv = dotenv,
                       .file = file,
                       .text = buf_str(&normalized),
                       .number = 1,
                       .source = dotenv->source_count - 1,
                       .line_breaks = dotenv->rules == DOTENV_2 ||
                                      (mode != NULL && strcmp(mode, "legacy") == 0)};
    enum fp_err code = read_lines(&r, err);
    secret_buf_clear(&normalized);
    return code;
}

static enum fp_err open_error(const char *path, struct err *err)
{
    int error = errno;
    enum fp_err code = error == ENOENT || error == ENOTDIR ? FP_UNAVAILABLE
                       : error == EACCES || error == EPERM ? FP_DENIED
                                                           : FP_SYSTEM;
    return err_set(err, code, "%s: cannot be read: %s%s", path, strerror(error),
                   code == FP_DENIED ? ": let this user read it, or pass it with systemd's "
                                       "LoadCredential=env.production:PATH"
                                     : "");
}

enum fp_err dotenv_read_file(const char *path, struct buf *out, struct err *err)
{
    char chunk[4096];
    struct stat info;
    ssize_t n = 0;

    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd == -1)
        return open_error(path, err);
    if (fstat(fd, &info) == -1 || !S_ISREG(info.st_mode)) {
        close(fd);
        return err_set(err, FP_INVALID, "%s: is not a regular file", path);
    }
    while (out->len <= DOTENV_MAX_BYTES && (n = read(fd, chunk, sizeof(chunk))) > 0)
        buf_put(out, chunk, (size_t)n);
    secret_wipe(chunk, sizeof(chunk));
    if (n == -1) {
        enum fp_err code = open_error(path, err);
        close(fd);
        return code;
    }
    close(fd);
    if (out->overflow || out->len > DOTENV_MAX_BYTES)
        return err_set(err, FP_TOO_LARGE, "%s: longer than %d bytes", path, DOTENV_MAX_BYTES);
    return FP_OK;
}

enum fp_err dotenv_read(struct dotenv *dotenv, const char *path, bool *found, struct err *err)
{
    struct buf text;

    secret_buf_init(&text, DOTENV_MAX_BYTES + 4096);
    enum fp_err code = dotenv_read_file(path, &text, err);
    *found = code != FP_UNAVAILABLE;
    if (code == FP_OK)
        code = dotenv_parse(dotenv, path, buf_str(&text), err);
    secret_buf_clear(&text);
    return *found ? code : FP_OK;
}
