#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/postgresql_private.h"

enum {
    PGSTORE_TRIES = 4,
    PGSTORE_TEXT_MAX = 1024 * 1024,
};

/* --- texts --- */

static void pgstore_put_expanded(struct buf *out, const char *text, const char *schema)
{
    const char *at;

    while ((at = strchr(text, '@')) != NULL) {
        buf_append(out, text, (size_t)(at - text));
        buf_puts(out, schema);
        text = at + 1;
    }
    buf_puts(out, text);
}

char *pgstore_expand(const char *const *parts, size_t count, const char *schema)
{
    struct buf out;
    char *expanded;

    buf_init(&out, PGSTORE_TEXT_MAX);
    for (size_t i = 0; i < count; i++)
        pgstore_put_expanded(&out, parts[i], schema);
    expanded = buf_take(&out);
    buf_free(&out);
    return expanded;
}

const char *pgstore_quoted_schema(struct store_pg *pg, struct pg_conn *conn, struct err *err)
{
    struct buf quoted;

    if (pg->quoted_schema != NULL)
        return pg->quoted_schema;
    buf_init(&quoted, PGSTORE_TEXT_MAX);
    if (pg_put_identifier(&quoted, conn, pg->schema) == 0)
        pg->quoted_schema = buf_take(&quoted);
    buf_free(&quoted);
    if (pg->quoted_schema == NULL)
        err_set(err, ERR_NOMEM, "out of memory");
    return pg->quoted_schema;
}

static const char *pgstore_call_text(struct pgstore_call *call)
{
    struct store_pg *pg = call->pg;
    struct err *err = &call->step.err;
    const char *schema;

    if (call->text != NULL)
        return call->text;
    if (pg->texts[call->sql] != NULL)
        return pg->texts[call->sql];
    schema = pgstore_quoted_schema(pg, call->conn, err);
    if (schema == NULL)
        return NULL;
    pg->texts[call->sql] = pgstore_expand(pgstore_sql[call->sql], PGSTORE_SQL_PARTS, schema);
    if (pg->texts[call->sql] == NULL)
        err_set(err, ERR_NOMEM, "out of memory");
    return pg->texts[call->sql];
}

/* --- failures --- */

static bool pgstore_sqlstate_is(const struct err *err, const char *prefix)
{
    return strncmp(err->sqlstate, prefix, strlen(prefix)) == 0;
}

/* The rows themselves were at fault: data, constraints, a trigger's own refusal. */
static bool pgstore_is_refusal(const struct err *err)
{
    return pgstore_sqlstate_is(err, "22") || pgstore_sqlstate_is(err, "23") ||
           pgstore_sqlstate_is(err, "44") || pgstore_sqlstate_is(err, "P0");
}

static bool pgstore_is_collision(const struct err *err)
{
    return pgstore_sqlstate_is(err, "40P01") || pgstore_sqlstate_is(err, "40001");
}

void pgstore_translate(struct err *err)
{
    if (err->code == ERR_CANCELED || err->code == ERR_NOMEM)
        return;
    if (err->code == ERR_DB && pgstore_is_refusal(err)) {
        err_prefix(err, "the state database refused a row");
        return;
    }
    if (err->code == ERR_DB)
        err_prefix(err, "the state database failed");
    else
        err_prefix(err, "the state database is not reachable");
    err->code = ERR_STORE;
}

/* --- the machine --- */

static void pgstore_call_on_step(struct op *step, int rc);

static void pgstore_call_finish(struct pgstore_call *call, int rc)
{
    struct op *op = call->op;

    if (rc == 0) {
        op_finish(op, 0);
        return;
    }
    pg_results_free(&call->results);
    pgstore_translate(&call->step.err);
    op_fail(op, &call->step.err);
}

/* Returns what the start of the step returned. */
static int pgstore_call_acquire(struct pgstore_call *call)
{
    call->querying = false;
    call->tries++;
    op_init(&call->step, pgstore_call_on_step);
    return pg_acquire(call->pg->pool, &call->step, &call->conn);
}

static int pgstore_call_query(struct pgstore_call *call)
{
    const char *text = pgstore_call_text(call);

    if (text == NULL)
        return ERR_NOMEM;
    op_init(&call->step, pgstore_call_on_step);
    if (call->text != NULL)
        return pg_query(call->conn, &call->step, text, call->timeout_ms, &call->results);
    return pg_query_params(call->conn, &call->step, text, call->value_count, call->values,
                           call->timeout_ms, &call->results);
}

static bool pgstore_call_may_repeat(const struct pgstore_call *call, int rc)
{
    const struct err *err = &call->step.err;

    if (call->tries >= PGSTORE_TRIES || call->op->canceled)
        return false;
    if (rc == ERR_DB)
        return pgstore_is_collision(err);
    return rc == ERR_UNREACHABLE && call->repeatable;
}

/* The query has ended, or was refused. */
static void pgstore_call_on_queried(struct pgstore_call *call, int rc)
{
    struct err err = call->step.err;

    pg_release(call->conn);
    call->conn = NULL;
    if (rc != 0 && pgstore_call_may_repeat(call, rc)) {
        pg_results_free(&call->results);
        rc = pgstore_call_acquire(call);
        if (rc == 0)
            return;
    } else {
        call->step.err = err;
    }
    pgstore_call_finish(call, rc);
}

static void pgstore_call_on_step(struct op *step, int rc)
{
    struct pgstore_call *call = container_of(step, struct pgstore_call, step);

    if (call->querying) {
        pgstore_call_on_queried(call, rc);
        return;
    }
    if (rc != 0) {
        pgstore_call_finish(call, rc);
        return;
    }
    call->querying = true;
    rc = pgstore_call_query(call);
    if (rc != 0)
        pgstore_call_on_queried(call, rc);
}

static void pgstore_call_cancel(struct op *op)
{
    struct pgstore_call *call = op->impl;

    op_cancel(&call->step);
}

int pgstore_call_start(struct store_pg *pg, struct pgstore_call *call, struct op *op)
{
    int rc;

    call->pg = pg;
    call->op = op;
    call->conn = NULL;
    call->tries = 0;
    call->results = (struct pg_results){.count = 0};
    if (call->timeout_ms == 0)
        call->timeout_ms = CORE_TIMEOUT_MS;
    rc = pgstore_call_acquire(call);
    if (rc != 0) {
        pgstore_translate(&call->step.err);
        op->err = call->step.err;
        return op->err.code;
    }
    op_begin(op, call, pgstore_call_cancel);
    return 0;
}

/* --- cells --- */

const char *pgstore_text(void *arg, int column)
{
    const struct pgstore_cursor *cursor = arg;

    if (PQgetisnull(cursor->result, cursor->row, column))
        return NULL;
    return PQgetvalue(cursor->result, cursor->row, column);
}

int64_t pgstore_integer(void *arg, int column)
{
    const char *text = pgstore_text(arg, column);

    return text != NULL ? strtoll(text, NULL, 10) : 0;
}
