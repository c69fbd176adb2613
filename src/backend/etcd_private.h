#ifndef BFM_BACKEND_ETCD_PRIVATE_H
#define BFM_BACKEND_ETCD_PRIVATE_H

#include "backend/down.h"
#include "backend/etcd.h"
#include "backend/etcd_answer.h"
#include "backend/etcd_client.h"
#include "backend/etcd_keys.h"
#include "backend/etcd_marker.h"
#include "backend/etcd_txn.h"
#include "base/sm.h"
#include "io/loop.h"

/* What the files of the etcd backend share; nobody else includes it. */

#define ETCDB_TXN "/v3/kv/txn"

enum {
    ETCDB_BODY_MAX = 256 << 20, /* bytes of one request's text */
    ETCDB_PING_MS = 2000,
};

struct etcdb {
    struct backend pub;
    struct loop *loop;
    struct etcd_client *client;
    char *connection, *default_schema, *prefix;
    char *reserved; /* "/app.bfm/" */
    char **guarded; /* the same of every connection, its own first */
    size_t guarded_count;
    bool has_user;          /* it may come out that the cluster asks for a token */
    size_t max_txn_ops;     /* what the server was found to take, if that is less than configured */
    size_t max_request;     /* bytes */
    uint64_t doubt_wait_ms; /* for finding out what became of a step */
    unsigned active;        /* operations under way */
    struct backend_down down;
    struct op *close_op;
    struct op close_client;
};

struct sched *etcdb_sched(const struct etcdb *db);
void etcdb_begin(struct etcdb *db);
void etcdb_end(struct etcdb *db); /* an operation is over; called right before its op_finish() */
/* The server refused a transaction made for `made_for` operations as having too many: from now on
 * there are fewer, unless that was found out meanwhile. False: there are as few as can be. */
bool etcdb_shrink(struct etcdb *db, size_t made_for);
bool etcdb_is_too_many(const struct etcd_answer *answer);
/* Says which keys the user needs, if that is what etcd refused. `schema` may be NULL. */
void etcdb_explain(const struct etcdb *db, const char *schema, const struct etcd_answer *answer,
                   struct err *err);

/* The marker in the answer of a range. ERR_NOT_FOUND: there is none. */
int etcdb_take_marker(const cJSON *range, struct etcdb_marker *out, struct etcdb_kv *kv,
                      struct arena *arena, struct err *err);

/* etcd_step.c, etcd_reads.c, etcd_journal.c, etcd_adopt.c: the operations of struct backend_ops */
int etcdb_execute(struct backend *backend, struct op *op, const struct backend_step *step,
                  struct backend_result *result);
int etcdb_inspect(struct backend *backend, struct op *op, struct backend_check *checks,
                  size_t count);
int etcdb_read_journal(struct backend *backend, struct op *op, const char *after_schema,
                       const char *after_id, size_t limit, struct backend_journal *out);
int etcdb_ping(struct backend *backend, struct op *op);
int etcdb_adopt(struct backend *backend, struct op *op, struct backend_adoption *items,
                size_t count);

#endif
