#ifndef BFM_TESTS_PG_FIXTURE_H
#define BFM_TESTS_PG_FIXTURE_H

#include "loop_fixture.h"

#include "driver/pg.h"

/*
 * What the component tests against PostgreSQL share. The server is named by BFM_TEST_PG_HOST,
 * _PORT, _USER, _PASSWORD and _DATABASE; the role must be a superuser. BFM_TEST_PGBOUNCER_PORT
 * names a PgBouncer in transaction mode in front of it.
 */

static inline struct pg_settings fixture_settings(void)
{
    return (struct pg_settings){
        .host = fixture_env("BFM_TEST_PG_HOST", "127.0.0.1"),
        .port = fixture_env("BFM_TEST_PG_PORT", "5432"),
        .user = fixture_env("BFM_TEST_PG_USER", "postgres"),
        .password = fixture_env("BFM_TEST_PG_PASSWORD", NULL),
        .database = fixture_env("BFM_TEST_PG_DATABASE", "postgres"),
        .application_name = "bfm test",
        .max_open = 4,
        .max_idle = 4,
        .connect_timeout_ms = 10000,
    };
}

static inline void close_pool(struct loop *loop, struct pg_pool *pool)
{
    struct waited waited;

    waited_init(&waited, loop);
    assert_int_equal(wait_for(&waited, pg_pool_close(pool, &waited.op)), 0);
}

static inline struct pg_conn *take(struct loop *loop, struct pg_pool *pool)
{
    struct pg_conn *conn = NULL;
    struct waited waited;

    waited_init(&waited, loop);
    if (wait_for(&waited, pg_acquire(pool, &waited.op, &conn)) != 0)
        fail_msg("acquire: %s", err_text(&waited.op.err));
    return conn;
}

/* Runs one query; `err` may be NULL. */
static inline int ask(struct loop *loop, struct pg_conn *conn, const char *sql,
                      struct pg_results *results, struct err *err)
{
    struct waited waited;
    int rc;

    waited_init(&waited, loop);
    rc = wait_for(&waited, pg_query(conn, &waited.op, sql, 0, results));
    if (err != NULL)
        *err = waited.op.err;
    return rc;
}

/* Runs a query that must succeed and gives the first column of its last result's first row (""
 * without rows), good until the next call. */
static inline const char *ask_text(struct loop *loop, struct pg_conn *conn, const char *sql)
{
    static char text[8192];
    struct pg_results results;
    struct err err;
    const PGresult *last;

    if (ask(loop, conn, sql, &results, &err) != 0)
        fail_msg("%s: %s", sql, err_text(&err));
    last = results.results[results.count - 1];
    snprintf(text, sizeof(text), "%s", PQntuples(last) > 0 ? PQgetvalue(last, 0, 0) : "");
    pg_results_free(&results);
    return text;
}

#endif
