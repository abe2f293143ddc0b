#include "worker/completion.h"

#include "worker/usage.h"

/* --- what can follow a command, as its help text has it --- */

enum { MAX_WORDS = 64 };

struct words {
    struct str list[MAX_WORDS];
    size_t count;
};

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

static void add(struct words *words, struct str word)
{
    for (size_t i = 0; i < words->count; i++) {
        if (str_equal(words->list[i], word))
            return;
    }
    if (words->count < MAX_WORDS)
        words->list[words->count++] = word;
}

static struct str word_at(struct str text)
{
    size_t len = 0;

    while (len < text.len && is_word(text.ptr[len]))
        len++;
    return (struct str){text.ptr, len};
}

static void add_options(struct words *words, struct str text)
{
    for (size_t i = 0; i + 2 < text.len; i++) {
        bool begins = i == 0 || !is_word(text.ptr[i - 1]);
        if (begins && str_starts_with(str_slice(text, i), STR("--")) && is_word(text.ptr[i + 2]))
            add(words, word_at(str_slice(text, i)));
    }
}

/* Actions stand at the beginning of a line, behind two blanks, in small letters. */
static void add_actions(struct words *words, struct str details)
{
    while (details.len > 0) {
        if (str_starts_with(details, STR("  ")) && details.len > 2 && details.ptr[2] >= 'a' &&
            details.ptr[2] <= 'z')
            add(words, word_at(str_slice(details, 2)));
        details = str_slice(details, str_find(details, '\n') + 1);
    }
}

static void take_words(struct words *words, enum command_name command)
{
    const struct command_usage *usage = usage_of(command);

    words->count = 0;
    add_actions(words, str_of(usage->details));
    add_options(words, str_of(usage->arguments));
    add_options(words, str_of(usage->details));
    add(words, STR("--help"));
}

static void put_words(struct buf *out, const struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        buf_printf(out, "%s%.*s", i > 0 ? " " : "", STR_ARG(words->list[i]));
}

/* Inside of '…' of any of the shells: no text of ours has a quote that it would have to keep. */
static void put_summary(struct buf *out, const char *summary)
{
    for (const char *c = summary; *c != '\0'; c++)
        if (*c != '\'' && *c != '`' && *c != '\\')
            buf_put_char(out, *c);
}

/* --- the scripts --- */

static void put_cases(struct buf *out, const char *before, const char *behind)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        struct words words;
        take_words(&words, (enum command_name)i);
        buf_printf(out, "    %s) %s", usage_of((enum command_name)i)->name, before);
        put_words(out, &words);
        buf_printf(out, "%s ;;\n", behind);
    }
}

static void put_bash(struct buf *out)
{
    buf_put_str(out, STR("# Made by `fedpush completion bash`.\n"
                         "_fedpush() {\n"
                         "  local command= words= i\n"
                         "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
                         "    case ${COMP_WORDS[i]} in\n"
                         "    --mastodon) ((i++)) ;;\n"
                         "    -*) ;;\n"
                         "    *) command=${COMP_WORDS[i]}; break ;;\n"
                         "    esac\n"
                         "  done\n"
                         "  if [[ ${COMP_WORDS[COMP_CWORD-1]} == --mastodon ]]; then\n"
                         "    COMPREPLY=($(compgen -d -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
                         "    return\n"
                         "  fi\n"
                         "  case $command in\n"
                         "    '') words='"));
    for (int i = 0; i < COMMAND_COUNT; i++)
        buf_printf(out, "%s ", usage_of((enum command_name)i)->name);
    buf_put_str(out, STR("--help --mastodon --version' ;;\n"));
    put_cases(out, "words='", "'");
    buf_put_str(out, STR("  esac\n"
                         "  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
                         "}\n"
                         "complete -o default -F _fedpush fedpush\n"));
}

static void put_zsh(struct buf *out)
{
    buf_put_str(out, STR("#compdef fedpush\n"
                         "# Made by `fedpush completion zsh`.\n"
                         "_fedpush() {\n"
                         "  local context state state_descr line\n"
                         "  typeset -A opt_args\n"
                         "  local -a commands\n"
                         "  commands=(\n"));
    for (int i = 0; i < COMMAND_COUNT; i++) {
        const struct command_usage *usage = usage_of((enum command_name)i);
        buf_printf(out, "    '%s:", usage->name);
        put_summary(out, usage->summary);
        buf_put_str(out, STR("'\n"));
    }
    buf_put_str(out,
                STR("  )\n"
                    "  _arguments -C '--mastodon[directory of Mastodon]:directory:_files -/' \\\n"
                    "    '--help[help]' '--version[versions]' '1:command:->command' "
                    "'*::rest:->rest'\n"
                    "  case $state in\n"
                    "    command) _describe command commands; return ;;\n"
                    "  esac\n"
                    "  case $words[1] in\n"));
    put_cases(out, "compadd -- ", "");
    buf_put_str(out, STR("  esac\n"
                         "  _files\n"
                         "}\n"
                         "compdef _fedpush fedpush\n"));
}

static void put_fish(struct buf *out)
{
    buf_put_str(out, STR("# Made by `fedpush completion fish`.\n"
                         "complete -c fedpush -l mastodon -r -d 'directory of Mastodon'\n"
                         "complete -c fedpush -n __fish_use_subcommand -f -l version\n"
                         "complete -c fedpush -f -l help\n"));
    for (int i = 0; i < COMMAND_COUNT; i++) {
        const struct command_usage *usage = usage_of((enum command_name)i);
        struct words words;
        take_words(&words, (enum command_name)i);
        buf_printf(out, "complete -c fedpush -n __fish_use_subcommand -f -a %s -d '", usage->name);
        put_summary(out, usage->summary);
        buf_printf(out, "'\ncomplete -c fedpush -n '__fish_seen_subcommand_from %s' -a '",
                   usage->name);
        put_words(out, &words);
        buf_put_str(out, STR("'\n"));
    }
}

bool completion_put(struct buf *out, struct str shell)
{
    if (str_equal(shell, STR("bash")))
        put_bash(out);
    else if (str_equal(shell, STR("zsh")))
        put_zsh(out);
    else if (str_equal(shell, STR("fish")))
        put_fish(out);
    else
        return false;
    return true;
}
