/* Resolving, look-ups and the list against a store that answers from memory. */
#include "api/ops_list.h"
#include "api/ops_lookup.h"
#include "unit/api/fixture.h"

#define USERS   "20250101120000_create_users_postgresql_core"
#define ORDERS  "20250102120000_orders_postgresql_core"
#define EU      "20250103120000_x_postgresql_eu"
#define CORE_EU "20250103120000_x_postgresql_core_eu"

static struct engine engine;
static struct ops ops;

static int set_up(void **state)
{
    static const struct registry_file files[] = {
        SQL_FILE("postgresql/core/core_users_20250101120000_create_users.sql", "CREATE TABLE a();"),
        SQL_FILE("postgresql/core/20250102120000_orders.up.sql", "CREATE TABLE b();"),
        SQL_FILE("postgresql/eu/20250103120000_x.up.sql", "CREATE TABLE c();"),
        SQL_FILE("postgresql/core_eu/20250103120000_x.up.sql", "CREATE TABLE d();"),
        SQL_FILE("postgresql/core/20250104120000_bad.up.sql", "-- bfm-requires: nonsense\nSELECT;"),
    };
    struct err err;

    (void)state;
    loop = loop_create();
    assert_non_null(loop);
    engine = (struct engine){.sched = loop_sched(loop), .store = &fake_store};
    assert_int_equal(registry_build(files, ARRAY_SIZE(files), &engine.registry, &err), 0);
    ops = (struct ops){.loop = loop, .engine = &engine, .store = &fake_store};
    fake_reset();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(engine.registry->refs, 1); /* every operation gave its reference back */
    registry_unref(engine.registry);
    loop_destroy(loop);
    return 0;
}

/* --- waiting --- */

static int done_rc;
static bool done_called;

static void on_done(struct op *op, int rc)
{
    (void)op;
    done_rc = rc;
    done_called = true;
    loop_stop(loop);
}

static void wait_done(int start_rc)
{
    assert_int_equal(start_rc, 0);
    assert_false(done_called); /* never from inside the start */
    loop_run(loop);
    assert_true(done_called);
}

static int resolve(const char *id, struct ops_resolve *out, struct op *op)
{
    op_init(op, on_done);
    done_called = false;
    wait_done(ops_resolve_start(&ops, op, id, NULL, out));
    return done_rc;
}

static void expect_resolved(const char *id, const char *base, const char *schema)
{
    struct ops_resolve found;
    struct op op;

    assert_int_equal(resolve(id, &found, &op), 0);
    assert_true(found.found);
    assert_string_equal(found.migration_id, base);
    if (schema == NULL)
        assert_null(found.schema);
    else
        assert_string_equal(found.schema, schema);
    ops_resolve_free(&found);
}

static void expect_unknown(const char *id)
{
    struct ops_resolve found;
    struct op op;

    assert_int_equal(resolve(id, &found, &op), 0);
    assert_false(found.found);
    ops_resolve_free(&found);
}

static void test_ids_are_resolved_in_every_form(void **state)
{
    (void)state;
    expect_resolved(USERS, USERS, NULL);
    expect_resolved("core_" USERS, USERS, "core");
    expect_resolved("core_users_20250101120000_create_users", USERS, "core");
    expect_resolved("20250101120000_create_users", USERS, NULL);
    expect_resolved("core_20250101120000_create_users", USERS, NULL);
    expect_resolved(CORE_EU, CORE_EU, NULL);
    expect_resolved(EU, EU, NULL);
    assert_int_equal(asked, 0);
}

static void test_a_schema_must_have_been_used(void **state)
{
    (void)state;
    expect_unknown("tenant_1_" ORDERS);
    add_execution(ORDERS, "tenant_1", "applied", true);
    expect_resolved("tenant_1_" ORDERS, ORDERS, "tenant_1");
    expect_unknown("tenant_" ORDERS);
    expect_unknown("1_" ORDERS);
    add_execution(ORDERS, "a/b", "applied", true);
    expect_resolved("a/b_" ORDERS, ORDERS, "a/b");
    expect_resolved("a_b_core_20250102120000_orders", ORDERS, "a/b");
}

static void test_two_meanings_are_an_error(void **state)
{
    struct ops_resolve found;
    struct op op;

    (void)state;
    assert_int_equal(resolve("20250103120000_x", &found, &op), ERR_AMBIGUOUS);
    assert_non_null(strstr(op.err.text, "ambiguous migration id: 20250103120000_x"));
    ops_resolve_free(&found);

    add_execution(ORDERS, "a/b", "applied", true);
    add_execution(ORDERS, "a_b", "applied", true);
    assert_int_equal(resolve("a_b_core_20250102120000_orders", &found, &op), ERR_AMBIGUOUS);
    ops_resolve_free(&found);
    expect_resolved("a_b_" ORDERS, ORDERS, "a_b");
}

static void test_scripts_that_are_gone_are_known_to_the_state(void **state)
{
    struct ops_resolve found;
    struct op op;

    (void)state;
    add_status("20200101000000_gone_postgresql_core", "applied", true, "");
    assert_int_equal(resolve("20200101000000_gone_postgresql_core", &found, &op), 0);
    assert_true(found.found);
    assert_null(found.migration);
    assert_string_equal(found.recorded->name, "gone");
    ops_resolve_free(&found);
}

static void test_impossible_ids_do_not_reach_the_state(void **state)
{
    static char long_id[1000];

    (void)state;
    memset(long_id, 'x', sizeof(long_id) - 1);
    expect_unknown(long_id);
    expect_unknown("\xff\xfe_" ORDERS);
    assert_int_equal(asked, 0);
}

static void test_a_state_that_is_away_fails_the_reads(void **state)
{
    struct ops_resolve found;
    struct ops_lookup lookup;
    const struct ops_lookup_request request = {.kind = OPS_LOOKUP_HISTORY, .id = USERS, .limit = 5};
    struct op op;

    (void)state;
    store_rc = ERR_STORE;
    assert_int_equal(resolve("unknown", &found, &op), ERR_STORE);
    assert_string_equal(op.err.text, "the state database is away");
    ops_resolve_free(&found);
    assert_int_equal(resolve("t_" ORDERS, &found, &op), ERR_STORE);
    ops_resolve_free(&found);

    op_init(&op, on_done);
    done_called = false;
    wait_done(ops_lookup_start(&ops, &op, &request, &lookup));
    assert_int_equal(done_rc, ERR_STORE);
    ops_lookup_free(&lookup);
}

static void look_up(enum ops_lookup_kind kind, const char *id, size_t limit,
                    struct ops_lookup *lookup)
{
    const struct ops_lookup_request request = {.kind = kind, .id = id, .limit = limit};
    struct op op;

    op_init(&op, on_done);
    done_called = false;
    wait_done(ops_lookup_start(&ops, &op, &request, lookup));
    assert_int_equal(done_rc, 0);
}

static void expect_state(const char *id, const char *status, bool applied, const char *error)
{
    struct ops_lookup lookup;
    struct ops_status got;

    look_up(OPS_LOOKUP_STATE, id, 1, &lookup);
    ops_lookup_status(&lookup, &got);
    assert_string_equal(got.status, status);
    assert_int_equal(got.applied, applied);
    assert_string_equal(got.error_message, error);
    ops_lookup_free(&lookup);
}

static void test_states_are_judged_for_the_schema(void **state)
{
    (void)state;
    expect_state("nobody_knows", "pending", false, "");
    expect_state(USERS, "pending", false, "");
    add_status(ORDERS, "applied", true, "");
    add_execution(ORDERS, "t1", "applied", true);
    add_execution(ORDERS, "t2", "failed", false);
    add_execution(ORDERS, "t3", "pending", false);
    add_history(ORDERS, "t3", "rolled_back", "");
    add_history(ORDERS, "t2", "pending", "");
    add_history(ORDERS, "t2", "failed", "no such table");
    add_history(ORDERS, "t1", "failed", "undo failed");
    add_history(ORDERS, "t1", "applied", "");
    expect_state(ORDERS, "applied", true, "");
    expect_state("t1_" ORDERS, "applied", true, "undo failed");
    expect_state("t2_" ORDERS, "failed", false, "no such table");
    expect_state("t3_" ORDERS, "rolled_back", false, "");
    expect_state("t4_" ORDERS, "pending", false, "");
}

static void test_changed_and_broken_scripts_show(void **state)
{
    (void)state;
    add_status(USERS, "applied", true, "0000");
    add_status(ORDERS, "applied", true, registry_find(engine.registry, ORDERS)->up.checksum);
    expect_state(USERS, "modified", true, "");
    expect_state("core_" USERS, "modified", true, "");
    expect_state(ORDERS, "applied", true, "");
    expect_state("20250104120000_bad_postgresql_core", "invalid", false,
                 registry_find(engine.registry, "20250104120000_bad_postgresql_core")->invalid);
}

static void test_rows_are_those_of_the_schema(void **state)
{
    const struct store_execution *row;
    struct ops_lookup lookup;
    size_t at = 0, count = 0;
    enum ops_next next;

    (void)state;
    add_execution(ORDERS, "t1", "applied", true);
    add_execution(ORDERS, "t2", "applied", true);
    add_execution(ORDERS, "t1", "failed", false);
    look_up(OPS_LOOKUP_EXECUTIONS, "t1_" ORDERS, 1, &lookup);
    while ((next = ops_lookup_next_execution(&lookup, &at, &row)) != OPS_NEXT_END) {
        if (next != OPS_NEXT_ITEM)
            continue;
        assert_string_equal(row->schema, "t1");
        count++;
    }
    assert_int_equal(count, 1); /* the limit */
    ops_lookup_free(&lookup);
}

static void test_execution_ids_are_stable(void **state)
{
    struct store_execution a = {.migration_id = "m", .schema = "s", .connection = "c"};
    struct store_execution b = {.migration_id = "ms", .schema = "", .connection = "c"};

    (void)state;
    assert_int_equal(ops_execution_id(&a), ops_execution_id(&a));
    assert_int_not_equal(ops_execution_id(&a), ops_execution_id(&b));
    assert_true(ops_execution_id(&a) > 0);
    assert_true(ops_execution_id(&a) < INT64_C(1) << 53);
}

static size_t list_ids(struct ops_list_filter filter, const char *ids[8])
{
    struct ops_list_item item;
    struct ops_list list;
    enum ops_next next;
    struct op op;
    size_t count = 0;

    op_init(&op, on_done);
    done_called = false;
    wait_done(ops_list_start(&ops, &op, &filter, &list));
    assert_int_equal(done_rc, 0);
    while ((next = ops_list_next(&list, &item)) != OPS_NEXT_END)
        if (next == OPS_NEXT_ITEM)
            ids[count++] = item.migration->id;
    ops_list_free(&list);
    return count;
}

static const struct ops_list_filter everything = {"", "", "", "", "", "", NULL, 0, ""};

static void test_the_list_merges_scripts_and_states(void **state)
{
    struct ops_list_filter filter = everything;
    const char *ids[8];

    (void)state;
    add_status("20200101000000_gone_postgresql_core", "applied", true, "");
    add_status(USERS, "applied", true, "0000");
    add_status(ORDERS, "failed", false, "");
    assert_int_equal(list_ids(filter, ids), 5);
    assert_string_equal(ids[0], USERS);
    assert_string_equal(ids[2], CORE_EU);
    assert_string_equal(ids[3], EU);

    filter.status = "success";
    assert_int_equal(list_ids(filter, ids), 1);
    assert_string_equal(ids[0], USERS);
    filter.status = "modified";
    assert_int_equal(list_ids(filter, ids), 1);
    filter.status = "failed";
    assert_int_equal(list_ids(filter, ids), 1);
    assert_string_equal(ids[0], ORDERS);
    filter.status = "pending";
    assert_int_equal(list_ids(filter, ids), 2);
    filter.status = "invalid";
    assert_int_equal(list_ids(filter, ids), 1);
    filter.status = "nonsense";
    assert_int_equal(list_ids(filter, ids), 0);
}

static void test_the_list_is_filtered(void **state)
{
    struct ops_list_filter filter = everything;
    const char *ids[8];

    (void)state;
    filter.connection = "core";
    assert_int_equal(list_ids(filter, ids), 3);
    filter.table = "users";
    assert_int_equal(list_ids(filter, ids), 1);
    filter.schema = "core";
    filter.version = "20250101120000";
    filter.backend = "postgresql";
    assert_int_equal(list_ids(filter, ids), 1);
    filter.backend = "etcd";
    assert_int_equal(list_ids(filter, ids), 0);
}

static void test_memory_may_run_out(void **state)
{
    static const char *const ids[] = {USERS, ("t1_" ORDERS), "a_b_core_20250102120000_orders",
                                      "20250103120000_x", "nobody"};

    (void)state;
    add_status(USERS, "applied", true, "");
    add_execution(ORDERS, "t1", "applied", true);
    add_execution(ORDERS, "a/b", "applied", true);
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        bool hit = true;

        for (uint64_t nth = 1; hit; nth++) {
            const struct ops_lookup_request request = {
                .kind = OPS_LOOKUP_STATE, .id = ids[i], .limit = 1};
            struct ops_lookup lookup;
            struct op op;
            int rc;

            op_init(&op, on_done);
            done_called = false;
            mem_fail_at(nth, 0);
            rc = ops_lookup_start(&ops, &op, &request, &lookup);
            if (rc == 0) {
                loop_run(loop);
                rc = done_rc;
                ops_lookup_free(&lookup);
            }
            hit = mem_fail_hit();
            mem_fail_at(0, 0);
            assert_true(rc == 0 || rc == ERR_NOMEM || rc == ERR_AMBIGUOUS);
            assert_true(!hit || rc == ERR_NOMEM);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_memory_may_run_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ids_are_resolved_in_every_form, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_schema_must_have_been_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_meanings_are_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_scripts_that_are_gone_are_known_to_the_state, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_impossible_ids_do_not_reach_the_state, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_state_that_is_away_fails_the_reads, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_states_are_judged_for_the_schema, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_changed_and_broken_scripts_show, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rows_are_those_of_the_schema, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_execution_ids_are_stable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_list_merges_scripts_and_states, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_list_is_filtered, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
