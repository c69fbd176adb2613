#include "cmocka_all.h"

#include <string.h>

#include "base/mem.h"
#include "store/mysql_private.h"

/* What a batch of records comes to, without a database. */

static const struct migration migration = {.id = "20250101000000_a_postgresql_core",
                                           .version = "20250101000000",
                                           .name = "a",
                                           .connection = "core",
                                           .backend = BACKEND_POSTGRESQL,
                                           .schema = "",
                                           .table = ""};
static const struct store_caller caller = {.executed_by = "x"};

static struct store_record plan_record(enum store_event event, const char *schema,
                                       const char *run_id)
{
    return (struct store_record){.event = event,
                                 .migration = &migration,
                                 .schema = schema,
                                 .caller = &caller,
                                 .error = "why",
                                 .run_id = run_id,
                                 .at_us = 1};
}

static void plan_take_all(struct mystore_plan *plan, const struct store_record *records,
                          size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(mystore_plan_take(plan, &records[i]), 0);
    mystore_plan_order(plan);
}

static void test_usual_records_need_no_look(void **state)
{
    const struct store_record records[] = {
        plan_record(STORE_PENDING, "b", "r1"), plan_record(STORE_APPLIED, "b", "r1"),
        plan_record(STORE_PENDING, "a", "r1"), plan_record(STORE_ROLLED_BACK, "a", "r1"),
        plan_record(STORE_SKIPPED, "c", "r1")};
    struct mystore_plan plan;

    (void)state;
    assert_int_equal(mystore_plan_init(&plan, ARRAY_SIZE(records)), 0);
    plan_take_all(&plan, records, ARRAY_SIZE(records));
    assert_false(plan.needs_look);
    assert_true(plan.keyed);
    assert_int_equal(plan.history_count, 4);
    assert_int_equal(plan.execution_count, 2);
    assert_string_equal(plan.executions[0].record->schema, "a"); /* as every server locks them */
    assert_int_equal(plan.skip_count, 1);
    assert_int_equal(plan.list_count, 1);
    assert_string_equal(plan.list[0].status, "rolled_back");
    mystore_plan_free(&plan);
}

static void test_what_needs_a_look(void **state)
{
    static const enum store_event events[] = {STORE_FAILED, STORE_FOUND_APPLIED,
                                              STORE_FOUND_NOT_APPLIED, STORE_CUT_OFF};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
        const struct store_record record = plan_record(events[i], "a", NULL);
        struct mystore_plan plan;

        assert_int_equal(mystore_plan_init(&plan, 1), 0);
        plan_take_all(&plan, &record, 1);
        assert_true(plan.needs_look);
        assert_int_equal(plan.history_count, 1); /* so that it is looked for */
        assert_int_equal(plan.keyed,
                         events[i] == STORE_FOUND_APPLIED || events[i] == STORE_FOUND_NOT_APPLIED);
        mystore_plan_free(&plan);
    }
}

/* `a` is applied by r1, which the history says; `b` has a row that was made for the lock. */
static void plan_look(struct mystore_plan *plan, size_t count)
{
    assert_int_equal(mystore_plan_init(plan, count), 0);
    plan->looked = true;
    assert_int_equal(mystore_plan_add_place(plan, migration.id, "a", true, true), 0);
    assert_int_equal(mystore_plan_add_place(plan, migration.id, "b", false, false), 0);
    assert_int_equal(mystore_plan_add_history(plan, "r1", migration.id, "a", "applied"), 0);
}

static void test_what_was_looked_at_counts(void **state)
{
    const struct store_record records[] = {
        plan_record(STORE_APPLIED, "a", "r1"),       /* it is there */
        plan_record(STORE_FOUND_APPLIED, "a", "r9"), /* no news */
        plan_record(STORE_CUT_OFF, "a", "r1"),       /* has an end */
        plan_record(STORE_FAILED, "a", "r2"),        /* stays applied */
        plan_record(STORE_FOUND_NOT_APPLIED, "b", NULL),
        plan_record(STORE_FOUND_NOT_APPLIED, "a", NULL),
        plan_record(STORE_FOUND_APPLIED, "a", "r1"), /* news again; the key is taken */
        plan_record(STORE_FOUND_APPLIED, "a", "r1"),
    };
    struct mystore_plan plan;
    const struct mystore_plan_place *place;
    size_t at = 0, empty = 0;

    (void)state;
    plan_look(&plan, ARRAY_SIZE(records));
    plan_take_all(&plan, records, ARRAY_SIZE(records));
    assert_int_equal(plan.history_count, 3);
    assert_ptr_equal(plan.history[0].record, &records[3]);
    assert_ptr_equal(plan.history[1].record, &records[5]);
    assert_ptr_equal(plan.history[2].record, &records[6]);
    assert_null(plan.history[2].run_id);
    assert_int_equal(plan.execution_count, 2);
    assert_string_equal(plan.executions[0].status, "rolled_back");
    assert_string_equal(plan.executions[1].status, "applied");
    assert_string_equal(plan.list[0].status, "applied");
    assert_null(plan.list[0].error);
    while ((place = map_next(&plan.places, &at)) != NULL)
        empty += !place->there && !place->written;
    assert_int_equal(empty, 1);
    mystore_plan_free(&plan);
}

static void test_a_row_is_written_once(void **state)
{
    const struct store_record records[] = {plan_record(STORE_APPLIED, "b", "r1"),
                                           plan_record(STORE_APPLIED, "b", "r1"),
                                           plan_record(STORE_CUT_OFF, "b", "r1")};
    struct mystore_plan plan;

    (void)state;
    plan_look(&plan, ARRAY_SIZE(records));
    plan_take_all(&plan, records, ARRAY_SIZE(records));
    assert_int_equal(plan.history_count, 1);
    assert_int_equal(plan.execution_count, 1);
    mystore_plan_free(&plan);
}

static void test_every_allocation_fails(void **state)
{
    const struct store_record records[] = {plan_record(STORE_FAILED, "b", "r1"),
                                           plan_record(STORE_FOUND_APPLIED, "a", "r2")};
    bool hit = true;

    (void)state;
    for (uint64_t nth = 1; hit; nth++) {
        struct mystore_plan plan;
        int rc;

        mem_fail_at(nth, 0);
        rc = mystore_plan_init(&plan, 2);
        plan.looked = true;
        if (rc == 0)
            rc = mystore_plan_add_place(&plan, migration.id, "a", false, true);
        for (size_t i = 0; i < 2 && rc == 0; i++)
            rc = mystore_plan_take(&plan, &records[i]);
        hit = mem_fail_hit() != 0;
        mem_fail_at(0, 0);
        assert_int_equal(rc, hit ? ERR_NOMEM : 0);
        mystore_plan_free(&plan);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usual_records_need_no_look),
        cmocka_unit_test(test_what_needs_a_look),
        cmocka_unit_test(test_what_was_looked_at_counts),
        cmocka_unit_test(test_a_row_is_written_once),
        cmocka_unit_test(test_every_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
