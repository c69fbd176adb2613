#include <string.h>

#include "base/utf8.h"
#include "store/core.h"
#include "store/text.h"

/* The start calls about whole runs. */

enum {
    CORE_LANE_BYTES = 64, /* of a lane without its texts; only an estimate */
};

static size_t core_text_len(const char *text)
{
    return text != NULL ? strlen(text) : 0;
}

static size_t core_weigh_run(const struct store_run *run, const struct store_run_lane *lanes,
                             size_t lane_count)
{
    size_t bytes = sizeof(*run) + core_text_len(run->request) +
                   core_text_len(run->execution_context) + core_text_len(run->error);

    for (size_t i = 0; i < lane_count; i++)
        bytes += CORE_LANE_BYTES + core_text_len(lanes[i].schema) + core_text_len(lanes[i].error);
    return bytes;
}

int core_put_run(struct store *store, struct op *op, const struct store_run *run,
                 const struct store_run_lane *lanes, size_t lane_count)
{
    return core_start(store, op,
                      &(struct request){.kind = REQUEST_PUT_RUN,
                                        .run = run,
                                        .lanes = lanes,
                                        .lane_count = lane_count,
                                        .rows = lane_count + 1,
                                        .bytes = core_weigh_run(run, lanes, lane_count)});
}

int core_get_runs(struct store *store, struct op *op, const struct store_run_filter *filter,
                  size_t limit, struct store_runs *out)
{
    return core_start_result(
        store, op,
        &(struct request){
            .kind = REQUEST_RUNS, .run_filter = filter, .limit = limit, .out.runs = out});
}

int core_get_run_lanes(struct store *store, struct op *op, const char *run_id, int64_t after,
                       size_t limit, struct store_run_lanes *out)
{
    return core_start_result(store, op,
                             &(struct request){.kind = REQUEST_RUN_LANES,
                                               .run_id = run_id,
                                               .after = after,
                                               .limit = limit,
                                               .out.run_lanes = out});
}

int core_get_run_steps(struct store *store, struct op *op, const char *run_id, int64_t after,
                       size_t limit, struct store_run_steps *out)
{
    return core_start_result(store, op,
                             &(struct request){.kind = REQUEST_RUN_STEPS,
                                               .run_id = run_id,
                                               .after = after,
                                               .limit = limit,
                                               .out.run_steps = out});
}

/* What an index can hold, and what a comparison cannot confuse with something else. */
static bool core_is_key_text(const char *text)
{
    size_t len = strlen(text);

    return utf8_is_valid(text, len) && text_count_characters(text, len) <= TEXT_NAME_MAX;
}

int core_claim_key(struct store *store, struct op *op, const struct store_key *key,
                   struct store_key_claim *out)
{
    struct request request = {.kind = REQUEST_CLAIM_KEY, .key = key, .rows = 1, .out.claim = out};

    core_zero_result(&request);
    if (!core_is_key_text(key->owner) || !core_is_key_text(key->key))
        return op_refuse(op, ERR_INVALID,
                         "the idempotency key or its owner is longer than %d characters or not "
                         "valid UTF-8",
                         TEXT_NAME_MAX);
    return core_start(store, op, &request);
}

int core_beat(struct store *store, struct op *op, const struct store_beat *beat,
              struct store_beat_result *out)
{
    return core_start_result(
        store, op,
        &(struct request){.kind = REQUEST_BEAT, .beat = beat, .rows = 1, .out.beat = out});
}

int core_get_tenants(struct store *store, struct op *op, const struct store_tenant_filter *filter,
                     struct store_tenants *out)
{
    return core_start_result(store, op,
                             &(struct request){.kind = REQUEST_TENANTS,
                                               .tenant_filter = filter,
                                               .limit = filter->limit,
                                               .out.tenants = out});
}
