#include "store/sqlite.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/work.h"
#include "store/sqlite_private.h"

static struct store_sqlite *lite_of(struct store_core *core)
{
    return container_of(core, struct store_sqlite, core);
}

/* --- on the thread --- */

static void lite_close_file(struct store_sqlite *lite)
{
    sqlite_close(lite->db);
    lite->db = NULL;
}

/* `prepare`: looks for missing tables even if it is open. */
static int lite_open(struct store_sqlite *lite, bool prepare, struct err *err)
{
    int rc = 0;

    if (lite->db != NULL && sqlite_has_moved(lite->db))
        lite_close_file(lite); /* what is written to a removed file is lost */
    if (lite->db != NULL && !prepare)
        return 0;
    if (lite->db == NULL) {
        rc = sqlite_open(lite->path, &lite->db, err);
        lite->synced = true;
    }
    if (rc != 0)
        return rc;
    rc = sqlite_schema_ensure(lite->db, err);
    if (rc != 0)
        lite_close_file(lite);
    return rc;
}

static void lite_fail_unset(struct list *requests, int rc, const struct err *err)
{
    if (rc != 0)
        core_fail_list(requests, err);
}

static void lite_drop_broken(struct store_sqlite *lite)
{
    if (lite->db != NULL && sqlite_is_broken(lite->db))
        lite_close_file(lite);
}

static int lite_batch_on_thread(void *arg, struct err *err)
{
    struct store_sqlite *lite = arg;
    struct list *batch = &lite->core.batch;
    struct request *first = container_of(batch->next, struct request, link);
    int rc = lite_open(lite, first->kind == REQUEST_PREPARE, err);

    lite_fail_unset(batch, rc, err);
    if (rc == 0 && first->kind == REQUEST_SYNC)
        sqlite_sync_step(lite, first);
    else if (rc == 0 && first->kind != REQUEST_PREPARE)
        sqlite_write_batch(lite, batch);
    lite_drop_broken(lite);
    return 0;
}

/* Reads that go together see one state. */
static int lite_reads_on_thread(void *arg, struct err *err)
{
    struct store_sqlite *lite = arg;
    int rc = lite_open(lite, false, err);

    if (rc == 0)
        rc = sqlite_exec(lite->db, "BEGIN", err);
    lite_fail_unset(&lite->reads, rc, err);
    if (rc == 0) {
        list_foreach(node, &lite->reads)
            sqlite_read_run(lite->db, container_of(node, struct request, link));
        sqlite_rollback(lite->db);
    }
    lite_drop_broken(lite);
    return 0;
}

static int lite_close_on_thread(void *arg, struct err *err)
{
    (void)err;
    lite_close_file(arg);
    return 0;
}

/* --- on the loop --- */

static void lite_on_batch(struct op *op, int rc)
{
    struct store_sqlite *lite = container_of(op, struct store_sqlite, job);

    (void)rc; /* each request has its own */
    core_end_batch(&lite->core);
}

static void lite_run_batch(struct store_core *core, struct list *batch)
{
    struct store_sqlite *lite = lite_of(core);

    op_init(&lite->job, lite_on_batch);
    if (work_start(lite->loop, &lite->job, lite_batch_on_thread, lite) == 0)
        return;
    core_fail_list(batch, &lite->job.err);
    core_end_batch(core);
}

static void lite_end_reads(struct store_sqlite *lite)
{
    struct list ended;
    struct list *node;

    list_init(&ended);
    list_append_all(&ended, &lite->reads);
    while ((node = list_pop_front(&ended)) != NULL)
        core_end_read(container_of(node, struct request, link));
}

static void lite_on_reads(struct op *op, int rc)
{
    (void)rc;
    lite_end_reads(container_of(op, struct store_sqlite, job));
}

static void lite_run_reads(struct store_core *core, struct list *reads)
{
    struct store_sqlite *lite = lite_of(core);

    list_append_all(&lite->reads, reads);
    op_init(&lite->job, lite_on_reads);
    if (work_start(lite->loop, &lite->job, lite_reads_on_thread, lite) == 0)
        return;
    core_fail_list(&lite->reads, &lite->job.err);
    lite_end_reads(lite);
}

static void lite_release(struct request *request)
{
    sqlite_sync_free(request->state);
}

static void lite_on_closed(struct op *op, int rc)
{
    struct store_sqlite *lite = container_of(op, struct store_sqlite, job);
    struct op *close_op = lite->close_op;

    (void)rc;
    mem_free(lite->path);
    mem_free(lite);
    op_finish(close_op, 0);
}

/* Closing must not fail: without memory for a job it is done here, though it may take a moment. */
static void lite_close(struct store_core *core, struct op *op)
{
    struct store_sqlite *lite = lite_of(core);

    lite->close_op = op;
    op_init(&lite->job, lite_on_closed);
    if (work_start(lite->loop, &lite->job, lite_close_on_thread, lite) == 0)
        return;
    lite_close_file(lite);
    lite_on_closed(&lite->job, 0);
}

static const struct core_ops lite_core_ops = {
    .exclusive = true,
    .run_batch = lite_run_batch,
    .run_reads = lite_run_reads,
    .release = lite_release,
    .close = lite_close,
};

static const struct store_ops lite_ops = {
    .name = "sqlite",
    CORE_STORE_OPS,
};

struct store *store_sqlite_create(struct loop *loop, const char *path)
{
    struct store_sqlite *lite = mem_calloc(1, sizeof(*lite));
    size_t size = strlen(path) + sizeof("./");

    if (lite == NULL)
        return NULL;
    lite->path = mem_alloc(size);
    if (lite->path == NULL) {
        mem_free(lite);
        return NULL;
    }
    /* in front of a relative path, so that no name (":memory:") means anything else to SQLite */
    snprintf(lite->path, size, "%s%s", path[0] == '/' ? "" : "./", path);
    core_init(&lite->core, &lite_ops, &lite_core_ops, loop_sched(loop));
    lite->loop = loop;
    list_init(&lite->reads);
    return &lite->core.store;
}
