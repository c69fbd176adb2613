/* The one stream of events: what the log, the metrics and those who listen over HTTP are told. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "fake_world.h"

#define FILE_OF(path_, text_)                                  \
    {                                                          \
        .path = path_, .text = text_, .len = sizeof(text_) - 1 \
    }

static const struct registry_file files[] = {
    FILE_OF("postgresql/core/20250101000000_first.up.sql", "CREATE TABLE first (id int);"),
    FILE_OF("postgresql/core/20250102000000_second.up.sql",
            "-- bfm-depends: first\nCREATE TABLE second (id int);"),
};

/* --- a reader that writes down what it is told --- */

struct listener {
    struct engine_listener engine;
    uint64_t seq;
    char text[4096];
};

static const char *const names[] = {
    [RUN_EVENT_QUEUED] = "queued",     [RUN_EVENT_RUNNING] = "running",
    [RUN_EVENT_ATTEMPT] = "attempt",   [RUN_EVENT_APPLIED] = "applied",
    [RUN_EVENT_SKIPPED] = "skipped",   [RUN_EVENT_FAILED] = "failed",
    [RUN_EVENT_RUN_STARTED] = "start", [RUN_EVENT_RUN_ENDED] = "end",
};

static size_t lanes_at(const struct engine *engine, const char *state)
{
    const char *name;
    size_t sum = 0;

    for (size_t at = 0; (name = engine_lane_state(at)) != NULL; at++)
        if (state == NULL || strcmp(name, state) == 0)
            sum += engine->lanes_at[at];
    return sum;
}

static void on_event(struct engine_listener *engine, const struct run_event *event)
{
    struct listener *listener = container_of(engine, struct listener, engine);
    size_t len = strlen(listener->text);

    assert_int_equal(event->seq, ++listener->seq);
    assert_string_equal(event->run->request->caller.request_id, "request-1");
    assert_string_equal(event->run->request->caller.trace_id, "");
    snprintf(listener->text + len, sizeof(listener->text) - len, "%s", names[event->kind]);
    len = strlen(listener->text);
    if (event->kind == RUN_EVENT_ATTEMPT)
        snprintf(listener->text + len, sizeof(listener->text) - len, "(%u %s)", event->attempts,
                 run_event_reason(event->err));
    else if (event->kind == RUN_EVENT_APPLIED || event->kind == RUN_EVENT_FAILED)
        snprintf(listener->text + len, sizeof(listener->text) - len, "(%u%s)", event->attempts,
                 event->not_run ? " not run" : "");
    strcat(listener->text, " ");
}

/* --- */

static struct fake_world world;
static struct listener listener;
static size_t most_executing;

static int set_up(void **state)
{
    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    most_executing = 0;
    listener = (struct listener){.engine.on_event = on_event};
    engine_listen(&world.engine, &listener.engine);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(lanes_at(&world.engine, NULL), 0);
    engine_unlisten(&listener.engine);
    fake_world_free(&world);
    return 0;
}

static void on_done(struct run *run)
{
    (void)run;
}

/* The request's texts are gone before the run has begun. */
static void run_schemas(const char *const *schemas, size_t count)
{
    char request_id[] = "request-1";
    const struct run_request request = {
        .kind = RUN_UP,
        .connection = "core",
        .filter = {.backend = "", .connection = "core", .schema = "", .version = ""},
        .schemas = schemas,
        .schema_count = count,
        .caller = {.executed_by = "tester",
                   .execution_method = "api",
                   .execution_context = "{}",
                   .request_id = request_id},
    };
    struct run *run = NULL;
    struct err err = {0};

    assert_int_equal(run_start(&world.engine, &request, on_done, NULL, &run, &err), 0);
    memset(request_id, 'x', sizeof(request_id) - 1);
    do {
        size_t executing = lanes_at(&world.engine, "executing");

        most_executing = executing > most_executing ? executing : most_executing;
    } while (fake_world_turn(&world));
    run_free(run);
}

static void test_a_step_says_when_it_is_tried_again(void **state)
{
    static const char *const schemas[] = {"a"};

    (void)state;
    world.retries = 2;
    err_set(&world.retry_err, ERR_DB, "canceling statement due to lock timeout");
    strcpy(world.retry_err.sqlstate, "55P03");
    run_schemas(schemas, 1);
    assert_string_equal(listener.text,
                        "start queued queued "
                        "running attempt(2 lock_timeout) attempt(3 lock_timeout) applied(3) "
                        "running attempt(2 lock_timeout) attempt(3 lock_timeout) applied(3) end ");
}

static void test_what_was_left_out_is_told_from_what_failed(void **state)
{
    static const char *const schemas[] = {"a"};

    (void)state;
    world.broken = "first";
    run_schemas(schemas, 1);
    assert_string_equal(listener.text,
                        "start queued queued running failed(1) failed(0 not run) end ");
}

static void test_lanes_are_counted_by_what_they_wait_for(void **state)
{
    static const char *const schemas[] = {"a", "b", "c"};

    (void)state;
    world.step_ms = 10;
    world.step_spread = 3;
    run_schemas(schemas, ARRAY_SIZE(schemas));
    assert_int_equal(most_executing, 3);
}

static void test_reasons(void **state)
{
    static const struct {
        int code;
        const char *sqlstate, *reason;
    } cases[] = {
        {ERR_LOCKED, "", "lock_timeout"},
        {ERR_LOCKED, "55P03", "lock_timeout"},
        {ERR_DB, "55P03", "lock_timeout"},
        {ERR_DB, "40P01", "deadlock"},
        {ERR_DB, "40001", "serialization"},
        {ERR_UNREACHABLE, "", "connection_lost"},
        {ERR_UNREACHABLE, "57P01", "connection_lost"},
        {ERR_TIMEOUT, "", "timeout"},
        {ERR_DB, "53300", "other"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = {.code = cases[i].code};

        strcpy(err.sqlstate, cases[i].sqlstate);
        assert_string_equal(run_event_reason(&err), cases[i].reason);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_step_says_when_it_is_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_left_out_is_told_from_what_failed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_lanes_are_counted_by_what_they_wait_for, set_up,
                                        tear_down),
        cmocka_unit_test(test_reasons),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
