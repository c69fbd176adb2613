#ifndef BFM_MODEL_ETCDSCRIPT_H
#define BFM_MODEL_ETCDSCRIPT_H

#include <cjson/cJSON.h>

#include "base/arena.h"
#include "base/err.h"
#include "model/filename.h"

/* What a script does to etcd. Keys are those of the script: what stands in front of them is a
 * matter of schema and table. */
enum etcd_operation_kind {
    ETCD_PUT,
    ETCD_DELETE,
    ETCD_DELETE_RANGE, /* every key >= key and < end */
};

struct etcd_operation {
    enum etcd_operation_kind kind;
    unsigned number; /* of the script's operation that it is, or is a piece of; from 1 */
    unsigned line;   /* where that begins, from 1 */
    struct slice key;
    struct slice end;   /* of a range: not empty. Bytes, which need not be UTF-8 */
    struct slice value; /* of a put */
};

/*
 * What is left when every operation has been made in turn: no key is touched by two of them, so
 * their order has no meaning any more. A range has holes where a later operation puts a key, which
 * makes several ranges of one delete_prefix.
 */
struct etcd_operations {
    const struct etcd_operation *items; /* ordered by number */
    size_t count;
    size_t given; /* operations as they were written */
};

/*
 * Reads the array `list`, which was parsed from text[at...], into `arena`. ERR_INVALID with the
 * number of the operation and its line; ERR_NOMEM.
 */
int etcd_operations_read(const cJSON *list, const char *text, size_t len, size_t at,
                         struct arena *arena, struct etcd_operations *out, struct err *err);

/* One put. 0 or ERR_NOMEM; nothing is copied but the operation. */
int etcd_operations_put_one(struct slice key, struct slice value, struct arena *arena,
                            struct etcd_operations *out);

/* Folds `given[0..count)`, in which a range without an end is what begins with its key, into `out`.
 * 0 or ERR_NOMEM. */
int etcd_operations_fold(const struct etcd_operation *given, size_t count, struct arena *arena,
                         struct etcd_operations *out);

#endif
