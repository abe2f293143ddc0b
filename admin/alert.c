#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/alert_send.h"
#include "admin/alert_store.h"
#include "admin/commands.h"
#include "admin/words.h"

/* ---- fedpush alert --test ---- */

static bool test_sink(const struct config *config, enum alert_sink sink, const char *machine,
                      json_t *results)
{
    const struct clock clock = clock_system();
    const struct alert_message message = {.domain = config->web_domain,
                                          .machine = machine,
                                          .page = "",
                                          .now_s = (double)clock_wall_us(&clock) / 1e6};
    struct buf where;
    struct err err;

    buf_init(&where, 1024);
    alert_sink_describe(config, sink, &where);
    bool good = alert_send(config, sink, &message, &err);
    if (results != NULL)
        json_array_append_new(
            results, json_pack("{s:s, s:b, s:o}", "sink", alert_sink_names[sink], "ok", (int)good,
                               "error", good ? json_null() : words_json(str_of(err.message))));
    else if (good)
        words_print(stdout, "ok    %s: the test was taken", buf_cstr(&where));
    else
        words_print(stdout, "FAIL  %s", err.message);
    buf_clear(&where);
    return good;
}

static int test(const struct config *config, bool as_json)
{
    json_t *results = as_json ? json_array() : NULL;
    char machine[256] = "";
    bool any = false;
    bool good = true;

    if (gethostname(machine, sizeof(machine) - 1) == -1)
        machine[0] = '\0';
    for (int sink = 0; sink < ALERT_SINKS; sink++) {
        if (!alert_sink_is_set(config, (enum alert_sink)sink))
            continue;
        any = true;
        good = test_sink(config, (enum alert_sink)sink, machine, results) && good;
    }
    if (results != NULL)
        words_print_json(results);
    json_decref(results);
    if (any)
        return good ? FP_EXIT_OK : FP_EXIT_FAILURE;
    words_print(stderr, "fedpush: alert: nobody would be told: set FEDPUSH_ALERT_MAIL (and "
                        "Mastodon's SMTP_…), or FEDPUSH_ALERT_WEBHOOK");
    return FP_EXIT_CONFIG;
}

/* ---- fedpush alert ---- */

static void show_alert(const struct alert *alert, double now_s)
{
    struct buf line;

    buf_init(&line, 4096);
    words_put_age(&line, now_s - alert->since_s);
    buf_put_str(&line, STR("  "));
    buf_put_str(&line, str_of(alert->words.text));
    words_line(stdout, buf_str(&line));
    buf_clear(&line);
}

static void show_json(const struct alert_book *book, struct str watcher)
{
    json_t *alerts = json_array();

    for (size_t i = 0; i < book->count; i++) {
        const struct alert *alert = book->alerts[i];
        if (alert->state == ALERT_FIRING)
            json_array_append_new(
                alerts,
                json_pack("{s:o, s:f, s:o, s:s, s:o}", "id", words_json(str_of(alert->id)), "since",
                          alert->since_s, "text", words_json(str_of(alert->words.text)), "code",
                          alert->words.code, "params", alert_params(&alert->words)));
    }
    json_t *watched_by = watcher.len > 0 ? words_json(watcher) : json_null();
    json_t *root = json_pack("{s:o, s:o}", "watched_by", watched_by, "alerts", alerts);
    words_print_json(root);
    json_decref(root);
}

static void show_text(const struct alert_book *book, struct str watcher, double now_s)
{
    bool any = false;

    for (size_t i = 0; i < book->count; i++) {
        if (book->alerts[i]->state != ALERT_FIRING)
            continue;
        any = true;
        show_alert(book->alerts[i], now_s);
    }
    if (watcher.len == 0)
        words_print(stdout, "nobody looks after alerts: `fedpush run` does, where "
                            "FEDPUSH_ADMIN_LISTEN isn't empty");
    else if (!any)
        words_print(stdout, "nothing to alert anybody of (%.*s looks after it)", STR_ARG(watcher));
}

static int list(struct session *session, bool as_json)
{
    double now_s = (double)clock_wall_us(&session->clock) / 1e6;
    char token[ALERT_TOKEN_BYTES];
    struct alert_book book;
    struct err err;
    bool firing = false;

    alert_book_init(&book);
    if (!alert_store_load(session, &book, &err) || !alert_store_owner(session, token, &err)) {
        alert_book_clear(&book);
        return session_fail(&err, FP_EXIT_UNAVAILABLE);
    }
    struct str watcher = {token, str_find(str_of(token), ':')};
    for (size_t i = 0; i < book.count; i++)
        firing = firing || book.alerts[i]->state == ALERT_FIRING;
    if (as_json)
        show_json(&book, watcher);
    else
        show_text(&book, watcher, now_s);
    alert_book_clear(&book);
    return firing || watcher.len == 0 ? FP_EXIT_FAILURE : FP_EXIT_OK;
}

int command_alert(const struct config *config, int argc, char **argv)
{
    bool as_json = words_has(argc, argv, "--json");
    bool is_test = words_has(argc, argv, "--test");
    struct session session;
    struct err err;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") != 0 && strcmp(argv[i], "--test") != 0)
            return words_unknown("alert", argv[i]);
    }
    if (is_test)
        return test(config, as_json);
    int code = session_open(&session, config, &err) ? list(&session, as_json)
                                                    : session_fail(&err, FP_EXIT_CONFIG);
    session_close(&session);
    return code;
}
