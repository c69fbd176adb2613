#ifndef BFM_BACKEND_GREPTIMEDB_PROBE_H
#define BFM_BACKEND_GREPTIMEDB_PROBE_H

#include "backend/greptimedb_private.h"

/* One question about what there is, asked once more if it got lost. Embedded in whoever waits. */
struct gtdb_probe {
    bool found; /* set when done with 0 */

    /* private */
    struct gtdb *gtdb;
    struct op *op;
    struct op work;
    struct gtdb_call call;
    struct buf sql;
    const char *name; /* looked for in the answer; NULL: any answer will do */
    bool again;
};

void gtdb_probe_init(struct gtdb_probe *probe, struct gtdb *gtdb);
void gtdb_probe_free(struct gtdb_probe *probe); /* while nothing is asked */

/* Whether there is such a database, or such a table in it (`table` not empty). The names must live
 * until done. ERR_UNREACHABLE, ERR_TIMEOUT, ERR_DB, ERR_CANCELED, ERR_NOMEM. */
int gtdb_probe_object(struct gtdb_probe *probe, struct op *op, const char *database,
                      const char *table);
/* Whether it answers at all; asked only once. */
int gtdb_probe_life(struct gtdb_probe *probe, struct op *op);

#endif
