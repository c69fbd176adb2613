#ifndef BFM_BACKEND_ETCD_RECORD_H
#define BFM_BACKEND_ETCD_RECORD_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "model/filename.h"

/*
 * A record of what one transaction of an up script replaced, as JSON: for every key what was there
 * before, and what the script left there (by its hash), so that it can be told whether somebody has
 * changed it since.
 */
struct etcdb_entry {
    struct slice key;
    bool was, is; /* there, before and afterwards */
    struct slice before;
    char after[HASH_SHA256_HEX];
};

struct etcdb_record {
    struct etcdb_entry *entries;
    size_t count;
};

/* `path` and `key` together are the key. `before` or `after` may be NULL: not there. 0, ERR_NOMEM
 * or ERR_LIMIT. */
int etcdb_record_begin(struct buf *out);
int etcdb_record_add(struct buf *out, const char *path, struct slice key,
                     const struct slice *before, const struct slice *after);
int etcdb_record_end(struct buf *out);

/* The most bytes that an entry takes. */
size_t etcdb_record_size_of(size_t key_len, size_t before_len);

/* Into `arena`. ERR_INVALID: it is none; ERR_NOMEM. */
int etcdb_record_read(struct slice text, struct arena *arena, struct etcdb_record *out,
                      struct err *err);

#endif
