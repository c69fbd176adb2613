#include <string.h>

#include "api/ops_order.h"
#include "cmocka_all.h"

#define A     "20250103000000_a_postgresql_core"
#define B     "20250102000000_b_postgresql_core"
#define C     "20250101000000_c_postgresql_core"
#define LOOP1 "20250105000000_loop1_postgresql_core"
#define LOOP2 "20250106000000_loop2_postgresql_core"
#define LOST  "20250107000000_lost_postgresql_core"
#define OTHER "20250101000000_c_postgresql_other"

static struct loop *loop;
static struct engine engine;
static struct ops ops;
static struct op op;
static int done_rc;

#define SQL_FILE(file_path, sql)                                   \
    {                                                              \
        .path = (file_path), .text = (sql), .len = sizeof(sql) - 1 \
    }

static int set_up(void **state)
{
    static const struct registry_file files[] = {
        SQL_FILE("postgresql/core/20250101000000_c.up.sql", "-- bfm-depends: a\nSELECT 1;"),
        SQL_FILE("postgresql/core/20250102000000_b.up.sql", "SELECT 1;"),
        SQL_FILE("postgresql/core/20250103000000_a.up.sql", "SELECT 1;"),
        SQL_FILE("postgresql/core/20250105000000_loop1.up.sql", "-- bfm-depends: loop2\nSELECT 1;"),
        SQL_FILE("postgresql/core/20250106000000_loop2.up.sql", "-- bfm-depends: loop1\nSELECT 1;"),
        SQL_FILE("postgresql/core/20250107000000_lost.up.sql", "-- bfm-depends: nobody\nSELECT 1;"),
        SQL_FILE("postgresql/other/20250101000000_c.up.sql", "SELECT 1;"),
    };
    struct err err;

    (void)state;
    loop = loop_create();
    assert_non_null(loop);
    engine = (struct engine){.sched = loop_sched(loop)};
    assert_int_equal(registry_build(files, ARRAY_SIZE(files), &engine.registry, &err), 0);
    ops = (struct ops){.loop = loop, .engine = &engine};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(engine.registry->refs, 1);
    registry_unref(engine.registry);
    loop_destroy(loop);
    return 0;
}

static void on_done(struct op *finished, int rc)
{
    (void)finished;
    done_rc = rc;
    loop_stop(loop);
}

static int order(const char *const *ids, size_t count, struct ops_order *out)
{
    const struct ops_order_request request = {ids, count, "core", NULL};

    op_init(&op, on_done);
    assert_int_equal(ops_order_start(&ops, &op, &request, out), 0);
    loop_run(loop);
    return done_rc;
}

static void test_dependencies_come_first(void **state)
{
    static const char *const given[] = {C, ("tenant_" C), B, "20250103000000_a", C, A};
    static const char *const wanted[] = {B, "20250103000000_a", A, C, ("tenant_" C), C};
    struct ops_order out;

    (void)state;
    assert_int_equal(order(given, ARRAY_SIZE(given), &out), 0);
    assert_int_equal(out.count, ARRAY_SIZE(wanted));
    for (size_t i = 0; i < out.count; i++)
        assert_string_equal(out.ordered[i], wanted[i]);
    ops_order_free(&out);
}

static void test_what_is_not_asked_for_is_not_answered(void **state)
{
    static const char *const given[] = {C};
    struct ops_order out;

    (void)state;
    assert_int_equal(order(given, 1, &out), 0);
    assert_int_equal(out.count, 1);
    assert_string_equal(out.ordered[0], C);
    ops_order_free(&out);
    assert_int_equal(order(NULL, 0, &out), 0);
    assert_int_equal(out.count, 0);
    ops_order_free(&out);
}

static void expect_refused(const char *id, int code, const char *part)
{
    struct ops_order out;

    assert_int_equal(order(&id, 1, &out), code);
    assert_non_null(strstr(op.err.text, part));
    ops_order_free(&out);
}

static void test_what_has_no_order_is_refused(void **state)
{
    (void)state;
    expect_refused("nobody", ERR_INVALID, "nobody");
    expect_refused(OTHER, ERR_INVALID, "does not belong to connection core");
    expect_refused(LOOP1, ERR_DEPENDENCY, "loop");
    expect_refused(LOST, ERR_DEPENDENCY, "nobody");
}

static void test_a_connection_is_required(void **state)
{
    const struct ops_order_request request = {NULL, 0, "", NULL};
    struct ops_order out;

    (void)state;
    op_init(&op, on_done);
    assert_int_equal(ops_order_start(&ops, &op, &request, &out), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_dependencies_come_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_not_asked_for_is_not_answered, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_what_has_no_order_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_connection_is_required, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
