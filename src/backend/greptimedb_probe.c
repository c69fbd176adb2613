#include "backend/greptimedb_probe.h"

#include "backend/greptimedb_sql.h"

static int probe_send(struct gtdb_probe *probe)
{
    const struct gtdb_question question = {.database = "public",
                                           .sql = buf_str(&probe->sql),
                                           .len = probe->sql.len,
                                           .timeout_ms = probe->gtdb->settings.probe_timeout_ms};

    return gtdb_call_start(&probe->call, probe->gtdb->peer, &probe->work, &question);
}

static void probe_finish(struct gtdb_probe *probe, const struct err *err)
{
    if (err->code != 0)
        op_fail(probe->op, err);
    else
        op_finish(probe->op, 0);
}

/* The user may not ask, but was answered. */
static bool probe_is_alive(const struct gtdb_probe *probe, const struct gtdb_result *result)
{
    return probe->name == NULL && result->code == GTDB_NOT_PERMITTED;
}

static void probe_on_answer(struct op *op, int rc)
{
    struct gtdb_probe *probe = container_of(op, struct gtdb_probe, work);
    struct gtdb_result result;

    gtdb_call_judge(&probe->call, rc, &op->err, &result);
    if (result.verdict != GTDB_WORKED && result.verdict != GTDB_REFUSED && !probe->again &&
        !probe->op->canceled) {
        probe->again = true;
        rc = probe_send(probe);
        if (rc == 0)
            return;
        result.err = op->err;
    }
    if (probe_is_alive(probe, &result)) {
        err_clear(&result.err);
    } else if (result.verdict == GTDB_WORKED && probe->name != NULL) {
        rc = gtdb_call_find(&probe->call, probe->name);
        probe->found = rc == 1;
        if (rc < 0)
            err_set(&result.err, rc, "out of memory");
    }
    probe_finish(probe, &result.err);
}

static void probe_cancel(struct op *op)
{
    struct gtdb_probe *probe = op->impl;

    op_cancel(&probe->work);
}

static int probe_start(struct gtdb_probe *probe, struct op *op)
{
    int rc = probe->sql.rc;

    if (rc != 0)
        return op_refuse(op, rc, "%s", err_code_text(rc));
    probe->op = op;
    probe->found = false;
    op_init(&probe->work, probe_on_answer);
    rc = probe_send(probe);
    if (rc != 0)
        return op_refuse(op, rc, "%s", err_text(&probe->work.err));
    op_begin(op, probe, probe_cancel);
    return 0;
}

void gtdb_probe_init(struct gtdb_probe *probe, struct gtdb *gtdb)
{
    *probe = (struct gtdb_probe){.gtdb = gtdb};
    gtdb_call_init(&probe->call);
    buf_init(&probe->sql, 4096);
}

void gtdb_probe_free(struct gtdb_probe *probe)
{
    gtdb_call_free(&probe->call);
    buf_free(&probe->sql);
}

int gtdb_probe_object(struct gtdb_probe *probe, struct op *op, const char *database,
                      const char *table)
{
    struct buf *sql = &probe->sql;

    buf_truncate(sql, 0);
    if (table[0] == '\0') {
        buf_puts(sql, "SELECT schema_name FROM information_schema.schemata WHERE schema_name = ");
        gtdb_put_literal(sql, database);
    } else {
        buf_puts(sql, "SELECT table_name FROM information_schema.tables WHERE table_schema = ");
        gtdb_put_literal(sql, database);
        buf_puts(sql, " AND table_name = ");
        gtdb_put_literal(sql, table);
    }
    probe->name = table[0] == '\0' ? database : table;
    probe->again = false;
    return probe_start(probe, op);
}

int gtdb_probe_life(struct gtdb_probe *probe, struct op *op)
{
    buf_truncate(&probe->sql, 0);
    buf_puts(&probe->sql, "SELECT 1");
    probe->name = NULL;
    probe->again = true;
    return probe_start(probe, op);
}
