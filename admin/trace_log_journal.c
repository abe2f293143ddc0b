#include "admin/trace_log_source.h"

#include <stdio.h>
#include <string.h>
#include <systemd/sd-journal.h>

enum { TELL_EACH = 10000 };

static void note(struct trace_log_source *source, const char *text)
{
    snprintf(source->problem, sizeof(source->problem), "%s", text);
}

/* What the unit logs, and what runs as fedpush in another one. */
static bool match(sd_journal *journal)
{
    return sd_journal_add_match(journal, "_SYSTEMD_UNIT=fedpush.service", 0) >= 0 &&
           sd_journal_add_disjunction(journal) >= 0 &&
           sd_journal_add_match(journal, "SYSLOG_IDENTIFIER=fedpush", 0) >= 0;
}

static void tell(const struct trace_log_source *source, sd_journal *journal)
{
    uint64_t at_us;
    int64_t since_ms = source->lines->since_ms;

    if (source->lines->lines % TELL_EACH == 0 && since_ms > 0 && since_ms < source->now_ms &&
        sd_journal_get_realtime_usec(journal, &at_us) >= 0)
        source->progress(source->arg, ((double)at_us / 1000 - (double)since_ms) /
                                          (double)(source->now_ms - since_ms));
}

/* The line of one entry; false: no more are looked at. */
static bool take_entry(const struct trace_log_source *source, sd_journal *journal)
{
    static const struct str field = {"MESSAGE=", 8};
    const void *bytes;
    size_t length;

    if (sd_journal_get_data(journal, "MESSAGE", &bytes, &length) < 0)
        return true; /* it has none, or that part of the file is broken */
    struct str line = {bytes, length};
    tell(source, journal);
    return !str_starts_with(line, field) ||
           trace_log_lines_take(source->lines, str_slice(line, field.len));
}

static void read_all(struct trace_log_source *source, sd_journal *journal)
{
    int64_t since_ms = source->lines->since_ms;
    int code = since_ms > 0 ? sd_journal_seek_realtime_usec(journal, (uint64_t)since_ms * 1000)
                            : sd_journal_seek_head(journal);

    while (code >= 0 && (code = sd_journal_next(journal)) > 0) {
        if (!take_entry(source, journal))
            break;
    }
    if (code < 0)
        snprintf(source->problem, sizeof(source->problem),
                 "it couldn't be read to its end: %s; what came before counts; journalctl "
                 "--verify tells more",
                 strerror(-code));
    else if (source->lines->lines == 0 && source->name != NULL)
        note(source, "nothing of fedpush is in it");
    else if (source->lines->lines == 0)
        note(source, "nothing of fedpush is in it since then: look further back with --since "
                     "TIME, or give the log with --log FILE");
}

static bool open_named(const char *name, sd_journal **journal, struct err *err)
{
    const char *paths[] = {name, NULL};
    int code = sd_journal_open_files(journal, paths, 0);

    if (code < 0)
        err_set(err, FP_INVALID, "trace: %s: %s", name, strerror(-code));
    return code >= 0;
}

/* False: there is none that may be read. */
static bool open_own(struct trace_log_source *source, sd_journal **journal)
{
    int code = sd_journal_open(journal, SD_JOURNAL_SYSTEM);

    /* Files that may not be read are left out silently. */
    if (code >= 0 && (sd_journal_has_persistent_files(*journal) > 0 ||
                      sd_journal_has_runtime_files(*journal) > 0))
        return true;
    if (code >= 0)
        sd_journal_close(*journal);
    note(source, "no journal can be read here: run it as root or in the group systemd-journal, or "
                 "give the log with --log FILE");
    return false;
}

bool trace_log_journal(struct trace_log_source *source, struct err *err)
{
    sd_journal *journal = NULL;

    if (source->name != NULL) {
        if (!open_named(source->name, &journal, err))
            return false;
    } else if (!open_own(source, &journal)) {
        return true;
    }
    if (match(journal))
        read_all(source, journal);
    else
        note(source, "the library of systemd refuses to search it: give the log with --log FILE");
    sd_journal_close(journal);
    return true;
}
