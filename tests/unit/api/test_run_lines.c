#include <string.h>

#include "api/http_answer.h"
#include "api/ops_run.h"
#include "cmocka_all.h"

static const struct migration users = {
    .id = "20250101120000_create_users_postgresql_core",
    .version = "20250101120000",
    .name = "create_users",
    .connection = "core",
    .schema = "core",
    .table = "users",
};
static const struct migration email = {
    .id = "20250102000000_add_email_postgresql_core",
    .version = "20250102000000",
    .name = "add_email",
    .connection = "core",
    .schema = "",
    .table = "",
};
static const struct migration broken = {
    .id = "20250103000000_broken_postgresql_core",
    .version = "20250103000000",
    .name = "broken",
    .connection = "core",
    .schema = "",
    .table = "",
    .invalid = "a.up.sql:3: malformed header",
};

static const struct err refused = {
    .code = ERR_DB, .sqlstate = "42P01", .line = 3, .text = "ERROR: relation does not exist"};
static const struct err stopping = {.code = ERR_SHUTDOWN, .text = "the server is stopping"};
static const struct err away = {.code = ERR_STORE, .text = "the target is ahead"};
static const struct err no_schema = {.code = ERR_INVALID, .text = "no schema"};

/* One lane by default; a test may point at others. */
static const struct run_request request;
static struct run run;
static struct run_lane_result lane;
static struct ops_run ops;

static void given(enum ops_run_kind kind, const char *requested, const struct run_item *items,
                  size_t count)
{
    lane = (struct run_lane_result){.requested = requested, .items = items, .count = count};
    run = (struct run){.request = &request, .lanes = &lane, .lane_count = 1};
    ops = (struct ops_run){.kind = kind, .run = &run};
}

static void judge(void)
{
    arena_init(&ops.arena);
    ops_run_judge(&ops);
}

static void forget(void)
{
    arena_free(&ops.arena);
}

/* All lines of one kind, joined by '|'. */
static void expect_lines(enum ops_lines which, const char *wanted)
{
    struct ops_cursor at = {0};
    struct buf line, all;
    enum ops_next next;

    buf_init(&line, 4096);
    buf_init(&all, 65536);
    while ((next = ops_run_next_line(&ops, which, &at, &line)) != OPS_NEXT_END) {
        if (next == OPS_NEXT_NONE)
            continue;
        if (all.len > 0)
            buf_putc(&all, '|');
        buf_puts(&all, buf_str(&line));
    }
    assert_string_equal(buf_str(&all), wanted);
    buf_free(&line);
    buf_free(&all);
}

static void test_ids_follow_the_request(void **state)
{
    const struct run_item in_core[] = {{.migration = &users, .schema = "core"},
                                       {.migration = &email, .schema = "core"}};
    const struct run_item in_tenant[] = {{.migration = &users, .schema = "tenant1"},
                                         {.migration = &email, .schema = "tenant1"}};

    (void)state;
    given(OPS_UP, NULL, in_core, 2);
    expect_lines(OPS_LINES_APPLIED, "20250101120000_create_users_postgresql_core|"
                                    "core_20250102000000_add_email_postgresql_core");
    given(OPS_UP, "core", in_core, 2);
    expect_lines(OPS_LINES_APPLIED, "core_20250101120000_create_users_postgresql_core|"
                                    "core_20250102000000_add_email_postgresql_core");
    given(OPS_MIGRATE, "core", in_core, 2);
    expect_lines(OPS_LINES_APPLIED, "core_users_20250101120000_create_users|"
                                    "core_20250102000000_add_email_postgresql_core");
    given(OPS_MIGRATE, NULL, in_core, 2);
    expect_lines(OPS_LINES_APPLIED, "core_users_20250101120000_create_users|"
                                    "core_20250102000000_add_email_postgresql_core");
    given(OPS_MIGRATE, "tenant1", in_tenant, 2);
    expect_lines(OPS_LINES_APPLIED, "tenant1_20250101120000_create_users_postgresql_core|"
                                    "tenant1_20250102000000_add_email_postgresql_core");
    given(OPS_DOWN, NULL, in_core, 1);
    expect_lines(OPS_LINES_APPLIED, "core_20250101120000_create_users_postgresql_core");
    given(OPS_ROLLBACK, "tenant1", in_tenant, 1);
    expect_lines(OPS_LINES_APPLIED, "tenant1_20250101120000_create_users_postgresql_core");
}

static void test_each_outcome_has_its_line(void **state)
{
    const struct run_item items[] = {
        {.migration = &users, .schema = "t", .kind = RUN_ITEM_SKIPPED},
        {.migration = &email, .schema = "t", .kind = RUN_ITEM_SKIPPED, .dependency = true},
        {.migration = &email, .schema = "t", .kind = RUN_ITEM_APPLIED, .dependency = true},
        {.migration = &users, .schema = "t", .kind = RUN_ITEM_DRY_RUN},
        {.migration = &users, .schema = "t", .kind = RUN_ITEM_NOT_APPLIED},
        {.migration = &users, .schema = "t", .kind = RUN_ITEM_FAILED, .err = &refused},
        {.migration = &email, .schema = "t", .kind = RUN_ITEM_NOT_RUN, .err = &refused},
    };

    (void)state;
    given(OPS_UP, "t", items, ARRAY_SIZE(items));
    judge();
    assert_int_equal(ops.applied, 2);
    assert_int_equal(ops.skipped, 2);
    assert_int_equal(ops.errors, 2);
    expect_lines(OPS_LINES_APPLIED, "t_20250102000000_add_email_postgresql_core|"
                                    "t_20250101120000_create_users_postgresql_core (dry-run)");
    expect_lines(OPS_LINES_SKIPPED, "t_20250101120000_create_users_postgresql_core|"
                                    "t_20250101120000_create_users_postgresql_core (not applied)");
    expect_lines(
        OPS_LINES_ERRORS,
        "t_20250101120000_create_users_postgresql_core: ERROR: relation does not exist|"
        "t_20250102000000_add_email_postgresql_core: not run: ERROR: relation does not exist");
    assert_int_equal(answer_run_status(&ops), 206);
    forget();
}

static void test_a_missing_schema_is_explained(void **state)
{
    const struct run_item items[] = {
        {.migration = &email, .schema = "", .kind = RUN_ITEM_FAILED, .err = &no_schema},
        {.migration = &broken, .schema = "", .kind = RUN_ITEM_FAILED, .err = &no_schema},
    };

    (void)state;
    given(OPS_UP, NULL, items, ARRAY_SIZE(items));
    expect_lines(OPS_LINES_ERRORS, "migration 20250102000000_add_email has dynamic schema but no "
                                   "schema provided in request|"
                                   "20250103000000_broken_postgresql_core: no schema");
}

static void test_a_pass_can_fail_as_a_whole(void **state)
{
    const struct run_item items[] = {{.migration = &users, .schema = "t"}};

    (void)state;
    given(OPS_UP, "t", items, 1);
    err_set(&lane.err, ERR_UNREACHABLE, "target is away");
    judge();
    expect_lines(OPS_LINES_APPLIED, "t_20250101120000_create_users_postgresql_core");
    expect_lines(OPS_LINES_ERRORS, "schema t: target is away");
    assert_int_equal(ops.errors, 1);
    assert_int_equal(answer_run_status(&ops), 206);
    forget();

    given(OPS_UP, NULL, NULL, 0);
    err_set(&lane.err, ERR_DEPENDENCY, "cycle");
    judge();
    expect_lines(OPS_LINES_ERRORS, "schema : cycle");
    assert_int_equal(answer_run_status(&ops), 206);
    forget();

    given(OPS_MIGRATE, "t", NULL, 0);
    err_set(&lane.err, ERR_DEPENDENCY, "cycle");
    judge();
    assert_string_equal(err_text(&ops.failure), "schema t: cycle");
    assert_int_equal(answer_run_status(&ops), 500);
    forget();

    given(OPS_DOWN, "t", NULL, 0);
    err_set(&lane.err, ERR_UNREACHABLE, "target is away");
    judge();
    assert_int_equal(answer_run_status(&ops), 500);
    forget();
}

static void test_the_state_database_makes_a_500(void **state)
{
    const struct run_item items[] = {
        {.migration = &users, .schema = "t"},
        {.migration = &email, .schema = "t", .kind = RUN_ITEM_FAILED, .err = &away},
    };

    (void)state;
    given(OPS_UP, "t", items, 2);
    judge();
    assert_string_equal(err_text(&ops.failure), "the target is ahead");
    assert_int_equal(answer_run_status(&ops), 500);
    forget();

    given(OPS_UP, "t", NULL, 0);
    err_set(&run.err, ERR_STORE, "the state database is away");
    judge();
    assert_int_equal(answer_run_status(&ops), 500);
    forget();
}

static void test_stopping_makes_a_503_unless_something_ran(void **state)
{
    const struct run_item left_out[] = {
        {.migration = &users, .schema = "t", .kind = RUN_ITEM_NOT_RUN, .err = &stopping}};
    const struct run_item half[] = {
        {.migration = &users, .schema = "t"},
        {.migration = &email, .schema = "t", .kind = RUN_ITEM_NOT_RUN, .err = &stopping}};

    (void)state;
    given(OPS_UP, "t", left_out, 1);
    judge();
    assert_int_equal(answer_run_status(&ops), 503);
    forget();

    given(OPS_UP, "t", half, 2);
    judge();
    assert_int_equal(answer_run_status(&ops), 206);
    forget();
}

static void test_conflicts_are_409(void **state)
{
    (void)state;
    given(OPS_ROLLBACK, "t", NULL, 0);
    err_set(&run.err, ERR_CONFLICT, "x depends on it");
    judge();
    assert_int_equal(answer_run_status(&ops), 409);
    forget();
}

static void test_rollbacks_have_messages(void **state)
{
    const struct run_item done[] = {{.migration = &users, .schema = "a"}};
    const struct run_item failed[] = {
        {.migration = &users, .schema = "b", .kind = RUN_ITEM_FAILED, .err = &refused}};
    const struct run_item nothing[] = {
        {.migration = &users, .schema = "c", .kind = RUN_ITEM_NOT_APPLIED}};
    struct run_lane_result lanes[] = {{.requested = "a", .items = done, .count = 1},
                                      {.requested = "b", .items = failed, .count = 1},
                                      {.requested = "a", .items = done, .count = 1}};

    (void)state;
    given(OPS_ROLLBACK, NULL, done, 1);
    run.lanes = lanes;
    run.lane_count = ARRAY_SIZE(lanes);
    judge();
    assert_string_equal(ops.message, "rollback completed successfully for 2 schema(s)");
    assert_int_equal(ops.errors, 1);
    expect_lines(OPS_LINES_ERRORS, "schema b: ERROR: relation does not exist");
    assert_int_equal(answer_run_status(&ops), 200);
    forget();

    given(OPS_ROLLBACK, "b", failed, 1);
    judge();
    assert_string_equal(ops.message, "rollback failed");
    assert_int_equal(answer_run_status(&ops), 200);
    forget();

    given(OPS_ROLLBACK, "c", nothing, 1);
    judge();
    assert_true(ops.nothing_to_undo);
    assert_string_equal(ops.message, "no migrations to rollback");
    assert_int_equal(answer_run_status(&ops), 400);
    forget();

    given(OPS_ROLLBACK, NULL, NULL, 0);
    ops.run = NULL;
    ops.lone_error = "migration does not have rollback SQL";
    judge();
    assert_string_equal(ops.message, "migration does not have rollback SQL");
    expect_lines(OPS_LINES_ERRORS, "migration does not have rollback SQL");
    assert_int_equal(answer_run_status(&ops), 200);
    forget();
}

static void test_an_unknown_connection_is_one_line(void **state)
{
    (void)state;
    given(OPS_UP, NULL, NULL, 0);
    ops.run = NULL;
    ops.lone_error = "connection x not found";
    judge();
    expect_lines(OPS_LINES_APPLIED, "");
    expect_lines(OPS_LINES_ERRORS, "connection x not found");
    assert_int_equal(answer_run_status(&ops), 206);
    forget();
}

static void test_details_leave_out_what_was_there(void **state)
{
    const struct run_item items[] = {
        {.migration = &users, .schema = "t", .kind = RUN_ITEM_SKIPPED},
        {.migration = &users, .schema = "t", .kind = RUN_ITEM_NOT_APPLIED},
        {.migration = &users, .schema = "t", .kind = RUN_ITEM_APPLIED},
    };
    struct ops_cursor at = {0};
    const struct run_item *item = NULL;
    size_t count = 0;
    enum ops_next next;

    (void)state;
    given(OPS_UP, "t", items, ARRAY_SIZE(items));
    while ((next = ops_run_next_detail(&ops, &at, &item)) != OPS_NEXT_END) {
        if (next != OPS_NEXT_ITEM)
            continue;
        count++;
        assert_ptr_equal(item, &items[2]);
        assert_string_equal(ops_run_item_status(&ops, item), "applied");
    }
    assert_int_equal(count, 1);
}

static void test_every_code_has_a_status(void **state)
{
    static const struct {
        int code, status;
    } cases[] = {
        {ERR_INVALID, 400}, {ERR_DEPENDENCY, 400},  {ERR_NOT_FOUND, 404}, {ERR_CONFLICT, 409},
        {ERR_DB, 500},      {ERR_AMBIGUOUS, 409},   {ERR_SHUTDOWN, 503},  {ERR_STORE, 500},
        {ERR_NOMEM, 500},   {ERR_UNREACHABLE, 500},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(answer_status(&(struct err){.code = cases[i].code}), cases[i].status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_follow_the_request),
        cmocka_unit_test(test_each_outcome_has_its_line),
        cmocka_unit_test(test_a_missing_schema_is_explained),
        cmocka_unit_test(test_a_pass_can_fail_as_a_whole),
        cmocka_unit_test(test_the_state_database_makes_a_500),
        cmocka_unit_test(test_stopping_makes_a_503_unless_something_ran),
        cmocka_unit_test(test_conflicts_are_409),
        cmocka_unit_test(test_rollbacks_have_messages),
        cmocka_unit_test(test_an_unknown_connection_is_one_line),
        cmocka_unit_test(test_details_leave_out_what_was_there),
        cmocka_unit_test(test_every_code_has_a_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
