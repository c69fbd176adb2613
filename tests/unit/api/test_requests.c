/* What is recorded of a request can be asked again, and what a cancelled run is answered with. */
#include <string.h>

#include "api/http_answer.h"
#include "api/ops_request.h"
#include "cmocka_all.h"

static const struct migration users = {
    .id = "20250101120000_create_users_postgresql_core",
    .version = "20250101120000",
    .name = "create_users",
    .connection = "core",
    .schema = "",
    .table = "",
};

static void expect_round_trip(const struct run_request *request, enum ops_run_kind kind,
                              const char *wanted)
{
    struct ops_recorded read;
    struct arena arena = {0};
    struct buf text, again;
    struct err err;

    buf_init(&text, 1 << 20);
    buf_init(&again, 1 << 20);
    ops_request_put(request, &text);
    assert_string_equal(buf_str(&text), wanted);
    assert_int_equal(ops_request_read(&(struct store_run){.id = "r",
                                                          .kind = ops_run_kind_name(kind),
                                                          .request = buf_str(&text)},
                                      &arena, &read, &err),
                     0);
    assert_int_equal(read.kind, kind);
    ops_request_put(&(struct run_request){.kind = request->kind,
                                          .connection = read.connection,
                                          .filter = read.target,
                                          .migration = request->migration,
                                          .schemas = read.schemas,
                                          .schema_count = read.schema_count,
                                          .no_lone_lane = read.no_lone_lane,
                                          .ignore_dependencies = read.ignore_dependencies,
                                          .limits_failures = read.failures.limited,
                                          .max_failures = read.failures.max},
                    &again);
    assert_string_equal(buf_str(&again), wanted);
    if (request->kind == RUN_DOWN)
        assert_string_equal(read.migration_id, users.id);
    buf_free(&text);
    buf_free(&again);
    arena_free(&arena);
}

static void test_requests_are_read_back(void **state)
{
    static const char *const schemas[] = {"a", "b\"\\ é"};
    static const char *const tables[] = {"t"};
    static const char *const tags[] = {"k=v", "x=\n"};

    (void)state;
    expect_round_trip(
        &(struct run_request){.kind = RUN_UP,
                              .connection = "core",
                              .filter = {.backend = "postgres",
                                         .connection = "core",
                                         .schema = "s",
                                         .version = "1",
                                         .tables = tables,
                                         .table_count = 1,
                                         .tags = tags,
                                         .tag_count = 2},
                              .schemas = schemas,
                              .schema_count = 2,
                              .ignore_dependencies = true},
        OPS_UP,
        "{\"connection\":\"core\",\"target\":{\"backend\":\"postgres\",\"connection\":\"core\","
        "\"schema\":\"s\",\"version\":\"1\",\"tables\":[\"t\"],\"tags\":[\"k=v\",\"x=\\n\"]},"
        "\"schemas\":[\"a\",\"b\\\"\\\\ é\"],\"ignore_dependencies\":true}");
    expect_round_trip(
        &(struct run_request){
            .kind = RUN_UP,
            .connection = "core",
            .filter = {.backend = "", .connection = "core", .schema = "", .version = ""}},
        OPS_MIGRATE,
        "{\"connection\":\"core\",\"target\":{\"backend\":\"\",\"connection\":\"core\","
        "\"schema\":\"\",\"version\":\"\",\"tables\":[]},\"schemas\":[],"
        "\"ignore_dependencies\":false}");
    expect_round_trip(
        &(struct run_request){
            .kind = RUN_UP,
            .connection = "core",
            .filter = {.backend = "", .connection = "core", .schema = "", .version = ""},
            .no_lone_lane = true,
            .limits_failures = true,
            .max_failures = 7},
        OPS_UP,
        "{\"connection\":\"core\",\"target\":{\"backend\":\"\",\"connection\":\"core\","
        "\"schema\":\"\",\"version\":\"\",\"tables\":[]},\"schemas\":[],"
        "\"ignore_dependencies\":false,\"schemas_from\":\"state\",\"max_failures\":7}");
    expect_round_trip(
        &(struct run_request){
            .kind = RUN_DOWN, .migration = &users, .schemas = schemas, .schema_count = 1},
        OPS_ROLLBACK,
        "{\"migration_id\":\"20250101120000_create_users_postgresql_core\","
        "\"schemas\":[\"a\"],\"ignore_dependencies\":false}");
}

static void test_what_cannot_be_read_is_refused(void **state)
{
    struct store_run run = {.id = "r", .kind = "odd", .request = "{}"};
    struct ops_recorded read;
    struct arena arena = {0};
    struct err err;

    (void)state;
    assert_int_equal(ops_request_read(&run, &arena, &read, &err), ERR_INVALID);
    run.kind = "up";
    run.request = "{";
    assert_int_equal(ops_request_read(&run, &arena, &read, &err), ERR_INVALID);
    run.request = "{\"schemas\":7}";
    assert_int_equal(ops_request_read(&run, &arena, &read, &err), ERR_INVALID);
    arena_free(&arena);
}

/* The status of the answer to a run that ended with these errors, and its error lines. */
static int answer_to(enum ops_run_kind kind, int run_code, int lane_code, size_t *errors)
{
    static const struct run_request up = {.kind = RUN_UP, .record = {.kind = "up"}};
    struct run_lane_result lane = {.requested = "a"};
    struct run run = {.request = &up, .lanes = &lane, .lane_count = 1};
    struct ops_cursor at = {0};
    struct ops_run view;
    struct buf line;
    enum ops_next next;
    int status;

    if (run_code != 0)
        err_set(&run.err, run_code, "%s", err_code_text(run_code));
    if (lane_code != 0)
        err_set(&lane.err, lane_code, "%s", err_code_text(lane_code));
    ops_run_view(&run, &view);
    ops_run_unview(&view);
    view = (struct ops_run){.kind = kind, .run = &run};
    ops_run_judge(&view);
    status = answer_run_status(&view);
    buf_init(&line, 4096);
    *errors = 0;
    while ((next = ops_run_next_line(&view, OPS_LINES_ERRORS, &at, &line)) != OPS_NEXT_END)
        *errors += next == OPS_NEXT_ITEM;
    assert_int_equal(*errors, view.errors);
    buf_free(&line);
    return status;
}

static void test_a_cancelled_run_is_answered_as_a_failed_one(void **state)
{
    static const enum ops_run_kind kinds[] = {OPS_UP, OPS_MIGRATE, OPS_DOWN};
    size_t errors;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        assert_int_equal(answer_to(kinds[i], ERR_CANCELED, 0, &errors), 206);
        assert_int_equal(errors, 1);
        assert_int_equal(answer_to(kinds[i], ERR_CANCELED, ERR_CANCELED, &errors), 206);
        assert_int_equal(errors, 1);
        assert_int_equal(answer_to(kinds[i], 0, ERR_CANCELED, &errors), 206);
        assert_int_equal(errors, 1);
        assert_int_equal(answer_to(kinds[i], 0, ERR_HALTED, &errors), 206);
        assert_int_equal(errors, 1);
        assert_int_equal(answer_to(kinds[i], ERR_STORE, 0, &errors), 500);
        assert_int_equal(answer_to(kinds[i], ERR_SHUTDOWN, 0, &errors), 503);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_are_read_back),
        cmocka_unit_test(test_what_cannot_be_read_is_refused),
        cmocka_unit_test(test_a_cancelled_run_is_answered_as_a_failed_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
