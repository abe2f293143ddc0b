#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "admin/commands.h"
#include "admin/session.h"
#include "admin/words.h"
#include "sched/recover.h"

enum { MAX_IDENTITIES = 1000, RECOVER_MS = 600000 };

struct identities {
    char *names[MAX_IDENTITIES];
    size_t count;
};

static void add(struct identities *list, struct str name)
{
    if (list->count < MAX_IDENTITIES && name.len > 0)
        list->names[list->count++] = str_dup(name);
}

struct result {
    struct session *session;
    struct recover_result outcome;
};

static void on_recovered(void *arg, const struct recover_result *outcome)
{
    struct result *result = arg;
    result->outcome = *outcome;
    result->session->done = true;
}

static void on_all(void *arg, const redisReply *reply)
{
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
        add(arg, (struct str){reply->element[i]->str, (size_t)reply->element[i]->len});
}

/* One line an identity, as the supervisor writes them. */
static bool read_own(const struct config *config, struct identities *list, struct err *err)
{
    char *path = mem_printf("%s/identities", config->runtime_dir);
    FILE *file = fopen(path, "re");
    char line[512];

    if (file == NULL && errno != ENOENT) {
        err_set(err, FP_SYSTEM, "%s: %s", path, strerror(errno));
        free(path);
        return false;
    }
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        add(list, str_trim(str_of(line)));
    if (file != NULL)
        fclose(file);
    free(path);
    return true;
}

/* The supervisor holds this lock as long as it lives; with it held here, none can start. *fd is the
 * caller's to close; -1 where no fedpush ever ran. */
static bool lock_own(const struct config *config, int *fd, struct err *err)
{
    char *path = mem_printf("%s/lock", config->runtime_dir);
    int code = 0;

    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        code = errno == ENOENT ? 0 : errno;
    else if (flock(*fd, LOCK_EX | LOCK_NB) != 0)
        code = errno;
    if (code == EWOULDBLOCK)
        err_set(err, FP_DENIED, "handback --own: fedpush is running on %s: stop it first",
                config->runtime_dir);
    else if (code != 0)
        err_set(err, FP_SYSTEM, "%s: %s", path, strerror(code));
    free(path);
    return code == 0;
}

struct work {
    struct session *session;
    struct redis *redis;
    enum recover_mode mode;
    bool named;      /* the identities stood on the command line */
    json_t *results; /* one for each identity; NULL: they are printed */
};

static void add_result(json_t *results, const char *identity, const struct recover_result *outcome)
{
    bool failed = !outcome->ok && !outcome->alive;

    json_array_append_new(
        results, json_pack("{s:o, s:b, s:I, s:I, s:o}", "identity", words_json(str_of(identity)),
                           "alive", (int)outcome->alive, "returned", (json_int_t)outcome->returned,
                           "poisoned", (json_int_t)outcome->poisoned, "error",
                           failed ? words_json(str_of(outcome->message)) : json_null()));
}

static void print_result(const char *identity, const struct recover_result *outcome)
{
    if (outcome->ok)
        words_print(
            stdout, "%.100s: %llu jobs back in their queues, %llu poisonous ones in the dead set",
            identity, (unsigned long long)outcome->returned, (unsigned long long)outcome->poisoned);
    else if (outcome->alive)
        words_print(stdout, "%.100s: alive, left alone", identity);
}

static bool hand_back_one(const struct work *work, const char *identity)
{
    struct session *session = work->session;
    struct result result = {.session = session, .outcome = {.message = "no answer"}};

    session->done = false;
    struct recovery *recovery = recover_start(work->redis, &session->keys, str_of(identity),
                                              work->mode, &session->clock, on_recovered, &result);
    if (!session_wait(session, RECOVER_MS))
        recover_cancel(recovery);
    const struct recover_result *outcome = &result.outcome;
    if (work->results != NULL)
        add_result(work->results, identity, outcome);
    else
        print_result(identity, outcome);
    if (!outcome->ok && !outcome->alive)
        words_print(stderr, "fedpush: %.100s: %s", identity, outcome->message);
    return outcome->ok || (outcome->alive && !work->named);
}

static void print_results(json_t *results, bool good)
{
    json_t *all = json_pack("{s:b, s:O}", "ok", (int)good, "items", results);

    words_print_json(all);
    json_decref(all);
}

static int hand_back(struct session *session, bool own, bool as_json, struct identities *list)
{
    struct work work = {
        .session = session, .mode = own ? RECOVER_OWN : RECOVER_IF_STALE, .named = list->count > 0};
    bool good = true;
    struct err err;

    work.redis = session_redis(session, REDIS_ROLE_SIDEKIQ, &err);
    if (work.redis == NULL)
        return session_fail(&err, FP_EXIT_UNAVAILABLE);
    if (!own && !work.named) {
        const struct str words[] = {STR("ZRANGE"), str_of(session->keys.identities), STR("0"),
                                    STR("-1")};
        if (!session_command(session, work.redis, 4, words, on_all, list, &err))
            return session_fail(&err, FP_EXIT_UNAVAILABLE);
    }
    work.results = as_json ? json_array() : NULL;
    if (list->count == 0 && !as_json)
        puts("nothing to hand back");
    for (size_t i = 0; i < list->count; i++)
        good = hand_back_one(&work, list->names[i]) && good;
    if (as_json)
        print_results(work.results, good);
    json_decref(work.results);
    return good ? FP_EXIT_OK : FP_EXIT_FAILURE;
}

int command_handback(const struct config *config, int argc, char **argv)
{
    bool own = words_has(argc, argv, "--own");
    bool as_json = words_has(argc, argv, "--json");
    struct identities list = {.count = 0};
    struct session session;
    struct err err;
    int lock_fd = -1;
    int code;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            continue;
        /* --own asks no owner whether it is alive: never for identities from the command line. */
        if (strcmp(argv[i], "--own") != 0 && (own || argv[i][0] == '-' || argv[i][0] == '\0'))
            return words_unknown("handback", argv[i]);
    }
    for (int i = 0; i < argc && !own; i++) {
        if (strcmp(argv[i], "--json") != 0)
            add(&list, str_of(argv[i]));
    }
    if (own && (!lock_own(config, &lock_fd, &err) || !read_own(config, &list, &err))) {
        code = session_fail(&err, FP_EXIT_FAILURE);
    } else {
        code = session_open(&session, config, &err) ? hand_back(&session, own, as_json, &list)
                                                    : session_fail(&err, FP_EXIT_CONFIG);
        session_close(&session);
    }
    if (lock_fd >= 0)
        close(lock_fd);
    for (size_t i = 0; i < list.count; i++)
        free(list.names[i]);
    return code;
}
