#include "base/mem.h"
#include "driver/pg_private.h"
#include "io/work.h"

/*
 * Cancel requests block a thread for as long as the server or the network likes, and the threads
 * are few and everybody's: so at most PG_CANCELS_MAX of the process are under way, and the others
 * wait in turn.
 */
enum {
    PG_CANCELS_MAX = 2,
    PG_CANCEL_TEXT_MAX = 256,
};

struct pg_cancel {
    struct list link; /* only while it waits */
    struct pg_pool *pool;
    struct pg_conn *conn; /* NULL: nobody waits for it */
    PGcancel *handle;
    struct op op;
};

static struct list pg_cancels_waiting;
static unsigned pg_cancels_running;

static void pg_cancel_pump(void);

static void pg_cancel_free(struct pg_cancel *cancel)
{
    if (cancel->conn != NULL)
        cancel->conn->cancel = NULL;
    PQfreeCancel(cancel->handle);
    mem_free(cancel);
}

static int pg_cancel_on_thread(void *arg, struct err *err)
{
    char text[PG_CANCEL_TEXT_MAX];

    if (PQcancel(arg, text, sizeof(text)) == 0)
        return err_set(err, ERR_UNREACHABLE, "the cancel request could not be sent");
    return 0;
}

static void pg_cancel_on_done(struct op *op, int rc)
{
    struct pg_cancel *cancel = container_of(op, struct pg_cancel, op);
    struct pg_conn *conn = cancel->conn;
    struct pg_pool *pool = cancel->pool;

    (void)rc;
    pg_cancels_running--;
    pg_cancel_free(cancel);
    pg_cancel_pump();
    pool_detach(&pool->pool);
    if (conn != NULL)
        pg_query_on_cancel_done(conn);
}

static void pg_cancel_run(struct pg_cancel *cancel)
{
    op_init(&cancel->op, pg_cancel_on_done);
    if (work_start(cancel->pool->pool.loop, &cancel->op, pg_cancel_on_thread, cancel->handle) !=
        0) {
        pg_cancel_free(cancel);
        return;
    }
    cancel->conn->retire = true;      /* it may come late */
    pool_attach(&cancel->pool->pool); /* the pool stays until the thread is done */
    pg_cancels_running++;
}

static void pg_cancel_pump(void)
{
    while (pg_cancels_running < PG_CANCELS_MAX && !list_is_empty(&pg_cancels_waiting)) {
        struct pg_cancel *cancel = container_of(pg_cancels_waiting.next, struct pg_cancel, link);

        list_remove(&cancel->link);
        pg_cancel_run(cancel);
    }
}

void pg_cancel_start(struct pg_conn *conn)
{
    struct pg_cancel *cancel = mem_calloc(1, sizeof(*cancel));

    if (cancel == NULL)
        return;
    cancel->handle = PQgetCancel(conn->pq);
    if (cancel->handle == NULL) {
        mem_free(cancel);
        return;
    }
    if (pg_cancels_waiting.next == NULL)
        list_init(&pg_cancels_waiting);
    cancel->pool = conn->pool;
    cancel->conn = conn;
    conn->cancel = cancel;
    list_push_back(&pg_cancels_waiting, &cancel->link);
    pg_cancel_pump();
}

bool pg_cancel_drop(struct pg_conn *conn)
{
    struct pg_cancel *cancel = conn->cancel;

    if (cancel == NULL || !list_is_linked(&cancel->link))
        return cancel != NULL;
    list_remove(&cancel->link);
    pg_cancel_free(cancel);
    return false;
}

void pg_cancel_leave(struct pg_conn *conn)
{
    conn->cancel->conn = NULL;
    conn->cancel = NULL;
}
