#ifndef BFM_API_RPC_H
#define BFM_API_RPC_H

#include <protobuf-c/protobuf-c.h>

#include "api/api_private.h"
#include "api/events.h"
#include "api/ops_admin.h"
#include "api/ops_doubt.h"
#include "api/ops_fleet.h"
#include "api/ops_list.h"
#include "api/ops_lookup.h"
#include "api/ops_order.h"
#include "api/ops_retry.h"
#include "api/ops_runs.h"
#include "api/ops_watch.h"
#include "base/clock.h"
#include "base/trace.h"
#include "grpc/grpc.h"
#include "health.pb-c.h"
#include "migration.pb-c.h"

/*
 * The gRPC mouth of BfM (bfm-api.md §5): translates messages into the operations of ops.h and their
 * results back. For grpc_server_start(), with the api as `arg`:
 */
const struct grpc_method *rpc_find(void *arg, const char *path);
void rpc_opened(void *arg, struct grpc_call *call);
bool rpc_admit(void *arg, struct grpc_call *call);
void rpc_closed(void *arg, const struct grpc_call *call);

/* --- what the files rpc*.c share --- */

enum {
    RPC_OPEN = 1,   /* no token needed */
    RPC_STATE = 2,  /* needs the state database */
    RPC_PROBE = 4,  /* answered while stopping too */
    RPC_QUIET = 8,  /* left out of the access log */
    RPC_RUNS = 16,  /* runs something: takes an idempotency key */
    RPC_LASTS = 32, /* has no end of its own */
};

enum {
    RPC_ANSWER_MAX = 256 * 1024 * 1024, /* bytes of one message */
};

struct rpc;

struct rpc_method {
    struct grpc_method grpc;
    unsigned flags;
    unsigned scopes; /* of enum grant_scope: the token needs one of them; 0 with RPC_OPEN only */
    const ProtobufCMessageDescriptor *request;
    /* Starts the operation on rpc->op. Refusals as in base/op.h. NULL: there is nothing to wait
     * for. */
    int (*start)(struct rpc *rpc);
    /* Answers once the operation is done. */
    void (*answer)(struct rpc *rpc);
};

/* What a method that is none of reflection is part of. */
static inline const struct rpc_method *rpc_method_of(const struct grpc_method *method)
{
    return (const struct rpc_method *)((uintptr_t)method - offsetof(struct rpc_method, grpc));
}

/* What is kept of a call until it is over, in its arena: the context of the gRPC layer's call. */
struct rpc_note {
    struct trace trace;
    const char *token; /* name of the one that it came with; NULL: none, or a wrong one */
    bool is_guest;     /* without a token, and with no end of its own: counted in api->guests */
};

/* The numbers of the fields of an answer about a run; `success` is 1. */
struct rpc_run_fields {
    unsigned message, applied, skipped, errors, run_id, status, details, rebuilt, skipped_count;
};

/* Such an answer, made piece by piece. */
struct rpc_run_writer {
    const struct ops_run *run;
    const struct rpc_run_fields *fields;
    struct buf *line; /* room for a line */
    int stage;
    size_t count; /* in this stage */
    struct ops_cursor cursor;
};

/* One call from its message to its answer. Freed with rpc_end(). */
struct rpc {
    struct api *api;
    struct grpc_call *call;
    const struct rpc_method *method;
    ProtobufCMessage *request; /* in the call's arena */
    const struct grant *grant; /* with a reference; NULL: everything is allowed */
    struct store_caller caller;
    struct plan_filter target;
    struct ops_run_how how; /* of what runs something */
    struct op op;

    /* the operation, valid once it was started; `release` frees it */
    union {
        struct ops_lookup lookup;
        struct ops_list list;
        struct ops_run run;
        struct ops_order order;
        struct ops_reindex reindex;
        struct ops_runs runs;
        struct ops_show show;
        struct ops_cancel cancel;
        struct ops_fleet tenants;
        struct ops_gate gate;
        struct ops_doubt doubt;
        struct ops_reconcile reconcile;
        struct ops_watch watch;
    } out;
    struct ops_retry retry; /* beside out.run */
    void (*release)(struct rpc *rpc);

    /* a long message, made a slice per turn */
    bool (*more)(struct rpc *rpc, struct buf *out);
    struct task task;
    struct buf buf, line;
    int stage;
    size_t at;
    struct ops_cursor cursor;
    struct rpc_run_writer writer;

    /* a stream of messages */
    struct engine_listener listener; /* of a run's events */
    struct events_reader reader;     /* of WatchRun and WatchEvents */
    struct list link;                /* of a health watch: api->health.readers */
    bool listening;                  /* to one of the first two */
    bool announced;                  /* "running" was sent of the item at the cursor */
    bool over;                       /* the run has ended, or nobody reads any more */
    bool gone;
    int rc; /* why a message could not be sent; 0: all were */
};

/* --- each of these ends the call --- */

void rpc_fail(struct rpc *rpc, enum grpc_status status, const char *text);
void rpc_fail_err(struct rpc *rpc, const struct err *err);
/* One message, and OK. */
void rpc_answer(struct rpc *rpc, const ProtobufCMessage *message);
void rpc_answer_bytes(struct rpc *rpc, const void *message, size_t len);
/* The same of a long one: `more` appends fields until it says false. */
void rpc_pump(struct rpc *rpc, bool (*more)(struct rpc *rpc, struct buf *out));
/* After the last grpc_send(): gives everything back and finishes. */
void rpc_end(struct rpc *rpc, enum grpc_status status, const char *text);

enum grpc_status rpc_status(const struct err *err);

/* --- for the steps below: as a start, 0 or refused --- */

/* From 0, which stands for `otherwise`, to `max`. */
int rpc_read_limit(struct rpc *rpc, int32_t limit, size_t max, size_t otherwise, size_t *out);
/* A cursor could not be read, for the reason that is given. */
int rpc_refuse_cursor(struct rpc *rpc, const char *name, int rc);

/* --- rpc_message.c: messages --- */

/* A message as it travels. */
struct wire {
    const uint8_t *at, *end;
};

struct wire_field {
    unsigned number;
    bool has_length;   /* a string, bytes, or a message */
    struct wire bytes; /* of it */
};
/* The next field. False at the end, with number 0, and for what is malformed, with another, or
 * bytes left. */
bool wire_next(struct wire *wire, struct wire_field *out);

/* Reads a message into the arena. ERR_INVALID for what is malformed, or has a string that is not
 * UTF-8 or has a NUL in it; ERR_NOMEM. */
int rpc_read(const ProtobufCMessageDescriptor *descriptor, const void *data, size_t len,
             struct arena *arena, ProtobufCMessage **out, struct err *err);
/* Appends a packed message; or one as field `field` of another, or a string or number as such. */
int rpc_put(struct buf *out, const ProtobufCMessage *message);
int rpc_put_message(struct buf *out, unsigned field, const ProtobufCMessage *message);
int rpc_put_bytes(struct buf *out, unsigned field, const void *data, size_t len);
int rpc_put_string(struct buf *out, unsigned field, const char *text);
int rpc_put_int(struct buf *out, unsigned field, int64_t value);
/* Left out if it is empty; the failure of `text` becomes that of `out`. */
int rpc_put_some_of(struct buf *out, unsigned field, const struct buf *text);

/* protobuf-c's structs are not const, though packing only reads them. */
static inline char *rpc_text(const char *text)
{
    return (char *)(uintptr_t)(text != NULL ? text : "");
}

enum {
    RPC_TIME_SIZE = CLOCK_RFC3339_SIZE,
};
/* RFC 3339, "" for 0. */
char *rpc_time(int64_t wall_us, char out[RPC_TIME_SIZE]);

/* --- the methods' steps --- */

/* rpc_access.c: who asks */
/* The grant of the call's token, with a reference; NULL: everything is allowed. False: refused, and
 * answered. */
bool rpc_authorize(struct api *api, struct grpc_call *call, const struct rpc_method *method,
                   const struct grant **grant);
/* Into rpc->caller. 0 or ERR_NOMEM. */
int rpc_read_caller(struct rpc *rpc);
/* rpc_key.c: the idempotency key of the metadata, "on_error" and so on, into rpc->how */
int rpc_read_key(struct rpc *rpc, struct err *err); /* any thread */
int rpc_read_how(struct rpc *rpc, bool async, const char *on_error, int32_t max_failures);
/* Says in the answer's metadata if rpc->out.run was somebody else's before. */
void rpc_tell_replayed(struct rpc *rpc);
/* rpc_runs.c */
int rpc_start_migrate(struct rpc *rpc);
int rpc_start_migrate_streamed(struct rpc *rpc);
int rpc_start_up(struct rpc *rpc);
/* With rpc->how; explain: nothing is done, as PlanMigrations. */
int rpc_start_up_as(struct rpc *rpc, bool explain);
int rpc_start_down(struct rpc *rpc);
int rpc_start_rollback(struct rpc *rpc);
int rpc_start_retry(struct rpc *rpc);
/* rpc_run_answer.c */
void rpc_answer_run(struct rpc *rpc);
void rpc_answer_rollback(struct rpc *rpc);
/* GRPC_OK; or the status with which a call fails whose run as a whole came to nothing, and why. */
enum grpc_status rpc_run_verdict(const struct ops_run *run, struct err *why);
/* For ops_run_how.answer. */
void rpc_keep_answer(struct run *run, struct buf *out);
/* rpc_stream.c */
int rpc_start_stream(struct rpc *rpc);
void rpc_answer_stream(struct rpc *rpc);
/* rpc_reads.c */
int rpc_start_list(struct rpc *rpc);
void rpc_answer_list(struct rpc *rpc);
int rpc_start_state(struct rpc *rpc);
void rpc_answer_detail(struct rpc *rpc);
void rpc_answer_status(struct rpc *rpc);
void rpc_answer_applied(struct rpc *rpc);
/* rpc_records.c */
int rpc_start_history(struct rpc *rpc);
void rpc_answer_history(struct rpc *rpc);
int rpc_start_executions(struct rpc *rpc);
void rpc_answer_executions(struct rpc *rpc);
int rpc_start_skipped(struct rpc *rpc);
void rpc_answer_skipped(struct rpc *rpc);
/* rpc_admin.c */
int rpc_start_order(struct rpc *rpc);
void rpc_answer_order(struct rpc *rpc);
int rpc_start_reindex(struct rpc *rpc);
void rpc_answer_reindex(struct rpc *rpc);
void rpc_answer_health(struct rpc *rpc);
int rpc_start_doubt(struct rpc *rpc);
void rpc_answer_doubt(struct rpc *rpc);
/* rpc_show.c */
int rpc_check_run_id(struct rpc *rpc, const char *id); /* as a start: 0 or refused */
int rpc_start_run_list(struct rpc *rpc);
void rpc_answer_run_list(struct rpc *rpc);
int rpc_start_show(struct rpc *rpc);
void rpc_answer_show(struct rpc *rpc);
int rpc_start_cancel(struct rpc *rpc);
void rpc_answer_cancel(struct rpc *rpc);
/* rpc_fleet.c */
int rpc_start_plan(struct rpc *rpc);
void rpc_answer_plan(struct rpc *rpc);
int rpc_start_tenants(struct rpc *rpc);
void rpc_answer_tenants(struct rpc *rpc);
int rpc_start_gate(struct rpc *rpc);
void rpc_answer_gate(struct rpc *rpc);
int rpc_start_reconcile(struct rpc *rpc);
void rpc_answer_reconcile(struct rpc *rpc);
/* rpc_watch.c */
int rpc_start_watch(struct rpc *rpc);
int rpc_start_watch_all(struct rpc *rpc);
void rpc_answer_watch(struct rpc *rpc);
/* rpc_health.c */
void rpc_answer_check(struct rpc *rpc);
void rpc_answer_health_watch(struct rpc *rpc);
/* rpc_reflection.c: without struct rpc, as many requests come in one call */
void rpc_begin_reflection(void *arg, struct grpc_call *call);
/* The names of services that there are, "migration.MigrationService" and so on; NULL at the end. */
extern const char *const rpc_services[];

#endif
