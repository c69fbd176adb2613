#ifndef BFM_TESTS_SIM_FAKE_PRIVATE_H
#define BFM_TESTS_SIM_FAKE_PRIVATE_H

#include "fake_world.h"

/* What the files of the world in memory share. */

/* One operation under way, of either side. */
struct fake_op {
    struct fake_world *world;
    struct op *op;
    struct timer timer;
    struct err err;
    int rc;
    void (*ended)(struct fake_op *fake); /* NULL, or what it does when its time has come */
    const struct backend_step *step;
    struct backend_result *result;
    struct backend_decision *decision;
};

/* Starts an operation that will succeed or fail as the world says. NULL: refused, with the reason
 * in op->err. */
struct fake_op *fake_op_start(struct fake_world *world, struct op *op, bool is_store, uint64_t ms);

/* fake_history.c: the rows of the history, oldest first */
void fake_history_add(struct fake_world *world, const char *id, const char *schema,
                      const char *run_id, const char *status, int64_t at_us);
bool fake_history_is_of(const struct fake_history *a, const struct fake_history *b);
/* Whether the run wrote more about this step than its start. */
bool fake_history_has_end(const struct fake_world *world, const struct fake_history *row);
bool fake_history_is_newest(const struct fake_world *world, const struct fake_history *row);

/* fake_store.c, and what it reads: fake_store_reads.c */
extern const struct store_ops fake_store_ops;
static inline struct fake_world *fake_world_of_store(struct store *store)
{
    return container_of(store, struct fake_world, store);
}
int fake_get_applied(struct store *store, struct op *op, const struct store_scope *scopes,
                     size_t scope_count, struct store_executions *out);
int fake_get_executions(struct store *store, struct op *op, const char *id,
                        const struct store_cursor *after, size_t limit,
                        struct store_executions *out);
int fake_get_standing(struct store *store, struct op *op, const struct store_place *places,
                      size_t count, struct store_standings *out);
int fake_get_unended(struct store *store, struct op *op, int64_t after, size_t limit,
                     struct store_standings *out);
int fake_get_history(struct store *store, struct op *op, const char *migration_id,
                     int64_t before_id, size_t limit, struct store_event_rows *out);

/* fake_target.c */
extern const struct backend_ops fake_backend_ops;

#endif
