#ifndef BFM_BACKEND_ETCD_ANSWER_H
#define BFM_BACKEND_ETCD_ANSWER_H

#include <cjson/cJSON.h>

#include "base/arena.h"
#include "base/err.h"
#include "model/filename.h"

/* What etcd says of a transaction. Absent members are zeros, as the gateway leaves those out. */

bool etcdb_answer_succeeded(const cJSON *body);
int64_t etcdb_answer_revision(const cJSON *body);

/* The answer of range number `nth` (from 0) of the branch that was taken, among all its operations.
 * NULL: there is none. */
const cJSON *etcdb_answer_range(const cJSON *body, size_t nth);
bool etcdb_range_has_more(const cJSON *range);
/* The first key of a range, as below; NULL: it has none. */
const cJSON *etcdb_range_first(const cJSON *range);
size_t etcdb_range_count(const cJSON *range); /* of keys that came */

struct etcdb_kv {
    struct slice key, value; /* in the arena */
    int64_t mod;
};

/* When it was changed last; 0 for NULL. */
int64_t etcdb_kv_mod(const cJSON *item);
/* One key. ERR_DB: it is malformed; ERR_NOMEM. */
int etcdb_kv_read(const cJSON *item, struct arena *arena, struct etcdb_kv *out);

#endif
