#ifndef BFM_API_HTTP_HANDLERS_H
#define BFM_API_HTTP_HANDLERS_H

#include "api/http_call.h"

/* The three steps of each route; see http_route.h. */

/* http_read.c: from bodies to requests */
int read_up(struct call *call, const cJSON *body, struct err *err);
int read_migrate(struct call *call, const cJSON *body, struct err *err);
int read_down(struct call *call, const cJSON *body, struct err *err);
int read_rollback(struct call *call, const cJSON *body, struct err *err);
int read_order(struct call *call, const cJSON *body, struct err *err);
int read_reconcile(struct call *call, const cJSON *body, struct err *err);

/* http_runs.c */
int start_up(struct call *call);
int start_migrate(struct call *call);
int start_down(struct call *call);
int start_rollback(struct call *call);
void answer_run(struct call *call);

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

#endif
