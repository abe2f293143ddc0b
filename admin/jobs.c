#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/commands.h"
#include "admin/figures.h"
#include "admin/jobs_view.h"
#include "admin/progress.h"
#include "admin/words.h"
#include "base/url.h"

enum { SHOWN_HOSTS = 40, MAX_BYTES = 1024 * 1024 };

struct options {
    const char *domain;     /* NULL: all */
    const char *class_name; /* NULL: all */
    bool json;
};

static void print_people(const json_t *figures)
{
    struct buf text;

    buf_init(&text, MAX_BYTES);
    jobs_view_put(&text, figures, SHOWN_HOSTS);
    words_text(stdout, buf_str(&text));
    buf_clear(&text);
}

static int show(struct desk *desk, const struct options *options, struct str host)
{
    const struct figures_jobs_filter filter = {host, str_of(options->class_name)};
    bool all = host.len == 0 && options->class_name == NULL;
    struct progress progress;
    struct err err;

    progress_begin(&progress);
    json_t *figures = figures_jobs_of(desk, all ? NULL : &filter, progress_tell, &progress, &err);
    progress_end(&progress);
    if (figures == NULL)
        return session_fail(&err, FP_EXIT_UNAVAILABLE);
    if (options->json)
        words_print_json(figures);
    else
        print_people(figures);
    json_decref(figures);
    return FP_EXIT_OK;
}

static int open_and_show(const struct config *config, const struct options *options)
{
    char *text = mem_printf("https://%s/", options->domain != NULL ? options->domain : "any");
    struct url url;
    struct desk desk;
    struct err err;
    int code;

    if (url_parse(&url, str_of(text), NULL) != FP_OK) {
        code = words_unknown("jobs", options->domain);
    } else {
        code = desk_open(&desk, config, &err)
                   ? show(&desk, options, options->domain != NULL ? url.host : STR_NULL)
                   : session_fail(&err, FP_EXIT_CONFIG);
        desk_close(&desk);
        url_clear(&url);
    }
    free(text);
    return code;
}

int command_jobs(const struct config *config, int argc, char **argv)
{
    struct options options = {.domain = NULL};

    for (int i = 0; i < argc; i++) {
        bool more = i + 1 < argc && argv[i + 1][0] != '\0';
        if (strcmp(argv[i], "--json") == 0)
            options.json = true;
        else if (strcmp(argv[i], "--domain") == 0 && more)
            options.domain = argv[++i];
        else if (strcmp(argv[i], "--class") == 0 && more)
            options.class_name = argv[++i];
        else
            return words_unknown("jobs", argv[i]);
    }
    return open_and_show(config, &options);
}
