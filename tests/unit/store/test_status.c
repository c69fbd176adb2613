#include "cmocka_all.h"

#include "store/status.h"

static struct status_verdict judged(struct status_facts facts)
{
    struct status_verdict verdict;

    status_judge(&facts, &verdict);
    return verdict;
}

static void test_normalize(void **state)
{
    (void)state;
    assert_string_equal(status_normalize("applied"), "applied");
    assert_string_equal(status_normalize("success"), "applied");
    assert_string_equal(status_normalize("failed"), "failed");
    assert_string_equal(status_normalize("rolled_back"), "rolled_back");
    assert_string_equal(status_normalize("pending"), "pending");
    assert_string_equal(status_normalize("whatever"), "pending");
    assert_string_equal(status_normalize(NULL), "pending");
}

static void test_nothing_known(void **state)
{
    struct status_verdict v = judged((struct status_facts){.fixed = true});

    (void)state;
    assert_string_equal(v.status, "pending");
    assert_false(v.applied);
    assert_string_equal(v.error, "");
    assert_int_equal(v.schemas_applied, 0);
}

static void test_the_declared_execution_decides(void **state)
{
    struct status_facts facts = {.fixed = true,
                                 .listed = "failed",
                                 .listed_error = "late",
                                 .executions = 3,
                                 .applied_executions = 2,
                                 .declared = "applied",
                                 .declared_applied = true,
                                 .declared_applied_at_us = 7,
                                 .applied_at_us = 9};
    struct status_verdict v = judged(facts);

    (void)state;
    assert_string_equal(v.status, "applied");
    assert_true(v.applied);
    assert_true(v.applied_at_us == 7);
    assert_string_equal(v.error, "late");
    assert_int_equal(v.schemas_applied, 2);
    facts.declared = "rolled_back";
    facts.declared_applied = false;
    v = judged(facts);
    assert_string_equal(v.status, "rolled_back");
    assert_false(v.applied);
    assert_true(v.applied_at_us == 0);
}

/* An older server undid it: the execution went back to pending, the list stayed applied. */
static void test_an_undo_by_an_older_server(void **state)
{
    struct status_facts facts = {.fixed = true,
                                 .listed = "applied",
                                 .executions = 1,
                                 .declared = "pending",
                                 .newest = "rolled_back"};

    (void)state;
    assert_string_equal(judged(facts).status, "rolled_back");
    facts.newest = "success";
    assert_string_equal(judged(facts).status, "pending");
    facts.fixed = false;
    facts.declared = NULL;
    facts.newest = "rolled_back";
    assert_string_equal(judged(facts).status, "rolled_back");
    facts.applied_executions = 1; /* another schema still has it */
    assert_string_equal(judged(facts).status, "rolled_back");
    assert_true(judged(facts).applied);
}

static void test_a_fixed_migration_elsewhere(void **state)
{
    const struct status_facts facts = {.fixed = true,
                                       .listed = "applied",
                                       .executions = 1,
                                       .applied_executions = 1,
                                       .newest = "applied"};

    (void)state;
    assert_string_equal(judged(facts).status, "pending");
    assert_false(judged(facts).applied);
    assert_int_equal(judged(facts).schemas_applied, 1);
}

static void test_a_dynamic_migration(void **state)
{
    struct status_facts facts = {.listed = "failed",
                                 .listed_error = "no",
                                 .executions = 2,
                                 .applied_executions = 1,
                                 .applied_at_us = 5};

    (void)state;
    assert_string_equal(judged(facts).status, "failed");
    assert_true(judged(facts).applied);
    assert_true(judged(facts).applied_at_us == 5);
    facts.listed = "pending";
    assert_string_equal(judged(facts).status, "applied");
    facts.applied_executions = 0;
    assert_string_equal(judged(facts).status, "pending");
}

static void test_without_executions(void **state)
{
    struct status_facts facts = {.fixed = true, .listed = "success", .newest = "success"};

    (void)state;
    assert_string_equal(judged(facts).status, "applied");
    assert_true(judged(facts).applied);
    assert_int_equal(judged(facts).schemas_applied, 1);
    facts.newest = "rolled_back";
    assert_string_equal(judged(facts).status, "rolled_back");
    assert_false(judged(facts).applied);
    facts = (struct status_facts){.listed = "failed", .newest = "failed", .newest_error = "why"};
    assert_string_equal(judged(facts).error, "why");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normalize),
        cmocka_unit_test(test_nothing_known),
        cmocka_unit_test(test_the_declared_execution_decides),
        cmocka_unit_test(test_an_undo_by_an_older_server),
        cmocka_unit_test(test_a_fixed_migration_elsewhere),
        cmocka_unit_test(test_a_dynamic_migration),
        cmocka_unit_test(test_without_executions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
