/* What the etcd backend reads of a real etcd, and adoption. */
#include "etcd_world.h"

static void journal(struct world *world, const char *schema, const char *id, size_t limit,
                    struct backend_journal *out)
{
    struct waited waited;

    waited_init(&waited, world->loop);
    if (wait_for(&waited,
                 world->a->ops->read_journal(world->a, &waited.op, schema, id, limit, out)) != 0)
        fail_msg("%s", err_text(&waited.op.err));
}

static void test_journal(void **state)
{
    static const char *const schemas[] = {"t", "/abs/x", "t-", "t/1", "T"};
    static const char *const sorted[] = {"/abs/x", "T", "t", "t-", "t/1"};
    struct world *world = *state;
    const struct migration *one = load(world, "one", "a=1", NULL);
    const struct migration *two = load(world, "two", "b=1", NULL);
    char schema[300] = "", id[300] = "";
    struct backend_journal rows;
    size_t seen = 0;

    journal(world, "", "", 10, &rows);
    assert_int_equal(rows.count, 0);
    assert_false(rows.more);
    arena_free(&rows.arena);
    for (size_t i = 0; i < ARRAY_SIZE(schemas); i++) {
        up(world, two, schemas[i], BACKEND_DONE);
        up(world, one, schemas[i], BACKEND_DONE);
    }
    do {
        journal(world, schema, id, 3, &rows);
        for (size_t i = 0; i < rows.count; i++, seen++) {
            const struct backend_journal_row *row = &rows.rows[i];

            assert_string_equal(row->schema, sorted[seen / 2]);
            assert_string_equal(row->migration_id, seen % 2 == 0 ? one->id : two->id);
            assert_string_equal(row->checksum, seen % 2 == 0 ? one->up.checksum : two->up.checksum);
            assert_true(row->complete && row->applied_at_us > 0 && row->run_id[0] != '\0');
            snprintf(schema, sizeof(schema), "%s", row->schema);
            snprintf(id, sizeof(id), "%s", row->migration_id);
        }
        arena_free(&rows.arena);
    } while (rows.more);
    assert_int_equal(seen, 10);
}

/* What somebody else put below the journal: passed over, however much it is. */
static void test_foreign_keys_in_the_journal(void **state)
{
    struct world *world = *state;
    const struct migration *m = load(world, "m", "a=1", NULL);
    struct backend_journal rows;
    char key[64];

    up(world, m, "t", BACKEND_DONE);
    up(world, m, "u", BACKEND_DONE);
    for (int i = 0; i < 7; i++) {
        snprintf(key, sizeof(key), "/app.bfm/journal/%s%d", i < 5 ? "a" : "t_", i);
        admin_put(world, key, "x");
    }
    admin_put(world, "/app.bfm/journal/z", "x");
    journal(world, "", "", 2, &rows);
    assert_int_equal(rows.count, 1);
    assert_string_equal(rows.rows[0].schema, "t");
    assert_true(rows.more);
    arena_free(&rows.arena);
    journal(world, "t", m->id, 2, &rows);
    assert_int_equal(rows.count, 1);
    assert_string_equal(rows.rows[0].schema, "u");
    arena_free(&rows.arena);
    journal(world, "u", m->id, 2, &rows);
    assert_int_equal(rows.count, 0);
    assert_false(rows.more);
    arena_free(&rows.arena);
    journal(world, "", "", 100, &rows);
    assert_int_equal(rows.count, 2);
    assert_false(rows.more);
    arena_free(&rows.arena);
}

/* What is undone is not in it, wherever the page ends. */
static void test_tombstones_in_the_journal(void **state)
{
    static const char *const schemas[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    struct world *world = *state;
    const struct migration *m = load(world, "m", "a=1", NULL);

    for (size_t i = 0; i < ARRAY_SIZE(schemas); i++)
        up(world, m, schemas[i], BACKEND_DONE);
    for (size_t i = 0; i < ARRAY_SIZE(schemas); i++)
        if (strchr("be", schemas[i][0]) == NULL)
            down(world, m, schemas[i], BACKEND_DONE);
    for (size_t limit = 1; limit < 10; limit++) {
        struct backend_journal rows = {.count = 0};
        char seen[8] = "", schema[8] = "";

        do {
            journal(world, schema, schema[0] != '\0' ? m->id : "", limit, &rows);
            assert_true(rows.count <= limit);
            assert_true(rows.count > 0 || !rows.more);
            for (size_t i = 0; i < rows.count; i++) {
                assert_true(rows.rows[i].complete);
                snprintf(schema, sizeof(schema), "%s", rows.rows[i].schema);
                strcat(seen, schema);
                assert_true(strlen(seen) < 4);
            }
            arena_free(&rows.arena);
        } while (rows.more);
        assert_string_equal(seen, "be");
    }
}

static void inspect(struct world *world, struct backend_check *checks, size_t count)
{
    struct waited waited;

    waited_init(&waited, world->loop);
    if (wait_for(&waited, world->a->ops->inspect(world->a, &waited.op, checks, count)) != 0)
        fail_msg("%s", err_text(&waited.op.err));
}

static void test_inspect(void **state)
{
    struct world *world = *state;
    struct backend_check checks[400];

    admin_put(world, "/app/t/users/a", "1");
    admin_put(world, "/app/t2", "1");
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
        checks[i] = (struct backend_check){.schema = i % 2 == 0 ? "t" : "t2", .table = ""};
    checks[0].table = "users";
    checks[2].table = "user";
    inspect(world, checks, ARRAY_SIZE(checks));
    assert_true(checks[0].exists);
    assert_false(checks[2].exists);
    for (size_t i = 3; i < ARRAY_SIZE(checks); i++)
        assert_int_equal(checks[i].exists, i % 2 == 0);
    inspect(world, checks, 0);
}

/* What is asked for is divided, too. */
static void test_server_takes_fewer_reads(void **state)
{
    struct world *world = *state;
    struct backend_check checks[400];
    struct backend_adoption items[400];
    const struct migration *m = load(world, "m", "a=1", NULL);
    struct waited waited;

    admin_put(world, "/app/t/a", "1");
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        checks[i] = (struct backend_check){.schema = i % 2 == 0 ? "t" : "t2", .table = ""};
        items[i] = (struct backend_adoption){.migration = m, .schema = "t2"};
    }
    items[399].schema = "t";
    world->settings.max_txn_ops = 1000;
    reopen(world);
    inspect(world, checks, ARRAY_SIZE(checks));
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
        assert_int_equal(checks[i].exists, i % 2 == 0);
    reopen(world);
    waited_init(&waited, world->loop);
    assert_int_equal(
        wait_for(&waited, world->a->ops->adopt(world->a, &waited.op, items, ARRAY_SIZE(items))), 0);
    for (size_t i = 0; i < ARRAY_SIZE(items); i++)
        assert_int_equal(items[i].adopted, i == 399);
}

static void test_adopt(void **state)
{
    struct world *world = *state;
    const struct migration *m = load(world, "m", "a=1", NULL), *n = load(world, "n", "b=1", NULL);
    struct backend_adoption items[] = {
        {.migration = m, .schema = "t", .applied_at_us = INT64_C(1700000000000000)},
        {.migration = n, .schema = "t"},
        {.migration = m, .schema = "away"},
    };
    struct waited waited;
    struct outcome got;

    up(world, n, "t", BACKEND_DONE);
    for (int i = 0; i < 2; i++) {
        int64_t revision = admin_revision(world);

        waited_init(&waited, world->loop);
        assert_int_equal(wait_for(&waited, world->a->ops->adopt(world->a, &waited.op, items, 3)),
                         0);
        assert_true(items[0].adopted && items[1].adopted);
        assert_false(items[2].adopted);
        assert_int_equal(admin_revision(world), revision + (i == 0 ? 1 : 0));
    }
    got = step(world, world->a, m, BACKEND_UP, "t");
    assert_outcome(&got, 0, BACKEND_WAS_DONE);
    assert_string_equal(got.result.run_id, "adopted");
    assert_true(got.result.applied_at_us == INT64_C(1700000000000000));
    assert_fails(world, m, BACKEND_DOWN, "t", ERR_CONFLICT, "give it a down script");
    up(world, m, "away", BACKEND_DONE);
}

/* What an older server applied behind an undo of this one is applied, like where there is nothing.
 */
static void test_adopt_behind_a_tombstone(void **state)
{
    struct world *world = *state;
    const struct migration *m = load(world, "m", "a=1", NULL);
    struct backend_adoption items[] = {
        {.migration = m, .schema = "t", .applied_at_us = INT64_C(1700000000000000)},
        {.migration = m, .schema = "away"},
    };
    struct waited waited;
    struct outcome got;

    up(world, m, "t", BACKEND_DONE);
    up(world, m, "away", BACKEND_DONE);
    down(world, m, "t", BACKEND_DONE);
    down(world, m, "away", BACKEND_DONE);
    admin_put(world, "/app/t/a", "1");
    for (int i = 0; i < 2; i++) {
        int64_t revision = admin_revision(world);

        waited_init(&waited, world->loop);
        assert_int_equal(wait_for(&waited, world->a->ops->adopt(world->a, &waited.op, items, 2)),
                         0);
        assert_true(items[0].adopted);
        assert_false(items[1].adopted);
        assert_int_equal(admin_revision(world), revision + (i == 0 ? 1 : 0));
    }
    got = step(world, world->a, m, BACKEND_UP, "t");
    assert_outcome(&got, 0, BACKEND_WAS_DONE);
    assert_string_equal(got.result.run_id, "adopted");
    up(world, m, "away", BACKEND_DONE);
}

static void test_ping(void **state)
{
    struct world *world = *state;
    struct pool_stats stats;
    struct waited waited;

    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, world->a->ops->ping(world->a, &waited.op)), 0);
    world->a->ops->get_stats(world->a, &stats);
    assert_true(stats.contacted && stats.is_up);
    assert_int_equal(world->a->parallel, 8);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        T(test_journal),
        T(test_foreign_keys_in_the_journal),
        T(test_tombstones_in_the_journal),
        T(test_inspect),
        T(test_server_takes_fewer_reads),
        T(test_adopt),
        T(test_adopt_behind_a_tombstone),
        T(test_ping),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
