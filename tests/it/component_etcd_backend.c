/* The etcd backend against a real etcd without authentication. */
#include "etcd_world.h"

static void test_up_and_down(void **state)
{
    struct world *world = *state;
    const struct migration *m =
        load(world, "m", "[" PUT("a", "\"1\"") "," PUT("n", "12345678901234567890") "]",
             "[" DELETE("a") "," DELETE("n") "]");
    int64_t before = admin_revision(world);
    struct outcome got;

    got = step(world, world->a, m, BACKEND_UP, "t1");
    assert_outcome(&got, 0, BACKEND_DONE);
    assert_int_equal(got.result.attempts, 1);
    assert_int_equal(admin_revision(world), before + 1); /* all in one */
    assert_keys(world, "/app/t1/", "/app/t1/a=1\n/app/t1/n=12345678901234567890");
    got = step(world, world->b, m, BACKEND_UP, "t1");
    assert_outcome(&got, 0, BACKEND_WAS_DONE);
    assert_int_equal(strncmp(got.result.run_id, "run-", 4), 0);
    assert_true(got.result.applied_at_us > INT64_C(1700000000000000));
    assert_int_equal(admin_revision(world), before + 1);
    up(world, m, "t2", BACKEND_DONE);
    down(world, m, "t1", BACKEND_DONE);
    assert_keys(world, "/app/t1/", "");
    down(world, m, "t1", BACKEND_WAS_DONE);
    up(world, m, "t1", BACKEND_DONE);
    down(world, m, "t1", BACKEND_DONE);
    down(world, m, "t2", BACKEND_DONE);
    assert_only_tombstones(world, "/", 2);
}

static void test_paths(void **state)
{
    struct world *world = *state;
    const struct migration *table =
        load(world, "t", "{\"bfm\":{\"table\":\"users\"},\"operations\":[" PUT("a", "\"1\"") "]}",
             "[" DELETE("a") "]");
    const struct migration *variables =
        load(world, "v", "[" PUT("{{.Schema}}", "{\"v\":\"{{.Version}}\",\"n\":1.10}") "]", NULL);

    up(world, table, "t1", BACKEND_DONE);
    up(world, table, "/abs", BACKEND_DONE);
    up(world, variables, "a\"b", BACKEND_DONE);
    assert_keys(world, "/app/t1/", "/app/t1/users/a=1");
    assert_keys(world, "/abs/", "/abs/users/a=1");
    assert_keys(world, "/app/a", "/app/a\"b/a\"b={\"v\":\"20250101000000\",\"n\":1.10}");
    down(world, variables, "a\"b", BACKEND_DONE);
    assert_keys(world, "/app/a", "");
}

static void test_refused(void **state)
{
    struct world *world = *state;
    const struct migration *m = load(world, "m", "[" PUT("x", "1") "]", "[]");
    const struct migration *wide = load(world, "w", "[" PUT("z", "1") "," PREFIX("ap") "]", "[]");
    int64_t before = admin_revision(world);

    assert_fails(world, m, BACKEND_UP, "/app.bfm/x", ERR_INVALID,
                 "operation 1 of 1: it touches keys that begin with \"/app.bfm/\"");
    assert_fails(world, wide, BACKEND_UP, "/", ERR_INVALID, "operation 2 of 2: it touches keys");
    assert_fails(world, m, BACKEND_UP, "", ERR_INVALID, "a schema name is not empty");
    assert_int_equal(admin_revision(world), before);
}

/* Another connection on the same cluster: its journal is out of reach, too. */
static void test_other_journals(void **state)
{
    static const char *const reserved[] = {".bfm/", "/app.bfm/"};
    static const char *const schemas[] = {"/app.bfm", "app.bfm"};
    struct world *world = *state;
    const struct migration *m = load(world, "m", "[" PUT("x", "1") "]", NULL);
    const struct migration *wipe = load(world, "w", "[" PREFIX("journal/") "]", "[]");
    const struct migration *wide =
        load(world, "x", "[" PUT("a", "1") "," PREFIX("app.b") "]", "[" PREFIX("app") "]");
    const struct migration *away = load(world, "y", "[" PREFIX("app/") "]", "[]");
    int64_t before;

    up(world, m, "t", BACKEND_DONE);
    world->settings.prefix = "/";
    world->settings.reserved = reserved;
    world->settings.reserved_count = ARRAY_SIZE(reserved);
    reopen(world);
    before = admin_revision(world);
    for (size_t i = 0; i < ARRAY_SIZE(schemas); i++) {
        assert_fails(world, m, BACKEND_UP, schemas[i], ERR_INVALID,
                     "operation 1 of 1: it touches keys that begin with \"/app.bfm/\"");
        assert_fails(world, wipe, BACKEND_UP, schemas[i], ERR_INVALID,
                     "operation 1 of 1: it touches keys that begin with \"/app.bfm/\"");
    }
    assert_fails(world, wide, BACKEND_UP, "/", ERR_INVALID,
                 "operation 2 of 2: it touches keys that begin with \"/app.bfm/\"");
    assert_fails(world, wide, BACKEND_DOWN, "/", ERR_INVALID, "\"/app.bfm/\"");
    assert_int_equal(admin_revision(world), before);
    assert_int_equal(admin_count(world, "/app.bfm/journal/", "/app.bfm/journal0", NULL), 1);
    up(world, away, "/", BACKEND_DONE); /* what is not the journal is everybody's */
    assert_keys(world, "/app/t/", "");
}

/* 1, 127, 128, 129, 1000 operations: still one revision each. */
static void test_many_operations(void **state)
{
    static const size_t counts[] = {1, 127, 128, 129, 1000, 4032};
    struct world *world = *state;

    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        const struct migration *m =
            load(world, "m", many(0, counts[i], "v"), many(1, counts[i], NULL));
        int64_t revision = admin_revision(world);

        up(world, m, "t", BACKEND_DONE);
        assert_int_equal(admin_count(world, "/app/t/", "/app/t0", NULL), counts[i]);
        assert_int_equal(admin_revision(world), revision + 1);
        up(world, m, "t", BACKEND_WAS_DONE);
        down(world, m, "t", BACKEND_DONE);
        assert_only_tombstones(world, "/", 1);
        assert_int_equal(admin_revision(world), revision + (counts[i] == 4032 ? 3 : 2));
    }
}

static void test_sizes(void **state)
{
    struct world *world = *state;
    const size_t size = 1572864;
    char *value = malloc(size + 1), *text = malloc(size + 200);
    const struct migration *m;
    int64_t revision;

    memset(value, 'x', size);
    value[size] = '\0';
    snprintf(text, size + 200, "[{\"key\":\"a\",\"value\":\"%s\"}]", value);
    m = load(world, "m", text, "[]");
    revision = admin_revision(world);
    assert_fails(world, m, BACKEND_UP, "t", ERR_LIMIT,
                 "operation 1 of 1: the request is too large");
    assert_int_equal(admin_revision(world), revision);
    value[size - 4000] = '\0';
    snprintf(text, size + 200, "[{\"key\":\"a\",\"value\":\"%s\"}]", value);
    m = load(world, "n", text, NULL);
    up(world, m, "t", BACKEND_DONE);
    value[100000] = '\0';
    snprintf(text, size + 200, "[{\"key\":\"a\",\"value\":\"%s\"}]", value);
    m = load(world, "o", text, NULL); /* what it replaces does not fit */
    assert_fails(world, m, BACKEND_UP, "t", ERR_LIMIT, "give the migration a down script");
    value[20000] = '\0';
    m = load(world, "p", many(0, 126, value), NULL); /* some 2.5 MB: two transactions */
    up(world, m, "t2", BACKEND_DONE);
    assert_int_equal(admin_count(world, "/app/t2/", "/app/t20", NULL), 126);
    up(world, load(world, "q", many(0, 126, "short"), NULL), "t2", BACKEND_DONE);
    down(world, load(world, "q", many(0, 126, "short"), NULL), "t2", BACKEND_DONE);
    down(world, m, "t2", BACKEND_DONE);
    assert_int_equal(admin_count(world, "/app/t2/", "/app/t20", NULL), 0);
    free(value);
    free(text);
}

/* Sixteen times at once on both servers: once. */
static void race(struct world *world, const struct migration *m, enum backend_direction direction)
{
    struct going going[16];
    unsigned done = 0;

    for (size_t i = 0; i < ARRAY_SIZE(going); i++)
        go(world, &going[i], i % 2 == 0 ? world->a : world->b, m, direction, "t");
    for (size_t i = 0; i < ARRAY_SIZE(going); i++) {
        struct outcome got = arrive(&going[i]);

        if (got.rc != 0)
            fail_msg("%d: %s", got.rc, err_text(&got.err));
        done += got.result.outcome == BACKEND_DONE;
    }
    assert_true(done >= 1);
    if (m->up.operations->count < 100)
        assert_int_equal(done, 1);
}

static void test_races(void **state)
{
    struct world *world = *state;
    const struct migration *small = load(world, "s", "[" PUT("a", "1") "," PUT("b", "2") "]",
                                         "[" DELETE("a") "," DELETE("b") "]");
    const struct migration *kept = load(world, "k", many(0, 20, "v"), NULL);
    const struct migration *large = load(world, "l", many(0, 400, "v"), NULL);

    for (int i = 0; i < 3; i++) {
        race(world, small, BACKEND_UP);
        race(world, small, BACKEND_DOWN);
        race(world, kept, BACKEND_UP);
        race(world, kept, BACKEND_DOWN);
        race(world, large, BACKEND_UP);
        assert_int_equal(admin_count(world, "/app/t/", "/app/t0", NULL), 400);
        assert_int_equal(admin_count(world, "/app.bfm/undo/", "/app.bfm/undo0", NULL), 4);
        race(world, large, BACKEND_DOWN);
        assert_only_tombstones(world, "/", 3);
    }
}

/* The server takes less than the settings say, which several steps find out at once. */
static void test_server_takes_fewer(void **state)
{
    static const char *const schemas[] = {"t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8"};
    struct world *world = *state;
    const struct migration *m = load(world, "m", many(0, 500, "v"), many(1, 500, NULL));
    struct going going[ARRAY_SIZE(schemas)];

    world->settings.max_txn_ops = 1000;
    reopen(world);
    for (int direction = BACKEND_UP; direction <= BACKEND_DOWN; direction++) {
        for (size_t i = 0; i < ARRAY_SIZE(schemas); i++)
            go(world, &going[i], world->a, m, (enum backend_direction)direction, schemas[i]);
        for (size_t i = 0; i < ARRAY_SIZE(schemas); i++) {
            struct outcome got = arrive(&going[i]);

            assert_outcome(&got, 0, BACKEND_DONE);
        }
        if (direction == BACKEND_UP)
            assert_int_equal(admin_count(world, "/app/t", "/app/u", NULL), 8 * 500);
    }
    assert_only_tombstones(world, "/", 8);
}

/* Nobody is there: a clear error, soon. */
static void test_nobody(void **state)
{
    struct world *world = *state;
    const struct migration *m = load(world, "m", "a=1", "[]");
    uint64_t started;

    world->settings.endpoints = "127.0.0.1:1,127.0.0.1:2";
    reopen(world);
    started = loop_sched(world->loop)->now_ms;
    assert_fails(world, m, BACKEND_UP, "t", ERR_UNREACHABLE, "");
    assert_true(loop_sched(world->loop)->now_ms - started < 15000);
    assert_fails(world, m, BACKEND_UP, "t", ERR_UNREACHABLE, "");
}

static void test_cancel(void **state)
{
    struct world *world = *state;
    const struct migration *m = load(world, "m", many(0, 400, "v"), NULL);
    unsigned canceled = 0;

    for (unsigned turns = 0; turns < 40; turns++) {
        struct outcome got;
        struct going going;

        go(world, &going, world->a, m, BACKEND_UP, "t");
        for (unsigned i = 0; i < turns; i++)
            uv_run(loop_uv(world->loop), UV_RUN_ONCE);
        op_cancel(&going.waited.op);
        got = arrive(&going);
        assert_true(got.rc == 0 || got.rc == ERR_CANCELED);
        canceled += got.rc == ERR_CANCELED;
    }
    assert_true(canceled > 0);
    up(world, m, "t", canceled == 40 ? BACKEND_DONE : BACKEND_WAS_DONE);
    assert_int_equal(admin_count(world, "/app/t/", "/app/t0", NULL), 400);
    down(world, m, "t", BACKEND_DONE);
    assert_only_tombstones(world, "/", 1);
}

/* A part of an up script took effect; it was changed since. */
static void test_changed_half_way(void **state)
{
    struct world *world = *state;
    const struct migration *m = load(world, "m", many(0, 400, "v"), NULL);
    const struct migration *changed = load(world, "m", many(0, 401, "v"), NULL);
    struct outcome got;
    struct going going;

    go(world, &going, world->a, m, BACKEND_UP, "t");
    while (admin_count(world, "/app/t/", "/app/t0", NULL) == 0)
        continue;
    op_cancel(&going.waited.op);
    got = arrive(&going);
    if (got.rc == 0)
        return; /* it was too quick */
    assert_int_equal(got.rc, ERR_CANCELED);
    assert_non_null(strstr(err_text(&got.err), " of 400 of the up script took effect"));
    assert_fails(world, changed, BACKEND_UP, "t", ERR_CONFLICT, "the script was changed since");
    assert_fails(world, m, BACKEND_DOWN, "t", ERR_CONFLICT, "the up of this migration stopped");
    up(world, m, "t", BACKEND_DONE);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        T(test_up_and_down),
        T(test_paths),
        T(test_refused),
        T(test_other_journals),
        T(test_many_operations),
        T(test_server_takes_fewer),
        T(test_sizes),
        T(test_races),
        T(test_nobody),
        T(test_cancel),
        T(test_changed_half_way),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
