#include <string.h>

#include "driver/pg_private.h"

enum {
    PG_ERROR_TEXT_MAX = 4 * ERR_TEXT_MAX, /* bytes, before they are cut to what an error holds */
};

struct pg_reason {
    const char *sign; /* SQLSTATE, or a part of libpq's own message */
    const char *text;
};

/* What a server or a pooler answers to a login. */
static const struct pg_reason pg_login_reasons[] = {
    {"28P01", "authentication failed (wrong user name or password)"},
    {"28000", "authentication failed (the server does not accept this login)"},
    {"3D000", "the database does not exist"},
    {"53300", "too many connections"},
    {"57P01", "the server is shutting down"},
    {"57P03", "the database system is starting up or shutting down"},
    {"42501", "permission to connect was denied"},
    {"08P01", "the server or pooler refused the login"},
};

/* What libpq says by itself. The first that is found counts, so the specific ones come first. */
static const struct pg_reason pg_client_reasons[] = {
    {"server does not support SSL", "TLS is required by sslmode and the server does not offer it"},
    {"root certificate file", "the root certificate file for sslmode is missing"},
    {"certificate verify failed", "the server's certificate could not be verified"},
    {"server certificate for", "the server's certificate is for another host name"},
    {"host name in certificate", "the server's certificate is for another host name"},
    {"no password supplied", "the server asks for a password and none is set"},
    {"SSL", "the TLS handshake failed"},
    {"certificate", "the TLS handshake failed"},
    {"invalid sslmode", "sslmode is not valid"},
    {"invalid port", "the port is not valid"},
    {"authentication method", "the server asks for an authentication that is not supported"},
    {"SCRAM", "authentication failed (SCRAM exchange)"},
    {"Connection refused", "connection refused"},
    {"timeout expired", "timed out"},
    {"timed out", "timed out"},
    {"No such file or directory", "there is no server socket in the socket folder"},
    {"Permission denied", "the socket may not be opened"},
    {"No route to host", "no route to the host"},
    {"unreachable", "the network is unreachable"},
    {"reset by peer", "the server closed the connection during the login"},
    {"closed the connection", "the server closed the connection during the login"},
    {"out of memory", "out of memory"},
};

/* The SQLSTATE of the last "FATAL:  28P01" in what libpq gathered over all addresses tried. */
static bool pg_find_sqlstate(const char *message, char out[6])
{
    const char *at = message;
    bool found = false;

    while ((at = strstr(at, "FATAL:  ")) != NULL) {
        at += strlen("FATAL:  ");
        if (strspn(at, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5) {
            memcpy(out, at, 5);
            out[5] = '\0';
            found = true;
        }
    }
    return found;
}

static const char *pg_find_reason(const struct pg_reason *reasons, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(text, reasons[i].sign) != NULL)
            return reasons[i].text;
    return NULL;
}

int pg_error_of_connect(const char *message, struct err *err)
{
    char sqlstate[6] = "";
    const char *reason;

    if (!pg_find_sqlstate(message, sqlstate)) {
        reason = pg_find_reason(pg_client_reasons, ARRAY_SIZE(pg_client_reasons), message);
        return err_set(err, ERR_UNREACHABLE, "cannot connect: %s",
                       reason != NULL ? reason : "the connection failed");
    }
    reason = pg_find_reason(pg_login_reasons, ARRAY_SIZE(pg_login_reasons), sqlstate);
    err_set(err, ERR_UNREACHABLE, "cannot connect: %s (SQLSTATE %s)",
            reason != NULL ? reason : "the server refused the login", sqlstate);
    memcpy(err->sqlstate, sqlstate, sizeof(err->sqlstate));
    return err->code;
}

bool pg_error_is_crowded(const struct err *err)
{
    return strcmp(err->sqlstate, "53300") == 0;
}

static const char *pg_field(const PGresult *result, int field)
{
    const char *text = PQresultErrorField(result, field);

    return text != NULL ? text : "";
}

static void pg_put_field(struct buf *text, const char *name, const char *value)
{
    if (value[0] != '\0')
        buf_printf(text, " %s: %s", name, value);
}

int pg_error_of_result(const PGresult *result, int code, struct err *err)
{
    const char *sqlstate = pg_field(result, PG_DIAG_SQLSTATE);
    const char *severity = pg_field(result, PG_DIAG_SEVERITY);
    struct buf text;

    buf_init(&text, PG_ERROR_TEXT_MAX);
    buf_printf(&text, "%s: %s", severity[0] != '\0' ? severity : "ERROR",
               pg_field(result, PG_DIAG_MESSAGE_PRIMARY));
    if (sqlstate[0] != '\0')
        buf_printf(&text, " (SQLSTATE %s)", sqlstate);
    pg_put_field(&text, "DETAIL", pg_field(result, PG_DIAG_MESSAGE_DETAIL));
    pg_put_field(&text, "HINT", pg_field(result, PG_DIAG_MESSAGE_HINT));
    pg_put_field(&text, "CONTEXT", pg_field(result, PG_DIAG_CONTEXT));
    err_set(err, code, "%s", buf_str(&text));
    buf_free(&text);
    if (strlen(sqlstate) < sizeof(err->sqlstate))
        memcpy(err->sqlstate, sqlstate, strlen(sqlstate) + 1);
    return code;
}
