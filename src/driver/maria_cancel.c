#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "driver/maria_private.h"

/*
 * A query is ended by KILL QUERY from a connection of its own, beside the pool's limit. A server
 * that does not answer does not answer these either, so at most MARIA_KILLS_MAX of a pool are under
 * way, each for MARIA_KILL_MS, and the others wait in turn.
 *
 * One request is often not enough, so it is asked again until the query has ended. The server only
 * sets a flag of the session, and drops it where no statement is at work: before it has begun with
 * what it read, which takes seconds where it is starved, and between two statements of a query. Of
 * a query of short statements more than half of the requests were lost so (MariaDB 10.11, up to 9
 * in a row). And DO swallows it like any other error: that statement ends, with success, and the
 * query goes on with the next; one of many DOs takes a request for each.
 */
enum {
    MARIA_KILLS_MAX = 4,
    MARIA_KILL_MS = 10000,
    MARIA_KILL_TRIES = 300, /* a minute: what does not end then must not keep others waiting */
    MARIA_KILL_AGAIN_MS = 200,
    MARIA_KILL_SQL_SIZE = 48,
};

struct maria_killer {
    struct list link; /* only while it waits */
    struct maria_pool *pool;
    struct maria_conn *target; /* NULL: nobody waits for it */
    struct maria_conn *conn;   /* its own */
    bool sent;                 /* and not answered */
    unsigned tries;
    struct op_sleep nap;
    char sql[MARIA_KILL_SQL_SIZE];
    struct op op;
    struct maria_results results;
};

static void maria_cancel_pump(struct maria_pool *pool);

static void maria_killer_free(struct maria_killer *killer)
{
    if (killer->target != NULL)
        killer->target->kill = NULL;
    mem_free(killer);
}

/* A request that was lost leaves the query running to its own end. */
static void maria_killer_end(struct maria_killer *killer)
{
    struct maria_conn *conn = killer->conn;
    struct maria_conn *target = killer->target;
    struct maria_pool *pool = killer->pool;

    pool->kills_running--;
    maria_killer_free(killer);
    maria_cancel_pump(pool);
    maria_conn_close(conn);
    if (target != NULL)
        maria_query_on_cancel_done(target);
}

static void maria_killer_send(struct maria_killer *killer);

static void maria_killer_on_nap(struct op *op, int rc)
{
    struct maria_killer *killer = container_of(op, struct maria_killer, op);

    (void)rc;
    if (killer->target == NULL || killer->target->ended)
        maria_killer_end(killer);
    else
        maria_killer_send(killer);
}

static void maria_killer_on_done(struct op *op, int rc)
{
    struct maria_killer *killer = container_of(op, struct maria_killer, op);
    bool again = rc == 0 && killer->target != NULL && !killer->target->ended &&
                 ++killer->tries < MARIA_KILL_TRIES;

    maria_results_free(&killer->results);
    killer->sent = false;
    op_init(&killer->op, maria_killer_on_nap);
    if (!again || op_sleep_start(&killer->nap, maria_conn_sched(killer->conn), &killer->op,
                                 MARIA_KILL_AGAIN_MS) != 0)
        maria_killer_end(killer);
}

static void maria_killer_send(struct maria_killer *killer)
{
    op_init(&killer->op, maria_killer_on_done);
    if (maria_query(killer->conn, &killer->op, killer->sql, strlen(killer->sql), MARIA_KILL_MS,
                    &killer->results) != 0) {
        maria_killer_end(killer);
        return;
    }
    killer->sent = true;
    killer->target->retire = true; /* it may come late */
}

/* Whether the connection led to the server that has the query: a name may stand for many. */
static bool maria_killer_is_right(const struct maria_killer *killer)
{
    return killer->target != NULL && strcmp(killer->target->server, killer->conn->server) == 0;
}

void maria_cancel_on_connected(struct maria_conn *conn, const struct err *err)
{
    struct maria_killer *killer = conn->killer;

    if (err != NULL || !maria_killer_is_right(killer)) {
        maria_killer_end(killer);
        return;
    }
    snprintf(killer->sql, sizeof(killer->sql), "KILL QUERY %lu", killer->target->session_id);
    maria_killer_send(killer);
}

static bool maria_killer_run(struct maria_killer *killer)
{
    struct maria_pool *pool = killer->pool;
    struct maria_conn *conn = maria_conn_create(pool);
    const struct maria_conn *target = killer->target;
    struct err err;

    if (conn == NULL)
        return false;
    killer->conn = conn;
    conn->killer = killer;
    conn->plain = target->plain;
    if (target->addresses.count > 0) {
        conn->addresses = target->addresses;
        memcpy(conn->addresses.addresses[0], target->addresses.addresses[target->address],
               RESOLVE_ADDRESS_SIZE);
        conn->addresses.count = 1;
    }
    if (maria_connect_start(conn, &err) != 0) {
        maria_conn_close(conn);
        return false;
    }
    maria_connect_limit(conn, MARIA_KILL_MS);
    return true;
}

static void maria_cancel_pump(struct maria_pool *pool)
{
    while (pool->kills_running < MARIA_KILLS_MAX && !list_is_empty(&pool->kills_waiting)) {
        struct maria_killer *killer =
            container_of(list_pop_front(&pool->kills_waiting), struct maria_killer, link);

        if (maria_killer_run(killer))
            pool->kills_running++;
        else
            maria_killer_free(killer);
    }
}

void maria_cancel_start(struct maria_conn *conn)
{
    struct maria_killer *killer = mem_calloc(1, sizeof(*killer));

    if (killer == NULL)
        return;
    killer->pool = conn->pool;
    killer->target = conn;
    conn->kill = killer;
    list_push_back(&conn->pool->kills_waiting, &killer->link);
    maria_cancel_pump(conn->pool);
}

void maria_cancel_leave(struct maria_conn *conn)
{
    conn->kill->target = NULL;
    conn->kill = NULL;
}

bool maria_cancel_drop(struct maria_conn *conn)
{
    struct maria_killer *killer = conn->kill;

    if (killer == NULL)
        return false;
    if (list_is_linked(&killer->link)) {
        list_remove(&killer->link);
        maria_killer_free(killer);
        return false;
    }
    if (!killer->sent)
        maria_cancel_leave(conn);
    return killer->sent;
}
