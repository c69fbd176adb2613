#include <string.h>

#include "base/utf8.h"
#include "store/core.h"
#include "store/text.h"

/* The start calls about the journal of targets that have none. */

static bool ledger_fits(const char *text)
{
    size_t len = strlen(text);

    return utf8_is_valid(text, len) && text_count_characters(text, len) <= TEXT_NAME_MAX;
}

int core_get_ledger(struct store *store, struct op *op, const struct ledger_query *query,
                    struct ledger_rows *out)
{
    return core_start_result(store, op,
                             &(struct request){.kind = REQUEST_LEDGER,
                                               .ledger_query = query,
                                               .limit = query->limit,
                                               .out.ledger = out});
}

int core_swap_ledger(struct store *store, struct op *op, const struct ledger_change *change,
                     bool *swapped)
{
    const struct ledger_row *row = &change->row;
    struct request request = {
        .kind = REQUEST_SWAP_LEDGER, .change = change, .rows = 1, .out.swapped = swapped};

    core_zero_result(&request);
    if (!ledger_fits(row->connection) || !ledger_fits(row->schema) ||
        !ledger_fits(row->migration_id))
        return op_refuse(op, ERR_INVALID,
                         "the schema or the ID of a migration is longer than %d characters or not "
                         "valid UTF-8",
                         TEXT_NAME_MAX);
    return core_start(store, op, &request);
}
