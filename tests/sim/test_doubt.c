/* A decision about a statement in doubt: each operation fails, each wait is cancelled, memory runs
 * out; what the target took is recorded, and the lock is free again. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cmocka_all.h"
#include "fake_world.h"
#include "migrate/doubt.h"

#define FILE_OF(path_, text_)                                  \
    {                                                          \
        .path = path_, .text = text_, .len = sizeof(text_) - 1 \
    }

static const struct registry_file files[] = {
    FILE_OF("postgresql/core/20250101000000_first.up.sql", "CREATE TABLE first (id int);"),
};
#define FIRST "20250101000000_first_postgresql_core"

static struct fake_world world;
static struct doubt doubt;
static struct op op;
static unsigned done_count;
static int done_rc;

static void on_done(struct op *ended, int rc)
{
    assert_ptr_equal(ended, &op);
    done_count++;
    done_rc = rc;
}

static void begin(unsigned statement)
{
    fake_world_init(&world, files, ARRAY_SIZE(files));
    world.doubt = statement;
    done_count = 0;
}

static int decide(bool applied)
{
    const struct doubt_request request = {
        .migration = registry_find(world.engine.registry, FIRST),
        .schema = "s",
        .applied = applied,
        .caller = {.executed_by = "tester", .execution_method = "api", .execution_context = "{}"}};

    op_init(&op, on_done);
    return doubt_start(&world.engine, &op, &request, &doubt);
}

/* To its end, whether it was refused or not. */
static int decide_and_wait(bool applied)
{
    int rc = decide(applied);

    fake_world_settle(&world);
    assert_int_equal(done_count, rc == 0);
    return rc != 0 ? rc : done_rc;
}

static void assert_unlocked(void)
{
    struct lock lock = {0};

    assert_true(lock_try(&world.engine.locks, &lock, FIRST, "s", LOCK_ALONE));
    lock_release(&lock, LOCK_NEWS_NONE);
}

static void end(void)
{
    assert_unlocked();
    fake_world_free(&world);
}

static void test_in_the_middle(void **state)
{
    (void)state;
    begin(2);
    assert_int_equal(decide_and_wait(true), 0);
    assert_string_equal(world.log, "resolved " FIRST "@s\n");
    assert_string_equal(doubt.message,
                        "statement 2 of 3 counts as applied (decided by tester); the next up goes "
                        "on with statement 3");
    done_count = 0;
    world.doubt = 2;
    assert_int_equal(decide_and_wait(false), 0);
    assert_string_equal(doubt.message,
                        "statement 2 of 3 counts as not applied (decided by tester); the next up "
                        "goes on with statement 2");
    assert_false(fake_world_believes(&world, FIRST, "s"));
    end();
}

static void test_the_last_one(void **state)
{
    (void)state;
    begin(3);
    assert_int_equal(decide_and_wait(true), 0);
    assert_string_equal(world.log, "applied " FIRST "@s\n");
    assert_true(fake_world_believes(&world, FIRST, "s") && fake_world_agrees(&world));
    done_count = 0;
    world.doubt = 3;
    world.doubt_of_undo = true;
    assert_int_equal(decide_and_wait(true), 0);
    assert_string_equal(doubt.message, "statement 3 of 3 counts as applied (decided by tester); "
                                       "with it the migration is undone");
    assert_false(fake_world_believes(&world, FIRST, "s"));
    assert_true(fake_world_agrees(&world));
    end();
}

static void test_nothing_in_doubt(void **state)
{
    (void)state;
    begin(0);
    assert_int_equal(decide_and_wait(true), ERR_NOT_FOUND);
    assert_int_equal(world.log_len, 0);
    end();
}

static int decide_again(bool applied)
{
    done_count = 0;
    return decide_and_wait(applied);
}

/* The answer did not arrive, so the same is sent once more. */
static void test_sent_again(void **state)
{
    (void)state;
    for (unsigned statement = 2; statement <= 3; statement++)
        for (int applied = 0; applied < 2; applied++) {
            char first[DOUBT_MESSAGE_MAX];
            size_t len;

            begin(statement);
            assert_int_equal(decide_again(applied), 0);
            snprintf(first, sizeof(first), "%s", doubt.message);
            len = world.log_len;
            assert_int_equal(decide_again(applied), 0);
            assert_int_equal(doubt.decision.statement, statement);
            assert_int_equal(doubt.decision.statements, 3);
            assert_int_equal(doubt.decision.complete, applied && statement == 3);
            assert_non_null(strstr(doubt.message, "(already decided by tester); "));
            assert_string_equal(strchr(doubt.message, ';'), strchr(first, ';'));
            assert_int_equal(world.log_len, len);
            assert_int_equal(decide_again(!applied), ERR_CONFLICT);
            assert_non_null(strstr(op.err.text, applied ? "counts as applied already"
                                                        : "counts as not applied already"));
            assert_int_equal(world.log_len, len);
            end();
        }
}

/* Behind all that other schemas did since; not once something else was done in this one. */
static void test_sent_again_later(void **state)
{
    (void)state;
    begin(2);
    assert_int_equal(decide_again(true), 0);
    for (int i = 0; i < 1200; i++)
        fake_world_leave_pending(&world, FIRST, "other", "r", 1, STORE_OWNER_ENDED);
    assert_int_equal(decide_again(true), 0);
    for (int i = 0; i < 10000; i++)
        fake_world_leave_pending(&world, FIRST, "other", "r", 1, STORE_OWNER_ENDED);
    assert_int_equal(decide_again(true), ERR_NOT_FOUND); /* it does not look back for ever */
    end();
    begin(2);
    assert_int_equal(decide_again(true), 0);
    fake_world_leave_pending(&world, FIRST, "s", "r", 1, STORE_OWNER_ENDED);
    assert_int_equal(decide_again(true), ERR_NOT_FOUND);
    assert_non_null(strstr(op.err.text, "no statement is in doubt"));
    end();
}

/* The journal takes it, and nobody hears of that. */
static void test_its_answer_is_lost(void **state)
{
    (void)state;
    for (int applied = 0; applied < 2; applied++) {
        begin(3);
        world.doubt_is_lost = world.target.compared = true;
        assert_int_equal(decide_again(applied), ERR_UNREACHABLE);
        assert_false(world.target.compared);
        assert_string_equal(world.log, "resolved " FIRST "@s\n");
        assert_false(fake_world_believes(&world, FIRST, "s"));
        world.doubt_is_lost = false;
        assert_int_equal(decide_again(applied), 0);
        assert_non_null(strstr(doubt.message, "statement 3 of 3 counts as "));
        assert_null(strstr(doubt.message, "already"));
        assert_int_equal(fake_world_believes(&world, FIRST, "s"), applied);
        assert_true(fake_world_agrees(&world));
        assert_int_equal(decide_again(applied), 0);
        assert_non_null(strstr(doubt.message, "already"));
        end();
    }
    begin(3); /* the journal has not taken it */
    world.doubt_is_lost = true;
    assert_int_equal(decide_again(true), ERR_UNREACHABLE);
    world.doubt_is_lost = false;
    world.doubt = 3;
    assert_int_equal(decide_again(false), 0);
    assert_string_equal(world.log, "resolved " FIRST "@s\nresolved " FIRST "@s\n");
    end();
}

static void test_look_back_fails(void **state)
{
    (void)state;
    for (int canceled = 0; canceled < 2; canceled++) {
        begin(2);
        assert_int_equal(decide_again(true), 0);
        if (canceled) {
            done_count = 0;
            assert_int_equal(decide(true), 0);
            while (done_count == 0 && world.ops < 4)
                fake_world_turn(&world);
            op_cancel(&op);
            fake_world_settle(&world);
            assert_int_equal(done_rc, ERR_CANCELED);
        } else {
            world.fail_at = world.ops + 2;
            world.fail_rc = ERR_STORE;
            assert_int_equal(decide_again(true), ERR_STORE);
        }
        assert_string_equal(world.log, "resolved " FIRST "@s\n");
        end();
    }
}

static void test_refused_at_once(void **state)
{
    struct lock lock = {0};

    (void)state;
    begin(2);
    assert_true(lock_try(&world.engine.locks, &lock, FIRST, "s", LOCK_ALONE));
    assert_int_equal(decide_and_wait(true), ERR_CONFLICT);
    assert_non_null(strstr(op.err.text, "a run is at work"));
    lock_release(&lock, LOCK_NEWS_NONE);
    world.target.backend = NULL;
    world.target.why = "the connection has no host";
    assert_int_equal(decide_and_wait(true), ERR_CONFLICT);
    assert_non_null(strstr(op.err.text, "no host"));
    assert_int_equal(world.ops, 0);
    end();
}

/* Either nothing was decided, or it is on record, or the answer says that it is not. */
static void assert_told(int rc, const char *where)
{
    bool decided = world.doubt == 0, recorded = world.log_len > 0;

    if (rc == 0 && !(decided && recorded))
        fail_msg("%s: a success without a decision and a record", where);
    if (rc != 0 && recorded)
        fail_msg("%s: recorded, and a failure", where);
    if (rc != 0 && decided && strstr(op.err.text, "it was decided, but not recorded") == NULL)
        fail_msg("%s: decided, and nobody is told: %s", where, op.err.text);
}

static void test_each_operation_fails(void **state)
{
    static const int codes[] = {ERR_STORE, ERR_DB, ERR_NOMEM, ERR_LOCKED};

    (void)state;
    for (unsigned kind = 0; kind < 4 * ARRAY_SIZE(codes); kind++)
        for (uint64_t nth = 1; nth <= 2; nth++) {
            int code = codes[kind / 4], rc;

            begin(2);
            world.fail_at = nth;
            world.fail_rc = code;
            world.fail_sticky = kind % 2 != 0;
            world.fail_refused = kind / 2 % 2 != 0;
            rc = decide_and_wait(true);
            assert_told(rc, "an operation fails");
            if (nth == 2 && code == ERR_STORE && !world.fail_sticky)
                assert_int_equal(rc, 0); /* it was offered once more */
            else
                assert_int_equal(rc, code == ERR_LOCKED && nth == 1 ? ERR_CONFLICT : code);
            end();
        }
}

static void test_cancelled_anywhere(void **state)
{
    unsigned canceled = 0, completed = 0;

    (void)state;
    for (unsigned turns = 0; turns < 12; turns++) {
        begin(2);
        world.fail_at = 2; /* so that it also pauses */
        world.fail_rc = ERR_STORE;
        assert_int_equal(decide(true), 0);
        for (unsigned i = 0; i < turns && done_count == 0; i++)
            fake_world_turn(&world);
        if (done_count == 0)
            op_cancel(&op);
        fake_world_settle(&world);
        assert_int_equal(done_count, 1);
        assert_told(done_rc, "cancelled");
        assert_true(done_rc == 0 || done_rc == ERR_CANCELED);
        canceled += done_rc == ERR_CANCELED;
        completed += done_rc == 0;
        end();
    }
    assert_true(canceled > 0 && completed > 0);
}

static void test_memory_runs_out(void **state)
{
    (void)state;
    for (int sticky = 0; sticky < 2; sticky++)
        for (uint64_t nth = 1;; nth++) {
            bool hit;
            int rc;

            begin(2);
            mem_fail_at(nth, sticky);
            rc = decide_and_wait(true);
            hit = mem_fail_hit() != 0;
            mem_fail_at(0, 0);
            if (rc != 0 && rc != ERR_CONFLICT) /* without memory for the lock it is not had */
                assert_int_equal(rc, ERR_NOMEM);
            assert_told(rc, "memory");
            end();
            if (!hit) {
                assert_int_equal(rc, 0);
                assert_true(nth > 1);
                break;
            }
        }
}

static void drop(void *arg, const char *line, size_t len)
{
    (void)arg, (void)line, (void)len;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_the_middle),        cmocka_unit_test(test_the_last_one),
        cmocka_unit_test(test_nothing_in_doubt),     cmocka_unit_test(test_refused_at_once),
        cmocka_unit_test(test_each_operation_fails), cmocka_unit_test(test_cancelled_anywhere),
        cmocka_unit_test(test_memory_runs_out),      cmocka_unit_test(test_sent_again),
        cmocka_unit_test(test_sent_again_later),     cmocka_unit_test(test_its_answer_is_lost),
        cmocka_unit_test(test_look_back_fails),
    };

    log_set_sink(drop, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
