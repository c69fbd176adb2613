#ifndef BFM_API_HTTP_HANDLERS_H
#define BFM_API_HTTP_HANDLERS_H

#include "api/http_call.h"
#include "api/http_fields.h"

/* The three steps of each route; see http_route.h. */

/* http_read.c: from bodies to requests */
int read_up(struct call *call, const cJSON *body, struct err *err);
int read_migrate(struct call *call, const cJSON *body, struct err *err);
int read_down(struct call *call, const cJSON *body, struct err *err);
int read_rollback(struct call *call, const cJSON *body, struct err *err);
int read_retry(struct call *call, const cJSON *body, struct err *err);
int read_order(struct call *call, const cJSON *body, struct err *err);
int read_reconcile(struct call *call, const cJSON *body, struct err *err);

/* http_key.c: "async" and the Idempotency-Key, into call->how. Returns fields->rc. */
int read_how(struct call *call, struct fields *fields);

/* http_runs.c */
int start_up(struct call *call);
int start_migrate(struct call *call);
int start_down(struct call *call);
int start_rollback(struct call *call);
int start_retry(struct call *call);
void answer_run(struct call *call);
/* Makes "STATUS BODY" of a run's answer, for ops_run_how.answer. */
void keep_run_answer(struct run *run, struct buf *out);

/* http_run_again.c: answers to a repeated request, and of what goes on */
void answer_accepted(struct call *call);
void answer_kept(struct call *call);
void answer_rebuilt(struct call *call);

/* http_run_list.c, http_run_show.c */
/* For `start`: refuses an {id} that no run can have, without a look at the state database. */
int check_run_id(struct call *call);
int start_run_list(struct call *call);
void answer_run_list(struct call *call);
void put_run(const struct store_run *run, bool with_sums, struct buf *out);
int start_show(struct call *call);
void answer_show(struct call *call);
int start_cancel(struct call *call);
void answer_cancel(struct call *call);

/* http_fleet.c */
int start_tenants(struct call *call);
void answer_tenants(struct call *call);
int start_gate(struct call *call);
void answer_gate(struct call *call);

/* http_doubt.c */
int read_doubt(struct call *call, const cJSON *body, struct err *err);
int start_doubt(struct call *call);
void answer_doubt(struct call *call);

/* http_plan.c */
int start_plan(struct call *call);
void answer_plan(struct call *call);

/* http_list.c, http_records.c */
int start_list(struct call *call);
void answer_list(struct call *call);
int start_state(struct call *call);
void answer_detail(struct call *call);
void answer_status_of(struct call *call);
void answer_applied(struct call *call);
int start_history(struct call *call);
int start_executions(struct call *call);
int start_skipped(struct call *call);
void answer_history(struct call *call);
void answer_executions(struct call *call);
void answer_skipped(struct call *call);

/* http_events.c */
int start_events(struct call *call);
void answer_events(struct call *call);

/* http_metrics.c */
int start_metrics(struct call *call);
void answer_metrics(struct call *call);
void answer_live(struct call *call);

/* http_admin.c */
int start_order(struct call *call);
void answer_order(struct call *call);
int start_reindex(struct call *call);
void answer_reindex(struct call *call);
int start_reconcile(struct call *call);
void answer_reconcile(struct call *call);
void answer_health(struct call *call);
void answer_ready(struct call *call);
void answer_openapi_json(struct call *call);
void answer_openapi_yaml(struct call *call);
void answer_proto(struct call *call);

#endif
