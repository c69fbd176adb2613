#include <stdio.h>

#include "driver/pg_private.h"

enum {
    PG_HOSTS_SIZE = RESOLVE_ADDRESSES_MAX * 256,
    PG_NUMBER_SIZE = 12,
};

/* The parameters of one connection, for PQconnectStartParams(). */
struct pg_params {
    const char *keys[24];
    const char *values[24];
    size_t count;
    char hostaddr[RESOLVE_ADDRESSES_MAX * RESOLVE_ADDRESS_SIZE];
    char host[PG_HOSTS_SIZE];
    char numbers[4][PG_NUMBER_SIZE];
};

static void pg_params_put(struct pg_params *params, const char *key, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    assert(params->count + 1 < ARRAY_SIZE(params->keys));
    params->keys[params->count] = key;
    params->values[params->count] = value;
    params->count++;
}

/* libpq wants as many names as addresses, and checks certificates against the name. */
static int pg_params_put_hosts(struct pg_params *params, const char *host,
                               const struct resolve_result *addresses)
{
    size_t addr_len = 0, host_len = 0;

    for (size_t i = 0; i < addresses->count; i++) {
        const char *comma = i > 0 ? "," : "";

        addr_len +=
            (size_t)snprintf(params->hostaddr + addr_len, sizeof(params->hostaddr) - addr_len,
                             "%s%s", comma, addresses->addresses[i]);
        if (host_len < sizeof(params->host))
            host_len += (size_t)snprintf(params->host + host_len, sizeof(params->host) - host_len,
                                         "%s%s", comma, host);
    }
    if (host_len >= sizeof(params->host))
        return ERR_LIMIT;
    pg_params_put(params, "hostaddr", params->hostaddr);
    pg_params_put(params, "host", params->host);
    return 0;
}

static void pg_params_put_number(struct pg_params *params, const char *key, unsigned number,
                                 char text[PG_NUMBER_SIZE])
{
    if (number == 0)
        return;
    snprintf(text, PG_NUMBER_SIZE, "%u", number);
    pg_params_put(params, key, text);
}

static void pg_params_put_keepalive(struct pg_params *params, const struct keepalive *keepalive)
{
    pg_params_put(params, "keepalives", keepalive->idle_s > 0 ? "1" : "0");
    pg_params_put_number(params, "keepalives_idle", keepalive->idle_s, params->numbers[0]);
    pg_params_put_number(params, "keepalives_interval", keepalive->interval_s, params->numbers[1]);
    pg_params_put_number(params, "keepalives_count", keepalive->count, params->numbers[2]);
    pg_params_put_number(params, "tcp_user_timeout", keepalive->user_timeout_ms,
                         params->numbers[3]);
}

static int pg_params_fill(struct pg_params *params, const struct pg_settings *settings,
                          const struct resolve_result *addresses)
{
    if (settings->host[0] == '/')
        pg_params_put(params, "host", settings->host);
    else if (pg_params_put_hosts(params, settings->host, addresses) != 0)
        return ERR_LIMIT;
    pg_params_put(params, "port", settings->port);
    pg_params_put(params, "user", settings->user);
    pg_params_put(params, "password", settings->password);
    pg_params_put(params, "dbname", settings->database);
    pg_params_put(params, "sslmode", settings->sslmode != NULL ? settings->sslmode : "prefer");
    pg_params_put(params, "gssencmode", "disable"); /* looking for a ticket would block */
    pg_params_put(params, "application_name", settings->application_name);
    pg_params_put(params, "client_encoding", "UTF8");
    pg_params_put_keepalive(params, &settings->keepalive);
    return 0;
}

static void pg_connect_fail(struct pg_conn *conn, int code, const char *text)
{
    struct err err;

    err_set(&err, code, "%s", text);
    pool_on_connect_failed(&conn->pooled, &err);
}

static void pg_connect_on_timer(struct timer *timer)
{
    pg_connect_fail(container_of(timer, struct pg_conn, timer), ERR_UNREACHABLE,
                    "cannot connect: timed out");
}

static void pg_connect_on_notice(void *arg, const PGresult *notice)
{
    pg_query_on_notice(arg, notice);
}

static void pg_connect_succeed(struct pg_conn *conn)
{
    sched_stop_timer(pg_conn_sched(conn), &conn->timer);
    PQsetErrorVerbosity(conn->pq, PQERRORS_DEFAULT);
    if (PQsetnonblocking(conn->pq, 1) != 0)
        pg_connect_fail(conn, ERR_UNREACHABLE, "cannot connect: the connection broke at once");
    else
        pool_on_connected(&conn->pooled);
}

static void pg_connect_watch(struct pg_conn *conn, int events)
{
    int rc = pg_conn_watch(conn, events);

    if (rc != 0)
        pg_connect_fail(conn, rc, "cannot connect: the socket cannot be watched");
}

static void pg_connect_step(struct pg_conn *conn, PostgresPollingStatusType step)
{
    struct err err;

    switch (step) {
    case PGRES_POLLING_READING:
        pg_connect_watch(conn, UV_READABLE);
        return;
    case PGRES_POLLING_WRITING:
    case PGRES_POLLING_ACTIVE:
        pg_connect_watch(conn, UV_WRITABLE);
        return;
    case PGRES_POLLING_OK:
        pg_connect_succeed(conn);
        return;
    case PGRES_POLLING_FAILED:
        break;
    }
    pg_error_of_connect(PQerrorMessage(conn->pq), &err);
    pool_on_connect_failed(&conn->pooled, &err);
}

void pg_connect_on_socket(struct pg_conn *conn)
{
    pg_connect_step(conn, PQconnectPoll(conn->pq));
}

static void pg_connect_begin(struct pg_conn *conn)
{
    struct pg_params params = {.count = 0};

    pg_conn_move(conn, PG_CONNECTING);
    if (pg_params_fill(&params, &conn->pool->settings, &conn->addresses) != 0) {
        pg_connect_fail(conn, ERR_UNREACHABLE, "cannot connect: the host name is too long");
        return;
    }
    conn->pq = PQconnectStartParams(params.keys, params.values, 0);
    if (conn->pq == NULL) {
        pg_connect_fail(conn, ERR_NOMEM, "out of memory");
        return;
    }
    /* Only severity and SQLSTATE in what the server says: enough to name the reason. */
    PQsetErrorVerbosity(conn->pq, PQERRORS_SQLSTATE);
    PQsetNoticeReceiver(conn->pq, pg_connect_on_notice, conn);
    pg_connect_step(conn, PQstatus(conn->pq) == CONNECTION_BAD ? PGRES_POLLING_FAILED
                                                               : PGRES_POLLING_WRITING);
}

static void pg_connect_on_resolved(struct op *op, int rc)
{
    struct pg_conn *conn = container_of(op, struct pg_conn, resolve_op);

    if (conn->sm.state == PG_CLOSING) {
        pg_conn_try_free(conn);
    } else if (rc != 0) {
        err_prefix(&op->err, "cannot connect");
        pool_on_connect_failed(&conn->pooled, &op->err);
    } else {
        pg_connect_begin(conn);
    }
}

int pg_connect_start(struct pg_conn *conn, struct err *err)
{
    const struct pg_settings *settings = &conn->pool->settings;
    int rc = 0;

    op_init(&conn->resolve_op, pg_connect_on_resolved);
    if (settings->host[0] == '/') {
        op_begin(&conn->resolve_op, NULL, NULL);
        op_finish_later(&conn->resolve_op, pg_conn_sched(conn), 0);
    } else {
        rc = resolve_start(conn->pool->pool.loop, &conn->resolve_op, settings->host,
                           &conn->addresses);
    }
    if (rc != 0) {
        *err = conn->resolve_op.err;
        return rc;
    }
    conn->timer.fire = pg_connect_on_timer;
    if (settings->connect_timeout_ms > 0)
        sched_start_timer(pg_conn_sched(conn), &conn->timer, settings->connect_timeout_ms);
    return 0;
}
