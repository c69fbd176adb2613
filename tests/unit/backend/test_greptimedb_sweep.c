#include "unit/backend/greptimedb_fixture.h"

/*
 * Whatever fails, in any order: a statement that must not be repeated takes effect once, and a
 * person who answers truly what became of those in doubt gets the migration through.
 */

enum {
    SWEEP_SEEDS = 1500,
    SWEEP_TURNS_MAX = 400,
    SWEEP_FAULTY = 14, /* statements and looks that can be faulty */
};

static const char sweep_up[] = "CREATE TABLE a;\nCREATE TABLE IF NOT EXISTS b;\nINSERT INTO a;\n"
                               "ALTER TABLE a ADD COLUMN IF NOT EXISTS x INT;\nCREATE TABLE c;";
static const char sweep_down[] = "DROP TABLE c;\nDROP TABLE IF EXISTS b;\nDROP TABLE a;";
static const char *const once[] = {"s: CREATE TABLE a", "s: INSERT INTO a", "s: CREATE TABLE c"};
static const char *const undone_once[] = {"s: DROP TABLE c", "s: DROP TABLE a"};
static const char *const repeated[] = {"s: CREATE TABLE IF NOT EXISTS b",
                                       "s: ALTER TABLE a ADD COLUMN IF NOT EXISTS x INT"};

static uint32_t sweep_dice(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void sweep_note_context(uint32_t seed, const char *what)
{
    fail_msg("seed %u: %s", (unsigned)seed, what);
}

static void drain(struct fake *fake)
{
    while (fake->calls > 0 && fake_turn(fake))
        continue;
}

/* The statement that the error is about, as the server counts it. */
static bool took_effect(struct world *world, enum backend_direction direction, unsigned nth)
{
    const struct script *script =
        direction == BACKEND_DOWN ? &world->migration->down : &world->migration->up;
    char text[600];

    snprintf(text, sizeof(text), "s: %.500s", statement_text(script, nth - 1));
    return fake_count(&world->fake, text) > 0;
}

/* Repeats it until it is through, deciding truly about what is in doubt. */
static void recover(struct world *world, enum backend_direction direction, uint32_t seed)
{
    struct backend_decision decision;

    memset(world->fake.faults, 0, sizeof(world->fake.faults));
    memset(world->fake.store_faults, 0, sizeof(world->fake.store_faults));
    drain(&world->fake);
    for (int tries = 0; tries < 10; tries++) {
        int rc = run_in(world, direction, "s", "recovery");

        if (rc == 0)
            return;
        if (rc != ERR_IN_DOUBT || world->err.statement == 0)
            sweep_note_context(seed, err_text(&world->err));
        rc = resolve(world, took_effect(world, direction, world->err.statement), &decision);
        if (rc != 0)
            sweep_note_context(seed, err_text(&world->err));
    }
    sweep_note_context(seed, "it does not get through");
}

static void check_once(struct world *world, const char *const *texts, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++)
        if (fake_count(&world->fake, texts[i]) != 1)
            fail_msg("seed %u: %u times: %s", (unsigned)seed, fake_count(&world->fake, texts[i]),
                     texts[i]);
}

static void check_up(struct world *world, uint32_t seed)
{
    check_once(world, once, ARRAY_SIZE(once), seed);
    for (size_t i = 0; i < ARRAY_SIZE(repeated); i++)
        if (fake_count(&world->fake, repeated[i]) == 0)
            fail_msg("seed %u: never: %s", (unsigned)seed, repeated[i]);
    ASSERT_ROW("up complete 5");
}

static void make_faults(struct world *world, uint32_t *seed)
{
    struct fake *fake = &world->fake;

    for (size_t i = 0; i < SWEEP_FAULTY; i++) {
        if (sweep_dice(seed) % 4 == 0)
            fake->faults[fake->sent + i] = (enum fake_fault)(sweep_dice(seed) % FAKE_FAULTS);
        if (sweep_dice(seed) % 6 == 0)
            fake->store_faults[fake->asked + i] =
                (enum fake_store_fault)(sweep_dice(seed) % STORE_FAULTS);
    }
}

/* Two servers with the same ledger and the same wish, one of them perhaps cancelled. */
static void race(struct world *world, struct backend *other, enum backend_direction direction,
                 uint32_t *seed)
{
    struct backend *mine = world->backend;
    struct fake *fake = &world->fake;
    uint32_t late = sweep_dice(seed) % 40, cancel = sweep_dice(seed) % 120;
    bool calm = sweep_dice(seed) % 4 == 0;
    struct going first, second;

    if (!calm)
        make_faults(world, seed);
    assert_int_equal(begin(world, &first, direction, "s", "r1"), 0);
    for (uint32_t i = 0; i < late && fake_turn(fake); i++)
        continue;
    world->backend = other;
    assert_int_equal(begin(world, &second, direction, "s", "r2"), 0);
    world->backend = mine;
    for (uint32_t i = 0; i < cancel && fake_turn(fake); i++)
        continue;
    if (!calm && cancel < 60 && !first.wait.over)
        op_cancel(&first.wait.op);
    fake_finish(fake, &first.wait, 0);
    fake_finish(fake, &second.wait, 0);
    if (!calm)
        return;
    assert_int_equal(first.wait.rc, 0);
    assert_int_equal(second.wait.rc, 0);
    assert_true(first.result.outcome != second.result.outcome);
    if (direction == BACKEND_UP)
        check_once(world, repeated, ARRAY_SIZE(repeated), *seed);
}

static void run_seed(uint32_t seed)
{
    struct world *world = calloc(1, sizeof(*world));
    struct backend *other;
    uint32_t dice = seed;

    world_init(world);
    world->settings.statement_timeout_ms = 2000 + sweep_dice(&dice) % 15000;
    world->settings.create_schema = sweep_dice(&dice) % 2 == 0;
    world_reopen(world);
    world_use(world, sweep_up, sweep_down);
    other = fake_backend(&world->fake, &world->settings);
    race(world, other, BACKEND_UP, &dice);
    recover(world, BACKEND_UP, seed);
    check_up(world, seed);
    race(world, other, BACKEND_DOWN, &dice);
    recover(world, BACKEND_DOWN, seed);
    check_once(world, once, ARRAY_SIZE(once), seed);
    check_once(world, undone_once, ARRAY_SIZE(undone_once), seed);
    ASSERT_ROW("none");
    fake_close(&world->fake, other);
    fake_close(&world->fake, world->backend);
    tree_free(&world->tree);
    free(world);
}

static void test_random(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= SWEEP_SEEDS; seed++)
        run_seed(seed);
}

/* Each statement, each fault, alone. */
static void test_every_fault(void **state)
{
    (void)state;
    for (size_t nth = 0; nth < 5; nth++)
        for (int fault = 0; fault < FAKE_FAULTS; fault++) {
            struct world *world;
            void *made;

            setup(&made);
            world = made;
            world_use(world, sweep_up, sweep_down);
            world->fake.faults[nth] = (enum fake_fault)fault;
            (void)up(world, "r1");
            recover(world, BACKEND_UP, (uint32_t)nth);
            check_up(world, (uint32_t)nth);
            teardown(&made);
        }
}

/* A cancel in every turn. */
static void test_every_cancel(void **state)
{
    bool reached = true;

    (void)state;
    for (unsigned turns = 0; reached; turns++) {
        struct world *world;
        struct going going;
        void *made;

        assert_true(turns < SWEEP_TURNS_MAX);
        setup(&made);
        world = made;
        world_use(world, sweep_up, sweep_down);
        world->fake.faults[1] = FAKE_BUSY;
        world->fake.faults[3] = FAKE_SLOW;
        world->fake.store_faults[3] = STORE_FAILED;
        assert_int_equal(begin(world, &going, BACKEND_UP, "s", "r1"), 0);
        for (unsigned i = 0; i < turns && !going.wait.over; i++)
            fake_turn(&world->fake);
        reached = !going.wait.over;
        if (reached) {
            op_cancel(&going.wait.op);
            op_cancel(&going.wait.op);
        }
        (void)end(world, &going, 0);
        recover(world, BACKEND_UP, turns);
        check_up(world, turns);
        teardown(&made);
    }
}

/* Every allocation fails once, and from then on. */
static void test_every_allocation(void **state)
{
    bool hit = true;

    (void)state;
    for (uint64_t nth = 1; hit; nth++)
        for (int sticky = 0; sticky < 2; sticky++) {
            struct world *world;
            struct backend_check check = {.schema = "s", .table = "a"};
            struct going going;
            struct fake_wait wait;
            void *made;
            int rc;

            setup(&made);
            world = made;
            world_use(world, sweep_up, sweep_down);
            mem_fail_at(nth, sticky);
            rc = begin(world, &going, BACKEND_UP, "s", "r1");
            (void)end(world, &going, rc);
            fake_wait_init(&wait);
            rc = world->backend->ops->inspect(world->backend, &wait.op, &check, 1);
            (void)fake_finish(&world->fake, &wait, rc);
            hit = mem_fail_hit() != 0;
            mem_fail_at(0, 0);
            recover(world, BACKEND_UP, (uint32_t)nth);
            check_up(world, (uint32_t)nth);
            teardown(&made);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_fault),
        cmocka_unit_test(test_every_cancel),
        cmocka_unit_test(test_every_allocation),
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
