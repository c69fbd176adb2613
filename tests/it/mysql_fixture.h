#ifndef BFM_TESTS_MYSQL_FIXTURE_H
#define BFM_TESTS_MYSQL_FIXTURE_H

#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#include "maria_fixture.h"

#include "backend/mysql.h"
#include "model/registry.h"

/* Two servers (backends) on one MariaDB target, an administrator's connections, and a clean journal
 * in database bfmt; the schema of the tests is database s. */
struct world {
    struct loop *loop;
    struct backend_mysql_settings settings;
    struct backend *a, *b;
    struct maria_pool *admin;
    struct registry *registries[64]; /* of the migrations made, freed at the end */
    size_t registry_count;
};

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
    struct maria_conn *conn = maria_take(world->loop, world->admin);
    char sql[4096];
    const char *text;
    va_list args;

    va_start(args, format);
    vsnprintf(sql, sizeof(sql), format, args);
    va_end(args);
    text = maria_ask_text(world->loop, conn, sql);
    maria_release(conn);
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
    world->a = backend_mysql_create(world->loop, &world->settings);
    world->b = backend_mysql_create(world->loop, &world->settings);
}

static inline int world_setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct maria_settings admin = maria_fixture_settings();

    signal(SIGPIPE, SIG_IGN);
    world->loop = loop_create();
    world->settings = (struct backend_mysql_settings){.connection = "core",
                                                      .pool = maria_fixture_settings(),
                                                      .journal_schema = "bfmt",
                                                      .lock_wait_ms = 30000,
                                                      .create_schema = true};
    world->admin = maria_pool_create(world->loop, &admin);
    admin_text(world, "DROP DATABASE IF EXISTS bfmt; DROP DATABASE IF EXISTS s; "
                      "DROP DATABASE IF EXISTS other");
    reopen(world);
    *state = world;
    return 0;
}

static inline int world_teardown(void **state)
{
    struct world *world = *state;

    close_backend(world, &world->a);
    close_backend(world, &world->b);
    maria_close(world->loop, world->admin);
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

    snprintf(up_path, sizeof(up_path), "mysql/core/20250101000000_%s.up.sql", name);
    snprintf(down_path, sizeof(down_path), "mysql/core/20250101000000_%s.down.sql", name);
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
                      const char *schema)
{
    static unsigned runs;

    *going = (struct going){.started = 0};
    waited_init(&going->waited, world->loop);
    snprintf(going->run_id, sizeof(going->run_id), "run-%d-%u", (int)getpid(), ++runs);
    going->step = (struct backend_step){.migration = migration,
                                        .direction = direction,
                                        .schema = schema,
                                        .run_id = going->run_id,
                                        .schema_is_new = true};
    going->started =
        backend->ops->execute(backend, &going->waited.op, &going->step, &going->result);
}

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

    go(world, &going, backend, migration, direction, schema);
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

/* The step fails with `rc`, a text with `why` in it, at that statement and line. */
static inline struct outcome fails(struct world *world, const struct migration *migration,
                                   enum backend_direction direction, int rc, const char *why,
                                   unsigned statement, unsigned line)
{
    struct outcome got = step(world, world->a, migration, direction, "s");

    if (got.rc != rc || strstr(got.err.text, why) == NULL || got.err.statement != statement ||
        got.err.line != line)
        fail_msg("ended with %d, statement %u, line %u: %s", got.rc, got.err.statement,
                 got.err.line, err_text(&got.err));
    return got;
}

static inline void assert_admin(struct world *world, const char *sql, const char *expected)
{
    const char *got = admin_text(world, "%s", sql);

    if (strcmp(got, expected) != 0)
        fail_msg("%s: \"%s\" instead of \"%s\"", sql, got, expected);
}

/* The migration's row: "kind statement", "" if there is none. */
static inline void assert_row(struct world *world, const struct migration *migration,
                              const char *expected)
{
    char sql[512];

    snprintf(sql, sizeof(sql),
             "SELECT concat(kind,' ',coalesce(statement,'-')) FROM bfmt.journal WHERE "
             "migration_id='%s' AND schema_name='s'",
             migration->id);
    assert_admin(world, sql, expected);
}

/* Sets the migration's row as a run that is gone would have left it. */
static inline void leave_row(struct world *world, const struct migration *migration,
                             const char *kind, unsigned statement)
{
    admin_text(world,
               "REPLACE INTO bfmt.journal VALUES ('s','%s','%s','%s',%u,UTC_TIMESTAMP(6),"
               "'run-gone',1)",
               migration->id, migration->up.checksum, kind, statement);
}

static inline int resolve(struct world *world, const struct migration *migration, bool applied,
                          struct backend_decision *decision, struct err *err)
{
    struct waited waited;
    int rc;

    *decision =
        (struct backend_decision){.migration = migration, .schema = "s", .applied = applied};
    waited_init(&waited, world->loop);
    rc = wait_for(&waited, world->a->ops->resolve(world->a, &waited.op, decision));
    *err = waited.op.err;
    return rc;
}

/* Journal and schema `s` exist. */
static inline void prepare(struct world *world)
{
    up(world, load(world, "first", "SELECT 1", NULL), "s", BACKEND_DONE);
}

/* Runs the loop until the query gives `expected`. */
static inline void await_admin(struct world *world, const char *sql, const char *expected)
{
    while (strcmp(admin_text(world, "%s", sql), expected) != 0)
        wait_ms(world->loop, 5);
}

#define BACKEND_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

#endif
