#include "server/ledger.h"

static struct store *ledger_store(struct ledger *ledger)
{
    return container_of(ledger, struct store_ledger, ledger)->store;
}

static int ledger_read(struct ledger *ledger, struct op *op, const struct ledger_query *query,
                       struct ledger_rows *out)
{
    struct store *store = ledger_store(ledger);

    return store->ops->get_ledger(store, op, query, out);
}

static int ledger_swap(struct ledger *ledger, struct op *op, const struct ledger_change *change,
                       bool *swapped)
{
    struct store *store = ledger_store(ledger);

    return store->ops->swap_ledger(store, op, change, swapped);
}

static const struct ledger_ops store_ledger_ops = {
    .read = ledger_read,
    .swap = ledger_swap,
};

void store_ledger_init(struct store_ledger *ledger, struct store *store)
{
    *ledger = (struct store_ledger){.ledger.ops = &store_ledger_ops, .store = store};
}
