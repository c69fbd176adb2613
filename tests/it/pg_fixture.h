#ifndef BFM_TESTS_PG_FIXTURE_H
#define BFM_TESTS_PG_FIXTURE_H

#include "cmocka_all.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "driver/pg.h"

/*
 * What the component tests against PostgreSQL share. The server is named by BFM_TEST_PG_HOST,
 * _PORT, _USER, _PASSWORD and _DATABASE; the role must be a superuser. BFM_TEST_PGBOUNCER_PORT
 * names a PgBouncer in transaction mode in front of it.
 */

static inline const char *fixture_env(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : otherwise;
}

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

/* An op that ends the loop when it is done. */
struct waited {
    struct op op;
    struct loop *loop;
    bool done;
    int rc;
    unsigned *count; /* may be NULL: incremented when done */
};

static inline void on_waited(struct op *op, int rc)
{
    struct waited *waited = container_of(op, struct waited, op);

    waited->done = true;
    waited->rc = rc;
    if (waited->count != NULL)
        ++*waited->count;
    loop_stop(waited->loop);
}

static inline void waited_init(struct waited *waited, struct loop *loop)
{
    *waited = (struct waited){.loop = loop};
    op_init(&waited->op, on_waited);
}

/* Runs the loop until it is done; `rc` is what the start returned. */
static inline int wait_for(struct waited *waited, int rc)
{
    if (rc != 0)
        return rc;
    while (!waited->done) {
        loop_run(waited->loop);
        if (!waited->done && !uv_loop_alive(loop_uv(waited->loop)))
            fail_msg("nothing is left to wait for");
    }
    return waited->rc;
}

static inline int wait_ms(struct loop *loop, uint64_t ms)
{
    struct op_sleep nap = {.op = NULL};
    struct waited waited;

    waited_init(&waited, loop);
    return wait_for(&waited, op_sleep_start(&nap, loop_sched(loop), &waited.op, ms));
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

/* A listener that accepts connections and says nothing on them: its fd, and its port as text. */
static inline int listen_silently(char *port, size_t size)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    snprintf(port, size, "%d", ntohs(addr.sin_port));
    return fd;
}

#endif
