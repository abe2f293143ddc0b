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
    *dotenv = (struct dotenv){0};
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

/* What is being read: `at` is an offset in `text`, whose line ends are all "\n". */
struct reader {
    struct dotenv *dotenv;
    const char *file;
    struct str text;
    size_t at;
    unsigned line; /* of `at`, from 1 */
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static char at(struct str text, size_t i)
{
    return i < text.len ? text.ptr[i] : '\n';
}

/* Offset behind blanks other than the end of the line. */
static size_t skip_blanks(struct str text, size_t i)
{
    while (i < text.len && is_space(text.ptr[i]) && text.ptr[i] != '\n')
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
    i = skip_blanks(text, i);
    return at(text, i) == '\n' || text.ptr[i] == '#';
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
        if (text.ptr[i - 1] != '\\' || i - 1 == start)
            break;
    }
    return found;
}

/* Replaces `$NAME` and `${NAME}`; the braces are optional one by one, as in the gem. `i` is the
 * offset behind '$'. Returns the offset behind what was replaced. */
static size_t substitute(const struct dotenv *dotenv, struct str value, size_t i, struct buf *out)
{
    size_t start = i < value.len && value.ptr[i] == '{' ? i + 1 : i;
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
    return end < value.len && value.ptr[end] == '}' ? end + 1 : end;
}

/* Backslashes and variables of an unquoted or double-quoted value. False: it has a command. */
static bool expand(const struct dotenv *dotenv, struct str value, bool quoted, struct buf *out)
{
    const char *mode = dotenv_value(dotenv, "DOTENV_LINEBREAK_MODE");
    bool line_breaks = mode != NULL && strcmp(mode, "legacy") == 0;

    for (size_t i = 0; i < value.len;) {
        char c = value.ptr[i++];
        if (c == '\\' && i < value.len) {
            char escaped = value.ptr[i++];
            if (escaped == '\\' && i < value.len && value.ptr[i] == '$')
                escaped = value.ptr[i++]; /* the gem unescapes twice here */
            if (quoted && (escaped == 'n' || escaped == 'r') && line_breaks) {
                buf_put_char(out, escaped == 'n' ? '\n' : '\r');
            } else {
                if (quoted && (escaped == 'n' || escaped == 'r'))
                    buf_put_char(out, '\\');
                buf_put_char(out, escaped);
            }
        } else if (c == '$' && i < value.len && value.ptr[i] == '(') {
            return false;
        } else if (c == '$') {
            i = substitute(dotenv, value, i, out);
        } else {
            buf_put_char(out, c);
        }
    }
    return true;
}

static enum fp_err define(struct reader *r, struct str name, struct str raw, struct err *err)
{
    struct buf value;
    bool plain = true;
    char quote = '\0';

    raw = str_trim(raw);
    if (raw.len >= 2 && (raw.ptr[0] == '\'' || raw.ptr[0] == '"') &&
        raw.ptr[raw.len - 1] == raw.ptr[0]) {
        quote = raw.ptr[0];
        raw = (struct str){raw.ptr + 1, raw.len - 2};
    }
    secret_buf_init(&value, DOTENV_MAX_VALUE_BYTES);
    if (quote == '\'')
        buf_put_str(&value, raw);
    else
        plain = expand(r->dotenv, raw, quote == '"', &value);
    if (plain && !value.overflow)
        set(r->dotenv, name, buf_str(&value), r->line);
    bool fits = !value.overflow;
    secret_buf_clear(&value);
    if (!plain)
        return err_set(err, FP_INVALID,
                       "%s:%u: %.*s: $(...) is not run here: write the value itself, or put it in "
                       "single quotes if it is meant as it stands",
                       r->file, r->line, STR_ARG(name));
    if (!fits)
        return err_set(err, FP_TOO_LARGE, "%s:%u: %.*s: the value is longer than %d bytes", r->file,
                       r->line, STR_ARG(name), DOTENV_MAX_VALUE_BYTES);
    return FP_OK;
}

/* The value behind a separator: sets its raw bytes, returns the offset behind it. */
static size_t take_value(struct str text, size_t i, struct str *raw)
{
    size_t start = skip_blanks(text, i);
    size_t end = 0;

    if (at(text, start) == '\'' || at(text, start) == '"')
        end = quoted_end(text, start);
    if (end == 0) {
        end = start;
        while (end < text.len && text.ptr[end] != '\n' && text.ptr[end] != '#')
            end++;
    }
    *raw = (struct str){text.ptr + i, end - i};
    return end;
}

/* Offset behind "=" or ": " with blanks before it; 0 when there is none. */
static size_t take_separator(struct str text, size_t i)
{
    size_t sign = skip_blanks(text, i);

    if (at(text, sign) == '=')
        return sign + 1;
    if (at(text, i) == ':' && is_space(at(text, i + 1)))
        return i + 1;
    return 0;
}

static size_t take_export(struct str text, size_t i)
{
    struct str rest = str_slice(text, i);

    if (!str_starts_with(rest, STR("export")) || !is_space(at(rest, 6)) || at(rest, 6) == '\n')
        return i;
    return skip_blanks(text, i + 6);
}

static enum fp_err unset(const struct reader *r, struct str name, struct err *err)
{
    return err_set(err, FP_INVALID, "%s:%u: %.*s is exported but has no value", r->file, r->line,
                   STR_ARG(name));
}

/* One definition, or one line that is none. Leaves `at` at the end of a line. */
static enum fp_err read_line(struct reader *r, unsigned own_source, struct err *err)
{
    struct str text = r->text;
    size_t begin = skip_blanks(text, r->at);
    size_t start = take_export(text, begin);
    size_t end = start;
    struct str raw = STR_NULL;

    while (end < text.len && (is_name_char(text.ptr[end]) || text.ptr[end] == '.'))
        end++;
    struct str name = {text.ptr + start, end - start};
    size_t separator = take_separator(text, end);
    size_t after = separator > 0 ? take_value(text, separator, &raw) : end;
    if (name.len == 0 || !ends_here(text, after)) {
        r->at = line_end(text, r->at);
        return FP_OK;
    }
    r->at = line_end(text, after);
    const struct dotenv_variable *known = find(r->dotenv, name);
    if (known != NULL && known->source != own_source)
        return FP_OK;
    if (start > begin && raw.len == 0)
        return known == NULL ? unset(r, name, err) : FP_OK;
    return define(r, name, raw, err);
}

static enum fp_err read_lines(struct reader *r, struct err *err)
{
    unsigned own_source = r->dotenv->source_count - 1;

    while (r->at < r->text.len) {
        size_t before = r->at;
        enum fp_err code = read_line(r, own_source, err);
        if (code != FP_OK)
            return code;
        r->at++; /* the end of the line */
        for (size_t i = before; i < r->at && i < r->text.len; i++)
            r->line += r->text.ptr[i] == '\n';
    }
    return FP_OK;
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
    struct reader r = {dotenv, file, buf_str(&normalized), 0, 1};
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
