#include "unit/backend/greptimedb_fixture.h"

#include "base/clock.h"

/* The row in the ledger: who has it, what a ledger that fails does, and the other operations. */

static void test_ledger_away_before(void **state)
{
    struct world *world = *state;

    world->fake.store_is_away = true;
    assert_int_equal(up(world, "r1"), ERR_STORE);
    assert_text(world->err.text, "the state database cannot be asked, so nothing was sent");
    assert_int_equal(world->fake.log_count, 0);
    assert_in_range(world->fake.sched.now_ms, 31000, 33000);
}

static void test_ledger_away_behind(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct going going;

    assert_int_equal(begin(world, &going, BACKEND_UP, "s", "r1"), 0);
    while (fake->log_count < 2)
        fake_turn(fake);
    fake->store_is_away = true;
    assert_int_equal(end(world, &going, 0), ERR_STORE);
    assert_text(world->err.text, "statement 2 of 3 took effect, which could not be recorded");
    assert_int_equal(world->err.statement, 2);
    fake->store_is_away = false;
    ASSERT_ROW("up begun 2");
}

static void test_ledger_comes_back(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct going going;

    assert_int_equal(begin(world, &going, BACKEND_UP, "s", "r1"), 0);
    while (fake->log_count < 2)
        fake_turn(fake);
    fake->store_is_away = true;
    for (uint64_t until = fake->sched.now_ms + 20000; fake->sched.now_ms < until;)
        fake_turn(fake);
    fake->store_is_away = false;
    assert_int_equal(end(world, &going, 0), 0);
    assert_int_equal(fake_count(fake, "s: CREATE TABLE b"), 1);
    ASSERT_ROW("up complete 3");
}

/* A swap that fails and took effect is found out by reading, and not made again. */
static void test_swaps_in_doubt(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;

    for (size_t nth = 0; nth < 5; nth++)
        for (int fault = STORE_FAILED; fault <= STORE_FAILED_DONE; fault++) {
            memset(fake->store_faults, 0, sizeof(fake->store_faults));
            fake->store_faults[fake->asked + nth] = (enum fake_store_fault)fault;
            assert_int_equal(up(world, "r1"), 0);
            ASSERT_ROW("up complete 3");
            assert_int_equal(fake_count(fake, "s: CREATE TABLE b"), 1);
            memset(fake->rows, 0, sizeof(fake->rows));
            fake->effect_count = 0;
        }
}

static void test_another_is_at_work(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct going first, second;

    world->settings.statement_timeout_ms = 100000;
    world_reopen(world);
    fake->answer_ms = 60000;
    assert_int_equal(begin(world, &first, BACKEND_UP, "s", "r1"), 0);
    while (fake->log_count < 1)
        fake_turn(fake);
    assert_int_equal(begin(world, &second, BACKEND_UP, "s", "r2"), 0);
    assert_int_equal(end(world, &second, 0), ERR_LOCKED);
    assert_text(world->err.text, "migration is already being executed");
    assert_in_range(fake->sched.now_ms, 10000, 20000);
    fake->answer_ms = 5;
    assert_int_equal(end(world, &first, 0), 0);
    assert_int_equal(fake->log_count, 3);
    assert_int_equal(world->result.attempts, 1);
}

static void test_another_ends_in_time(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct going first, second;

    fake->answer_ms = 2500;
    assert_int_equal(begin(world, &first, BACKEND_UP, "s", "r1"), 0);
    while (fake->log_count < 1)
        fake_turn(fake);
    assert_int_equal(begin(world, &second, BACKEND_UP, "s", "r2"), 0);
    assert_int_equal(end(world, &second, 0), 0);
    assert_int_equal(world->result.outcome, BACKEND_WAS_DONE);
    assert_string_equal(world->result.run_id, "r1");
    assert_int_equal(end(world, &first, 0), 0);
    assert_int_equal(fake->log_count, 3);
}

static void leave_row(struct world *world, bool undo, bool started, int64_t done)
{
    const struct script *script = undo ? &world->migration->down : &world->migration->up;

    fake_put_row(&world->fake, &(struct ledger_row){.connection = "metrics",
                                                    .schema = "s",
                                                    .migration_id = world->migration->id,
                                                    .checksum = script->checksum,
                                                    .run_id = "dead",
                                                    .undo = undo,
                                                    .started = started,
                                                    .done = done,
                                                    .revision = clock_wall_us()});
}

static void test_left_rows(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    uint64_t since = fake->sched.now_ms;

    leave_row(world, false, false, 2); /* at once */
    assert_int_equal(up(world, "r1"), 0);
    assert_int_equal(fake->log_count, 1);
    assert_true(fake->sched.now_ms - since < 1000);
    memset(fake->rows, 0, sizeof(fake->rows));
    leave_row(world, false, true, 1);
    since = fake->sched.now_ms;
    assert_int_equal(up(world, "r1"), ERR_IN_DOUBT);
    assert_in_range(fake->sched.now_ms - since, 6000, 7000);
    world_use(world, "CREATE TABLE a; CREATE TABLE IF NOT EXISTS b; CREATE TABLE c", NULL);
    memset(fake->rows, 0, sizeof(fake->rows));
    leave_row(world, false, true, 1);
    assert_int_equal(up(world, "r1"), 0);
    assert_int_equal(fake_count(fake, "s: CREATE TABLE a"), 0);
    assert_int_equal(fake_count(fake, "s: CREATE TABLE IF NOT EXISTS b"), 1);
    ASSERT_ROW("up complete 3");
}

/* Time in which the ledger cannot be asked says nothing about whether a row moves. */
static void test_stale_is_seen(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct going going;
    uint64_t back_ms;

    world_use(world, "TRUNCATE a", NULL);
    leave_row(world, false, true, 0);
    assert_int_equal(begin(world, &going, BACKEND_UP, "s", "r1"), 0);
    while (fake->reads < 2)
        fake_turn(fake);
    fake->store_is_away = true;
    for (uint64_t until = fake->sched.now_ms + 20000; fake->sched.now_ms < until;)
        fake_turn(fake);
    fake->store_is_away = false;
    back_ms = fake->sched.now_ms;
    assert_int_equal(end(world, &going, 0), 0);
    assert_true(fake->sched.now_ms - back_ms >= 6000);
}

static void test_taken(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct going going;

    fake->answer_ms = 10000;
    assert_int_equal(begin(world, &going, BACKEND_UP, "s", "r1"), 0);
    while (fake->log_count < 1)
        fake_turn(fake);
    fake_row_of(fake, "s", world->migration->id)->row.revision += 7;
    assert_int_equal(end(world, &going, 0), ERR_CONFLICT);
    assert_text(world->err.text, "somebody else has taken this migration over while statement 1");
    assert_true(fake->sched.now_ms < 5000); /* the heartbeat tells */
    while (fake->calls > 0)
        fake_turn(fake);

    memset(fake->rows, 0, sizeof(fake->rows));
    fake->answer_ms = 100;
    assert_int_equal(begin(world, &going, BACKEND_UP, "s", "r2"), 0);
    while (fake->log_count < 2)
        fake_turn(fake);
    fake_row_of(fake, "s", world->migration->id)->row.revision += 7;
    assert_int_equal(end(world, &going, 0), ERR_CONFLICT);
    assert_text(world->err.text, "statement 1 took effect here, which could not be recorded");
    assert_int_equal(fake->log_count, 2);
}

static void test_slow_heartbeat(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;

    fake->answer_ms = 3000;
    fake->store_faults[2] = STORE_SLOW; /* the answer comes before it */
    fake->store_faults[4] = STORE_FAILED_DONE;
    assert_int_equal(up(world, "r1"), 0);
    ASSERT_ROW("up complete 3");
}

static void test_resolve_while_it_runs(void **state)
{
    struct world *world = *state;
    struct backend_decision decision;
    struct going going;

    assert_int_equal(resolve(world, true, &decision), ERR_NOT_FOUND);
    world->fake.answer_ms = 15000;
    assert_int_equal(begin(world, &going, BACKEND_UP, "s", "r1"), 0);
    while (world->fake.log_count < 1)
        fake_turn(&world->fake);
    assert_int_equal(resolve(world, true, &decision), ERR_LOCKED);
    assert_int_equal(end(world, &going, 0), 0);
    assert_int_equal(resolve(world, true, &decision), ERR_NOT_FOUND);
    assert_text(world->err.text, "no statement of it is in doubt");
}

static void test_resolve_without_ledger(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct backend_decision decision;

    for (int fault = STORE_FAILED; fault <= STORE_FAILED_DONE; fault++) {
        memset(fake->rows, 0, sizeof(fake->rows));
        leave_row(world, false, true, 1);
        fake->fail_next_swap = (enum fake_store_fault)fault;
        assert_int_equal(resolve(world, true, &decision), fault == STORE_FAILED ? ERR_STORE : 0);
        ASSERT_ROW(fault == STORE_FAILED ? "up begun 2" : "up done 2");
    }
}

static int check(struct world *world, struct backend_check *checks, size_t count)
{
    struct fake_wait wait;
    int rc;

    fake_wait_init(&wait);
    rc = fake_finish(&world->fake, &wait,
                     world->backend->ops->inspect(world->backend, &wait.op, checks, count));
    world->err = wait.op.err;
    return rc;
}

static void test_inspect(void **state)
{
    struct world *world = *state;
    struct backend_check checks[] = {{.schema = "s", .table = ""},
                                     {.schema = "no", .table = ""},
                                     {.schema = "s", .table = "a"},
                                     {.schema = "s", .table = "x"},
                                     {.schema = "no", .table = "a"}};

    assert_int_equal(up(world, "r1"), 0);
    assert_int_equal(check(world, NULL, 0), 0);
    world->fake.faults[world->fake.sent] = FAKE_LOST_BEFORE; /* asked once more */
    assert_int_equal(check(world, checks, ARRAY_SIZE(checks)), 0);
    assert_true(checks[0].exists);
    assert_false(checks[1].exists);
    assert_true(checks[2].exists);
    assert_false(checks[3].exists);
    assert_false(checks[4].exists);
    assert_string_equal(world->fake.log[4],
                        "public: SELECT schema_name FROM information_schema.schemata WHERE "
                        "schema_name = 's'");
    world->fake.is_down = true;
    assert_int_equal(check(world, checks, 1), ERR_UNREACHABLE);
}

static int ping(struct world *world)
{
    struct fake_wait wait;
    int rc;

    fake_wait_init(&wait);
    rc = fake_finish(&world->fake, &wait, world->backend->ops->ping(world->backend, &wait.op));
    world->err = wait.op.err;
    return rc;
}

static void test_ping(void **state)
{
    struct world *world = *state;

    assert_int_equal(ping(world), 0);
    world->fake.status = 403;
    world->fake.body = "{\"code\":7006,\"error\":\"User is not authorized\"}";
    assert_int_equal(ping(world), 0);
    world->fake.status = 401;
    world->fake.body = "{\"code\":7000,\"error\":\"User not found, username: bob\"}";
    assert_int_equal(ping(world), ERR_UNREACHABLE);
    assert_null(strstr(world->err.text, "bob"));
    world->fake.status = 0;
    world->fake.is_down = true;
    assert_int_equal(ping(world), ERR_UNREACHABLE);
    world->fake.is_down = false;
    world->fake.answer_ms = 60000;
    assert_int_equal(ping(world), ERR_TIMEOUT);
}

static void test_journal(void **state)
{
    struct world *world = *state;
    struct backend_journal journal;
    struct fake_wait wait;

    fake_add_database(&world->fake, "t");
    fake_add_database(&world->fake, "u");
    leave_row(world, true, true, 1);
    assert_int_equal(run_in(world, BACKEND_UP, "t", "r1"), 0);
    world->fake.faults[world->fake.sent + 1] = FAKE_SYNTAX;
    assert_int_equal(run_in(world, BACKEND_UP, "u", "r2"), ERR_DB);
    fake_wait_init(&wait);
    assert_int_equal(fake_finish(&world->fake, &wait,
                                 world->backend->ops->read_journal(world->backend, &wait.op, "", "",
                                                                   2, &journal)),
                     0);
    assert_int_equal(journal.count, 2);
    assert_true(journal.more);
    assert_string_equal(journal.rows[0].schema, "s");
    assert_true(journal.rows[0].complete); /* applied until the down is finished */
    assert_string_equal(journal.rows[1].schema, "t");
    assert_true(journal.rows[1].complete && journal.rows[1].applied_at_us > 0);
    assert_string_equal(journal.rows[1].run_id, "r1");
    arena_free(&journal.arena);
    fake_wait_init(&wait);
    assert_int_equal(
        fake_finish(&world->fake, &wait,
                    world->backend->ops->read_journal(world->backend, &wait.op, "t",
                                                      world->migration->id, 2, &journal)),
        0);
    assert_int_equal(journal.count, 1);
    assert_false(journal.more || journal.rows[0].complete);
    arena_free(&journal.arena);
    world->fake.store_is_away = true;
    fake_wait_init(&wait);
    assert_int_equal(fake_finish(&world->fake, &wait,
                                 world->backend->ops->read_journal(world->backend, &wait.op, "", "",
                                                                   2, &journal)),
                     ERR_STORE);
}

static int adopt(struct world *world, struct backend_adoption *items, size_t count)
{
    struct fake_wait wait;

    fake_wait_init(&wait);
    return fake_finish(&world->fake, &wait,
                       world->backend->ops->adopt(world->backend, &wait.op, items, count));
}

static void test_adopt(void **state)
{
    struct world *world = *state;
    struct backend_adoption items[] = {
        {.migration = world->migration, .schema = "s", .applied_at_us = 1234567},
        {.migration = world->migration, .schema = "gone", .applied_at_us = 1234567},
        {.migration = world->migration, .schema = "public", .applied_at_us = 0},
    };

    assert_int_equal(adopt(world, items, 0), 0);
    assert_int_equal(adopt(world, items, 3), 0);
    assert_true(items[0].adopted && !items[1].adopted && items[2].adopted);
    ASSERT_ROW("up complete 3");
    assert_int_equal(up(world, "r1"), 0);
    assert_int_equal(world->result.outcome, BACKEND_WAS_DONE);
    assert_string_equal(world->result.run_id, "adopted");
    assert_int_equal(world->result.applied_at_us, 1234567);
    assert_null(fake_row_of(&world->fake, "gone", world->migration->id));
    items[0].adopted = false;
    items[0].applied_at_us = 7;
    assert_int_equal(adopt(world, items, 1), 0); /* once more: as it is */
    assert_true(items[0].adopted);
    assert_int_equal(down(world, "r2"), 0);
    leave_row(world, false, false, 1);
    assert_int_equal(adopt(world, items, 1), 0);
    assert_false(items[0].adopted);
    world->fake.store_is_away = true;
    assert_int_equal(adopt(world, items, 1), ERR_STORE);
    world->fake.is_down = true;
    assert_int_equal(adopt(world, items, 1), ERR_UNREACHABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        GREPTIMEDB_TEST(test_ledger_away_before),
        GREPTIMEDB_TEST(test_ledger_away_behind),
        GREPTIMEDB_TEST(test_ledger_comes_back),
        GREPTIMEDB_TEST(test_swaps_in_doubt),
        GREPTIMEDB_TEST(test_another_is_at_work),
        GREPTIMEDB_TEST(test_another_ends_in_time),
        GREPTIMEDB_TEST(test_left_rows),
        GREPTIMEDB_TEST(test_stale_is_seen),
        GREPTIMEDB_TEST(test_taken),
        GREPTIMEDB_TEST(test_slow_heartbeat),
        GREPTIMEDB_TEST(test_resolve_while_it_runs),
        GREPTIMEDB_TEST(test_resolve_without_ledger),
        GREPTIMEDB_TEST(test_inspect),
        GREPTIMEDB_TEST(test_ping),
        GREPTIMEDB_TEST(test_journal),
        GREPTIMEDB_TEST(test_adopt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
