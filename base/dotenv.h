/*
 * Variables from the environment and from .env files, by the rules of the Ruby gem dotenv as Rails
 * uses it: what was defined before a file was read stands; within a file the last definition wins.
 * Two differences, both stricter: `$(command)` is refused instead of run, and a file is at most
 * DOTENV_MAX_BYTES and a value at most DOTENV_MAX_VALUE_BYTES long.
 */
#ifndef FEDPUSH_BASE_DOTENV_H
#define FEDPUSH_BASE_DOTENV_H

#include "base/err.h"
#include "base/str.h"

enum { DOTENV_MAX_BYTES = 1024 * 1024, DOTENV_MAX_VALUE_BYTES = 64 * 1024 };

/* Versions of the gem that read a file differently, oldest first. */
enum dotenv_rules {
    DOTENV_2,   /* 2.8: as DOTENV_3_0, and `\n` and `\r` in double quotes are line breaks */
    DOTENV_3_0, /* to 3.1.4: a bare NAME defines nothing, `export NAME` asks for one in the file */
    DOTENV_3,   /* from 3.1.5 on: a bare NAME is empty, `export NAME` may name any variable */
};

/* All strings are owned by the dotenv; values are wiped with it. */
struct dotenv_variable {
    char *name;
    char *value;
    unsigned source;   /* index into sources */
    unsigned named_in; /* the last source that defines it, although `source` stands */
    unsigned line;     /* 0: not from a file */
};

struct dotenv {
    enum dotenv_rules rules; /* DOTENV_3 at first; the caller's to set before it reads a file */
    struct dotenv_variable *variables;
    size_t count;
    size_t capacity;
    char **sources; /* file names; the first is "" for the environment */
    unsigned source_count;
};

void dotenv_init(struct dotenv *dotenv);
void dotenv_clear(struct dotenv *dotenv); /* wipes */
/* `environment` is in environ's form; entries without '=' are left out. Call it before any file. */
void dotenv_add_environment(struct dotenv *dotenv, char *const environment[]);
/* Leaves only the environment: files can be read again, by other rules. */
void dotenv_forget_files(struct dotenv *dotenv);
/* FP_INVALID for a `$(command)` and for `export NAME` of something undefined. `file` names the text
 * in errors: they never show a value. */
enum fp_err dotenv_parse(struct dotenv *dotenv, const char *file, struct str text,
                         struct err *err) FP_MUST_CHECK;
/* As dotenv_parse. *found tells whether the file exists: a missing one is no error. */
enum fp_err dotenv_read(struct dotenv *dotenv, const char *path, bool *found,
                        struct err *err) FP_MUST_CHECK;

const struct dotenv_variable *dotenv_find(const struct dotenv *dotenv, const char *name);
/* The value; NULL when there is none or it is empty (Mastodon treats both alike). Borrowed. */
const char *dotenv_value(const struct dotenv *dotenv, const char *name);
/* Appends "NAME" or "FILE:LINE: NAME", for errors. */
void dotenv_describe(const struct dotenv *dotenv, const char *name, struct buf *out);

/* Reads a whole small file, at most DOTENV_MAX_BYTES, into *out (which the caller inits and
 * clears). FP_UNAVAILABLE when it doesn't exist. */
enum fp_err dotenv_read_file(const char *path, struct buf *out, struct err *err) FP_MUST_CHECK;

#endif
