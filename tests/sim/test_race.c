/*
 * Steps that exclude each other: an undo of one and an up of what depends on it. Whatever the order
 * in which they start and get on, what is applied has what it depends on, nobody waits for ever,
 * and every recorded start has an end.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cmocka_all.h"
#include "fake_world.h"

#define FILE_OF(path_, text_)                                  \
    {                                                          \
        .path = path_, .text = text_, .len = sizeof(text_) - 1 \
    }

static const struct registry_file files[] = {
    FILE_OF("postgresql/core/20250101000000_base.up.sql", "CREATE TABLE base (id int);"),
    FILE_OF("postgresql/core/20250101000000_base.down.sql", "DROP TABLE base;"),
    FILE_OF("postgresql/core/20250102000000_leaf.up.sql",
            "-- bfm-depends: base\nCREATE TABLE leaf (id int);"),
    FILE_OF("postgresql/core/20250102000000_leaf.down.sql", "DROP TABLE leaf;"),
    FILE_OF("postgresql/core/20250103000000_base.up.sql", "CREATE TABLE other (id int);"),
    FILE_OF("postgresql/core/20250103000000_base.down.sql", "DROP TABLE other;"),
};

enum {
    FILES = 4, /* without the second "base" */
    FILES_WITH_CHOICE = 6,
    FAR = 3600 * 1000,
};

#define BASE  "20250101000000_base_postgresql_core"
#define LEAF  "20250102000000_leaf_postgresql_core"
#define OTHER "20250103000000_base_postgresql_core"

static const char *const schemas[] = {"a"};
static unsigned done_count;

static void on_done(struct run *run)
{
    (void)run;
    done_count++;
}

static struct run_request up_leaf(void)
{
    return (struct run_request){
        .kind = RUN_UP,
        .connection = "core",
        .filter = {.backend = "", .connection = "core", .schema = "", .version = "20250102000000"},
        .schemas = schemas,
        .schema_count = 1,
        .caller = {.executed_by = "tester", .execution_method = "api", .execution_context = "{}"},
    };
}

static struct run_request down(const struct fake_world *world, const char *id)
{
    return (struct run_request){
        .kind = RUN_DOWN,
        .migration = registry_find(world->engine.registry, id),
        .schemas = schemas,
        .schema_count = 1,
        .caller = {.executed_by = "tester", .execution_method = "api", .execution_context = "{}"},
    };
}

static void set_applied(struct fake_world *world, const char *id, bool there)
{
    fake_world_set_effect(world, id, "a", there);
    fake_world_set_belief(world, id, "a", there);
}

static void start(struct fake_world *world, const struct run_request *request, struct run **out)
{
    struct err err = {0};

    assert_int_equal(run_start(&world->engine, request, on_done, NULL, out, &err), 0);
}

static void turns(struct fake_world *world, unsigned count)
{
    while (count-- > 0 && fake_world_turn(world))
        continue;
}

static void check_leaf_has_base(const struct fake_world *world)
{
    assert_true(!fake_world_has_effect(world, LEAF, "a") ||
                fake_world_has_effect(world, BASE, "a") ||
                fake_world_has_effect(world, OTHER, "a"));
    assert_true(fake_world_agrees(world));
    assert_int_equal(fake_world_unended(world), 0);
}

static enum run_item_kind last_kind(const struct run *run)
{
    assert_true(run->lanes[0].count > 0);
    return run->lanes[0].items[run->lanes[0].count - 1].kind;
}

/* One starts `delay` turns behind the other. Pools of one place: a step holds it to its end. */
static void race(bool up_first, unsigned delay, uint64_t step_ms, unsigned parallel)
{
    struct fake_world world;
    struct run_request up = up_leaf(), undo;
    struct run *first, *second;

    fake_world_init(&world, files, FILES);
    world.step_ms = step_ms;
    world.backend.parallel = parallel;
    undo = down(&world, BASE);
    set_applied(&world, BASE, true);
    done_count = 0;
    start(&world, up_first ? &up : &undo, &first);
    turns(&world, delay);
    start(&world, up_first ? &undo : &up, &second);
    fake_world_settle(&world);
    assert_int_equal(done_count, 2);
    check_leaf_has_base(&world);
    run_free(first);
    run_free(second);
    fake_world_free(&world);
}

static void test_undo_and_up_at_every_distance(void **state)
{
    unsigned cases = 0;

    (void)state;
    for (unsigned delay = 0; delay < 40; delay++)
        for (int way = 0; way < 8; way++, cases++)
            race(way & 1, delay, way & 2 ? 10 : 0, way & 4 ? 1 : 4);
    assert_int_equal(cases, 320);
}

/* Both were judged before either had its lock; the undo got it first. */
static void test_up_behind_an_undo_is_refused(void **state)
{
    struct fake_world world;
    struct run_request up = up_leaf(), undo;
    struct run *undone, *late;

    (void)state;
    fake_world_init(&world, files, FILES);
    undo = down(&world, BASE);
    set_applied(&world, BASE, true);
    world.step_ms = 100;
    start(&world, &undo, &undone);
    while (world.running == 0)
        assert_true(fake_world_turn(&world));
    start(&world, &up, &late);
    fake_world_settle(&world);
    assert_int_equal(last_kind(undone), RUN_ITEM_APPLIED);
    assert_int_equal(last_kind(late), RUN_ITEM_FAILED);
    assert_non_null(strstr(late->lanes[0].items[0].err->text, BASE));
    assert_int_equal(world.asked, 1);
    check_leaf_has_base(&world);
    run_free(undone);
    run_free(late);
    fake_world_free(&world);
}

static void test_undo_behind_an_up_is_refused(void **state)
{
    struct fake_world world;
    struct run_request up = up_leaf(), undo;
    struct run *applied, *late;

    (void)state;
    fake_world_init(&world, files, FILES);
    undo = down(&world, BASE);
    set_applied(&world, BASE, true);
    world.step_ms = 100;
    start(&world, &up, &applied);
    while (world.running == 0)
        assert_true(fake_world_turn(&world));
    start(&world, &undo, &late);
    fake_world_settle(&world);
    assert_int_equal(last_kind(applied), RUN_ITEM_APPLIED);
    assert_int_equal(last_kind(late), RUN_ITEM_FAILED);
    assert_int_equal(late->lanes[0].items[0].err->code, ERR_CONFLICT);
    assert_non_null(strstr(late->lanes[0].items[0].err->text, LEAF));
    check_leaf_has_base(&world);
    run_free(applied);
    run_free(late);
    fake_world_free(&world);
}

/* Another server undid it while this one was at its claim: no lock of ours tells. */
static void test_what_another_server_undid_is_seen(void **state)
{
    struct fake_world world;
    struct run_request up = up_leaf();
    struct run *run;

    (void)state;
    fake_world_init(&world, files, FILES);
    set_applied(&world, BASE, true);
    start(&world, &up, &run);
    while (strstr(world.log, "pending " LEAF) == NULL)
        assert_true(fake_world_turn(&world));
    set_applied(&world, BASE, false);
    fake_world_settle(&world);
    assert_int_equal(last_kind(run), RUN_ITEM_FAILED);
    assert_int_equal(world.asked, 0);
    check_leaf_has_base(&world);
    run_free(run);
    fake_world_free(&world);
}

/* Another server is at it: an up waits for its end, an undo gives way. */
static void test_work_of_another_server(void **state)
{
    struct fake_world world;
    struct run_request up = up_leaf(), undo;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, FILES);
    undo = down(&world, BASE);
    set_applied(&world, BASE, true);
    fake_world_leave_pending(&world, BASE, "a", "far", clock_wall_us(), STORE_OWNER_RUNNING);
    start(&world, &up, &run);
    while (world.now_ms < 20000)
        assert_true(fake_world_turn(&world));
    assert_int_equal(world.asked, 0);
    fake_world_set_belief(&world, BASE, "a", false);
    fake_world_set_effect(&world, BASE, "a", false);
    world.history[0].status = "rolled_back";
    fake_world_settle(&world);
    assert_int_equal(last_kind(run), RUN_ITEM_FAILED);
    assert_int_equal(world.asked, 0);
    run_free(run);

    set_applied(&world, BASE, true);
    fake_world_leave_pending(&world, LEAF, "a", "far", clock_wall_us(), STORE_OWNER_UNKNOWN);
    start(&world, &undo, &run);
    fake_world_settle(&world);
    assert_int_equal(run->lanes[0].items[0].err->code, ERR_CONFLICT);
    assert_int_equal(world.asked, 0);
    run_free(run);

    world.history[world.history_count - 2].owner = STORE_OWNER_ENDED; /* whatever it was */
    fake_world_leave_pending(&world, LEAF, "a", "gone", clock_wall_us(), STORE_OWNER_ENDED);
    start(&world, &undo, &run);
    fake_world_settle(&world);
    assert_int_equal(last_kind(run), RUN_ITEM_APPLIED);
    run_free(run);
    fake_world_free(&world);
}

static void test_waiting_for_another_server_ends(void **state)
{
    struct fake_world world;
    struct run_request up = up_leaf();
    struct run *run;

    (void)state;
    for (int canceled = 0; canceled < 2; canceled++) {
        fake_world_init(&world, files, FILES);
        set_applied(&world, BASE, true);
        fake_world_leave_pending(&world, BASE, "a", "far", clock_wall_us(), STORE_OWNER_RUNNING);
        start(&world, &up, &run);
        while (canceled && world.now_ms < 5000)
            assert_true(fake_world_turn(&world));
        if (canceled)
            run_cancel(run, ERR_CANCELED);
        fake_world_settle(&world);
        assert_in_range(world.now_ms, canceled ? 5000 : 30000, canceled ? 10001 : 36000);
        if (!canceled)
            assert_int_equal(run->lanes[0].items[0].err->code, ERR_LOCKED);
        assert_int_equal(world.asked, 0);
        assert_int_equal(fake_world_unended(&world), 1); /* the other server's */
        run_free(run);
        fake_world_free(&world);
    }
}

/* Any "base" is enough for the leaf; of two undos at once only one can have its way. */
static void test_one_of_two_may_go(void **state)
{
    (void)state;
    for (unsigned delay = 0; delay < 20; delay++) {
        struct fake_world world;
        struct run_request undo_base, undo_other;
        struct run *one, *two;

        fake_world_init(&world, files, FILES_WITH_CHOICE);
        undo_base = down(&world, BASE);
        undo_other = down(&world, OTHER);
        set_applied(&world, BASE, true);
        set_applied(&world, OTHER, true);
        set_applied(&world, LEAF, true);
        world.step_ms = delay & 1 ? 5 : 0;
        start(&world, &undo_base, &one);
        turns(&world, delay);
        start(&world, &undo_other, &two);
        fake_world_settle(&world);
        check_leaf_has_base(&world);
        assert_true(world.executed <= 1);
        if (delay == 19)
            assert_int_equal(world.executed, 1);
        run_free(one);
        run_free(two);
        fake_world_free(&world);
    }
}

/* --- starts that a server left behind --- */

static void on_reconciled(struct reconcile *reconcile)
{
    (void)reconcile;
    done_count++;
}

static size_t reconcile_ended(struct fake_world *world)
{
    struct reconcile *rec;
    struct err err;
    size_t ended;

    done_count = 0;
    assert_int_equal(reconcile_start(&world->engine, NULL, on_reconciled, NULL, &rec, &err), 0);
    fake_world_settle(world);
    assert_int_equal(done_count, 1);
    assert_int_equal(rec->err.code, 0);
    assert_int_equal(rec->targets[0].err.code, 0);
    ended = rec->targets[0].ended;
    reconcile_free(rec);
    return ended;
}

static void test_lost_starts_get_their_end_once(void **state)
{
    int64_t now = clock_wall_us(), old = now - (int64_t)FAR * 1000;
    struct fake_world world;

    (void)state;
    fake_world_init(&world, files, FILES);
    fake_world_set_effect(&world, BASE, "a", true); /* by run "r", as the fake's journal says */
    fake_world_set_belief(&world, BASE, "b", true); /* undone, and not recorded */
    fake_world_leave_pending(&world, BASE, "a", "r", old, STORE_OWNER_UNKNOWN);
    fake_world_leave_pending(&world, BASE, "b", "undo", old, STORE_OWNER_UNKNOWN);
    fake_world_leave_pending(&world, LEAF, "a", "cut", old, STORE_OWNER_UNKNOWN);
    fake_world_leave_pending(&world, LEAF, "c", "dead", now, STORE_OWNER_ENDED);
    fake_world_leave_pending(&world, LEAF, "d", "young", now, STORE_OWNER_UNKNOWN);
    fake_world_leave_pending(&world, LEAF, "e", "alive", old, STORE_OWNER_RUNNING);
    reconcile_ended(&world);
    assert_int_equal(fake_world_ends(&world, "r", "applied"), 1);
    assert_int_equal(fake_world_ends(&world, "undo", "rolled_back"), 1);
    assert_int_equal(fake_world_ends(&world, "cut", "failed"), 1);
    assert_int_equal(fake_world_ends(&world, "dead", "failed"), 1);
    assert_int_equal(fake_world_unended(&world), 2);
    assert_true(fake_world_agrees(&world));
    assert_int_equal(reconcile_ended(&world), 0);
    assert_int_equal(fake_world_unended(&world), 2);
    fake_world_free(&world);
}

/* Two at once, as of two servers: each end is written once. */
static void test_two_reconcilers_write_one_end(void **state)
{
    int64_t old = clock_wall_us() - (int64_t)FAR * 1000;
    struct fake_world world;
    struct reconcile *one, *two;
    struct err err;

    (void)state;
    fake_world_init(&world, files, FILES);
    fake_world_set_effect(&world, BASE, "a", true);
    fake_world_leave_pending(&world, BASE, "a", "r", old, STORE_OWNER_UNKNOWN);
    fake_world_leave_pending(&world, LEAF, "a", "cut", old, STORE_OWNER_UNKNOWN);
    done_count = 0;
    assert_int_equal(reconcile_start(&world.engine, NULL, on_reconciled, NULL, &one, &err), 0);
    assert_int_equal(reconcile_start(&world.engine, NULL, on_reconciled, NULL, &two, &err), 0);
    fake_world_settle(&world);
    assert_int_equal(done_count, 2);
    assert_int_equal(one->targets[0].repaired + two->targets[0].repaired, 1);
    assert_int_equal(fake_world_ends(&world, "r", "applied"), 1);
    assert_int_equal(fake_world_ends(&world, "cut", "failed"), 1);
    assert_int_equal(fake_world_unended(&world), 0);
    reconcile_free(one);
    reconcile_free(two);
    fake_world_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_undo_and_up_at_every_distance),
        cmocka_unit_test(test_up_behind_an_undo_is_refused),
        cmocka_unit_test(test_undo_behind_an_up_is_refused),
        cmocka_unit_test(test_what_another_server_undid_is_seen),
        cmocka_unit_test(test_work_of_another_server),
        cmocka_unit_test(test_waiting_for_another_server_ends),
        cmocka_unit_test(test_one_of_two_may_go),
        cmocka_unit_test(test_lost_starts_get_their_end_once),
        cmocka_unit_test(test_two_reconcilers_write_one_end),
    };

    log_configure(LOG_FATAL, LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
