#include "worker/usage.h"

#include "base/config.h"

static const struct command_usage commands[COMMAND_COUNT] = {
    [COMMAND_RUN] = {"run", "", "deliver until told to stop",
                     "Starts the scheduler, the workers, the signer and the statistics page, and\n"
                     "keeps them running.\n"
                     "Started as root it becomes the user FEDPUSH_USER, which is read from the\n"
                     "environment only; to stay root, set FEDPUSH_USER=root.\n"
                     "\n"
                     "  SIGTERM, SIGINT  finish what is on the wire, return the rest, end;\n"
                     "                   a second one ends at once\n"
                     "  SIGHUP           read the configuration again; what is reloadable below\n"
                     "                   takes effect\n"},
    [COMMAND_CHECK] = {"check", "[--json]", "prove that `run` would work, and say what is missing",
                       "Looks at configuration, Redis, PostgreSQL, rights, keys and DNS.\n"
                       "No job is touched. Ends with 0 only if `run` would work.\n"
                       "\n"
                       "  --json  for programs: works, grade, lines\n"},
    [COMMAND_SETUP] = {"setup", "[--json | --roles --print | --print-redis-acl]",
                       "create or upgrade the database schema `fedpush`",
                       "Needs a database role that may create schemas; give it by\n"
                       "FEDPUSH_DATABASE_URL for this one command if Mastodon's may not.\n"
                       "\n"
                       "Two forms execute nothing, but write what to review and run:\n"
                       "  --roles --print    SQL for database roles with the least rights\n"
                       "  --print-redis-acl  Redis users with the least rights\n"
                       "\n"
                       "  --json             for programs: the version of the schema\n"},
    [COMMAND_STATUS] =
        {"status", "[--json]", "one line for each part: is it well?",
         "Ends with 0 when all is well, 1 at a warning, 2 when deliveries suffer.\n"
         "\n"
         "  --json  for programs: grade (ok, warn, FAIL), lines, redis, machines,\n"
         "          sidekiq, queues, later, handoff, ledger, health; null: unknown\n"},
    [COMMAND_STATS] = {"stats", "[HOST] [OPTIONS]", "deliveries by host, or by inbox of HOST",
                       "Counted since `fedpush setup`, busiest first.\n"
                       "\n"
                       "  --span SPAN  of the last 24h, 7d or 30d, with percentiles; else total.\n"
                       "               Hosts only\n"
                       "  --sort BY    attempts, host, delivered, failed, success, time, failing\n"
                       "  --limit N    the first N\n"
                       "  --csv        for a spreadsheet\n"
                       "  --json       for programs\n"},
    [COMMAND_TOP] = {"top", "[--json]", "watch the deliveries, live in the terminal",
                     "The fleet on top, below it the busiest and the worst hosts of the last 24\n"
                     "hours, new each two seconds. Without a terminal: one screen, once. NO_COLOR\n"
                     "is respected.\n"
                     "\n"
                     "  Keys: q quit, p hold, s the next order, Left and Right too, Up, Down,\n"
                     "  PgUp, PgDn scroll, / only hosts with a text in their name (Esc: all)\n"
                     "\n"
                     "  --json  for programs, once: overview, busiest, worst\n"},
    [COMMAND_PAUSE] = {"pause", "[--machine NAME] [--for TIME] [--json]", "stop all deliveries",
                       "Effective within two seconds: nothing is taken or sent any more, what is\n"
                       "in flight ends, what is held goes back to its queue after ten seconds.\n"
                       "Needs Redis only.\n"
                       "\n"
                       "  --machine NAME  one machine instead of all: its host name, or an\n"
                       "                  identity as `fedpush status` names them, which is\n"
                       "                  one process: a restart ends the pause\n"
                       "  --for TIME      end by itself: 90s, 15m, 24h, 7d\n"
                       "  --json          for programs: ok, text, error\n"},
    [COMMAND_RESUME] = {"resume", "[--machine NAME] [--json]", "take a pause back",
                        "  --machine NAME  that of one machine, as it was given to `pause`\n"
                        "  --json          for programs: ok, text, error\n"},
    [COMMAND_DRAIN] =
        {"drain", "[--machine NAME] [--json]", "let a machine end what it does, and end",
         "As Stop in Sidekiq's Web UI: what is on the wire ends, the rest goes back\n"
         "to its queue, the processes end. `systemctl start fedpush` on that machine\n"
         "starts them again.\n"
         "\n"
         "  --machine NAME  another than this one: its host name, or an identity as\n"
         "                  `fedpush status` names them\n"
         "  --json          for programs: ok, text, error\n"},
    [COMMAND_DOMAIN] =
        {"domain", "ACTION [DOMAIN] [OPTIONS]", "pause, limit or drop what goes to a domain",
         "Effective on all machines within two seconds. Orders stand in Redis, are kept\n"
         "in PostgreSQL with who gave them (fedpush.audit), and come back from there.\n"
         "\n"
         "  pause DOMAIN [--now] [--for TIME]\n"
         "      its host, all below it, and every host that accounts of DOMAIN have an\n"
         "      inbox on. Jobs are put off, and no retry is burnt. --now: abort what is\n"
         "      in flight; it may have arrived. TIME: 90s, 15m, 24h, 7d\n"
         "  resume DOMAIN\n"
         "      what was put off is sent now\n"
         "  drop DOMAIN [--now] [--yes]\n"
         "      remove the jobs for these hosts for good, handed-off ones too, but for\n"
         "      dead ones; posts made later are delivered.\n"
         "      --now: abort what is in flight; it may have arrived. Without it, what is in\n"
         "      flight is tried to its end, and not again. DOMAIN must be typed again,\n"
         "      unless --yes\n"
         "  limit DOMAIN [--window N] [--rate N/s|N/m] [--proxy NAME|none] [--http 1.1|2]\n"
         "               [--signature auto|cavage|rfc9421] [--clear] [--inherit]\n"
         "               [--for TIME]\n"
         "      of all machines: deliveries in flight to a host, and a second or minute; a\n"
         "      proxy of FEDPUSH_PROXIES; HTTP/2 where TLS agrees on it; one signature\n"
         "      scheme. 0 takes a number back, --clear all of them: without any, DOMAIN is\n"
         "      exempt from those of a parent; --inherit takes its own limits back, so that\n"
         "      the parent's count. Limits that are to end still do when others are added,\n"
         "      but with --clear or another --for. Of *.example.org each host (and port) has\n"
         "      the window and rate to itself\n"
         "  try HOST\n"
         "      one job that waits for its time is due now; an open circuit is probed now;\n"
         "      says what holds it back all the same, and on which machine\n"
         "  list\n"
         "  show DOMAIN\n"
         "      whether its deliveries are being sent, when the next is tried, what waits\n"
         "      where, and why: of its host, all below it, and every host that accounts of\n"
         "      DOMAIN have an inbox on. HANDOFF: wait for Ruby, in the hand-off queue\n"
         "\n"
         "Each takes --json, for programs; `drop` then needs --yes.\n"
         "\n"
         "DOMAIN is example.org or *.example.org (all hosts below it); of several orders\n"
         "for a host the most specific one counts, alone (a drop counts beside it). A\n"
         "host's first `limit` begins with what counted for it before.\n"},
    [COMMAND_JOBS] =
        {"jobs", "[--domain DOMAIN] [--class CLASS] [--json]",
         "what is in queues, retry, schedule and dead, by class and host",
         "Looks through them in small steps, at most 100,000 jobs of each; needs Redis\n"
         "only. HELD are jobs that machines have taken.\n"
         "\n"
         "  --domain DOMAIN  only deliveries to it and all hosts below it\n"
         "  --class CLASS    only jobs of this class; without its modules, too:\n"
         "                   DeliveryWorker\n"
         "  --json           for programs\n"},
    [COMMAND_TRACE] =
        {"trace", "ACTIVITY [OPTIONS]", "which inboxes have an activity, which wait, and why",
         "Looks for its jobs in the queues, with the machines, in retry, schedule and\n"
         "dead, asks the machines what they remember of it, and reads their log. BY\n"
         "says which of these knows: queue, memory, log; what is latest counts.\n"
         "ACTIVITY is its id, a post's id, or the address of the post's page:\n"
         "https://example.social/@alice/1\n"
         "\n"
         "  --log FILE    instead of the journal of this machine; as often as there are\n"
         "                logs, also rotated (.gz) or systemd's own (.journal). - is\n"
         "                standard input: journalctl -u fedpush -o cat | fedpush trace …\n"
         "  --since TIME  nothing of the log that is longer ago: 90s, 15m, 24h, 7d\n"
         "  --json        for programs: activity, inboxes, cut, logs\n"
         "\n"
         "The log has what failed, and what was delivered if FEDPUSH_LOG_DELIVERIES says\n"
         "so. gone: it has that it failed and would be tried again, but no job is left.\n"},
    [COMMAND_ALERT] =
        {"alert", "[--test] [--json]", "what admins are alerted of; or a test of the alerts",
         "Lists the alerts that fire. Ends with 0 when there is none, 1 when there is one\n"
         "or nobody looks after them. One admin process of the fleet tells\n"
         "FEDPUSH_ALERT_MAIL, by Mastodon's SMTP_… settings, and FEDPUSH_ALERT_WEBHOOK:\n"
         "what fires within half a minute at once, again after four hours, and when it\n"
         "is over; at most 20 mails an hour.\n"
         "\n"
         "  --test  tell each of them that this is a test; ends with 0 when all took it\n"
         "  --json  for programs\n"},
    [COMMAND_REHEARSE] =
        {"rehearse", "[--sample N] [--watch SECONDS] [--json]",
         "show what `run` would do, and do nothing",
         "Looks at jobs that wait in the queue and in `retry`, and where there are too\n"
         "few, at random local senders and known inboxes: native or handed off, host\n"
         "available or not, name resolved, followers counted where the post is for\n"
         "them only, the request, and whether a signature of both schemes holds with\n"
         "the public key. Nothing is taken, sent or written. Ends with 0 only when\n"
         "nothing is wrong.\n"
         "\n"
         "  --sample N       jobs to look at; 20 unless told, at most 500\n"
         "  --watch SECONDS  also look at what passes through the queue meanwhile\n"
         "  --json           for programs\n"},
    [COMMAND_DELIVER] = {"deliver", "--account NAME --inbox URL FILE [--send] [--json]",
                         "show or send one signed delivery",
                         "Signs the content of FILE as the local account NAME and prints the\n"
                         "request. Nothing leaves this machine without --send. The signature\n"
                         "is valid for minutes: do not show it around for that long.\n"
                         "\n"
                         "  --send  send it, and show the answer; ends with 0 for a 2xx\n"
                         "  --json  for programs: request, and answer or null\n"},
    [COMMAND_HANDBACK] = {"handback", "[--own | IDENTITY...] [--json]",
                          "return jobs of ended fedpush processes to their queue",
                          "Without arguments: those of all processes whose last beat is over 60 s\n"
                          "old. Living ones keep theirs. Needs Redis only.\n"
                          "\n"
                          "  --own     those of this machine (FEDPUSH_RUNTIME_DIR), at once;\n"
                          "            `fedpush run` must have ended\n"
                          "  IDENTITY  those of these, as `fedpush status` names them\n"
                          "  --json    for programs: ok, items\n"},
    [COMMAND_PASSWORD] =
        {"password", "", "make the setting for the page's login",
         "Asks for a password twice, or reads one line when standard input is no\n"
         "terminal, and prints FEDPUSH_ADMIN_PASSWORD_HASH=… for the configuration.\n"
         "`fedpush run` must be restarted then. Needs no configuration.\n"},
    [COMMAND_TOKEN] =
        {"token", "ACTION [NAME] [OPTIONS]", "tokens of the API, for programs",
         "A program shows one as `Authorization: Bearer fp_…`. It is shown once, and\n"
         "known by its hash afterwards. Needs Redis only.\n"
         "\n"
         "  create NAME [--full] [--json]\n"
         "      one that may read, or with --full do all that the page can\n"
         "  list [--json]\n"
         "      each with its right and who made it\n"
         "  revoke NAME [--json]\n"
         "      at once, on all machines\n"},
    [COMMAND_COMPLETION] = {"completion", "bash|zsh|fish", "print what completes a command line",
                            "Packages install it; by hand, for bash:\n"
                            "source <(fedpush completion bash)\n"
                            "\n"
                            "  bash\n"
                            "  zsh\n"
                            "  fish\n"},
    [COMMAND_MANUAL] = {"manual", "", "print the source of the man page",
                        "Packages install it; by hand: fedpush manual | man -l -\n"},
    [COMMAND_VERSION] = {"version", "[--json]", "print the versions of fedpush and its libraries",
                         "Also as `fedpush --version`.\n"
                         "\n"
                         "  --json  for programs\n"},
};

const struct command_usage *usage_of(enum command_name command)
{
    return &commands[command];
}

enum command_name usage_find(struct str name)
{
    unsigned i = 0;

    while (i < COMMAND_COUNT && !str_equal(str_of(commands[i].name), name))
        i++;
    return (enum command_name)i;
}

static void put_synopsis(struct buf *out, const struct command_usage *command)
{
    buf_printf(out, "Usage: fedpush [--mastodon DIR] %s%s%s\n", command->name,
               command->arguments[0] != '\0' ? " " : "", command->arguments);
}

void usage_overview(struct buf *out)
{
    buf_put_str(out, STR("Usage: fedpush [--mastodon DIR] COMMAND [ARGUMENTS]\n"
                         "\n"
                         "Delivers Mastodon's posts to other servers, beside an unchanged "
                         "Mastodon.\n"
                         "\n"
                         "Commands:\n"));
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        buf_printf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    buf_put_str(out, STR("\n"
                         "  --mastodon DIR  Mastodon's directory: its .env.production and version "
                         "are read\n"
                         "\n"
                         "`fedpush COMMAND --help` tells more; `fedpush run --help` lists the "
                         "settings.\n"));
}

void usage_command(struct buf *out, enum command_name command)
{
    put_synopsis(out, &commands[command]);
    buf_printf(out, "\n%s", commands[command].details);
    if (command != COMMAND_RUN)
        return;
    buf_put_str(out, STR("\nSettings, from the environment or Mastodon's .env.production:\n\n"));
    config_help(out);
}
