#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "admin/clerk.h"
#include "admin/commands.h"
#include "admin/figures.h"
#include "admin/terminal.h"
#include "admin/top_keys.h"
#include "admin/words.h"
#include "base/loop.h"

enum { LOOK_MS = 2000, SCREEN_BYTES = 1024 * 1024, PAPER_COLUMNS = 132, PAPER_ROWS = 50 };

/* One question to a clerk; it belongs to the clerk while `busy`. */
struct state_errand {
    struct errand errand;
    struct top *top;
    bool busy;
    json_t *overview;
    struct err err;
};
struct hosts_errand {
    struct errand errand;
    struct top *top;
    bool busy;
    bool again; /* asked for otherwise meanwhile */
    enum top_order order;
    int64_t limit, offset;
    char filter[TOP_FILTER_BYTES + 1];
    json_t *busiest, *worst;
    struct err err;
};

struct top {
    struct event_base *base;
    struct clerk *state, *records;
    struct state_errand state_errand;
    struct hosts_errand hosts_errand;
    struct loop_timer *timer;
    json_t *overview, *busiest, *worst; /* the latest there are */
    struct err problem, hosts_problem;  /* FP_OK: none */
    struct top_view view;
    struct top_keys keys;
};

/* --- the screen --- */

static void write_all(struct str text)
{
    while (text.len > 0) {
        ssize_t written = write(STDOUT_FILENO, text.ptr, text.len);
        if (written < 0 && errno != EINTR)
            return; /* the terminal is gone: reading it says so, too */
        text = str_slice(text, written > 0 ? (size_t)written : 0);
    }
}

static void put_clock(char *text, size_t size)
{
    time_t now = time(NULL);
    struct tm parts;

    localtime_r(&now, &parts);
    strftime(text, size, "%H:%M:%S", &parts);
}

static void put_screen(struct top *top, struct buf *out)
{
    char now[16];

    put_clock(now, sizeof(now));
    top->view.clock = now;
    top->view.problem = top->problem.code != FP_OK ? top->problem.message : NULL;
    top->view.domains_problem =
        top->hosts_problem.code != FP_OK ? top->hosts_problem.message : NULL;
    top_view_put(out, &top->view, top->overview, top->busiest, top->worst);
    top->view.clock = NULL;
}

/* Each line where it belongs: no terminal scrolls or wraps for it. */
static void draw(struct top *top)
{
    struct buf lines;
    struct buf out;
    size_t row = 1;

    buf_init(&lines, SCREEN_BYTES);
    buf_init(&out, 2 * SCREEN_BYTES);
    put_screen(top, &lines);
    for (struct str rest = buf_str(&lines); rest.len > 0; row++) {
        size_t end = str_find(rest, '\n');
        buf_printf(&out, "\x1b[%zu;1H\x1b[2K", row);
        buf_put(&out, rest.ptr, end);
        rest = str_slice(rest, end + 1);
    }
    if (row <= top->view.rows)
        buf_printf(&out, "\x1b[%zu;1H\x1b[J", row);
    write_all(buf_str(&out));
    buf_clear(&out);
    buf_clear(&lines);
}

static void replace(json_t **kept, json_t *fresh)
{
    json_decref(*kept);
    *kept = fresh;
}

/* --- the clerks --- */

static void run_state(struct errand *errand, struct desk *desk)
{
    struct state_errand *question = (struct state_errand *)errand;
    question->err.code = FP_OK;
    question->overview = figures_overview(desk, &question->err);
}

static void done_state(struct errand *errand)
{
    struct state_errand *question = (struct state_errand *)errand;
    struct top *top = question->top;

    question->busy = false;
    top->problem = question->err;
    if (question->overview != NULL)
        replace(&top->overview, question->overview);
    question->overview = NULL;
    draw(top);
}

static void run_hosts(struct errand *errand, struct desk *desk)
{
    struct hosts_errand *question = (struct hosts_errand *)errand;
    struct figures_filter filter = {.search = str_of(question->filter),
                                    .sort = str_of(top_order_sort(question->order)),
                                    .order = str_of(top_order_direction(question->order)),
                                    .limit = question->limit,
                                    .offset = question->offset};

    question->err.code = FP_OK;
    question->busiest = figures_domains(desk, &filter, &question->err);
    if (question->busiest == NULL || question->order != TOP_BOTH)
        return;
    filter.sort = str_of(top_order_sort(TOP_FAILED));
    question->worst = figures_domains(desk, &filter, &question->err);
}

static void ask_hosts(struct top *top);

static void done_hosts(struct errand *errand)
{
    struct hosts_errand *question = (struct hosts_errand *)errand;
    struct top *top = question->top;

    question->busy = false;
    top->hosts_problem = question->err;
    replace(&top->busiest, question->busiest);
    replace(&top->worst, question->worst);
    question->busiest = question->worst = NULL;
    draw(top);
    if (question->again)
        ask_hosts(top);
}

static void ask_hosts(struct top *top)
{
    struct hosts_errand *question = &top->hosts_errand;
    size_t limit = top_view_hosts(&top->view, top->overview);

    question->again = question->busy;
    if (question->busy)
        return;
    question->order = top->view.order;
    question->limit = limit < FIGURES_MAX_LIMIT ? (int64_t)limit : FIGURES_MAX_LIMIT;
    question->offset = top->view.offset;
    snprintf(question->filter, sizeof(question->filter), "%.*s", STR_ARG(top->view.filter));
    question->busy = clerk_submit(top->records, &question->errand);
}

static void ask(struct top *top)
{
    if (!top->state_errand.busy)
        top->state_errand.busy = clerk_submit(top->state, &top->state_errand.errand);
    ask_hosts(top);
}

/* --- the loop --- */

static void on_timer(void *arg)
{
    struct top *top = arg;

    loop_timer_set(top->timer, LOOK_MS);
    if (!top->view.held)
        ask(top);
}

static void on_key(evutil_socket_t fd, short what, void *arg)
{
    struct top *top = arg;
    char bytes[64];
    ssize_t count = read(fd, bytes, sizeof(bytes));
    (void)what;

    if (count <= 0) {
        event_base_loopbreak(top->base);
        return;
    }
    int64_t page = (int64_t)top_view_hosts(&top->view, top->overview);
    switch (top_keys_take(&top->keys, (struct str){bytes, (size_t)count}, page)) {
    case TOP_NOTHING:
        break;
    case TOP_QUIT:
        event_base_loopbreak(top->base);
        break;
    case TOP_ASK:
        ask_hosts(top);
        draw(top);
        break;
    case TOP_DRAW:
        draw(top);
        break;
    }
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct top *top = arg;
    (void)what;

    if (number == SIGTSTP) { /* Ctrl-Z: the shell gets its terminal as it was */
        terminal_leave();
        raise(SIGSTOP);
        if (!terminal_enter())
            event_base_loopbreak(top->base);
    }
    terminal_size(&top->view.columns, &top->view.rows);
    draw(top);
    ask_hosts(top);
}

static void watch(struct top *top)
{
    struct event *events[] = {event_new(top->base, STDIN_FILENO, EV_READ | EV_PERSIST, on_key, top),
                              evsignal_new(top->base, SIGWINCH, on_signal, top),
                              evsignal_new(top->base, SIGTSTP, on_signal, top),
                              evsignal_new(top->base, SIGCONT, on_signal, top)};

    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        event_add(events[i], NULL);
    terminal_size(&top->view.columns, &top->view.rows);
    draw(top);
    on_timer(top);
    event_base_dispatch(top->base);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        event_free(events[i]);
}

static int open_clerks(struct top *top, const struct config *config)
{
    struct err err;

    top->state = clerk_create(top->base, config, CLERK_STATE, 1, &err);
    if (top->state != NULL)
        top->records = clerk_create(top->base, config, CLERK_RECORDS, 1, &err);
    return top->records != NULL ? FP_EXIT_OK : session_fail(&err, FP_EXIT_CONFIG);
}

static void clear(struct top *top)
{
    clerk_destroy(top->records);
    clerk_destroy(top->state);
    loop_timer_destroy(top->timer);
    event_base_free(top->base);
    json_decref(top->overview);
    json_decref(top->busiest);
    json_decref(top->worst);
    json_decref(top->state_errand.overview);
    json_decref(top->hosts_errand.busiest);
    json_decref(top->hosts_errand.worst);
}

static int show_live(const struct config *config)
{
    struct top top = {.base = loop_create()};

    top.view.colour = terminal_wants_colour();
    top.keys.view = &top.view;
    top.timer = loop_timer_create(top.base, on_timer, &top);
    top.state_errand =
        (struct state_errand){.errand = {.run = run_state, .done = done_state}, .top = &top};
    top.hosts_errand =
        (struct hosts_errand){.errand = {.run = run_hosts, .done = done_hosts}, .top = &top};
    int code = open_clerks(&top, config);
    if (code == FP_EXIT_OK && !terminal_enter()) {
        words_print(stderr, "fedpush: top: this terminal can't be used: %s", strerror(errno));
        code = FP_EXIT_OS;
    } else if (code == FP_EXIT_OK) {
        watch(&top);
        terminal_leave();
    }
    /* A clerk may wait for a server that is away; the person at the terminal needn't. */
    if (top.state_errand.busy || top.hosts_errand.busy)
        _exit(code);
    clear(&top);
    return code;
}

/* --- without a terminal --- */

static void print_json(const struct top *top)
{
    json_t *root = json_pack("{s:O, s:O?, s:O?}", "overview", top->overview, "busiest",
                             top->busiest, "worst", top->worst);

    words_print_json(root);
    json_decref(root);
}

static void print_screen(struct top *top)
{
    struct buf lines;

    buf_init(&lines, SCREEN_BYTES);
    put_screen(top, &lines);
    write_all(buf_str(&lines));
    buf_clear(&lines);
}

static int show_once(const struct config *config, bool as_json)
{
    struct top top = {.view = {.columns = PAPER_COLUMNS, .rows = PAPER_ROWS}};
    struct desk desk;
    int code = FP_EXIT_OK;

    if (!desk_open(&desk, config, &top.problem)) {
        desk_close(&desk);
        return session_fail(&top.problem, FP_EXIT_CONFIG);
    }
    top.overview = figures_overview(&desk, &top.problem);
    if (top.overview == NULL) {
        code = session_fail(&top.problem, FP_EXIT_UNAVAILABLE);
    } else {
        top.hosts_errand.limit = PAPER_ROWS;
        run_hosts(&top.hosts_errand.errand, &desk);
        top.hosts_problem = top.hosts_errand.err;
        top.busiest = top.hosts_errand.busiest;
        top.worst = top.hosts_errand.worst;
        if (as_json)
            print_json(&top);
        else
            print_screen(&top);
    }
    json_decref(top.overview);
    json_decref(top.busiest);
    json_decref(top.worst);
    desk_close(&desk);
    return code;
}

int command_top(const struct config *config, int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--json") != 0)
            return words_unknown("top", argv[i]);
    return terminal_is_here() && argc == 0 ? show_live(config) : show_once(config, argc > 0);
}
