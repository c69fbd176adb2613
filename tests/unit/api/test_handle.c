/* Whole requests, with the HTTP layer, the store and the target replaced: long answers, peers that
 * are slow or go away, and every allocation failing once. */
#include "api/api.h"
#include "base/json.h"
#include "unit/api/fake_http.h"

#define USERS  "20250101120000_create_users_postgresql_core"
#define ORDERS "20250102120000_orders_postgresql_core"

static struct engine engine;
static struct api *api;
static bool stopping, state_ready;

/* --- a target that does everything at once --- */

static int target_execute(struct backend *backend, struct op *op, const struct backend_step *step,
                          struct backend_result *result)
{
    (void)backend;
    (void)step;
    *result = (struct backend_result){.attempts = 1};
    op_begin(op, NULL, NULL);
    op_finish_later(op, loop_sched(loop), 0);
    return 0;
}

static const struct backend_ops target_ops = {.execute = target_execute};
static struct backend target_backend = {.ops = &target_ops, .connection = "core", .parallel = 2};
static struct engine_target target = {.connection = "core", .backend = &target_backend};

/* --- the server around --- */

static int hook_reindex(void *arg, struct op *op, struct api_reindex_result *out)
{
    static const char *const added[] = {"a", "b"};

    (void)arg;
    out->added = added;
    out->added_count = ARRAY_SIZE(added);
    out->total = 3;
    op_begin(op, NULL, NULL);
    op_finish_later(op, loop_sched(loop), 0);
    return 0;
}

static const char *hook_health(void *arg)
{
    (void)arg;
    return state_ready ? NULL : "the state database is away";
}

static bool hook_state_ready(void *arg)
{
    (void)arg;
    return state_ready;
}

static bool hook_stopping(void *arg)
{
    (void)arg;
    return stopping;
}

static int set_up(void **state)
{
    static const struct registry_file files[] = {
        SQL_FILE("postgresql/core/core_users_20250101120000_create_users.sql", "CREATE TABLE a();"),
        SQL_FILE("postgresql/core/core_users_20250101120000_create_users_down.sql",
                 "DROP TABLE a;"),
        SQL_FILE("postgresql/core/20250102120000_orders.up.sql",
                 "-- bfm-depends: create_users\nCREATE TABLE b();"),
    };
    const struct engine_config engine_config = {
        .lock_wait_ms = 1000, .settle_retry_ms = 1, .settle_give_up_ms = 10};
    struct api_config config = {
        .engine = &engine,
        .store = &fake_store,
        .token = "token",
        .access_log_level = LOG_DEBUG,
        .hooks = {NULL, hook_reindex, hook_health, hook_state_ready, hook_stopping},
    };
    struct registry *registry;
    struct err err;

    (void)state;
    loop = loop_create();
    assert_non_null(loop);
    config.loop = loop;
    fake_reset();
    stopping = false;
    state_ready = true;
    engine_init(&engine, loop_sched(loop), &fake_store, &engine_config);
    assert_int_equal(engine_add_target(&engine, &target), 0);
    assert_int_equal(registry_build(files, ARRAY_SIZE(files), &registry, &err), 0);
    engine_set_registry(&engine, registry);
    assert_int_equal(api_create(&config, &api, &err), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    api_free(api); /* asserts that nothing is under way */
    assert_int_equal(engine.registry->refs, 1);
    engine_free(&engine);
    loop_destroy(loop);
    return 0;
}

/* Runs the loop until the request is answered. */
static void handle(struct http_request *request)
{
    request->header_names[0] = "Authorization";
    request->header_values[0] = "Bearer token";
    buf_init(&request->headers, 65536);
    buf_init(&request->text, SIZE_MAX / 2);
    api_handle(api, request);
    fake_waiting = true;
    if (request->answers == 0)
        loop_run(loop);
    fake_waiting = false;
    assert_int_equal(request->answers, 1);
}

/* What runs behind an answer, such as the rows of skipped steps, ends too. */
static void settle(void)
{
    while (!list_is_empty(&engine.runs) || sched_has_tasks(loop_sched(loop)))
        sched_run(loop_sched(loop), loop_sched(loop)->now_ms + 1);
}

static cJSON *answer_json(const struct http_request *request)
{
    struct err err;
    cJSON *json = NULL;

    assert_int_equal(json_parse(buf_str(&request->text), request->text.len, &json, &err), 0);
    return json;
}

/* --- long answers --- */

enum {
    LONG_TEXT = 3000,
    LONG_ROWS = 200,
};

static char long_text[LONG_TEXT + 1];

static void fill_history(void)
{
    memset(long_text, 'x', LONG_TEXT);
    for (size_t i = 0; i < LONG_ROWS; i++)
        add_history(USERS, "core", "failed", long_text);
}

static void test_long_answers_are_streamed(void **state)
{
    struct http_request request = {
        .method = "GET", .path = "/api/v1/migrations/" USERS "/history", .behind_every = 2};
    cJSON *json;

    (void)state;
    fill_history();
    handle(&request);
    assert_true(request.streaming);
    assert_true(request.writes > 5);
    assert_int_equal(request.status, 200);
    json = answer_json(&request);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "history")), LONG_ROWS);
    cJSON_Delete(json);
    fake_request_free(&request);
}

static void test_peers_may_go_away(void **state)
{
    (void)state;
    fill_history();
    for (unsigned at = 1; at < 8; at++) {
        struct http_request request = {
            .method = "GET", .path = "/api/v1/migrations/" USERS "/history", .gone_at = at};

        handle(&request);
        assert_int_equal(request.writes, at);
        fake_request_free(&request);
    }
}

/* --- refusals that need no work --- */

static void expect_status(const char *method, const char *path, int status, const char *header)
{
    struct http_request request = {.method = method, .path = path};

    handle(&request);
    assert_int_equal(request.status, status);
    if (header != NULL)
        assert_non_null(strstr(buf_str(&request.headers), header));
    fake_request_free(&request);
}

static void test_stopping_refuses_new_work(void **state)
{
    (void)state;
    stopping = true;
    expect_status("GET", "/api/v1/migrations", 503, "Retry-After: ");
    expect_status("POST", "/api/v1/migrate", 503, "Retry-After: ");
    expect_status("POST", "/api/v1/migrations/order-batch", 503, "Retry-After: ");
    expect_status("GET", "/health", 200, NULL);
    expect_status("GET", "/readyz", 503, NULL);
}

static void test_without_state_only_probes_work(void **state)
{
    (void)state;
    state_ready = false;
    expect_status("GET", "/api/v1/migrations", 503, "Retry-After: ");
    expect_status("GET", "/health", 503, NULL);
    expect_status("GET", "/api/v1/openapi.json", 200, NULL);
    expect_status("POST", "/api/v1/migrations/order-batch", 400, NULL);
}

static void test_a_state_that_fails_is_500(void **state)
{
    (void)state;
    store_rc = ERR_STORE;
    expect_status("GET", "/api/v1/migrations", 500, NULL);
    expect_status("GET", "/api/v1/migrations/" USERS, 500, NULL);
    expect_status("GET", "/api/v1/migrations/executions/recent", 500, NULL);
    settle();
}

/* --- memory --- */

struct sweep_case {
    const char *method, *path, *query, *body;
    int status; /* with enough memory */
};

static void sweep(const struct sweep_case *sweep)
{
    bool hit = true;
    uint64_t nth;

    for (nth = 1; hit; nth++) {
        struct http_request request = {.method = sweep->method,
                                       .path = sweep->path,
                                       .query = sweep->query,
                                       .body = sweep->body};
        cJSON *json;

        mem_fail_at(nth, 0);
        handle(&request);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        settle();
        if (!hit)
            assert_int_equal(request.status, sweep->status);
        json = answer_json(&request);
        if (request.status >= 400 && sweep->status < 400)
            assert_non_null(cJSON_GetObjectItem(json, "error"));
        cJSON_Delete(json);
        fake_request_free(&request);
    }
    assert_true(nth > 2);
}

static void test_memory_may_run_out(void **state)
{
    static const struct sweep_case cases[] = {
        {"GET", "/health", NULL, NULL, 200},
        {"GET", "/api/nowhere", NULL, NULL, 404},
        {"PUT", "/health", NULL, NULL, 405},
        {"GET", "/api/v1/migrations", "status=pending", NULL, 200},
        {"GET", "/api/v1/migrations/" USERS, NULL, NULL, 200},
        {"GET", "/api/v1/migrations/t1_" ORDERS "/status", NULL, NULL, 200},
        {"GET", "/api/v1/migrations/" USERS "/history", NULL, NULL, 200},
        {"GET", "/api/v1/migrations/executions/recent", "limit=3", NULL, 200},
        {"GET", "/api/v1/migrations/nobody", NULL, NULL, 404},
        {"POST", "/api/v1/migrations/reindex", NULL, NULL, 200},
        {"POST", "/api/v1/migrations/order-batch", NULL,
         "{\"connection\":\"core\",\"migration_ids\":[\"" ORDERS "\",\"" USERS "\"]}", 200},
        {"POST", "/api/v1/migrations/up", NULL, "{\"connection\":\"nowhere\",\"target\":{}}", 206},
        {"POST", "/api/v1/migrations/up", NULL,
         "{\"connection\":\"core\",\"target\":{\"tags\":[]},\"schemas\":[\"a\",\"b\"]}", 200},
        {"POST", "/api/v1/migrate", NULL,
         "{\"connection\":\"core\",\"target\":{\"tables\":[\"users\"]},\"environment\":\"e\"}",
         200},
        {"POST", "/api/v1/migrations/down", NULL, "{\"migration_id\":\"" USERS "\"}", 200},
        {"POST", "/api/v1/migrations/" USERS "/rollback", NULL, NULL, 400},
    };

    (void)state;
    add_status(USERS, "applied", true, "");
    add_execution(ORDERS, "t1", "failed", false);
    add_history(ORDERS, "t1", "failed", "no such table");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        sweep(&cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_long_answers_are_streamed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_peers_may_go_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stopping_refuses_new_work, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_state_only_probes_work, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_state_that_fails_is_500, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory_may_run_out, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
