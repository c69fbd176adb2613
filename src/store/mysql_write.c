#include "base/mem.h"
#include "io/work.h"
#include "store/mysql_private.h"
#include "store/record.h"

enum {
    WRITE_DUPLICATE = 1062, /* the server's number for a row that is there already */
    WRITE_TRIES = 12,
};

/*
 *  PLANNING ─> WRITING ─> (done)        the usual case: one round trip. If it turns out that rows
 *      ^          │                     of the history are there already, or records depend on what
 *      ├──────────┘                     is applied:
 *
 *  PLANNING ─> LOOKING ─> PLANNING ─> WRITING ─> (done)
 *      ^          │                      │      again from the start when servers got into each
 *      └──────────┴──────────────────────┘      other's way, and for each request by itself when
 *                                               the database refused a row of one of them
 *
 * PLANNING is on the thread pool. LOOKING locks what the records are about, WRITING goes on in the
 * same transaction.
 */

static void write_start(struct mystore_write *write);

static struct store_my *write_store(struct mystore_write *write)
{
    return container_of(write, struct store_my, write);
}

static struct request *write_request(struct list *node)
{
    return container_of(node, struct request, link);
}

bool mystore_write_has_turn(const struct mystore_write *write, struct list *node)
{
    return write_request(node)->rc == 0 && (write->apart == NULL || write->apart == node);
}

/* --- the end --- */

static void write_end(struct mystore_write *write)
{
    mystore_plan_free(&write->plan);
    mystore_call_free(&write->call);
    core_end_batch(&write_store(write)->core);
}

/* Gives the outcome to the requests whose turn it was. */
static void write_settle(struct mystore_write *write, int rc)
{
    list_foreach(node, write->batch) {
        if (rc == 0 || !mystore_write_has_turn(write, node))
            continue;
        write_request(node)->rc = rc;
        write_request(node)->op->err = write->step.err;
    }
}

/* The next request that is to be tried by itself, NULL at the end. */
static struct list *write_next_apart(const struct mystore_write *write)
{
    struct list *node = write->apart != NULL ? write->apart : write->batch;

    do
        node = node->next;
    while (node != write->batch && write_request(node)->rc != 0);
    return node != write->batch ? node : NULL;
}

static void write_begin(struct mystore_write *write)
{
    write->look = false;
    write->tries = 0;
    write_start(write);
}

/* Those whose turn it was have their outcome, unless one of them is to be found among many. */
static void write_end_turn(struct mystore_write *write, int rc)
{
    bool all = write->apart == NULL;

    if (rc != ERR_DB || !all || write->good <= 1)
        write_settle(write, rc);
    if (all && (rc != ERR_DB || write->good <= 1)) {
        write_end(write);
        return;
    }
    write->apart = write_next_apart(write);
    if (write->apart != NULL)
        write_begin(write);
    else
        write_end(write);
}

static bool write_begins_again(struct mystore_write *write, int rc)
{
    if (rc == 0 || ++write->tries >= WRITE_TRIES)
        return false;
    if (write->call.error == WRITE_DUPLICATE && !write->look) {
        write->look = true;
        return true;
    }
    return write->call.again;
}

/* --- planning --- */

/* Refuses what no row can hold and counts the requests that are left. */
static void write_check(struct mystore_write *write)
{
    write->good = 0;
    list_foreach(node, write->batch) {
        struct request *request = write_request(node);

        for (size_t i = 0; i < request->record_count && request->rc == 0; i++)
            request->rc = record_check(&request->records[i], &request->op->err);
        if (request->rc == 0)
            write->good++;
    }
}

static int write_take_records(struct mystore_write *write)
{
    int rc = 0;

    list_foreach(node, write->batch) {
        struct request *request = write_request(node);

        if (!mystore_write_has_turn(write, node))
            continue;
        for (size_t i = 0; i < request->record_count && rc == 0; i++)
            rc = mystore_plan_take(&write->plan, &request->records[i]);
    }
    mystore_plan_order(&write->plan);
    return rc;
}

static int write_init_plan(struct mystore_write *write)
{
    size_t count = 0;

    mystore_plan_free(&write->plan);
    list_foreach(node, write->batch)
        if (mystore_write_has_turn(write, node))
            count += write_request(node)->record_count;
    return mystore_plan_init(&write->plan, count);
}

/* With what was looked at, if the call has done that. */
static int write_make_plan(struct mystore_write *write)
{
    int rc = write_init_plan(write);

    write->plan.looked = write->looking;
    if (rc == 0 && write->looking)
        rc = mystore_write_absorb_look(write);
    if (rc == 0)
        rc = write_take_records(write);
    return rc;
}

static int write_plan_on_thread(void *arg, struct err *err)
{
    struct mystore_write *write = arg;
    int rc;

    if (write->apart == NULL && !write->looking)
        write_check(write);
    rc = write_make_plan(write);
    if (rc != 0)
        return err_set(err, rc, "%s", err_code_text(rc));
    mystore_script_clear(&write->call.script);
    write->looking = !write->looking && (write->look || write->plan.needs_look);
    if (write->looking)
        mystore_write_put_look(write);
    else
        mystore_write_put_all(write);
    return mystore_script_close(&write->call.script, err);
}

static void write_on_planned(struct op *op, int rc);

static void write_plan(struct mystore_write *write)
{
    int rc;

    op_init(&write->step, write_on_planned);
    rc = work_start(write_store(write)->loop, &write->step, write_plan_on_thread, write);
    if (rc != 0)
        write_end_turn(write, rc);
}

static void write_start(struct mystore_write *write)
{
    mystore_call_free(&write->call);
    mystore_call_init(&write->call, write_store(write));
    write->looking = false;
    write_plan(write);
}

/* --- looking and writing --- */

static void write_on_called(struct op *op, int rc)
{
    struct mystore_write *write = container_of(op, struct mystore_write, step);

    if (rc == 0 && write->looking)
        write_plan(write);
    else if (write_begins_again(write, rc))
        write_start(write);
    else
        write_end_turn(write, rc);
}

static void write_on_planned(struct op *op, int rc)
{
    struct mystore_write *write = container_of(op, struct mystore_write, step);

    if (rc == 0 && write->good == 0) {
        write_end(write);
        return;
    }
    if (rc == 0) {
        write->call.keep = write->looking;
        write->call.repeatable = write->looking || write->plan.keyed;
        op_init(&write->step, write_on_called);
        rc = mystore_call_start(&write->call, &write->step);
    }
    if (rc != 0)
        write_end_turn(write, rc);
}

void mystore_write_run(struct store_my *my, struct list *batch)
{
    struct mystore_write *write = &my->write;

    *write = (struct mystore_write){.batch = batch};
    mystore_call_init(&write->call, my);
    list_foreach(node, batch)
        write_request(node)->rc = 0;
    write_begin(write);
}
