#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "admin/commands.h"
#include "admin/tokens.h"
#include "admin/words.h"

static int usage(void)
{
    words_print(stderr, "fedpush: token: create NAME [--full], list, or revoke NAME; see `fedpush "
                        "token --help`");
    return FP_EXIT_USAGE;
}

static int fail(const struct err *err)
{
    return session_fail(err, err->code == FP_INVALID ? FP_EXIT_FAILURE : FP_EXIT_UNAVAILABLE);
}

static int create(struct session *session, const char *name, bool full, bool json)
{
    const struct token_wish wish = {.name = str_of(name), .right = full ? API_ACT : API_READ};
    char text[TOKEN_TEXT_BYTES];
    struct err err;

    if (!token_create(session, &wish, text, &err))
        return fail(&err);
    if (json)
        words_ask("{\"name\": \"%s\", \"right\": \"%s\", \"token\": \"", name,
                  full ? "act" : "read");
    else
        words_print(stderr, "It is shown this once:");
    words_made(str_of(text)); /* leaves no copy */
    if (json)
        words_print(stdout, "\"}");
    else
        puts("");
    sodium_memzero(text, sizeof(text));
    return FP_EXIT_OK;
}

static int revoke(struct session *session, const char *name, bool json)
{
    struct err err;

    if (!token_revoke(session, str_of(name), &err))
        return fail(&err);
    if (json)
        words_print(stdout, "{\"name\": \"%s\", \"revoked\": true}", name);
    else
        words_print(stdout, "%s is revoked", name);
    return FP_EXIT_OK;
}

static void print_token(const json_t *token)
{
    time_t created = (time_t)json_integer_value(json_object_get(token, "created_at"));
    bool full = strcmp(json_string_value(json_object_get(token, "right")), "act") == 0;
    const char *made_by = json_string_value(json_object_get(token, "made_by"));
    struct tm parts;
    char date[32] = "";

    if (gmtime_r(&created, &parts) != NULL)
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &parts);
    words_print(stdout, "%-32s %-5s %-19s %s", json_string_value(json_object_get(token, "name")),
                full ? "full" : "read", date, made_by != NULL ? made_by : "?");
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
    } else if (json_array_size(tokens) == 0) {
        words_print(stdout, "there is no token: fedpush token create NAME");
    } else {
        words_print(stdout, "%-32s %-5s %-19s %s", "NAME", "RIGHT", "CREATED (UTC)", "MADE BY");
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
    const char *words[2] = {"", ""};
    bool full = false;
    bool json = false;
    int count = 0;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--full") == 0)
            full = true;
        else if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (argv[i][0] != '-' && count < 2)
            words[count++] = argv[i];
        else
            return usage();
    }
    if (count == 2 && strcmp(words[0], "create") == 0)
        return create(session, words[1], full, json);
    if (count == 1 && strcmp(words[0], "list") == 0 && !full)
        return list(session, json);
    if (count == 2 && strcmp(words[0], "revoke") == 0 && !full)
        return revoke(session, words[1], json);
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
