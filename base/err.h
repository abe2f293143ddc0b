/*
 * Errors of functions that can fail for reasons outside our code. A remote's answer is never one
 * of these (it is an outcome), and our own bugs are assertions.
 */
#ifndef FEDPUSH_BASE_ERR_H
#define FEDPUSH_BASE_ERR_H

#include "base/phrase.h"

enum fp_err {
    FP_OK = 0,
    FP_INVALID,     /* the input can never be accepted */
    FP_UNAVAILABLE, /* another system is away: try again later */
    FP_DENIED,      /* a right is missing: the message names the remedy */
    FP_TOO_LARGE,
    FP_SYSTEM, /* a system call failed */
};

struct err {
    enum fp_err code;
    char message[512]; /* one line, for people; never key material, tokens or payloads */
    /* The same for programs, where the API may answer it: the sentence, and its values as an object
     * of JSON. PHRASE_NONE: there is only the line. */
    enum phrase phrase;
    char params[2048];
};

/* Fills *err and returns code, so that callers can `return err_set(…)`. err may be NULL. */
enum fp_err err_set(struct err *err, enum fp_err code, const char *format, ...) FP_PRINTF(3, 4);
/* The same with a sentence: for whatever the API may answer. */
enum fp_err err_say(struct err *err, enum fp_err code, enum phrase phrase, struct says says);
/* Adds its sentence, or its line as a reason. */
void err_add_said(const struct err *err, struct said *said);

/* Exit codes after sysexits(3). */
enum fp_exit {
    FP_EXIT_OK = 0,
    FP_EXIT_FAILURE = 1,
    FP_EXIT_USAGE = 64,
    FP_EXIT_UNAVAILABLE = 69,
    FP_EXIT_SOFTWARE = 70,
    FP_EXIT_OS = 71,
    FP_EXIT_NO_PERMISSION = 77,
    FP_EXIT_CONFIG = 78,
};

#endif
