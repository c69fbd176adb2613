#ifndef BFM_TESTS_MARIA_FIXTURE_H
#define BFM_TESTS_MARIA_FIXTURE_H

#include "loop_fixture.h"

#include "driver/maria.h"

/*
 * What the component tests against MariaDB share. The server is named by BFM_TEST_MARIA_HOST,
 * _PORT, _USER, _PASSWORD and _DATABASE; the user may do everything.
 */

static inline struct maria_settings maria_fixture_settings(void)
{
    return (struct maria_settings){
        .host = fixture_env("BFM_TEST_MARIA_HOST", "127.0.0.1"),
        .port = fixture_env("BFM_TEST_MARIA_PORT", "3306"),
        .user = fixture_env("BFM_TEST_MARIA_USER", "bfm"),
        .password = fixture_env("BFM_TEST_MARIA_PASSWORD", NULL),
        .database = fixture_env("BFM_TEST_MARIA_DATABASE", NULL),
        .program_name = "bfm test",
        .max_open = 4,
        .max_idle = 4,
        .connect_timeout_ms = 10000,
    };
}

static inline void maria_close(struct loop *loop, struct maria_pool *pool)
{
    struct waited waited;

    waited_init(&waited, loop);
    assert_int_equal(wait_for(&waited, maria_pool_close(pool, &waited.op)), 0);
}

static inline struct maria_conn *maria_take(struct loop *loop, struct maria_pool *pool)
{
    struct maria_conn *conn = NULL;
    struct waited waited;

    waited_init(&waited, loop);
    if (wait_for(&waited, maria_acquire(pool, &waited.op, &conn)) != 0)
        fail_msg("acquire: %s", err_text(&waited.op.err));
    return conn;
}

/* Runs one query; `err` may be NULL. */
static inline int maria_ask(struct loop *loop, struct maria_conn *conn, const char *sql,
                            struct maria_results *results, struct err *err)
{
    struct waited waited;
    int rc;

    waited_init(&waited, loop);
    rc = wait_for(&waited, maria_query(conn, &waited.op, sql, strlen(sql), 0, results));
    if (err != NULL)
        *err = waited.op.err;
    return rc;
}

/* Runs a query that must succeed and gives the first column of its last result's first row (""
 * without rows), good until the next call. */
static inline const char *maria_ask_text(struct loop *loop, struct maria_conn *conn,
                                         const char *sql)
{
    static char text[8192];
    struct maria_results results;
    const struct maria_result *last;
    const char *value = "";
    struct err err;

    if (maria_ask(loop, conn, sql, &results, &err) != 0)
        fail_msg("%s: %s", sql, err_text(&err));
    last = &results.results[results.count - 1];
    if (last->rows > 0)
        value = maria_value(last, 0, 0, NULL);
    snprintf(text, sizeof(text), "%s", value != NULL ? value : "NULL");
    maria_results_free(&results);
    return text;
}

#endif
