#ifndef BFM_BACKEND_ETCD_TXN_H
#define BFM_BACKEND_ETCD_TXN_H

#include "base/buf.h"
#include "model/etcdscript.h"

/*
 * The text of one transaction. A key is always given as what stands in front of it and the rest;
 * the order is begin, compares, success, operations, failure, operations, end.
 */
struct etcdb_txn {
    struct buf body;
    struct buf scratch;
};

void etcdb_txn_init(struct etcdb_txn *txn, size_t max);
void etcdb_txn_free(struct etcdb_txn *txn);

void etcdb_txn_begin(struct etcdb_txn *txn);
/* Begins one without compares: what is asked for follows. */
void etcdb_txn_begin_reads(struct etcdb_txn *txn);
void etcdb_txn_success(struct etcdb_txn *txn);
void etcdb_txn_failure(struct etcdb_txn *txn);
/* 0, ERR_NOMEM or ERR_LIMIT: of anything since begin. */
int etcdb_txn_end(struct etcdb_txn *txn);

/* The key was created, or changed last, by that revision; 0: it is not there. */
void etcdb_txn_compare_create(struct etcdb_txn *txn, const char *path, struct slice key,
                              int64_t revision);
void etcdb_txn_compare_mod(struct etcdb_txn *txn, const char *path, struct slice key,
                           int64_t revision);
/* Nothing from `key` to `end` was changed behind that revision. */
void etcdb_txn_compare_quiet(struct etcdb_txn *txn, const char *path, struct slice key,
                             struct slice end, int64_t revision);

void etcdb_txn_put(struct etcdb_txn *txn, const char *path, struct slice key, struct slice value);
/* An empty `end`: the key alone. */
void etcdb_txn_delete(struct etcdb_txn *txn, const char *path, struct slice key, struct slice end);
/* A limit of 0: all. */
void etcdb_txn_range(struct etcdb_txn *txn, const char *path, struct slice key, struct slice end,
                     size_t limit, bool keys_only);
/* The last key of a range. */
void etcdb_txn_range_last(struct etcdb_txn *txn, struct slice key, struct slice end);

/* What one transaction of a server can hold. */
struct etcdb_limits {
    size_t operations;
    size_t request; /* bytes, decoded */
    bool nested;    /* transactions within transactions may be used: one level */
};

/* How many operations there is room for beside `extra` ones. */
size_t etcdb_limits_room(const struct etcdb_limits *limits, size_t extra);
/* Bytes of one operation in a request; of a compare on a key. */
size_t etcdb_size_of(const struct etcd_operation *one, size_t path_len);
size_t etcdb_size_of_key(size_t key_len);
/* How many of `count` operations fit into one transaction beside `extra` ones and `bytes`. */
size_t etcdb_limits_fit(const struct etcdb_limits *limits, const struct etcd_operation *items,
                        size_t count, size_t path_len, size_t extra, size_t bytes);

/* As they are, or in nested transactions where there are more than that. */
void etcdb_txn_operations(struct etcdb_txn *txn, const char *path,
                          const struct etcd_operation *items, size_t count,
                          const struct etcdb_limits *limits, size_t extra);

/* What a plan does, in short: of everything that decides about it. */
void etcdb_plan_of(const struct etcd_operations *operations, const char *path, char out[17]);

#endif
