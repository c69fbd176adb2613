#ifndef BFM_TESTS_GREPTIMEDB_FIXTURE_H
#define BFM_TESTS_GREPTIMEDB_FIXTURE_H

#include "unit/backend/fake_greptimedb.h"

/* What the tests of the GreptimeDB machine share: one world, one backend, one migration. */

struct world {
    struct fake fake;
    struct backend_greptimedb_settings settings;
    struct backend *backend;
    struct tree tree;
    const struct migration *migration;
    struct backend_result result;
    struct err err;
    unsigned attempts; /* told by on_attempt */
    char why[ERR_TEXT_MAX];
};

static const char three_up[] = "CREATE TABLE a;\nCREATE TABLE b;\n\nINSERT INTO a VALUES (1);";
static const char three_down[] = "DROP TABLE b;\nDROP TABLE a;";

static inline void world_use(struct world *world, const char *up, const char *down)
{
    tree_free(&world->tree);
    tree_add(&world->tree, "greptimedb/metrics/20250101120000_m.up.sql", up);
    if (down != NULL)
        tree_add(&world->tree, "greptimedb/metrics/20250101120000_m.down.sql", down);
    tree_build(&world->tree);
    world->migration = world->tree.registry->migrations[0];
    assert_runs(world->migration);
}

static inline void world_init(struct world *world)
{
    fake_init(&world->fake);
    fake_add_database(&world->fake, "s");
    world->settings = (struct backend_greptimedb_settings){.connection = "metrics",
                                                           .create_schema = true,
                                                           .peer = {.max_open = 4},
                                                           .statement_timeout_ms = 20000,
                                                           .lock_wait_ms = 10000};
    world->backend = fake_backend(&world->fake, &world->settings);
    world->tree = (struct tree){0};
    world_use(world, three_up, three_down);
}

static inline void world_reopen(struct world *world)
{
    fake_close(&world->fake, world->backend);
    world->backend = fake_backend(&world->fake, &world->settings);
}

static inline int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    world_init(world);
    *state = world;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *world = *state;

    fake_close(&world->fake, world->backend);
    tree_free(&world->tree);
    free(world);
    return 0;
}

static inline void on_attempt(const struct backend_step *step, unsigned attempt,
                              const struct err *why)
{
    struct world *world = step->owner;

    world->attempts = attempt;
    snprintf(world->why, sizeof(world->why), "%s", err_text(why));
}

/* A step under way. */
struct going {
    struct fake_wait wait;
    struct backend_step step;
    struct backend_result result;
};

static inline int begin(struct world *world, struct going *going, enum backend_direction direction,
                        const char *schema, const char *run_id)
{
    fake_wait_init(&going->wait);
    going->step = (struct backend_step){.migration = world->migration,
                                        .direction = direction,
                                        .schema = schema,
                                        .run_id = run_id,
                                        .on_attempt = on_attempt,
                                        .owner = world};
    return world->backend->ops->execute(world->backend, &going->wait.op, &going->step,
                                        &going->result);
}

static inline int end(struct world *world, struct going *going, int rc)
{
    rc = fake_finish(&world->fake, &going->wait, rc);
    world->result = going->result;
    world->err = going->wait.op.err;
    return rc;
}

static inline int run_in(struct world *world, enum backend_direction direction, const char *schema,
                         const char *run_id)
{
    struct going going;

    return end(world, &going, begin(world, &going, direction, schema, run_id));
}

static inline int up(struct world *world, const char *run_id)
{
    return run_in(world, BACKEND_UP, "s", run_id);
}

static inline int down(struct world *world, const char *run_id)
{
    return run_in(world, BACKEND_DOWN, "s", run_id);
}

static inline int resolve(struct world *world, bool applied, struct backend_decision *decision)
{
    struct fake_wait wait;
    int rc;

    *decision =
        (struct backend_decision){.migration = world->migration, .schema = "s", .applied = applied};
    fake_wait_init(&wait);
    rc = fake_finish(&world->fake, &wait,
                     world->backend->ops->resolve(world->backend, &wait.op, decision));
    world->err = wait.op.err;
    return rc;
}

/* "none", "up done 1", "up begun 2", "up complete", "undo ..." */
static inline const char *row_text(struct world *world)
{
    static char text[64];
    const struct fake_row *row = fake_row_of(&world->fake, "s", world->migration->id);

    if (row == NULL)
        return "none";
    snprintf(text, sizeof(text), "%s %s %d", row->row.undo ? "undo" : "up",
             row->row.complete  ? "complete"
             : row->row.started ? "begun"
                                : "done",
             (int)row->row.done + (row->row.started ? 1 : 0));
    return text;
}

#define ASSERT_ROW(expected) assert_string_equal(row_text(world), expected)

static inline void assert_text(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, text);
}

#define GREPTIMEDB_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
