/*
 * The commands of the CLI. Each gets the loaded configuration and what followed its name on the
 * command line, prints to standard output, errors as one line to standard error, and returns the
 * exit code. They may wait: each runs a loop of its own until done.
 */
#ifndef FEDPUSH_ADMIN_COMMANDS_H
#define FEDPUSH_ADMIN_COMMANDS_H

#include "base/config.h"

int command_check(const struct config *config, int argc,
                  char **argv); /* 0 only if `run` would work */
int command_setup(const struct config *config, int argc,
                  char **argv); /* schema `fedpush`; or prints rights to review */
int command_stats(const struct config *config, int argc, char **argv); /* [HOST] [OPTIONS] */
int command_status(const struct config *config, int argc,
                   char **argv); /* [--json]: 0 good, 1 warning, 2 critical */
int command_handback(const struct config *config, int argc,
                     char **argv); /* [--own] [IDENTITY…]: claims back to the queue */
int command_pause(const struct config *config, int argc,
                  char **argv); /* [--machine NAME] [--for TIME] */
int command_resume(const struct config *config, int argc, char **argv); /* [--machine NAME] */
int command_drain(const struct config *config, int argc, char **argv);  /* [--machine NAME] */
int command_top(const struct config *config, int argc, char **argv);
/* [--domain DOMAIN] [--class CLASS] [--json] */
int command_jobs(const struct config *config, int argc, char **argv);
int command_trace(const struct config *config, int argc, char **argv);  /* ACTIVITY [--json] */
int command_alert(const struct config *config, int argc, char **argv);  /* [--test] [--json] */
int command_domain(const struct config *config, int argc, char **argv); /* ACTION [DOMAIN] … */
int command_token(const struct config *config, int argc,
                  char **argv); /* create NAME [--full], list [--json], revoke NAME */
int command_password(int argc); /* needs no configuration: asks, and prints a line for it */

#endif
