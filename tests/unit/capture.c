#include "capture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

enum { MOST_BYTES = 1024 * 1024 };

void capture_log(struct buf *out, void (*write)(void))
{
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);
    char bytes[8192];

    assert_non_null(file);
    assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
    write();
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    close(before);
    rewind(file);
    for (size_t n; (n = fread(bytes, 1, sizeof(bytes), file)) > 0;)
        buf_put(out, bytes, n);
    fclose(file);
}

unsigned capture_count(void (*write)(void), const char *text)
{
    unsigned count = 0;
    struct buf log;

    buf_init(&log, MOST_BYTES);
    log_set_level(LOG_LEVEL_WARN);
    capture_log(&log, write);
    log_set_level(LOG_LEVEL_ERROR);
    assert_false(log.overflow);
    for (struct str rest = buf_str(&log); rest.len > 0;) {
        size_t end = str_find(rest, '\n');
        count += memmem(rest.ptr, end, text, strlen(text)) != NULL;
        rest = str_slice(rest, end + 1);
    }
    buf_clear(&log);
    return count;
}
