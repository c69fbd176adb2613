#ifndef BFM_API_HTTP_CALL_H
#define BFM_API_HTTP_CALL_H

#include "api/api_private.h"
#include "api/http_pump.h"
#include "api/http_route.h"
#include "api/ops_admin.h"
#include "api/ops_doubt.h"
#include "api/ops_fleet.h"
#include "api/ops_list.h"
#include "api/ops_lookup.h"
#include "api/ops_order.h"
#include "api/ops_retry.h"
#include "api/ops_runs.h"
#include "api/ops_watch.h"

/* Which part of a long answer is being written; each handler has its own order. */
struct call_cursor {
    int stage;
    size_t at;
    size_t count; /* elements written in this stage */
    struct ops_cursor run;
    struct metrics_cursor metrics;
    struct buf line;
};

/*
 * One API request from its route to its answer:
 *
 *   body (on a pool thread if it is long) -> route->start -> op done -> route->answer -> pump
 *
 * with failures leaving through call_fail(). Freed when it is answered.
 */
struct call {
    struct api *api;
    struct http_request *request;
    const struct route *route;
    struct arena arena;        /* what was read from the request */
    const char *id;            /* decoded {id}, "" if the route has none */
    size_t limit;              /* ?limit=, 0: not given */
    const struct grant *grant; /* of the token, with a reference; NULL on an open route */
    struct store_caller caller;
    struct op op;
    struct pump pump;
    struct call_cursor cursor;

    /* the request */
    union {
        struct ops_up_request up;
        struct ops_migrate_request migrate;
        struct ops_undo_request undo;
        struct ops_order_request order;
        struct ops_doubt_request doubt;
        const char *connection;
    } in;
    struct plan_filter target;
    bool has_target;
    struct ops_run_how how; /* of what runs something */

    /* the operation, valid once it was started; `release` frees it */
    union {
        struct ops_lookup lookup;
        struct ops_list list;
        struct ops_run run;
        struct ops_order order;
        struct ops_doubt doubt;
        struct ops_reindex reindex;
        struct ops_reconcile reconcile;
        struct ops_runs run_list;
        struct ops_show show;
        struct ops_cancel cancel;
        struct ops_fleet tenants;
        struct ops_gate gate;
        struct ops_watch watch;
        struct process_figures process;
    } out;
    void (*release)(struct call *call);
    struct ops_retry retry; /* beside out.run */
};

/* Answers the request, now or later. The reference to the grant is taken over. */
void call_start(struct api *api, struct http_request *request, const struct route_match *match,
                const struct grant *grant);

/* --- for handlers, each ends the call --- */

/* A short JSON answer; taken over. */
void call_answer(struct call *call, int status, struct buf *body);
void call_answer_as(struct call *call, int status, const char *type, struct buf *body);
/* A long one, made by call->pump.more. */
void call_pump(struct call *call, int status, bool (*more)(struct pump *pump, struct buf *out));
void call_pump_as(struct call *call, int status, const char *type,
                  bool (*more)(struct pump *pump, struct buf *out));
void call_fail(struct call *call, const struct err *err);
/* The request was answered by other means. */
void call_end(struct call *call);

/* For `start`: the parameter "cursor" could not be read, for the reason that is given. Returns it.
 */
int call_refuse_cursor(struct call *call, int rc);

/* The query parameter, "" if it is absent. */
const char *call_param(struct call *call, const char *name);

#endif
