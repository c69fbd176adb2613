#include "unit/backend/greptimedb_fixture.h"

/* A script that was changed since it was begun. */

/* What was done or begun must stay as it was. */
static void test_changed(void **state)
{
    struct world *world = *state;
    struct backend_decision decision;

    world->fake.faults[1] = FAKE_SYNTAX;
    assert_int_equal(up(world, "r1"), ERR_DB);
    world_use(world, "CREATE TABLE other; CREATE TABLE b", three_down);
    assert_int_equal(up(world, "r2"), ERR_IN_DOUBT);
    assert_text(world->err.text, "the script was changed since it stopped at statement 1 (done): "
                                 "bring the old text of statement 1 back");
    world_use(world, three_up, three_down);
    world->fake.faults[world->fake.sent] = FAKE_LOST_BEHIND;
    assert_int_equal(up(world, "r3"), ERR_IN_DOUBT);
    world_use(world, "CREATE TABLE a; CREATE TABLE other", three_down);
    assert_int_equal(up(world, "r4"), ERR_IN_DOUBT);
    assert_text(world->err.text, "stopped at statement 2 (begun)");
    assert_int_equal(resolve(world, true, &decision), ERR_CONFLICT);
    assert_text(world->err.text, "bring the old text of statements 1-2 back");
    world_use(world, "CREATE TABLE a", three_down);
    assert_int_equal(up(world, "r5"), ERR_IN_DOUBT);
    assert_text(world->err.text, "(it has only 1 now)");
    assert_int_equal(resolve(world, true, &decision), ERR_CONFLICT);
    ASSERT_ROW("up begun 2");
}

static void test_corrected(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;

    fake->faults[1] = FAKE_SYNTAX;
    assert_int_equal(up(world, "r1"), ERR_DB);
    assert_text(world->err.text, "statement 1 stays applied");
    world_use(world, "CREATE TABLE a; CREATE TABLE c; CREATE TABLE d; CREATE TABLE e", three_down);
    fake->faults[fake->sent + 1] = FAKE_SYNTAX;
    assert_int_equal(up(world, "r2"), ERR_DB);
    ASSERT_ROW("up done 2");
    world_use(world, "/* corrected */ CREATE TABLE a; CREATE TABLE c; CREATE TABLE f", three_down);
    assert_int_equal(up(world, "r3"), 0);
    assert_int_equal(world->result.outcome, BACKEND_DONE);
    assert_int_equal(fake_count(fake, "s: CREATE TABLE a"), 1);
    assert_int_equal(fake_count(fake, "s: CREATE TABLE c"), 1);
    assert_int_equal(fake_count(fake, "s: CREATE TABLE f"), 1);
    ASSERT_ROW("up complete 3");
    assert_string_equal(fake_row_of(fake, "s", world->migration->id)->checksum,
                        world->migration->up.checksum);

    world_use(world, three_up, "DROP TABLE f; DROP TABLE c; DROP TABLE a");
    fake->faults[fake->sent + 1] = FAKE_SYNTAX;
    assert_int_equal(down(world, "r4"), ERR_DB);
    ASSERT_ROW("undo done 1");
    world_use(world, three_up, "DROP TABLE c; DROP TABLE a");
    assert_int_equal(down(world, "r5"), ERR_IN_DOUBT);
    assert_text(world->err.text, "bring the old text of statement 1 back");
    world_use(world, three_up, "DROP TABLE f; DROP TABLE a");
    assert_int_equal(down(world, "r6"), 0);
    assert_int_equal(fake_count(fake, "s: DROP TABLE f"), 1);
    assert_int_equal(fake_count(fake, "s: DROP TABLE a"), 1);
    ASSERT_ROW("none");
}

/* All that is left of the script was done before. */
static void test_shortened(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    size_t sent;

    fake->faults[2] = FAKE_SYNTAX;
    assert_int_equal(up(world, "r1"), ERR_DB);
    ASSERT_ROW("up done 2");
    world_use(world, "CREATE TABLE a; CREATE TABLE b", three_down);
    sent = fake->sent;
    assert_int_equal(up(world, "r2"), 0);
    assert_int_equal(world->result.outcome, BACKEND_DONE);
    assert_int_equal(fake->sent, sent);
    ASSERT_ROW("up complete 2");
    fake->faults[fake->sent + 1] = FAKE_SYNTAX;
    assert_int_equal(down(world, "r3"), ERR_DB);
    world_use(world, "CREATE TABLE a; CREATE TABLE b", "DROP TABLE b");
    assert_int_equal(down(world, "r4"), 0);
    ASSERT_ROW("none");
}

static void test_corrected_in_doubt(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct backend_decision decision;

    fake->faults[1] = FAKE_LOST_BEHIND;
    assert_int_equal(up(world, "r1"), ERR_IN_DOUBT);
    world_use(world, "CREATE TABLE a; CREATE TABLE b; CREATE TABLE c; CREATE TABLE d", three_down);
    assert_int_equal(up(world, "r2"), ERR_IN_DOUBT);
    assert_text(world->err.text, "statement 2 of 4 (20250101120000_m.up.sql:1) was begun by");
    assert_int_equal(resolve(world, true, &decision), 0);
    assert_int_equal(decision.statements, 4);
    assert_string_equal(decision.checksum, world->migration->up.checksum);
    ASSERT_ROW("up done 2");
    world_use(world, "CREATE TABLE a; CREATE TABLE b; CREATE TABLE e", three_down);
    assert_int_equal(up(world, "r3"), 0);
    assert_int_equal(fake_count(fake, "s: CREATE TABLE b"), 1);
    assert_int_equal(fake_count(fake, "s: CREATE TABLE e"), 1);
    fake->faults[fake->sent] = FAKE_LOST_BEFORE;
    assert_int_equal(down(world, "r4"), ERR_IN_DOUBT);
    world_use(world, three_up, "DROP TABLE b; DROP TABLE e; DROP TABLE a");
    assert_int_equal(resolve(world, false, &decision), 0);
    ASSERT_ROW("undo done 0");
    world_use(world, three_up, "DROP TABLE e; DROP TABLE b; DROP TABLE a");
    assert_int_equal(down(world, "r5"), 0);
    ASSERT_ROW("none");
}

/* As it was written before: the whole script's checksum. */
static void test_row_of_before(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;

    fake->faults[1] = FAKE_SYNTAX;
    assert_int_equal(up(world, "r1"), ERR_DB);
    memcpy(fake_row_of(fake, "s", world->migration->id)->checksum, world->migration->up.checksum,
           sizeof(world->migration->up.checksum));
    world_use(world, "CREATE TABLE a; CREATE TABLE c", three_down);
    assert_int_equal(up(world, "r2"), ERR_IN_DOUBT);
    world_use(world, three_up, three_down);
    assert_int_equal(up(world, "r3"), 0);
    assert_int_equal(fake_count(fake, "s: CREATE TABLE a"), 1);
    ASSERT_ROW("up complete 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        GREPTIMEDB_TEST(test_changed),       GREPTIMEDB_TEST(test_corrected),
        GREPTIMEDB_TEST(test_shortened),     GREPTIMEDB_TEST(test_corrected_in_doubt),
        GREPTIMEDB_TEST(test_row_of_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
