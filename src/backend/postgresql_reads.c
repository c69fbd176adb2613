#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/postgresql_private.h"
#include "base/mem.h"

enum {
    PGB_READ_MS = 30000,
};

/*
 *  ACQUIRING ─> ASKING ─> done
 *      ^          │
 *      └──────────┘ the connection was lost, or somebody made the journal: asked once more
 *
 * Questions, and what may be said twice. `put` writes the query, `take` reads its last answer.
 */
enum read_state {
    READ_ACQUIRING,
    READ_ASKING,
};

static const struct sm_state read_states[] = {
    [READ_ACQUIRING] = {"acquiring", SM_TO(READ_ASKING)},
    [READ_ASKING] = {"asking", SM_TO(READ_ACQUIRING) | SM_TO(READ_ASKING)},
};

static void read_finish(struct pgb_read *read, int rc)
{
    struct pgb *pgb = read->pgb;
    struct op *op = read->op;
    struct err err = read->work.err;

    if (read->timed_out && rc != 0)
        rc = err_set(&err, ERR_TIMEOUT, "no answer from the database in time");
    else if (rc != 0 && err.code == 0)
        err_set(&err, rc, "%s", err_code_text(rc));
    sched_stop_timer(pgb_sched(pgb), &read->timer);
    if (read->conn != NULL)
        pg_release(read->conn);
    pg_results_free(&read->results);
    buf_free(&read->sql);
    mem_free(read);
    pgb_end(pgb);
    if (rc != 0)
        op_fail(op, &err);
    else
        op_finish(op, 0);
}

static void read_ask(struct pgb_read *read)
{
    int rc;

    buf_truncate(&read->sql, 0);
    rc = read->put(read);
    if (rc == 0)
        rc = read->sql.rc;
    if (rc != 0) {
        err_set(&read->work.err, rc, "%s", err_code_text(rc));
        read_finish(read, rc);
        return;
    }
    sm_move(&read->sm, READ_ASKING);
    rc = pg_query(read->conn, &read->work, buf_str(&read->sql),
                  read->limit_ms > 0 ? read->limit_ms : PGB_READ_MS, &read->results);
    if (rc != 0)
        read_finish(read, rc);
}

/* A connection that had died in the pool is no answer; nor is it that two made the same thing. */
static bool read_once_more(struct pgb_read *read, int rc)
{
    bool was_made =
        rc == ERR_DB && read->makes_journal && pgb_was_made_meanwhile(read->work.err.sqlstate);

    if ((rc != ERR_UNREACHABLE && !was_made) || read->again || read->op->canceled)
        return false;
    read->again = true;
    pg_results_free(&read->results);
    if (was_made) {
        read_ask(read);
        return true;
    }
    pg_release(read->conn);
    read->conn = NULL;
    sm_move(&read->sm, READ_ACQUIRING);
    rc = pg_acquire(read->pgb->pool, &read->work, &read->conn);
    if (rc != 0)
        read_finish(read, rc);
    return true;
}

static void read_on_answer(struct pgb_read *read, int rc)
{
    const PGresult *last =
        read->results.count > 0 ? read->results.results[read->results.count - 1] : NULL;

    if (rc != 0 && read_once_more(read, rc))
        return;
    if (rc == ERR_DB && read->journal != NULL && strcmp(read->work.err.sqlstate, "42P01") == 0)
        rc = 0; /* no journal, no rows */
    else if (rc == 0 && last != NULL)
        rc = read->take(read, last);
    read_finish(read, rc);
}

/* No turn came in time because every connection runs a step: they are there, so the target is. */
static bool read_is_ping_of_busy(const struct pgb_read *read)
{
    struct pg_pool_stats stats;

    pg_pool_get_stats(read->pgb->pool, &stats);
    return read->is_ping && read->timed_out && stats.lent == read->pgb->settings.pool.max_open;
}

static void read_on_work(struct op *op, int rc)
{
    struct pgb_read *read = container_of(op, struct pgb_read, work);

    if (read->sm.state == READ_ASKING)
        read_on_answer(read, rc);
    else if (rc != 0)
        read_finish(read, read_is_ping_of_busy(read) ? 0 : rc);
    else
        read_ask(read);
}

static void read_cancel(struct op *op)
{
    struct pgb_read *read = op->impl;

    op_cancel(&read->work);
}

static void read_on_timer(struct timer *timer)
{
    struct pgb_read *read = container_of(timer, struct pgb_read, timer);

    read->timed_out = true;
    if (read->sm.state == READ_ACQUIRING)
        op_cancel(&read->work);
}

struct pgb_read *pgb_read_create(struct backend *backend, struct op *op)
{
    struct pgb_read *read = mem_calloc(1, sizeof(*read));

    if (read == NULL) {
        op_refuse(op, ERR_NOMEM, "out of memory");
        return NULL;
    }
    sm_init(&read->sm, read_states, "pg_read", READ_ACQUIRING);
    read->pgb = container_of(backend, struct pgb, pub);
    read->op = op;
    buf_init(&read->sql, PGB_SQL_MAX);
    op_init(&read->work, read_on_work);
    return read;
}

int pgb_read_start(struct pgb_read *read)
{
    struct pgb *pgb = read->pgb;
    struct op *op = read->op;
    int rc = pg_acquire(pgb->pool, &read->work, &read->conn);

    if (rc != 0) {
        op->err = read->work.err;
        buf_free(&read->sql);
        mem_free(read);
        return rc;
    }
    if (read->limit_ms > 0) {
        read->timer.fire = read_on_timer;
        sched_start_timer(pgb_sched(pgb), &read->timer, read->limit_ms);
    }
    op_begin(op, read, read_cancel);
    pgb_begin(pgb);
    return 0;
}

/* --- ping --- */

static int ping_put(struct pgb_read *read)
{
    return buf_puts(&read->sql, "SELECT 1");
}

static int ping_take(struct pgb_read *read, const PGresult *result)
{
    (void)read;
    (void)result;
    return 0;
}

int pgb_ping(struct backend *backend, struct op *op)
{
    struct pgb_read *read = pgb_read_create(backend, op);

    if (read == NULL)
        return ERR_NOMEM;
    read->limit_ms = PGB_PING_MS;
    read->put = ping_put;
    read->take = ping_take;
    read->is_ping = true;
    return pgb_read_start(read);
}

/* --- inspect --- */

static int inspect_put(struct pgb_read *read)
{
    struct buf *sql = &read->sql;
    int rc = 0;

    buf_puts(sql, "SELECT n.oid IS NOT NULL AND (v.t='' OR EXISTS(SELECT FROM pg_catalog.pg_class c"
                  " WHERE c.relnamespace=n.oid AND c.relname=v.t"
                  " AND c.relkind IN ('r','p','v','m','f'))) FROM (VALUES ");
    for (size_t i = 0; i < read->count && rc == 0; i++) {
        buf_printf(sql, "%s(%zu,", i > 0 ? "," : "", i);
        rc = pg_put_literal(sql, read->conn, read->checks[i].schema);
        buf_putc(sql, ',');
        if (rc == 0)
            rc = pg_put_literal(sql, read->conn, read->checks[i].table);
        buf_putc(sql, ')');
    }
    buf_puts(sql, ") v(i,s,t) LEFT JOIN pg_catalog.pg_namespace n ON n.nspname=v.s ORDER BY v.i");
    return rc;
}

static int inspect_take(struct pgb_read *read, const PGresult *result)
{
    if ((size_t)PQntuples(result) != read->count)
        return ERR_DB;
    for (size_t i = 0; i < read->count; i++)
        read->checks[i].exists = strcmp(PQgetvalue(result, (int)i, 0), "t") == 0;
    return 0;
}

int pgb_inspect(struct backend *backend, struct op *op, struct backend_check *checks, size_t count)
{
    struct pgb *pgb = container_of(backend, struct pgb, pub);
    struct pgb_read *read;

    if (count == 0) {
        op_begin(op, NULL, NULL);
        op_finish_later(op, pgb_sched(pgb), 0);
        return 0;
    }
    read = pgb_read_create(backend, op);
    if (read == NULL)
        return ERR_NOMEM;
    read->checks = checks;
    read->count = count;
    read->put = inspect_put;
    read->take = inspect_take;
    return pgb_read_start(read);
}

/* --- read_journal --- */

static int journal_put(struct pgb_read *read)
{
    struct buf *sql = &read->sql;
    int rc;

    buf_puts(sql, "SELECT schema_name,migration_id,CASE kind WHEN 'up' THEN checksum ELSE '' END,"
                  "run_id,"
                  "(extract(epoch FROM applied_at)*1000000)::bigint,"
                  "kind NOT IN ('started','done') FROM ");
    rc = pgb_put_journal(sql, read->pgb, read->conn);
    buf_puts(sql, " WHERE (schema_name COLLATE \"C\",migration_id COLLATE \"C\")>(");
    if (rc == 0)
        rc = pg_put_literal(sql, read->conn, read->after_schema);
    buf_putc(sql, ',');
    if (rc == 0)
        rc = pg_put_literal(sql, read->conn, read->after_id);
    buf_printf(sql, ") ORDER BY schema_name COLLATE \"C\",migration_id COLLATE \"C\" LIMIT %zu",
               read->limit + 1);
    return rc;
}

static int journal_take_row(struct backend_journal *journal, const PGresult *result, int row)
{
    struct backend_journal_row *out = &journal->rows[journal->count];

    *out = (struct backend_journal_row){
        .schema = arena_strdup(&journal->arena, PQgetvalue(result, row, 0)),
        .migration_id = arena_strdup(&journal->arena, PQgetvalue(result, row, 1)),
        .checksum = arena_strdup(&journal->arena, PQgetvalue(result, row, 2)),
        .run_id = arena_strdup(&journal->arena, PQgetvalue(result, row, 3)),
        .applied_at_us = strtoll(PQgetvalue(result, row, 4), NULL, 10),
        .complete = strcmp(PQgetvalue(result, row, 5), "t") == 0,
    };
    if (out->schema == NULL || out->migration_id == NULL || out->checksum == NULL ||
        out->run_id == NULL)
        return ERR_NOMEM;
    journal->count++;
    return 0;
}

static int journal_take(struct pgb_read *read, const PGresult *result)
{
    struct backend_journal *journal = read->journal;
    size_t count = (size_t)PQntuples(result);
    int rc = 0;

    journal->more = count > read->limit;
    count = journal->more ? read->limit : count;
    journal->rows = arena_calloc(&journal->arena, count > 0 ? count : 1, sizeof(*journal->rows));
    if (journal->rows == NULL)
        rc = ERR_NOMEM;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = journal_take_row(journal, result, (int)i);
    if (rc != 0) {
        arena_free(&journal->arena);
        *journal = (struct backend_journal){.count = 0};
    }
    return rc;
}

int pgb_read_journal(struct backend *backend, struct op *op, const char *after_schema,
                     const char *after_id, size_t limit, struct backend_journal *out)
{
    struct pgb_read *read = pgb_read_create(backend, op);

    if (read == NULL)
        return ERR_NOMEM;
    *out = (struct backend_journal){.count = 0};
    arena_init(&out->arena);
    read->after_schema = after_schema;
    read->after_id = after_id;
    read->limit = limit;
    read->journal = out;
    read->put = journal_put;
    read->take = journal_take;
    return pgb_read_start(read);
}
