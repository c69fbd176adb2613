#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/mysql_private.h"
#include "base/mem.h"

/*
 *  ACQUIRING ─> ASKING ─> done
 *      ^          │
 *      └──────────┘ the connection was lost: asked once more
 *
 * Questions, and what may be said twice. `put` writes the query, `take` reads its last answer. A
 * journal that is missing is made, where that is wanted, and the same asked again.
 */
enum read_state {
    READ_ACQUIRING,
    READ_ASKING,
    READ_MENDING,
};

static const struct sm_state read_states[] = {
    [READ_ACQUIRING] = {"acquiring", SM_TO(READ_ASKING)},
    [READ_ASKING] = {"asking", SM_TO(READ_ACQUIRING) | SM_TO(READ_ASKING) | SM_TO(READ_MENDING)},
    [READ_MENDING] = {"mending", SM_TO(READ_ASKING) | SM_TO(READ_MENDING)},
};

static void read_free(struct myb_read *read)
{
    maria_results_free(&read->results);
    buf_free(&read->sql);
    myb_resolving_free(read->resolving);
    mem_free(read);
}

static void read_finish(struct myb_read *read, int rc)
{
    struct myb *myb = read->myb;
    struct op *op = read->op;
    struct err err;

    if (rc != 0 && read->resolving != NULL)
        rc = myb_resolving_judge(read, rc);
    err = read->work.err;
    if (read->timed_out && rc != 0)
        rc = err_set(&err, ERR_TIMEOUT, "no answer from the database in time");
    else if (rc != 0 && err.code == 0)
        err_set(&err, rc, "%s", err_code_text(rc));
    sched_stop_timer(myb_sched(myb), &read->timer);
    if (read->conn != NULL && read->soiled)
        maria_discard(read->conn);
    else if (read->conn != NULL)
        maria_release(read->conn);
    read_free(read);
    myb_end(myb);
    if (rc != 0)
        op_fail(op, &err);
    else
        op_finish(op, 0);
}

static void read_send(struct myb_read *read, enum read_state state, int rc)
{
    if (rc == 0)
        rc = read->sql.rc;
    if (rc != 0) {
        err_set(&read->work.err, rc, "%s", err_code_text(rc));
        read_finish(read, rc);
        return;
    }
    sm_move(&read->sm, (int)state);
    maria_results_free(&read->results);
    rc = maria_query(read->conn, &read->work, buf_str(&read->sql), read->sql.len,
                     read->limit_ms > 0 ? read->limit_ms : MYB_READ_MS, &read->results);
    if (rc != 0)
        read_finish(read, rc);
}

static void read_ask(struct myb_read *read)
{
    buf_truncate(&read->sql, 0);
    read_send(read, READ_ASKING, read->put(read));
}

static void read_mend(struct myb_read *read)
{
    buf_truncate(&read->sql, 0);
    myb_put_create_journal(&read->sql, read->myb, read->makes_database);
    read_send(read, READ_MENDING, 0);
}

/* A connection that had died in the pool is no answer. */
static bool read_once_more(struct myb_read *read, int rc)
{
    if (rc != ERR_UNREACHABLE || read->again || read->op->canceled)
        return false;
    read->again = true;
    maria_release(read->conn);
    read->conn = NULL;
    read->soiled = false;
    sm_move(&read->sm, READ_ACQUIRING);
    rc = maria_acquire(read->myb->pool, &read->work, &read->conn);
    if (rc != 0)
        read_finish(read, rc);
    return true;
}

static bool read_misses_journal(const struct myb_read *read)
{
    return read->results.error == MYB_NO_TABLE || read->results.error == MYB_NO_DATABASE;
}

static void read_on_answer(struct myb_read *read, int rc)
{
    const struct maria_result *last = myb_last(&read->results);

    if (rc != 0 && read_once_more(read, rc))
        return;
    if (rc == ERR_DB && read_misses_journal(read)) {
        if (read->makes_journal) {
            read_mend(read);
            return;
        }
        if (read->journal != NULL)
            rc = 0; /* no journal, no rows */
        else if (read->resolving != NULL)
            rc = err_set(&read->work.err, ERR_NOT_FOUND, "the database has no journal");
    } else if (rc == 0 && last != NULL) {
        rc = read->take(read, last);
    }
    if (rc == 1)
        read_ask(read);
    else
        read_finish(read, rc);
}

static void read_on_mended(struct myb_read *read, int rc)
{
    if (rc == 0) {
        read->makes_journal = false;
        read_ask(read);
    } else if (read->results.error == MYB_NO_DATABASE && !read->makes_database) {
        read->makes_database = true;
        read_mend(read);
    } else {
        myb_explain_journal(&read->work.err, read->myb, read->results.error);
        read_finish(read, rc);
    }
}

/* No turn came in time because every connection runs a step: they are there, so the target is. */
static bool read_is_ping_of_busy(const struct myb_read *read)
{
    struct maria_pool_stats stats;

    maria_pool_get_stats(read->myb->pool, &stats);
    return read->is_ping && read->timed_out && stats.lent == read->myb->settings.pool.max_open;
}

static void read_on_work(struct op *op, int rc)
{
    struct myb_read *read = container_of(op, struct myb_read, work);

    if (read->sm.state == READ_ASKING)
        read_on_answer(read, rc);
    else if (read->sm.state == READ_MENDING)
        read_on_mended(read, rc);
    else if (rc != 0)
        read_finish(read, read_is_ping_of_busy(read) ? 0 : rc);
    else
        read_ask(read);
}

static void read_cancel(struct op *op)
{
    struct myb_read *read = op->impl;

    op_cancel(&read->work);
}

static void read_on_timer(struct timer *timer)
{
    struct myb_read *read = container_of(timer, struct myb_read, timer);

    read->timed_out = true;
    if (read->sm.state == READ_ACQUIRING)
        op_cancel(&read->work);
}

struct myb_read *myb_read_create(struct backend *backend, struct op *op)
{
    struct myb_read *read = mem_calloc(1, sizeof(*read));

    if (read == NULL) {
        op_refuse(op, ERR_NOMEM, "out of memory");
        return NULL;
    }
    sm_init(&read->sm, read_states, "mysql_read", READ_ACQUIRING);
    read->myb = container_of(backend, struct myb, pub);
    read->op = op;
    buf_init(&read->sql, MYB_SQL_MAX);
    op_init(&read->work, read_on_work);
    return read;
}

int myb_read_start(struct myb_read *read)
{
    struct myb *myb = read->myb;
    struct op *op = read->op;
    int rc = maria_acquire(myb->pool, &read->work, &read->conn);

    if (rc != 0) {
        op->err = read->work.err;
        read_free(read);
        return rc;
    }
    if (read->limit_ms > 0) {
        read->timer.fire = read_on_timer;
        sched_start_timer(myb_sched(myb), &read->timer, read->limit_ms);
    }
    op_begin(op, read, read_cancel);
    myb_begin(myb);
    return 0;
}

/* --- ping --- */

static int ping_put(struct myb_read *read)
{
    return buf_puts(&read->sql, "SELECT 1");
}

static int ping_take(struct myb_read *read, const struct maria_result *result)
{
    (void)read;
    (void)result;
    return 0;
}

int myb_ping(struct backend *backend, struct op *op)
{
    struct myb_read *read = myb_read_create(backend, op);

    if (read == NULL)
        return ERR_NOMEM;
    read->limit_ms = MYB_PING_MS;
    read->put = ping_put;
    read->take = ping_take;
    read->is_ping = true;
    return myb_read_start(read);
}

/* --- inspect --- */

/* The catalog compares without regard to case; the bytes decide. The plain comparison in front lets
 * the server look at one database only. */
static int inspect_put_name(struct buf *sql, const char *column, const char *name)
{
    int rc;

    buf_printf(sql, "%s=", column);
    rc = maria_put_literal(sql, name);
    buf_printf(sql, " AND BINARY %s=BINARY ", column);
    return rc != 0 ? rc : maria_put_literal(sql, name);
}

static int inspect_put_check(struct myb_read *read, const struct backend_check *check)
{
    const char *schema = check->schema[0] != '\0' ? check->schema : read->myb->database;
    struct buf *sql = &read->sql;
    int rc;

    if (schema == NULL)
        return buf_puts(sql, "SELECT 0");
    if (check->table[0] == '\0') {
        buf_puts(sql, "SELECT EXISTS(SELECT 1 FROM information_schema.schemata WHERE ");
        rc = inspect_put_name(sql, "schema_name", schema);
    } else {
        buf_puts(sql, "SELECT EXISTS(SELECT 1 FROM information_schema.tables WHERE ");
        rc = inspect_put_name(sql, "table_schema", schema);
        buf_puts(sql, " AND ");
        if (rc == 0)
            rc = inspect_put_name(sql, "table_name", check->table);
    }
    buf_putc(sql, ')');
    return rc;
}

static int inspect_put(struct myb_read *read)
{
    int rc = 0;

    for (size_t i = 0; i < read->count && rc == 0; i++) {
        if (i > 0)
            buf_putc(&read->sql, ';');
        rc = inspect_put_check(read, &read->checks[i]);
    }
    return rc;
}

static int inspect_take(struct myb_read *read, const struct maria_result *result)
{
    (void)result;
    if (read->results.count != read->count)
        return ERR_DB;
    for (size_t i = 0; i < read->count; i++) {
        const struct maria_result *one = &read->results.results[i];
        const char *value = one->rows == 1 ? maria_value(one, 0, 0, NULL) : NULL;

        read->checks[i].exists = value != NULL && strcmp(value, "1") == 0;
    }
    return 0;
}

int myb_inspect(struct backend *backend, struct op *op, struct backend_check *checks, size_t count)
{
    struct myb_read *read;

    if (count == 0) {
        op_begin(op, NULL, NULL);
        op_finish_later(op, myb_sched(container_of(backend, struct myb, pub)), 0);
        return 0;
    }
    read = myb_read_create(backend, op);
    if (read == NULL)
        return ERR_NOMEM;
    read->checks = checks;
    read->count = count;
    read->put = inspect_put;
    read->take = inspect_take;
    return myb_read_start(read);
}

/* --- read_journal --- */

static int journal_put(struct myb_read *read)
{
    struct buf *sql = &read->sql;
    const char *after = read->after_schema;
    int rc;

    buf_printf(sql,
               "SELECT schema_name,migration_id,CASE kind WHEN 'up' THEN checksum ELSE '' END,"
               "run_id,"
               "TIMESTAMPDIFF(MICROSECOND,'1970-01-01 00:00:00',applied_at),"
               "kind NOT IN ('started','done') FROM %s WHERE schema_name>=",
               read->myb->journal);
    rc = maria_put_literal(sql, after);
    buf_puts(sql, " AND (schema_name>");
    if (rc == 0)
        rc = maria_put_literal(sql, after);
    buf_puts(sql, " OR migration_id>");
    if (rc == 0)
        rc = maria_put_literal(sql, read->after_id);
    buf_printf(sql, ") ORDER BY schema_name,migration_id LIMIT %zu", read->limit + 1);
    return rc;
}

static int journal_take_row(struct backend_journal *journal, const struct maria_result *result,
                            size_t row)
{
    struct backend_journal_row *out = &journal->rows[journal->count];
    const char *texts[6];

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        texts[i] = maria_value(result, row, i, NULL);
        if (texts[i] == NULL)
            texts[i] = "";
    }
    *out = (struct backend_journal_row){
        .schema = arena_strdup(&journal->arena, texts[0]),
        .migration_id = arena_strdup(&journal->arena, texts[1]),
        .checksum = arena_strdup(&journal->arena, texts[2]),
        .run_id = arena_strdup(&journal->arena, texts[3]),
        .applied_at_us = strtoll(texts[4], NULL, 10),
        .complete = strcmp(texts[5], "1") == 0,
    };
    if (out->schema == NULL || out->migration_id == NULL || out->checksum == NULL ||
        out->run_id == NULL)
        return ERR_NOMEM;
    journal->count++;
    return 0;
}

static int journal_take(struct myb_read *read, const struct maria_result *result)
{
    struct backend_journal *journal = read->journal;
    size_t count = result->rows;
    int rc = 0;

    journal->more = count > read->limit;
    count = journal->more ? read->limit : count;
    journal->rows = arena_calloc(&journal->arena, count > 0 ? count : 1, sizeof(*journal->rows));
    if (journal->rows == NULL)
        rc = ERR_NOMEM;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = journal_take_row(journal, result, i);
    if (rc != 0) {
        arena_free(&journal->arena);
        *journal = (struct backend_journal){.count = 0};
    }
    return rc;
}

int myb_read_journal(struct backend *backend, struct op *op, const char *after_schema,
                     const char *after_id, size_t limit, struct backend_journal *out)
{
    struct myb_read *read = myb_read_create(backend, op);

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
    return myb_read_start(read);
}
