/*
 * The terminal while a program has all of it: the alternate screen, keys one by one, no echo.
 * However the process ends, the terminal is given back as it was: by terminal_leave, or by the
 * handlers of the signals that end it (SIGKILL apart).
 */
#ifndef FEDPUSH_ADMIN_TERMINAL_H
#define FEDPUSH_ADMIN_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

/* Standard input and output are one, and it knows how to move a cursor. */
bool terminal_is_here(void);
/* NO_COLOR isn't set. */
bool terminal_wants_colour(void);
/* False: it refuses. Standard input and output are used. */
bool terminal_enter(void);
void terminal_leave(void); /* may be called again */
void terminal_size(size_t *columns, size_t *rows);

#endif
