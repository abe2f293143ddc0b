#include "admin/progress.h"

#include <stdio.h>
#include <unistd.h>

enum { BAR_COLUMNS = 40 };

void progress_begin(struct progress *progress)
{
    *progress = (struct progress){.shown = isatty(STDERR_FILENO) != 0, .percent = -1};
}

void progress_tell(void *arg, double share)
{
    static const char full[BAR_COLUMNS + 1] = "########################################";
    struct progress *progress = arg;
    int percent = share >= 1 ? 100 : share > 0 ? (int)(share * 100) : 0;

    if (!progress->shown || percent == progress->percent)
        return;
    progress->percent = percent;
    fprintf(stderr, "\r[%-*.*s] %3d %%", BAR_COLUMNS, percent * BAR_COLUMNS / 100, full, percent);
    fflush(stderr);
}

void progress_end(struct progress *progress)
{
    if (progress->shown && progress->percent >= 0)
        fputs("\r\x1b[K", stderr);
}
