#include <errmsg.h>
#include <mysqld_error.h>
#include <string.h>

#include "base/utf8.h"
#include "driver/maria_private.h"

/* Numbers that only one of the two servers has, or that this connector does not name. */
enum {
    MARIA_ER_CONNECTION_KILLED = 1927,
    MARIA_ER_SESSION_WAS_KILLED = 3169,
    MARIA_ER_CLIENT_INTERACTION_TIMEOUT = 4031,
    MARIA_ER_ACCESS_DENIED_NO_PASSWORD = 1698,
    MARIA_ER_ACCOUNT_LOCKED = 4151,
    MARIA_ER_ACCOUNT_LOCKED_MYSQL = 3118,
    MARIA_ER_SECURE_TRANSPORT = 3159,
    MARIA_ER_PASSWORD_EXPIRED = 1862,
};

struct maria_reason {
    unsigned number;
    const char *sign; /* a part of the message, "" for any */
    const char *text;
};

/* The first that fits counts. The connector puts the system's number in brackets behind 2002 and
 * 2003. */
static const struct maria_reason maria_reasons[] = {
    {ER_ACCESS_DENIED_ERROR, "", "authentication failed (wrong user name or password)"},
    {MARIA_ER_ACCESS_DENIED_NO_PASSWORD, "",
     "authentication failed (the server does not accept this login)"},
    {MARIA_ER_ACCOUNT_LOCKED, "", "authentication failed (the account is locked)"},
    {MARIA_ER_ACCOUNT_LOCKED_MYSQL, "", "authentication failed (the account is locked)"},
    {MARIA_ER_PASSWORD_EXPIRED, "", "authentication failed (the password has expired)"},
    {ER_HOST_NOT_PRIVILEGED, "", "the server does not accept connections from here"},
    {ER_HOST_IS_BLOCKED, "", "the server blocks connections from here after too many errors"},
    {MARIA_ER_SECURE_TRANSPORT, "", "the server asks for TLS"},
    {ER_DBACCESS_DENIED_ERROR, "", "permission to use the database was denied"},
    {ER_BAD_DB_ERROR, "", "the database does not exist"},
    {ER_CON_COUNT_ERROR, "", "too many connections"},
    {ER_TOO_MANY_USER_CONNECTIONS, "", "too many connections of this user"},
    {ER_USER_LIMIT_REACHED, "", "too many connections of this user"},
    {ER_SERVER_SHUTDOWN, "", "the server is shutting down"},
    {CR_CONNECTION_ERROR, "(2)", "there is no server socket at this path"},
    {CR_CONNECTION_ERROR, "(13)", "the socket may not be opened"},
    {CR_CONNECTION_ERROR, "(111)", "connection refused"},
    {CR_CONN_HOST_ERROR, "(111)", "connection refused"},
    {CR_CONN_HOST_ERROR, "(110)", "timed out"},
    {CR_CONN_HOST_ERROR, "(113)", "no route to the host"},
    {CR_CONN_HOST_ERROR, "(101)", "the network is unreachable"},
    {CR_SSL_CONNECTION_ERROR, "not support",
     "TLS is required by sslmode and the server does not offer it"},
    {CR_SSL_CONNECTION_ERROR, "Validation of", "the server's certificate is for another host name"},
    {CR_SSL_CONNECTION_ERROR, "certificate", "the server's certificate could not be verified"},
    {CR_SSL_CONNECTION_ERROR, "No such file", "the root certificate file for sslmode is missing"},
    {CR_SSL_CONNECTION_ERROR, "", "the TLS handshake failed"},
    {CR_SERVER_LOST, "", "the server closed the connection during the login"},
    {CR_SERVER_GONE_ERROR, "", "the server closed the connection during the login"},
    {CR_AUTH_PLUGIN_CANNOT_LOAD, "", "the server asks for an authentication that is not supported"},
    {CR_AUTH_PLUGIN_ERR, "", "the server asks for an authentication that is not supported"},
    {CR_VERSION_ERROR, "", "the server speaks another protocol"},
    {CR_OUT_OF_MEMORY, "", "out of memory"},
};

static const char *maria_find_reason(unsigned number, const char *message)
{
    for (size_t i = 0; i < ARRAY_SIZE(maria_reasons); i++)
        if (maria_reasons[i].number == number && strstr(message, maria_reasons[i].sign) != NULL)
            return maria_reasons[i].text;
    return NULL;
}

static bool maria_error_is_own(unsigned number)
{
    return (number >= CR_MIN_ERROR && number <= CR_MAX_ERROR) ||
           (number >= CER_MIN_ERROR && number <= CER_MAX_ERROR);
}

static void maria_error_set_sqlstate(MYSQL *my, struct err *err)
{
    const char *sqlstate = mysql_sqlstate(my);

    if (strlen(sqlstate) < sizeof(err->sqlstate))
        memcpy(err->sqlstate, sqlstate, strlen(sqlstate) + 1);
}

int maria_error_of_connect(MYSQL *my, struct err *err)
{
    unsigned number = mysql_errno(my);
    const char *reason = maria_find_reason(number, mysql_error(my));
    int code = number == CR_OUT_OF_MEMORY ? ERR_NOMEM : ERR_UNREACHABLE;

    if (maria_error_is_own(number))
        return err_set(err, code, "cannot connect: %s",
                       reason != NULL ? reason : "the connection failed");
    err_set(err, code, "cannot connect: %s (error %u)",
            reason != NULL ? reason : "the server refused the login", number);
    maria_error_set_sqlstate(my, err);
    return code;
}

bool maria_error_is_crowded(const struct err *err)
{
    return strstr(err->text, "too many connections") != NULL;
}

bool maria_error_is_fatal(unsigned number)
{
    switch (number) {
    case ER_SERVER_SHUTDOWN:
    case ER_FORCING_CLOSE:
    case ER_ABORTING_CONNECTION:
    case ER_NEW_ABORTING_CONNECTION:
    case ER_NET_PACKET_TOO_LARGE: /* the server does not read the rest of it */
    case ER_NET_PACKETS_OUT_OF_ORDER:
    case MARIA_ER_CONNECTION_KILLED:
    case MARIA_ER_SESSION_WAS_KILLED:
    case MARIA_ER_CLIENT_INTERACTION_TIMEOUT:
        return true;
    default:
        return maria_error_is_own(number);
    }
}

/* A user as the servers name one: 'name'@'host'. Where it ends, or NULL if there is none at
 * `text`. */
static const char *maria_find_account_end(const char *text)
{
    const char *at = text[0] == '\'' ? strstr(text + 1, "'@'") : NULL;
    const char *end = at != NULL ? strchr(at + 3, '\'') : NULL;

    return end != NULL ? end + 1 : NULL;
}

/* The message without the account that it names. */
static void maria_put_message(struct buf *text, const char *message)
{
    static const char sign[] = "user '";
    const char *found = strstr(message, sign);
    const char *end = found != NULL ? maria_find_account_end(found + strlen(sign) - 1) : NULL;

    if (end == NULL) {
        buf_puts(text, message);
        return;
    }
    buf_append(text, message, (size_t)(found - message));
    buf_puts(text, "this user");
    buf_puts(text, end);
}

int maria_error_of_query(MYSQL *my, int code, struct err *err)
{
    struct buf text;

    buf_init(&text, 2 * MYSQL_ERRMSG_SIZE);
    maria_put_message(&text, mysql_error(my));
    err_set(err, code, "%s (error %u, SQLSTATE %s)", buf_str(&text), mysql_errno(my),
            mysql_sqlstate(my));
    buf_free(&text);
    maria_error_set_sqlstate(my, err);
    return code;
}
