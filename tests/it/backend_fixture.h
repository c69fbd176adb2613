#ifndef BFM_TESTS_BACKEND_FIXTURE_H
#define BFM_TESTS_BACKEND_FIXTURE_H

#include <unistd.h>

#include "pg_fixture.h"

#include "backend/postgresql.h"
#include "model/registry.h"

/* Two servers (backends) on one target, an administrator's connections, and a clean journal. */
struct world {
    struct loop *loop;
    struct backend_pg_settings settings;
    struct backend *a, *b;
    struct pg_pool *admin;
    struct registry *registries[64]; /* of the migrations made, freed at the end */
    size_t registry_count;
};

/* A script that leaves all on its session that a script can leave there. */
static const char dirty_script[] =
    "SET lock_timeout = '1234ms'; SET search_path = pg_catalog; CREATE TEMP TABLE left_over (a int);"
    "PREPARE left_over AS SELECT 1; LISTEN left_over; SELECT pg_advisory_lock(4711);"
    "SET ROLE pg_monitor; RESET ROLE; CREATE SEQUENCE s.q; SELECT nextval('s.q');"
    "DECLARE left_over CURSOR WITH HOLD FOR SELECT 1;";

/* What one step came to. */
struct outcome {
    int rc;
    struct err err;
    struct backend_result result;
};

static inline const char *admin_text(struct world *world, const char *format, ...)
    PRINTF_LIKE(2, 3);

static inline const char *admin_text(struct world *world, const char *format, ...)
{
    struct pg_conn *conn = take(world->loop, world->admin);
    char sql[4096];
    const char *text;
    va_list args;

    va_start(args, format);
    vsnprintf(sql, sizeof(sql), format, args);
    va_end(args);
    text = ask_text(world->loop, conn, sql);
    pg_release(conn);
    return text;
}

static inline void close_backend(struct world *world, struct backend **backend)
{
    struct waited waited;

    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, (*backend)->ops->close(*backend, &waited.op)), 0);
    *backend = NULL;
}

/* Both servers anew, with world->settings. */
static inline void reopen(struct world *world)
{
    if (world->a != NULL)
        close_backend(world, &world->a);
    if (world->b != NULL)
        close_backend(world, &world->b);
    world->a = backend_postgresql_create(world->loop, &world->settings);
    world->b = backend_postgresql_create(world->loop, &world->settings);
}

static inline int world_setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct pg_settings admin = fixture_settings();

    world->loop = loop_create();
    world->settings = (struct backend_pg_settings){.connection = "core",
                                                   .pool = fixture_settings(),
                                                   .lock_wait_ms = 30000,
                                                   .create_schema = true};
    admin.application_name = "bfm test admin";
    world->admin = pg_pool_create(world->loop, &admin);
    admin_text(world, "SET client_min_messages=error; DROP SCHEMA IF EXISTS bfm, s CASCADE");
    reopen(world);
    *state = world;
    return 0;
}

static inline int world_teardown(void **state)
{
    struct world *world = *state;

    close_backend(world, &world->a);
    close_backend(world, &world->b);
    close_pool(world->loop, world->admin);
    for (size_t i = 0; i < world->registry_count; i++)
        registry_unref(world->registries[i]);
    loop_destroy(world->loop);
    free(world);
    return 0;
}

/* Loads "20250101000000_<name>" of connection core as the server would; `down` may be NULL. */
static inline const struct migration *load(struct world *world, const char *name, const char *up,
                                           const char *down)
{
    char up_path[128], down_path[128];
    struct registry_file files[2] = {{.path = up_path, .text = up, .len = strlen(up)}};
    size_t count = 1;
    struct registry *registry = NULL;
    struct err err;

    snprintf(up_path, sizeof(up_path), "postgresql/core/20250101000000_%s.up.sql", name);
    snprintf(down_path, sizeof(down_path), "postgresql/core/20250101000000_%s.down.sql", name);
    if (down != NULL)
        files[count++] =
            (struct registry_file){.path = down_path, .text = down, .len = strlen(down)};
    assert_int_equal(registry_build(files, count, &registry, &err), 0);
    assert_int_equal(registry->count, 1);
    assert_true(world->registry_count < ARRAY_SIZE(world->registries));
    world->registries[world->registry_count++] = registry;
    if (registry->migrations[0]->invalid != NULL)
        fail_msg("%s", registry->migrations[0]->invalid);
    return registry->migrations[0];
}

/* One step under way. */
struct going {
    struct waited waited;
    struct backend_step step;
    struct backend_result result;
    char run_id[32];
    int started;
};

static inline void go(struct world *world, struct going *going, struct backend *backend,
                      const struct migration *migration, enum backend_direction direction,
                      const char *schema, bool schema_is_new)
{
    static unsigned runs;

    *going = (struct going){.started = 0};
    waited_init(&going->waited, world->loop);
    snprintf(going->run_id, sizeof(going->run_id), "run-%d-%u", (int)getpid(), ++runs);
    going->step = (struct backend_step){.migration = migration,
                                        .direction = direction,
                                        .schema = schema,
                                        .run_id = going->run_id,
                                        .schema_is_new = schema_is_new};
    going->started =
        backend->ops->execute(backend, &going->waited.op, &going->step, &going->result);
}

/* Its end; the notices are freed. */
static inline struct outcome arrive(struct going *going)
{
    struct outcome outcome = {.rc = wait_for(&going->waited, going->started)};

    outcome.err = going->waited.op.err;
    outcome.result = going->result;
    mem_free(outcome.result.notices);
    outcome.result.notices = NULL;
    return outcome;
}

static inline struct outcome step(struct world *world, struct backend *backend,
                                  const struct migration *migration,
                                  enum backend_direction direction, const char *schema)
{
    struct going going;

    go(world, &going, backend, migration, direction, schema, true);
    return arrive(&going);
}

static inline void assert_outcome(const struct outcome *got, int rc, enum backend_outcome outcome)
{
    if (got->rc != rc)
        fail_msg("ended with %d: %s", got->rc, err_text(&got->err));
    if (rc == 0)
        assert_int_equal(got->result.outcome, outcome);
}

static inline void up(struct world *world, const struct migration *migration, const char *schema,
                      enum backend_outcome outcome)
{
    struct outcome got = step(world, world->a, migration, BACKEND_UP, schema);

    assert_outcome(&got, 0, outcome);
}

static inline void down(struct world *world, const struct migration *migration, const char *schema,
                        enum backend_outcome outcome)
{
    struct outcome got = step(world, world->a, migration, BACKEND_DOWN, schema);

    assert_outcome(&got, 0, outcome);
}

static inline void assert_admin(struct world *world, const char *sql, const char *expected)
{
    const char *got = admin_text(world, "%s", sql);

    if (strcmp(got, expected) != 0)
        fail_msg("%s: \"%s\" instead of \"%s\"", sql, got, expected);
}

/* Journal and schema `s` exist. */
static inline void prepare(struct world *world)
{
    up(world, load(world, "first", "SELECT 1", NULL), "s", BACKEND_DONE);
}

/* The same step sixteen times at once, on both servers: how many of them did it. */
static inline unsigned race_up(struct world *world, const struct migration *migration)
{
    struct going going[16];
    unsigned done = 0;

    for (size_t i = 0; i < ARRAY_SIZE(going); i++)
        go(world, &going[i], i % 2 == 0 ? world->a : world->b, migration, BACKEND_UP, "s", true);
    for (size_t i = 0; i < ARRAY_SIZE(going); i++) {
        struct outcome got = arrive(&going[i]);

        assert_outcome(&got, 0, got.result.outcome);
        assert_true(got.result.outcome == BACKEND_DONE || got.result.outcome == BACKEND_WAS_DONE);
        done += got.result.outcome == BACKEND_DONE;
    }
    return done;
}

/* The up step with servers just made, and their nth allocation from now on failing; *hit: there was
 * such a one. */
static inline struct outcome step_failing_at(struct world *world, const struct migration *migration,
                                             uint64_t nth, bool *hit)
{
    struct outcome got;

    reopen(world);
    mem_fail_at(nth, 0);
    got = step(world, world->a, migration, BACKEND_UP, "s");
    *hit = mem_fail_hit();
    mem_fail_at(0, 0);
    assert_true(got.rc == 0 || *hit);
    return got;
}

/* The migration's table and its row in the journal are both there, or both not. */
static inline void assert_all_or_nothing(struct world *world, const struct migration *migration,
                                         const char *table, bool applied)
{
    char sql[256];

    snprintf(sql, sizeof(sql), "SELECT count(*) FROM pg_tables WHERE tablename = '%s'", table);
    assert_admin(world, sql, applied ? "1" : "0");
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM bfm.journal WHERE migration_id = '%s'",
             migration->id);
    assert_admin(world, sql, applied ? "1" : "0");
}

/* Runs the loop until the query gives `expected`. */
static inline void await_admin(struct world *world, const char *sql, const char *expected)
{
    while (strcmp(admin_text(world, "%s", sql), expected) != 0)
        wait_ms(world->loop, 5);
}

#define BACKEND_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

#endif
