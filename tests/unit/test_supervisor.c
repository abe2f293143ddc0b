/*
 * The supervisor with real processes: this program, executed again as each role, is what it starts.
 * The roles write what happens to them into a file, which the tests read; the scheduler takes
 * orders from another file, as a test can't speak to it otherwise.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/loop.h"
#include "base/role.h"
#include "base/secret.h"
#include "worker/supervisor.h"

enum { LIMIT_MS = 30000, POLL_MS = 10, MAX_EVENTS_BYTES = 256 * 1024 };

/* ---- a role ---- */

struct fake {
    struct role_process process;
    char name[32];
    char surroundings[1024]; /* environment and descriptors at the start */
    struct loop_timer *orders;
};

/* LOCAL_DOMAIN is what every role may see: here, the directory of the test. */
static void path_in(const struct fake *fake, const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", fake->process.config.web_domain, name);
}

static void tell(const struct fake *fake, const char *format, ...) FP_PRINTF(2, 3);
static void tell(const struct fake *fake, const char *format, ...)
{
    char path[256];
    struct buf line;
    char text[1200];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    buf_init(&line, 4096);
    buf_printf(&line, "%s %d %s\n", fake->name, getpid(), text);
    path_in(fake, "events", path);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd == -1 || write(fd, line.ptr, line.len) != (ssize_t)line.len)
        abort();
    close(fd);
    buf_clear(&line);
}

struct channel {
    struct fake *fake;
    struct event *readable;
};

/* The far end says who it is: the channel joins the right two. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct channel *channel = arg;
    char name[32] = "";
    (void)what;

    if (read(fd, name, sizeof(name) - 1) > 0) {
        tell(channel->fake, "met %s", name);
        return;
    }
    event_free(channel->readable);
    close(fd);
    free(channel);
}

static void on_peer(void *arg, enum role role, unsigned index, int fd)
{
    struct fake *fake = arg;
    struct channel *channel = mem_alloc(sizeof(*channel));

    (void)role;
    (void)index;
    if (write(fd, fake->name, strlen(fake->name)) == -1)
        abort();
    channel->fake = fake;
    channel->readable =
        event_new(fake->process.base, fd, EV_READ | EV_PERSIST, on_readable, channel);
    event_add(channel->readable, NULL);
}

static void send_order(struct fake *fake, enum control_type type, const char *bytes, size_t len)
{
    control_send(fake->process.control, type, (struct str){bytes, len}, -1);
}

static void obey(struct fake *fake, const char *order)
{
    if (strcmp(order, "quarantine on") == 0)
        send_order(fake, CONTROL_QUARANTINE, "\x01", 1);
    else if (strcmp(order, "quarantine off") == 0)
        send_order(fake, CONTROL_QUARANTINE, "\x00", 1);
    else if (strcmp(order, "kill worker 1") == 0)
        send_order(fake, CONTROL_KILL_PEER, "\x02\x01", 2);
    else if (strcmp(order, "new identity") == 0)
        send_order(fake, CONTROL_IDENTITY_WANTED, "", 0);
    else if (strcmp(order, "drained") == 0)
        send_order(fake, CONTROL_DRAINED, "", 0);
    else if (strncmp(order, "gone ", 5) == 0)
        send_order(fake, CONTROL_IDENTITY_GONE, order + 5, strlen(order + 5));
    else
        abort();
}

static void on_orders(void *arg)
{
    struct fake *fake = arg;
    char path[256];
    char order[200] = "";

    path_in(fake, "order", path);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        size_t n = fread(order, 1, sizeof(order) - 1, file);
        order[n] = '\0';
        fclose(file);
        unlink(path);
        obey(fake, order);
    }
    loop_timer_set(fake->orders, POLL_MS);
}

static bool is_there(const struct fake *fake, const char *name)
{
    char path[256];
    path_in(fake, name, path);
    return access(path, F_OK) == 0;
}

static bool has_text(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static void on_start(void *arg)
{
    struct fake *fake = arg;
    char key[9];

    if (is_there(fake, "refuse") && fake->process.role == ROLE_SIGNER) {
        role_exit(&fake->process, FP_EXIT_CONFIG);
        return;
    }
    sodium_bin2hex(key, sizeof(key), fake->process.ticket_key, 4);
    tell(fake, "ready %s", fake->surroundings);
    tell(fake, "key %s", key);
    tell(fake, "workers %d", fake->process.config.workers);
    tell(fake, "databases keys=%d mastodon=%d", has_text(fake->process.config.postgres_keys),
         has_text(fake->process.config.postgres_mastodon));
    tell(fake, "dumpable %d new-privs %d", prctl(PR_GET_DUMPABLE),
         !prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    control_send(fake->process.control, CONTROL_READY, STR_NULL, -1);
    if (fake->process.role == ROLE_SCHEDULER) {
        fake->orders = loop_timer_create(fake->process.base, on_orders, fake);
        loop_timer_set(fake->orders, 0);
    }
}

static void on_drain(void *arg, unsigned seconds)
{
    struct fake *fake = arg;

    tell(fake, "drain %u", seconds);
    if (!is_there(fake, "endless"))
        control_send(fake->process.control, CONTROL_DRAINED, STR_NULL, -1);
}

static void on_reload(void *arg)
{
    const struct fake *fake = arg;
    tell(fake, "reload %d", fake->process.config.claim_rate);
}

static void on_identity(void *arg, struct str text)
{
    const struct fake *fake = arg;

    while (text.len > 0) {
        size_t len = str_find(text, '\n');
        tell(fake, "identity %.*s", (int)len, text.ptr);
        text = str_slice(text, len + 1);
    }
    tell(fake, "identities end");
}

static void look_around(struct fake *fake)
{
    struct buf text;
    struct dirent *entry;

    buf_init(&text, sizeof(fake->surroundings) - 1);
    for (char **variable = environ; *variable != NULL; variable++)
        buf_printf(&text, "%s,", *variable);
    buf_put_str(&text, STR("fds"));
    DIR *dir = opendir("/proc/self/fd");
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(dir))
            buf_printf(&text, " %s", entry->d_name);
    }
    closedir(dir);
    memcpy(fake->surroundings, buf_cstr(&text), text.len + 1);
    buf_clear(&text);
}

static int role_main(int argc, char **argv)
{
    static struct fake fake;
    static const struct role_handlers scheduler = {on_start, on_peer, on_reload, on_drain,
                                                   on_identity};
    static const struct role_handlers others = {on_start, on_peer, on_reload, NULL, NULL};

    if (argc != 4)
        return FP_EXIT_USAGE;
    look_around(&fake);
    process_title_init(argc, argv);
    snprintf(fake.name, sizeof(fake.name), "%s%s", argv[2], argv[3]);
    enum role role = ROLE_SCHEDULER;
    while (role < ROLE_COUNT && strcmp(role_names[role], argv[2]) != 0)
        role++;
    return role_run(&fake.process, role, (unsigned)atoi(argv[3]),
                    role == ROLE_SCHEDULER ? &scheduler : &others, &fake);
}

/* ---- the fixture ---- */

struct fixture {
    char dir[64];
    pid_t supervisor;
    char *events;   /* all of them, when last looked */
    char last[100]; /* the last that `told` counted */
};

static void file_in(const struct fixture *f, const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", f->dir, name);
}

static void write_file(const struct fixture *f, const char *name, const char *text)
{
    char path[256];
    char fresh[256];

    file_in(f, "fresh", fresh);
    file_in(f, name, path);
    FILE *file = fopen(fresh, "w");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(fresh, path), 0); /* whole or not at all */
}

static char *read_file(const struct fixture *f, const char *name)
{
    char path[256];
    char *text = mem_alloc(MAX_EVENTS_BYTES);

    file_in(f, name, path);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        size_t n = fread(text, 1, MAX_EVENTS_BYTES - 1, file);
        text[n] = '\0';
        fclose(file);
    }
    return text;
}

static int set_up(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    snprintf(f->dir, sizeof(f->dir), "/tmp/fedpush-supervisor-XXXXXX");
    if (mkdtemp(f->dir) == NULL)
        return -1;
    write_file(f, ".env.production", "LOCAL_DOMAIN=social.test\nFEDPUSH_CLAIM_RATE=1\n");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char path[400];
    struct dirent *entry;

    if (f->supervisor > 0)
        kill(f->supervisor, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) {
        /* its roles too: this process is their reaper */
    }
    DIR *dir = opendir(f->dir);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", f->dir, entry->d_name);
        unlink(path);
    }
    closedir(dir);
    rmdir(f->dir);
    free(f->events);
    free(f);
    return 0;
}

/* In the supervisor's process. */
static int supervise(const struct fixture *f)
{
    char *environment[] = {mem_printf("FEDPUSH_RUNTIME_DIR=%s", f->dir),
                           mem_printf("FEDPUSH_MASTODON_VERSION=4.5.1"),
                           mem_printf("FEDPUSH_WORKERS=2"),
                           mem_printf("FEDPUSH_DRAIN_SECONDS=7"),
                           mem_printf("FEDPUSH_KEYS_DATABASE_URL=postgres://k@localhost/m"),
                           mem_printf("SECRET_OF_THE_SUPERVISOR=1"),
                           NULL};
    struct config config = {0};
    struct err err;

    environ = environment;
    process_harden();
    log_open("supervisor", LOG_LEVEL_ERROR);
    if (config_load(&config, environ, f->dir, &err) != FP_OK) {
        fprintf(stderr, "%s\n", err.message);
        return FP_EXIT_SOFTWARE;
    }
    config.log_level = LOG_LEVEL_ERROR;
    free(config.web_domain);
    config.web_domain = str_dup(str_of(f->dir));
    return supervisor_run(&config, f->dir);
}

static void start(struct fixture *f)
{
    f->supervisor = fork();
    assert_int_not_equal(f->supervisor, -1);
    if (f->supervisor == 0)
        _exit(supervise(f));
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static unsigned count(const char *text, const char *part)
{
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part))
        n++;
    return n;
}

/* How often `name`, whatever its process, has told something that starts with `what`. */
static unsigned told(struct fixture *f, const char *name, const char *what)
{
    unsigned n = 0;
    char *rest = NULL;

    free(f->events);
    f->events = read_file(f, "events");
    f->last[0] = '\0';
    char *copy = str_dup(str_of(f->events));
    for (char *line = strtok_r(copy, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        const char *pid = strchr(line, ' ');
        const char *text = pid != NULL ? strchr(pid + 1, ' ') : NULL;
        if (text == NULL || (size_t)(pid - line) != strlen(name) ||
            strncmp(line, name, strlen(name)) != 0 || strncmp(text + 1, what, strlen(what)) != 0)
            continue;
        snprintf(f->last, sizeof(f->last), "%s", text + 1);
        n++;
    }
    free(copy);
    return n;
}

static void wait_told(struct fixture *f, const char *name, const char *what, unsigned times)
{
    static const struct timespec pause = {0, POLL_MS * 1000000};
    int64_t deadline_ms = now_ms() + LIMIT_MS;

    while (told(f, name, what) < times) {
        if (now_ms() > deadline_ms)
            fail_msg("%s did not tell \"%s\" %u times:\n%s", name, what, times, f->events);
        nanosleep(&pause, NULL);
    }
}

/* The process that told last under this name. */
static pid_t pid_of(struct fixture *f, const char *name)
{
    char start_of_line[64];
    pid_t pid = 0;

    snprintf(start_of_line, sizeof(start_of_line), "\n%s ", name);
    free(f->events);
    f->events = read_file(f, "events");
    for (const char *at = f->events; (at = strstr(at, start_of_line)) != NULL; at++)
        pid = atoi(at + strlen(start_of_line));
    assert_int_not_equal(pid, 0);
    return pid;
}

static int exit_of(struct fixture *f)
{
    static const struct timespec pause = {0, POLL_MS * 1000000};
    int64_t deadline_ms = now_ms() + LIMIT_MS;
    int status;

    while (waitpid(f->supervisor, &status, WNOHANG) != f->supervisor) {
        if (now_ms() > deadline_ms)
            fail_msg("the supervisor did not end");
        nanosleep(&pause, NULL);
    }
    f->supervisor = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void wait_all(struct fixture *f, unsigned times)
{
    wait_told(f, "worker0", "met scheduler0", times);
    wait_told(f, "worker1", "met scheduler0", times);
    wait_told(f, "worker0", "met signer0", times);
    wait_told(f, "worker1", "met signer0", times);
    wait_told(f, "scheduler0", "met worker0", times);
    wait_told(f, "scheduler0", "met worker1", times);
    wait_told(f, "scheduler0", "workers 2", times);
}

static void assert_title(pid_t pid, const char *expected)
{
    char path[64];
    char title[64] = "";

    snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(title, 1, sizeof(title) - 1, file) > 0);
    fclose(file);
    assert_string_equal(title, expected);
}

/* ---- the tests ---- */

static void the_roles_get_what_is_their_own_and_no_more(void **state)
{
    struct fixture *f = *state;

    start(f);
    wait_all(f, 1);
    wait_told(f, "signer0", "dumpable 0 new-privs 0", 1);
    wait_told(f, "worker0", "dumpable 0 new-privs 0", 1);
    wait_told(f, "worker1", "dumpable 0 new-privs 0", 1);
    wait_told(f, "scheduler0", "dumpable 0 new-privs 0", 1);
    wait_told(f, "admin0", "dumpable 0 new-privs 0", 1);
    assert_int_equal(told(f, "signer0", "databases keys=1 mastodon=0"), 1);
    assert_int_equal(told(f, "worker0", "databases keys=0 mastodon=0"), 1);
    assert_int_equal(told(f, "scheduler0", "databases keys=0 mastodon=1"), 1);
    assert_int_equal(told(f, "admin0", "databases keys=0 mastodon=1"), 1);
    assert_int_equal(count(f->events, "PATH=/usr/local/bin:/usr/bin:/bin,LANG=C,"), 5);
    assert_int_equal(count(f->events, "SECRET_OF_THE_SUPERVISOR"), 0);
    assert_int_equal(count(f->events, "fds 0 1 2 3\n"), 5);
    assert_int_equal(told(f, "worker0", "key 00000000"), 1); /* it got none */
    assert_int_equal(told(f, "admin0", "key 00000000"), 1);
    assert_int_equal(told(f, "scheduler0", "key 00000000"), 0);
    assert_int_equal(told(f, "signer0", "key 00000000"), 0);
    assert_int_equal(told(f, "scheduler0", "key "), 1);
    char *key = str_dup(str_of(f->last));
    assert_int_equal(told(f, "signer0", key), 1);
    free(key);
    assert_title(pid_of(f, "worker1"), "fedpush: worker 1");
    assert_title(pid_of(f, "scheduler0"), "fedpush: scheduler");
    assert_title(pid_of(f, "admin0"), "fedpush: admin");
}

static void a_drain_ends_all(void **state)
{
    struct fixture *f = *state;

    start(f);
    wait_all(f, 1);
    kill(f->supervisor, SIGTERM);
    assert_int_equal(exit_of(f), FP_EXIT_OK);
    assert_int_equal(told(f, "scheduler0", "drain 7"), 1);
    assert_int_equal(kill(pid_of(f, "worker0"), 0), -1);
}

static void a_second_sigterm_ends_at_once(void **state)
{
    struct fixture *f = *state;

    write_file(f, "endless", "");
    start(f);
    wait_all(f, 1);
    kill(f->supervisor, SIGTERM);
    wait_told(f, "scheduler0", "drain 7", 1);
    kill(f->supervisor, SIGTERM);
    assert_int_equal(exit_of(f), FP_EXIT_FAILURE);
}

static void a_killed_worker_is_replaced(void **state)
{
    struct fixture *f = *state;

    start(f);
    wait_all(f, 1);
    pid_t former = pid_of(f, "worker1");
    kill(former, SIGKILL);
    wait_told(f, "scheduler0", "met worker1", 2);
    wait_told(f, "signer0", "met worker1", 2);
    wait_told(f, "worker1", "workers", 2);
    assert_int_not_equal(pid_of(f, "worker1"), former);
    assert_int_equal(told(f, "worker0", "workers"), 1);
}

static void a_killed_signer_is_replaced_and_met_by_all(void **state)
{
    struct fixture *f = *state;

    start(f);
    wait_all(f, 1);
    kill(pid_of(f, "signer0"), SIGKILL);
    wait_told(f, "worker0", "met signer0", 2);
    wait_told(f, "worker1", "met signer0", 2);
    assert_int_equal(told(f, "worker0", "workers"), 1);
    assert_int_equal(told(f, "scheduler0", "workers"), 1);
}

static void a_killed_scheduler_restarts_the_workers_under_a_new_identity(void **state)
{
    struct fixture *f = *state;

    start(f);
    wait_all(f, 1);
    pid_t signer = pid_of(f, "signer0");
    pid_t worker = pid_of(f, "worker0");
    char *first = read_file(f, "identities");
    kill(pid_of(f, "scheduler0"), SIGKILL);
    wait_all(f, 2);
    wait_told(f, "worker0", "workers", 2);
    assert_int_equal(pid_of(f, "signer0"), signer);
    assert_int_not_equal(pid_of(f, "worker0"), worker);
    char *both = read_file(f, "identities");
    assert_int_equal(count(first, "\n"), 1);
    assert_int_equal(count(both, "\n"), 2);
    assert_int_equal(strncmp(both, first, strlen(first)), 0);
    char *former = mem_printf("identity %.*s", (int)strlen(first) - 1, first);
    assert_int_equal(told(f, "scheduler0", former), 2); /* as the current, then as a former one */
    free(former);
    free(first);
    free(both);
}

static void the_scheduler_is_obeyed(void **state)
{
    struct fixture *f = *state;

    start(f);
    wait_all(f, 1);
    write_file(f, "order", "quarantine on");
    wait_told(f, "worker255", "met scheduler0", 1);
    wait_told(f, "worker255", "met signer0", 1);
    pid_t worker = pid_of(f, "worker1");
    write_file(f, "order", "kill worker 1");
    wait_told(f, "scheduler0", "met worker1", 2);
    wait_told(f, "worker1", "workers", 2);
    assert_int_not_equal(pid_of(f, "worker1"), worker);
    char *identity = read_file(f, "identities");
    write_file(f, "order", "new identity");
    wait_told(f, "scheduler0", "identities end", 2);
    char *order = mem_printf("gone %.*s", (int)strlen(identity) - 1, identity);
    write_file(f, "order", order);
    free(order);
    wait_told(f, "scheduler0", "identity ", 3); /* one, then two */
    int64_t deadline_ms = now_ms() + LIMIT_MS;
    char *left = read_file(f, "identities");
    while (strstr(left, identity) != NULL && now_ms() < deadline_ms) {
        free(left);
        left = read_file(f, "identities");
    }
    assert_null(strstr(left, identity));
    assert_int_equal(count(left, "\n"), 1);
    free(left);
    free(identity);
    write_file(f, "order", "drained");
    assert_int_equal(exit_of(f), FP_EXIT_OK);
}

static void a_reload_reaches_the_scheduler_and_an_invalid_one_nobody(void **state)
{
    struct fixture *f = *state;

    start(f);
    wait_all(f, 1);
    write_file(f, ".env.production", "LOCAL_DOMAIN=social.test\nFEDPUSH_CLAIM_RATE=many\n");
    kill(f->supervisor, SIGHUP);
    write_file(f, "order", "new identity"); /* answered after the signal was handled, or before */
    wait_told(f, "scheduler0", "identities end", 2);
    write_file(f, ".env.production", "LOCAL_DOMAIN=social.test\nFEDPUSH_CLAIM_RATE=55\n");
    kill(f->supervisor, SIGHUP);
    wait_told(f, "scheduler0", "reload 55", 1);
    wait_told(f, "worker0", "reload ", 1);
}

static void a_role_that_refuses_its_configuration_ends_the_supervisor(void **state)
{
    struct fixture *f = *state;

    write_file(f, "refuse", "");
    start(f);
    assert_int_equal(exit_of(f), FP_EXIT_CONFIG);
}

static void a_second_supervisor_is_refused(void **state)
{
    struct fixture *f = *state;

    start(f);
    wait_all(f, 1);
    pid_t first = f->supervisor;
    start(f);
    assert_int_equal(exit_of(f), FP_EXIT_CONFIG);
    f->supervisor = first;
}

static void no_role_outlives_its_supervisor(void **state)
{
    static const char *const names[] = {"signer0", "worker0", "worker1", "scheduler0"};
    struct fixture *f = *state;
    int status;

    start(f);
    wait_all(f, 1);
    kill(f->supervisor, SIGKILL);
    assert_int_equal(exit_of(f), -SIGKILL);
    alarm(LIMIT_MS / 1000); /* waitpid below would otherwise wait for one that lives on */
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        pid_t pid = pid_of(f, names[i]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_false(WIFEXITED(status) && WEXITSTATUS(status) != 0);
    }
    alarm(0);
}

int main(int argc, char **argv)
{
    if (sodium_init() == -1)
        return 1;
    if (argc > 1 && strcmp(argv[1], "role") == 0)
        return role_main(argc, argv);
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(the_roles_get_what_is_their_own_and_no_more),
        CASE(a_drain_ends_all),
        CASE(a_second_sigterm_ends_at_once),
        CASE(a_killed_worker_is_replaced),
        CASE(a_killed_signer_is_replaced_and_met_by_all),
        CASE(a_killed_scheduler_restarts_the_workers_under_a_new_identity),
        CASE(the_scheduler_is_obeyed),
        CASE(a_reload_reaches_the_scheduler_and_an_invalid_one_nobody),
        CASE(a_role_that_refuses_its_configuration_ends_the_supervisor),
        CASE(a_second_supervisor_is_refused),
        CASE(no_role_outlives_its_supervisor),
    };
    /* Orphaned roles become this process's children, so that their end can be seen. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
