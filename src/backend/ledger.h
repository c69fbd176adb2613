#ifndef BFM_BACKEND_LEDGER_H
#define BFM_BACKEND_LEDGER_H

#include "base/op.h"
#include "model/ledger.h"

/*
 * How a backend reaches the rows of model/ledger.h without knowing who keeps them. Each operation
 * keeps the contract of base/op.h; while the keeper is away they fail with ERR_STORE.
 */
struct ledger {
    const struct ledger_ops *ops;
};

struct ledger_ops {
    /* The caller frees out->arena. */
    int (*read)(struct ledger *ledger, struct op *op, const struct ledger_query *query,
                struct ledger_rows *out);
    /* Durable when done with 0; *swapped: it took effect. When it fails otherwise than by
     * ERR_NOMEM, whether it took effect is not known: read the row, its revision tells. */
    int (*swap)(struct ledger *ledger, struct op *op, const struct ledger_change *change,
                bool *swapped);
};

#endif
