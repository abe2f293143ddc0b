/* `fedpush domain show --json`. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/domain.h"
#include "admin/figures.h"
#include "admin/words.h"
#include "base/url.h"

enum { WAIT_MS = 3000, MAX_OTHERS = 7 /* hosts of the same domain that are asked about, too */ };

static bool is_host(const json_t *hosts, const char *name)
{
    const json_t *host;
    size_t i;

    json_array_foreach(hosts, i, host)
    {
        if (strcmp(json_string_value(host), name) == 0)
            return true;
    }
    return false;
}

/* The hosts that Mastodon has inboxes of the domain on, and those that something waits for. */
static json_t *others_of(const json_t *waiting, const char *own)
{
    json_t *others = json_array();
    const json_t *one;
    size_t i;

    json_array_foreach(json_object_get(waiting, "hosts"), i, one)
    {
        const char *name = json_string_value(one);
        if (name[0] != '*' && strcmp(name, own) != 0)
            json_array_append_new(others, json_string(name));
    }
    json_array_foreach(json_object_get(waiting, "by_host"), i, one)
    {
        const char *name = json_string_value(json_object_get(one, "host"));
        if (strcmp(name, own) != 0 && !is_host(others, name))
            json_array_append_new(others, json_string(name));
    }
    return others;
}

static bool add_others(struct desk *desk, json_t *figures, const json_t *waiting, struct str own,
                       struct err *err)
{
    char *name = str_dup(own);
    json_t *others = others_of(waiting, name);
    bool good = true;

    for (size_t i = 0; good && i < json_array_size(others) && i < MAX_OTHERS; i++)
        good = figures_domain_add_words(desk, figures,
                                        str_of(json_string_value(json_array_get(others, i))), err);
    json_decref(others);
    free(name);
    return good;
}

static int fail(const struct err *err)
{
    return words_result(true, STR_NULL, err);
}

/* `url` is of the host, without a port when none was given. */
static int print_host(struct desk *desk, const struct url *url)
{
    struct err missing;
    struct err err;
    int code = FP_EXIT_OK;
    json_t *figures = figures_domain_known(desk, url->authority, WAIT_MS, &missing, &err);
    json_t *waiting =
        figures != NULL ? figures_waiting(desk, url->authority, NULL, NULL, &err) : NULL;

    if (waiting != NULL && add_others(desk, figures, waiting, url->host, &err)) {
        json_object_set(figures, "waiting", waiting);
        json_object_set_new(figures, "missing",
                            missing.code != FP_OK ? words_json(str_of(missing.message))
                                                  : json_null());
        words_print_json(figures);
    } else {
        code = fail(&err);
    }
    json_decref(waiting);
    json_decref(figures);
    return code;
}

/* A port that is given counts: figures know hosts by it. */
int domain_show_json(struct desk *desk, const struct domain_options *options)
{
    const char *at = strrchr(options->domain, '@');
    char *text = mem_printf("https://%s/", at != NULL ? at + 1 : options->domain);
    struct url url;
    struct err err;
    int code;

    err_say(&err, FP_INVALID, PHRASE_ASK_HOST, SAYS_NOTHING);
    if (url_parse(&url, str_of(text), NULL) != FP_OK) {
        code = fail(&err);
    } else {
        code = str_equal(url.target, STR("/")) ? print_host(desk, &url) : fail(&err);
        url_clear(&url);
    }
    free(text);
    return code;
}
