/*
 * The one binary: a command for people, the supervisor, or one of its roles.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/commands.h"
#include "admin/server.h"
#include "admin/words.h"
#include "base/config.h"
#include "base/control.h"
#include "base/secret.h"
#include "sched/scheduler.h"
#include "sig/signer.h"
#include "worker/completion.h"
#include "worker/deliver.h"
#include "worker/manual.h"
#include "worker/privileges.h"
#include "worker/rehearse.h"
#include "worker/supervisor.h"
#include "worker/usage.h"
#include "worker/version.h"
#include "worker/worker.h"

/* The command line without the name of the program and what belongs to it as a whole. */
struct command_line {
    const char *mastodon_dir; /* NULL: not given */
    enum command_name command;
    bool help;
    bool overview;
    int argc;
    char **argv; /* what followed the command */
};

static int fail(int exit_code, const char *format, ...) FP_PRINTF(2, 3);
static int fail(int exit_code, const char *format, ...)
{
    char text[600];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    words_print(stderr, "fedpush: %s", text);
    return exit_code;
}

static int fail_with(const struct err *err)
{
    int exit_code = FP_EXIT_CONFIG;

    switch (err->code) {
    case FP_OK:
    case FP_INVALID:
    case FP_TOO_LARGE:
        break;
    case FP_UNAVAILABLE:
        exit_code = FP_EXIT_UNAVAILABLE;
        break;
    case FP_DENIED:
        exit_code = FP_EXIT_NO_PERMISSION;
        break;
    case FP_SYSTEM:
        exit_code = FP_EXIT_OS;
        break;
    }
    return fail(exit_code, "%s", err->message);
}

static int print(struct buf *text)
{
    size_t len = text->len;
    bool written = fwrite(text->ptr, 1, len, stdout) == len && fflush(stdout) == 0;

    buf_clear(text);
    return written ? FP_EXIT_OK : fail(FP_EXIT_FAILURE, "output: %s", strerror(errno));
}

static int print_help(const struct command_line *line)
{
    struct buf text;

    buf_init(&text, 64 * 1024);
    if (line->overview)
        usage_overview(&text);
    else
        usage_command(&text, line->command);
    return print(&text);
}

static int print_completion(const struct command_line *line)
{
    struct buf text;

    buf_init(&text, 64 * 1024);
    if (line->argc == 1 && completion_put(&text, str_of(line->argv[0])))
        return print(&text);
    buf_clear(&text);
    return fail(FP_EXIT_USAGE, "completion: for bash, zsh or fish?");
}

static int print_manual(const struct command_line *line)
{
    struct buf text;

    if (line->argc > 0)
        return words_unknown("manual", line->argv[0]);
    buf_init(&text, 256 * 1024);
    manual_put(&text);
    return print(&text);
}

static int print_version(bool as_json)
{
    struct buf text;

    if (as_json) {
        version_print_json();
        return fflush(stdout) == 0 ? FP_EXIT_OK
                                   : fail(FP_EXIT_FAILURE, "output: %s", strerror(errno));
    }
    buf_init(&text, 4096);
    version_print(&text);
    return print(&text);
}

/* ---- fedpush run ---- */

static enum fp_err load_and_drop(struct config *config, const char *mastodon_dir, struct err *err)
{
    const char *user = getenv("FEDPUSH_USER");
    /* systemd's credentials can be read by root only; anything else is not parsed as root. */
    bool load_first = getenv("CREDENTIALS_DIRECTORY") != NULL;
    bool was_root = geteuid() == 0;
    struct privileges privileges;

    enum fp_err code = privileges_choose(geteuid(), user, &privileges, err);
    if (code == FP_OK && load_first)
        code = config_load(config, environ, mastodon_dir, err);
    if (code == FP_OK)
        code = privileges_drop(&privileges, err);
    if (code == FP_OK && !load_first)
        code = config_load(config, environ, mastodon_dir, err);
    if (code != FP_OK)
        return code;
    if (user == NULL || user[0] == '\0')
        user = PRIVILEGES_DEFAULT_USER;
    if (was_root && strcmp(config->user, user) != 0)
        return err_set(err, FP_INVALID,
                       "FEDPUSH_USER decides before a file is read: set it in the environment of "
                       "`fedpush run`, not in a file");
    return FP_OK;
}

static int run(const struct command_line *line)
{
    struct config config = {0};
    struct err err;

    if (line->argc > 0)
        return fail(FP_EXIT_USAGE, "run: unexpected \"%.60s\"; see `fedpush run --help`",
                    line->argv[0]);
    enum fp_err code = load_and_drop(&config, line->mastodon_dir, &err);
    if (code != FP_OK) {
        config_clear(&config);
        return fail_with(&err);
    }
    process_harden(); /* again: the kernel forgets it when the user changes */
    process_title("fedpush: supervisor");
    log_open("supervisor", config.log_level);
    if (geteuid() == 0)
        log_plain(LOG_LEVEL_WARN, "running as root, as FEDPUSH_USER=root demands");
    int exit_code = supervisor_run(&config, line->mastodon_dir);
    config_clear(&config);
    return exit_code;
}

/* ---- the other commands ---- */

typedef int command_fn(const struct config *config, int argc, char **argv);

static int with_config(const struct command_line *line, command_fn *fn)
{
    struct config config = {0};
    struct err err;
    int exit_code;

    if (config_load(&config, environ, line->mastodon_dir, &err) == FP_OK) {
        /* The command itself says to its caller what went wrong. */
        log_open("command",
                 config.log_level == LOG_LEVEL_DEBUG ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
        exit_code = fn(&config, line->argc, line->argv);
    } else {
        exit_code = fail_with(&err);
    }
    config_clear(&config);
    if (fflush(stdout) != 0 && exit_code == FP_EXIT_OK)
        exit_code = fail(FP_EXIT_FAILURE, "output: %s", strerror(errno));
    return exit_code;
}

static int dispatch(const struct command_line *line)
{
    if (line->help)
        return print_help(line);
    switch (line->command) {
    case COMMAND_RUN:
        return run(line);
    case COMMAND_CHECK:
        return with_config(line, command_check);
    case COMMAND_SETUP:
        return with_config(line, command_setup);
    case COMMAND_STATUS:
        return with_config(line, command_status);
    case COMMAND_STATS:
        return with_config(line, command_stats);
    case COMMAND_PAUSE:
        return with_config(line, command_pause);
    case COMMAND_RESUME:
        return with_config(line, command_resume);
    case COMMAND_DRAIN:
        return with_config(line, command_drain);
    case COMMAND_DOMAIN:
        return with_config(line, command_domain);
    case COMMAND_TOP:
        return with_config(line, command_top);
    case COMMAND_JOBS:
        return with_config(line, command_jobs);
    case COMMAND_TRACE:
        return with_config(line, command_trace);
    case COMMAND_ALERT:
        return with_config(line, command_alert);
    case COMMAND_REHEARSE:
        return with_config(line, command_rehearse);
    case COMMAND_DELIVER:
        return with_config(line, command_deliver);
    case COMMAND_HANDBACK:
        return with_config(line, command_handback);
    case COMMAND_PASSWORD:
        return command_password(line->argc);
    case COMMAND_TOKEN:
        return with_config(line, command_token);
    case COMMAND_COMPLETION:
        return print_completion(line);
    case COMMAND_MANUAL:
        return print_manual(line);
    case COMMAND_VERSION:
        return print_version(line->argc > 0);
    case COMMAND_COUNT:
        break;
    }
    return FP_EXIT_USAGE;
}

/* ---- fedpush role NAME INDEX: the supervisor's own ---- */

static int run_role(int argc, char **argv)
{
    struct stat status;
    int64_t index = 0;

    if (argc != 2 || !str_to_i64(str_of(argv[1]), 0, CONTROL_QUARANTINE_INDEX, &index) ||
        fstat(CONTROL_FD, &status) == -1 || !S_ISSOCK(status.st_mode))
        return fail(FP_EXIT_USAGE, "roles are started by `fedpush run` only");
    prctl(PR_SET_NAME, "fedpush"); /* executed by /proc/self/exe, it would be "exe" in `top` */
    if (strcmp(argv[0], role_names[ROLE_SCHEDULER]) == 0)
        return scheduler_main();
    if (strcmp(argv[0], role_names[ROLE_WORKER]) == 0)
        return worker_main((unsigned)index);
    if (strcmp(argv[0], role_names[ROLE_SIGNER]) == 0)
        return signer_main();
    if (strcmp(argv[0], role_names[ROLE_ADMIN]) == 0)
        return admin_main();
    return fail(FP_EXIT_USAGE, "there is no role \"%.60s\"", argv[0]);
}

/* ---- the command line ---- */

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Takes --mastodon, wherever it stands, and --help out of argv. */
static int take_options(struct command_line *line, int argc, char **argv)
{
    static const char with_value[] = "--mastodon=";
    int kept = 0;

    for (int i = 0; i < argc; i++) {
        if (is_help(argv[i])) {
            line->help = true;
        } else if (strcmp(argv[i], "--mastodon") == 0) {
            if (i + 1 == argc)
                return fail(FP_EXIT_USAGE, "--mastodon needs Mastodon's directory");
            line->mastodon_dir = argv[++i];
        } else if (strncmp(argv[i], with_value, sizeof(with_value) - 1) == 0) {
            line->mastodon_dir = argv[i] + sizeof(with_value) - 1;
        } else {
            argv[kept++] = argv[i];
        }
    }
    line->argc = kept;
    line->argv = argv;
    if (line->mastodon_dir != NULL && line->mastodon_dir[0] == '\0')
        return fail(FP_EXIT_USAGE, "--mastodon needs Mastodon's directory");
    return FP_EXIT_OK;
}

static int parse(struct command_line *line, int argc, char **argv)
{
    int exit_code = take_options(line, argc, argv);

    if (exit_code != FP_EXIT_OK)
        return exit_code;
    if (line->argc == 0 && line->help) {
        line->overview = true;
        return FP_EXIT_OK;
    }
    if (line->argc == 0)
        return fail(FP_EXIT_USAGE, "which command? `fedpush --help` lists them");
    const char *name = line->argv[0];
    line->argc--;
    line->argv++;
    line->command = strcmp(name, "--version") == 0 ? COMMAND_VERSION : usage_find(str_of(name));
    if (line->command == COMMAND_COUNT)
        return fail(FP_EXIT_USAGE, "there is no command \"%.60s\"; `fedpush --help` lists them",
                    name);
    bool as_json = line->argc == 1 && strcmp(line->argv[0], "--json") == 0;
    if (line->command == COMMAND_VERSION && line->argc > 0 && !as_json)
        return fail(FP_EXIT_USAGE, "version: unexpected \"%.60s\"", line->argv[0]);
    return FP_EXIT_OK;
}

int main(int argc, char **argv)
{
    struct command_line line = {0};

    process_harden();
    if (sodium_init() == -1)
        return fail(FP_EXIT_OS, "libsodium finds no source of random numbers");
    process_title_init(argc, argv);
    if (argc >= 2 && strcmp(argv[1], "role") == 0)
        return run_role(argc - 2, argv + 2);
    int exit_code = parse(&line, argc > 0 ? argc - 1 : 0, argv + 1);
    return exit_code == FP_EXIT_OK ? dispatch(&line) : exit_code;
}
