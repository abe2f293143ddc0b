/*
 * Text that strangers wrote (hosts, status lines, names of certificates, errors), made harmless for
 * where it is shown. Whoever shows such text puts it out through here.
 *
 * Hostile in every sink: control characters (C0, DEL, C1), line and paragraph separators, what
 * turns the direction of text or can't be seen (bidirectional marks, zero width, tags), and what
 * isn't UTF-8. What comes out is UTF-8 of one line, and it holds none of these.
 */
#ifndef FEDPUSH_BASE_ESCAPE_H
#define FEDPUSH_BASE_ESCAPE_H

#include "base/str.h"

enum escape_sink {
    /* Inside the quotes of a log's value: hostile ones as \x1b (a byte) or \u202e, and \" and \\.
     */
    ESCAPE_LOG = 0,
    ESCAPE_TERMINAL,    /* hostile ones as '?' */
    ESCAPE_MAIL_HEADER, /* printable ASCII; everything else as '?' */
    ESCAPE_MAIL_BODY,   /* as for a terminal */
    /* A whole field with its quotes. What a spreadsheet would take for a formula gets a ' in front.
     */
    ESCAPE_CSV,
    ESCAPE_LABEL, /* inside the quotes of a Prometheus label: hostile ones as '?', \" and \\ */
    ESCAPE_JSON,  /* before a JSON library escapes it: as for a terminal, on which it may end up */
    ESCAPE_SINKS
};

/* Appends `text`, cut at a character so that it takes at most max_columns columns of a terminal
 * (wide characters take two, an escape one, quotes none). Returns how many it took. */
size_t escape_put(struct buf *out, struct str text, enum escape_sink sink, size_t max_columns);

#endif
