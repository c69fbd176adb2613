#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/maria_private.h"

/*
 * The state of a session that quoting and the pool count on. What is taken out of sql_mode are the
 * modes that change how quotes, backslashes and '' are read, and the names that stand for a group
 * of modes with the first of them in it.
 */
/* clang-format off */
#define WITHOUT(mode, text) "REPLACE(" text ", '," mode ",', '')"
#define WITHOUT_READING(text) \
    WITHOUT("ANSI_QUOTES", WITHOUT("NO_BACKSLASH_ESCAPES", WITHOUT("EMPTY_STRING_IS_NULL", text)))
#define WITHOUT_GROUPS(text) \
    WITHOUT("ANSI", WITHOUT("DB2", WITHOUT("MAXDB", \
    WITHOUT("MSSQL", WITHOUT("ORACLE", WITHOUT("POSTGRESQL", text))))))

static const char maria_session_sql[] =
    "SET NAMES utf8mb4;"
    "SET SESSION autocommit = 1, SESSION time_zone = '+00:00', SESSION sql_mode = CONCAT("
    WITHOUT_READING(WITHOUT_GROUPS("CONCAT(',', REPLACE(@@SESSION.sql_mode, ',', ',,'), ',')"))
    ", ',STRICT_ALL_TABLES');"
    "SELECT CONNECTION_ID(), @@max_allowed_packet, CONCAT_WS(':', @@hostname, @@port, @@server_id), "
    "FIND_IN_SET('ANSI_QUOTES', @@SESSION.sql_mode) + "
    "FIND_IN_SET('NO_BACKSLASH_ESCAPES', @@SESSION.sql_mode) + "
    "FIND_IN_SET('EMPTY_STRING_IS_NULL', @@SESSION.sql_mode)";
/* clang-format on */

enum {
    MARIA_SESSION_STATEMENTS = 3,
};

/* False: the session is not what it was told to be. */
static bool maria_session_take(struct maria_conn *conn, const struct maria_results *results)
{
    const struct maria_result *last = &results->results[MARIA_SESSION_STATEMENTS - 1];
    const char *values[4];

    if (results->count != MARIA_SESSION_STATEMENTS || last->rows != 1 || last->columns != 4)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        values[i] = maria_value(last, 0, i, NULL);
        if (values[i] == NULL)
            return false;
    }
    conn->session_id = strtoul(values[0], NULL, 10);
    conn->packet_max = strtoul(values[1], NULL, 10);
    snprintf(conn->server, sizeof(conn->server), "%s", values[2]);
    return strcmp(values[3], "0") == 0;
}

static void maria_session_end(struct maria_conn *conn, struct err *err)
{
    if (maria_reset_is_on(conn)) {
        maria_reset_end(conn, err);
    } else if (err == NULL) {
        maria_connect_succeed(conn);
    } else {
        err_prefix(err, "cannot connect");
        maria_connect_fail(conn, err);
    }
}

static void maria_session_on_done(struct op *op, int rc)
{
    struct maria_conn *conn = container_of(op, struct maria_conn, own_op);
    bool good = rc == 0 && maria_session_take(conn, &conn->own_out);
    struct err err = op->err;

    maria_results_free(&conn->own_out);
    if (conn->closing)
        return;
    if (good) {
        maria_session_end(conn, NULL);
        return;
    }
    if (rc == 0)
        err_set(&err, ERR_UNREACHABLE, "the session is not as it was set");
    else if (rc != ERR_NOMEM)
        err.code = ERR_UNREACHABLE;
    maria_session_end(conn, &err);
}

void maria_session_start(struct maria_conn *conn)
{
    uint64_t now = maria_conn_sched(conn)->now_ms;
    uint64_t left = 0;

    if (conn->connect_until_ms > 0)
        left = conn->connect_until_ms > now ? conn->connect_until_ms - now : 1;
    op_init(&conn->own_op, maria_session_on_done);
    if (maria_query(conn, &conn->own_op, maria_session_sql, sizeof(maria_session_sql) - 1, left,
                    &conn->own_out) != 0)
        maria_session_end(conn, &conn->own_op.err);
}
