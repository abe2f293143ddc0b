#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "admin/commands.h"
#include "admin/tokens.h"
#include "admin/words.h"

static int usage(void)
{
    words_print(stderr, "fedpush: token: create NAME [--full], list, or revoke NAME");
    return FP_EXIT_USAGE;
}

static int fail(const struct err *err)
{
    return session_fail(err, err->code == FP_INVALID ? FP_EXIT_FAILURE : FP_EXIT_UNAVAILABLE);
}

static int create(struct session *session, const char *name, bool full)
{
    char text[TOKEN_TEXT_BYTES];
    struct err err;

    if (!token_create(session, str_of(name), full ? API_ACT : API_READ, text, &err))
        return fail(&err);
    words_print(stderr, "It is shown this once:");
    words_made(str_of(text)); /* leaves no copy */
    puts("");
    sodium_memzero(text, sizeof(text));
    return FP_EXIT_OK;
}

static int revoke(struct session *session, const char *name)
{
    struct err err;

    if (!token_revoke(session, str_of(name), &err))
        return fail(&err);
    words_print(stdout, "%s is revoked", name);
    return FP_EXIT_OK;
}

static void print_token(const json_t *token)
{
    time_t created = (time_t)json_integer_value(json_object_get(token, "created_at"));
    bool full = strcmp(json_string_value(json_object_get(token, "right")), "act") == 0;
    struct tm parts;
    char date[32] = "";

    if (gmtime_r(&created, &parts) != NULL)
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &parts);
    words_print(stdout, "%-32s %-5s %s", json_string_value(json_object_get(token, "name")),
                full ? "full" : "read", date);
}

static int list(struct session *session, bool json)
{
    struct err err;
    json_t *tokens = token_list(session, &err);
    const json_t *token;
    size_t i;

    if (tokens == NULL)
        return fail(&err);
    if (json) {
        words_print_json(tokens);
    } else {
        words_print(stdout, "%-32s %-5s %s", "NAME", "RIGHT", "CREATED (UTC)");
        json_array_foreach(tokens, i, token)
        {
            print_token(token);
        }
    }
    json_decref(tokens);
    return FP_EXIT_OK;
}

static int run(struct session *session, int argc, char **argv)
{
    bool flag = argc > 0 && strncmp(argv[argc - 1], "--", 2) == 0;
    const char *option = flag ? argv[argc - 1] : "";
    int words = flag ? argc - 1 : argc;

    if (words == 2 && strcmp(argv[0], "create") == 0 && (!flag || strcmp(option, "--full") == 0))
        return create(session, argv[1], flag);
    if (words == 1 && strcmp(argv[0], "list") == 0 && (!flag || strcmp(option, "--json") == 0))
        return list(session, flag);
    if (words == 2 && strcmp(argv[0], "revoke") == 0 && !flag)
        return revoke(session, argv[1]);
    return usage();
}

int command_token(const struct config *config, int argc, char **argv)
{
    struct session session;
    struct err err;
    int exit_code;

    if (session_open(&session, config, &err))
        exit_code = run(&session, argc, argv);
    else
        exit_code = session_fail(&err, FP_EXIT_CONFIG);
    session_close(&session);
    return exit_code;
}
