#ifndef BFM_SERVER_LEDGER_H
#define BFM_SERVER_LEDGER_H

#include "backend/ledger.h"
#include "store/store.h"

/* The ledger that the state database keeps for targets without a journal. */
struct store_ledger {
    struct ledger ledger;
    struct store *store;
};

/* Borrows the store, which must live longer than whoever uses the ledger. */
void store_ledger_init(struct store_ledger *ledger, struct store *store);

#endif
