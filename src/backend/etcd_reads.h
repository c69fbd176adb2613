#ifndef BFM_BACKEND_ETCD_READS_H
#define BFM_BACKEND_ETCD_READS_H

#include "backend/etcd_private.h"

/* Requests that may be made twice, one after the other. */
struct etcdb_read {
    struct sm sm;
    struct etcdb *db;
    struct op *op; /* the caller's */
    struct op work;
    struct etcdb_txn txn;
    struct etcd_answer answer;
    struct arena arena;
    uint64_t limit_ms;                   /* of one request; 0: the usual */
    bool writes;                         /* the request changes something; set by `put` */
    unsigned retries;                    /* requests that were made once more */
    size_t made_for;                     /* operations that the server was thought to take */
    int (*put)(struct etcdb_read *read); /* writes read->txn */
    /* `more`: another request comes */
    int (*take)(struct etcdb_read *read, bool *more, struct err *err);
    /* NULL, or whether another request has a better chance after that failure */
    bool (*retry)(struct etcdb_read *read, int rc);
    void (*on_fail)(struct etcdb_read *read); /* NULL, or: the caller gets nothing */

    struct backend_check *checks; /* inspect */
    size_t count, at;
    const char *after_schema, *after_id; /* read_journal */
    struct slice from; /* empty, or where to go on in it: in the journal's arena */
    bool has_foreign;  /* a key that is none of BfM's was logged */
    size_t limit;
    struct backend_journal *journal;
    struct backend_adoption *adoptions; /* adopt */
    struct etcdb_want *wants;           /* of the share */
    bool is_seen;                       /* wants are set */
};

/* NULL when memory is out, which the op says. `put` and `take` are to be set. */
struct etcdb_read *etcdb_read_create(struct backend *backend, struct op *op);
int etcdb_read_start(struct etcdb_read *read); /* frees it when it fails */
void etcdb_read_free(struct etcdb_read *read); /* of one that was not started */
/* Asks for one key of a schema, or of a table if it is not "". 0 or ERR_NOMEM. */
int etcdb_read_put_exists(struct etcdb_read *read, const char *schema, const char *table);

#endif
