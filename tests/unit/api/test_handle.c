/* Whole requests, with the HTTP layer, the store and the target replaced: long answers, peers that
 * are slow or go away, and every allocation failing once. */
#include "api/api.h"
#include "api/events.h"
#include "base/json.h"
#include "migrate/run_internal.h"
#include "unit/api/fake_http.h"

#define USERS  "20250101120000_create_users_postgresql_core"
#define ORDERS "20250102120000_orders_postgresql_core"

static struct engine engine;
static struct api *api;
static struct metrics metrics;
static bool stopping, state_ready;
static bool sweeps_notes; /* what is kept for log and figures lacks memory, too */

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
static struct engine_target target = {
    .connection = "core", .backend = &target_backend, .compared = true};

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
        .metrics = &metrics,
        .hooks = {.reindex = hook_reindex,
                  .health = hook_health,
                  .state_ready = hook_state_ready,
                  .stopping = hook_stopping},
    };
    struct registry *registry;
    struct err err;

    (void)state;
    loop = loop_create();
    assert_non_null(loop);
    config.loop = loop;
    metrics_init(&metrics);
    fake_reset();
    stopping = sweeps_notes = false;
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
    metrics_free(&metrics);
    api_free(api); /* asserts that nothing is under way */
    assert_int_equal(engine.registry->refs, 1);
    engine_free(&engine);
    loop_destroy(loop);
    return 0;
}

static void begin(struct http_request *request)
{
    request->header_names[0] = "Authorization";
    request->header_values[0] = "Bearer token";
    buf_init(&request->headers, 65536);
    buf_init(&request->text, SIZE_MAX / 2);
    if (!sweeps_notes)
        mem_fail_pause(1);
    api_begin(api, request);
    mem_fail_pause(0);
    api_handle(api, request);
}

/* Runs the loop until the request is answered. */
static void handle(struct http_request *request)
{
    begin(request);
    fake_waiting = true;
    if (request->answers == 0)
        loop_run(loop);
    fake_waiting = false;
    if (!sweeps_notes)
        mem_fail_pause(1);
    api_access(api, request);
    mem_fail_pause(0);
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
    HUGE_TEXT = 400 * 1000, /* more than what a slice before it needed */
};

static char long_text[LONG_TEXT + 1], huge_text[HUGE_TEXT + 1];

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

/* Once it is under way there is no other status: the peer must not take it for complete. */
static void test_memory_may_run_out_under_way(void **state)
{
    unsigned aborted = 0;
    bool hit = true;
    uint64_t nth;

    (void)state;
    fill_history();
    memset(huge_text, 'x', HUGE_TEXT);
    history_rows[history_count - 1].error_message = huge_text;
    for (nth = 1; hit; nth++) {
        struct http_request request = {
            .method = "GET", .path = "/api/v1/migrations/" USERS "/history", .behind_every = 2};

        mem_fail_at(nth, 0);
        handle(&request);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        settle();
        assert_int_equal(request.answers, 1);
        if (request.status == 200)
            assert_int_equal(request.aborted, hit);
        aborted += request.aborted;
        fake_request_free(&request);
    }
    assert_true(aborted > 0);
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

/* --- figures --- */

static void test_figures_are_shown_in_slices(void **state)
{
    struct http_request request = {.method = "GET", .path = "/metrics"};
    bool hit = true;

    (void)state;
    expect_status("GET", "/api/v1/migrations/nobody", 404, "X-Request-ID: ");
    expect_status("GET", "/nowhere", 404, NULL);
    sweeps_notes = true;
    for (uint64_t nth = 1; hit; nth++) {
        fake_request_free(&request);
        request = (struct http_request){.method = "GET", .path = "/metrics"};
        mem_fail_at(nth, 0);
        handle(&request);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        assert_true(request.status == 200 || request.status >= 400);
    }
    assert_int_equal(request.status, 200);
    assert_non_null(strstr(buf_str(&request.headers), "Content-Type: text/plain; version=0.0.4"));
    assert_non_null(strstr(buf_str(&request.text),
                           "bfm_http_requests_total{route=\"/api/v1/migrations/{id}\","
                           "method=\"GET\",status=\"404\"} 1\n"));
    assert_non_null(
        strstr(buf_str(&request.text), "{route=\"other\",method=\"GET\",status=\"404\"} 1"));
    assert_non_null(strstr(buf_str(&request.text), "\nprocess_open_fds "));
    fake_request_free(&request);
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

        stands_count = 0;
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

/* --- events --- */

/* More than the window holds, of a run that is not there. */
static void flood_events(void)
{
    struct run_full other = {.pub.engine = &engine, .pub.request = &other.request};

    snprintf(other.pub.id, sizeof(other.pub.id), "other");
    other.request.connection = "core";
    other.request.caller.executed_by = "somebody";
    for (size_t i = 0; i < EVENTS_WINDOW_MAX + 1; i++) {
        const struct run_event event = {
            .seq = ++engine.event_seq, .kind = RUN_EVENT_RUN_STARTED, .run = &other.pub};

        list_foreach(node, &engine.listeners) {
            struct engine_listener *listener = container_of(node, struct engine_listener, link);

            listener->on_event(listener, &event);
        }
    }
}

/* A slow reader of one run, which ends meanwhile: nobody would ever tell it. */
static void test_a_stream_ends_though_the_end_was_missed(void **state)
{
    struct http_request up = {
        .method = "POST",
        .path = "/api/v1/migrations/up",
        .body = "{\"connection\":\"core\",\"target\":{},\"schemas\":[\"a\"],\"async\":true}"};
    struct http_request request = {.method = "GET", .behind_every = 2};
    char path[128];
    cJSON *json;

    (void)state;
    handle(&up);
    json = answer_json(&up);
    snprintf(path, sizeof(path), "/api/v1/runs/%s/events",
             cJSON_GetObjectItem(json, "run_id")->valuestring);
    cJSON_Delete(json);
    request.path = path;
    begin(&request);
    while (!request.behind)
        sched_run(loop_sched(loop), loop_sched(loop)->now_ms);
    sched_stop_timer(loop_sched(loop), &request.drain_timer);
    settle();
    flood_events();
    assert_int_equal(request.answers, 0);
    fake_on_drain(&request.drain_timer);
    settle();
    assert_int_equal(request.answers, 1);
    assert_non_null(strstr(buf_str(&request.text), "event: reset"));
    assert_null(strstr(buf_str(&request.text), "run_ended"));
    api_access(api, &request);
    fake_request_free(&request);
    fake_request_free(&up);
}

static void test_memory_may_run_out(void **state)
{
    static const struct sweep_case cases[] = {
        {"GET", "/health", NULL, NULL, 200},
        {"GET", "/livez", NULL, NULL, 200},
        {"GET", "/api/nowhere", NULL, NULL, 404},
        {"PUT", "/health", NULL, NULL, 405},
        {"GET", "/api/v1/tenants", "connection=core&limit=1", NULL, 200},
        {"GET", "/api/v1/tenants", "connection=core&cursor=74743100", NULL, 200},
        {"GET", "/api/v1/tenants", "connection=nowhere", NULL, 404},
        {"GET", "/api/v1/gate", "connection=core", NULL, 409},
        {"GET", "/api/v1/gate", "connection=core&version=20250101120000&schema=new", NULL, 409},
        {"GET", "/api/v1/gate", "connection=core&version=x", NULL, 400},
        {"POST", "/api/v1/migrations/up", NULL,
         "{\"connection\":\"core\",\"target\":{},\"schemas_from\":\"state\",\"max_failures\":1}",
         200},
        {"GET", "/api/v1/migrations", "status=pending", NULL, 200},
        {"GET", "/api/v1/migrations", "limit=1", NULL, 200},
        {"GET", "/api/v1/migrations", "cursor=6d3000", NULL, 200},
        {"GET", "/api/v1/migrations", "cursor=x", NULL, 400},
        {"GET", "/api/v1/migrations/" USERS, NULL, NULL, 200},
        {"GET", "/api/v1/migrations/t1_" ORDERS "/status", NULL, NULL, 200},
        {"GET", "/api/v1/migrations/" USERS "/history", NULL, NULL, 200},
        {"GET", "/api/v1/migrations/executions/recent", "limit=3", NULL, 200},
        {"GET", "/api/v1/migrations/executions/recent", "limit=1&cursor=65310061006200", NULL, 200},
        {"GET", "/api/v1/migrations/skipped/recent", "cursor=733100", NULL, 200},
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
        {"POST", "/api/v1/migrations/up", NULL,
         "{\"connection\":\"core\",\"target\":{},\"schemas\":[\"a\"],\"async\":true}", 202},
        {"GET", "/api/v1/plan", "connection=core&schema=a", NULL, 200},
        {"GET", "/api/v1/runs", "status=failed", NULL, 200},
        {"GET", "/api/v1/runs/0123456789ab-0123456789abcdef", NULL, NULL, 404},
        {"POST", "/api/v1/runs/0123456789ab-0123456789abcdef/cancel", NULL, NULL, 404},
        {"POST", "/api/v1/runs/0123456789ab-0123456789abcdef/retry", NULL, NULL, 404},
        {"GET", "/api/v1/tenants", "connection=core", NULL, 200},
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
        cmocka_unit_test_setup_teardown(test_memory_may_run_out_under_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_peers_may_go_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stopping_refuses_new_work, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_state_only_probes_work, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_state_that_fails_is_500, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_figures_are_shown_in_slices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_stream_ends_though_the_end_was_missed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_memory_may_run_out, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
