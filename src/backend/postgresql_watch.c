#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/postgresql_private.h"
#include "base/utf8.h"

/* The session is the one whose query starts with the marker; its blockers are asked for by pid. */
static const char watch_sql[] =
    "SELECT b.pid, regexp_replace(left(coalesce(s.query,''),200),'\\s+',' ','g')"
    " FROM pg_stat_activity a CROSS JOIN LATERAL unnest(pg_blocking_pids(a.pid)) AS b(pid)"
    " LEFT JOIN pg_stat_activity s ON s.pid=b.pid"
    " WHERE a.state='active' AND starts_with(a.query,$1) ORDER BY 1 LIMIT 1";

static void watch_arm(struct pgb_watch *watch)
{
    sched_start_timer(pgb_sched(watch->pgb), &watch->timer, watch->every_ms);
}

/* One look is over. */
static void watch_rest(struct pgb_watch *watch)
{
    watch->asking = false;
    if (watch->conn != NULL)
        pg_release(watch->conn);
    watch->conn = NULL;
    if (!watch->stopped)
        watch_arm(watch);
    else
        watch->on_idle(watch); /* the watch may be gone now */
}

/* How much of a query may be shown: of one with a password only what it is, its first two words. */
static size_t watch_visible(const char *query)
{
    size_t len = strlen(query), words = 0;

    if (strcasestr(query, "password") == NULL)
        return len;
    for (size_t i = 0; i < len; i++)
        if (query[i] == ' ' && i > 0 && query[i - 1] != ' ' && ++words == 2)
            return i;
    return 0;
}

static void watch_read(struct pgb_watch *watch)
{
    const size_t max = sizeof(watch->blocker) - 1;
    const PGresult *result = watch->results.count > 0 ? watch->results.results[0] : NULL;
    int len;

    if (result == NULL || PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) == 0)
        return;
    len = snprintf(watch->blocker, sizeof(watch->blocker), "blocked by pid %s: %.*s",
                   PQgetvalue(result, 0, 0), (int)watch_visible(PQgetvalue(result, 0, 1)),
                   PQgetvalue(result, 0, 1));
    if (len > 0 && (size_t)len > max)
        watch->blocker[utf8_cut(watch->blocker, max)] = '\0';
}

static void watch_on_op(struct op *op, int rc)
{
    struct pgb_watch *watch = container_of(op, struct pgb_watch, op);
    const char *const values[] = {watch->marker};

    if (watch->asking) {
        if (rc == 0)
            watch_read(watch);
        pg_results_free(&watch->results);
    } else if (rc == 0 && !watch->stopped) {
        watch->asking = true;
        if (pg_query_params(watch->conn, op, watch_sql, 1, values, PGB_WATCH_QUERY_MS,
                            &watch->results) == 0)
            return;
        pg_results_free(&watch->results);
    }
    watch_rest(watch);
}

static void watch_on_timer(struct timer *timer)
{
    struct pgb_watch *watch = container_of(timer, struct pgb_watch, timer);

    op_init(&watch->op, watch_on_op);
    if (!pgb_has_room(watch->pgb) || pg_acquire(watch->pgb->pool, &watch->op, &watch->conn) != 0)
        watch_arm(watch);
}

void pgb_watch_start(struct pgb_watch *watch, struct pgb *pgb, const char *marker,
                     uint64_t every_ms)
{
    watch->pgb = pgb;
    watch->marker = marker;
    watch->every_ms = every_ms;
    watch->stopped = false;
    watch->timer.fire = watch_on_timer;
    if (every_ms > 0)
        watch_arm(watch);
}

bool pgb_watch_stop(struct pgb_watch *watch)
{
    watch->stopped = true;
    if (watch->pgb == NULL)
        return true; /* never started */
    sched_stop_timer(pgb_sched(watch->pgb), &watch->timer);
    if (!watch->op.active)
        return true;
    if (!watch->asking)
        op_cancel(&watch->op); /* a question under way is short */
    return false;
}
