#include "store/core.h"
#include "store/rows.h"

struct arena *core_result_arena(const struct request *request)
{
    switch (request->kind) {
    case REQUEST_APPLIED:
    case REQUEST_EXECUTIONS:
        return &request->out.executions->arena;
    case REQUEST_STATUSES:
        return &request->out.statuses->arena;
    case REQUEST_HISTORY:
    case REQUEST_SKIPPED:
        return &request->out.events->arena;
    case REQUEST_RUNS:
        return &request->out.runs->arena;
    case REQUEST_RUN_LANES:
        return &request->out.run_lanes->arena;
    case REQUEST_RUN_STEPS:
        return &request->out.run_steps->arena;
    case REQUEST_TENANTS:
        return &request->out.tenants->arena;
    case REQUEST_STANDING:
    case REQUEST_UNENDED:
        return &request->out.standings->arena;
    case REQUEST_CLAIM_KEY:
        return &request->out.claim->arena;
    case REQUEST_LEDGER:
        return &request->out.ledger->arena;
    case REQUEST_PREPARE:
    case REQUEST_PING:
    case REQUEST_WRITE:
    case REQUEST_SYNC:
    case REQUEST_PUT_RUN:
    case REQUEST_BEAT:
    case REQUEST_SWAP_LEDGER:
        break;
    }
    return NULL;
}

void core_zero_result(struct request *request)
{
    switch (request->kind) {
    case REQUEST_APPLIED:
    case REQUEST_EXECUTIONS:
        *request->out.executions = (struct store_executions){.rows = NULL};
        return;
    case REQUEST_STATUSES:
        *request->out.statuses = (struct store_statuses){.rows = NULL};
        return;
    case REQUEST_HISTORY:
    case REQUEST_SKIPPED:
        *request->out.events = (struct store_event_rows){.rows = NULL};
        return;
    case REQUEST_RUNS:
        *request->out.runs = (struct store_runs){.rows = NULL};
        return;
    case REQUEST_RUN_LANES:
        *request->out.run_lanes = (struct store_run_lanes){.rows = NULL};
        return;
    case REQUEST_RUN_STEPS:
        *request->out.run_steps = (struct store_run_steps){.rows = NULL};
        return;
    case REQUEST_TENANTS:
        *request->out.tenants = (struct store_tenants){.rows = NULL};
        return;
    case REQUEST_STANDING:
    case REQUEST_UNENDED:
        *request->out.standings = (struct store_standings){.rows = NULL};
        return;
    case REQUEST_CLAIM_KEY:
        *request->out.claim = (struct store_key_claim){.claimed = false};
        return;
    case REQUEST_BEAT:
        *request->out.beat = (struct store_beat_result){.interrupted = 0};
        return;
    case REQUEST_LEDGER:
        *request->out.ledger = (struct ledger_rows){.rows = NULL};
        return;
    case REQUEST_SWAP_LEDGER:
        *request->out.swapped = false;
        return;
    case REQUEST_PREPARE:
    case REQUEST_PING:
    case REQUEST_WRITE:
    case REQUEST_SYNC:
    case REQUEST_PUT_RUN:
        return;
    }
}

int core_add_row(struct request *request, struct rows *rows)
{
    switch (request->kind) {
    case REQUEST_APPLIED:
    case REQUEST_EXECUTIONS:
        return rows_add_execution(rows, request->out.executions);
    case REQUEST_STATUSES:
        return rows_add_status(rows, request->out.statuses);
    case REQUEST_HISTORY:
    case REQUEST_SKIPPED:
        return rows_add_event(rows, request->out.events);
    case REQUEST_RUNS:
        return rows_add_run(rows, request->out.runs);
    case REQUEST_RUN_LANES:
        return rows_add_lane(rows, request->out.run_lanes);
    case REQUEST_RUN_STEPS:
        return rows_add_step(rows, request->out.run_steps);
    case REQUEST_TENANTS:
        return rows_add_tenant(rows, request->out.tenants);
    case REQUEST_STANDING:
    case REQUEST_UNENDED:
        return rows_add_standing(rows, request->out.standings);
    case REQUEST_LEDGER:
        return rows_add_ledger(rows, request->out.ledger);
    case REQUEST_PREPARE:
    case REQUEST_PING:
    case REQUEST_WRITE:
    case REQUEST_SYNC:
    case REQUEST_PUT_RUN:
    case REQUEST_CLAIM_KEY:
    case REQUEST_BEAT:
    case REQUEST_SWAP_LEDGER:
        break;
    }
    return 0;
}
