#include "api/rpc.h"

/* Many schemas at once: what would be done, how far they are, whether they may be relied on. */

/* --- plan --- */

int rpc_start_plan(struct rpc *rpc)
{
    return rpc_start_up_as(rpc, true);
}

static void put_step(const struct run_item *from, struct buf *out)
{
    Migration__PlanStep step;

    migration__plan_step__init(&step);
    step.migration_id = rpc_text(from->migration->id);
    step.schema = rpc_text(from->schema);
    step.action = rpc_text(ops_run_item_action(from));
    step.dependency = from->dependency;
    step.applied = from->kind == RUN_ITEM_SKIPPED;
    step.reason = rpc_text(from->reason);
    step.error = rpc_text(from->err != NULL ? err_text(from->err) : "");
    rpc_put_message(out, 3, &step.base);
}

/* The lane that is being written collects in rpc->line. */
static bool more_of_lanes(struct rpc *rpc, struct buf *out)
{
    const struct run *run = rpc->out.run.run;
    const struct run_lane_result *lane;

    if (rpc->cursor.lane == run->lane_count) {
        rpc->cursor = (struct ops_cursor){0};
        rpc->stage++;
        return true;
    }
    lane = &run->lanes[rpc->cursor.lane];
    if (rpc->cursor.item < lane->count) {
        put_step(&lane->items[rpc->cursor.item++], &rpc->line);
        return true;
    }
    rpc_put_string(&rpc->line, 1, lane->requested != NULL ? lane->requested : "");
    if (lane->err.code != 0)
        rpc_put_string(&rpc->line, 2, err_text(&lane->err));
    rpc_put_bytes(out, 1, rpc->line.data, rpc->line.len);
    if (rpc->line.rc != 0)
        out->rc = rpc->line.rc;
    buf_truncate(&rpc->line, 0);
    rpc->cursor.lane++;
    rpc->cursor.item = 0;
    return true;
}

static bool more_of_plan(struct rpc *rpc, struct buf *out)
{
    enum ops_next next;

    if (rpc->stage == 0)
        return more_of_lanes(rpc, out);
    next = ops_run_next_line(&rpc->out.run, OPS_LINES_ERRORS, &rpc->cursor, &rpc->line);
    if (next == OPS_NEXT_ITEM)
        rpc_put_string(out, 2, buf_str(&rpc->line));
    if (rpc->line.rc != 0)
        out->rc = rpc->line.rc;
    if (next != OPS_NEXT_END)
        return true;
    rpc_put_int(out, 3, (int64_t)rpc->out.run.applied);
    rpc_put_int(out, 4, (int64_t)rpc->out.run.skipped);
    return false;
}

void rpc_answer_plan(struct rpc *rpc)
{
    const struct ops_run *run = &rpc->out.run;
    enum grpc_status status;
    struct err why;

    if (run->run == NULL) {
        rpc_fail(rpc, GRPC_NOT_FOUND, run->lone_error != NULL ? run->lone_error : "not found");
        return;
    }
    status = rpc_run_verdict(run, &why);
    if (status != GRPC_OK)
        rpc_fail(rpc, status, err_text(&why));
    else
        rpc_pump(rpc, more_of_plan);
}

/* --- tenants --- */

static void release_tenants(struct rpc *rpc)
{
    ops_fleet_free(&rpc->out.tenants);
}

int rpc_start_tenants(struct rpc *rpc)
{
    const Migration__ListTenantsRequest *asked = (const void *)rpc->request;
    struct ops_fleet_request request = {
        .connection = asked->connection,
        .version = "",
        .schema = "",
        .cursor = asked->after_schema,
        .grant = rpc->grant,
    };
    int rc =
        rpc_read_limit(rpc, asked->limit, OPS_TENANTS_MAX, OPS_TENANTS_DEFAULT, &request.limit);

    if (rc != 0)
        return rc;
    rc = ops_tenants_start(&rpc->api->ops, &rpc->op, &request, &rpc->out.tenants);
    if (rc == 0)
        rpc->release = release_tenants;
    return rc;
}

static void put_tenant(const struct ops_fleet *fleet, const struct store_tenant *from,
                       struct buf *out)
{
    Migration__Tenant item;

    migration__tenant__init(&item);
    item.schema = rpc_text(from->schema);
    item.version = rpc_text(from->version);
    item.pending = (int64_t)fleet->expected - from->counted;
    item.failed = from->failed;
    rpc_put_message(out, 7, &item.base);
}

static void put_fleet(const struct ops_fleet *fleet, struct buf *out)
{
    Migration__VersionCount item;

    migration__version_count__init(&item);
    rpc_put_string(out, 1, fleet->latest);
    rpc_put_int(out, 2, (int64_t)fleet->expected);
    rpc_put_int(out, 3, (int64_t)fleet->schemas);
    rpc_put_int(out, 4, (int64_t)fleet->laggards);
    rpc_put_int(out, 5, (int64_t)fleet->failed);
    for (size_t i = 0; i < fleet->version_count; i++) {
        item.version = rpc_text(fleet->versions[i].version);
        item.schemas = (int64_t)fleet->versions[i].schemas;
        rpc_put_message(out, 6, &item.base);
    }
    rpc_put_string(out, 8, fleet->next_cursor);
}

static bool more_of_tenants(struct rpc *rpc, struct buf *out)
{
    const struct ops_fleet *fleet = &rpc->out.tenants;

    if (rpc->at == fleet->page_count) {
        put_fleet(fleet, out);
        return false;
    }
    put_tenant(fleet, fleet->page[rpc->at++], out);
    return true;
}

void rpc_answer_tenants(struct rpc *rpc)
{
    rpc_pump(rpc, more_of_tenants);
}

/* --- gate --- */

static void release_gate(struct rpc *rpc)
{
    ops_gate_free(&rpc->out.gate);
}

int rpc_start_gate(struct rpc *rpc)
{
    const Migration__CheckGateRequest *asked = (const void *)rpc->request;
    const struct ops_fleet_request request = {
        .connection = asked->connection,
        .version = asked->version,
        .schema = asked->schema,
        .cursor = "",
        .limit = OPS_GATE_NAMES,
        .grant = rpc->grant,
    };
    int rc = ops_gate_start(&rpc->api->ops, &rpc->op, &request, &rpc->out.gate);

    if (rc == 0)
        rpc->release = release_gate;
    return rc;
}

static bool all_of_gate(struct rpc *rpc, struct buf *out)
{
    const struct ops_gate *gate = &rpc->out.gate;
    const struct ops_fleet *fleet = &gate->fleet;

    rpc_put_int(out, 1, gate->passes);
    if (!gate->passes) {
        ops_gate_put_reason(gate, &rpc->line);
        rpc_put_string(out, 2, buf_str(&rpc->line));
    }
    rpc_put_string(out, 3, gate->version);
    rpc_put_int(out, 4, (int64_t)fleet->schemas);
    rpc_put_int(out, 5, (int64_t)fleet->laggards);
    rpc_put_int(out, 6, (int64_t)fleet->failed);
    for (size_t i = 0; i < fleet->page_count; i++)
        put_tenant(fleet, fleet->page[i], out);
    for (size_t i = 0; i < gate->missing_count; i++)
        rpc_put_string(out, 8, gate->missing[i]->id);
    rpc_put_int(out, 9, (int64_t)(fleet->schemas - fleet->laggards));
    rpc_put_int(out, 10, (int64_t)gate->fixed);
    rpc_put_int(out, 11, (int64_t)gate->fixed_missing);
    return false;
}

void rpc_answer_gate(struct rpc *rpc)
{
    rpc_pump(rpc, all_of_gate);
}

/* --- reconcile --- */

static void release_reconcile(struct rpc *rpc)
{
    ops_reconcile_free(&rpc->out.reconcile);
}

int rpc_start_reconcile(struct rpc *rpc)
{
    const Migration__ReconcileRequest *asked = (const void *)rpc->request;
    int rc = ops_reconcile_start(&rpc->api->ops, &rpc->op, rpc->grant, asked->connection,
                                 &rpc->out.reconcile);

    if (rc == 0)
        rpc->release = release_reconcile;
    return rc;
}

static bool more_of_reconcile(struct rpc *rpc, struct buf *out)
{
    const struct reconcile *reconcile = rpc->out.reconcile.reconcile;
    Migration__ReconciledTarget item;
    const struct reconcile_target *target;

    migration__reconciled_target__init(&item);
    if (rpc->at == reconcile->count)
        return false;
    target = &reconcile->targets[rpc->at++];
    item.connection = rpc_text(target->connection);
    item.checked = (int64_t)target->checked;
    item.repaired = (int64_t)target->repaired;
    item.unknown = (int64_t)target->unknown;
    item.error = rpc_text(target->err.code != 0 ? err_text(&target->err) : "");
    rpc_put_message(out, 1, &item.base);
    return true;
}

void rpc_answer_reconcile(struct rpc *rpc)
{
    rpc_pump(rpc, more_of_reconcile);
}
