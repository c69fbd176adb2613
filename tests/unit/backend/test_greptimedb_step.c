#include "unit/backend/greptimedb_fixture.h"

/* One step, as it should go and as it should fail. */

static void test_up_and_down(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    int64_t applied_at;

    assert_int_equal(up(world, "r1"), 0);
    assert_int_equal(world->result.outcome, BACKEND_DONE);
    assert_int_equal(world->result.attempts, 1);
    assert_int_equal(fake->log_count, 3);
    assert_string_equal(fake->log[0], "s: CREATE TABLE a");
    assert_string_equal(fake->log[1], "s: CREATE TABLE b");
    assert_string_equal(fake->log[2], "s: INSERT INTO a VALUES (1)");
    assert_string_equal(fake->last_header, "x-greptime-timeout: 20000ms");
    assert_int_equal(fake->reads, 1);
    assert_int_equal(fake->swaps, 4); /* one more than statements */
    ASSERT_ROW("up complete 3");
    applied_at = fake_row_of(fake, "s", world->migration->id)->row.applied_at_us;

    assert_int_equal(up(world, "r2"), 0);
    assert_int_equal(world->result.outcome, BACKEND_WAS_DONE);
    assert_string_equal(world->result.run_id, "r1");
    assert_true(world->result.applied_at_us == applied_at && applied_at > 0);
    assert_int_equal(fake->log_count, 3);

    assert_int_equal(down(world, "r3"), 0);
    assert_int_equal(world->result.outcome, BACKEND_DONE);
    assert_string_equal(fake->log[4], "s: DROP TABLE a");
    ASSERT_ROW("none");
    assert_int_equal(down(world, "r4"), 0);
    assert_int_equal(world->result.outcome, BACKEND_WAS_DONE);
    assert_int_equal(fake->log_count, 5);
    assert_int_equal(up(world, "r5"), 0);
    assert_int_equal(world->result.outcome, BACKEND_DONE);
}

static void test_down_without_statements(void **state)
{
    struct world *world = *state;

    world_use(world, "CREATE TABLE a", "-- nothing\n");
    assert_int_equal(up(world, "r1"), 0);
    assert_int_equal(down(world, "r2"), 0);
    ASSERT_ROW("none");
    assert_int_equal(world->fake.log_count, 1);
}

static void test_database(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct going going;

    assert_int_equal(run_in(world, BACKEND_UP, "a-b", "r1"), 0); /* 4004 tells */
    assert_string_equal(fake->log[1], "public: CREATE DATABASE IF NOT EXISTS \"a-b\"");
    assert_int_equal(fake->log_count, 5);
    assert_int_equal(fake_count(fake, "a-b: CREATE TABLE a"), 1);

    fake_wait_init(&going.wait);
    going.step = (struct backend_step){
        .migration = world->migration, .schema = "T2", .run_id = "r2", .schema_is_new = true};
    assert_int_equal(end(world, &going,
                         world->backend->ops->execute(world->backend, &going.wait.op, &going.step,
                                                      &going.result)),
                     0);
    assert_string_equal(fake->log[5], "public: CREATE DATABASE IF NOT EXISTS \"T2\"");
    assert_int_equal(fake->log_count, 9);
    assert_int_equal(run_in(world, BACKEND_UP, "", "r3"), 0); /* the default one */
    assert_int_equal(fake_count(fake, "public: CREATE TABLE a"), 1);
    assert_int_equal(fake->log_count, 12);

    assert_int_equal(run_in(world, BACKEND_UP, "a b", "r3"), ERR_INVALID);
    assert_text(world->err.text, "cannot name a database");
    assert_int_equal(run_in(world, BACKEND_DOWN, "gone", "r3"), 0);
    assert_int_equal(world->result.outcome, BACKEND_WAS_DONE);
}

static void test_database_must_not_be_created(void **state)
{
    struct world *world = *state;

    world->settings.create_schema = false;
    world_reopen(world);
    assert_int_equal(run_in(world, BACKEND_UP, "new", "r1"), ERR_DB);
    assert_text(world->err.text,
                "GreptimeDB 4004 DatabaseNotFound: the database \"new\" does not exist, "
                "and METRICS_CREATE_SCHEMA=off forbids to create it");
    assert_false(fake_has_database(&world->fake, "new"));
    assert_null(fake_row_of(&world->fake, "new", world->migration->id));
}

static void test_refused(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;

    fake->faults[2] = FAKE_SYNTAX;
    assert_int_equal(up(world, "r1"), ERR_DB);
    assert_string_equal(
        world->err.text,
        "GreptimeDB 2000 InvalidSyntax: sql parser error (statement 3, "
        "20250101120000_m.up.sql:4); statements 1-2 stay applied; the next up goes on "
        "with statement 3");
    assert_int_equal(world->err.statement, 3);
    assert_int_equal(world->err.line, 4);
    assert_string_equal(world->err.sqlstate, "");
    ASSERT_ROW("up done 2");
    assert_int_equal(down(world, "r2"), ERR_IN_DOUBT);
    assert_text(world->err.text, "the up script of this migration stopped at statement 2 (done)");
    assert_int_equal(up(world, "r3"), 0);
    assert_int_equal(fake->log_count, 4);
    assert_int_equal(fake_count(fake, "s: CREATE TABLE a"), 1);
    ASSERT_ROW("up complete 3");

    fake->faults[fake->sent] = FAKE_SYNTAX; /* nothing of the down took effect */
    assert_int_equal(down(world, "r4"), ERR_DB);
    ASSERT_ROW("up complete 3");
    assert_string_equal(fake_row_of(fake, "s", world->migration->id)->run_id, "r3");
    assert_string_equal(fake_row_of(fake, "s", world->migration->id)->checksum,
                        world->migration->up.checksum);
    fake->faults[fake->sent + 1] = FAKE_SYNTAX;
    assert_int_equal(down(world, "r5"), ERR_DB);
    ASSERT_ROW("undo done 1");
    assert_text(world->err.text, "statement 1 stays applied; the next down goes on with");
    assert_int_equal(up(world, "r6"), ERR_IN_DOUBT);
    assert_int_equal(down(world, "r7"), 0);
    ASSERT_ROW("none");
}

static void test_refused_at_once(void **state)
{
    struct world *world = *state;

    world->fake.faults[0] = FAKE_SYNTAX;
    assert_int_equal(up(world, "r1"), ERR_DB);
    assert_string_equal(world->err.text,
                        "GreptimeDB 2000 InvalidSyntax: sql parser error (statement 1, "
                        "20250101120000_m.up.sql:1)");
    ASSERT_ROW("none");
}

static void test_busy(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;

    fake->faults[1] = fake->faults[2] = FAKE_BUSY;
    assert_int_equal(up(world, "r1"), 0);
    assert_int_equal(world->result.attempts, 3);
    assert_int_equal(world->attempts, 3);
    assert_text(world->why, "GreptimeDB 6000 RuntimeResourcesExhausted: too busy");
    for (size_t i = 0; i < 10; i++)
        fake->faults[fake->sent + i] = FAKE_BUSY;
    assert_int_equal(down(world, "r2"), ERR_DB);
    assert_int_equal(world->result.attempts, 5);
    ASSERT_ROW("up complete 3");
}

static void test_unreachable(void **state)
{
    struct world *world = *state;
    uint64_t since = world->fake.sched.now_ms;

    world->fake.is_down = true;
    assert_int_equal(up(world, "r1"), ERR_UNREACHABLE);
    assert_in_range(world->fake.sched.now_ms - since, 2000, 9000);
    ASSERT_ROW("none");
    since = world->fake.sched.now_ms;
    assert_int_equal(up(world, "r1"), ERR_UNREACHABLE); /* known to be down */
    assert_true(world->fake.sched.now_ms - since < 1000);
    world->fake.is_down = false;
    assert_int_equal(up(world, "r1"), 0);
}

static void test_in_doubt(void **state)
{
    static const enum fake_fault faults[] = {FAKE_LOST_BEHIND, FAKE_503_BEHIND, FAKE_408_BEHIND,
                                             FAKE_LOST_BEFORE, FAKE_503_BEFORE, FAKE_INTERNAL};
    struct world *world = *state;
    struct backend_decision decision;
    char expected[64];

    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        struct fake *fake = &world->fake;
        bool took_effect = i < 3;
        uint64_t since;

        fake->effect_count = 0;
        fake->faults[fake->sent + 1] = faults[i];
        assert_int_equal(up(world, "r1"), ERR_IN_DOUBT);
        assert_text(world->err.text, "statement 2 of 3 (20250101120000_m.up.sql:2): ");
        assert_text(world->err.text, "it is not known whether it took effect");
        assert_text(world->err.text, "POST /api/v1/migrations/20250101120000_m_greptimedb_metrics"
                                     "/resolve");
        assert_int_equal(world->err.statement, 2);
        assert_int_equal(world->err.line, 2);
        ASSERT_ROW("up begun 2");
        since = fake->sched.now_ms;
        assert_int_equal(up(world, "r2"), ERR_IN_DOUBT);
        assert_true(fake->sched.now_ms - since < 1000); /* it knows that nobody is at work */
        assert_text(world->err.text, "statement 2 of 3 (20250101120000_m.up.sql:2) was begun by "
                                     "run r1; it is not known");
        assert_int_equal(down(world, "r2"), ERR_IN_DOUBT);
        assert_int_equal(resolve(world, took_effect, &decision), 0);
        assert_false(decision.undo || decision.complete);
        assert_int_equal(decision.statement, 2);
        assert_int_equal(decision.statements, 3);
        assert_string_equal(decision.checksum, world->migration->up.checksum);
        snprintf(expected, sizeof(expected), "up done %d", took_effect ? 2 : 1);
        ASSERT_ROW(expected);
        assert_int_equal(resolve(world, true, &decision), ERR_NOT_FOUND);
        assert_int_equal(up(world, "r3"), 0);
        assert_int_equal(fake_count(fake, "s: CREATE TABLE a"), 1);
        assert_int_equal(fake_count(fake, "s: CREATE TABLE b"), 1);
        assert_int_equal(down(world, "r4"), 0);
    }
}

static void test_in_doubt_at_the_ends(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct backend_decision decision;

    fake->faults[0] = FAKE_LOST_BEFORE;
    assert_int_equal(up(world, "r1"), ERR_IN_DOUBT);
    assert_int_equal(resolve(world, false, &decision), 0);
    ASSERT_ROW("none");
    fake->faults[fake->sent + 2] = FAKE_LOST_BEHIND;
    assert_int_equal(up(world, "r2"), ERR_IN_DOUBT);
    assert_int_equal(resolve(world, true, &decision), 0);
    assert_true(decision.complete);
    ASSERT_ROW("up complete 3");
    assert_int_equal(up(world, "r3"), 0);
    assert_int_equal(world->result.outcome, BACKEND_WAS_DONE);
    assert_string_equal(world->result.run_id, "r2");
    fake->faults[fake->sent + 1] = FAKE_LOST_BEHIND;
    assert_int_equal(down(world, "r4"), ERR_IN_DOUBT);
    ASSERT_ROW("undo begun 2");
    assert_int_equal(resolve(world, true, &decision), 0);
    assert_true(decision.complete && decision.undo);
    assert_string_equal(decision.checksum, world->migration->down.checksum);
    ASSERT_ROW("none");
    assert_int_equal(resolve(world, true, &decision), ERR_NOT_FOUND);
}

static void test_repeated(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;

    world_use(world, "CREATE TABLE IF NOT EXISTS a; CREATE TABLE b", NULL);
    fake->faults[0] = FAKE_LOST_BEHIND;
    fake->faults[1] = FAKE_408_BEHIND;
    assert_int_equal(up(world, "r1"), 0);
    assert_int_equal(world->result.attempts, 3);
    assert_int_equal(fake_count(fake, "s: CREATE TABLE IF NOT EXISTS a"), 3);
    assert_int_equal(fake_count(fake, "s: CREATE TABLE b"), 1);
}

static void test_repeated_by_the_next(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;

    world_use(world, "CREATE TABLE IF NOT EXISTS a; CREATE TABLE b", NULL);
    for (size_t i = 0; i < 5; i++)
        fake->faults[i] = FAKE_LOST_BEFORE;
    assert_int_equal(up(world, "r1"), ERR_DB);
    assert_text(world->err.text, "may have taken effect; the next up repeats it");
    ASSERT_ROW("up begun 1");
    assert_int_equal(up(world, "r2"), 0);
    assert_int_equal(fake_count(fake, "s: CREATE TABLE IF NOT EXISTS a"), 1);
    ASSERT_ROW("up complete 2");
}

static void test_timeout(void **state)
{
    struct world *world = *state;

    world_use(world, "-- bfm-statement-timeout: 1s\nCREATE TABLE a", NULL);
    world->fake.faults[0] = FAKE_SLOW;
    assert_int_equal(up(world, "r1"), ERR_IN_DOUBT);
    assert_string_equal(world->fake.last_header, "x-greptime-timeout: 1000ms");
    assert_text(world->err.text, "no answer in time");
}

static void say(struct world *world, int status, const char *body, bool is_text)
{
    world->fake.status = status;
    world->fake.body = body;
    world->fake.body_is_text = is_text;
}

static void test_odd_answers(void **state)
{
    static const struct {
        int status;
        bool is_text;
        const char *body;
        int rc;
        const char *text;
    } rows[] = {
        {413, true, "Failed to buffer the request body: length limit exceeded", ERR_DB,
         "GreptimeDB answered HTTP 413, as the statement is larger than it takes"},
        {415, true, "Form requests must have", ERR_DB, "GreptimeDB answered HTTP 415"},
        {404, true, "", ERR_DB, "so it has no SQL interface there"},
        {401, true, "", ERR_UNREACHABLE, "refuses the user or the password"},
        {401, false, "{\"error\":\"User not found, username: bob\"}", ERR_UNREACHABLE,
         "GreptimeDB answered HTTP 401, which refuses the user or the password"},
        {401, false,
         "{\"code\":7002,\"error\":\"Username and password does not match, username: bob\"}",
         ERR_UNREACHABLE,
         "GreptimeDB 7002 UserPasswordMismatch: it refuses the user or the password of this "
         "connection"},
        {403, false, "{\"code\":7006,\"error\":\"User is not authorized to perform this action\"}",
         ERR_DB, "GreptimeDB 7006 PermissionDenied: User is not authorized to perform this action"},
        {401, false, "{\"code\":4007,\"error\":\"region is read-only\"}", ERR_IN_DOUBT,
         "GreptimeDB 4007 RegionReadonly"},
        {429, true, "Request body memory limit exceeded: x", ERR_DB,
         "too much is asked of it at once"},
        {200, true, "<html>", ERR_IN_DOUBT, "something else than an answer of GreptimeDB"},
        {200, false, "{\"output\":[{\"affec", ERR_IN_DOUBT, "something else than an answer"},
        {200, false, "{\"code\":4000,\"error\":\"Table already exists: `greptime.s.a`\"}", ERR_DB,
         "GreptimeDB 4000 TableAlreadyExists: Table already exists: `greptime.s.a`"},
        {500, false, "{\"error\":\"what\"}", ERR_IN_DOUBT, "GreptimeDB answered HTTP 500: what"},
        {200, false, "{\"code\":0,\"output\":[{\"affectedrows\":0}],\"execution_time_ms\":1}", 0,
         ""},
        {200, false, "{\"execution_time_ms\":0}", 0, ""},
    };
    struct world *world = *state;

    world_use(world, "CREATE TABLE a", "SELECT 1");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int rc;

        say(world, rows[i].status, rows[i].body, rows[i].is_text);
        rc = up(world, "r1");
        if (rc != rows[i].rc)
            fail_msg("row %zu: %d, %s", i, rc, world->err.text);
        assert_text(world->err.text, rows[i].text);
        assert_null(strstr(world->err.text, "bob"));
        memset(world->fake.rows, 0, sizeof(world->fake.rows));
    }
}

static void test_cancel(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct going going;

    fake->answer_ms = 1000;
    assert_int_equal(begin(world, &going, BACKEND_UP, "s", "r1"), 0);
    while (fake->log_count < 2)
        fake_turn(fake);
    op_cancel(&going.wait.op);
    assert_int_equal(end(world, &going, 0), ERR_CANCELED);
    assert_string_equal(world->err.text,
                        "canceled behind statement 2; statements 1-2 stay applied; "
                        "the next up goes on with statement 3");
    ASSERT_ROW("up done 2");
    assert_int_equal(begin(world, &going, BACKEND_UP, "s", "r2"), 0);
    while (fake->log_count < 3)
        fake_turn(fake);
    op_cancel(&going.wait.op); /* too late: a fact */
    assert_int_equal(end(world, &going, 0), 0);
    ASSERT_ROW("up complete 3");

    fake->faults[fake->sent] = FAKE_SLOW; /* longer than a cancel waits */
    assert_int_equal(begin(world, &going, BACKEND_DOWN, "s", "r3"), 0);
    while (fake->log_count < 4)
        fake_turn(fake);
    op_cancel(&going.wait.op);
    assert_int_equal(end(world, &going, 0), ERR_IN_DOUBT);
    ASSERT_ROW("undo begun 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        GREPTIMEDB_TEST(test_up_and_down), GREPTIMEDB_TEST(test_down_without_statements),
        GREPTIMEDB_TEST(test_database),    GREPTIMEDB_TEST(test_database_must_not_be_created),
        GREPTIMEDB_TEST(test_refused),     GREPTIMEDB_TEST(test_refused_at_once),
        GREPTIMEDB_TEST(test_busy),        GREPTIMEDB_TEST(test_unreachable),
        GREPTIMEDB_TEST(test_in_doubt),    GREPTIMEDB_TEST(test_in_doubt_at_the_ends),
        GREPTIMEDB_TEST(test_repeated),    GREPTIMEDB_TEST(test_repeated_by_the_next),
        GREPTIMEDB_TEST(test_timeout),     GREPTIMEDB_TEST(test_odd_answers),
        GREPTIMEDB_TEST(test_cancel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
