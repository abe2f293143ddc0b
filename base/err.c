#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

enum fp_err err_set(struct err *err, enum fp_err code, const char *format, ...)
{
    if (err == NULL)
        return code;
    va_list args;
    va_start(args, format);
    err->code = code;
    err->phrase = PHRASE_NONE;
    vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    return code;
}

enum fp_err err_say(struct err *err, enum fp_err code, enum phrase phrase, struct says says)
{
    enum { COLUMNS = 400 };
    struct buf text;
    struct buf params;

    if (err == NULL)
        return code;
    buf_init(&text, PHRASE_TEXT_BYTES);
    buf_init(&params, sizeof(err->params) - 1);
    phrase_put_text(&text, phrase, says);
    phrase_put_params(&params, says, COLUMNS);
    err->code = code;
    snprintf(err->message, sizeof(err->message), "%s", buf_cstr(&text));
    /* Values that don't fit leave the line alone. */
    err->phrase = params.overflow ? PHRASE_NONE : phrase;
    snprintf(err->params, sizeof(err->params), "%s", buf_cstr(&params));
    buf_clear(&params);
    buf_clear(&text);
    return code;
}

void err_add_said(const struct err *err, struct said *said)
{
    if (err->phrase != PHRASE_NONE)
        said_add_made(said, "", err->phrase, str_of(err->message), str_of(err->params));
    else
        said_add(said, "", PHRASE_ASK_OTHER, SAYS(SAY_TEXT("reason", err->message)));
}
