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
    vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    return code;
}
