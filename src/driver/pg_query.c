#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "driver/pg_private.h"

enum {
    PG_NOTICES_MAX = 64 * 1024,
    PG_CANCEL_GRACE_MS = 200,
    PG_CANCEL_AGAIN_MS = 500,
};

static void pg_query_finish(struct pg_conn *conn)
{
    struct op *op = conn->op;
    int rc = conn->rc;

    sched_stop_timer(pg_conn_sched(conn), &conn->timer);
    sched_stop_timer(pg_conn_sched(conn), &conn->again);
    conn->op = NULL;
    conn->out = NULL;
    pg_conn_move(conn, PG_LENT);
    op_finish(op, rc);
}

static void pg_query_on_grace(struct timer *timer)
{
    struct pg_conn *conn = container_of(timer, struct pg_conn, timer);

    pg_cancel_leave(conn);
    pg_query_finish(conn);
}

static void pg_query_on_again(struct timer *timer)
{
    struct pg_conn *conn = container_of(timer, struct pg_conn, again);

    if (!conn->ended && conn->cancel == NULL)
        pg_cancel_start(conn);
}

/* One that overtook its query found nothing to cancel. */
void pg_query_on_cancel_done(struct pg_conn *conn)
{
    if (conn->ended) {
        pg_query_finish(conn);
    } else {
        conn->again.fire = pg_query_on_again;
        sched_start_timer(pg_conn_sched(conn), &conn->again, PG_CANCEL_AGAIN_MS);
    }
}

/* A cancel request under way could still hit what is asked next on the connection, e.g. a ROLLBACK:
 * it is given a moment to end. */
static void pg_query_try_finish(struct pg_conn *conn)
{
    if (!pg_cancel_drop(conn)) {
        pg_query_finish(conn);
    } else if (conn->broken) {
        pg_cancel_leave(conn);
        pg_query_finish(conn);
    } else {
        conn->timer.fire = pg_query_on_grace;
        sched_start_timer(pg_conn_sched(conn), &conn->timer, PG_CANCEL_GRACE_MS);
    }
}

/* The first failure is the reason; behind it libpq may add that the connection ended. */
static const PGresult *pg_query_failed_result(const struct pg_results *out)
{
    for (size_t i = 0; i < out->count; i++)
        if (PQresultStatus(out->results[i]) == PGRES_FATAL_ERROR)
            return out->results[i];
    return NULL;
}

/* What the server or the socket had to say, as the outcome of the whole query. */
static int pg_query_judge(struct pg_conn *conn)
{
    const PGresult *failed = pg_query_failed_result(conn->out);
    struct err *err = &conn->op->err;
    const char *sqlstate;

    if (conn->timed_out)
        return err_set(err, ERR_TIMEOUT, "no answer from the database in time");
    if (conn->broken) {
        if (failed == NULL || PQresultErrorField(failed, PG_DIAG_SQLSTATE) == NULL)
            return err_set(err, ERR_UNREACHABLE, "the connection to the database was lost");
        return pg_error_of_result(failed, ERR_UNREACHABLE, err);
    }
    if (conn->rc != 0 || failed == NULL)
        return conn->rc;
    sqlstate = PQresultErrorField(failed, PG_DIAG_SQLSTATE);
    if (conn->op->canceled && strcmp(sqlstate, "57014") == 0)
        return pg_error_of_result(failed, ERR_CANCELED, err);
    return pg_error_of_result(failed, ERR_DB, err);
}

static void pg_query_end(struct pg_conn *conn)
{
    sched_stop_timer(pg_conn_sched(conn), &conn->timer);
    conn->rc = pg_query_judge(conn);
    conn->ended = true;
    pg_query_try_finish(conn);
}

static int pg_results_reserve(struct pg_results *out)
{
    size_t cap = out->cap > 0 ? out->cap * 2 : 16;
    PGresult **results;

    if (out->count < out->cap)
        return 0;
    results = mem_realloc(out->results, cap * sizeof(PGresult *));
    if (results == NULL)
        return ERR_NOMEM;
    out->results = results;
    out->cap = cap;
    return 0;
}

/* A failure without SQLSTATE comes from libpq itself: what the server did is not known then. */
static void pg_query_keep(struct pg_conn *conn, PGresult *result)
{
    if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
        if (PQresultErrorField(result, PG_DIAG_SQLSTATE) == NULL)
            conn->broken = true;
        if (pg_query_failed_result(conn->out) != NULL) {
            PQclear(result); /* the failed statement stays the last one */
            return;
        }
    }
    if (pg_results_reserve(conn->out) != 0) {
        conn->rc = ERR_NOMEM;
        PQclear(result);
        return;
    }
    conn->out->results[conn->out->count++] = result;
}

/* COPY has no peer here: rows to the client are thrown away, rows from the client refused. True
 * when the copy is over. */
static bool pg_query_end_copy(struct pg_conn *conn, ExecStatusType status)
{
    char *row = NULL;
    int len;

    if (status == PGRES_COPY_IN)
        return PQputCopyEnd(conn->pq, "COPY FROM STDIN has no data here") != 0;
    while ((len = PQgetCopyData(conn->pq, &row, 1)) > 0)
        PQfreemem(row);
    return len != 0;
}

/* Takes over what has been parsed. True when the answer is complete. */
static bool pg_query_take_results(struct pg_conn *conn)
{
    while (!PQisBusy(conn->pq)) {
        PGresult *result = PQgetResult(conn->pq);
        ExecStatusType status = PQresultStatus(result);

        if (result == NULL)
            return true;
        if (status == PGRES_SINGLE_TUPLE) { /* only comes when nobody wants rows */
            PQclear(result);
            continue;
        }
        if (status != PGRES_COPY_IN && status != PGRES_COPY_OUT && status != PGRES_COPY_BOTH) {
            pg_query_keep(conn, result);
            continue;
        }
        PQclear(result);
        if (!pg_query_end_copy(conn, status))
            return false;
    }
    return false;
}

static bool pg_query_await(struct pg_conn *conn)
{
    int unsent = PQflush(conn->pq);

    return pg_conn_watch(conn, unsent > 0 ? UV_READABLE | UV_WRITABLE : UV_READABLE) == 0;
}

void pg_query_on_socket(struct pg_conn *conn)
{
    bool readable = PQconsumeInput(conn->pq) == 1;
    bool complete = pg_query_take_results(conn);

    if (!complete && readable && PQstatus(conn->pq) == CONNECTION_OK && !conn->broken &&
        pg_query_await(conn))
        return;
    if (!complete || PQstatus(conn->pq) != CONNECTION_OK)
        conn->broken = true;
    pg_query_end(conn);
}

static void pg_query_on_timer(struct timer *timer)
{
    struct pg_conn *conn = container_of(timer, struct pg_conn, timer);

    pg_conn_unwatch(conn);
    conn->timed_out = !conn->broken;
    conn->broken = true;
    pg_query_end(conn);
}

static void pg_query_cancel(struct op *op)
{
    struct pg_conn *conn = op->impl;

    if (!conn->ended)
        pg_cancel_start(conn);
}

/* What must be in place before anything is sent. */
static int pg_query_prepare(struct pg_conn *conn, struct op *op, struct pg_results *out)
{
    assert(conn->sm.state == PG_LENT);
    *out = (struct pg_results){.count = 0};
    buf_init(&out->notices, PG_NOTICES_MAX);
    if (conn->broken)
        return op_refuse(op, ERR_UNREACHABLE, "the connection to the database was lost");
    if (pg_results_reserve(out) != 0)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    pg_conn_unwatch(conn);
    conn->out = out;
    conn->ended = false;
    conn->timed_out = false;
    conn->rc = 0;
    return 0;
}

static int pg_query_refuse(struct pg_conn *conn, struct op *op)
{
    bool lost = PQstatus(conn->pq) != CONNECTION_OK;

    conn->broken = true;
    conn->out = NULL;
    return op_refuse(op, lost ? ERR_UNREACHABLE : ERR_NOMEM, "%s",
                     lost ? "the connection to the database was lost" : "out of memory");
}

/* From here on the server may have the query: whatever is wrong now comes through done. */
static int pg_query_begin(struct pg_conn *conn, struct op *op, uint64_t timeout_ms)
{
    op_begin(op, conn, pg_query_cancel);
    conn->op = op;
    pg_conn_move(conn, PG_BUSY);
    conn->timer.fire = pg_query_on_timer;
    if (!pg_query_await(conn)) {
        conn->broken = true;
        sched_start_timer(pg_conn_sched(conn), &conn->timer, 0);
    } else if (timeout_ms > 0) {
        sched_start_timer(pg_conn_sched(conn), &conn->timer, timeout_ms);
    }
    return 0;
}

static int pg_query_send(struct pg_conn *conn, struct op *op, const char *sql, uint64_t timeout_ms,
                         bool row_by_row, struct pg_results *out)
{
    int rc = pg_query_prepare(conn, op, out);

    if (rc != 0)
        return rc;
    if (PQsendQuery(conn->pq, sql) == 0)
        return pg_query_refuse(conn, op);
    if (row_by_row)
        PQsetSingleRowMode(conn->pq);
    return pg_query_begin(conn, op, timeout_ms);
}

int pg_query(struct pg_conn *conn, struct op *op, const char *sql, uint64_t timeout_ms,
             struct pg_results *out)
{
    return pg_query_send(conn, op, sql, timeout_ms, false, out);
}

int pg_query_drop_rows(struct pg_conn *conn, struct op *op, const char *sql, uint64_t timeout_ms,
                       struct pg_results *out)
{
    return pg_query_send(conn, op, sql, timeout_ms, true, out);
}

int pg_query_params(struct pg_conn *conn, struct op *op, const char *sql, size_t count,
                    const char *const *values, uint64_t timeout_ms, struct pg_results *out)
{
    int rc = pg_query_prepare(conn, op, out);

    if (rc != 0)
        return rc;
    if (PQsendQueryParams(conn->pq, sql, (int)count, NULL, values, NULL, NULL, 0) == 0)
        return pg_query_refuse(conn, op);
    return pg_query_begin(conn, op, timeout_ms);
}

void pg_query_on_notice(struct pg_conn *conn, const PGresult *notice)
{
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY);
    const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);

    if (conn->out == NULL || message == NULL)
        return;
    buf_printf(&conn->out->notices, "%s: %s\n", severity != NULL ? severity : "NOTICE", message);
}

void pg_results_free(struct pg_results *results)
{
    for (size_t i = 0; i < results->count; i++)
        PQclear(results->results[i]);
    mem_free(results->results);
    buf_free(&results->notices);
    *results = (struct pg_results){.count = 0};
}

/* libpq does not say which of the two it was. */
static int pg_put_escaped(struct buf *sql, const char *text, char *escaped)
{
    if (escaped == NULL)
        return utf8_is_valid(text, strlen(text)) ? ERR_NOMEM : ERR_INVALID;
    buf_puts(sql, escaped);
    PQfreemem(escaped);
    return sql->rc;
}

int pg_put_literal(struct buf *sql, struct pg_conn *conn, const char *text)
{
    return pg_put_escaped(sql, text, PQescapeLiteral(conn->pq, text, strlen(text)));
}

int pg_put_identifier(struct buf *sql, struct pg_conn *conn, const char *text)
{
    return pg_put_escaped(sql, text, PQescapeIdentifier(conn->pq, text, strlen(text)));
}
