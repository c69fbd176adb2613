#include <errmsg.h>
#include <mysqld_error.h>

#include "driver/maria_private.h"

enum {
    MARIA_CANCEL_GRACE_MS = 200,
    MARIA_TURN_CALLS = 512, /* calls that need not wait before others have their turn */
    MARIA_COMMAND_SIZE = 1,
};

static void maria_query_run(struct maria_conn *conn);

static void maria_query_finish(struct maria_conn *conn)
{
    struct op *op = conn->op;
    int rc = conn->rc;

    sched_stop_timer(maria_conn_sched(conn), &conn->timer);
    sched_undefer(&conn->turn);
    conn->op = NULL;
    conn->out = NULL;
    maria_conn_move(conn, MARIA_LENT);
    op_finish(op, rc);
}

static void maria_query_on_grace(struct timer *timer)
{
    struct maria_conn *conn = container_of(timer, struct maria_conn, timer);

    maria_cancel_leave(conn);
    maria_query_finish(conn);
}

void maria_query_on_cancel_done(struct maria_conn *conn)
{
    if (conn->ended)
        maria_query_finish(conn);
}

/* A KILL under way could still hit what is asked next on the connection, e.g. a ROLLBACK: it is
 * given a moment to end. */
static void maria_query_try_finish(struct maria_conn *conn)
{
    if (!maria_cancel_drop(conn)) {
        maria_query_finish(conn);
    } else if (conn->broken) {
        maria_cancel_leave(conn);
        maria_query_finish(conn);
    } else {
        conn->timer.fire = maria_query_on_grace;
        sched_start_timer(maria_conn_sched(conn), &conn->timer, MARIA_CANCEL_GRACE_MS);
    }
}

static void maria_query_end(struct maria_conn *conn)
{
    struct err *err = &conn->op->err;

    sched_stop_timer(maria_conn_sched(conn), &conn->timer);
    sched_undefer(&conn->turn);
    if (conn->broken)
        maria_io_abort(&conn->io, maria_conn_fd(conn));
    if (conn->timed_out)
        conn->rc = err_set(err, ERR_TIMEOUT, "no answer from the database in time");
    else if (conn->broken && conn->rc == 0)
        conn->rc = err_set(err, ERR_UNREACHABLE, "the connection to the database was lost");
    conn->ended = true;
    maria_query_try_finish(conn);
}

/* What the server or the connector says is wrong, unless something was wrong before. */
static void maria_query_note_failure(struct maria_conn *conn)
{
    MYSQL *my = conn->io.my;
    struct err *err = &conn->op->err;
    unsigned number = mysql_errno(my);

    if (maria_error_is_fatal(number))
        conn->broken = true;
    if (conn->rc != 0)
        return;
    if (number == CR_OUT_OF_MEMORY) {
        conn->rc = err_set(err, ERR_NOMEM, "out of memory");
    } else if (number == CR_NET_PACKET_TOO_LARGE) {
        conn->rc = err_set(err, ERR_LIMIT, "a row is too large");
    } else if (number >= CR_MIN_ERROR && number <= CR_MAX_ERROR) {
        conn->rc = err_set(err, ERR_UNREACHABLE, "the connection to the database was lost");
    } else {
        conn->out->error = number;
        conn->rc = number == ER_QUERY_INTERRUPTED && conn->op->canceled ? ERR_CANCELED : ERR_DB;
        if (conn->broken && number != ER_NET_PACKET_TOO_LARGE)
            conn->rc = ERR_UNREACHABLE;
        maria_error_of_query(my, conn->rc, err);
    }
}

static struct maria_result *maria_query_result(const struct maria_conn *conn)
{
    return &conn->out->results[conn->out->count - 1];
}

/* Memory or the bound on it is out: what else comes is not kept. Rows beyond the bound are not
 * waited for either. */
static void maria_query_note_lack(struct maria_conn *conn, int rc)
{
    if (conn->rc != 0)
        return;
    conn->rc = err_set(&conn->op->err, rc, "%s",
                       rc == ERR_LIMIT ? "the rows are more than 64 MiB" : "out of memory");
    if (rc == ERR_LIMIT)
        conn->broken = true;
}

/* Each of those below handles the end of one call and starts the next one. False: the query is
 * over. */
static bool maria_query_go_on(struct maria_conn *conn)
{
    if (!mysql_more_results(conn->io.my))
        return false;
    maria_io_next(&conn->io);
    return true;
}

static bool maria_query_on_answer(struct maria_conn *conn)
{
    MYSQL *my = conn->io.my;
    int rc = 0;

    if (conn->rc == 0)
        rc = maria_results_add(conn->out);
    if (rc != 0)
        maria_query_note_lack(conn, rc);
    if (mysql_field_count(my) == 0) {
        if (conn->rc == 0) {
            maria_query_result(conn)->affected = mysql_affected_rows(my);
            maria_query_result(conn)->insert_id = mysql_insert_id(my);
            maria_query_result(conn)->warnings = mysql_warning_count(my);
        }
        return maria_query_go_on(conn);
    }
    conn->io.rows = mysql_use_result(my);
    if (conn->io.rows == NULL) {
        maria_query_note_failure(conn);
        conn->broken = true;
        return false;
    }
    if (conn->rc == 0 && maria_result_set_columns(maria_query_result(conn), conn->io.rows) != 0)
        maria_query_note_lack(conn, ERR_NOMEM);
    maria_io_fetch(&conn->io);
    return true;
}

static void maria_query_forget_result(struct maria_conn *conn)
{
    maria_result_clear(maria_query_result(conn));
    conn->out->count--;
}

static bool maria_query_on_row(struct maria_conn *conn)
{
    struct maria_io *io = &conn->io;
    bool collecting = conn->rc == 0;
    int rc = 0;

    if (io->answer.row != NULL) {
        if (collecting && !conn->drop_rows)
            rc = maria_result_add_row(maria_query_result(conn), io->answer.row,
                                      mysql_fetch_lengths(io->rows), &conn->bytes);
        if (rc != 0)
            maria_query_note_lack(conn, rc);
        if (!conn->broken)
            maria_io_fetch(io);
        return !conn->broken;
    }
    if (mysql_errno(io->my) != 0) {
        maria_query_note_failure(conn);
        if (collecting)
            maria_query_forget_result(conn);
    } else if (collecting) {
        maria_query_result(conn)->warnings = mysql_warning_count(io->my);
    }
    maria_io_free(io);
    return true;
}

static bool maria_query_step(struct maria_conn *conn)
{
    switch (conn->io.call) {
    case MARIA_CALL_QUERY:
    case MARIA_CALL_NEXT:
        if (conn->io.answer.rc == 0)
            return maria_query_on_answer(conn);
        if (conn->io.answer.rc > 0 || conn->io.call == MARIA_CALL_QUERY)
            maria_query_note_failure(conn);
        return false;
    case MARIA_CALL_FETCH:
        return maria_query_on_row(conn);
    case MARIA_CALL_FREE:
        return maria_query_go_on(conn);
    case MARIA_CALL_RESET:
        if (conn->io.answer.rc != 0)
            maria_query_note_failure(conn);
        return false;
    case MARIA_CALL_CONNECT:
        break;
    }
    return false;
}

static void maria_query_on_turn(struct task *task)
{
    struct maria_conn *conn = container_of(task, struct maria_conn, turn);

    if (conn->broken)
        maria_query_end(conn);
    else
        maria_query_run(conn);
}

static void maria_query_run_later(struct maria_conn *conn)
{
    conn->turn.run = maria_query_on_turn;
    sched_defer(maria_conn_sched(conn), &conn->turn);
}

/* Goes as far as it can without waiting. */
static void maria_query_run(struct maria_conn *conn)
{
    unsigned calls = 0;

    while (conn->io.waits == 0) {
        if (!maria_query_step(conn)) {
            maria_query_end(conn);
            return;
        }
        if (conn->io.waits == 0 && ++calls == MARIA_TURN_CALLS) {
            maria_query_run_later(conn);
            return;
        }
    }
    if (maria_conn_watch(conn, conn->io.waits) != 0) {
        conn->broken = true;
        maria_query_end(conn);
    }
}

void maria_query_on_socket(struct maria_conn *conn, int happened)
{
    if (conn->io.waits == 0)
        return; /* only rows of this query's next turn can have come */
    maria_io_continue(&conn->io, happened);
    maria_query_run(conn);
}

void maria_query_break(struct maria_conn *conn)
{
    maria_conn_unwatch(conn);
    conn->broken = true;
    maria_query_end(conn);
}

static void maria_query_on_timer(struct timer *timer)
{
    struct maria_conn *conn = container_of(timer, struct maria_conn, timer);

    conn->timed_out = !conn->broken;
    maria_query_break(conn);
}

static void maria_query_cancel(struct op *op)
{
    struct maria_conn *conn = op->impl;

    if (!conn->ended)
        maria_cancel_start(conn);
}

static int maria_query_refuse_large(const struct maria_conn *conn, struct op *op)
{
    return op_refuse(op, ERR_LIMIT,
                     "the query is larger than the server takes (max_allowed_packet is %zu)",
                     conn->packet_max);
}

static void maria_query_begin(struct maria_conn *conn, struct op *op, uint64_t timeout_ms,
                              bool drop_rows, struct maria_results *out)
{
    maria_conn_unwatch(conn);
    op_begin(op, conn, maria_query_cancel);
    conn->op = op;
    conn->out = out;
    conn->drop_rows = drop_rows;
    conn->bytes = 0;
    conn->ended = false;
    conn->timed_out = false;
    conn->rc = 0;
    maria_conn_move(conn, MARIA_BUSY);
    conn->timer.fire = maria_query_on_timer;
    if (timeout_ms > 0)
        sched_start_timer(maria_conn_sched(conn), &conn->timer, timeout_ms);
}

/* Its first call was made. */
static void maria_query_wait(struct maria_conn *conn)
{
    if (conn->io.waits == 0) {
        maria_query_run_later(conn);
    } else if (maria_conn_watch(conn, conn->io.waits) != 0) {
        conn->broken = true;
        maria_query_run_later(conn);
    }
}

static int maria_query_start(struct maria_conn *conn, struct op *op, const char *sql, size_t len,
                             uint64_t timeout_ms, bool drop_rows, struct maria_results *out)
{
    assert(conn->sm.state == MARIA_LENT);
    *out = (struct maria_results){.count = 0};
    if (conn->broken)
        return op_refuse(op, ERR_UNREACHABLE, "the connection to the database was lost");
    if (conn->packet_max > 0 && len + MARIA_COMMAND_SIZE > conn->packet_max)
        return maria_query_refuse_large(conn, op);
    maria_query_begin(conn, op, timeout_ms, drop_rows, out);
    maria_io_query(&conn->io, sql, len);
    maria_query_wait(conn);
    return 0;
}

void maria_query_reset(struct maria_conn *conn, struct op *op, uint64_t timeout_ms,
                       struct maria_results *out)
{
    assert(conn->sm.state == MARIA_LENT && !conn->broken);
    *out = (struct maria_results){.count = 0};
    maria_query_begin(conn, op, timeout_ms, false, out);
    maria_io_reset(&conn->io);
    maria_query_wait(conn);
}

int maria_query(struct maria_conn *conn, struct op *op, const char *sql, size_t len,
                uint64_t timeout_ms, struct maria_results *out)
{
    return maria_query_start(conn, op, sql, len, timeout_ms, false, out);
}

int maria_query_drop_rows(struct maria_conn *conn, struct op *op, const char *sql, size_t len,
                          uint64_t timeout_ms, struct maria_results *out)
{
    return maria_query_start(conn, op, sql, len, timeout_ms, true, out);
}
