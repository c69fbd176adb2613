#include "store/core.h"

/* The start calls about what stands, and about starts without an end. */

int core_get_standing(struct store *store, struct op *op, const struct store_place *places,
                      size_t count, struct store_standings *out)
{
    return core_start_result(store, op,
                             &(struct request){.kind = REQUEST_STANDING,
                                               .places = places,
                                               .place_count = count,
                                               .out.standings = out});
}

int core_get_unended(struct store *store, struct op *op, int64_t after, size_t limit,
                     struct store_standings *out)
{
    return core_start_result(
        store, op,
        &(struct request){
            .kind = REQUEST_UNENDED, .after = after, .limit = limit, .out.standings = out});
}
