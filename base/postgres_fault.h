/*
 * What PostgreSQL refused, as one line for people: never a value, parameter or password.
 */
#ifndef FEDPUSH_BASE_POSTGRES_FAULT_H
#define FEDPUSH_BASE_POSTGRES_FAULT_H

#include <libpq-fe.h>
#include <stddef.h>

#include "base/str.h"

enum { POSTGRES_FAULT_BYTES = 512 };

/* Why a connection failed, and what to do. Wants PQERRORS_VERBOSE, which puts the SQLSTATE into the
 * message: libpq has no other way to learn it before a connection stands. False: it is no refusal
 * of the server's; it was not reached. */
bool postgres_fault_connect(char out[POSTGRES_FAULT_BYTES], const PGconn *conn);
/* SQLSTATE and primary message of an error result. */
void postgres_fault_statement(char out[POSTGRES_FAULT_BYTES], const PGresult *result);
/* "" when the result carries none. */
const char *postgres_sqlstate(const PGresult *result);
/* The session is of no further use: the server ends, or accepts no writes any more. */
bool postgres_fault_ends_session(const char *sqlstate);

#endif
