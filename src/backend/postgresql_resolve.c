#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/postgresql_private.h"
#include "base/mem.h"
#include "model/prefix.h"

/*
 *  LOOKING ─> MOVING ─> done
 *
 * A person's word about a statement that was started and whose end nobody knows: the journal row
 * becomes what it would be had the statement ended so. The look says whether there is anything to
 * decide, the move is a compare-and-swap that may be sent twice.
 */
struct pgb_resolve {
    struct pgb *pgb;
    struct op *op; /* the caller's */
    struct op work;
    struct backend_decision *decision;
    const struct script *script;
    struct arena arena;
    struct pgsql_names names;
    char tail[PGB_TAIL_MAX + 2]; /* a literal */
    bool moving;

    /* the row as it was found */
    const char *run; /* literal */
    size_t statement;
    int64_t applied_us;
    const char *prefix; /* literal: of what is done, as it was decided */
};

static void resolve_finish(struct pgb_resolve *resolve, const struct err *why)
{
    struct pgb *pgb = resolve->pgb;
    struct op *op = resolve->op;
    struct err err = *why;

    arena_free(&resolve->arena);
    mem_free(resolve);
    pgb_end(pgb);
    if (err.code != 0)
        op_fail(op, &err);
    else
        op_finish(op, 0);
}

/* --- names --- */

static const char *resolve_quote(struct pgb_read *read, const char *text)
{
    const char *kept = NULL;
    struct buf quoted;

    buf_init(&quoted, PGB_SQL_MAX);
    if (pg_put_literal(&quoted, read->conn, text) == 0)
        kept = arena_strdup(&read->resolve->arena, buf_str(&quoted));
    buf_free(&quoted);
    return kept;
}

static int resolve_make_names(struct pgb_read *read)
{
    struct pgb_resolve *resolve = read->resolve;
    const struct backend_decision *decision = resolve->decision;
    struct pgsql_names *names = &resolve->names;
    struct buf journal;

    if (names->journal != NULL)
        return 0;
    names->schema = resolve_quote(read, decision->schema);
    names->id = resolve_quote(read, decision->migration->id);
    buf_init(&journal, PGB_SQL_MAX);
    if (names->schema != NULL && names->id != NULL &&
        pgb_put_journal(&journal, read->pgb, read->conn) == 0)
        names->journal = arena_strdup(&resolve->arena, buf_str(&journal));
    buf_free(&journal);
    return names->journal != NULL ? 0 : ERR_NOMEM;
}

/* --- the look --- */

static int resolve_put_look(struct pgb_read *read)
{
    int rc = resolve_make_names(read);

    if (rc == 0)
        pgsql_put_look(&read->sql, &read->resolve->names, read->resolve->tail);
    return rc;
}

static const char *resolve_quote_prefix(struct pgb_read *read)
{
    const struct pgb_resolve *resolve = read->resolve;
    char checksum[HASH_SHA256_HEX];
    size_t done = resolve->statement - (resolve->decision->applied ? 0 : 1);

    if (script_prefix_checksum(resolve->script, done, checksum) != 0)
        return NULL;
    return resolve_quote(read, checksum);
}

/* The statement, and those in front of it, are in the script as they were. Rows of earlier servers
 * have the up script's checksum, whichever script is at work. */
static int resolve_compare(struct pgb_read *read, const char *checksum)
{
    const struct pgb_resolve *resolve = read->resolve;
    const struct migration *migration = resolve->decision->migration;
    size_t count = resolve->statement;
    bool same = strcmp(checksum, migration->up.checksum) == 0 && count > 0 &&
                count <= resolve->script->statement_count;
    int rc = 0;

    if (!same && count > 0)
        rc = script_prefix_compare(resolve->script, count, checksum, &same);
    if (rc != 0)
        return err_set(&read->work.err, rc, "%s", err_code_text(rc));
    if (!same)
        return script_prefix_refuse(&read->work.err, ERR_CONFLICT, resolve->script, count,
                                    "started");
    return 0;
}

/* Whether the row is one that can be decided about. */
static int resolve_judge(struct pgb_read *read, const PGresult *row)
{
    struct pgb_resolve *resolve = read->resolve;
    struct backend_decision *decision = resolve->decision;
    const struct migration *migration = decision->migration;
    int rc;
    bool alive = strcmp(PQgetvalue(row, 0, PGSQL_IS_ALIVE), "t") == 0;

    if (alive || strtoll(PQgetvalue(row, 0, PGSQL_AGE_MS), NULL, 10) < PGB_STALE_MS)
        return err_set(&read->work.err, ERR_LOCKED, "statement %zu is being run%s",
                       resolve->statement, alive ? "" : ", or was a moment ago");
    resolve->script = decision->undo ? &migration->down : &migration->up;
    rc = resolve_compare(read, PQgetvalue(row, 0, PGSQL_CHECKSUM));
    if (rc != 0)
        return rc;
    resolve->names.checksum = resolve_quote(read, migration->up.checksum);
    resolve->prefix = resolve_quote_prefix(read);
    if (resolve->names.checksum == NULL || resolve->prefix == NULL)
        return err_set(&read->work.err, ERR_NOMEM, "out of memory");
    decision->statement = (unsigned)resolve->statement;
    decision->statements = (unsigned)resolve->script->statement_count;
    decision->complete = decision->applied && decision->statement == decision->statements;
    memcpy(decision->checksum, resolve->script->checksum, sizeof(decision->checksum));
    return 0;
}

static int resolve_take_row(struct pgb_read *read, const PGresult *row)
{
    struct pgb_resolve *resolve = read->resolve;
    const char *kind = PQntuples(row) > 0 ? PQgetvalue(row, 0, PGSQL_KIND) : "";

    resolve->decision->undo = strcmp(kind, "undo started") == 0;
    if (!resolve->decision->undo && strcmp(kind, "started") != 0)
        return err_set(&read->work.err, ERR_NOT_FOUND, "no statement is in doubt there");
    resolve->run = resolve_quote(read, PQgetvalue(row, 0, PGSQL_RUN));
    resolve->statement = strtoul(PQgetvalue(row, 0, PGSQL_STATEMENT), NULL, 10);
    resolve->applied_us = strtoll(PQgetvalue(row, 0, PGSQL_APPLIED_US), NULL, 10);
    if (resolve->run == NULL)
        return err_set(&read->work.err, ERR_NOMEM, "out of memory");
    return resolve_judge(read, row);
}

/* --- the move --- */

static struct pgsql_place resolve_from(const struct pgb_resolve *resolve)
{
    return (struct pgsql_place){.kind = resolve->decision->undo ? "undo started" : "started",
                                .statement = resolve->statement,
                                .run = resolve->run};
}

/* A row that stays incomplete keeps its time, so that the next run need not wait for whoever might
 * be at work on it. */
static struct pgsql_place resolve_to(const struct pgb_resolve *resolve)
{
    const struct backend_decision *decision = resolve->decision;

    if (decision->complete)
        return (struct pgsql_place){.kind = "up", .run = resolve->run};
    return (struct pgsql_place){.kind = decision->undo ? "undo done" : "done",
                                .statement = resolve->statement - (decision->applied ? 0 : 1),
                                .run = resolve->run,
                                .applied_us = resolve->applied_us,
                                .checksum = resolve->prefix};
}

/* Behind it one cell says whether the row is what it should be, whichever try made it so. */
static int resolve_put_move(struct pgb_read *read)
{
    const struct pgb_resolve *resolve = read->resolve;
    const struct pgsql_place from = resolve_from(resolve), to = resolve_to(resolve);
    const struct pgsql_names *names = &resolve->names;
    bool removes = resolve->decision->complete && resolve->decision->undo;
    struct buf *sql = &read->sql;

    if (removes)
        pgsql_put_remove(sql, names, &from);
    else
        pgsql_put_move(sql, names, &from, &to);
    buf_printf(sql, ";SELECT %sEXISTS(SELECT FROM %s WHERE schema_name=%s AND migration_id=%s",
               removes ? "NOT " : "", names->journal, names->schema, names->id);
    if (!removes)
        buf_printf(sql, " AND kind='%s' AND coalesce(statement,0)=%zu AND run_id=%s", to.kind,
                   to.statement, to.run);
    return buf_puts(sql, ")");
}

static int resolve_take_moved(struct pgb_read *read, const PGresult *result)
{
    if (PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "t") == 0)
        return 0;
    return err_set(&read->work.err, ERR_LOCKED, "somebody else went on with it meanwhile");
}

static void resolve_on_moved(struct op *work, int rc)
{
    struct pgb_resolve *resolve = container_of(work, struct pgb_resolve, work);
    struct err err = work->err;

    resolve->decision->unknown = rc == ERR_UNREACHABLE || rc == ERR_TIMEOUT;
    if (resolve->decision->unknown)
        err_prefix(&err, "whether the decision was recorded is not known, ask again");
    resolve_finish(resolve, &err);
}

/* --- the machine --- */

static int resolve_ask(struct pgb_resolve *resolve, int (*put)(struct pgb_read *read),
                       int (*take)(struct pgb_read *read, const PGresult *result))
{
    struct pgb_read *read = pgb_read_create(&resolve->pgb->pub, &resolve->work);

    if (read == NULL)
        return ERR_NOMEM;
    read->resolve = resolve;
    read->put = put;
    read->take = take;
    return pgb_read_start(read);
}

static void resolve_on_looked(struct op *work, int rc)
{
    struct pgb_resolve *resolve = container_of(work, struct pgb_resolve, work);
    struct err err = work->err;

    if (rc == ERR_DB && strcmp(err.sqlstate, "42P01") == 0) /* no journal */
        err_set(&err, ERR_NOT_FOUND, "no statement is in doubt there");
    if (rc == 0 && resolve->op->canceled)
        rc = err_set(&err, ERR_CANCELED, "%s", err_code_text(ERR_CANCELED));
    if (rc == 0) {
        resolve->moving = true;
        op_init(&resolve->work, resolve_on_moved);
        rc = resolve_ask(resolve, resolve_put_move, resolve_take_moved);
        err = resolve->work.err;
    }
    if (rc != 0)
        resolve_finish(resolve, &err);
}

static void resolve_cancel(struct op *op)
{
    struct pgb_resolve *resolve = op->impl;

    if (!resolve->moving)
        op_cancel(&resolve->work);
}

int pgb_resolve(struct backend *backend, struct op *op, struct backend_decision *decision)
{
    struct pgb *pgb = container_of(backend, struct pgb, pub);
    struct pgb_resolve *resolve = mem_calloc(1, sizeof(*resolve));
    char tail[PGB_TAIL_MAX];
    int rc;

    if (resolve == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    resolve->pgb = pgb;
    resolve->op = op;
    resolve->decision = decision;
    arena_init(&resolve->arena);
    pgb_make_marker_tail(tail, decision->schema, decision->migration->id);
    snprintf(resolve->tail, sizeof(resolve->tail), "'%s'", tail);
    op_init(&resolve->work, resolve_on_looked);
    rc = resolve_ask(resolve, resolve_put_look, resolve_take_row);
    if (rc != 0) {
        op->err = resolve->work.err;
        mem_free(resolve);
        return rc;
    }
    pgb_begin(pgb);
    op_begin(op, resolve, resolve_cancel);
    return 0;
}
