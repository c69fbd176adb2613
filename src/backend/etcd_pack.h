#ifndef BFM_BACKEND_ETCD_PACK_H
#define BFM_BACKEND_ETCD_PACK_H

#include "backend/etcd_answer.h"
#include "backend/etcd_txn.h"
#include "base/arena.h"

/* What was seen of the keys that one operation changes. */
struct etcdb_seen {
    const struct etcd_operation *operation;
    struct etcdb_kv *kvs; /* whole keys, rising */
    size_t count;
    bool more; /* of a range: there are keys behind the last */
};

/* What goes into one transaction together with the record of what it replaces. The last of several
 * ranges may be only the beginning of its operation's. */
struct etcdb_chunk {
    const struct etcdb_seen *seen; /* of every item */
    struct etcd_operation *items;
    size_t count;
    size_t whole;   /* operations of the script that are through with it */
    size_t last;    /* keys seen of the last item that are in it */
    size_t entries; /* keys of which something is to be kept */
};

/*
 * Takes as many of `count` operations as fit with `bytes` for the marker: every key seen is
 * compared, and kept. ERR_LIMIT: not even the first fits; ERR_NOMEM. `arena` gets the items.
 */
int etcdb_pack(const struct etcdb_limits *limits, const struct etcdb_seen *seen, size_t count,
               size_t path_len, size_t bytes, struct arena *arena, struct etcdb_chunk *out);

/* How many keys of item `nth` are in it. */
size_t etcdb_chunk_keys(const struct etcdb_chunk *chunk, size_t nth);

#endif
