#include "worker/manual.h"

#include "base/config.h"
#include "worker/usage.h"

enum { MAX_BYTES = 64 * 1024 };

/* So that troff takes none of it for a request, an escape or a hyphen. */
static void put_roff(struct buf *out, struct str text)
{
    bool at_start = true;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (str_starts_with(str_slice(text, i), STR("\xe2\x80\xa6"))) { /* … */
            buf_put_str(out, STR("..."));
            i += 2;
            continue;
        }
        if (at_start && (c == '.' || c == '\''))
            buf_put_str(out, STR("\\&"));
        if (c == '\\')
            buf_put_str(out, STR("\\e"));
        else if (c == '-')
            buf_put_str(out, STR("\\-"));
        else if (c == '`')
            buf_put_str(out, STR("\\(ga"));
        else if (c == '\'')
            buf_put_str(out, STR("\\(aq"));
        else
            buf_put_char(out, c);
        at_start = c == '\n';
    }
}

static void put_command(struct buf *out, enum command_name command)
{
    const struct command_usage *usage = usage_of(command);

    buf_printf(out, ".SS fedpush %s", usage->name);
    if (usage->arguments[0] != '\0')
        buf_put_char(out, ' ');
    put_roff(out, str_of(usage->arguments));
    buf_put_char(out, '\n');
    put_roff(out, str_of(usage->summary));
    buf_put_str(out, STR(".\n.PP\n.nf\n"));
    put_roff(out, str_of(usage->details));
    buf_put_str(out, STR(".fi\n"));
}

static void put_settings(struct buf *out)
{
    struct buf text;

    buf_init(&text, MAX_BYTES);
    config_help(&text);
    buf_put_str(out, STR(".SH ENVIRONMENT\n"
                         "Read from the environment, or from Mastodon\\(aqs .env.production.\n"
                         ".PP\n.nf\n"));
    put_roff(out, buf_str(&text));
    buf_put_str(out, STR(".fi\n"));
    buf_clear(&text);
}

void manual_put(struct buf *out)
{
    buf_put_str(out, STR(".TH FEDPUSH 1 \"\" \"fedpush " FEDPUSH_VERSION "\" \"fedpush\"\n"
                         ".SH NAME\n"
                         "fedpush \\- deliver Mastodon\\(aqs posts to other servers\n"
                         ".SH SYNOPSIS\n"
                         ".B fedpush\n"
                         "[\\fB\\-\\-mastodon\\fR \\fIDIR\\fR] \\fICOMMAND\\fR\n"
                         "[\\fIARGUMENTS\\fR]\n"
                         ".SH DESCRIPTION\n"
                         "Takes the jobs of Sidekiq\\(aqs queue push in place of\n"
                         "Mastodon\\(aqs Ruby workers, beside an unchanged Mastodon:\n"
                         "signs each delivery and sends it.\n"
                         ".SH OPTIONS\n"
                         ".TP\n"
                         "\\fB\\-\\-mastodon\\fR \\fIDIR\\fR\n"
                         "Mastodon\\(aqs directory: its .env.production and version are read.\n"
                         ".TP\n"
                         "\\fB\\-\\-help\\fR\n"
                         "What a command does; without one, which there are.\n"
                         ".SH COMMANDS\n"));
    for (int i = 0; i < COMMAND_COUNT; i++)
        put_command(out, (enum command_name)i);
    put_settings(out);
    buf_put_str(out, STR(".SH EXIT STATUS\n"
                         "0 when all went well; 64: the command line isn\\(aqt understood;\n"
                         "69: Redis or PostgreSQL doesn\\(aqt answer;\n"
                         "77: a right is missing; 78: a setting is wrong;\n"
                         "1, 70, 71: everything else.\n"
                         "Where it says more, the command\\(aqs text has it.\n"
                         ".SH SEE ALSO\n"
                         ".BR systemctl (1),\n"
                         ".BR journalctl (1)\n"));
}
