#include "base/postgres_fault.h"

#include <stdio.h>
#include <string.h>

enum { SQLSTATE_LEN = 5 };

static const struct {
    const char *sqlstate; /* or its beginning */
    const char *remedy;
} remedies[] = {
    {"28P01", "check user and password (DB_USER and DB_PASS, or the database URL)"},
    {"28000", "allow this user, database and address in pg_hba.conf, and check DB_USER"},
    {"3D000", "check the database's name (DB_NAME, or the database URL)"},
    {"42501", "GRANT CONNECT ON DATABASE … TO this user"},
    {"53300", "raise max_connections, or give the role more connections"},
    {"57P03", "the server is starting or stopping; trying again"},
    {"57P", "the server is stopping; trying again"},
    {"08", "check the server's, or the pooler's, log; trying again"},
};

static bool is_sqlstate(const char *text)
{
    for (size_t i = 0; i < SQLSTATE_LEN; i++) {
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'A' && text[i] <= 'Z')))
            return false;
    }
    return true;
}

/* "FATAL:  28P01: password …": the severity may be in any language, so the blanks are the mark. */
static const char *find_sqlstate(const char *message)
{
    for (const char *at = strstr(message, ":  "); at != NULL; at = strstr(at + 1, ":  ")) {
        if (is_sqlstate(at + 3) && at[3 + SQLSTATE_LEN] == ':')
            return at + 3;
    }
    return NULL;
}

static const char *remedy_for(const char *sqlstate)
{
    for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++) {
        if (strncmp(sqlstate, remedies[i].sqlstate, strlen(remedies[i].sqlstate)) == 0)
            return remedies[i].remedy;
    }
    return "see the server's log";
}

/* The first line, without control bytes. */
static int line_length(const char *text)
{
    return (int)strcspn(text, "\r\n\t");
}

bool postgres_fault_connect(char out[POSTGRES_FAULT_BYTES], const PGconn *conn)
{
    const char *message = PQerrorMessage(conn);
    const char *sqlstate = find_sqlstate(message);

    if (sqlstate == NULL) {
        const char *remedy = "check host and port, and that the server runs";
        bool spoke = true;
        if (PQconnectionNeedsPassword(conn))
            remedy = "set the password (DB_PASS, or the database URL)";
        else if (strstr(message, "certificate") != NULL || strstr(message, "SSL") != NULL)
            remedy = "check sslmode and sslrootcert";
        else if (strstr(message, "session is") != NULL ||
                 strstr(message, "hot standby mode") != NULL)
            remedy = "connect to the primary, or check target_session_attrs";
        else
            spoke = false;
        if (message[0] == '\0')
            message = "connection failed";
        snprintf(out, POSTGRES_FAULT_BYTES, "%.*s: %s", line_length(message), message, remedy);
        return spoke;
    }
    const char *text = sqlstate + SQLSTATE_LEN + 1;
    text += strspn(text, " ");
    snprintf(out, POSTGRES_FAULT_BYTES, "%.*s (SQLSTATE %.5s): %s", line_length(text), text,
             sqlstate, remedy_for(sqlstate));
    return true;
}

const char *postgres_sqlstate(const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return sqlstate != NULL ? sqlstate : "";
}

void postgres_fault_statement(char out[POSTGRES_FAULT_BYTES], const PGresult *result)
{
    const char *sqlstate = postgres_sqlstate(result);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    /* Messages of class 22 quote the value that they refuse. */
    if (text == NULL || strncmp(sqlstate, "22", 2) == 0)
        text = "a value was refused";
    snprintf(out, POSTGRES_FAULT_BYTES, "%.*s (SQLSTATE %.5s)", line_length(text), text,
             sqlstate[0] != '\0' ? sqlstate : "?");
}

bool postgres_fault_ends_session(const char *sqlstate)
{
    /* libpq's own errors, of a lost connection, carry none. */
    return sqlstate[0] == '\0' || strncmp(sqlstate, "08", 2) == 0 ||
           strcmp(sqlstate, "25006") == 0 || strcmp(sqlstate, "57P01") == 0 ||
           strcmp(sqlstate, "57P02") == 0 || strcmp(sqlstate, "57P03") == 0;
}
